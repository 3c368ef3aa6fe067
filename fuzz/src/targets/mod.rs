//! The targets, by what they are given: disks, what a machine says, texts, kernels; and the whole path.

pub mod disks;
pub mod kernels;
pub mod machine;
pub mod texts;
pub mod boot_path;

// Each target has its own name, wherever its module is.
pub use disks::{chain, fat, mbr, stage2_header};
pub use kernels::{elf, elf_note, limine, linux, multiboot1, multiboot2};
pub use machine::{memory_map, multiboot_information, vbe};
pub use texts::{command_line, entries, gzip};

use ::boot_path::errors::catalogue::{Named, Report};

/// An error is shown, as the loader shows it, and has something to say.
pub(crate) fn show(error: &dyn Named) -> String {
    let text = Report(error).to_string();
    assert!(text.starts_with("error "));
    text
}
