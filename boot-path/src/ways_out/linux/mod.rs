//! The Linux x86 boot protocol.

pub mod image;
pub mod segments;
pub mod boot;
