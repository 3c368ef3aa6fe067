//! Kernels, by each protocol.

pub mod elf;
pub mod elf_note;
pub mod limine;
pub mod linux;
mod loaded;
mod multiboot;
pub mod multiboot1;
pub mod multiboot2;
