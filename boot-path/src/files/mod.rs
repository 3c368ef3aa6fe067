//! Files, their checksums, and decompression.

pub mod file_bytes;
pub mod checksum;
pub mod sum;
pub mod parts;
pub mod integrity;
pub mod gzip;
pub mod error;
pub mod access;
pub mod views;
pub mod unpack;
