//! A kernel for Multiboot 1.

use boot_path::ways_out::multiboot::header::Version;

use super::multiboot;

/// The input: see `multiboot::run`.
pub fn run(bytes: &[u8]) {
    multiboot::run(Version::One, bytes);
}
