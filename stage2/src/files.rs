//! Step 8: the file system.
//!
//! **On entry**: the boot partition. **This step**: opens the FAT volume in it. **On exit**: files
//! can be found and read, and it is known what those were that `disk-builder` wrote.
//!
//! A FAT volume has most of what describes it twice. The second boot sector and the second FAT are
//! looked at only when something went wrong: see [`Files::attempt`].
#![allow(unsafe_code)]

use core::fmt;

use disk_layout::{Stage2Header, manifest};
use stage2::catalogue::Named;
use stage2::fat::{Cache, FatError, File, Listed, View, Volume};
use stage2::integrity::Manifest;
use stage2::layout::{FILE_CACHE, STAGE2};
use stage2::partition::Partition;
use stage2::stream::{self, Range};
use stage2::text::copy;

use crate::crc::crc32c;
use crate::disk::Disk;
use crate::faults::{self, Failure};
use crate::{console, physical, say};

/// The files of the boot partition.
pub struct Files {
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
    /// 8A, 8B or 7A.
    pub fn open(mut disk: Disk, partition: &Partition) -> Result<Self, FatError> {
        // SAFETY: called once; the region is the cache's from here on.
        let mut cache = Cache::new(unsafe { physical::region(&FILE_CACHE) });
        let first = Volume::open(&mut disk, &mut cache, partition);
        let volume = match first {
            Ok(volume) => volume,
            Err(error) => View::ALL
                .into_iter()
                .find_map(|view| {
                    let volume = Volume::open_view(&mut disk, &mut cache, partition, view).ok()?;
                    say_change(&error, view);
                    Some(volume)
                })
                .ok_or(error)?,
        };
        say!(" 8 files    ", volume.kind());
        Ok(Self {
            disk,
            cache,
            partition: *partition,
            volume,
            manifest: manifest(),
        })
    }

    /// The disk below.
    pub fn disk(&self) -> &Disk {
        &self.disk
    }

    /// What `disk-builder` wrote.
    pub fn manifest(&self) -> Manifest<'static> {
        self.manifest
    }

    /// Does something with files. Where that fails, does it again by the other FAT and the other boot
    /// sector, until it succeeds. With a `file` that is known already, only if its bytes are
    /// elsewhere by that view.
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
        let damaged = self.volume;
        for view in View::ALL {
            if self.look_by(view, &damaged, file) && faults::again(|| action(self)).is_ok() {
                say_change(first.cause(), view);
                return Ok(());
            }
        }
        self.volume = damaged;
        Err(first)
    }

    /// Goes over to another view, if that shows something else.
    fn look_by(&mut self, view: View, damaged: &Volume, file: Option<&File>) -> bool {
        let (disk, cache) = (&mut self.disk, &mut self.cache);
        let Ok(volume) = Volume::open_view(disk, cache, &self.partition, view) else {
            return false;
        };
        self.volume = volume;
        volume != *damaged
            && file.is_none_or(|file| !volume.same_places(damaged, disk, cache, file))
    }

    /// Looks for a file; `None` when there is none at this path.
    ///
    /// # Errors
    /// 8B or 7A.
    pub fn find(&mut self, path: &str) -> Result<Option<File>, Failure> {
        Ok(self.volume.find(&mut self.disk, &mut self.cache, path)?)
    }

    /// Calls `each` with every file of a directory, of one that does not exist with none.
    ///
    /// # Errors
    /// 8B or 7A, and those of `each`.
    pub fn list(
        &mut self,
        path: &str,
        each: &mut dyn FnMut(&mut Self, &Listed) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let volume = self.volume;
        let Some(mut directory) = volume.directory(&mut self.disk, &mut self.cache, path)? else {
            return Ok(());
        };
        while let Some(listed) = directory.next(&mut self.disk, &mut self.cache)? {
            each(self, &listed)?;
        }
        Ok(())
    }

    /// Reads some bytes of a file; returns how many there were.
    ///
    /// # Errors
    /// 8B or 7A.
    pub fn read_at(&mut self, file: &File, offset: u64, out: &mut [u8]) -> Result<usize, Failure> {
        let (disk, cache) = (&mut self.disk, &mut self.cache);
        Ok(self.volume.read_at(disk, cache, file, offset, out)?)
    }

    /// Loads pieces of a file to physical addresses that were allocated for them.
    ///
    /// # Errors
    /// 8B or 7A.
    pub fn load(&mut self, file: &File, ranges: &[Range]) -> Result<(), Failure> {
        Ok(stream::stream(
            &mut self.disk,
            &mut self.cache,
            &self.volume,
            file,
            ranges,
            &mut |destination, bytes: &[u8]| {
                // SAFETY: the memory was allocated for this range, and has no other user yet.
                let target = unsafe { physical::bytes_mut(destination, bytes.len() as u64) };
                copy(bytes, target);
            },
        )?)
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
