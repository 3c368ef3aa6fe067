//! The boot sector, and the places of a volume's parts that follow from it.

use core::ops::RangeInclusive;

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use crate::disk::fat::directory::DirectoryEntry;
use crate::disk::fat::error::{Field, Refusal};

/// The BIOS parameter block in sector 0 of a volume: "Boot Sector and BPB" of the specification.
#[derive(Clone, Copy, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct BootSector {
    jump: [u8; 3],
    oem_name: [u8; 8],
    bytes_per_sector: U16,
    sectors_per_cluster: u8,
    reserved_sectors: U16,
    fats: u8,
    root_entries: U16,
    total_sectors_16: U16,
    media: u8,
    sectors_per_fat_16: U16,
    sectors_per_track: U16,
    heads: U16,
    hidden_sectors: U32,
    total_sectors_32: U32,
    // From here on only in FAT32.
    sectors_per_fat_32: U32,
    extended_flags: U16,
    version: U16,
    root_cluster: U32,
    rest: [u8; 462],
    signature: U16,
}

const _: () = assert!(size_of::<BootSector>() == 512);

fn refuse<T>(field: Field, value: u32) -> Result<T, Refusal> {
    Err(Refusal { field, value })
}

impl BootSector {
    fn of(sector: &[u8]) -> Result<&Self, Refusal> {
        match Self::ref_from_prefix(sector) {
            Ok((boot, _)) => Ok(boot),
            Err(_) => refuse(Field::Length, sector.len() as u32),
        }
    }

    /// Checks the fields that tell a FAT volume from anything else, although no driver needs them.
    fn check_marks(&self) -> Result<(), Refusal> {
        if self.signature.get() != disk_layout::mbr::BOOT_SIGNATURE {
            return refuse(Field::Signature, self.signature.get().into());
        }
        if !matches!(self.media, 0xF0 | 0xF8..) {
            return refuse(Field::Media, self.media.into());
        }
        Ok(())
    }

    /// Is exactly one of the marks wrong, and does the sector begin with a jump (of a PC, or of an
    /// Atari)? Atari's tools write no signature, and some cameras and editors no media byte.
    fn lacks_one_mark(&self) -> bool {
        let mut other = *self;
        other.signature = disk_layout::mbr::BOOT_SIGNATURE.into();
        let is_media = other.check_marks().is_ok();
        let is_signed = self.signature == other.signature;
        is_media != is_signed && matches!(self.jump[0], 0xEB | 0xE9 | 0x60)
    }

    /// Checks the fields that all kinds have, one at a time.
    fn check(&self) -> Result<(), Refusal> {
        let boot = self;
        let sector_size = boot.bytes_per_sector.get();
        if !matches!(sector_size, 512 | 1024 | 2048 | 4096) {
            return refuse(Field::BytesPerSector, sector_size.into());
        }
        let per_cluster = boot.sectors_per_cluster;
        if !per_cluster.is_power_of_two() {
            return refuse(Field::SectorsPerCluster, per_cluster.into());
        }
        if boot.reserved_sectors.get() == 0 {
            return refuse(Field::ReservedSectors, 0);
        }
        if boot.fats == 0 {
            return refuse(Field::Fats, 0);
        }
        Ok(())
    }

    /// The fields that only FAT32 has: which FAT is in use, whether the next FAT mirrors it, and
    /// the first cluster of the root directory.
    fn fat32(&self, last_cluster: u32) -> Result<(u16, bool, u32), Refusal> {
        const NOT_MIRRORED: u16 = 1 << 7;

        if self.version.get() != 0 {
            return refuse(Field::Version, self.version.get().into());
        }
        let flags = self.extended_flags.get();
        let mirrored = flags & NOT_MIRRORED == 0;
        let active = if mirrored { 0 } else { flags & 0xF };
        if active >= self.fats.into() {
            return refuse(Field::ActiveFat, active.into());
        }
        let root_cluster = self.root_cluster.get();
        if !(2..=last_cluster).contains(&root_cluster) {
            return refuse(Field::RootCluster, root_cluster);
        }
        Ok((active, mirrored && self.fats > 1, root_cluster))
    }
}

/// Bits of a FAT entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Fat12,
    Fat16,
    Fat32,
}

impl Kind {
    fn of(is_fat32: bool, clusters: u32) -> Self {
        match clusters {
            _ if is_fat32 => Self::Fat32,
            ..4085 => Self::Fat12,
            _ => Self::Fat16,
        }
    }

    /// The last usable cluster, given the number of clusters and the size of the FAT in bytes.
    fn last_cluster(self, clusters: u32, fat_bytes: u64) -> Result<u32, Refusal> {
        let (entries, most) = match self {
            Self::Fat32 => (fat_bytes / 4, 0x0FFF_FFF5),
            Self::Fat12 => (fat_bytes * 2 / 3, 4084),
            Self::Fat16 => (fat_bytes / 2, 65_524),
        };
        if clusters == 0 || clusters > most {
            return refuse(Field::Clusters, clusters);
        }
        // Clusters 0 and 1 do not exist, but have entries. A cluster without an entry cannot be
        // used.
        Ok(entries.min(u64::from(clusters) + 2) as u32 - 1)
    }

    /// The entries that end a chain.
    pub(super) fn ends(self) -> RangeInclusive<u32> {
        match self {
            Self::Fat12 => 0xFF8..=0xFFF,
            Self::Fat16 => 0xFFF8..=0xFFFF,
            Self::Fat32 => 0x0FFF_FFF8..=0x0FFF_FFFF,
        }
    }
}

/// Where the parts of a volume lie, in bytes from its start.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Geometry {
    pub(super) kind: Kind,
    /// The FAT that is in use.
    pub(super) fat: u64,
    /// The next FAT, if it mirrors the one in use.
    pub(super) copy: Option<u64>,
    /// The fixed root directory of FAT12 and FAT16.
    pub(super) root: u64,
    pub(super) root_length: u64,
    /// The first cluster of FAT32's root directory.
    pub(super) root_cluster: u32,
    pub(super) data: u64,
    pub(super) cluster_shift: u32,
    pub(super) last_cluster: u32,
    pub(super) end: u64,
}

impl Geometry {
    pub(super) fn parse(sector: &[u8]) -> Result<Self, Refusal> {
        let boot = BootSector::of(sector)?;
        boot.check_marks()?;
        Self::of(boot)
    }

    /// The same of a boot sector that lacks one of the marks, and which mark that is.
    pub(super) fn parse_unmarked(sector: &[u8]) -> Result<(Self, Refusal), Refusal> {
        let boot = BootSector::of(sector)?;
        match boot.check_marks() {
            Err(mark) if boot.lacks_one_mark() => Ok((Self::of(boot)?, mark)),
            checked => checked.and(refuse(Field::Length, 0)),
        }
    }

    fn of(boot: &BootSector) -> Result<Self, Refusal> {
        boot.check()?;
        // Both units are powers of two.
        let sector_shift = boot.bytes_per_sector.get().trailing_zeros();
        let cluster_shift = boot.sectors_per_cluster.trailing_zeros();
        let bytes = |sectors: u64| sectors << sector_shift;
        let reserved = u64::from(boot.reserved_sectors.get());

        // The specification tells the three kinds apart by the number of clusters alone. But many
        // programs make FAT32 volumes with fewer clusters than it allows, and all drivers read
        // them. So a volume without a 16-bit FAT size is FAT32: the other kinds always have one.
        let is_fat32 = boot.sectors_per_fat_16.get() == 0;
        let per_fat = match boot.sectors_per_fat_16.get() {
            0 => boot.sectors_per_fat_32.get(),
            sectors => sectors.into(),
        };
        if per_fat == 0 {
            return refuse(Field::SectorsPerFat, 0);
        }
        let root_entries = boot.root_entries.get();
        if is_fat32 != (root_entries == 0) {
            return refuse(Field::RootEntries, root_entries.into());
        }
        let total = match boot.total_sectors_16.get() {
            0 => boot.total_sectors_32.get(),
            sectors => sectors.into(),
        };
        let root_length = u64::from(root_entries) * DirectoryEntry::SIZE as u64;
        let root = reserved + u64::from(boot.fats) * u64::from(per_fat);
        let data = root + ((root_length + bytes(1) - 1) >> sector_shift);
        let Some(data_sectors) = u64::from(total).checked_sub(data) else {
            return refuse(Field::TotalSectors, total);
        };
        let clusters = (data_sectors >> cluster_shift) as u32;
        let kind = Kind::of(is_fat32, clusters);
        let last_cluster = kind.last_cluster(clusters, bytes(per_fat.into()))?;

        let (active, copies, root_cluster) = if is_fat32 {
            boot.fat32(last_cluster)?
        } else {
            (0, boot.fats > 1, 0)
        };
        let fat = reserved + u64::from(active) * u64::from(per_fat);
        Ok(Self {
            kind,
            fat: bytes(fat),
            copy: copies.then_some(bytes(fat + u64::from(per_fat))),
            root: bytes(root),
            root_length,
            root_cluster,
            data: bytes(data),
            cluster_shift: sector_shift + cluster_shift,
            last_cluster,
            end: bytes(total.into()),
        })
    }

    pub(super) fn is_cluster(&self, number: u32) -> bool {
        (2..=self.last_cluster).contains(&number)
    }
}

/// Can these be those of a boot sector that lacks one of the marks by which FAT is told from
/// anything else?
pub fn is_unmarked(sector: &[u8]) -> bool {
    Geometry::parse_unmarked(sector).is_ok()
}

/// Can these first 512 bytes of a sector be the boot sector of a FAT volume?
pub fn is_boot_sector(sector: &[u8]) -> bool {
    Geometry::parse(sector).is_ok()
}
