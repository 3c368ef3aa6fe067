//! Step 7: which partition has something to boot, where there are several with a FAT volume.
//!
//! Nothing is parsed here. Names are enough: an owner who writes `/boot/kernel.conf` wants to boot
//! from there, whatever is in it.

use crate::disk::block_device::BlockDevice;
use crate::disk::fat::{Cache, FatError, NoFile, View, Volume};
use crate::disk::partition::{self, Found, Partition, PartitionError};
use crate::entry::entries::{self, is_entry};
use crate::entry::entry_file::{PATH_ENTRY, PATH_KERNEL};

/// Does a volume list entries? Asked only where no other file is to be booted by.
pub type HasEntries<'a, D> =
    &'a mut dyn FnMut(&mut D, &mut Cache<'_>, &Volume) -> Result<bool, FatError>;

/// Chooses the boot partition of a disk: see [`partition`]. `memory` is for the file system's
/// windows, and used only where there is a choice; `has_entries` is [`has_entries`].
///
/// # Errors
/// Those of [`partition::find_bootable`].
pub fn find_partition<D: BlockDevice + ?Sized>(
    device: &mut D,
    memory: &mut [u8],
    has_entries: HasEntries<'_, D>,
) -> Result<Found, PartitionError> {
    partition::find_bootable(device, &mut |device, partition| {
        let cache = &mut Cache::new(&mut *memory);
        is_bootable(device, cache, partition, has_entries)
    })
}

/// Is there a file that [`choose`](crate::entry::choose) would boot by, in any view of the volume?
fn is_bootable<D: BlockDevice + ?Sized>(
    device: &mut D,
    cache: &mut Cache<'_>,
    partition: &Partition,
    has_entries: HasEntries<'_, D>,
) -> bool {
    let Ok(volume) = Volume::open_any(device, cache, partition, &mut |_, _| {}) else {
        return false;
    };
    View::ALL.into_iter().any(|view| {
        volume
            .by_view(device, cache, partition, view)
            .and_then(|volume| has_any(device, cache, &volume, has_entries))
            .unwrap_or(false)
    })
}

fn has_any<D: BlockDevice + ?Sized>(
    device: &mut D,
    cache: &mut Cache<'_>,
    volume: &Volume,
    has_entries: HasEntries<'_, D>,
) -> Result<bool, FatError> {
    for path in [PATH_ENTRY, PATH_KERNEL] {
        if volume.find(device, cache, path)?.is_some() {
            return Ok(true);
        }
    }
    has_entries(device, cache, volume)
}

/// Is there a file of an entry in the directory for them?
///
/// # Errors
/// [`FatError`], when the disk or the file system is damaged.
#[inline(never)]
pub fn has_entries<D: BlockDevice + ?Sized>(
    device: &mut D,
    cache: &mut Cache<'_>,
    volume: &Volume,
) -> Result<bool, FatError> {
    let Some(mut directory) = volume.directory(device, cache, entries::DIRECTORY)? else {
        return Ok(false);
    };
    while let Some(listed) = directory.next(device, cache)? {
        let is_directory = listed.file == Err(NoFile::Directory);
        if is_entry(listed.name.as_str()) && !is_directory {
            return Ok(true);
        }
    }
    Ok(false)
}
