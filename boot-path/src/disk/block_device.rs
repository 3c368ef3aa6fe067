//! Step 7: a disk, as the code above it sees it.

use core::fmt;

use crate::errors::catalogue::{self, Entry, Named};
use crate::errors::text::facts;
use crate::position::Lba;

/// A disk that reads whole logical sectors.
pub trait BlockDevice {
    /// Bytes in a logical sector: a power of two, 512 to 65,536.
    fn sector_size(&self) -> usize;

    /// Number of logical sectors; `u64::MAX` when the firmware does not report it, or was not asked.
    fn sector_count(&self) -> u64;

    /// The same, after the firmware was asked.
    fn learn_sector_count(&mut self) -> u64 {
        self.sector_count()
    }

    /// The most sectors that one [`read`](Self::read) may request; at least 1.
    fn max_transfer(&self) -> usize;

    /// Reads `count` sectors (1 to [`max_transfer`](Self::max_transfer)) from `lba` on. Returns at
    /// least one, and fewer than `count` only when the next one cannot be read. The bytes stay in
    /// the device's transfer buffer until the next call.
    ///
    /// # Errors
    /// [`DiskError`] when the sectors are not on the disk or cannot be read, after all retries.
    fn read(&mut self, lba: Lba, count: usize) -> Result<&[u8], DiskError>;
}

/// Why sectors could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskError {
    /// What went wrong.
    pub cause: DiskFailure,
    /// The first sector of the read that failed.
    pub lba: Lba,
    /// The drive number of INT 13h.
    pub drive: u8,
}

/// The ways in which a disk fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskFailure {
    /// The BIOS reports this status (AH) after all retries; other sectors may be good.
    Status(u8),
    /// The same, and no other sector can be read either: the disk is gone or hangs.
    NoAnswer(u8),
    /// The sectors lie behind the end of the disk.
    OutOfRange,
}

impl Named for DiskError {
    fn entry(&self) -> &'static Entry {
        match self.cause {
            DiskFailure::Status(_) | DiskFailure::NoAnswer(_) => &catalogue::DISK_READ,
            DiskFailure::OutOfRange => &catalogue::DISK_RANGE,
        }
    }
}

impl fmt::Display for DiskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        facts(
            f,
            "LBA #, drive ##h",
            &[self.lba.as_u64(), self.drive.into()],
        )?;
        match self.cause {
            DiskFailure::Status(status) => facts(f, ", status ##h", &[status.into()]),
            DiskFailure::NoAnswer(status) => {
                let text = ", status ##h, and the disk does not answer";
                facts(f, text, &[status.into()])
            }
            DiskFailure::OutOfRange => Ok(()),
        }
    }
}
