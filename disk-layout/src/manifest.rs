//! What stage2 knows of the files in the boot partition: their checksums.
//!
//! `disk-builder` puts it at the end of stage2's image, where stage2's own checksum covers it:
//! a [`Head`], then its entries. An [`Entry`] speaks of a file only as long as that is still the
//! builder's own: see [`Entry::is_of`].

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The first four bytes.
pub const MAGIC: [u8; 4] = *b"BPMF";

/// The most entries: `loader.conf`, 64 boot entries and their directory, and 94 of kernels and modules,
/// which those share. A kernel may have more than one.
pub const MAX_ENTRIES: usize = 160;

/// The most bytes that it may have.
pub const MAX_LENGTH: usize = size_of::<Head>() + MAX_ENTRIES * size_of::<Entry>();

/// It begins at a multiple of this many bytes of stage2's image.
pub const ALIGNMENT: usize = 4;

/// What it begins with.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Head {
    /// [`MAGIC`].
    pub magic: [u8; 4],
    /// Number of entries; at most [`MAX_ENTRIES`].
    pub entries: U16,
    /// Zero.
    pub reserved: U16,
}

/// What a file was when the image was built.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Entry {
    /// CRC-32C of the path, its ASCII letters in lower case, one slash in front; where not all of a
    /// kernel is summed up, continued over a byte that says by which protocol it is read
    /// (`boot_path::files::integrity::Sums`).
    pub path: U32,
    /// Time (low half) and date (high half) of the last change, as the directory entry has them.
    pub stamp: U32,
    /// Length of the file in bytes.
    pub size: U32,
    /// CRC-32C of the bytes; of a kernel, of those that its segments get from the file, segment by
    /// segment in the order of their addresses. Of a directory: the sum of the names in it, each as the
    /// CRC-32C that a path has.
    pub crc32c: U32,
    /// Of a kernel: CRC-32C of the file header, the program headers and the notes, in this order.
    /// Of any other file, and of a kernel that is compressed or Linux: zero.
    pub headers_crc32c: U32,
}

impl Entry {
    /// Bits of a stamp that may be wrong.
    const TOLERANCE: u32 = 2;

    /// Whether a file with this stamp is the one that `disk-builder` wrote.
    ///
    /// Whoever writes to a file changes its stamp, and the builder's lie in a year from which nobody
    /// has files. Some bits may differ, so that damage to the stamp does not end the protection.
    pub const fn is_of(&self, stamp: u32) -> bool {
        (self.stamp.get() ^ stamp).count_ones() <= Self::TOLERANCE
    }
}

const _: () = assert!(size_of::<Head>() == 8 && size_of::<Entry>() == 20);

/// Takes a manifest apart: the bytes from its start on, and as many behind it as there are. `None`:
/// it is none.
pub fn parse(bytes: &[u8]) -> Option<&[Entry]> {
    let (head, rest) = Head::ref_from_prefix(bytes).ok()?;
    let entries = usize::from(head.entries.get());
    if head.magic != MAGIC || entries > MAX_ENTRIES {
        return None;
    }
    let (entries, _) = <[Entry]>::ref_from_prefix_with_elems(rest, entries).ok()?;
    Some(entries)
}
