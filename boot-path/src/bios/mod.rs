//! The BIOS services that the loader uses, and how it interprets their answers.

pub mod firmware;
pub mod time;
pub mod transcript;
pub mod int10;
pub mod int15;
pub mod int16;
pub mod int1a;
pub mod vbe;
pub mod acpi;
pub mod tables;
