//! The boot path from step 6 on: everything that is not the machine itself.
//!
//! No `unsafe`, no assembly: the same source that boots is compiled and tested on the host, and
//! `disk-builder` uses it to refuse what the loader would refuse. The machine's half is the package
//! `stage2`. The heap is for lists whose length a file decides, and each of them gets its memory
//! from the memory map first ([`machine::Machine::list`]). The folders are declared in dependency
//! order: none imports one that comes after it.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

#[cfg(test)]
extern crate std;

pub mod position;
pub mod errors;
pub mod memory;
pub mod bios;
pub mod machine;
pub mod devices;
pub mod disk;
pub mod files;
pub mod entry;
pub mod kernel;
pub mod paging;
pub mod report;
pub mod ways_in;
pub mod ways_out;
pub mod path;
