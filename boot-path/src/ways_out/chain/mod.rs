//! Chain loading: another boot sector.

pub mod boot_sector;
pub mod boot;
