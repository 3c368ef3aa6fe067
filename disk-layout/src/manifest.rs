//! What stage2 knows of the files in the boot partition: their checksums.
//!
//! `disk-builder` puts it at the end of stage2's image, where stage2's own checksum covers it:
//! a [`Head`], then its entries. An [`Entry`] applies to a file only as long as the file is the one
//! that the builder wrote: see [`Entry::is_of`].

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The first four bytes.
pub const MAGIC: [u8; 4] = *b"BPMF";

/// The version of [`Head`] and [`Entry`].
pub const VERSION: u16 = 2;

/// Maximum number of entries: `loader.conf`, 64 boot entries and their directory, and 94 for
/// kernels and modules, which the boot entries share. A kernel may have more than one.
pub const MAX_ENTRIES: usize = 160;

/// Maximum length of a manifest in bytes.
pub const MAX_LENGTH: usize = size_of::<Head>() + MAX_ENTRIES * size_of::<Entry>();

/// A manifest begins at a multiple of this many bytes of stage2's image.
pub const ALIGNMENT: usize = 4;

/// The head of a manifest.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Head {
    /// [`MAGIC`].
    pub magic: [u8; 4],
    /// Number of entries; at most [`MAX_ENTRIES`].
    pub entries: U16,
    /// [`VERSION`].
    pub version: U16,
}

/// What a file was when the image was built.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Entry {
    /// CRC-32C of the path, with its ASCII letters in lower case and one slash in front. If only
    /// parts of a kernel are summed up, it continues over a byte that says by which protocol the
    /// kernel is read (`boot_path::files::integrity::Sums`).
    pub path: U32,
    /// Time (low half) and date (high half) of the last change, as the directory entry has them.
    pub stamp: U32,
    /// Length of the file in bytes.
    pub size: U32,
    /// CRC-32C of the bytes. For a kernel: of the bytes that its segments get from the file,
    /// segment by segment in the order of their addresses. For a directory: the sum of the names in
    /// it, each as the CRC-32C that a path has.
    pub crc32c: U32,
    /// For a kernel: CRC-32C of the file header, the program headers and the notes, in this order.
    /// For any other file, and for a kernel that is compressed: zero.
    pub headers_crc32c: U32,
    /// The other checksum (`boot_path::files::sum`) of the same bytes, for CPUs that have no
    /// instruction for CRC-32C. For a directory: zero.
    pub sum: [U64; 2],
    /// The other checksum of a kernel's headers, or zero.
    pub headers_sum: [U64; 2],
    /// For an ELF kernel: between which offsets in the file all requests, tags and markers of the
    /// Limine protocol begin; 0 and 0, if it has none and no marks of another loader either. For any
    /// other file: 0 and FFFFFFFFh.
    pub requests: [U32; 2],
}

impl Entry {
    /// Bits of a stamp that may be wrong.
    const TOLERANCE: u32 = 2;

    /// Whether a file with this stamp is the one that `disk-builder` wrote.
    ///
    /// Writing to a file changes its stamp, and the builder's stamps lie in a year from which
    /// nobody has files. A few bits may differ, so that damage to the stamp does not end the
    /// protection.
    pub const fn is_of(&self, stamp: u32) -> bool {
        (self.stamp.get() ^ stamp).count_ones() <= Self::TOLERANCE
    }
}

const _: () = assert!(size_of::<Head>() == 8 && size_of::<Entry>() == 60);

/// Parses a manifest from its start; `bytes` may go on behind its end. `None`: it is not a
/// manifest.
pub fn parse(bytes: &[u8]) -> Option<&[Entry]> {
    let (head, rest) = Head::ref_from_prefix(bytes).ok()?;
    let entries = usize::from(head.entries.get());
    if head.magic != MAGIC || head.version.get() != VERSION || entries > MAX_ENTRIES {
        return None;
    }
    let (entries, _) = <[Entry]>::ref_from_prefix_with_elems(rest, entries).ok()?;
    Some(entries)
}
