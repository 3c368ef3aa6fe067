//! Step 8: the file system.
//!
//! **On entry**: the boot partition. **This step**: opens the FAT volume in it. **On exit**: files
//! can be found and read, and it is known what those were that `disk-builder` wrote.
//!
//! What follows need not know where a file is: it may be in memory as well, because another loader
//! has put it there ([`crate::multiboot_in`]) or because it was compressed ([`crate::unpack`]).
//!
//! A FAT volume has most of what describes it twice. The second boot sector and the second FAT are
//! looked at only when something went wrong: see [`Files::attempt`].
#![allow(unsafe_code)]

use core::fmt;

use arrayvec::ArrayVec;
use boot_path::disk::fat::{self, Cache, FatError, FileName, View, Volume};
use boot_path::disk::partition::Partition;
use boot_path::disk::stream::{self, Range};
use boot_path::entry::entry_file::KernelEntry;
use boot_path::errors::catalogue::Named;
use boot_path::errors::text::copy;
use boot_path::files::integrity::{Expected, Manifest, Role, Sums};
use boot_path::memory::layout::{FILE_CACHE, STAGE2};
use boot_path::ways_in::multiboot::{MAX_GIVEN, module_number};
use disk_layout::{Stage2Header, manifest};

use crate::disk::Disk;
use crate::machine::console;
use crate::machine::crc::crc32c;
use crate::machine::faults::{self, Failure};
use crate::machine::physical;
use crate::say;

/// A file that was found.
#[derive(Clone, Copy)]
pub struct File {
    /// Bytes.
    pub size: u64,
    place: Place,
}

/// Where a file is.
#[derive(Clone, Copy)]
enum Place {
    /// In the boot partition.
    Volume(fat::File),
    /// In memory, from this physical address on.
    Memory(u64),
}

impl File {
    /// A file in memory.
    ///
    /// # Safety
    /// The bytes are mapped, and nothing writes to them as long as there is the file or a copy of it.
    pub unsafe fn in_memory(start: u64, size: u64) -> Self {
        Self {
            size,
            place: Place::Memory(start),
        }
    }

    /// All its bytes, when it is in memory.
    pub fn bytes(&self) -> Option<&'static [u8]> {
        match self.place {
            // SAFETY: the promise of `in_memory`.
            Place::Memory(start) => Some(unsafe { physical::bytes(start, self.size) }),
            Place::Volume(_) => None,
        }
    }
}

impl From<fat::File> for File {
    fn from(file: fat::File) -> Self {
        Self {
            size: file.size,
            place: Place::Volume(file),
        }
    }
}

/// The files of the boot partition, or those that another loader has brought.
#[expect(clippy::large_enum_variant, reason = "there is only one of it")]
pub enum Files {
    /// Of the boot partition.
    Volume(OnDisk),
    /// Of another loader.
    Memory(Brought),
}

/// The files that another loader has brought.
pub struct Brought {
    /// What would be in an entry.
    pub entry: KernelEntry<'static>,
    /// The kernel, then the modules.
    files: ArrayVec<File, MAX_GIVEN>,
}

impl Brought {
    /// No file yet.
    pub fn new(entry: KernelEntry<'static>) -> Self {
        let files = ArrayVec::new();
        Self { entry, files }
    }

    /// One file more, of those that there can be.
    pub fn add(&mut self, file: File) {
        // There are no more than that in an entry.
        let _ = self.files.try_push(file);
    }
}

/// The files of the boot partition.
pub struct OnDisk {
    disk: Disk,
    cache: Cache<'static>,
    partition: Partition,
    volume: Volume,
    manifest: Manifest<'static>,
}

impl Files {
    /// Opens the volume.
    ///
    /// # Errors
    /// 8A, 8B, 8D or 7A.
    pub fn open(mut disk: Disk, partition: &Partition) -> Result<Self, FatError> {
        // SAFETY: called once; the region is the cache's from here on.
        let mut cache = Cache::new(unsafe { physical::region(&FILE_CACHE) });
        let (volume, change) = Volume::open_any(&mut disk, &mut cache, partition)?;
        if let Some((error, view)) = change {
            say_change(&error, view);
        }
        say!(" 8 files    ", volume.kind());
        Ok(Self::Volume(OnDisk {
            disk,
            cache,
            partition: *partition,
            volume,
            manifest: manifest(),
        }))
    }

    /// The disk below, where there is one.
    pub fn disk(&self) -> Option<&Disk> {
        match self {
            Self::Volume(on_disk) => Some(&on_disk.disk),
            Self::Memory(_) => None,
        }
    }

    /// What another loader has brought.
    pub fn brought(&self) -> Option<&Brought> {
        match self {
            Self::Volume(_) => None,
            Self::Memory(brought) => Some(brought),
        }
    }

    /// What `disk-builder` wrote; nothing of files that it did not put where they are.
    pub fn manifest(&self) -> Manifest<'static> {
        match self {
            Self::Volume(on_disk) => on_disk.manifest,
            Self::Memory(_) => Manifest::new(&[], crc32c),
        }
    }

    /// The checksums that a file must have which was found at this path. What is in memory is not
    /// checked: if it was on the disk, it has been.
    ///
    /// # Errors
    /// 9E, 10Q, 10R.
    pub fn expected(
        &self,
        role: Role,
        sums: Sums,
        path: &'static str,
        file: &File,
    ) -> Result<Option<Expected<'static>>, Failure> {
        match &file.place {
            Place::Volume(file) => Ok(self.manifest().own(role, sums, path, file)?),
            Place::Memory(_) => Ok(None),
        }
    }

    /// Does something with files. Where that fails, does it again by the other FAT and the other boot
    /// sector, until it succeeds. With a `file` that is known already, only if its bytes are
    /// elsewhere by that view. A disk that does not answer has no other FAT either.
    ///
    /// # Errors
    /// The first failure.
    pub fn attempt(
        &mut self,
        file: Option<&File>,
        action: &mut dyn FnMut(&mut Self) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let Err(first) = action(self) else {
            return Ok(());
        };
        let file = match file.map(|file| &file.place) {
            Some(Place::Memory(_)) => return Err(first),
            Some(Place::Volume(file)) => Some(file),
            None => None,
        };
        let Self::Volume(OnDisk {
            volume: damaged, ..
        }) = *self
        else {
            return Err(first);
        };
        for view in View::ALL {
            if let Self::Volume(on_disk) = self
                && on_disk.look_by(view, &damaged, file)
                && faults::again(|| action(self)).is_ok()
            {
                say_change(first.cause(), view);
                return Ok(());
            }
        }
        if let Self::Volume(on_disk) = self {
            on_disk.volume = damaged;
        }
        Err(first)
    }

    /// Looks for a file; `None` when there is none at this path.
    ///
    /// # Errors
    /// 8B or 7A.
    pub fn find(&mut self, path: &str) -> Result<Option<File>, Failure> {
        Ok(match self {
            Self::Volume(OnDisk {
                disk,
                cache,
                volume,
                ..
            }) => volume.find(disk, cache, path)?.map(File::from),
            Self::Memory(brought) => {
                module_number(path).and_then(|number| brought.files.get(number).copied())
            }
        })
    }

    /// Calls `each` with every file of a directory, of one that does not exist with none.
    ///
    /// # Errors
    /// 8B or 7A, and those of `each`.
    pub fn list(
        &mut self,
        path: &str,
        each: &mut dyn FnMut(&mut Self, &FileName, &File) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let Self::Volume(on_disk) = self else {
            return Ok(());
        };
        let volume = on_disk.volume;
        let directory = volume.directory(&mut on_disk.disk, &mut on_disk.cache, path)?;
        let Some(mut directory) = directory else {
            return Ok(());
        };
        while let Self::Volume(on_disk) = self
            && let Some(listed) = directory.next(&mut on_disk.disk, &mut on_disk.cache)?
        {
            each(self, &listed.name, &listed.file.into())?;
        }
        Ok(())
    }

    /// Reads some bytes of a file; returns how many there were.
    ///
    /// # Errors
    /// 8B or 7A.
    pub fn read_at(&mut self, file: &File, offset: u64, out: &mut [u8]) -> Result<usize, Failure> {
        match (self, &file.place) {
            (
                Self::Volume(OnDisk {
                    disk,
                    cache,
                    volume,
                    ..
                }),
                Place::Volume(file),
            ) => Ok(volume.read_at(disk, cache, file, offset, out)?),
            _ => {
                let bytes = file.bytes().unwrap_or_default();
                let rest = usize::try_from(offset).ok();
                let rest = rest.and_then(|offset| bytes.get(offset..));
                Ok(copy(rest.unwrap_or_default(), out))
            }
        }
    }

    /// Loads pieces of a file to physical addresses that were allocated for them.
    ///
    /// # Errors
    /// 8B or 7A.
    pub fn load(&mut self, file: &File, ranges: &[Range]) -> Result<(), Failure> {
        let mut sink = |destination, bytes: &[u8]| {
            // SAFETY: the memory was allocated for this range, and has no other user yet.
            let target = unsafe { physical::bytes_mut(destination, bytes.len() as u64) };
            copy(bytes, target);
        };
        match (self, &file.place) {
            (
                Self::Volume(OnDisk {
                    disk,
                    cache,
                    volume,
                    ..
                }),
                Place::Volume(file),
            ) => stream::stream(disk, cache, volume, file, ranges, &mut sink)?,
            _ => {
                let bytes = file.bytes().unwrap_or_default();
                for range in ranges.iter().filter(|range| range.length > 0) {
                    let end = range.file_offset.saturating_add(range.length);
                    let size = file.size;
                    let range_bytes = bytes.get(range.file_offset as usize..end as usize);
                    let range_bytes = range_bytes.ok_or(FatError::BehindFile { end, size })?;
                    sink(range.destination, range_bytes);
                }
            }
        }
        Ok(())
    }
}

impl OnDisk {
    /// Goes over to another view, if that shows something else, and the disk is there to show it.
    fn look_by(&mut self, view: View, damaged: &Volume, file: Option<&fat::File>) -> bool {
        let (disk, cache) = (&mut self.disk, &mut self.cache);
        if !disk.is_there() {
            return false;
        }
        let Ok(volume) = Volume::open_view(disk, cache, &self.partition, view) else {
            return false;
        };
        self.volume = volume;
        volume != *damaged
            && file.is_none_or(|file| !volume.same_places(damaged, disk, cache, file))
    }
}

/// Tells that the volume is damaged, and which part of it will do nevertheless.
fn say_change(damage: &dyn Named, view: View) {
    let part = match (view.backup, view.second_fat) {
        (false, false) => "the first FAT",
        (false, true) => "the second FAT",
        (true, false) => "the backup boot sector",
        (true, true) => "the backup boot sector and the second FAT",
    };
    console::print(&Change(damage, part));
}

struct Change<'a>(&'a dyn Named, &'a str);

impl fmt::Display for Change<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(damage, part) = self;
        for text in [
            " 8 files    by ",
            part,
            ", because of ",
            damage.entry().code,
            ": ",
        ] {
            f.write_str(text)?;
        }
        damage.fmt(f)
    }
}

/// The manifest at the end of stage2's image; its place is in the header.
fn manifest() -> Manifest<'static> {
    let header: Stage2Header = physical::read(STAGE2.start);
    let (start, length) = (header.manifest.get(), manifest::MAX_LENGTH as u32);
    let fits = u64::from(start).saturating_add(length.into()) <= STAGE2.size();
    let bytes = match start {
        // SAFETY: nothing writes there, for the linker script keeps as much room behind the image.
        1.. if fits => unsafe { physical::bytes(STAGE2.start + u64::from(start), length.into()) },
        _ => &[],
    };
    Manifest::new(bytes, crc32c)
}
