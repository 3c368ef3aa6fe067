//! A volume, opened by one of its boot sectors and FATs, and the files at its paths.

use core::fmt;

use crate::disk::block_device::{BlockDevice, DiskError, DiskFailure};
use crate::disk::fat::cache::{Cache, Purpose};
use crate::disk::fat::chain::{Extent, ExtentWalker};
use crate::disk::fat::directory::{Directory, DirectoryEntry, Entries, search};
use crate::disk::fat::error::{FatError, Field, Refusal};
use crate::disk::fat::geometry::{Geometry, Kind};
use crate::disk::fat::name::Name;
use crate::disk::partition::Partition;
use crate::disk::probe::{self, Foreign};
use crate::errors::text::{copy, split_before};
use crate::position::{DiskOffset, FileOffset};

/// A FAT volume with a valid boot sector. Holding one proves that offsets of its clusters cannot
/// overflow and that each of them has a FAT entry.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Volume {
    pub(super) geometry: Geometry,
    /// Where it begins. Offsets in its boot sector count from there.
    pub(super) start: DiskOffset,
    /// The mark that its boot sector lacks.
    unmarked: Option<Refusal>,
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

/// A mark that a boot sector lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Defect(Refusal);

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the boot sector is not as FAT's must be, ")?;
        self.0.fmt(f)
    }
}

/// Which of its two boot sectors and two FATs a volume is read by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// FAT32's backup boot sector instead of the first one.
    pub backup: bool,
    /// The second FAT instead of the first one.
    pub second_fat: bool,
}

impl View {
    /// All views, the usual one first.
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

/// "BPB_BkBootSec", the sector of FAT32's backup boot sector: no value other than 6 is recommended.
pub const BACKUP_SECTOR: u64 = 6;

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

    /// Opens the volume by the first of its [views](View::ALL) that is valid. If that is not the
    /// usual one, `changed` receives it and the error of the usual one.
    ///
    /// # Errors
    /// Those of [`open`](Self::open); [`FatError::Foreign`] when the volume is known to hold
    /// something else.
    pub fn open_any<D: BlockDevice + ?Sized>(
        device: &mut D,
        cache: &mut Cache<'_>,
        partition: &Partition,
        changed: &mut dyn FnMut(&FatError, View),
    ) -> Result<Self, FatError> {
        match Self::open(device, cache, partition) {
            Ok(volume) => Ok(volume),
            Err(error) => Self::open_other(device, cache, partition, error, changed),
        }
    }

    /// As [`open_any`](Self::open_any), after the error of the usual view.
    ///
    /// # Errors
    /// Those of `open_any`.
    pub fn open_other<D: BlockDevice + ?Sized>(
        device: &mut D,
        cache: &mut Cache<'_>,
        partition: &Partition,
        error: FatError,
        changed: &mut dyn FnMut(&FatError, View),
    ) -> Result<Self, FatError> {
        if let FatError::Disk(DiskError {
            cause: DiskFailure::NoAnswer(_),
            ..
        }) = error
        {
            return Err(error); // no other boot sector can be read either
        }
        let (first, length) = (partition.first_lba, partition.sectors);
        let foreign = |name| {
            FatError::Foreign(Foreign {
                partition: partition.number,
                name,
            })
        };
        let refused = matches!(error, FatError::NotFat { .. });
        // Another file system leaves much of an old FAT32 in place, above all its backup boot
        // sector. That must not make the loader read the new file system as FAT, or call it
        // damaged.
        if refused && let Some(name) = probe::at_start(device, first, length) {
            return Err(foreign(name));
        }
        for view in View::ALL {
            if let Ok(volume) = Self::open_view(device, cache, partition, view) {
                changed(&error, view);
                return Ok(volume);
            }
        }
        if let Ok(volume) = Self::open_unmarked(device, cache, partition) {
            return Ok(volume);
        }
        match probe::at_end(device, first, length) {
            Some(name) if refused => Err(foreign(name)),
            _ => Err(error),
        }
    }

    /// As [`open`](Self::open), by another boot sector or FAT. The backup boot sector is expected
    /// at its usual place, sector 6: the first boot sector, which names the place, may be damaged.
    ///
    /// # Errors
    /// Those of [`open`](Self::open), for this boot sector; [`FatError::NotFat`] when this kind of
    /// volume has no backup, or the volume has no second FAT.
    pub fn open_view<D: BlockDevice + ?Sized>(
        device: &mut D,
        cache: &mut Cache<'_>,
        partition: &Partition,
        view: View,
    ) -> Result<Self, FatError> {
        let start = partition.first_lba.start(device.sector_size());
        let unit = device.sector_size() as u64;
        let end = start.saturating_add(partition.sectors.saturating_mul(unit));
        let mut offset = start;
        let refuse = |offset, field, value| FatError::NotFat {
            offset,
            refusal: Refusal { field, value },
        };
        if start > MAX_START {
            return Err(refuse(start, Field::Length, 0));
        }
        // Only a boot sector knows the size of the volume's sectors: 512 bytes, or the disk's.
        let backups =
            [disk_layout::SECTOR_SIZE as u64, unit].map(|size| start + BACKUP_SECTOR * size);
        let places = if view.backup { backups } else { [start; 2] };
        let mut parsed = Err(Refusal {
            field: Field::Length,
            value: 0,
        });
        for place in places {
            if parsed.is_err() {
                offset = place;
                parsed = Geometry::parse(cache.bytes(device, place, end, Purpose::Volume)?);
            }
        }
        let geometry = parsed.map_err(|Refusal { field, value }| refuse(offset, field, value))?;
        if view.backup && geometry.kind != Kind::Fat32 {
            return Err(refuse(offset, Field::RootEntries, 0));
        }
        let volume = Self {
            geometry,
            start,
            unmarked: None,
        };
        match view.second_fat {
            true => volume.by_second_fat(),
            false => Ok(volume),
        }
    }

    fn by_second_fat(mut self) -> Result<Self, FatError> {
        let refusal = Refusal {
            field: Field::Fats,
            value: 1,
        };
        let offset = self.start;
        let copy = self.geometry.copy;
        self.geometry.fat = copy.ok_or(FatError::NotFat { offset, refusal })?;
        Ok(self)
    }

    /// Opens a volume whose boot sector lacks one of the marks by which FAT is told from anything
    /// else: only when it is nothing else, and has no better boot sector.
    fn open_unmarked<D: BlockDevice + ?Sized>(
        device: &mut D,
        cache: &mut Cache<'_>,
        partition: &Partition,
    ) -> Result<Self, FatError> {
        let offset = partition.first_lba.start(device.sector_size());
        let unit = device.sector_size() as u64;
        let end = offset.saturating_add(partition.sectors.saturating_mul(unit));
        if offset > MAX_START {
            let (field, value) = (Field::Length, 0);
            let refusal = Refusal { field, value };
            return Err(FatError::NotFat { offset, refusal });
        }
        let parsed = Geometry::parse_unmarked(cache.bytes(device, offset, end, Purpose::Volume)?);
        let (geometry, mark) = parsed.map_err(|refusal| FatError::NotFat { offset, refusal })?;
        Ok(Self {
            geometry,
            start: offset,
            unmarked: Some(mark),
        })
    }

    /// The same volume by another view, as [`open_view`](Self::open_view) opens it.
    ///
    /// # Errors
    /// Those of `open_view`.
    pub fn by_view<D: BlockDevice + ?Sized>(
        &self,
        device: &mut D,
        cache: &mut Cache<'_>,
        partition: &Partition,
        view: View,
    ) -> Result<Self, FatError> {
        if self.unmarked.is_none() || view.backup {
            return Self::open_view(device, cache, partition, view);
        }
        let volume = Self::open_unmarked(device, cache, partition)?;
        match view.second_fat {
            true => volume.by_second_fat(),
            false => Ok(volume),
        }
    }

    /// What is wrong with its boot sector, although it can be read.
    pub fn defect(&self) -> Option<Defect> {
        self.unmarked.map(Defect)
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
    /// to the case of ASCII letters. `None`: the file does not exist or is a directory, or the path
    /// has more than `MAX_DEPTH` names.
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

    /// Follows a path. `None`: it leads nowhere.
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
                let first = entry.first_cluster(self.geometry.kind);
                entries = entries.below(self.chain(first, None));
            } else if rest.is_empty() {
                return Ok(Some(Place::File(self.file(&entry)?)));
            } else {
                return Ok(None);
            }
        }
        Ok(rest.is_empty().then_some(Place::Directory(entries)))
    }

    pub(super) fn file(&self, entry: &DirectoryEntry) -> Result<File, FatError> {
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

    /// Reads a small piece from byte `offset` of the file on, through the cache. Returns the number
    /// of bytes, which is less than the length of `out` only at the end of the file.
    ///
    /// # Errors
    /// [`FatError`], when the disk or the file system is damaged.
    pub fn read_at<D: BlockDevice + ?Sized>(
        &self,
        device: &mut D,
        cache: &mut Cache<'_>,
        file: &File,
        offset: FileOffset,
        out: &mut [u8],
    ) -> Result<usize, FatError> {
        let wanted = file
            .size
            .saturating_sub(offset.as_u64())
            .min(out.len() as u64);
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
                let purpose = self.purpose(file, &extent, skip);
                let bytes = cache.bytes(device, extent.disk_offset + skip, self.end(), purpose)?;
                let length = (extent.length - skip).min(wanted - done as u64) as usize;
                let bytes = bytes.get(..length).unwrap_or(bytes);
                done += copy(bytes, out.get_mut(done..).unwrap_or_default());
            }
        }
        Ok(done)
    }

    /// For the cache: the bytes of a file from a byte of an extent on.
    pub(crate) fn purpose(&self, file: &File, extent: &Extent, skip: u64) -> Purpose {
        let cluster = 1 << self.geometry.cluster_shift;
        let end = file.size.next_multiple_of(cluster);
        let position = extent.file_offset.as_u64() + skip;
        Purpose::File {
            before: skip,
            left: end.saturating_sub(position),
        }
    }

    /// Where the file lies on the disk.
    pub fn extents(&self, file: &File) -> ExtentWalker<'_> {
        self.chain(file.first_cluster, Some(file.size))
    }

    /// Do the file's bytes lie in the same places by another view of the volume? No, if either view
    /// fails.
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
            file_offset: FileOffset::ZERO,
            disk_offset: self.start + self.geometry.root,
            length: self.geometry.root_length,
        };
        Entries::new(ExtentWalker {
            fixed: Some(root),
            ..self.chain(0, Some(0))
        })
    }

    fn chain(&self, first: u32, size: Option<u64>) -> ExtentWalker<'_> {
        let end = FileOffset::new(size.unwrap_or(DirectoryEntry::MAX_BYTES));
        let is_file = size.is_some();
        ExtentWalker {
            volume: self,
            fixed: None,
            first,
            cluster: first,
            position: FileOffset::ZERO,
            end,
            stop: end,
            is_file,
        }
    }

    /// The first byte of the disk behind the volume.
    pub(crate) fn end(&self) -> DiskOffset {
        self.start + self.geometry.end
    }
}

/// What a path leads to.
enum Place<'v> {
    File(File),
    Directory(Entries<'v>),
}

/// The most names in a path. By the specification a path has at most 260 characters, of which every
/// second one may be a slash.
const MAX_DEPTH: u32 = 130;

/// Names on FAT have no `\` in them, so that it can only separate them, as on DOS and UEFI.
fn is_slash(byte: u8) -> bool {
    matches!(byte, b'/' | b'\\')
}

fn after_slashes(path: &str) -> &str {
    split_before(path, |byte| !is_slash(byte)).1
}

/// The highest offset at which a volume may start: no sum can overflow.
const MAX_START: DiskOffset = DiskOffset::new(1 << 60);
