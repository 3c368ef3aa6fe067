//! Other ways in than by the BIOS.

pub mod multiboot;
pub mod brought;
