//! Other copies: a FAT volume has most of what describes it twice.
//!
//! The second boot sector and the second FAT are looked at only when the usual ones do not let the
//! volume be read (7A, 8A, 8B), or when a checksum can tell that by them the file is what it was. A
//! refusal of what a file holds is no reason: by another copy it would only be another file. A disk that
//! does not answer has no other copies either.

use core::fmt;

use crate::disk::fat::{self, View, Volume};
use crate::errors::catalogue::Named;
use crate::errors::text::Texts;
use crate::files::access::{File, Files, OnDisk, Place, Source};
use crate::files::error::{FileMachine, is_of_volume};
use crate::files::integrity::Expected;
use crate::machine::Machine;
use crate::memory::map::MemoryMap;
use crate::position::FileOffset;

/// What is done by a view of the volume. `true`: it counts only if a checksum confirms what was read.
type Action<'a, 'm, M> =
    &'a mut dyn FnMut(&mut Files<'m, M>, bool) -> Result<(), <M as Machine<'m>>::Failure>;

/// Parses headers, and says which checksums they must have.
type Parse<'a, 'm, M> =
    &'a mut dyn FnMut(
        &mut Reader<'_, 'm, M>,
    ) -> Result<Option<Expected<'m>>, <M as Machine<'m>>::Failure>;

impl<'m, M: FileMachine<'m>> Files<'m, M> {
    /// Does something with files; where that fails, by the other views of the volume, until it succeeds.
    /// With a `file` that is known already, only if its bytes are elsewhere by that view. `checked`:
    /// a checksum tells whether it has succeeded.
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
        self.machine.again(true);
        let done = self.try_others(file, &mut |files| action(files, readable).is_ok());
        self.machine.again(false);
        match done {
            Some(view) => {
                say_change(self.machine, &first, view);
                Ok(())
            }
            None => Err(first),
        }
    }

    /// Goes through the other views, until one of them does it. If none does, the one in use stays.
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

    /// Parses the headers of a file, and compares their checksum: that of all that the parser has read,
    /// in its order.
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
                crc: 0,
            };
            match parse(&mut reader)? {
                Some(expected) => {
                    let crc = reader.crc;
                    Ok(expected.headers(crc)?)
                }
                None => Ok(()),
            }
        })
    }
}

/// A file whose headers are read.
pub struct Reader<'f, 'm, M> {
    files: &'f mut Files<'m, M>,
    file: File<'m>,
    crc: u32,
}

impl<'m, M: FileMachine<'m>> Reader<'_, 'm, M> {
    /// The files.
    pub fn files(&self) -> &Files<'m, M> {
        self.files
    }

    /// Reads from an offset on; returns how many bytes there were.
    ///
    /// # Errors
    /// 8B or 7A.
    pub fn read_at(&mut self, offset: FileOffset, out: &mut [u8]) -> Result<usize, M::Failure> {
        let length = self.files.read_by_view(&self.file, offset, out)?;
        self.crc = M::crc32c(self.crc, out.get(..length).unwrap_or_default());
        Ok(length)
    }

    /// The checksum of all that was read; from here on, of what will be.
    pub fn take_sum(&mut self) -> u32 {
        core::mem::take(&mut self.crc)
    }

    /// The checksum is of what had this one.
    pub fn set_sum(&mut self, sum: u32) {
        self.crc = sum;
    }

    /// Reads parts of the file, offset and length of each, before it is known where they go:
    /// [`Files::load`] does not read them again. Returns each, by its index; nothing where there is no
    /// memory for that. They are in no checksum.
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
    /// Goes over to another view, if that shows something else, and the disk is there to show it.
    fn look_by(&mut self, view: View, damaged: &Volume, file: Option<&fat::File>) -> bool {
        let (disk, cache) = (&mut self.disk, &mut self.cache);
        if !disk.is_there() {
            return false;
        }
        let Ok(volume) = Volume::open_view(disk, cache, &self.partition, view) else {
            return false;
        };
        self.volume = volume;
        volume != *damaged
            && file.is_none_or(|file| !volume.same_places(damaged, disk, cache, file))
    }
}

/// Tells that the volume is damaged, and which part of it will do nevertheless.
pub(super) fn say_change<'m>(machine: impl Machine<'m>, damage: &dyn Named, view: View) {
    let part = match (view.backup, view.second_fat) {
        (false, false) => "the first FAT",
        (false, true) => "the second FAT",
        (true, false) => "the backup boot sector",
        (true, true) => "the backup boot sector and the second FAT",
    };
    machine.print(&Change(damage, part));
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
