//! Directories: their entries, and the search for a name.

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::disk::block_device::BlockDevice;
use crate::disk::fat::cache::{Cache, Purpose};
use crate::disk::fat::chain::ExtentWalker;
use crate::disk::fat::error::FatError;
use crate::disk::fat::geometry::Kind;
use crate::disk::fat::name::{FileName, LongName, Name, PART, Parts};
use crate::disk::fat::volume::File;
use crate::position::DiskOffset;

/// "FAT Directory Structure" of the specification.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct DirectoryEntry {
    /// Eight and three characters, padded with spaces. In a part of a long name: its number and the
    /// first five characters.
    pub(super) name: [u8; 11],
    pub(super) attributes: u8,
    pub(super) reserved: u8,
    /// In a part of a long name: the checksum of the short name.
    pub(super) checksum: u8,
    /// In a part of a long name: six characters from here to `size`.
    created: [u8; 4],
    accessed: U16,
    first_cluster_high: U16,
    pub(super) written: [u8; 4],
    pub(super) first_cluster_low: U16,
    /// In a part of a long name: two characters.
    pub(super) size: U32,
}

impl DirectoryEntry {
    pub(super) const SIZE: usize = size_of::<Self>();
    /// The most entries that a directory may have.
    const MOST: u32 = 65_536;
    pub(super) const MAX_BYTES: u64 = Self::MOST as u64 * Self::SIZE as u64;

    // Special first bytes.
    const END: u8 = 0;
    const DELETED: u8 = 0xE5;

    // Bits of the attributes.
    const VOLUME_LABEL: u8 = 0x08;
    pub(super) const DIRECTORY: u8 = 0x10;
    const LONG_NAME: u8 = 0x0F;
    const LONG_NAME_MASK: u8 = 0x3F;

    /// Is it a part of a long name?
    fn is_part(&self) -> bool {
        self.name[0] != Self::DELETED && self.attributes & Self::LONG_NAME_MASK == Self::LONG_NAME
    }

    fn is_file_or_directory(&self) -> bool {
        self.name[0] != Self::DELETED && self.attributes & Self::VOLUME_LABEL == 0
    }

    /// A character of a part of a long name.
    pub(super) fn unit(&self, index: usize) -> u16 {
        /// The offsets of the characters in the entry.
        const UNITS: [usize; PART] = [1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30];

        let at = UNITS.get(index).copied().unwrap_or(1);
        let bytes = self.as_bytes().get(at..);
        let unit = bytes.and_then(|rest| rest.first_chunk());
        unit.map_or(0, |&unit| u16::from_le_bytes(unit))
    }

    pub(super) fn first_cluster(&self, kind: Kind) -> u32 {
        let low = u32::from(self.first_cluster_low.get());
        match kind {
            Kind::Fat32 => u32::from(self.first_cluster_high.get()) << 16 | low,
            // Other systems use the high half for something else there.
            Kind::Fat12 | Kind::Fat16 => low,
        }
    }
}

const _: () = assert!(DirectoryEntry::SIZE == 32);

/// The entries of a directory that are in use, in order. A directory has at most
/// [`DirectoryEntry::MAX_BYTES`], so the walk ends.
pub(super) struct Entries<'v> {
    pub(super) extents: ExtentWalker<'v>,
    /// Where the next entry is, and how many bytes the piece has from there on.
    offset: DiskOffset,
    left: u64,
    /// How many entries may still follow.
    most: u32,
}

impl<'v> Entries<'v> {
    pub(super) fn new(extents: ExtentWalker<'v>) -> Self {
        Self {
            extents,
            offset: DiskOffset::ZERO,
            left: 0,
            most: DirectoryEntry::MOST,
        }
    }

    /// The entries of a subdirectory. All directories on a path together may have as many entries
    /// as the largest directory.
    pub(super) fn below(&self, extents: ExtentWalker<'v>) -> Self {
        Self {
            most: self.most,
            ..Self::new(extents)
        }
    }

    fn next<D: BlockDevice + ?Sized>(
        &mut self,
        device: &mut D,
        cache: &mut Cache<'_>,
    ) -> Result<Option<DirectoryEntry>, FatError> {
        const SIZE: u64 = DirectoryEntry::SIZE as u64;
        if self.left < SIZE {
            let Some(extent) = self.extents.next(device, cache)? else {
                return Ok(None);
            };
            (self.offset, self.left) = (extent.disk_offset, extent.length);
        }
        if self.most == 0 {
            return Err(FatError::ChainLong(self.extents.first));
        }
        self.most -= 1;
        let end = self.extents.volume.end();
        let bytes = cache.bytes(device, self.offset, end, Purpose::Volume)?;
        self.offset += SIZE;
        self.left = self.left.saturating_sub(SIZE);
        let entry = DirectoryEntry::read_from_prefix(bytes).ok();
        let entry = entry.map(|(entry, _)| entry);
        // `None` is the end, or no room for an entry, which whole sectors always have.
        Ok(entry.filter(|entry| entry.name[0] != DirectoryEntry::END))
    }
}

/// Looks for a name in a directory.
pub(super) fn search<D: BlockDevice + ?Sized>(
    device: &mut D,
    cache: &mut Cache<'_>,
    directory: &mut Entries<'_>,
    name: &Name,
) -> Result<Option<DirectoryEntry>, FatError> {
    let mut long = LongName::default();
    while let Some(entry) = directory.next(device, cache)? {
        if entry.is_part() {
            long.push(&entry, name);
            continue;
        }
        let is_match = entry.is_file_or_directory()
            && (name.short == Some(entry.name) || long.is_name_of(&entry));
        if is_match {
            return Ok(Some(entry));
        }
        long = LongName::default();
    }
    Ok(None)
}

/// The files in a directory, in its own order.
pub struct Directory<'v> {
    pub(super) entries: Entries<'v>,
}

/// A name in a [`Directory`].
pub struct Listed {
    /// The name.
    pub name: FileName,
    /// The file, unless this is none that can be read.
    pub file: Result<File, NoFile>,
}

/// Why a name in a [`Directory`] is not that of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoFile {
    /// It is that of a directory.
    Directory,
    /// The entry of the directory makes no sense.
    Damaged(FatError),
}

impl Directory<'_> {
    /// Reads what is left of it.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub fn walk<D: BlockDevice + ?Sized>(
        &mut self,
        device: &mut D,
        cache: &mut Cache<'_>,
    ) -> Result<(), FatError> {
        while self.entries.next(device, cache)?.is_some() {}
        Ok(())
    }

    /// The next file or directory, or `None` at the end.
    ///
    /// # Errors
    /// [`FatError`], when the disk or the file system is damaged. Do not call this again
    /// afterwards.
    pub fn next<D: BlockDevice + ?Sized>(
        &mut self,
        device: &mut D,
        cache: &mut Cache<'_>,
    ) -> Result<Option<Listed>, FatError> {
        let mut long = Parts::default();
        let mut name = FileName::default();
        while let Some(entry) = self.entries.next(device, cache)? {
            if entry.is_part() {
                if long.push(&entry) {
                    name.put_part(&entry, long.part);
                }
                continue;
            }
            if entry.is_file_or_directory() {
                if !long.is_complete_for(&entry) {
                    name = FileName::short(&entry);
                }
                let file = match entry.attributes & DirectoryEntry::DIRECTORY {
                    0 => self
                        .entries
                        .extents
                        .volume
                        .file(&entry)
                        .map_err(NoFile::Damaged),
                    _ => Err(NoFile::Directory),
                };
                return Ok(Some(Listed { name, file }));
            }
            long = Parts::default();
        }
        Ok(None)
    }
}
