//! Chain loading: starting another boot sector.

pub mod boot_sector;
pub mod boot;
