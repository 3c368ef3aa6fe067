//! Files, their checksums, and what was compressed.

pub mod file_bytes;
pub mod checksum;
pub mod integrity;
pub mod gzip;
