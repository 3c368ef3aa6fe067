//! A disk of which only the beginning is kept.

use boot_path::disk::block_device::{BlockDevice, DiskError, DiskFailure};
use boot_path::position::Lba;

/// A disk whose first bytes are given; all others are zero.
#[derive(Debug)]
pub struct SparseDisk<'a> {
    bytes: &'a [u8],
    sector_size: usize,
    sectors: u64,
    max_transfer: usize,
    buffer: Vec<u8>,
    /// How often it was read.
    pub reads: u64,
}

impl<'a> SparseDisk<'a> {
    /// A disk of so many sectors. `max_transfer` is how many of them a read takes, at least 1.
    pub fn new(bytes: &'a [u8], sector_size: usize, sectors: u64, max_transfer: usize) -> Self {
        Self {
            bytes,
            sector_size,
            sectors,
            max_transfer,
            buffer: Vec::new(),
            reads: 0,
        }
    }
}

impl BlockDevice for SparseDisk<'_> {
    fn sector_size(&self) -> usize {
        self.sector_size
    }

    fn sector_count(&self) -> u64 {
        self.sectors
    }

    fn max_transfer(&self) -> usize {
        self.max_transfer
    }

    fn read(&mut self, lba: Lba, count: usize) -> Result<&[u8], DiskError> {
        assert!(
            (1..=self.max_transfer).contains(&count),
            "a read of {count} sectors"
        );
        self.reads += 1;
        if lba
            .checked_add(count as u64)
            .is_none_or(|end| end > Lba::new(self.sectors))
        {
            return Err(DiskError {
                cause: DiskFailure::OutOfRange,
                lba,
                drive: 0x80,
            });
        }
        let start = usize::try_from(lba.start(self.sector_size).as_u64()).unwrap_or(usize::MAX);
        let length = count * self.sector_size;
        let given = self.bytes.get(start..).unwrap_or_default();
        let given = &given[..given.len().min(length)];
        self.buffer.clear();
        self.buffer.extend_from_slice(given);
        self.buffer.resize(length, 0);
        Ok(&self.buffer)
    }
}
