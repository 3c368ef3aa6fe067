//! A kernel for Multiboot 2.

use boot_path::ways_out::multiboot::header::Version;

use super::multiboot;

/// The input: see `multiboot::run`.
pub fn run(bytes: &[u8]) {
    multiboot::run(Version::Two, bytes);
}
