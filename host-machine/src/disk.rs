//! A disk, as INT 13h with extensions shows it.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};

use boot_path::position::Lba;

/// The bytes of a disk.
pub trait Image {
    /// Number of bytes.
    fn length(&self) -> u64;

    /// Reads bytes that are in the image.
    ///
    /// # Errors
    /// The status of INT 13h (AH), when they cannot be read.
    fn read(&mut self, offset: u64, out: &mut [u8]) -> Result<(), u8>;
}

/// Status: the sector is not there, or cannot be read.
const READ_ERROR: u8 = 0x10;

impl Image for Vec<u8> {
    fn length(&self) -> u64 {
        self.len() as u64
    }

    fn read(&mut self, offset: u64, out: &mut [u8]) -> Result<(), u8> {
        let bytes = self
            .get(offset as usize..)
            .and_then(|rest| rest.get(..out.len()));
        out.copy_from_slice(bytes.ok_or(READ_ERROR)?);
        Ok(())
    }
}

impl Image for File {
    fn length(&self) -> u64 {
        self.metadata().map_or(0, |metadata| metadata.len())
    }

    fn read(&mut self, offset: u64, out: &mut [u8]) -> Result<(), u8> {
        let read = self.seek(SeekFrom::Start(offset));
        let read = read.and_then(|_| self.read_exact(out));
        read.map_err(|_| READ_ERROR)
    }
}

/// A drive: 80h, and 81h and so on for more of them.
pub struct Disk {
    /// Its bytes.
    pub image: Box<dyn Image>,
    /// Bytes in a logical sector: 512, or 2048 for a CD.
    pub sector_size: usize,
    /// What AH=48h says of that, which some BIOSes get wrong.
    pub reported_sector_size: usize,
    /// How often it was read (AH=42h).
    pub reads: u64,
    /// The sectors that were read, one after the other: first sector, and how many.
    pub log: Vec<(Lba, u64)>,
}

impl Disk {
    /// A hard disk.
    pub fn new(image: impl Image + 'static) -> Self {
        Self {
            image: Box::new(image),
            sector_size: disk_layout::SECTOR_SIZE,
            reported_sector_size: disk_layout::SECTOR_SIZE,
            reads: 0,
            log: Vec::new(),
        }
    }

    /// Number of whole sectors.
    pub(crate) fn sectors(&self) -> u64 {
        self.image.length() / self.sector_size as u64
    }

    /// Reads whole sectors.
    pub(crate) fn read(&mut self, lba: Lba, out: &mut [u8]) -> Result<(), u8> {
        let count = (out.len() / self.sector_size) as u64;
        self.reads += 1;
        self.log.push((lba, count));
        if lba
            .checked_add(count)
            .is_none_or(|end| end > Lba::new(self.sectors()))
        {
            return Err(READ_ERROR);
        }
        let start = lba.start(self.sector_size);
        self.image.read(start.as_u64(), out)
    }
}
