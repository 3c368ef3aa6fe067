//! A kernel for Multiboot 1.

use stage2::multiboot_header::Version;

use super::multiboot;

/// The input: see [`multiboot::run`].
pub fn run(bytes: &[u8]) {
    multiboot::run(Version::One, bytes);
}
