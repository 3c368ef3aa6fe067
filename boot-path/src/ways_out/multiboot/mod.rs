//! Multiboot 1 and 2.

pub mod elf;
pub mod header;
pub mod information;
pub mod boot;
