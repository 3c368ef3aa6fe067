//! The volume in the boot partition, and its files.

use boot_path::disk::fat::{
    Cache, Extent, ExtentWalker, FatError, File, NoFile, Volume as FatVolume,
};
use boot_path::disk::stream::{self, Range};
use boot_path::files::access::MAX_OF_BROKEN;
use boot_path::files::file_bytes::{FileBytes, WINDOW};
use boot_path::files::integrity::Manifest;
use boot_path::memory::address::PhysAddr;
use boot_path::position::FileOffset;
use boot_path::position::{DiskOffset, Lba};
use disk_layout::SECTOR_SIZE;

use super::disk::FileDisk;
use super::facts::{Places, Sectors, Volume};
use super::{Problem, say};

impl Volume {
    /// Reads a boot sector that stage2 has accepted.
    pub(super) fn of(boot_sector: &[u8], start: Lba) -> Self {
        // Offsets: Microsoft, "FAT: General Overview of On-Disk Format", section "Boot Sector and
        // BPB".
        let number = |offset: usize, length: usize| {
            let bytes = &boot_sector[offset..offset + length];
            bytes
                .iter()
                .rev()
                .fold(0_u64, |number, &byte| number << 8 | u64::from(byte))
        };
        let or = |short: u64, long: u64| if short != 0 { short } else { long };
        // In sectors of the volume, which may be larger than ours.
        let scale = number(0x0B, 2) / SECTOR_SIZE as u64;
        let per_cluster = number(0x0D, 1);
        let reserved = number(0x0E, 2);
        let fats = number(0x10, 1) * or(number(0x16, 2), number(0x24, 4));
        let root = (number(0x11, 2) * 32).div_ceil(number(0x0B, 2).max(1));
        let data = reserved + fats + root;
        let clusters =
            or(number(0x13, 2), number(0x20, 4)).saturating_sub(data) / per_cluster.max(1);
        Self {
            fat_bits: match clusters {
                _ if number(0x16, 2) == 0 => 32,
                0..4085 => 12,
                _ => 16,
            },
            cluster: (per_cluster * number(0x0B, 2)) as u32,
            clusters: clusters as u32,
            reserved: Sectors::new(start, reserved * scale),
            fats: Sectors::new(start + reserved * scale, fats * scale),
            data: Sectors::new(start + data * scale, clusters * per_cluster * scale),
        }
    }
}

/// A name in a directory, and what has this name.
pub(super) type Name = (String, Result<File, NoFile>);

/// The boot partition's files.
pub(super) struct Reader<'a, 'c> {
    pub(super) disk: &'a mut FileDisk,
    pub(super) cache: Cache<'c>,
    pub(super) fat: FatVolume,
    pub(super) manifest: Manifest<'c>,
}

impl<'c> Reader<'_, 'c> {
    pub(super) fn find(&mut self, path: &str) -> Problem<Option<File>> {
        let found = self.fat.find(self.disk, &mut self.cache, path);
        found.map_err(|error| say(&error))
    }

    /// The names in a directory, and the files. If it cannot be read to its end, those that the
    /// loader sees, and why.
    pub(super) fn list(&mut self, path: &str) -> (Vec<Name>, Option<FatError>) {
        let mut names = Vec::new();
        let broken = self.list_all(path, &mut names).err();
        if broken.is_some() {
            names.truncate(MAX_OF_BROKEN as usize);
        }
        (names, broken)
    }

    fn list_all(&mut self, path: &str, names: &mut Vec<Name>) -> Result<(), FatError> {
        let (disk, cache) = (&mut *self.disk, &mut self.cache);
        if let Some(mut directory) = self.fat.directory(disk, cache, path)? {
            while let Some(listed) = directory.next(disk, cache)? {
                names.push((listed.name.as_str().to_owned(), listed.file));
            }
        }
        Ok(())
    }

    /// The sectors with these bytes of a file. The whole chain of the file is looked at.
    pub(super) fn places(
        &mut self,
        file: &File,
        offset: u64,
        length: u64,
    ) -> Result<Places, FatError> {
        let end = offset.saturating_add(length).min(file.size);
        let mut places = Places::default();
        let mut walker = self.fat.extents(file);
        while let Some(extent) = walker.next(self.disk, &mut self.cache)? {
            let from = extent.file_offset.max(FileOffset::new(offset));
            let to = (extent.file_offset + extent.length).min(FileOffset::new(end));
            if from < to {
                let first = extent.disk_offset + (from - extent.file_offset);
                let last = first + (to - from - 1);
                let [first, last] = [first, last].map(|byte| byte.sector(SECTOR_SIZE));
                places.add(Sectors::new(first, last - first + 1));
            }
        }
        Ok(places)
    }

    /// Opens a file whose chain is good: see [`places`](Self::places).
    pub(super) fn open<'r>(&'r mut self, file: &File) -> VolumeFile<'r, 'c> {
        VolumeFile {
            walker: self.fat.extents(file),
            fat: &self.fat,
            disk: &mut *self.disk,
            cache: &mut self.cache,
            file: *file,
            extent: NOWHERE,
            buffer: Vec::new(),
            start: FileOffset::ZERO,
            problem: None,
        }
    }

    /// The first `limit` bytes of a file, or all of a shorter one.
    pub(super) fn bytes(&mut self, file: &File, limit: u64) -> Result<Vec<u8>, FatError> {
        let length = file.size.min(limit);
        let mut bytes = vec![0; length as usize];
        let range = Range {
            file_offset: FileOffset::ZERO,
            length,
            destination: PhysAddr::new(0),
        };
        stream::stream(
            self.disk,
            &mut self.cache,
            &self.fat,
            file,
            &[range],
            &mut |at, piece| bytes[at.as_u64() as usize..][..piece.len()].copy_from_slice(piece),
        )?;
        Ok(bytes)
    }
}

/// No bytes.
const NOWHERE: Extent = Extent {
    file_offset: FileOffset::ZERO,
    disk_offset: DiskOffset::ZERO,
    length: 0,
};

/// A file in the boot partition, as bytes for the loader's parsers.
pub(super) struct VolumeFile<'r, 'c> {
    disk: &'r mut FileDisk,
    cache: &'r mut Cache<'c>,
    fat: &'r FatVolume,
    file: File,
    walker: ExtentWalker<'r>,
    /// The extent that the walker returned last.
    extent: Extent,
    /// The bytes that were read last, and their offset in the file.
    buffer: Vec<u8>,
    start: FileOffset,
    /// Why something could not be read.
    problem: Option<String>,
}

/// Bytes of a file that are read in one go.
const CHUNK: u64 = 256 << 10;

impl VolumeFile<'_, '_> {
    /// Whether every read so far has succeeded.
    pub(super) fn check(&mut self) -> Problem<()> {
        self.problem.take().map_or(Ok(()), Err)
    }

    /// The piece of the file that a byte is in.
    fn extent(&mut self, offset: FileOffset) -> Problem<Extent> {
        if offset < self.extent.file_offset {
            self.walker = self.fat.extents(&self.file);
            self.extent = NOWHERE;
        }
        while offset - self.extent.file_offset >= self.extent.length {
            let next = self.walker.next(self.disk, self.cache);
            let next = next.map_err(|error| say(&error))?;
            let (end, size) = (offset.as_u64() + 1, self.file.size);
            self.extent = next.ok_or_else(|| say(&FatError::BehindFile { end, size }))?;
        }
        Ok(self.extent)
    }

    fn fill(&mut self, offset: FileOffset, length: u64) -> Problem<()> {
        self.buffer.resize(length as usize, 0);
        self.start = offset;
        let mut done = 0;
        while done < length {
            let at = offset + done;
            let extent = self.extent(at)?;
            let skip = at - extent.file_offset;
            let count = (extent.length - skip).min(length - done);
            let piece = &mut self.buffer[done as usize..][..count as usize];
            self.disk
                .read_bytes(extent.disk_offset + skip, piece)
                .map_err(|error| say(&error))?;
            done += count;
        }
        Ok(())
    }
}

impl FileBytes for VolumeFile<'_, '_> {
    fn size(&self) -> u64 {
        self.file.size
    }

    fn window(&mut self, offset: FileOffset) -> &[u8] {
        let left = self.file.size.saturating_sub(offset.as_u64());
        let least = left.min(WINDOW as u64);
        let end = self.start + self.buffer.len() as u64;
        if (offset < self.start || offset + least > end)
            && let Err(problem) = self.fill(offset, left.min(CHUNK))
        {
            self.problem.get_or_insert(problem);
            self.buffer.clear();
        }
        &self.buffer[(offset - self.start).min(self.buffer.len() as u64) as usize..]
    }
}
