//! The ways out of the loader, one for each boot protocol.

pub mod boot_sector;
pub mod multiboot;
pub mod linux;
pub mod limine;
