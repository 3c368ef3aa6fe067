//! The Linux x86 boot protocol.

pub mod image;
