//! Step 8: the file system.
//!
//! **On entry**: the boot partition. **This step**: opens the FAT volume in it. **On exit**: files
//! can be found and read.
#![allow(unsafe_code)]

use stage2::fat::{Cache, FatError, File, Volume};
use stage2::layout::FILE_CACHE;
use stage2::partition::Partition;
use stage2::stream::{self, Range};
use stage2::text::copy;

use crate::disk::Disk;
use crate::faults::Failure;
use crate::{physical, say};

/// The files of the boot partition.
pub struct Files {
    disk: Disk,
    cache: Cache<'static>,
    volume: Volume,
}

impl Files {
    /// Opens the volume.
    ///
    /// # Errors
    /// 8A, 8B or 7A.
    pub fn open(mut disk: Disk, partition: &Partition) -> Result<Self, FatError> {
        // SAFETY: called once; the region is the cache's from here on.
        let mut cache = Cache::new(unsafe { physical::region(&FILE_CACHE) });
        let volume = Volume::open(&mut disk, &mut cache, partition)?;
        say!(" 8 files    ", volume.kind());
        Ok(Self {
            disk,
            cache,
            volume,
        })
    }

    /// The disk below.
    pub fn disk(&self) -> &Disk {
        &self.disk
    }

    /// Looks for a file; `None` when there is none at this path.
    ///
    /// # Errors
    /// 8B or 7A.
    pub fn find(&mut self, path: &str) -> Result<Option<File>, Failure> {
        Ok(self.volume.find(&mut self.disk, &mut self.cache, path)?)
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
