//! Other copies: a FAT volume has two copies of most of its structures.
//!
//! The second boot sector and the second FAT are used only when the volume cannot be read by the
//! usual ones (7A, 8A, 8B), or when a checksum can confirm that they lead to the original file.
//! Invalid contents of a file are not a reason: another copy would only lead to another file. A
//! disk that does not answer has no other copies either.

use core::fmt;

use disk_layout::parts::Part;

use crate::disk::block_device::{BlockDevice as _, DiskError, DiskFailure};
use crate::disk::fat::{self, Cache, FatError, View, Volume};
use crate::disk::int13::Drive;
use crate::disk::partition::{Partition, PartitionError, TableLba};
use crate::errors::catalogue::Named;
use crate::errors::text::Texts;
use crate::files::access::{File, Files, OnDisk, Place, Source};
use crate::files::error::{FileMachine, is_of_volume};
use crate::files::integrity::{Expected, Running};
use crate::machine::Machine;
use crate::memory::map::MemoryMap;
use crate::position::FileOffset;
use crate::say;

/// An action by one view of the volume. `true`: it counts only if a checksum confirms what was
/// read.
type Action<'a, 'm, M> =
    &'a mut dyn FnMut(&mut Files<'m, M>, bool) -> Result<(), <M as Machine<'m>>::Failure>;

/// Parses headers, and returns the checksums that they must have.
type Parse<'a, 'm, M> =
    &'a mut dyn FnMut(
        &mut Reader<'_, 'm, M>,
    ) -> Result<Option<Expected<'m>>, <M as Machine<'m>>::Failure>;

impl<'m, M: FileMachine<'m>> Files<'m, M> {
    /// Does something with files. If that fails, tries the other views of the volume until one
    /// succeeds. If a `file` is given, skips views by which its bytes are in the same places.
    /// `checked`: a checksum decides whether the action has succeeded.
    ///
    /// # Errors
    /// The first failure.
    pub(super) fn by_views(
        &mut self,
        file: Option<&File<'m>>,
        checked: bool,
        action: Action<'_, 'm, M>,
    ) -> Result<(), M::Failure> {
        let Err(first) = action(self, false) else {
            return Ok(());
        };
        let readable = !is_of_volume(&first);
        if readable && !checked {
            return Err(first);
        }
        if !self.disk().is_none_or(Drive::is_there) {
            return Err(first); // the part would be waited for again
        }
        let by_others = by_others as fn(_, _, _, _) -> Result<(), _>;
        match self.machine.of_part(Part::Disks, by_others) {
            Ok(by_others) => by_others(self, file, first, action),
            Err(_) => Err(first),
        }
    }

    /// Tries the other views until one succeeds. If none does, the view in use stays.
    fn try_others(
        &mut self,
        file: Option<&File<'m>>,
        action: &mut dyn FnMut(&mut Self) -> bool,
    ) -> Option<View> {
        let file = match file.map(|file| &file.place) {
            Some(Place::Memory(_)) => return None,
            Some(Place::Volume(file)) => Some(file),
            None => None,
        };
        let Source::Volume(OnDisk {
            volume: damaged, ..
        }) = self.source
        else {
            return None;
        };
        for view in View::ALL {
            if let Source::Volume(on_disk) = &mut self.source
                && on_disk.look_by(view, &damaged, file)
                && action(self)
            {
                return Some(view);
            }
        }
        if let Source::Volume(on_disk) = &mut self.source {
            on_disk.volume = damaged;
        }
        None
    }

    /// Parses the headers of a file, and compares their checksum, which covers all that the parser
    /// has read, in that order.
    ///
    /// # Errors
    /// Those of the parser; 10Q, 10R, 8B, 7A.
    pub fn parse(
        &mut self,
        file: &File<'m>,
        checked: bool,
        parse: Parse<'_, 'm, M>,
    ) -> Result<(), M::Failure> {
        self.by_views(Some(file), checked, &mut |files, _| {
            let mut reader = Reader {
                files,
                file: *file,
                sum: Running::new(M::fast_crc32c()),
            };
            match parse(&mut reader)? {
                Some(expected) => {
                    let sum = reader.sum.end();
                    Ok(expected.headers(sum)?)
                }
                None => Ok(()),
            }
        })
    }
}

/// As [`by_views`](Files::by_views), after the failure by the view in use.
#[inline(never)]
fn by_others<'m, M: FileMachine<'m>>(
    files: &mut Files<'m, M>,
    file: Option<&File<'m>>,
    first: M::Failure,
    action: Action<'_, 'm, M>,
) -> Result<(), M::Failure> {
    let machine = files.machine;
    let readable = !is_of_volume(&first);
    machine.again(true);
    let done = files.try_others(file, &mut |files| action(files, readable).is_ok());
    machine.again(false);
    match done {
        Some(view) => {
            say_change(machine, &first, view);
            Ok(())
        }
        None => Err(first),
    }
}

/// Opens a volume that cannot be opened by the usual view.
///
/// # Errors
/// 8A, 8B, 8D or 7A.
#[inline(never)]
pub(super) fn open_other<'m, M: FileMachine<'m>>(
    machine: M,
    disk: &mut Drive<M>,
    cache: &mut Cache<'m>,
    partition: &Partition,
    error: FatError,
) -> Result<Volume, M::Failure> {
    let mut changed = |error: &FatError, view| say_change(machine, error, view);
    let opened = Volume::open_other(disk, cache, partition, error, &mut changed);
    let volume = opened.map_err(|error| match error {
        FatError::Disk(error) if is_behind_end(&error, partition) => {
            M::Failure::from(PartitionError::BehindEnd {
                number: partition.number,
                first_lba: TableLba::of(partition),
                disk_sectors: disk.sector_count(),
            })
        }
        error => error.into(),
    })?;
    say_volume(machine, &volume);
    if let Some(defect) = volume.defect() {
        machine.print(&Note(&defect));
    }
    Ok(volume)
}

/// Does a partition begin behind the end of the disk? Nobody knew how long that is before it could not
/// be read.
fn is_behind_end(error: &DiskError, partition: &Partition) -> bool {
    error.cause == DiskFailure::OutOfRange
        && error.lba == partition.first_lba
        && partition.number != 0
}

/// The line about a volume that was opened.
pub(super) fn say_volume<'m>(machine: impl Machine<'m>, volume: &Volume) {
    say!(machine, " 8 files    ", volume.kind());
}

/// A file whose headers are being read.
pub struct Reader<'f, 'm, M> {
    files: &'f mut Files<'m, M>,
    file: File<'m>,
    sum: Running,
}

impl<'m, M: FileMachine<'m>> Reader<'_, 'm, M> {
    /// The files.
    pub fn files(&self) -> &Files<'m, M> {
        self.files
    }

    /// Reads from an offset on; returns the number of bytes.
    ///
    /// # Errors
    /// 8B or 7A.
    pub fn read_at(&mut self, offset: FileOffset, out: &mut [u8]) -> Result<usize, M::Failure> {
        let length = self.files.read_by_view(&self.file, offset, out)?;
        self.sum.add(out.get(..length).unwrap_or_default());
        Ok(length)
    }

    /// Returns the checksum of all bytes read so far, and starts a new one.
    pub fn take_sum(&mut self) -> Running {
        core::mem::replace(&mut self.sum, Running::new(M::fast_crc32c()))
    }

    /// Sets the checksum of the bytes read so far.
    pub fn set_sum(&mut self, sum: Running) {
        self.sum = sum;
    }

    /// Reads parts of the file, by offset and length of each, before their destination is known:
    /// [`Files::load`] does not read them again. Returns each, by its index; empty if memory does
    /// not suffice. They are not part of the checksum.
    ///
    /// # Errors
    /// 8B or 7A.
    pub fn keep(
        &mut self,
        parts: impl Iterator<Item = (FileOffset, u64)> + Clone,
        memory: &mut MemoryMap,
    ) -> Result<&Files<'m, M>, M::Failure> {
        self.files.keep_by_view(&self.file, parts, memory)?;
        Ok(self.files)
    }
}

impl<'m, M: FileMachine<'m>> OnDisk<'m, M> {
    /// Switches to another view, if the disk still answers and the view shows something else.
    fn look_by(&mut self, view: View, damaged: &Volume, file: Option<&fat::File>) -> bool {
        let (disk, cache) = (&mut self.disk, &mut self.cache);
        if !disk.is_there() {
            return false;
        }
        let Ok(volume) = damaged.by_view(disk, cache, &self.partition, view) else {
            return false;
        };
        self.volume = volume;
        volume != *damaged
            && file.is_none_or(|file| !volume.same_places(damaged, disk, cache, file))
    }
}

/// Reports that the volume is damaged, and which copy is used instead.
fn say_change<'m>(machine: impl Machine<'m>, damage: &dyn Named, view: View) {
    let part = match (view.backup, view.second_fat) {
        (false, false) => "the first FAT",
        (false, true) => "the second FAT",
        (true, false) => "the backup boot sector",
        (true, true) => "the backup boot sector and the second FAT",
    };
    machine.print(&Change(damage, part));
}

/// What is wrong with a volume that can be read all the same.
struct Note<'a>(&'a fat::Defect);

impl fmt::Display for Note<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(" 8 files    ")?;
        self.0.fmt(f)
    }
}

struct Change<'a>(&'a dyn Named, &'a str);

impl fmt::Display for Change<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(damage, part) = self;
        let code = damage.entry().code;
        Texts(&[" 8 files    by ", part, ", because of ", code, ": "]).fmt(f)?;
        damage.fmt(f)
    }
}
