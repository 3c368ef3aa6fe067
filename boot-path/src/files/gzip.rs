//! Step 10: unpacks files that were compressed by gzip (RFC 1952), from memory to memory or piece
//! by piece.
//!
//! The crate `miniz_oxide` decompresses; this module handles header, checksum and length. A file
//! has one member, as `gzip` writes it.

use core::fmt;

use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::{decompress, inflate_flags};
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// Room for the state of a decompression: 11 KiB.
pub use miniz_oxide::inflate::core::DecompressorOxide as Decompressor;

use crate::errors::catalogue::{self, Entry, Named};
use crate::errors::text::facts;
use crate::files::file_bytes::FileBytes;
use crate::position::FileOffset;

/// The first bytes of such a file: magic number, and the only defined method.
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
    /// The header is cut off, or has reserved flags.
    Header,
    /// The compressed data is invalid.
    Data {
        /// Bytes unpacked before that showed.
        unpacked: u64,
    },
    /// The data has a different length than the file says.
    Length {
        /// Bytes unpacked.
        unpacked: u64,
        /// What the file says.
        expected: u64,
    },
    /// There is not enough memory.
    Room {
        /// Bytes that were requested.
        needed: u64,
    },
    /// The data has a different CRC-32 than the file says.
    Checksum {
        /// The CRC-32 of the unpacked data.
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

/// Length of the unpacked data in bytes, according to the last bytes of the file. It is checked
/// when the file is unpacked.
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

/// Unpacks a file into `out`, which must be as long as [`unpacked_length`] says. `decompressor` is
/// room for the state, `crc32` computes CRC-32/ISO-HDLC.
///
/// # Errors
/// [`GzipError`]; then the contents of `out` are undefined.
pub fn unpack(
    file: &[u8],
    out: &mut [u8],
    decompressor: &mut Decompressor,
    crc32: fn(&[u8]) -> u32,
) -> Result<(), GzipError> {
    unpack_by_steps(file, out, decompressor, crc32, (usize::MAX, |_| {}))
}

/// As [`unpack`], in steps of this many bytes: calls a function with each when it is done.
///
/// # Errors
/// Those of [`unpack`].
pub fn unpack_by_steps(
    file: &[u8],
    out: &mut [u8],
    decompressor: &mut Decompressor,
    crc32: impl FnOnce(&[u8]) -> u32,
    (step, mut written): (usize, impl FnMut(&mut [u8])),
) -> Result<(), GzipError> {
    let trailer = trailer(file)?;
    let start = header_length(file).ok_or(GzipError::Header)? as usize;
    let end = file.len() - size_of::<Trailer>();
    let data = file.get(start..end).ok_or(GzipError::Header)?;

    decompressor.init();
    let flags = inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
    let (mut consumed, mut unpacked) = (0, 0_usize);
    let status = loop {
        let end = out.len().min(unpacked.saturating_add(step));
        let data = data.get(consumed..).unwrap_or_default();
        let room = out.get_mut(..end).unwrap_or_default();
        let (status, read, count) = decompress(decompressor, data, room, unpacked, flags);
        written(room.get_mut(unpacked..).unwrap_or_default());
        consumed += read;
        unpacked += count;
        if status != TINFLStatus::HasMoreOutput || end == out.len() {
            break status;
        }
    };
    trailer.check_length(status, consumed == data.len(), unpacked as u64)?;
    trailer.check_crc(crc32(out))
}

impl Trailer {
    /// Checks how and where a decompression has ended: it must be at the end of the data, after as
    /// many bytes as the file says.
    fn check_length(
        &self,
        status: TINFLStatus,
        at_end: bool,
        unpacked: u64,
    ) -> Result<(), GzipError> {
        let expected = self.length.get().into();
        match status {
            TINFLStatus::Done if at_end && unpacked == expected => Ok(()),
            TINFLStatus::Done | TINFLStatus::HasMoreOutput => {
                Err(GzipError::Length { unpacked, expected })
            }
            _ => Err(GzipError::Data { unpacked }),
        }
    }

    fn check_crc(&self, found: u32) -> Result<(), GzipError> {
        match self.crc32.get() {
            expected if found != expected => Err(GzipError::Checksum { found, expected }),
            _ => Ok(()),
        }
    }
}

/// How many bytes a decompression may look back.
const DICTIONARY: usize = 32 * 1024;

/// Room for [`unpack_pieces`], in bytes.
pub const ROOM: usize = 2 * DICTIONARY;

/// As [`unpack`], for files of any length, on the host: hands the unpacked data to `sink` piece by
/// piece, and returns its length. It stops where [`unpack`] does, after as many bytes as the file
/// says, without allocating memory for them in advance. `crc32` continues a CRC-32/ISO-HDLC.
///
/// # Errors
/// [`GzipError`], the same as of [`unpack`]; then the data given to `sink` is invalid.
pub fn unpack_pieces(
    mut file: impl FileBytes,
    room: &mut [u8; ROOM],
    decompressor: &mut Decompressor,
    crc32: impl Fn(u32, &[u8]) -> u32,
    mut sink: impl FnMut(&[u8]),
) -> Result<u64, GzipError> {
    let mut last = [0; size_of::<Trailer>()];
    let end = file.size().checked_sub(last.len() as u64);
    let end = end.ok_or(GzipError::Header)?;
    file.read_at(FileOffset::new(end), &mut last);
    let trailer: Trailer = zerocopy::transmute!(last);
    let mut position = header_length(&mut file).ok_or(GzipError::Header)?;
    if position > end {
        return Err(GzipError::Header);
    }

    decompressor.init();
    let expected = trailer.length.get().into();
    let (mut unpacked, mut crc, mut start) = (0, 0, 0);
    loop {
        if start == room.len() {
            // Not a ring buffer: a reference to before the first byte must be detected.
            room.copy_within(ROOM - DICTIONARY.., 0);
            start = DICTIONARY;
        }
        let window = file.window(FileOffset::new(position));
        let left = usize::try_from(end - position).unwrap_or(usize::MAX);
        let data = window.get(..left).unwrap_or(window);
        let mut flags = inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
        if data.len() < left {
            flags |= inflate_flags::TINFL_FLAG_HAS_MORE_INPUT;
        }
        let (status, consumed, count) = decompress(decompressor, data, room, start, flags);
        position += consumed as u64;
        unpacked += count as u64;
        if unpacked > expected {
            // [`unpack`] has no room for more bytes and fails in the same way.
            return Err(GzipError::Length {
                unpacked: expected,
                expected,
            });
        }
        let piece = room.get(start..start + count).unwrap_or_default();
        crc = crc32(crc, piece);
        sink(piece);
        start += count;
        match status {
            TINFLStatus::HasMoreOutput => {}
            TINFLStatus::NeedsMoreInput if consumed > 0 => {}
            status => {
                trailer.check_length(status, position == end, unpacked)?;
                trailer.check_crc(crc)?;
                return Ok(unpacked);
            }
        }
    }
}

/// Length of the header in bytes.
fn header_length(mut file: impl FileBytes) -> Option<u64> {
    /// Magic number, method, flags, time, hints.
    const FIXED: u64 = 10;

    let head = file.window(FileOffset::ZERO);
    let flags = *head.get(3)?;
    if !is_gzip(head) || flags & RESERVED != 0 {
        return None;
    }
    let mut length = FIXED;
    if flags & HAS_EXTRA != 0 {
        let (extra, _) = U16::read_from_prefix(file.window(FileOffset::new(length))).ok()?;
        length += size_of::<U16>() as u64 + u64::from(extra.get());
    }
    for text in [HAS_NAME, HAS_COMMENT] {
        let mut in_text = flags & text != 0;
        while in_text {
            let window = file.window(FileOffset::new(length));
            let end = window.iter().position(|&byte| byte == 0);
            in_text = end.is_none() && !window.is_empty();
            // The end of the text, or the first byte behind the window.
            length += end.unwrap_or(window.len()) as u64;
            length += u64::from(!in_text);
        }
    }
    if flags & HAS_HEADER_CRC != 0 {
        length += size_of::<U16>() as u64;
    }
    (length <= file.size()).then_some(length)
}
