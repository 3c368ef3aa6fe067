//! The ways out of the loader, one for each boot protocol.

pub mod failure;
pub mod handover;
pub mod way;
pub mod recognise;
pub mod graphics;
pub mod bootpath;
pub mod chain;
pub mod multiboot;
pub mod linux;
pub mod limine;
pub mod of_file;
pub mod sums;
