//! Files, their checksums, and what was compressed.

pub mod file_bytes;
pub mod checksum;
pub mod integrity;
pub mod gzip;
pub mod error;
pub mod access;
pub mod views;
pub mod unpack;
