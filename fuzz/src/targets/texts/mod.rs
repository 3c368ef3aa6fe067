//! Texts, and files that are compressed.

pub mod command_line;
pub mod entries;
pub mod gzip;
