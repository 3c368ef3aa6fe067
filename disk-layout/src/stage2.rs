//! The head of stage2, at LBA 1.

use core::mem::{offset_of, size_of};

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::{SECTOR_SIZE, parts};

/// Where stage1 loads stage2 (physical address, bytes): behind the MBR, and low enough that
/// stage2's 16-bit code is within reach of segment 0.
pub const LOAD_ADDRESS: u32 = 0x8000;

/// Maximum length of what stage1 reads of stage2, in bytes: the first [part](crate::parts), and the
/// [manifest](crate::manifest).
pub const MAX_LENGTH: usize = (parts::START - LOAD_ADDRESS) as usize;

/// The bytes at the front of stage2 that stage1 sums up: those of its first call of the BIOS, so that
/// a BIOS that reads less than it says is noticed. They contain all code that runs before stage2 has
/// checked the rest. stage2 has at least as many bytes on disk; a shorter one is filled up with
/// zeros.
pub const SUMMED: usize = 32 * 1024;

/// The [`stage1_sum`] of an intact stage2. It is not 0, because memory to which nothing was read
/// may be all zero, and has the sum 0.
pub const SUM: u32 = 1;

/// Offset of the first byte that [`Stage2Header::check`] covers; the last one is the image's last.
/// In front of it is what stage2 changes before it checks itself. The number of bytes is a
/// multiple of [`CHECK_ROUND`].
pub const CHECK_START: usize = 0x680;

/// The sum is computed over rounds of so many bytes.
pub const CHECK_ROUND: usize = 128;

/// The first four bytes of stage2.
pub const MAGIC: [u8; 4] = *b"BPS2";

/// Version of [`Stage2Header`].
pub const VERSION: u16 = 6;

/// Offset at which stage1 enters stage2, in 16-bit mode with CS = 0.
pub const ENTRY_OFFSET: usize = size_of::<Stage2Header>();

/// The sum of stage2, which stage1 computes before it jumps, and compares with [`SUM`]: for each of
/// the little-endian doublewords in the first [`SUMMED`] bytes, the last one first, the sum so far is
/// rotated by one bit, and the doubleword is added.
///
/// Each step can be undone, so two values of a doubleword never lead to the same sum: any damage
/// within one doubleword is detected. Addition alone would not notice sectors that have changed
/// places. Here their doublewords are rotated by different amounts. Even if they have moved by a
/// multiple of 32 steps, as sectors do, the carries that the additions lose reveal it.
pub fn stage1_sum(image: &[u8]) -> u32 {
    doublewords(image).iter().rev().fold(0, add)
}

/// The value of [`Stage2Header::sum`] that makes [`stage1_sum`] of the image [`SUM`].
///
/// The sum is computed up to the field, and backwards from the end to it.
pub fn header_sum(image: &[u8]) -> u32 {
    const FIELD: usize = offset_of!(Stage2Header, sum) / size_of::<u32>();

    let all = doublewords(image);
    let behind = all.get(FIELD + 1..).unwrap_or_default();
    let before = behind.iter().rev().fold(0, add);
    let with_it = all.iter().take(FIELD).fold(SUM, take_off);
    with_it.wrapping_sub(before.rotate_left(1))
}

/// The doublewords that are summed up. (Odd bytes at the end are left out.)
fn doublewords(image: &[u8]) -> &[[u8; 4]] {
    image.get(..SUMMED).unwrap_or(image).as_chunks().0
}

/// The sum behind one more doubleword.
fn add(sum: u32, doubleword: &[u8; 4]) -> u32 {
    sum.rotate_left(1)
        .wrapping_add(u32::from_le_bytes(*doubleword))
}

/// The sum in front of the last doubleword.
fn take_off(sum: u32, doubleword: &[u8; 4]) -> u32 {
    sum.wrapping_sub(u32::from_le_bytes(*doubleword))
        .rotate_right(1)
}

/// The road that stage2 takes to long mode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Road {
    /// Real mode, 32-bit protected mode, long mode: as the manuals tell it.
    #[default]
    Protected = 0,
    /// Real mode, long mode: paging and protection are switched on by one write to CR0.
    Direct = 1,
}

/// The header of stage2; `disk-builder` fills it in when it writes the image.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Stage2Header {
    /// [`MAGIC`].
    pub magic: [u8; 4],
    /// The value that makes [`stage1_sum`] equal [`SUM`]: see [`header_sum`].
    pub sum: U32,
    /// Length of stage2 in bytes, this header included; a multiple of 512, at least [`SUMMED`].
    pub length: U32,
    /// Offset of the [manifest](crate::manifest) in the image; 0: there is none.
    pub manifest: U32,
    /// [`VERSION`].
    pub version: U16,
    /// A [`Road`].
    pub road: u8,
    /// 1: each BIOS call from long mode on is written to the serial line.
    pub record: u8,
    /// Zero in the image. In memory, the loader leaves an [error record](error_record) here.
    pub error: [u8; 4],
    /// The sum of the bytes from [`CHECK_START`] to the end, by which stage2 checks itself: the one
    /// that the [manifest](crate::manifest) has of files, over whole rounds and without their length.
    pub check: [U64; 2],
}

const _: () = assert!(size_of::<Stage2Header>() == 40);
// stage1's sum is a doubleword of its own, and the other one does not cover the header.
const _: () = assert!(offset_of!(Stage2Header, sum).is_multiple_of(size_of::<u32>()));
const _: () = assert!(size_of::<Stage2Header>() <= CHECK_START && CHECK_START < SUMMED);
const _: () = assert!(CHECK_START.is_multiple_of(CHECK_ROUND));
const _: () = assert!(SECTOR_SIZE.is_multiple_of(CHECK_ROUND));

/// Offset of [`Stage2Header::error`], which is in memory at [`LOAD_ADDRESS`] plus this.
pub const ERROR_OFFSET: usize = offset_of!(Stage2Header, error);

/// The code of the error that the loader has reported, read from the header in memory.
///
/// When a report is printed completely and only the wait for a key is left, the loader writes the
/// error's code and a colon, in ASCII (`8A:`), to [`Stage2Header::error`]. A watcher outside the
/// machine (a debugger, `disk-builder run`) learns it without a serial line, and cannot mistake
/// anything that a kernel prints for an error.
///
/// `None`: no error was reported, or this is not stage2's header.
#[must_use]
pub fn error_record(header: &[u8]) -> Option<&str> {
    let (header, _) = Stage2Header::ref_from_prefix(header).ok()?;
    let record = header.error.split(|&byte| byte == b':').next()?;
    let code = core::str::from_utf8(record).ok()?;
    let complete =
        record.len() < header.error.len() && code.bytes().all(|b| b.is_ascii_alphanumeric());
    (header.magic == MAGIC && complete && !code.is_empty()).then_some(code)
}

/// The rounds that the [sum](Stage2Header::check) of stage2 covers. `None` if stage2's self check
/// would refuse the length, which has to be a whole number of sectors, at least [`SUMMED`] and at most
/// [`MAX_LENGTH`] bytes; or if `image` is shorter.
#[must_use]
pub fn covered(image: &[u8]) -> Option<&[[u8; CHECK_ROUND]]> {
    let (header, _) = Stage2Header::ref_from_prefix(image).ok()?;
    let length = header.length.get() as usize;
    let possible = (SUMMED..=MAX_LENGTH).contains(&length) && length.is_multiple_of(SECTOR_SIZE);
    let covered = image.get(CHECK_START..length).filter(|_| possible)?;
    Some(covered.as_chunks().0)
}

/// The bytes of stage2 from its [manifest](crate::manifest) on; `None`: it has none.
#[must_use]
pub fn manifest(image: &[u8]) -> Option<&[u8]> {
    let (header, _) = Stage2Header::ref_from_prefix(image).ok()?;
    let image = image.get(..header.length.get() as usize)?;
    match header.manifest.get() as usize {
        0 => None,
        start => image.get(start..),
    }
}
