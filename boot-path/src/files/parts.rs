//! Parts of the loader, read once a boot needs them: see [`disk_layout::parts`].

use core::cell::Cell;
use core::fmt;

use disk_layout::SECTOR_SIZE;
use disk_layout::parts::{Part, Place};

use crate::disk::block_device::{BlockDevice, DiskError};
use crate::disk::boot_drive;
use crate::errors::catalogue::{self, Entry, Named};
use crate::errors::text::{copy, facts};
use crate::files::sum;
use crate::machine::Machine;
use crate::memory::address::PhysAddr;
use crate::memory::ram::Allocation;
use crate::position::Lba;

/// Why a part of the loader is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartError {
    /// It cannot be read.
    Unreadable(Part, DiskError),
    /// Its sum is another one. With its LBA, and the number of its sectors, of 512 bytes each.
    Damaged(Part, Lba, u64),
}

impl Named for PartError {
    fn entry(&self) -> &'static Entry {
        match self {
            Self::Unreadable(..) => &catalogue::PART_READ,
            Self::Damaged(..) => &catalogue::PART_DAMAGED,
        }
    }
}

impl fmt::Display for PartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Unreadable(part, _) | Self::Damaged(part, ..)) = self;
        f.write_str(part.name())?;
        match *self {
            Self::Unreadable(_, error) => {
                f.write_str(", ")?;
                error.fmt(f)
            }
            Self::Damaged(_, lba, sectors) => {
                let last = lba.as_u64() + sectors - 1;
                facts(f, ", LBA # to #", &[lba.as_u64(), last])
            }
        }
    }
}

/// What is known of each part.
#[derive(Debug)]
pub struct Parts {
    /// Those that are there: a bit each.
    there: Cell<u32>,
    /// The last one that could not be read. It is not tried again: a disk that does not answer takes
    /// long.
    missing: Cell<Option<(Part, PartError)>>,
}

impl Parts {
    /// None is there.
    pub const fn none() -> Self {
        Self {
            there: Cell::new(0),
            missing: Cell::new(None),
        }
    }

    /// Reads a part from the disk that the loader was read from, unless it is there. `table`: where a part
    /// is, and the LBA of stage2 in sectors of 512 bytes.
    ///
    /// # Errors
    /// 7E, 7F.
    #[inline(never)] // there are many callers
    pub fn bring<'m, M: Machine<'m>>(
        &self,
        machine: M,
        part: Part,
        table: fn(Part) -> (Place, u32),
    ) -> Result<(), PartError> {
        let bit = 1 << part as u32;
        if self.there.get() & bit != 0 {
            return Ok(());
        }
        if let Some((missing, error)) = self.missing.get()
            && missing == part
        {
            return Err(error);
        }
        let (place, lba) = table(part);
        let result = read(machine, part, &place, lba);
        match result {
            Ok(()) => self.there.set(self.there.get() | bit),
            Err(error) => self.missing.set(Some((part, error))),
        }
        result
    }
}

/// Reads a part, unless another loader has brought all of them, and compares its sum.
fn read<'m, M: Machine<'m>>(
    machine: M,
    part: Part,
    place: &Place,
    lba: u32,
) -> Result<(), PartError> {
    let first = u64::from(lba) + u64::from(place.sector.get());
    let start = PhysAddr::new(place.address.get().into());
    let room = machine.bytes(Allocation::new(start, place.length.get().into()));
    if machine.multiboot().is_none() {
        let mut disk = boot_drive::open(machine);
        fill(&mut disk, first, room).map_err(|error| PartError::Unreadable(part, error))?;
    }
    let (rounds, _) = room.as_chunks();
    if sum::of_rounds(rounds) != place.sum.map(|half| half.get()) {
        let sectors = room.len().div_ceil(SECTOR_SIZE) as u64;
        return Err(PartError::Damaged(part, Lba::new(first), sectors));
    }
    Ok(())
}

/// Reads bytes from a sector of 512 bytes on, whatever the disk's own sectors are.
fn fill(disk: &mut impl BlockDevice, first: u64, mut room: &mut [u8]) -> Result<(), DiskError> {
    let size = disk.sector_size().max(1); // the compiler need not carry the text of a division by 0
    let mut at = first * SECTOR_SIZE as u64;
    while !room.is_empty() {
        let skipped = (at % size as u64) as usize;
        let count = (skipped + room.len()).div_ceil(size);
        let count = count.min(disk.max_transfer());
        let bytes = disk.read(Lba::new(at / size as u64), count)?;
        let bytes = bytes.get(skipped..).unwrap_or_default();
        let length = bytes.len().min(room.len());
        let (now, later) = room.split_at_mut(length);
        copy(bytes, now);
        at += length as u64;
        room = later;
    }
    Ok(())
}
