//! Step 10: files that were compressed by gzip (RFC 1952), unpacked from memory to memory.
//!
//! Decompression itself is the crate `miniz_oxide`'s; here is what is around it: header, checksum,
//! length. A file has one member, as `gzip` writes it.

use core::fmt;

use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::{decompress, inflate_flags};
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// Room for the state of a decompression: 11 KiB.
pub use miniz_oxide::inflate::core::DecompressorOxide as Decompressor;

use crate::catalogue::{self, Entry, Named};
use crate::text::facts;

/// The first bytes of such a file: magic number, and the only method there is.
pub const MAGIC: [u8; 3] = [0x1F, 0x8B, 8];

/// Flags (RFC 1952, 2.3.1); bit 0 is only a hint.
const HAS_HEADER_CRC: u8 = 1 << 1;
const HAS_EXTRA: u8 = 1 << 2;
const HAS_NAME: u8 = 1 << 3;
const HAS_COMMENT: u8 = 1 << 4;
const RESERVED: u8 = 0xE0;

/// What follows the compressed data.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Trailer {
    crc32: U32,
    /// Length of the unpacked data in bytes, modulo 2³².
    length: U32,
}

/// Why a file cannot be unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GzipError {
    /// The header ends early, or has reserved flags.
    Header,
    /// The compressed data makes no sense; so many bytes came out before that showed.
    Data {
        /// Bytes unpacked until then.
        unpacked: u64,
    },
    /// The data has another length than the file says.
    Length {
        /// Bytes unpacked.
        unpacked: u64,
        /// What the file says.
        expected: u64,
    },
    /// There is no memory for so much.
    Room {
        /// Bytes that were asked for.
        needed: u64,
    },
    /// The data has another CRC-32 than the file says.
    Checksum {
        /// The CRC-32 of what was unpacked.
        found: u32,
        /// What the file says.
        expected: u32,
    },
}

impl Named for GzipError {
    fn entry(&self) -> &'static Entry {
        &catalogue::FILE_GZIP
    }
}

impl fmt::Display for GzipError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Header => f.write_str("its header"),
            Self::Data { unpacked } => facts(f, "behind # bytes", &[unpacked]),
            Self::Length { unpacked, expected } => {
                facts(f, "# bytes instead of #", &[unpacked, expected])
            }
            Self::Room { needed } => facts(f, "no room for # bytes", &[needed]),
            Self::Checksum { found, expected } => facts(
                f,
                "CRC-32 ########h instead of ########h",
                &[found.into(), expected.into()],
            ),
        }
    }
}

/// Does a file that begins like this look compressed?
pub fn is_gzip(head: &[u8]) -> bool {
    head.starts_with(&MAGIC)
}

/// Length of the unpacked data in bytes, as the last bytes of the file say. It is checked when the
/// file is unpacked.
///
/// # Errors
/// [`GzipError::Header`], when the file is too short.
pub fn unpacked_length(file: &[u8]) -> Result<u64, GzipError> {
    Ok(trailer(file)?.length.get().into())
}

fn trailer(file: &[u8]) -> Result<&Trailer, GzipError> {
    let (_, trailer) = Trailer::ref_from_suffix(file).map_err(|_| GzipError::Header)?;
    Ok(trailer)
}

/// Unpacks a file into `out`, which is as long as [`unpacked_length`] says. `decompressor` is room
/// for the state, `crc32` computes CRC-32/ISO-HDLC.
///
/// # Errors
/// [`GzipError`]; then `out` holds rubbish.
pub fn unpack(
    file: &[u8],
    out: &mut [u8],
    decompressor: &mut Decompressor,
    crc32: fn(&[u8]) -> u32,
) -> Result<(), GzipError> {
    let trailer = trailer(file)?;
    let start = header_length(file).ok_or(GzipError::Header)?;
    let end = file.len() - size_of::<Trailer>();
    let data = file.get(start..end).ok_or(GzipError::Header)?;

    decompressor.init();
    let flags = inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
    let (status, consumed, unpacked) = decompress(decompressor, data, out, 0, flags);
    let length = unpacked as u64;
    let expected = trailer.length.get().into();
    match status {
        TINFLStatus::Done if consumed == data.len() && length == expected => {}
        TINFLStatus::Done | TINFLStatus::HasMoreOutput => {
            return Err(GzipError::Length {
                unpacked: length,
                expected,
            });
        }
        _ => return Err(GzipError::Data { unpacked: length }),
    }
    let found = crc32(out);
    let expected = trailer.crc32.get();
    if found != expected {
        return Err(GzipError::Checksum { found, expected });
    }
    Ok(())
}

/// Length of the header in bytes.
fn header_length(file: &[u8]) -> Option<usize> {
    /// Magic number, method, flags, time, hints.
    const FIXED: usize = 10;

    let flags = *file.get(3)?;
    if !is_gzip(file) || flags & RESERVED != 0 {
        return None;
    }
    let mut rest = file.get(FIXED..)?;
    if flags & HAS_EXTRA != 0 {
        let (length, behind) = U16::read_from_prefix(rest).ok()?;
        rest = behind.get(usize::from(length.get())..)?;
    }
    for text in [HAS_NAME, HAS_COMMENT] {
        if flags & text != 0 {
            let end = rest.iter().position(|&byte| byte == 0)?;
            rest = rest.get(end + 1..)?;
        }
    }
    if flags & HAS_HEADER_CRC != 0 {
        rest = rest.get(size_of::<U16>()..)?;
    }
    Some(file.len() - rest.len())
}
