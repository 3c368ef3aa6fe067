//! stage2's pure logic: whatever is not the machine itself.
//!
//! No `unsafe`, no assembly, no allocation: the very same source that boots is compiled and tested
//! on the host, and `disk-builder` uses it to refuse what stage2 would refuse. The machine's half,
//! one file per step, is in `main.rs`. The modules are declared in the order in which the boot path
//! needs them.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod layout;
pub mod text;
pub mod catalogue;
pub mod recipe;
pub mod firmware;
pub mod time;
pub mod transcript;
pub mod int10;
pub mod int16;
pub mod memory_map;
pub mod int15;
pub mod block_device;
pub mod int13;
pub mod probe;
pub mod partition;
pub mod fat;
pub mod entry_file;
pub mod version;
pub mod entries;
pub mod multiboot_information;
pub mod file_bytes;
pub mod kernel_image;
pub mod relocate;
pub mod stream;
pub mod checksum;
pub mod integrity;
pub mod placement;
pub mod elf_physical;
pub mod multiboot_info;
pub mod multiboot_header;
pub mod protocol;
pub mod linux_image;
pub mod boot_sector;
pub mod gzip;
pub mod page_tables;
pub mod address_space;
pub mod acpi;
pub mod limine_protocol;
pub mod int1a;
pub mod vbe;
pub mod exception;
pub mod page_walk;
