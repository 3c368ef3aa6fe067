//! Step 12, for chain loading: which sector is to be started, and whether it is a boot sector.
//!
//! Partitions 1 to 4 are the entries of the MBR's table; from 5 on they are logical ones, each in a
//! table of its own (EBR), in a chain that begins at the extended partition.

use core::fmt;

use disk_layout::mbr::BOOT_SIGNATURE;
use disk_layout::{Mbr, PartitionEntry};
use zerocopy::{FromBytes as _, IntoBytes as _};

use crate::catalogue::{self, Entry, Named};
use crate::text::facts;

/// What the entry file's key `chain` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// Drive of INT 13h; `None`: the one that the loader came from.
    pub drive: Option<u8>,
    /// Number of the partition; 0: the disk's own first sector.
    pub partition: u8,
}

impl Target {
    /// Reads `drive=81h`, `partition=2`, or both.
    pub fn parse(text: &str) -> Option<Self> {
        let (mut drive, mut partition) = (None, None);
        for word in text.split([' ', '\t']).filter(|word| !word.is_empty()) {
            let (slot, value) = match word.split_once('=')? {
                ("drive", digits) => (&mut drive, number(digits.strip_suffix(['h', 'H'])?, 16)?),
                ("partition", digits) => (&mut partition, number(digits, 10).filter(|&n| n > 0)?),
                _ => return None,
            };
            if slot.replace(value).is_some() {
                return None;
            }
        }
        (drive.is_some() || partition.is_some()).then_some(Self {
            drive,
            partition: partition.unwrap_or(0),
        })
    }
}

/// A number of at most three digits and at most 255. (`from_str_radix` would take a sign, too.)
fn number(digits: &str, base: u32) -> Option<u8> {
    if digits.is_empty() || digits.len() > 3 {
        return None;
    }
    let number = digits.chars().try_fold(0, |number: u32, digit| {
        Some(number * base + digit.to_digit(base)?)
    })?;
    u8::try_from(number).ok()
}

/// Why there is nothing to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are what Display prints")]
pub enum ChainError {
    /// The table of partitions has no such entry, or an empty one.
    NoPartition { number: u8, drive: u8 },
    /// The sector does not end in the signature of a boot sector or of a table.
    NoSignature { lba: u64, drive: u8, found: u16 },
}

impl Named for ChainError {
    fn entry(&self) -> &'static Entry {
        &catalogue::CHAIN_NO_BOOT_SECTOR
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
                &[lba, drive.into(), found.into(), BOOT_SIGNATURE.into()],
            ),
        }
    }
}

/// Bytes that matter of a boot sector or a table: more of a large sector is code.
pub type Sector = [u8; 512];

/// Checks the signature at the end of the sector's first 512 bytes.
///
/// # Errors
/// 12B.
pub fn check(sector: &Sector, lba: u64, drive: u8) -> Result<(), ChainError> {
    let &[.., low, high] = sector;
    match u16::from_le_bytes([low, high]) {
        BOOT_SIGNATURE => Ok(()),
        found => Err(ChainError::NoSignature { lba, drive, found }),
    }
}

/// Finds a partition by its number (from 1 on), and gives its entry as it is handed over: marked as
/// active, its first sector counted from the start of the disk. `read` gets a sector of the disk.
///
/// # Errors
/// 12B; those of `read`.
pub fn find<E: From<ChainError>>(
    number: u8,
    drive: u8,
    mut read: impl FnMut(u64) -> Result<Sector, E>,
) -> Result<PartitionEntry, E> {
    const LOGICAL: u8 = 5;

    let mut table = |lba: u64| -> Result<[PartitionEntry; 4], E> {
        let sector = read(lba)?;
        check(&sector, lba, drive)?;
        Ok(Mbr::read_from_bytes(&sector).map_or([EMPTY; 4], |mbr| mbr.partitions))
    };
    let missing = || ChainError::NoPartition { number, drive };

    let mut entries = table(0)?;
    let mut index = usize::from(number).wrapping_sub(1);
    let mut start = 0;
    if number >= LOGICAL {
        let extended = entries.iter().find(|entry| is_extended(entry));
        let first = u64::from(extended.ok_or_else(missing)?.first_lba.get());
        start = first;
        entries = table(start)?;
        // The number bounds the walk, even in a ring.
        for _ in LOGICAL..number {
            let next = entries.iter().find(|entry| is_extended(entry));
            start = first + u64::from(next.ok_or_else(missing)?.first_lba.get());
            entries = table(start)?;
        }
        index = entries
            .iter()
            .position(|entry| !is_extended(entry))
            .unwrap_or(usize::MAX);
    }
    let entry = entries.get(index).copied().unwrap_or(EMPTY);
    let first = start + u64::from(entry.first_lba.get());
    let first = u32::try_from(first).ok().filter(|&first| first != 0);
    match first {
        Some(first) if entry.kind != 0 && entry.sectors.get() != 0 => Ok(PartitionEntry {
            status: 0x80,
            first_lba: first.into(),
            ..entry
        }),
        _ => Err(missing().into()),
    }
}

const EMPTY: PartitionEntry = PartitionEntry {
    status: 0,
    first_chs: [0; 3],
    kind: 0,
    last_chs: [0; 3],
    first_lba: zerocopy::little_endian::U32::ZERO,
    sectors: zerocopy::little_endian::U32::ZERO,
};

/// Is it a partition that holds others? One that starts at LBA 0 would hold its own table.
fn is_extended(entry: &PartitionEntry) -> bool {
    matches!(entry.kind, 0x05 | 0x0F | 0x85) && entry.first_lba.get() != 0
}

/// The entry as it lies in the table.
pub fn bytes(entry: &PartitionEntry) -> [u8; 16] {
    let mut bytes = [0; 16];
    crate::text::copy(entry.as_bytes(), &mut bytes);
    bytes
}
