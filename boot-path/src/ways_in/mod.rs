//! Ways in other than by the BIOS.

pub mod multiboot;
pub mod brought;
