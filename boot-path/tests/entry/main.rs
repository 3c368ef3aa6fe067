//! What is to be booted.

mod entries;
mod entry_file;
mod version;
