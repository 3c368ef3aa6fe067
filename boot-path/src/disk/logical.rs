//! Step 7: logical partitions, a chain of tables in an extended partition.
//!
//! Each table has an entry for one partition, counted from the table itself, and one that leads to
//! the next table, counted from the start of the extended partition. (Linux,
//! block/partitions/msdos.c, `parse_extended`.) A chain may be damaged: then the partitions in
//! front of the damage count, as do all primary ones.

use core::fmt;

use disk_layout::mbr::BOOT_SIGNATURE;
use disk_layout::{Mbr, PartitionEntry, SECTOR_SIZE};
use zerocopy::FromBytes as _;

use crate::disk::block_device::BlockDevice;
use crate::disk::partition::{Candidate, TableLba, is_used};
use crate::errors::text::{copy, facts};

/// The number of the first logical partition, here as in Linux and GRUB.
const FIRST_NUMBER: u8 = 5;

/// The most tables that a chain may have: as many as in Linux.
const MOST: u32 = 100;

/// What is wrong with a chain of tables. The sector is counted in the table's unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChainDamage {
    /// It leads to this sector, where there is no table, or which cannot be read.
    NoTable(TableLba),
    /// It comes back to this sector, or is longer than any other.
    Ring(TableLba),
}

impl fmt::Display for ChainDamage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (text, lba) = match self {
            Self::NoTable(lba) => (
                "the chain of logical partitions leads to LBA #: no table",
                lba,
            ),
            Self::Ring(lba) => ("the chain of logical partitions comes back to LBA #", lba),
        };
        facts(f, text, &[lba.as_u64()])
    }
}

/// Does the entry describe a partition that contains others, by CHS, by LBA, or as Linux's own?
pub(super) fn is_extended(entry: &PartitionEntry) -> bool {
    matches!(entry.kind, 0x05 | 0x0F | 0x85)
}

/// Shows all logical partitions in the extended ones of a table, each with its status byte, until
/// `found` returns true.
///
/// # Errors
/// The first damage of a chain.
pub(super) fn walk<D: BlockDevice + ?Sized>(
    device: &mut D,
    mbr: &Mbr,
    shift: u32,
    found: &mut dyn FnMut(&mut D, u8, Candidate) -> bool,
) -> Result<(), ChainDamage> {
    let mut number = FIRST_NUMBER;
    let mut damage = Ok(());
    let mut is_done = false;
    for extended in mbr.partitions.iter().filter(|entry| is_extended(entry)) {
        let start = TableLba::new(extended.first_lba.get());
        if !is_used(extended) || is_done {
            continue;
        }
        let walked = walk_chain(device, start, shift, &mut |device, table, entry| {
            let candidate = Candidate {
                first_lba: table.plus(entry.first_lba.get()),
                ..Candidate::new(mbr, number, entry)
            };
            number = number.saturating_add(1);
            is_done = found(device, entry.status, candidate);
            is_done
        });
        damage = damage.and(walked);
    }
    damage
}

/// Receives the sector of a table, and an entry in it. True: that is all.
type Visit<'v, D> = &'v mut dyn FnMut(&mut D, TableLba, &PartitionEntry) -> bool;

/// Follows one chain. Brent's algorithm finds a ring without memory.
fn walk_chain<D: BlockDevice + ?Sized>(
    device: &mut D,
    start: TableLba,
    shift: u32,
    visit: Visit<'_, D>,
) -> Result<(), ChainDamage> {
    let mut table = start;
    let (mut mark, mut steps, mut until) = (start, 0, 1);
    for _ in 0..MOST {
        let mbr = read(device, table, shift).ok_or(ChainDamage::NoTable(table))?;
        let mut entries = mbr.partitions.iter().filter(|entry| is_used(entry));
        if let Some(entry) = entries.clone().find(|entry| !is_extended(entry))
            && visit(device, table, entry)
        {
            return Ok(());
        }
        let Some(link) = entries.find(|entry| is_extended(entry)) else {
            return Ok(());
        };
        table = start.plus(link.first_lba.get());
        if table == mark {
            break;
        }
        steps += 1;
        if steps == until {
            (mark, steps, until) = (table, 0, until * 2);
        }
    }
    Err(ChainDamage::Ring(table))
}

/// The table in a sector, which may be a part of a larger one.
fn read<D: BlockDevice + ?Sized>(device: &mut D, table: TableLba, shift: u32) -> Option<Mbr> {
    let skip = table.within_sector(shift) as usize * SECTOR_SIZE;
    let mut sector = [0; SECTOR_SIZE];
    let bytes = device.read(table.on_disk(shift), 1).ok()?;
    copy(bytes.get(skip..)?, &mut sector);
    let mbr = Mbr::read_from_bytes(&sector).ok()?;
    (mbr.signature.get() == BOOT_SIGNATURE).then_some(mbr)
}
