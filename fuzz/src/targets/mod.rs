//! The targets, by their input: disks, what a machine says, texts, kernels; and the whole path.

pub mod disks;
pub mod kernels;
pub mod machine;
pub mod texts;
pub mod boot_path;

// Each target has its own name, whatever module it is in.
pub use disks::{chain, fat, mbr, stage2_header};
pub use kernels::{elf, elf_note, limine, linux, multiboot1, multiboot2};
pub use machine::{memory_map, multiboot_information, vbe};
pub use texts::{command_line, entries, gzip};

use ::boot_path::errors::catalogue::{Named, Report};

/// Shows an error as the loader does, and checks that the text is not empty.
pub(crate) fn show(error: &dyn Named) -> String {
    let text = Report(error).to_string();
    assert!(text.starts_with("error "));
    text
}
