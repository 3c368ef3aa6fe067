//! Step 8: the file system.
//!
//! **On entry**: the boot partition. **This step**: opens the FAT volume in it. **On exit**: files
//! can be found and read, and the files that `disk-builder` wrote are known.
//!
//! Later steps need not know where a file is. It may also be in memory, because another loader has
//! put it there ([`crate::ways_in`]) or because it was compressed ([`super::unpack`]). Nor do they
//! need to know that a FAT volume has two copies of most of its structures: see [`super::views`].

use alloc::vec::Vec;
use core::cell::Cell;
use core::mem::MaybeUninit;

use disk_layout::parts::Part;

use crate::disk::fat::{self, Cache, Directory, FatError, FileName, LARGE_FILE, NoFile, Volume};
use crate::disk::int13::Drive;
use crate::disk::partition::Partition;
use crate::disk::stream::{self, Range};
use crate::errors::text::{copy, decimal};
use crate::files::error::{FileMachine, Missing, is_of_volume};
use crate::files::gzip::Decompressor;
use crate::files::integrity::{self, Expected, Manifest, Role, Running, Sums};
use crate::files::views::{open_other, say_volume};
use crate::memory::list;
use crate::memory::map::MemoryMap;
use crate::memory::ram::{Allocation, Block, bytes_at_mut};
use crate::position::FileOffset;

/// A file that was found. Its size and first cluster stay the same, whichever copy of the file
/// allocation table leads to its bytes, so the loader reads what it measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct File<'m> {
    /// Bytes.
    pub size: u64,
    pub(super) place: Place<'m>,
}

/// Where a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place<'m> {
    /// In the boot partition.
    Volume(fat::File),
    /// In memory.
    Memory(&'m [u8]),
}

impl<'m> File<'m> {
    /// A file in memory.
    pub const fn in_memory(bytes: &'m [u8]) -> Self {
        Self {
            size: bytes.len() as u64,
            place: Place::Memory(bytes),
        }
    }

    /// All its bytes, when it is in memory.
    pub const fn bytes(&self) -> Option<&'m [u8]> {
        match self.place {
            Place::Memory(bytes) => Some(bytes),
            Place::Volume(_) => None,
        }
    }
}

impl From<fat::File> for File<'_> {
    fn from(file: fat::File) -> Self {
        Self {
            size: file.size,
            place: Place::Volume(file),
        }
    }
}

/// The files of the boot partition, or those that another loader has loaded.
pub struct Files<'m, M> {
    pub(super) machine: M,
    pub(super) source: Source<'m, M>,
    pub(super) manifest: Manifest<'m>,
    pub(super) decompressor: &'m mut MaybeUninit<Decompressor>,
    kept: Option<Kept<'m>>,
    /// The path of the file in use.
    last: Cell<&'m str>,
}

/// Where the files are.
#[expect(clippy::large_enum_variant, reason = "there is only one of it")]
pub(super) enum Source<'m, M> {
    /// In the boot partition.
    Volume(OnDisk<'m, M>),
    /// In memory: the kernel, then the modules.
    Memory(&'m [File<'m>]),
}

/// The files of the boot partition.
pub(super) struct OnDisk<'m, M> {
    pub(super) disk: Drive<M>,
    pub(super) cache: Cache<'m>,
    pub(super) partition: Partition,
    pub(super) volume: Volume,
}

/// Parts of a file that were read before their destination was known.
struct Kept<'m> {
    file: File<'m>,
    /// The file was read by this view of the volume.
    volume: Volume,
    /// The parts; the destination of each is its place in the block.
    parts: Vec<Range>,
    /// The memory of that list.
    list_place: Allocation,
    block: Block<'m>,
}

/// Calls its second argument with the bytes of the loaded blocks that a checksum covers, in the
/// order of the file.
pub type Checked<'p> = &'p dyn Fn(&[Block<'_>], &mut dyn FnMut(&[u8]));

/// Pieces of a file, their destinations, and the bytes that a checksum covers.
pub struct Plan<'p> {
    /// The pieces.
    pub ranges: &'p [Range],
    /// The bytes that the checksum covers.
    pub checked: Checked<'p>,
}

/// Receives the names of a directory.
pub trait Listing<'m, M: FileMachine<'m>> {
    /// Receives one name, and the file of that name.
    ///
    /// # Errors
    /// The reason to stop the listing.
    fn file(
        &mut self,
        files: &mut Files<'m, M>,
        name: &FileName,
        file: Result<File<'m>, NoFile>,
    ) -> Result<(), M::Failure>;

    /// The directory cannot be read to its end: these may not be all names.
    ///
    /// # Errors
    /// The failure, if the names do not suffice.
    fn broken(&mut self, files: &mut Files<'m, M>, failure: M::Failure) -> Result<(), M::Failure>;
}

/// The most names of a directory that cannot be read to its end: it may be a ring.
pub const MAX_OF_BROKEN: u32 = 256;

impl<'m, M: FileMachine<'m>> Files<'m, M> {
    /// No files yet. The state of a decompression takes too many KiB to lie on the stack all the time.
    pub fn new(machine: M, decompressor: &'m mut MaybeUninit<Decompressor>) -> Self {
        Self {
            machine,
            source: Source::Memory(&[]),
            manifest: Manifest::new(&[], M::crc32c),
            decompressor,
            kept: None,
            last: Cell::new(""),
        }
    }

    /// Opens the volume in a partition. `cache` is for the file system's windows. `manifest` is
    /// what `disk-builder` recorded about the files: see [`disk_layout::manifest`].
    ///
    /// # Errors
    /// 8A, 8B, 8D or 7A.
    pub fn open(
        &mut self,
        mut disk: Drive<M>,
        partition: &Partition,
        cache: &'m mut [u8],
        manifest: &'m [u8],
    ) -> Result<(), M::Failure> {
        let manifest = Manifest::new(manifest, M::crc32c);
        let mut cache = Cache::new(cache);
        if manifest.largest() >= LARGE_FILE {
            cache.expect_large_file();
        }
        let volume = match Volume::open(&mut disk, &mut cache, partition) {
            Ok(volume) => {
                say_volume(self.machine, &volume);
                volume
            }
            Err(error) => {
                let open = open_other as fn(_, _, _, _, _) -> _;
                match self.machine.of_part(Part::Disks, open) {
                    Ok(open) => open(self.machine, &mut disk, &mut cache, partition, error)?,
                    Err(_) => return Err(error.into()),
                }
            }
        };
        self.source = Source::Volume(OnDisk {
            disk,
            cache,
            partition: *partition,
            volume,
        });
        self.manifest = manifest;
        Ok(())
    }

    /// Takes the files that another loader has loaded. `disk-builder` has no record of them.
    pub fn take(&mut self, files: &'m [File<'m>]) {
        self.source = Source::Memory(files);
    }

    /// The machine.
    pub fn machine(&self) -> M {
        self.machine
    }

    /// The disk that holds the files, if there is one.
    pub fn disk(&self) -> Option<&Drive<M>> {
        match &self.source {
            Source::Volume(on_disk) => Some(&on_disk.disk),
            Source::Memory(_) => None,
        }
    }

    /// The path of the file that was found or loaded last: facts about a volume do not name it.
    pub fn last(&self) -> &'m str {
        self.last.get()
    }

    /// Did `disk-builder` write a file at this path?
    pub fn is_known(&self, path: &str) -> bool {
        self.manifest.is_known(path)
    }

    /// The checksums that a file found at this path must have. A file in memory is not checked: if
    /// it came from the disk, it already was.
    ///
    /// # Errors
    /// 9E, 10Q, 10R.
    pub fn expected(
        &self,
        role: Role,
        sums: Sums,
        path: &'m str,
        file: &File<'m>,
    ) -> Result<Option<Expected<'m>>, M::Failure> {
        self.last.set(path);
        match &file.place {
            Place::Volume(file) => Ok(self.manifest.own(role, sums, path, file)?),
            Place::Memory(_) => Ok(None),
        }
    }

    /// Some checksums of a file found at this path, whatever they cover, if `disk-builder` wrote
    /// it; and what they cover, if it has no others.
    pub fn any_expected(
        &self,
        role: Role,
        path: &'m str,
        file: &File<'m>,
    ) -> (Option<Expected<'m>>, Option<Sums>) {
        match &file.place {
            Place::Volume(file) => self.manifest.any(role, path, file),
            Place::Memory(_) => (None, None),
        }
    }

    /// Finds a file that must be there.
    ///
    /// # Errors
    /// 9A, 9B or 9D, 8B or 7A.
    pub fn find(&mut self, role: Role, path: &'m str) -> Result<File<'m>, M::Failure> {
        let found = self.find_if_there(role, path)?;
        Ok(found.ok_or(Missing { role, path })?)
    }

    /// Finds a file that may be missing, unless `disk-builder` wrote it.
    ///
    /// # Errors
    /// 9D, 8B or 7A.
    pub fn find_text(&mut self, path: &'m str) -> Result<Option<File<'m>>, M::Failure> {
        let role = Role::Text;
        let file = self.find_if_there(role, path)?;
        if file.is_none() && self.is_known(path) {
            return Err(Missing { role, path }.into());
        }
        Ok(file)
    }

    /// Looks for a file; `None` when this path has none. If `disk-builder` wrote the file but it is
    /// missing, the loader looks for it by the volume's other copies.
    ///
    /// # Errors
    /// 8B or 7A.
    pub fn find_if_there(
        &mut self,
        role: Role,
        path: &'m str,
    ) -> Result<Option<File<'m>>, M::Failure> {
        self.last.set(path);
        let known = self.is_known(path);
        let mut found = None;
        let looked = self.by_views(None, known, &mut |files, confirm| {
            found = files.find_by_view(path)?;
            let lost = match &found {
                None => known,
                Some(file) => confirm && !files.is_own(path, file),
            };
            match lost {
                true => Err(M::Failure::from(Missing { role, path })),
                false => Ok(()),
            }
        });
        match looked {
            Err(failure) if is_of_volume(&failure) => Err(failure),
            Err(_) => Ok(None),
            Ok(()) => Ok(found),
        }
    }

    /// Is it the file that `disk-builder` wrote at this path?
    fn is_own(&self, path: &'m str, file: &File<'m>) -> bool {
        let (expected, _) = self.any_expected(Role::Text, path, file);
        expected.is_some()
    }

    fn find_by_view(&mut self, path: &str) -> Result<Option<File<'m>>, FatError> {
        Ok(match &mut self.source {
            Source::Volume(OnDisk {
                disk,
                cache,
                volume,
                ..
            }) => volume.find(disk, cache, path)?.map(File::from),
            Source::Memory(files) => {
                let number = number_of(path);
                number.and_then(|number| files.get(number).copied())
            }
        })
    }

    /// Shows every name of a directory; none if the directory does not exist. First chooses the
    /// copy of the file allocation table: one that can be read, and preferably one by which the
    /// directory has the names that `disk-builder` wrote. If there is no readable one, shows the
    /// names up to the damage.
    ///
    /// # Errors
    /// 8B or 7A, and those of the listing.
    pub fn list(
        &mut self,
        path: &'m str,
        listing: &mut dyn Listing<'m, M>,
    ) -> Result<(), M::Failure> {
        let expected = self.manifest.directory(path);
        let mut names = 0;
        let walked = self.by_views(None, false, &mut |files, _| {
            match expected {
                Some(_) => names = files.sum_names(path)?,
                // Only its damage counts.
                None => files.in_directory(path, |all, disk, cache| all.walk(disk, cache))?,
            }
            Ok(())
        });
        if let Err(failure) = walked {
            if !self.answers() {
                return Err(failure);
            }
            let listed = self.list_by_view(path, MAX_OF_BROKEN, listing);
            return match listed {
                Err(other) if !is_of_volume(&other) || !self.answers() => Err(other),
                _ => listing.broken(self, failure),
            };
        }
        if let Some(expected) = expected
            && expected.names(names).is_err()
        {
            // If no view shows all the names, somebody has added or deleted files.
            let _ = self.by_views(None, true, &mut |files, _| {
                Ok(expected.names(files.sum_names(path)?)?)
            });
        }
        self.list_by_view(path, u32::MAX, listing)
    }

    /// May there be something to [list](Self::list) in a directory, if only its damage? There is
    /// not if it does not exist, and `disk-builder` has not made it either.
    pub fn may_list(&mut self, path: &'m str) -> bool {
        if self.manifest.directory(path).is_some() {
            return true;
        }
        let Source::Volume(on_disk) = &mut self.source else {
            return false;
        };
        let OnDisk { disk, cache, .. } = on_disk;
        let directory = on_disk.volume.directory(disk, cache, path);
        !matches!(directory, Ok(None))
    }

    /// Does the disk still answer?
    pub fn answers(&self) -> bool {
        self.disk().is_none_or(Drive::is_there)
    }

    /// Does something with a directory by the view of the volume that is in use, if it exists.
    fn in_directory(
        &mut self,
        path: &str,
        action: impl FnOnce(&mut Directory<'_>, &mut Drive<M>, &mut Cache<'m>) -> Result<(), FatError>,
    ) -> Result<(), FatError> {
        let Source::Volume(OnDisk {
            disk,
            cache,
            volume,
            ..
        }) = &mut self.source
        else {
            return Ok(());
        };
        match &mut volume.directory(disk, cache, path)? {
            Some(directory) => action(directory, disk, cache),
            None => Ok(()),
        }
    }

    /// The sum of the names in a directory: see [`integrity::sum_names`].
    fn sum_names(&mut self, path: &str) -> Result<u32, FatError> {
        let mut sum = 0;
        self.in_directory(path, |directory, disk, cache| {
            while let Some(listed) = directory.next(disk, cache)? {
                if listed.file == Err(NoFile::Directory) {
                    continue;
                }
                sum = integrity::sum_names(sum, listed.name.as_str(), M::crc32c);
            }
            Ok(())
        })?;
        Ok(sum)
    }

    /// Shows the names of a directory by the view of the volume that is in use, but at most `most`.
    ///
    /// # Errors
    /// 8B or 7A, and those of the listing.
    fn list_by_view(
        &mut self,
        path: &str,
        most: u32,
        listing: &mut dyn Listing<'m, M>,
    ) -> Result<(), M::Failure> {
        let Source::Volume(on_disk) = &mut self.source else {
            return Ok(());
        };
        let volume = on_disk.volume;
        let directory = volume.directory(&mut on_disk.disk, &mut on_disk.cache, path)?;
        let Some(mut directory) = directory else {
            return Ok(());
        };
        for _ in 0..most {
            let Source::Volume(on_disk) = &mut self.source else {
                break;
            };
            let Some(listed) = directory.next(&mut on_disk.disk, &mut on_disk.cache)? else {
                break;
            };
            listing.file(self, &listed.name, listed.file.map(File::from))?;
        }
        Ok(())
    }

    /// Reads a small file, or its first bytes, into `out`; returns the number of bytes. If that is
    /// the whole file, compares its checksum.
    ///
    /// # Errors
    /// 9E, 10Q, 10R, 8B or 7A.
    pub fn read(
        &mut self,
        file: &File<'m>,
        expected: Option<Expected<'m>>,
        out: &mut [u8],
    ) -> Result<usize, M::Failure> {
        let mut length = 0;
        self.by_views(Some(file), expected.is_some(), &mut |files, _| {
            length = files.read_by_view(file, FileOffset::ZERO, out)?;
            if let Some(expected) = &expected {
                let bytes = out.get(..length).unwrap_or_default();
                let mut sum = Running::new(M::fast_crc32c());
                sum.add(bytes);
                expected.bytes(sum.end())?;
            }
            Ok(())
        })?;
        Ok(length)
    }

    /// Reads bytes that have no checksum; returns their number.
    ///
    /// # Errors
    /// 8B or 7A.
    pub fn read_at(
        &mut self,
        file: &File<'m>,
        offset: FileOffset,
        out: &mut [u8],
    ) -> Result<usize, M::Failure> {
        let mut length = 0;
        self.by_views(Some(file), false, &mut |files, _| {
            length = files.read_by_view(file, offset, out)?;
            Ok(())
        })?;
        Ok(length)
    }

    /// Reads bytes by the view of the volume that is in use; returns their number.
    pub(super) fn read_by_view(
        &mut self,
        file: &File<'m>,
        offset: FileOffset,
        out: &mut [u8],
    ) -> Result<usize, M::Failure> {
        match (&mut self.source, &file.place) {
            (
                Source::Volume(OnDisk {
                    disk,
                    cache,
                    volume,
                    ..
                }),
                Place::Volume(file),
            ) => Ok(volume.read_at(disk, cache, file, offset, out)?),
            _ => {
                let bytes = file.bytes().unwrap_or_default();
                let rest = usize::try_from(offset.as_u64()).ok();
                let rest = rest.and_then(|offset| bytes.get(offset..));
                Ok(copy(rest.unwrap_or_default(), out))
            }
        }
    }

    /// Loads pieces of a file into blocks that were allocated for them, and compares the checksum.
    ///
    /// # Errors
    /// 10Q, 10R, 8B or 7A.
    pub fn load(
        &mut self,
        file: &File<'m>,
        expected: Option<Expected<'m>>,
        plan: &Plan<'_>,
        blocks: &mut [Block<'m>],
    ) -> Result<(), M::Failure> {
        self.by_views(Some(file), expected.is_some(), &mut |files, _| {
            files.load_by_view(file, plan.ranges, blocks)?;
            let Some(expected) = &expected else {
                return Ok(());
            };
            let mut sum = Running::new(M::fast_crc32c());
            let machine = files.machine;
            (plan.checked)(blocks, &mut |bytes| {
                machine.sum_block(bytes, &mut |bytes| sum.add(bytes))
            });
            Ok(expected.bytes(sum.end())?)
        })
    }

    fn load_by_view(
        &mut self,
        file: &File<'m>,
        ranges: &[Range],
        blocks: &mut [Block<'m>],
    ) -> Result<(), M::Failure> {
        let machine = self.machine;
        let mut sink = |destination, bytes: &[u8]| {
            let to = bytes_at_mut(blocks, destination, bytes.len() as u64);
            assert!(to.len() == bytes.len(), "no memory was allocated for this");
            machine.store(bytes, to);
        };
        match (&mut self.source, &file.place) {
            (
                Source::Volume(OnDisk {
                    disk,
                    cache,
                    volume,
                    ..
                }),
                Place::Volume(place),
            ) => {
                let kept = self.kept.as_ref();
                let kept = kept.filter(|kept| kept.file == *file && kept.volume == *volume);
                let Some(kept) = kept else {
                    stream::stream(disk, cache, volume, place, ranges, &mut sink)?;
                    return Ok(());
                };
                for range in ranges {
                    match kept.bytes(range) {
                        Some(bytes) => sink(range.destination, bytes),
                        None => {
                            let ranges = core::slice::from_ref(range);
                            stream::stream(disk, cache, volume, place, ranges, &mut sink)?;
                        }
                    }
                }
            }
            _ => {
                let bytes = file.bytes().unwrap_or_default();
                for range in ranges.iter().filter(|range| range.length > 0) {
                    let start = range.file_offset.as_u64();
                    let end = start.saturating_add(range.length);
                    let size = file.size;
                    let range_bytes = bytes.get(start as usize..end as usize);
                    let range_bytes = range_bytes.ok_or(FatError::BehindFile { end, size })?;
                    sink(range.destination, range_bytes);
                }
            }
        }
        Ok(())
    }

    /// Reads parts of a file on the disk, before their destination is known, by the view of the
    /// volume that is in use. [`load`](Self::load) does not read them again. Without enough memory
    /// for them, nothing is kept.
    ///
    /// # Errors
    /// 8B or 7A.
    pub(super) fn keep_by_view(
        &mut self,
        file: &File<'m>,
        parts: impl Iterator<Item = (FileOffset, u64)> + Clone,
        memory: &mut MemoryMap,
    ) -> Result<(), M::Failure> {
        self.forget(memory);
        let Source::Volume(on_disk) = &self.source else {
            return Ok(());
        };
        let volume = on_disk.volume;
        let lengths = parts.clone().map(|(_, length)| length);
        let size = lengths.fold(0, u64::saturating_add);
        let Ok(block) = self.machine.high(size, memory) else {
            return Ok(());
        };
        let count = parts.clone().count();
        let Ok(list_place) = self.machine.grow_heap::<Range>(count, memory) else {
            self.machine.free(block, memory);
            return Ok(());
        };
        let mut kept = Kept {
            file: *file,
            volume,
            parts: list::with_room(count),
            list_place,
            block,
        };
        let mut destination = kept.block.start();
        for (file_offset, length) in parts {
            let part = Range {
                file_offset,
                length,
                destination,
            };
            list::put(&mut kept.parts, part);
            destination += length;
        }
        let read = self.load_by_view(file, &kept.parts, core::slice::from_mut(&mut kept.block));
        self.kept = Some(kept);
        read
    }

    /// A kept part, by its index; empty if there is none.
    pub fn kept(&self, index: usize) -> &[u8] {
        let part = self.kept.as_ref().and_then(|kept| {
            let range = kept.parts.get(index)?;
            kept.bytes(range)
        });
        part.unwrap_or_default()
    }

    /// Frees the kept parts.
    pub fn forget(&mut self, memory: &mut MemoryMap) {
        if let Some(kept) = self.kept.take() {
            drop(kept.parts);
            self.machine.give_back(kept.list_place, memory);
            self.machine.free(kept.block, memory);
        }
    }
}

impl Kept<'_> {
    /// The bytes of a range, if a single part holds them all.
    fn bytes(&self, range: &Range) -> Option<&[u8]> {
        self.parts.iter().find_map(|part| {
            let skip = range.file_offset.checked_sub(part.file_offset)?;
            let start = part.destination - self.block.start() + skip;
            let inside = skip.checked_add(range.length)? <= part.length;
            let bytes = self.block.get(start as usize..)?;
            bytes.get(..range.length as usize).filter(|_| inside)
        })
    }
}

/// Files from another loader get this prefix and a number as their path.
pub const BROUGHT: &str = "/modules/";

/// The number of a file from another loader, by its path: 0 is the kernel.
pub fn number_of(path: &str) -> Option<usize> {
    decimal(path.strip_prefix(BROUGHT)?).map(|number| number as usize)
}
