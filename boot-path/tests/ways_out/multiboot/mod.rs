//! Multiboot headers good and bad, and the boot information, which the crate `multiboot2` reads.
// That crate reads from an address.
#![allow(unsafe_code)]

use boot_path::errors::catalogue::Named;
use boot_path::position::FileOffset;
use boot_path::ways_out::multiboot::header::{Header, HeaderError, Version};
use multiboot2_header::HeaderTagFlag;

mod elf;
mod leading;
mod header;
mod information;
mod waiting;

const MIB: u64 = 1 << 20;
const MAGIC_1: u32 = 0x1BAD_B002;
const MAGIC_2: u32 = 0xE852_50D6;
const OPTIONAL: u32 = 1 << 16;
const REQUIRED: HeaderTagFlag = HeaderTagFlag::Required;

fn bytes(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// A header of version 2 of any architecture, at the start of a file.
fn header_for(architecture: u32, tags: &[u32]) -> Vec<u8> {
    let length = 16 + 4 * tags.len() as u32;
    let sum = MAGIC_2.wrapping_add(architecture).wrapping_add(length);
    let mut header = bytes(&[MAGIC_2, architecture, length, 0_u32.wrapping_sub(sum)]);
    header.extend(bytes(tags));
    header
}

/// One with these tags and an end tag.
fn header_2(tags: &[u32]) -> Vec<u8> {
    header_for(0, &[tags, &[0, 8]].concat())
}

/// A header of version 1.
fn header_1(flags: u32, rest: &[u32]) -> Vec<u8> {
    let sum = MAGIC_1.wrapping_add(flags);
    let mut header = bytes(&[MAGIC_1, flags, 0_u32.wrapping_sub(sum)]);
    header.extend(bytes(rest));
    header
}

fn parse_1(head: &[u8]) -> Result<Header, HeaderError> {
    Header::parse(Version::One, head)
}

fn parse_2(head: &[u8]) -> Result<Header, HeaderError> {
    Header::parse(Version::Two, head)
}

#[track_caller]
fn refuse<T: PartialEq + std::fmt::Debug>(
    result: Result<T, HeaderError>,
    code: &str,
    error: HeaderError,
) {
    assert_eq!(result, Err(error));
    assert_eq!(error.entry().code, code);
}

fn plain(version: Version, offset: u64) -> Header {
    Header {
        version,
        offset: FileOffset::new(offset),
        addresses: None,
        entry: None,
        limits: None,
        apm: false,
        needs_console: false,
        has_text: true,
        graphics: None,
        needs_graphics: false,
        unsound_end: false,
    }
}
