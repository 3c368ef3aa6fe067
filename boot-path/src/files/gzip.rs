//! Step 10: unpacks files that were compressed by gzip (RFC 1952), from memory to memory or piece
//! by piece.
//!
//! The crate `miniz_oxide` decompresses; this module handles headers, checksums and lengths. A file
//! is a series of members, each with a header and a trailer of its own. `gzip` writes one, and a
//! file to which another was appended has two. There may be zeros behind each.

use core::fmt;

use disk_layout::parts::Part;
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

/// What follows the compressed data of a member.
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
    /// A header is cut off, or has reserved flags.
    Header,
    /// The compressed data is invalid.
    Data {
        /// Bytes unpacked before that showed.
        unpacked: u64,
    },
    /// The data of a member has a different length than the file says.
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
    /// What follows a member is neither another one nor zeros.
    Behind {
        /// Where it begins in the file.
        position: u64,
    },
    /// The data of a member has a different CRC-32 than the file says.
    Checksum {
        /// The CRC-32 of the unpacked bytes.
        found: u32,
        /// What the file says.
        expected: u32,
    },
}

impl Named for GzipError {
    fn entry(&self) -> &'static Entry {
        &catalogue::FILE_GZIP
    }

    fn part(&self) -> Option<Part> {
        Some(Part::Texts)
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
            Self::Behind { position } => facts(f, "no gzip data at byte #", &[position]),
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

/// Length of the unpacked data in bytes, if the file has one member and nothing behind it. Most files
/// do; [`unpack`] finds out. Unless the file is damaged, there are never fewer bytes.
///
/// # Errors
/// [`GzipError::Header`], when the file is too short.
pub fn likely_length(file: &[u8]) -> Result<u64, GzipError> {
    let (_, trailer) = Trailer::ref_from_suffix(file).map_err(|_| GzipError::Header)?;
    Ok(trailer.length.get().into())
}

/// Unpacks a file into `out`, in steps of so many bytes: calls a function with each when it is
/// done. `decompressor` is room for the state, `crc32` continues a CRC-32/ISO-HDLC.
///
/// Returns whether the unpacked data is as long as `out`. If not, it stops: [`unpack_pieces`] finds
/// out how long the data is.
///
/// # Errors
/// [`GzipError`]; then the contents of `out` are undefined.
pub fn unpack(
    file: &[u8],
    out: &mut [u8],
    decompressor: &mut Decompressor,
    crc32: impl Fn(u32, &[u8]) -> u32,
    (step, written): (usize, impl FnMut(&mut [u8])),
) -> Result<bool, GzipError> {
    let mut whole = Whole {
        bytes: out,
        step,
        member: 0,
        end: 0,
        crc32,
        written,
    };
    let all = unpack_members(file, decompressor, &mut whole)?;
    Ok(all && whole.end == whole.bytes.len())
}

/// As [`unpack`], for data of any length: hands it to `sink` piece by piece, and returns its length.
///
/// # Errors
/// [`GzipError`], the same as of [`unpack`]; then the data given to `sink` is invalid. Data that no
/// machine has room for within the loader's reach is [`GzipError::Room`].
pub fn unpack_pieces(
    file: impl FileBytes,
    room: &mut [u8; ROOM],
    decompressor: &mut Decompressor,
    crc32: impl Fn(u32, &[u8]) -> u32,
    sink: impl FnMut(&[u8]),
) -> Result<u64, GzipError> {
    let mut pieces = Pieces {
        room,
        filled: 0,
        crc: 0,
        length: 0,
        crc32,
        sink,
    };
    if unpack_members(file, decompressor, &mut pieces)? {
        return Ok(pieces.length);
    }
    let needed = pieces.length + 1;
    Err(GzipError::Room { needed })
}

/// What unpacked bytes go to.
trait Output {
    /// A new member begins, which cannot refer to bytes of those before it.
    fn begin(&mut self);

    /// The last bytes of this member, with room for more behind them, and how many there are. If
    /// there is no more room, there must not be more bytes.
    fn room(&mut self) -> (&mut [u8], usize);

    /// So many more bytes are there.
    fn wrote(&mut self, count: usize);

    /// The CRC-32 of this member.
    fn crc32(&mut self) -> u32;
}

/// All the data at once.
struct Whole<'a, C, W> {
    bytes: &'a mut [u8],
    step: usize,
    /// Where this member begins.
    member: usize,
    /// Where the next byte goes.
    end: usize,
    crc32: C,
    written: W,
}

impl<C: Fn(u32, &[u8]) -> u32, W: FnMut(&mut [u8])> Output for Whole<'_, C, W> {
    fn begin(&mut self) {
        self.member = self.end;
    }

    fn room(&mut self) -> (&mut [u8], usize) {
        let end = self.bytes.len().min(self.end.saturating_add(self.step));
        let room = self.bytes.get_mut(self.member..end).unwrap_or_default();
        (room, self.end - self.member)
    }

    fn wrote(&mut self, count: usize) {
        let start = self.end;
        self.end += count;
        (self.written)(self.bytes.get_mut(start..self.end).unwrap_or_default());
    }

    fn crc32(&mut self) -> u32 {
        let member = self.bytes.get(self.member..self.end);
        (self.crc32)(0, member.unwrap_or_default())
    }
}

/// How many bytes a decompression may look back.
const DICTIONARY: usize = 32 * 1024;

/// Room for [`unpack_pieces`], in bytes.
pub const ROOM: usize = 2 * DICTIONARY;

/// The longest data. One member of that length is the longest whose trailer states it, and the loader
/// reaches no more memory.
const LONGEST: u64 = u32::MAX as u64;

/// A piece at a time.
struct Pieces<'a, C, S> {
    room: &'a mut [u8; ROOM],
    /// How many bytes of the room are in use.
    filled: usize,
    /// The CRC-32 of this member up to here.
    crc: u32,
    /// Bytes of all members.
    length: u64,
    crc32: C,
    sink: S,
}

impl<C: Fn(u32, &[u8]) -> u32, S: FnMut(&[u8])> Output for Pieces<'_, C, S> {
    fn begin(&mut self) {
        self.filled = 0;
        self.crc = 0;
    }

    fn room(&mut self) -> (&mut [u8], usize) {
        if self.filled == ROOM {
            // Not a ring buffer: a reference to before the first byte must be detected.
            self.room.copy_within(ROOM - DICTIONARY.., 0);
            self.filled = DICTIONARY;
        }
        let left = usize::try_from(LONGEST - self.length).unwrap_or(ROOM);
        let end = ROOM.min(self.filled.saturating_add(left));
        (self.room.get_mut(..end).unwrap_or_default(), self.filled)
    }

    fn wrote(&mut self, count: usize) {
        let start = self.filled;
        self.filled += count;
        self.length += count as u64;
        let piece = self.room.get(start..self.filled).unwrap_or_default();
        self.crc = (self.crc32)(self.crc, piece);
        (self.sink)(piece);
    }

    fn crc32(&mut self) -> u32 {
        self.crc
    }
}

/// Unpacks all members of a file (RFC 1952, 2.2), with any number of zero bytes behind each: tapes
/// and disks pad files so. Returns whether there was room for all bytes.
fn unpack_members(
    mut file: impl FileBytes,
    decompressor: &mut Decompressor,
    out: &mut dyn Output,
) -> Result<bool, GzipError> {
    let (mut position, mut unpacked) = (0, 0);
    loop {
        position = header_end(&mut file, position).ok_or(GzipError::Header)?;
        out.begin();
        let start = unpacked;
        if !inflate(&mut file, &mut position, decompressor, out, &mut unpacked)? {
            return Ok(false);
        }
        let mut trailer = [0; size_of::<Trailer>()];
        if file.read_at(FileOffset::new(position), &mut trailer) != trailer.len() {
            return Err(GzipError::Data { unpacked });
        }
        let trailer: Trailer = zerocopy::transmute!(trailer);
        trailer.check(unpacked - start, out.crc32())?;
        position = skip_zeros(&mut file, position + size_of::<Trailer>() as u64);
        if position == file.size() {
            return Ok(true);
        }
        if !is_gzip(file.window(FileOffset::new(position))) {
            return Err(GzipError::Behind { position });
        }
    }
}

/// Decompresses the data of one member; counts the bytes read and the bytes unpacked. Returns
/// whether there was room for all of them.
fn inflate(
    file: &mut impl FileBytes,
    position: &mut u64,
    decompressor: &mut Decompressor,
    out: &mut dyn Output,
    unpacked: &mut u64,
) -> Result<bool, GzipError> {
    decompressor.init();
    loop {
        let window = file.window(FileOffset::new(*position));
        let read = window.len() as u64;
        let (room, start) = out.room();
        let is_full = room.len() == start;
        let (status, consumed, count) = decompress(
            decompressor,
            window,
            room,
            start,
            inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF
                | inflate_flags::TINFL_FLAG_HAS_MORE_INPUT,
        );
        *position += consumed as u64;
        *unpacked += count as u64;
        out.wrote(count);
        match status {
            TINFLStatus::Done => return Ok(true),
            TINFLStatus::HasMoreOutput if is_full => return Ok(false),
            TINFLStatus::HasMoreOutput => {}
            TINFLStatus::NeedsMoreInput if consumed > 0 && read > 0 => {}
            _ => {
                let unpacked = *unpacked;
                return Err(GzipError::Data { unpacked });
            }
        }
    }
}

impl Trailer {
    /// Compares a member's length and CRC-32 with what the file says.
    fn check(&self, unpacked: u64, found: u32) -> Result<(), GzipError> {
        let expected = self.length.get().into();
        if unpacked != expected {
            return Err(GzipError::Length { unpacked, expected });
        }
        match self.crc32.get() {
            expected if found != expected => Err(GzipError::Checksum { found, expected }),
            _ => Ok(()),
        }
    }
}

/// The first position from `position` on that has another byte than zero; the end of the file if
/// there is none.
fn skip_zeros(file: &mut impl FileBytes, mut position: u64) -> u64 {
    loop {
        let window = file.window(FileOffset::new(position));
        let other = window.iter().position(|&byte| byte != 0);
        position += other.unwrap_or(window.len()) as u64;
        if other.is_some() || window.is_empty() {
            return position;
        }
    }
}

/// The end of the header that begins at `start`.
fn header_end(file: &mut impl FileBytes, start: u64) -> Option<u64> {
    /// Magic number, method, flags, time, hints.
    const FIXED: u64 = 10;

    let head = file.window(FileOffset::new(start));
    let flags = *head.get(3)?;
    if !is_gzip(head) || flags & RESERVED != 0 {
        return None;
    }
    let mut end = start + FIXED;
    if flags & HAS_EXTRA != 0 {
        let (extra, _) = U16::read_from_prefix(file.window(FileOffset::new(end))).ok()?;
        end += size_of::<U16>() as u64 + u64::from(extra.get());
    }
    for text in [HAS_NAME, HAS_COMMENT] {
        let mut in_text = flags & text != 0;
        while in_text {
            let window = file.window(FileOffset::new(end));
            let zero = window.iter().position(|&byte| byte == 0);
            in_text = zero.is_none() && !window.is_empty();
            // Behind the text, or behind the window.
            end += zero.unwrap_or(window.len()) as u64;
            end += u64::from(!in_text);
        }
    }
    if flags & HAS_HEADER_CRC != 0 {
        end += size_of::<U16>() as u64;
    }
    (end <= file.size()).then_some(end)
}
