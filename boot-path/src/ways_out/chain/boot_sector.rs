//! Step 12, for chain loading: which sector to start, and whether it is a boot sector.
//!
//! Partitions 1 to 4 are the entries of the MBR's table. From 5 on they are logical ones: each has
//! a table of its own (EBR), in a chain that begins at the extended partition.

use core::fmt;

use disk_layout::PartitionEntry;
use disk_layout::mbr::{BOOT_SIGNATURE, PARTITION_TABLE_OFFSET};
use disk_layout::parts::Part;
use zerocopy::{FromBytes as _, IntoBytes as _};

use crate::errors::catalogue::{self, Entry, Named};
use crate::errors::text::{copy, facts};
use crate::position::Lba;

/// Why no boot sector can be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are what Display prints")]
pub enum ChainError {
    /// The partition table has no such entry, or the entry is empty.
    NoPartition { number: u8, drive: u8 },
    /// The sector does not end in the signature of a boot sector or of a table.
    NoSignature { lba: Lba, drive: u8, found: u16 },
}

impl Named for ChainError {
    fn entry(&self) -> &'static Entry {
        &catalogue::CHAIN_NO_BOOT_SECTOR
    }

    fn part(&self) -> Option<Part> {
        Some(Part::Texts)
    }
}

impl fmt::Display for ChainError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NoPartition { number, drive } => facts(
                f,
                "no partition # on drive ##h",
                &[number.into(), drive.into()],
            ),
            Self::NoSignature { lba, drive, found } => facts(
                f,
                "LBA # of drive ##h ends in ####h instead of ####h",
                &[
                    lba.as_u64(),
                    drive.into(),
                    found.into(),
                    BOOT_SIGNATURE.into(),
                ],
            ),
        }
    }
}

/// The part of a boot sector or table that is checked: the rest of a larger sector is code.
pub type Sector = [u8; 512];

/// Checks the signature at the end of the sector's first 512 bytes.
///
/// # Errors
/// 12B.
pub fn check(sector: &Sector, lba: Lba, drive: u8) -> Result<(), ChainError> {
    let &[.., low, high] = sector;
    match u16::from_le_bytes([low, high]) {
        BOOT_SIGNATURE => Ok(()),
        found => Err(ChainError::NoSignature { lba, drive, found }),
    }
}

/// Finds a partition by its number (from 1 on), and returns its entry as the boot sector gets it:
/// marked as active, with its first sector counted from the start of the disk. `read` reads a
/// sector of the disk.
///
/// # Errors
/// 12B; those of `read`.
pub fn find<E: From<ChainError>>(
    number: u8,
    drive: u8,
    mut read: impl FnMut(Lba) -> Result<Sector, E>,
) -> Result<PartitionEntry, E> {
    const LOGICAL: u8 = 5;

    let mut start = Lba::ZERO;
    let mut sector = read(start)?;
    check(&sector, start, drive)?;
    let missing = || ChainError::NoPartition { number, drive };
    let mut index = usize::from(number).wrapping_sub(1);
    if number >= LOGICAL {
        // The first table leads to the extended partition, and all others count from its start. The
        // partition number bounds the walk, even in a ring.
        let mut first = Lba::ZERO;
        for _ in LOGICAL..=number {
            let next = entries(&sector).find(is_extended).ok_or_else(missing)?;
            start = first + u64::from(next.first_lba.get());
            if first == Lba::ZERO {
                first = start;
            }
            sector = read(start)?;
            check(&sector, start, drive)?;
        }
        index = entries(&sector)
            .position(|entry| !is_extended(&entry))
            .unwrap_or(usize::MAX);
    }
    let mut entry = entries(&sector).nth(index).ok_or_else(missing)?;
    let lba = start + u64::from(entry.first_lba.get());
    match u32::try_from(lba.as_u64()) {
        Ok(lba @ 1..) if entry.kind != 0 && entry.sectors.get() != 0 => {
            entry.status = 0x80;
            entry.first_lba = lba.into();
            Ok(entry)
        }
        _ => Err(missing().into()),
    }
}

/// The four entries of a table.
fn entries(sector: &Sector) -> impl Iterator<Item = PartitionEntry> {
    let table = sector.get(PARTITION_TABLE_OFFSET..).unwrap_or_default();
    let places = table.chunks_exact(size_of::<PartitionEntry>());
    places.filter_map(|bytes| PartitionEntry::read_from_bytes(bytes).ok())
}

/// Is it a partition that contains others? One that starts at LBA 0 would contain its own table.
fn is_extended(entry: &PartitionEntry) -> bool {
    matches!(entry.kind, 0x05 | 0x0F | 0x85) && entry.first_lba.get() != 0
}

/// The entry as the table stores it.
pub fn bytes(entry: &PartitionEntry) -> [u8; 16] {
    let mut bytes = [0; 16];
    copy(entry.as_bytes(), &mut bytes);
    bytes
}
