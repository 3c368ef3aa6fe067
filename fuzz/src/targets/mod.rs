//! The targets, in the order of the boot path.

pub mod stage2_header;
pub mod memory_map;
pub mod mbr;
pub mod fat;
pub mod command_line;
pub mod entries;
pub mod multiboot_information;
pub mod elf;
pub mod elf_note;
pub mod multiboot;
pub mod multiboot1;
pub mod multiboot2;
pub mod linux;
pub mod chain;
pub mod limine;
pub mod vbe;
pub mod gzip;
pub mod boot_path;

use ::boot_path::errors::catalogue::{Named, Report};

/// An error is shown, as the loader shows it, and has something to say.
pub(crate) fn show(error: &dyn Named) -> String {
    let text = Report(error).to_string();
    assert!(text.starts_with("error "));
    text
}
