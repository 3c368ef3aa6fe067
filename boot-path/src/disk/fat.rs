//! Step 8: files in a FAT12, FAT16 or FAT32 volume, read-only.
//!
//! Source: Microsoft, "FAT: General Overview of On-Disk Format", version 1.03 (short: the
//! specification).
//!
//! Everything is computed in bytes from the start of the disk, because three units meet here that
//! need not agree: the disk's logical sectors, the volume's sectors (512 to 4,096 bytes) and its
//! clusters. What is small (boot sector, FAT, directories, heads of files) is read through a
//! [`Cache`] of a few large windows, since an INT 13h call costs about the same for one sector as
//! for a hundred; what is large is read past it by [`stream`](crate::disk::stream).

use core::fmt;
use core::ops::RangeInclusive;

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::disk::block_device::{BlockDevice, DiskError, DiskFailure};
use crate::disk::partition::Partition;
use crate::disk::probe::{self, Foreign};
use crate::errors::catalogue::{self, Entry, Named};
use crate::errors::text::{copy, facts, split_before, utf8};

/// Why a volume or a file in it cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FatError {
    /// The disk fails.
    Disk(DiskError),
    /// The disk's logical sectors, of so many bytes, do not fit into a window of the [`Cache`].
    SectorSize(usize),
    /// What should be the boot sector, at this byte of the disk, has an impossible value.
    NotFat {
        /// Byte offset on the disk.
        offset: u64,
        /// The value.
        refusal: Refusal,
    },
    /// It is no FAT volume, but this.
    Foreign(Foreign),
    /// A file or directory starts at this cluster, which does not exist.
    FirstCluster(u32),
    /// A chain goes from `cluster` on to `link`, which is no data cluster (0: a free one).
    Link {
        /// The cluster whose FAT entry is wrong.
        cluster: u32,
        /// What the entry says.
        link: u32,
    },
    /// The chain that starts at this cluster is too short for the file's size.
    ChainShort(u32),
    /// The chain that starts at this cluster does not end where the file or the largest possible
    /// directory ends; maybe it is a ring. Or the directory there is one too many for all those on a
    /// path to have as many entries as the largest one.
    ChainLong(u32),
    /// A file has more bytes than the volume.
    FileSize(u64),
    /// Bytes behind the end of the file were asked for.
    BehindFile {
        /// The end of what was asked for.
        end: u64,
        /// The size of the file.
        size: u64,
    },
}

/// A value of the boot sector that no FAT volume has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The field.
    pub field: Field,
    /// What it says.
    pub value: u32,
}

/// A field of the boot sector, or what follows from several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Field {
    Length,
    Signature,
    BytesPerSector,
    SectorsPerCluster,
    ReservedSectors,
    Fats,
    Media,
    RootEntries,
    SectorsPerFat,
    TotalSectors,
    Clusters,
    Version,
    ActiveFat,
    RootCluster,
}

impl From<DiskError> for FatError {
    fn from(error: DiskError) -> Self {
        Self::Disk(error)
    }
}

impl Named for FatError {
    fn entry(&self) -> &'static Entry {
        match self {
            Self::Disk(error) => error.entry(),
            Self::SectorSize(_) | Self::NotFat { .. } => &catalogue::FAT_NOT_FAT,
            Self::Foreign(_) => &catalogue::FAT_FOREIGN,
            _ => &catalogue::FAT_DAMAGED,
        }
    }
}

impl fmt::Display for FatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (text, numbers): (_, &[u64]) = match *self {
            Self::Disk(error) => return error.fmt(f),
            Self::Foreign(foreign) => return foreign.fmt(f),
            Self::SectorSize(bytes) => ("the disk has sectors of # bytes", &[bytes as u64]),
            Self::NotFat { offset, refusal } => {
                facts(f, "byte 0x# of the disk, ", &[offset])?;
                return refusal.fmt(f);
            }
            Self::FirstCluster(cluster) => ("first cluster #", &[cluster.into()]),
            Self::Link { cluster, link } => {
                ("cluster # leads to 0x#", &[cluster.into(), link.into()])
            }
            Self::ChainShort(first) => {
                ("the chain from cluster # on is too short", &[first.into()])
            }
            Self::ChainLong(first) => ("the chain from cluster # on is too long", &[first.into()]),
            Self::FileSize(size) => ("a file of # bytes", &[size]),
            Self::BehindFile { end, size } => ("byte # of a file of # bytes", &[end, size]),
        };
        facts(f, text, numbers)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.field {
            Field::Length => "length",
            Field::Signature => "signature",
            Field::BytesPerSector => "bytes per sector",
            Field::SectorsPerCluster => "sectors per cluster",
            Field::ReservedSectors => "reserved sectors",
            Field::Fats => "number of FATs",
            Field::Media => "media byte",
            Field::RootEntries => "root directory entries",
            Field::SectorsPerFat => "sectors per FAT",
            Field::TotalSectors => "total sectors",
            Field::Clusters => "number of clusters",
            Field::Version => "version",
            Field::ActiveFat => "active FAT",
            Field::RootCluster => "root directory's cluster",
        };
        f.write_str(name)?;
        facts(f, ": #", &[self.value.into()])
    }
}

// --- The cache ---------------------------------------------------------------------------------

/// Number of windows: one tends to hold the FAT, one the directories, one the head of a file.
const WINDOWS: usize = 3;

/// Bytes that are read where nothing was read before: what is wanted tends to be near, and slow
/// disks (1 MB/s and less) are not made to read much that nobody asked for.
const FIRST_READ: usize = 16 * 1024;

/// A few large pieces of the disk in memory; the least recently used one makes room.
///
/// A first look at a place reads [`FIRST_READ`] bytes: the boot sector comes with the first FAT
/// sectors, the root directory with what was written next. Where reading goes on behind a window, as
/// it does in the FAT of a large file, the next one is filled whole.
pub struct Cache<'b> {
    windows: [Window<'b>; WINDOWS],
    /// Counts accesses; the windows note the time of their last one.
    clock: u32,
}

struct Window<'b> {
    memory: &'b mut [u8],
    /// Byte offset on the disk.
    start: u64,
    /// Bytes that are valid.
    length: usize,
    used: u32,
}

impl<'b> Cache<'b> {
    /// A cache of three windows that share `buffer`. Each must hold at least one logical sector;
    /// 3 × 64 KiB are best, more is of no use.
    pub fn new(buffer: &'b mut [u8]) -> Self {
        let size = buffer.len() / WINDOWS;
        let (first, rest) = buffer.split_at_mut(size);
        let (second, third) = rest.split_at_mut(size);
        let windows = [first, second, third].map(|memory| Window {
            memory,
            start: 0,
            length: 0,
            used: 0,
        });
        Self { windows, clock: 0 }
    }

    /// The bytes from `offset` of the disk on, as far as they are in memory.
    pub(crate) fn peek(&self, offset: u64) -> Option<&[u8]> {
        let (index, skip) = self.locate(offset)?;
        let window = self.windows.get(index)?;
        window.memory.get(skip..window.length)
    }

    /// The bytes from `offset` of the disk on, at least one. A miss reads one window that begins
    /// with the sector of `offset` and does not go beyond the sector of `end`.
    fn bytes<D: BlockDevice + ?Sized>(
        &mut self,
        device: &mut D,
        offset: u64,
        end: u64,
    ) -> Result<&[u8], FatError> {
        let (index, skip) = match self.locate(offset) {
            Some(hit) => hit,
            None => self.fill(device, offset, end)?,
        };
        self.clock = self.clock.wrapping_add(1);
        let bytes = self.windows.get_mut(index).and_then(|window| {
            window.used = self.clock;
            window.memory.get(skip..window.length)
        });
        // It holds the bytes, or there would be no index.
        bytes.ok_or(FatError::SectorSize(device.sector_size()))
    }

    /// The window that holds `offset`, and where in it.
    fn locate(&self, offset: u64) -> Option<(usize, usize)> {
        self.windows.iter().enumerate().find_map(|(index, window)| {
            let skip = offset.wrapping_sub(window.start);
            (skip < window.length as u64).then_some((index, skip as usize))
        })
    }

    fn fill<D: BlockDevice + ?Sized>(
        &mut self,
        device: &mut D,
        offset: u64,
        end: u64,
    ) -> Result<(usize, usize), FatError> {
        let sector_size = device.sector_size();
        let span = Span::new(sector_size, offset, end);
        let goes_on = self.windows.iter().any(|window| {
            window.length != 0 && window.start + window.length as u64 == span.lba << span.shift
        });
        let oldest = self.windows.iter_mut().enumerate();
        let oldest = oldest.min_by_key(|(_, window)| window.used);
        let Some((index, window)) = oldest else {
            return Err(FatError::SectorSize(sector_size));
        };
        let room = window.memory.len();
        let wanted = if goes_on {
            room
        } else {
            room.min(FIRST_READ.max(sector_size))
        };
        let count = span.sectors(device).min(wanted >> span.shift);
        if count == 0 || sector_size < disk_layout::SECTOR_SIZE {
            return Err(FatError::SectorSize(sector_size));
        }
        let bytes = device.read(span.lba, count)?;
        window.start = span.lba << span.shift;
        window.length = copy(bytes, window.memory);
        Ok((index, span.skip))
    }
}

/// Bytes of the disk as whole logical sectors.
pub(crate) struct Span {
    /// The binary logarithm of the sector size.
    pub shift: u32,
    /// The first sector.
    pub lba: u64,
    /// Bytes in it in front of the first byte of the span.
    pub skip: usize,
    /// The last sector.
    last: u64,
}

impl Span {
    /// The sectors that hold the bytes `start..end`, and that of `start` in any case.
    pub fn new(sector_size: usize, start: u64, end: u64) -> Self {
        let shift = sector_size.trailing_zeros() & 31;
        let lba = start >> shift;
        let last = (end.max(start + 1) - 1) >> shift;
        Self {
            shift,
            lba,
            skip: (start & ((1 << shift) - 1)) as usize,
            last,
        }
    }

    /// As many of them as one call can read; at least 1. One that lies behind the end of the disk
    /// is for the device to refuse.
    pub fn sectors<D: BlockDevice + ?Sized>(&self, device: &D) -> usize {
        let end = (self.last + 1).min(device.sector_count());
        let count = end.saturating_sub(self.lba).max(1);
        count.min(device.max_transfer() as u64) as usize
    }
}

// --- The boot sector ---------------------------------------------------------------------------

/// The BIOS parameter block in sector 0 of a volume: "Boot Sector and BPB" of the specification.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
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

/// Bits of a FAT entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Fat12,
    Fat16,
    Fat32,
}

impl Kind {
    /// The entries that end a chain.
    fn ends(self) -> RangeInclusive<u32> {
        match self {
            Self::Fat12 => 0xFF8..=0xFFF,
            Self::Fat16 => 0xFFF8..=0xFFFF,
            Self::Fat32 => 0x0FFF_FFF8..=0x0FFF_FFFF,
        }
    }
}

/// Where the parts of a volume lie, in bytes from its start.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Geometry {
    kind: Kind,
    /// The FAT that is in use.
    fat: u64,
    /// The one behind it, if that is a copy of it.
    copy: Option<u64>,
    /// The fixed root directory of FAT12 and FAT16.
    root: u64,
    root_length: u64,
    /// The first cluster of FAT32's root directory.
    root_cluster: u32,
    data: u64,
    cluster_shift: u32,
    last_cluster: u32,
    end: u64,
}

impl Geometry {
    fn parse(sector: &[u8]) -> Result<Self, Refusal> {
        let refuse = |field, value| Err(Refusal { field, value });
        let Ok((boot, _)) = BootSector::ref_from_prefix(sector) else {
            return refuse(Field::Length, sector.len() as u32);
        };
        if boot.signature.get() != disk_layout::mbr::BOOT_SIGNATURE {
            return refuse(Field::Signature, boot.signature.get().into());
        }
        let sector_size = u64::from(boot.bytes_per_sector.get());
        if !matches!(sector_size, 512 | 1024 | 2048 | 4096) {
            return refuse(Field::BytesPerSector, sector_size as u32);
        }
        let per_cluster = boot.sectors_per_cluster;
        if !per_cluster.is_power_of_two() {
            return refuse(Field::SectorsPerCluster, per_cluster.into());
        }
        let reserved = u64::from(boot.reserved_sectors.get());
        if reserved == 0 {
            return refuse(Field::ReservedSectors, 0);
        }
        if boot.fats == 0 {
            return refuse(Field::Fats, 0);
        }
        if !matches!(boot.media, 0xF0 | 0xF8..) {
            return refuse(Field::Media, boot.media.into());
        }

        // The specification tells the three kinds apart by the number of clusters alone. Many
        // programs make FAT32 volumes with fewer clusters than it allows, and all drivers read
        // them: FAT32 is then what has no 16-bit size of the FAT, which is never true of the others.
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
        let data = root + root_length.div_ceil(sector_size);
        let Some(data_sectors) = u64::from(total).checked_sub(data) else {
            return refuse(Field::TotalSectors, total);
        };
        let clusters = (data_sectors / u64::from(per_cluster)) as u32;
        let fat_bytes = u64::from(per_fat) * sector_size;
        let (kind, entries, most) = if is_fat32 {
            (Kind::Fat32, fat_bytes / 4, 0x0FFF_FFF5)
        } else if clusters < 4085 {
            (Kind::Fat12, fat_bytes * 2 / 3, 4084)
        } else {
            (Kind::Fat16, fat_bytes / 2, 65_524)
        };
        if clusters == 0 || clusters > most {
            return refuse(Field::Clusters, clusters);
        }
        // Clusters 0 and 1 do not exist, but have entries. Clusters without entry cannot be used.
        let last_cluster = entries.min(u64::from(clusters) + 2) as u32 - 1;

        let mut fat = reserved;
        let mut copies = boot.fats > 1;
        let mut root_cluster = 0;
        if is_fat32 {
            if boot.version.get() != 0 {
                return refuse(Field::Version, boot.version.get().into());
            }
            const NOT_MIRRORED: u16 = 1 << 7;
            let flags = boot.extended_flags.get();
            if flags & NOT_MIRRORED != 0 {
                let active = flags & 0xF;
                if active >= boot.fats.into() {
                    return refuse(Field::ActiveFat, active.into());
                }
                fat += u64::from(active) * u64::from(per_fat);
                copies = false;
            }
            root_cluster = boot.root_cluster.get();
            if !(2..=last_cluster).contains(&root_cluster) {
                return refuse(Field::RootCluster, root_cluster);
            }
        }
        Ok(Self {
            kind,
            fat: fat * sector_size,
            copy: copies.then_some((fat + u64::from(per_fat)) * sector_size),
            root: root * sector_size,
            root_length,
            root_cluster,
            data: data * sector_size,
            cluster_shift: (sector_size as u32 * u32::from(per_cluster)).trailing_zeros(),
            last_cluster,
            end: u64::from(total) * sector_size,
        })
    }

    fn is_cluster(&self, number: u32) -> bool {
        (2..=self.last_cluster).contains(&number)
    }
}

/// Whether these first 512 bytes of a sector can be those of a FAT volume.
pub fn is_boot_sector(sector: &[u8]) -> bool {
    Geometry::parse(sector).is_ok()
}

// --- The volume --------------------------------------------------------------------------------

/// A FAT volume whose boot sector makes sense: holding one proves that offsets of its clusters
/// cannot overflow and that each of them has a FAT entry.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Volume {
    geometry: Geometry,
    /// Byte offset on the disk.
    start: u64,
}

/// A file that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct File {
    /// Bytes; no more than the volume has.
    pub size: u64,
    /// Time (low half) and date (high half) of the last change.
    pub stamp: u32,
    first_cluster: u32,
}

/// By which of its two boot sectors and two FATs a volume is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// FAT32's backup boot sector, and not the first one.
    pub backup: bool,
    /// The second FAT, and not the first one.
    pub second_fat: bool,
}

impl View {
    /// All there are, the usual one first.
    pub const ALL: [Self; 4] = [
        Self::new(false, false),
        Self::new(false, true),
        Self::new(true, false),
        Self::new(true, true),
    ];

    const fn new(backup: bool, second_fat: bool) -> Self {
        Self { backup, second_fat }
    }
}

/// Contiguous bytes of a file, on the disk too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Where they begin in the file, bytes.
    pub file_offset: u64,
    /// Where they begin on the disk, bytes.
    pub disk_offset: u64,
    /// Number of bytes, at least 1.
    pub length: u64,
}

impl Volume {
    /// Reads the boot sector of the volume in `partition`.
    ///
    /// # Errors
    /// [`FatError::NotFat`], [`FatError::SectorSize`] or [`FatError::Disk`].
    pub fn open<D: BlockDevice + ?Sized>(
        device: &mut D,
        cache: &mut Cache<'_>,
        partition: &Partition,
    ) -> Result<Self, FatError> {
        Self::open_view(device, cache, partition, View::ALL[0])
    }

    /// Opens the volume by the first of its [views](View::ALL) that makes sense. If that is not the
    /// usual one, it is given too, with what was wrong with the usual one.
    ///
    /// # Errors
    /// Those of [`open`](Self::open); [`FatError::Foreign`] when it is known to be something else.
    pub fn open_any<D: BlockDevice + ?Sized>(
        device: &mut D,
        cache: &mut Cache<'_>,
        partition: &Partition,
    ) -> Result<(Self, Option<(FatError, View)>), FatError> {
        let error = match Self::open(device, cache, partition) {
            Ok(volume) => return Ok((volume, None)),
            Err(error) => error,
        };
        if let FatError::Disk(DiskError {
            cause: DiskFailure::NoAnswer(_),
            ..
        }) = error
        {
            return Err(error); // nor has it another boot sector
        }
        let (first, length) = (partition.first_lba, partition.sectors);
        let foreign = |name| {
            FatError::Foreign(Foreign {
                partition: partition.number,
                name,
            })
        };
        let refused = matches!(error, FatError::NotFat { .. });
        // Another file system leaves much of an old FAT32 where it was: its backup boot sector, above
        // all. What was formatted since must not be read, or called damaged, by that.
        if refused && let Some(name) = probe::at_start(device, first, length) {
            return Err(foreign(name));
        }
        for view in View::ALL {
            if let Ok(volume) = Self::open_view(device, cache, partition, view) {
                return Ok((volume, Some((error, view))));
            }
        }
        match probe::at_end(device, first, length) {
            Some(name) if refused => Err(foreign(name)),
            _ => Err(error),
        }
    }

    /// As [`open`](Self::open), by another boot sector or FAT. The backup boot sector is where it
    /// always is, in sector 6: what the first one says of it is as damaged as that.
    ///
    /// # Errors
    /// Those of [`open`](Self::open), for this boot sector; [`FatError::NotFat`] when the volume is
    /// of a kind that has no backup, or has no second FAT.
    pub fn open_view<D: BlockDevice + ?Sized>(
        device: &mut D,
        cache: &mut Cache<'_>,
        partition: &Partition,
        view: View,
    ) -> Result<Self, FatError> {
        /// "BPB_BkBootSec": no value other than 6 is recommended.
        const BACKUP: u64 = 6;

        let unit = device.sector_size() as u64;
        let start = partition.first_lba.saturating_mul(unit);
        let end = start.saturating_add(partition.sectors.saturating_mul(unit));
        let mut offset = start;
        let refuse = |offset, field, value| FatError::NotFat {
            offset,
            refusal: Refusal { field, value },
        };
        if start > MAX_START {
            return Err(refuse(start, Field::Length, 0));
        }
        // How long the volume's sectors are, only a boot sector knows: 512 bytes, or as the disk's.
        let backups = [disk_layout::SECTOR_SIZE as u64, unit].map(|size| start + BACKUP * size);
        let places = if view.backup { backups } else { [start; 2] };
        let mut parsed = Err(Refusal {
            field: Field::Length,
            value: 0,
        });
        for place in places {
            if parsed.is_err() {
                offset = place;
                parsed = Geometry::parse(cache.bytes(device, place, end)?);
            }
        }
        let mut geometry =
            parsed.map_err(|Refusal { field, value }| refuse(offset, field, value))?;
        if view.backup && geometry.kind != Kind::Fat32 {
            return Err(refuse(offset, Field::RootEntries, 0));
        }
        if view.second_fat {
            geometry.fat = geometry.copy.ok_or(refuse(offset, Field::Fats, 1))?;
        }
        Ok(Self { geometry, start })
    }

    /// Its type: `FAT12`, `FAT16` or `FAT32`.
    pub fn kind(&self) -> &'static str {
        match self.geometry.kind {
            Kind::Fat12 => "FAT12",
            Kind::Fat16 => "FAT16",
            Kind::Fat32 => "FAT32",
        }
    }

    /// Looks for the file at `path`: names separated by `/`, long or 8.3, compared without regard
    /// to the case of ASCII letters. `None`: there is no such file (a directory is none), or the path
    /// has more than [`MAX_DEPTH`] names.
    ///
    /// # Errors
    /// [`FatError`], when the disk or the file system is damaged.
    pub fn find<D: BlockDevice + ?Sized>(
        &self,
        device: &mut D,
        cache: &mut Cache<'_>,
        path: &str,
    ) -> Result<Option<File>, FatError> {
        match self.walk(device, cache, path)? {
            Some(Place::File(file)) => Ok(Some(file)),
            _ => Ok(None),
        }
    }

    /// Looks for the directory at `path`, as [`find`](Self::find) does for a file. `/` is the root.
    ///
    /// # Errors
    /// [`FatError`], when the disk or the file system is damaged.
    pub fn directory<D: BlockDevice + ?Sized>(
        &self,
        device: &mut D,
        cache: &mut Cache<'_>,
        path: &str,
    ) -> Result<Option<Directory<'_>>, FatError> {
        match self.walk(device, cache, path)? {
            Some(Place::Directory(entries)) => Ok(Some(Directory { entries })),
            _ => Ok(None),
        }
    }

    /// Goes along a path. `None`: there is nothing.
    fn walk<D: BlockDevice + ?Sized>(
        &self,
        device: &mut D,
        cache: &mut Cache<'_>,
        path: &str,
    ) -> Result<Option<Place<'_>>, FatError> {
        let mut entries = self.root();
        let mut rest = after_slashes(path);
        for _ in 0..MAX_DEPTH {
            if rest.is_empty() {
                break;
            }
            let name;
            (name, rest) = split_before(rest, is_slash);
            rest = after_slashes(rest);
            let Some(name) = Name::new(name) else {
                return Ok(None);
            };
            let Some(entry) = search(device, cache, &mut entries, &name)? else {
                return Ok(None);
            };
            if entry.attributes & DirectoryEntry::DIRECTORY != 0 {
                // All directories on the way together may have as many entries as the largest one.
                entries = Entries {
                    most: entries.most,
                    ..Entries::new(self.chain(entry.first_cluster(self.geometry.kind), None))
                };
            } else if rest.is_empty() {
                return Ok(Some(Place::File(self.file(&entry)?)));
            } else {
                return Ok(None);
            }
        }
        Ok(rest.is_empty().then_some(Place::Directory(entries)))
    }

    fn file(&self, entry: &DirectoryEntry) -> Result<File, FatError> {
        let size = u64::from(entry.size.get());
        if size > self.geometry.end - self.geometry.data {
            return Err(FatError::FileSize(size));
        }
        Ok(File {
            size,
            stamp: u32::from_le_bytes(entry.written),
            first_cluster: entry.first_cluster(self.geometry.kind),
        })
    }

    /// Reads from byte `offset` of the file on, through the cache: for what is small. Returns the
    /// number of bytes, which is less than `out` has only at the end of the file.
    ///
    /// # Errors
    /// [`FatError`], when the disk or the file system is damaged.
    pub fn read_at<D: BlockDevice + ?Sized>(
        &self,
        device: &mut D,
        cache: &mut Cache<'_>,
        file: &File,
        offset: u64,
        out: &mut [u8],
    ) -> Result<usize, FatError> {
        let wanted = file.size.saturating_sub(offset).min(out.len() as u64);
        let mut extents = self.extents(file).until(offset.saturating_add(wanted));
        let mut done = 0;
        while (done as u64) < wanted {
            let Some(extent) = extents.next(device, cache)? else {
                break;
            };
            while (done as u64) < wanted {
                let skip = offset + done as u64 - extent.file_offset;
                if skip >= extent.length {
                    break;
                }
                let bytes = cache.bytes(device, extent.disk_offset + skip, self.end())?;
                let length = (extent.length - skip).min(wanted - done as u64) as usize;
                let bytes = bytes.get(..length).unwrap_or(bytes);
                done += copy(bytes, out.get_mut(done..).unwrap_or_default());
            }
        }
        Ok(done)
    }

    /// Where the file lies on the disk.
    pub fn extents(&self, file: &File) -> ExtentWalker<'_> {
        self.chain(file.first_cluster, Some(file.size))
    }

    /// Whether the file's bytes lie in the same places by another view of the volume. Where one of
    /// them fails, they do not.
    pub fn same_places<D: BlockDevice + ?Sized>(
        &self,
        other: &Self,
        device: &mut D,
        cache: &mut Cache<'_>,
        file: &File,
    ) -> bool {
        let (mut here, mut there) = (self.extents(file), other.extents(file));
        loop {
            match (here.next(device, cache), there.next(device, cache)) {
                (Ok(None), Ok(None)) => return true,
                (Ok(one), Ok(another)) if one == another => {}
                _ => return false,
            }
        }
    }

    fn root(&self) -> Entries<'_> {
        if self.geometry.root_length == 0 {
            return Entries::new(self.chain(self.geometry.root_cluster, None));
        }
        let root = Extent {
            file_offset: 0,
            disk_offset: self.start + self.geometry.root,
            length: self.geometry.root_length,
        };
        Entries::new(ExtentWalker {
            fixed: Some(root),
            ..self.chain(0, Some(0))
        })
    }

    fn chain(&self, first: u32, size: Option<u64>) -> ExtentWalker<'_> {
        let end = size.unwrap_or(DirectoryEntry::MAX_BYTES);
        let is_file = size.is_some();
        ExtentWalker {
            volume: self,
            fixed: None,
            first,
            cluster: first,
            position: 0,
            end,
            stop: end,
            is_file,
        }
    }

    /// The first byte of the disk behind the volume.
    fn end(&self) -> u64 {
        self.start + self.geometry.end
    }
}

/// What a path leads to.
enum Place<'v> {
    File(File),
    Directory(Entries<'v>),
}

/// The most names of a path. By the specification a path has at most 260 characters, of which every
/// second one may be a slash.
const MAX_DEPTH: u32 = 130;

fn is_slash(byte: u8) -> bool {
    byte == b'/'
}

fn after_slashes(path: &str) -> &str {
    split_before(path, |byte| !is_slash(byte)).1
}

/// The highest byte offset at which a volume may start: no sum can overflow.
const MAX_START: u64 = 1 << 60;

// --- Chains of clusters ------------------------------------------------------------------------

/// Goes along a chain of clusters, one contiguous piece at a time. Nothing is stored, so that the
/// number of pieces does not matter.
pub struct ExtentWalker<'v> {
    volume: &'v Volume,
    /// FAT12's and FAT16's root directory, which is no chain.
    fixed: Option<Extent>,
    first: u32,
    /// The cluster of `position`.
    cluster: u32,
    position: u64,
    /// Where the file ends, or the largest possible directory.
    end: u64,
    /// Where the caller's interest ends.
    stop: u64,
    is_file: bool,
}

impl ExtentWalker<'_> {
    /// Ends the walk at byte `stop` of the file: the rest of the chain is neither read nor checked.
    #[must_use]
    pub fn until(mut self, stop: u64) -> Self {
        self.stop = self.end.min(stop);
        self
    }

    /// The next piece, or `None` at the end.
    ///
    /// # Errors
    /// [`FatError`], when the disk or the chain is damaged; the walk must not go on then.
    pub fn next<D: BlockDevice + ?Sized>(
        &mut self,
        device: &mut D,
        cache: &mut Cache<'_>,
    ) -> Result<Option<Extent>, FatError> {
        if self.position >= self.stop {
            return Ok(self.fixed.take());
        }
        let geometry = &self.volume.geometry;
        let first = self.cluster;
        if !geometry.is_cluster(first) {
            return Err(FatError::FirstCluster(first));
        }
        let cluster_size = 1u64 << geometry.cluster_shift;
        let wanted = (self.stop - self.position).div_ceil(cluster_size);
        let limit = (u64::from(first) + wanted - 1).min(geometry.last_cluster.into()) as u32;

        let mut last = first;
        let link = loop {
            let (reached, link) = self.volume.follow(device, cache, last, limit)?;
            last = reached;
            if let Some(link) = link {
                break link;
            }
        };

        let file_offset = self.position;
        self.position += u64::from(last - first + 1) << geometry.cluster_shift;
        if geometry.kind.ends().contains(&link) {
            if self.is_file && self.position < self.end {
                return Err(FatError::ChainShort(self.first));
            }
            self.stop = 0;
        } else if !geometry.is_cluster(link) {
            return Err(FatError::Link {
                cluster: last,
                link,
            });
        } else if self.position >= self.end {
            return Err(FatError::ChainLong(self.first));
        } else {
            self.cluster = link;
        }
        Ok(Some(Extent {
            file_offset,
            disk_offset: self.volume.start
                + geometry.data
                + (u64::from(first - 2) << geometry.cluster_shift),
            length: self.position.min(self.end) - file_offset,
        }))
    }
}

impl Volume {
    /// Follows a chain from `cluster` on as long as each cluster leads to its neighbour, no further
    /// than to `limit`, and no further than the FAT is in memory. Returns the cluster reached and,
    /// unless memory ended there, what follows it.
    fn follow<D: BlockDevice + ?Sized>(
        &self,
        device: &mut D,
        cache: &mut Cache<'_>,
        cluster: u32,
        limit: u32,
    ) -> Result<(u32, Option<u32>), FatError> {
        let fat = self.start + self.geometry.fat;
        let end = self.end();
        let index = u64::from(cluster);
        Ok(match self.geometry.kind {
            Kind::Fat32 => {
                // The upper four bits are reserved.
                let links = cache
                    .bytes(device, fat + index * 4, end)?
                    .as_chunks()
                    .0
                    .iter();
                run(
                    cluster,
                    limit,
                    links.map(|&link| u32::from_le_bytes(link) & 0x0FFF_FFFF),
                )
            }
            Kind::Fat16 => {
                let links = cache
                    .bytes(device, fat + index * 2, end)?
                    .as_chunks()
                    .0
                    .iter();
                run(
                    cluster,
                    limit,
                    links.map(|&link| u16::from_le_bytes(link).into()),
                )
            }
            Kind::Fat12 => {
                // An entry is one and a half bytes and may lie across two windows.
                let first = index * 3 / 2;
                let bytes = cache.bytes(device, fat + first, end)?;
                if let [low] = *bytes {
                    let behind = cache.bytes(device, fat + first + 1, end)?;
                    let high = *behind.first().unwrap_or(&0);
                    run(
                        cluster,
                        limit,
                        Some(fat12_link(cluster, [low, high])).into_iter(),
                    )
                } else {
                    let links = (cluster..).map_while(|cluster| {
                        let skip = (u64::from(cluster) * 3 / 2 - first) as usize;
                        let pair = bytes.get(skip..)?.first_chunk()?;
                        Some(fat12_link(cluster, *pair))
                    });
                    run(cluster, limit, links)
                }
            }
        })
    }
}

/// The hot loop: `links` are the FAT entries of `cluster`, `cluster + 1`, …
#[inline]
fn run(cluster: u32, limit: u32, links: impl Iterator<Item = u32>) -> (u32, Option<u32>) {
    let mut last = cluster;
    for link in links {
        if link != last + 1 || last >= limit {
            return (last, Some(link));
        }
        last = link;
    }
    (last, None)
}

/// The entry of `cluster` in a FAT12, by the two bytes that it shares with a neighbour.
fn fat12_link(cluster: u32, pair: [u8; 2]) -> u32 {
    let both = u32::from(u16::from_le_bytes(pair));
    if cluster.is_multiple_of(2) {
        both & 0xFFF
    } else {
        both >> 4
    }
}

// --- Directories -------------------------------------------------------------------------------

/// "FAT Directory Structure" of the specification.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct DirectoryEntry {
    /// Eight and three characters, filled up with spaces. In a part of a long name: its number and
    /// the first five characters.
    name: [u8; 11],
    attributes: u8,
    reserved: u8,
    /// In a part of a long name: the checksum of the short name.
    checksum: u8,
    /// In a part of a long name: six characters from here to `size`.
    created: [u8; 4],
    accessed: U16,
    first_cluster_high: U16,
    written: [u8; 4],
    first_cluster_low: U16,
    /// In a part of a long name: two characters.
    size: U32,
}

impl DirectoryEntry {
    const SIZE: usize = size_of::<Self>();
    /// The most entries that a directory may have.
    const MOST: u32 = 65_536;
    const MAX_BYTES: u64 = Self::MOST as u64 * Self::SIZE as u64;

    // Special first bytes.
    const END: u8 = 0;
    const DELETED: u8 = 0xE5;

    // Bits of the attributes.
    const VOLUME_LABEL: u8 = 0x08;
    const DIRECTORY: u8 = 0x10;
    const LONG_NAME: u8 = 0x0F;
    const LONG_NAME_MASK: u8 = 0x3F;

    /// Whether it is a part of a long name.
    fn is_part(&self) -> bool {
        self.name[0] != Self::DELETED && self.attributes & Self::LONG_NAME_MASK == Self::LONG_NAME
    }

    fn is_file_or_directory(&self) -> bool {
        self.name[0] != Self::DELETED && self.attributes & Self::VOLUME_LABEL == 0
    }

    /// A character of a part of a long name.
    fn unit(&self, index: usize) -> u16 {
        /// Where the characters are in the entry.
        const UNITS: [usize; PART] = [1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30];

        let at = UNITS.get(index).copied().unwrap_or(1);
        let bytes = self.as_bytes().get(at..);
        let unit = bytes.and_then(|rest| rest.first_chunk());
        unit.map_or(0, |&unit| u16::from_le_bytes(unit))
    }

    fn first_cluster(&self, kind: Kind) -> u32 {
        let low = u32::from(self.first_cluster_low.get());
        match kind {
            Kind::Fat32 => u32::from(self.first_cluster_high.get()) << 16 | low,
            // Other systems keep other things there.
            Kind::Fat12 | Kind::Fat16 => low,
        }
    }
}

const _: () = assert!(DirectoryEntry::SIZE == 32);

/// The entries of a directory that are in use, one after the other. A directory has at most
/// [`DirectoryEntry::MAX_BYTES`], so there is an end.
struct Entries<'v> {
    extents: ExtentWalker<'v>,
    /// Where on the disk the next one is, and how many bytes there are from there on.
    offset: u64,
    left: u64,
    /// How many may still come.
    most: u32,
}

impl<'v> Entries<'v> {
    fn new(extents: ExtentWalker<'v>) -> Self {
        Self {
            extents,
            offset: 0,
            left: 0,
            most: DirectoryEntry::MOST,
        }
    }

    fn next<D: BlockDevice + ?Sized>(
        &mut self,
        device: &mut D,
        cache: &mut Cache<'_>,
    ) -> Result<Option<DirectoryEntry>, FatError> {
        const SIZE: u64 = DirectoryEntry::SIZE as u64;
        if self.left < SIZE {
            let Some(extent) = self.extents.next(device, cache)? else {
                return Ok(None);
            };
            (self.offset, self.left) = (extent.disk_offset, extent.length);
        }
        if self.most == 0 {
            return Err(FatError::ChainLong(self.extents.first));
        }
        self.most -= 1;
        let end = self.extents.volume.end();
        let bytes = cache.bytes(device, self.offset, end)?;
        self.offset += SIZE;
        self.left = self.left.saturating_sub(SIZE);
        let entry = DirectoryEntry::read_from_prefix(bytes).ok();
        let entry = entry.map(|(entry, _)| entry);
        // The end, or no room for an entry, which whole sectors always have.
        Ok(entry.filter(|entry| entry.name[0] != DirectoryEntry::END))
    }
}

/// Looks for a name in a directory.
fn search<D: BlockDevice + ?Sized>(
    device: &mut D,
    cache: &mut Cache<'_>,
    directory: &mut Entries<'_>,
    name: &Name,
) -> Result<Option<DirectoryEntry>, FatError> {
    let mut long = LongName::default();
    while let Some(entry) = directory.next(device, cache)? {
        if entry.is_part() {
            long.push(&entry, name);
            continue;
        }
        let is_match = entry.is_file_or_directory()
            && (name.short == Some(entry.name) || long.is_name_of(&entry));
        if is_match {
            return Ok(Some(entry));
        }
        long = LongName::default();
    }
    Ok(None)
}

/// The files in a directory, in the order in which it has them.
pub struct Directory<'v> {
    entries: Entries<'v>,
}

/// A file in a [`Directory`].
pub struct Listed {
    /// Its name.
    pub name: FileName,
    /// The file itself.
    pub file: File,
}

impl Directory<'_> {
    /// The next file, or `None` at the end; directories in between are left out.
    ///
    /// # Errors
    /// [`FatError`], when the disk or the file system is damaged; the listing must not go on then.
    pub fn next<D: BlockDevice + ?Sized>(
        &mut self,
        device: &mut D,
        cache: &mut Cache<'_>,
    ) -> Result<Option<Listed>, FatError> {
        let mut long = Parts::default();
        let mut name = FileName::default();
        while let Some(entry) = self.entries.next(device, cache)? {
            if entry.is_part() {
                if long.push(&entry) {
                    name.put_part(&entry, long.part);
                }
                continue;
            }
            let is_file =
                entry.is_file_or_directory() && entry.attributes & DirectoryEntry::DIRECTORY == 0;
            if is_file {
                if !long.is_complete_for(&entry) {
                    name = FileName::short(&entry);
                }
                let file = self.entries.extents.volume.file(&entry)?;
                return Ok(Some(Listed { name, file }));
            }
            long = Parts::default();
        }
        Ok(None)
    }
}

/// The name of a file. A character that is not ASCII stands there as `?`, which no name has.
pub struct FileName {
    bytes: [u8; Self::MOST],
    length: usize,
}

impl Default for FileName {
    fn default() -> Self {
        Self {
            bytes: [0; Self::MOST],
            length: 0,
        }
    }
}

impl FileName {
    /// The most UTF-16 units of a name.
    const MOST: usize = 255;

    /// The name.
    pub fn as_str(&self) -> &str {
        utf8(self.bytes.get(..self.length).unwrap_or_default()).0
    }

    /// Puts the characters of a part where they belong. The one that comes first is the last one, in
    /// which the name ends.
    fn put_part(&mut self, entry: &DirectoryEntry, part: u8) {
        let start = usize::from(part - 1) * PART;
        if entry.name[0] & Parts::LAST != 0 {
            self.length = start;
        }
        for index in 0..PART {
            let unit = entry.unit(index);
            let Some(slot) = self.bytes.get_mut(start + index) else {
                break;
            };
            if unit == 0 {
                break;
            }
            *slot = ascii(u8::try_from(unit).unwrap_or(0));
            self.length = self.length.max(start + index + 1);
        }
    }

    /// The 8.3 name. Its letters are small where the reserved byte says so, as Windows NT writes it.
    fn short(entry: &DirectoryEntry) -> Self {
        /// For the name, and behind it for the extension.
        const SMALL: [u8; 2] = [0x08, 0x10];

        let mut name = Self::default();
        let mut push = |byte| {
            if let Some(slot) = name.bytes.get_mut(name.length) {
                *slot = byte;
                name.length += 1;
            }
        };
        let (stem, extension) = entry.name.split_at(8);
        for (bytes, small) in [stem, extension].into_iter().zip(SMALL) {
            let last = bytes.iter().rposition(|&byte| byte != b' ');
            let used = bytes.get(..last.map_or(0, |last| last + 1));
            for (index, &byte) in used.unwrap_or_default().iter().enumerate() {
                if index == 0 && small == SMALL[1] {
                    push(b'.');
                }
                let is_small = entry.reserved & small != 0;
                let byte = ascii(byte);
                push(if is_small {
                    byte.to_ascii_lowercase()
                } else {
                    byte
                });
            }
        }
        name
    }
}

/// What stands for a character: itself when it is a printable one of ASCII.
fn ascii(byte: u8) -> u8 {
    if matches!(byte, b' '..=b'~') {
        byte
    } else {
        b'?'
    }
}

/// Characters in one part of a long name.
const PART: usize = 13;

/// A name to look for, in the forms in which directories have names.
struct Name {
    /// UTF-16, folded.
    units: [u16; Self::MAX],
    length: usize,
    /// The 8.3 name, when it can be one.
    short: Option<[u8; 11]>,
}

impl Name {
    const MAX: usize = FileName::MOST;

    /// `None`: no file has this name.
    fn new(name: &str) -> Option<Self> {
        // Directories have entries of these names, but that of the root is not to be followed, and
        // no path that is written down needs them.
        if matches!(name, "" | "." | "..") {
            return None;
        }
        let mut units = [0; Self::MAX];
        let mut length = 0;
        for unit in name.encode_utf16() {
            *units.get_mut(length)? = fold(unit);
            length += 1;
        }
        Some(Self {
            units,
            length,
            short: short_name(name.as_bytes()),
        })
    }
}

/// The 8.3 form, or `None` when there is none.
fn short_name(name: &[u8]) -> Option<[u8; 11]> {
    let mut short = [b' '; 11];
    let (mut at, mut end) = (0, 8);
    for &byte in name {
        if byte == b'.' && end == 8 && at > 0 {
            (at, end) = (8, 11);
        } else if at < end && byte.is_ascii_graphic() && byte != b'.' {
            short[at] = byte.to_ascii_uppercase();
            at += 1;
        } else {
            return None;
        }
    }
    // With a point at the end, it is a different name.
    (at != 8 || end == 8).then_some(short)
}

/// The letters that compare equal: ASCII alone, since what others do depends on the code page of
/// the system that wrote them.
fn fold(unit: u16) -> u16 {
    if (b'a' as u16..=b'z' as u16).contains(&unit) {
        unit - 32
    } else {
        unit
    }
}

/// The parts of a long name that preceded, last part first, as far as they are in good order.
#[derive(Default)]
struct Parts {
    /// The number of the part that came last, 0: there was none in good order.
    part: u8,
    checksum: u8,
}

impl Parts {
    /// Bit of the part number in the first entry, which has the last part.
    const LAST: u8 = 0x40;

    /// One more; says whether it belongs to those before.
    fn push(&mut self, entry: &DirectoryEntry) -> bool {
        let order = entry.name[0];
        let mut part = order & !Self::LAST;
        if usize::from(part) > FileName::MOST.div_ceil(PART) {
            part = 0;
        }
        let is_first = order & Self::LAST != 0;
        let goes_on = self.part == part.wrapping_add(1) && self.checksum == entry.checksum;
        self.part = if is_first || goes_on { part } else { 0 };
        self.checksum = entry.checksum;
        self.part != 0
    }

    /// Whether all of them are there, and belong to this entry.
    fn is_complete_for(&self, entry: &DirectoryEntry) -> bool {
        self.part == 1
            && self.checksum
                == entry
                    .name
                    .iter()
                    .fold(0u8, |sum, &byte| sum.rotate_right(1).wrapping_add(byte))
    }
}

/// A long name that is compared with a [`Name`] as its parts come.
#[derive(Default)]
struct LongName {
    parts: Parts,
    is_match: bool,
}

impl LongName {
    fn push(&mut self, entry: &DirectoryEntry, name: &Name) {
        let goes_on = self.parts.push(entry);
        let part = usize::from(self.parts.part);
        if entry.name[0] & Parts::LAST != 0 {
            self.is_match = part == name.length.div_ceil(PART);
        }
        self.is_match = self.is_match && goes_on && is_part(entry, name, (part - 1) * PART);
    }

    /// Whether the name is complete, that which is looked for, and belongs to this entry.
    fn is_name_of(&self, entry: &DirectoryEntry) -> bool {
        self.is_match && self.parts.is_complete_for(entry)
    }
}

/// Whether the part holds the characters of the name from `start` on.
fn is_part(entry: &DirectoryEntry, name: &Name, start: usize) -> bool {
    let length = name.length.saturating_sub(start).min(PART);
    let Some(wanted) = name.units.get(start..start + length) else {
        return false;
    };
    // A name that does not fill its last part ends in 0 there.
    (0..PART)
        .zip(wanted.iter().chain(&[0]))
        .all(|(index, &wanted)| fold(entry.unit(index)) == wanted)
}
