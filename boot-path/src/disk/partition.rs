//! Step 7: which part of the disk to boot from.
//!
//! The choice is by content: the first partition that holds a FAT volume with something to boot,
//! active ones first, then those of a FAT kind, then any other; logical partitions come behind the
//! primary ones. If none has anything to boot, the first that holds a FAT volume. If none does, it
//! is by the table alone, and the error names what lies there: the first active entry, whatever its
//! kind; else the first entry of a FAT kind; else the whole disk, when sector 0 is itself the boot
//! sector of a FAT file system (a "superfloppy", the way many sticks are sold).
//!
//! A choice that the table's active entries do not explain is [noted](Note).
//!
//! If no partition can be chosen, the error names what was found instead: a GPT, or what a
//! partition [holds](crate::disk::probe).
//!
//! A partition table counts in sectors without saying how large they are. On a disk whose sectors
//! have more than 512 bytes, a table that was made for this disk counts in the disk's own sectors.
//! A table in an image for any disk counts in 512 bytes, as in an image that is a CD as well.

use core::fmt;

use disk_layout::mbr::BOOT_SIGNATURE;
use disk_layout::parts::Part;
use disk_layout::{Mbr, PartitionEntry, SECTOR_SIZE, iso9660};
use zerocopy::FromBytes;

use crate::disk::block_device::{BlockDevice, DiskError};
use crate::disk::fat;
use crate::disk::gpt::{self, GptVolume};
use crate::disk::logical::{self, ChainDamage, is_extended};
use crate::disk::probe::{self, Foreign};
use crate::errors::catalogue::{self, Entry, Named};
use crate::errors::text::{copy, facts};
use crate::position::Lba;

/// The status byte of a partition to boot from.
const ACTIVE: u8 = 0x80;

/// The kind of the entry with which the MBR of a disk with a GPT protects the whole disk (UEFI
/// specification 2.10, 5.2.3).
const PROTECTIVE: u8 = 0xEE;

/// Where the boot partition lies. It has at least one sector, and its first one is on the disk. Its
/// end may lie behind the disk's, since BIOSes report wrong disk sizes. The default, all zero,
/// means that there is no disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Partition {
    /// 1 to 4: the entry of the partition table; from 5 on: a logical partition; 0: the whole disk,
    /// without a table.
    pub number: u8,
    /// Its kind in the table; 0 without a table.
    pub kind: u8,
    /// Its first sector.
    pub first_lba: Lba,
    /// Length, in the disk's logical sectors.
    pub sectors: u64,
    /// The disk signature of the MBR; 0 without a table.
    pub signature: u32,
}

/// The first sector of a partition as a table gives it, in the table's unit: the disk's own sectors,
/// or 512 bytes. It becomes an [`Lba`] only when a unit is chosen. A number in a table has 32 bits;
/// that of a logical partition is a sum of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct TableLba(u64);

/// The unit of a table that was made for this disk. A unit is the binary logarithm of the number of
/// units in a sector of the disk.
const OWN: u32 = 0;

impl TableLba {
    /// From the value in the table.
    pub const fn new(number: u32) -> Self {
        Self(number as u64)
    }

    /// That of a partition, in the disk's own sectors.
    pub(crate) const fn of(partition: &Partition) -> Self {
        Self(partition.first_lba.as_u64())
    }

    /// The value in the table.
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// The sector at a distance that another table gives.
    pub(super) const fn plus(self, distance: u32) -> Self {
        Self(self.0.saturating_add(distance as u64))
    }

    /// The sector of the disk that it names, or lies in.
    pub(super) fn on_disk(self, unit: u32) -> Lba {
        Lba::new(self.0 >> unit)
    }

    /// How many units it lies behind the beginning of a sector of the disk.
    pub(super) fn within_sector(self, unit: u32) -> u64 {
        self.0 & ((1 << unit) - 1)
    }
}

/// The partition or disk to boot, in the table's unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// As in [`Partition`].
    pub number: u8,
    /// As in [`Partition`].
    pub kind: u8,
    /// Its first sector; 0 for the whole disk.
    pub first_lba: TableLba,
    /// Length, in the table's unit.
    pub sectors: u64,
    /// As in [`Partition`].
    pub signature: u32,
}

impl Candidate {
    /// An entry of the table, by its number.
    pub(super) fn new(mbr: &Mbr, number: u8, entry: &PartitionEntry) -> Self {
        Self {
            number,
            kind: entry.kind,
            first_lba: TableLba::new(entry.first_lba.get()),
            sectors: entry.sectors.get().into(),
            signature: mbr.disk_signature.get(),
        }
    }

    /// The partition, once the unit is known. One that begins within a sector begins in front of
    /// it.
    fn on_disk(&self, shift: u32) -> Partition {
        Partition {
            number: self.number,
            kind: self.kind,
            first_lba: self.first_lba.on_disk(shift),
            sectors: self.sectors.div_ceil(1 << shift),
            signature: self.signature,
        }
    }
}

/// The boot partition, and what is strange about it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The partition.
    pub partition: Partition,
    /// What the active entries do not explain.
    pub note: Option<Note>,
    /// What is wrong with logical partitions, as far as they were looked at.
    pub damage: Option<ChainDamage>,
}

/// Why the choice may surprise the owner of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    /// This partition is active, and another one is booted: it holds something other than FAT.
    Foreign(Foreign),
    /// The same: it holds no FAT volume, nor anything else that is known.
    NotFat(u8),
    /// The same: it holds a FAT volume, but nothing to boot.
    Nothing(u8),
    /// Both are active, although only one may be. The first one is booted.
    BothActive(u8, u8),
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (number, text) = match self {
            Self::Foreign(Foreign { partition, name }) => {
                facts(
                    f,
                    "partition # is active, but holds ",
                    &[(*partition).into()],
                )?;
                return f.write_str(name);
            }
            Self::BothActive(first, second) => {
                let text = "partitions # and # are active, and only one may be";
                return facts(f, text, &[(*first).into(), (*second).into()]);
            }
            Self::NotFat(number) => (
                number,
                "partition # is active, but holds no FAT file system",
            ),
            Self::Nothing(number) => (number, "partition # is active, but holds nothing to boot"),
        };
        facts(f, text, &[(*number).into()])
    }
}

/// Why there is no partition to boot from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartitionError {
    /// Sector 0 ends in this value instead of 0xAA55, or it is shorter than 512 bytes (0).
    NoSignature(u16),
    /// No entry is active or of a FAT kind.
    NoEntry,
    /// The same, or no signature; the disk holds this instead.
    Foreign(Foreign),
    /// No entry is active or of a FAT kind, and logical partitions cannot be read on.
    Chain(ChainDamage),
    /// The disk has a GPT. Its header, or the copy, is in this LBA. `None`: the MBR announces a
    /// GPT, but neither was found.
    Gpt(Option<Lba>),
    /// The disk has a GPT, and this FAT volume in one of its partitions.
    GptFat(GptVolume),
    /// The entry of this number was chosen, but starts at this sector, behind the disk's end.
    BehindEnd {
        /// 1 to 4.
        number: u8,
        /// First sector of the partition.
        first_lba: TableLba,
        /// Sectors of the disk, in the table's unit.
        disk_sectors: u64,
    },
    /// The entry of this number was chosen, but starts at this sector, counted in 512 bytes, within
    /// a sector of the disk.
    WithinSector {
        /// 1 to 4.
        number: u8,
        /// First sector of the partition.
        first_lba: TableLba,
        /// Bytes in a sector of the disk.
        sector_size: usize,
    },
    /// The disk cannot be read.
    Disk(DiskError),
}

impl From<DiskError> for PartitionError {
    fn from(error: DiskError) -> Self {
        Self::Disk(error)
    }
}

impl Named for PartitionError {
    fn entry(&self) -> &'static Entry {
        match self {
            Self::NoSignature(_)
            | Self::NoEntry
            | Self::Foreign(_)
            | Self::Chain(_)
            | Self::WithinSector { .. } => &catalogue::DISK_NO_PARTITION,
            Self::Gpt(_) | Self::GptFat(_) => &catalogue::DISK_GPT,
            Self::BehindEnd { .. } => &catalogue::DISK_RANGE,
            Self::Disk(error) => error.entry(),
        }
    }

    fn part(&self) -> Option<Part> {
        // Its code finds all of this, so it is there.
        Some(Part::Disks)
    }
}

impl fmt::Display for PartitionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NoSignature(found) => facts(
                f,
                "LBA 0 ends in ####h instead of ####h",
                &[found.into(), BOOT_SIGNATURE.into()],
            ),
            Self::NoEntry => f.write_str("no entry in LBA 0 is active or FAT"),
            Self::Foreign(foreign) => foreign.fmt(f),
            Self::Chain(damage) => damage.fmt(f),
            Self::Gpt(Some(lba)) => facts(f, "its header is in LBA #", &[lba.as_u64()]),
            Self::GptFat(GptVolume {
                number,
                first_lba,
                is_efi,
            }) => {
                let text = "its partition # at LBA # holds FAT";
                facts(f, text, &[number.into(), first_lba.as_u64()])?;
                f.write_str(if is_efi {
                    " (the EFI system partition)"
                } else {
                    ""
                })?;
                f.write_str(
                    ", but is not in the table of LBA 0, by which a BIOS's disks are booted",
                )
            }
            Self::Gpt(None) => f.write_str("LBA 0 says so, but there is no header"),
            Self::BehindEnd {
                number,
                first_lba,
                disk_sectors,
            } => facts(
                f,
                "partition # starts at LBA #, the disk has # sectors",
                &[number.into(), first_lba.as_u64(), disk_sectors],
            ),
            Self::WithinSector {
                number,
                first_lba,
                sector_size,
            } => facts(
                f,
                "partition # starts at LBA # of 512 bytes, within a sector of #",
                &[number.into(), first_lba.as_u64(), sector_size as u64],
            ),
            Self::Disk(error) => error.fmt(f),
        }
    }
}

/// Says whether a partition with a FAT volume has something to boot.
pub type IsBootable<'a, D> = &'a mut dyn FnMut(&mut D, &Partition) -> bool;

/// Chooses the boot partition of a disk, without a look at the files in it.
///
/// # Errors
/// Those of [`find_bootable`].
pub fn find<D: BlockDevice + ?Sized>(device: &mut D) -> Result<Partition, PartitionError> {
    Ok(find_bootable(device, &mut |_, _| true)?.partition)
}

/// The boot partition of a disk of sectors of 512 bytes whose table offers no choice; `None`: another
/// disk, or there is more to say about it than that.
///
/// # Errors
/// [`DiskError`], when sector 0 cannot be read.
pub fn find_only<D: BlockDevice + ?Sized>(device: &mut D) -> Result<Option<Partition>, DiskError> {
    if device.sector_size() != SECTOR_SIZE {
        return Ok(None);
    }
    let end = device.sector_count();
    let sector = device.read(Lba::ZERO, 1)?;
    let (Ok(candidate), Ok((mbr, _))) = (boot_partition(sector, end), Mbr::ref_from_prefix(sector))
    else {
        return Ok(None);
    };
    let is_only = candidate.number == 0 || !offers_choice(mbr);
    Ok(is_only.then(|| candidate.on_disk(OWN)))
}

/// Does the table have more than one partition, or logical ones?
fn offers_choice(mbr: &Mbr) -> bool {
    let has_logical = mbr.partitions.iter().any(|e| is_used(e) && is_extended(e));
    has_logical || used_entries(mbr).nth(1).is_some()
}

/// Chooses the boot partition of a disk. `is_bootable` is asked only where there is a choice. A
/// partition behind the end of the disk counts if it can be read all the same: BIOSes report wrong
/// disk sizes.
///
/// # Errors
/// [`PartitionError`], when sector 0 cannot be read, or no partition can be chosen.
pub fn find_bootable<D: BlockDevice + ?Sized>(
    device: &mut D,
    is_bootable: IsBootable<'_, D>,
) -> Result<Found, PartitionError> {
    let mut sector = [0; SECTOR_SIZE];
    copy(device.read(Lba::ZERO, 1)?, &mut sector);
    find_by(device, &sector, is_bootable).map_err(|error| match error {
        PartitionError::NoSignature(_)
        | PartitionError::NoEntry
        | PartitionError::Chain(_)
        | PartitionError::Gpt(_) => instead(device, &sector).unwrap_or(error),
        error => error,
    })
}

/// What a disk without a boot partition holds, as far as it is recognised.
#[cold]
fn instead<D: BlockDevice + ?Sized>(device: &mut D, sector: &[u8]) -> Option<PartitionError> {
    let sectors = device.learn_sector_count();
    // The end of the disk may be unknown.
    let last = if sectors == u64::MAX {
        1
    } else {
        sectors.saturating_sub(1)
    };
    // A header is in LBA 1, and a copy of it in the last one (5.3.2).
    for lba in [1, last].map(Lba::new) {
        if gpt::is_header(device, lba) {
            let volume = gpt::find_fat(device, lba);
            let gpt = PartitionError::Gpt(Some(lba));
            return Some(volume.map_or(gpt, PartitionError::GptFat));
        }
    }
    let (mbr, _) = Mbr::ref_from_prefix(sector).ok()?;
    if mbr.signature.get() == BOOT_SIGNATURE {
        if mbr.partitions.iter().any(|entry| entry.kind == PROTECTIVE) {
            return Some(PartitionError::Gpt(None));
        }
        let mut foreign = None;
        let mut look = |device: &mut D, candidate: Candidate| {
            let Partition {
                number: partition,
                first_lba,
                sectors,
                ..
            } = candidate.on_disk(OWN);
            let name = probe::find(device, first_lba, sectors);
            foreign = name.map(|name| Foreign { partition, name });
            foreign.is_some()
        };
        let mut primary = used_entries(mbr);
        if !primary.any(|(number, entry)| look(device, Candidate::new(mbr, number, entry))) {
            let _ = logical::walk(device, mbr, OWN, &mut |device, _, candidate| {
                look(device, candidate)
            });
        }
        if let Some(foreign) = foreign {
            return Some(PartitionError::Foreign(foreign));
        }
    }
    let name = probe::find(device, Lba::ZERO, sectors)?;
    Some(PartitionError::Foreign(Foreign { partition: 0, name }))
}

/// The boot partition, by sector 0.
fn find_by<D: BlockDevice + ?Sized>(
    device: &mut D,
    sector: &[u8],
    is_bootable: IsBootable<'_, D>,
) -> Result<Found, PartitionError> {
    let small = device
        .sector_size()
        .trailing_zeros()
        .saturating_sub(SECTOR_SIZE.trailing_zeros());
    if small == OWN {
        return find_in_unit(device, sector, OWN, is_bootable);
    }
    let units = if is_iso9660(device) {
        [small, OWN]
    } else {
        [OWN, small]
    };
    for unit in units {
        let found = find_in_unit(device, sector, unit, is_bootable);
        if let Ok(Found { partition, .. }) = found
            && device
                .read(partition.first_lba, 1)
                .is_ok_and(fat::is_boot_sector)
        {
            return found;
        }
    }
    find_in_unit(device, sector, units[0], is_bootable)
}

/// The boot partition, when the table counts in units of which `1 << shift` make a sector.
fn find_in_unit<D: BlockDevice + ?Sized>(
    device: &mut D,
    sector: &[u8],
    shift: u32,
    is_bootable: IsBootable<'_, D>,
) -> Result<Found, PartitionError> {
    let end = device.sector_count().saturating_mul(1 << shift);
    let mut search = Search {
        shift,
        is_bootable,
        first: None,
        damage: None,
    };
    let found = match search.by_content(device, sector) {
        Some(candidate) => Ok(candidate),
        None => boot_partition(sector, end),
    };
    let damage = search.damage;
    let candidate = match found {
        Err(PartitionError::BehindEnd { first_lba, .. })
            if device.read(first_lba.on_disk(shift), 1).is_ok() =>
        {
            boot_partition(sector, u64::MAX)
        }
        Err(PartitionError::NoEntry) => {
            Err(damage.map_or(PartitionError::NoEntry, PartitionError::Chain))
        }
        found => found,
    }?;
    if candidate.first_lba.within_sector(shift) != 0 {
        return Err(PartitionError::WithinSector {
            number: candidate.number,
            first_lba: candidate.first_lba,
            sector_size: device.sector_size(),
        });
    }
    let partition = candidate.on_disk(shift);
    Ok(Found {
        partition,
        note: note(device, sector, shift, &partition),
        damage,
    })
}

/// What the active entries do not explain about the choice of a partition.
fn note<D: BlockDevice + ?Sized>(
    device: &mut D,
    sector: &[u8],
    shift: u32,
    chosen: &Partition,
) -> Option<Note> {
    if chosen.number == 0 {
        return None;
    }
    let (mbr, _) = Mbr::ref_from_prefix(sector).ok()?;
    let mut active = used_entries(mbr).filter(|(_, entry)| entry.status == ACTIVE);
    let (number, entry) = active.next()?;
    if number == chosen.number {
        let (second, _) = active.next()?;
        return Some(Note::BothActive(number, second));
    }
    let Partition {
        first_lba, sectors, ..
    } = Candidate::new(mbr, number, entry).on_disk(shift);
    if holds_fat(device, first_lba, sectors) {
        return Some(Note::Nothing(number));
    }
    let name = probe::find(device, first_lba, sectors);
    Some(name.map_or(Note::NotFat(number), |name| {
        Note::Foreign(Foreign {
            partition: number,
            name,
        })
    }))
}

/// The search for a partition that holds a FAT volume.
struct Search<'a, D: ?Sized> {
    /// As in [`find_in_unit`].
    shift: u32,
    is_bootable: IsBootable<'a, D>,
    /// The first one that holds a FAT volume, whatever is in it.
    first: Option<Candidate>,
    damage: Option<ChainDamage>,
}

impl<D: BlockDevice + ?Sized> Search<'_, D> {
    /// The first partition that holds a FAT volume with something to boot: active ones first, then
    /// those of a FAT kind, then any other. If none does, the first that holds a FAT volume.
    /// `None`: none does, or the table offers no choice, so nothing needs to be read.
    fn by_content(&mut self, device: &mut D, sector: &[u8]) -> Option<Candidate> {
        let (mbr, _) = Mbr::ref_from_prefix(sector).ok()?;
        let first = boot_partition(sector, u64::MAX);
        // An error other than that nothing was chosen, or the whole disk, is not for the table to
        // mend.
        match first {
            Ok(Candidate { number: 1.., .. }) | Err(PartitionError::NoEntry) => {}
            _ => return None,
        }
        if first.is_ok() && !offers_choice(mbr) {
            return None;
        }
        for rank in 0..=2 {
            for (number, entry) in used_entries(mbr) {
                let candidate = Candidate::new(mbr, number, entry);
                if rank_of(entry.status, entry.kind) == rank && self.look(device, candidate) {
                    return Some(candidate);
                }
            }
            let mut found = None;
            let walked =
                logical::walk(device, mbr, self.shift, &mut |device, status, candidate| {
                    let is_it =
                        rank_of(status, candidate.kind) == rank && self.look(device, candidate);
                    found = is_it.then_some(candidate);
                    is_it
                });
            self.damage = walked.err();
            if found.is_some() {
                return found;
            }
        }
        self.first
    }

    /// Does this partition hold a FAT volume with something to boot?
    fn look(&mut self, device: &mut D, candidate: Candidate) -> bool {
        if candidate.first_lba.within_sector(self.shift) != 0 {
            return false;
        }
        let partition = candidate.on_disk(self.shift);
        if !holds_fat(device, partition.first_lba, partition.sectors) {
            return false;
        }
        self.first = self.first.or(Some(candidate));
        (self.is_bootable)(device, &partition)
    }
}

/// The order in which partitions are looked at.
fn rank_of(status: u8, kind: u8) -> u8 {
    match status {
        ACTIVE => 0,
        _ if is_fat(kind) => 1,
        _ => 2,
    }
}

/// Is there a FAT volume, by its boot sector, by the backup of a damaged one, or by a boot sector
/// without one of its marks? Another file system
/// may have left an old backup in place.
fn holds_fat<D: BlockDevice + ?Sized>(device: &mut D, first_lba: Lba, sectors: u64) -> bool {
    let backup = first_lba.saturating_add(fat::BACKUP_SECTOR);
    let mut is = |lba, like: fn(&[u8]) -> bool| device.read(lba, 1).is_ok_and(like);
    is(first_lba, fat::is_boot_sector)
        || (is(backup, fat::is_boot_sector) || is(first_lba, fat::is_unmarked))
            && probe::at_start(device, first_lba, sectors).is_none()
}

/// Is there a volume descriptor of ISO 9660 in its place?
fn is_iso9660<D: BlockDevice + ?Sized>(device: &mut D) -> bool {
    // A power of two.
    let mask = device.sector_size() - 1;
    let lba = iso9660::DESCRIPTORS >> mask.count_ones();
    let identifier = (iso9660::DESCRIPTORS & mask) + 1;
    device.read(Lba::new(lba as u64), 1).is_ok_and(|sector| {
        let found = sector.get(identifier..).unwrap_or_default();
        found.starts_with(&iso9660::STANDARD_IDENTIFIER)
    })
}

/// Chooses the boot partition by sector 0 of a disk of `disk_sectors` sectors (`u64::MAX`:
/// unknown), in the table's unit.
///
/// # Errors
/// [`PartitionError`], when no partition can be chosen.
pub fn boot_partition(mbr_sector: &[u8], disk_sectors: u64) -> Result<Candidate, PartitionError> {
    let Ok((mbr, _)) = Mbr::ref_from_prefix(mbr_sector) else {
        return Err(PartitionError::NoSignature(0));
    };
    if mbr.signature.get() != BOOT_SIGNATURE {
        return Err(PartitionError::NoSignature(mbr.signature.get()));
    }
    let whole_disk = Candidate {
        number: 0,
        kind: 0,
        first_lba: TableLba::new(0),
        sectors: disk_sectors,
        signature: 0,
    };

    // A stick without a table has boot code there, recognisable by bytes that are not valid status
    // bytes. Otherwise the table takes precedence, because an MBR may carry a BPB to please a BIOS.
    let is_table = mbr
        .partitions
        .iter()
        .all(|entry| matches!(entry.status, 0 | ACTIVE));
    if !is_table && fat::is_boot_sector(mbr_sector) {
        return Ok(whole_disk);
    }

    let used = || used_entries(mbr);
    let active = used().find(|(_, entry)| entry.status == ACTIVE);
    let Some((number, entry)) = active.or_else(|| used().find(|(_, entry)| is_fat(entry.kind)))
    else {
        return match fat::is_boot_sector(mbr_sector) {
            true => Ok(whole_disk),
            false => Err(PartitionError::NoEntry),
        };
    };
    let candidate = Candidate::new(mbr, number, entry);
    if candidate.first_lba.as_u64() >= disk_sectors {
        return Err(PartitionError::BehindEnd {
            number,
            first_lba: candidate.first_lba,
            disk_sectors,
        });
    }
    Ok(candidate)
}

/// The entries that describe a partition which does not contain others, with their numbers.
fn used_entries(mbr: &Mbr) -> impl Iterator<Item = (u8, &PartitionEntry)> {
    let entries = (1..).zip(&mbr.partitions);
    entries.filter(|(_, entry)| is_used(entry) && !is_extended(entry))
}

/// Does the entry describe a partition at all? One that starts at LBA 0 would contain its own
/// table, and a GPT's protective entry covers the whole disk.
pub(super) fn is_used(entry: &PartitionEntry) -> bool {
    matches!(entry.status, 0 | ACTIVE)
        && !matches!(entry.kind, 0 | PROTECTIVE)
        && entry.first_lba.get() != 0
        && entry.sectors.get() != 0
}

/// Is the kind one that FAT file systems use: FAT12, FAT16 and FAT32 by CHS and by LBA, the same
/// hidden, or the EFI system partition?
fn is_fat(kind: u8) -> bool {
    const HIDDEN: u8 = 0x10;
    matches!(kind & !HIDDEN, 0x01 | 0x04 | 0x06 | 0x0B | 0x0C | 0x0E) || kind == 0xEF
}
