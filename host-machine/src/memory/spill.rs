//! Loaded bytes for which the host has no memory: they go to a temporary file, which is mapped in
//! their place. The path does not notice, and the host keeps as much of the file in memory as it
//! likes.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::ffi::c_void;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::{env, io, ptr};

use rustix::fs::{FallocateFlags, fallocate, fstatfs};
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, mmap_anonymous, munmap};

use super::is_zero;

/// The bytes that go to the file at once: a power of two, and whole pages of any host.
pub(super) const UNIT: u64 = 1 << 20;

/// Drops pages; those of a file can be read again.
const DROP: Advice = Advice::LinuxDontNeed;

/// The bytes of loaded data that stay where they are: most images have no more.
const KEPT: u64 = 16 << 20;

/// The part of memory that is in a file. Units go by their numbers in memory.
#[derive(Default)]
pub(super) struct Spill {
    /// How many bytes were loaded.
    loaded: Cell<u64>,
    /// `None` if there is no disk for it, which is looked for once.
    file: OnceCell<Option<File>>,
    /// Where in the file each unit is, in units. A place is used once: the file is as long as what
    /// was loaded, and a place that a failure has left half written is not seen again.
    units: RefCell<BTreeMap<u64, u64>>,
    next: Cell<u64>,
}

impl Spill {
    /// Counts bytes that were loaded. `false`: they stay in memory.
    pub(super) fn count(&self, length: u64) -> bool {
        let loaded = self.loaded.get().saturating_add(length);
        self.loaded.set(loaded);
        loaded > KEPT
    }

    /// Whether a unit is in the file.
    pub(super) fn has(&self, unit: u64) -> bool {
        self.units.borrow().contains_key(&unit)
    }

    /// Whether nothing is in the file.
    pub(super) fn is_empty(&self) -> bool {
        self.units.borrow().is_empty()
    }

    /// Moves a unit to the file. `memory` is the start of all memory.
    ///
    /// # Errors
    /// When the host has no room on a disk: the unit stays in memory.
    pub(super) fn move_out(&self, memory: *mut u8, unit: u64) -> io::Result<()> {
        let file = self.file.get_or_init(|| file_on_disk().ok());
        let file = file.as_ref().ok_or(io::ErrorKind::NotFound)?;
        let offset = self.next.get() * UNIT;
        self.next.set(self.next.get() + 1);
        // The room is reserved, lest a write to memory is the first to notice that there is none.
        fallocate(file, FallocateFlags::empty(), offset, UNIT)?;
        let place = place(memory, unit);
        // SAFETY: the unit is in memory, and nobody writes to it meanwhile.
        let bytes = unsafe { std::slice::from_raw_parts(place.cast_const().cast(), UNIT as usize) };
        if !is_zero(bytes) {
            file.write_all_at(bytes, offset)?;
        }
        let access = ProtFlags::READ | ProtFlags::WRITE;
        let how = MapFlags::SHARED | MapFlags::FIXED;
        // SAFETY: the unit belongs to our mapping. The same bytes are there as before, and writes to
        // them stay: the file has no other user.
        let mapped = unsafe { mmap(place, UNIT as usize, access, how, file, offset) };
        mapped.expect("another part of the file could be mapped");
        self.units.borrow_mut().insert(unit, offset / UNIT);
        Ok(())
    }

    /// Writes bytes to their place in a unit that is in the file: memory shows them, without having
    /// them.
    ///
    /// # Errors
    /// When the host cannot write.
    pub(super) fn write(&self, address: u64, bytes: &[u8]) -> io::Result<()> {
        let units = self.units.borrow();
        let slot = units.get(&(address / UNIT));
        let (Some(Some(file)), Some(slot)) = (self.file.get(), slot) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        file.write_all_at(bytes, slot * UNIT + address % UNIT)
    }

    /// Gives a unit back that was moved out: memory full of zeroes.
    pub(super) fn take_back(&self, memory: *mut u8, unit: u64) {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        let how = MapFlags::PRIVATE | MapFlags::FIXED | MapFlags::NORESERVE;
        let place = place(memory, unit);
        // SAFETY: the unit belongs to our mapping, and the caller has the only reference to it.
        let mapped = unsafe { mmap_anonymous(place, UNIT as usize, access, how) };
        mapped.expect("there was memory before");
        let slot = self.units.borrow_mut().remove(&unit);
        if let (Some(Some(file)), Some(slot)) = (self.file.get(), slot) {
            let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            // A file system without holes keeps the bytes until the file is gone.
            let _ = fallocate(file, punch, slot * UNIT, UNIT);
        }
    }

    /// Lets the host keep as much of the file in memory as it likes.
    pub(super) fn release(&self, memory: *mut u8) {
        for run in runs(self.units.borrow().keys().copied()) {
            let length = (run.end - run.start) * UNIT;
            // SAFETY: these units are a shared mapping of a file: nothing is lost, because later
            // reads come from there.
            let released = unsafe { madvise(place(memory, run.start), length as usize, DROP) };
            // If that fails, the pages only take memory.
            let _ = released;
        }
    }
}

/// A file without a name on a disk: in the temporary directory, or in `/var/tmp` if the former is in
/// memory itself.
///
/// # Errors
/// When there is none, or it cannot be mapped.
fn file_on_disk() -> io::Result<File> {
    const TMPFS: u32 = 0x0102_1994;
    const RAMFS: u32 = 0x8584_58F6;

    for directory in [env::temp_dir(), PathBuf::from("/var/tmp")] {
        let Ok(file) = tempfile::tempfile_in(directory) else {
            continue;
        };
        if [TMPFS, RAMFS].contains(&(fstatfs(&file)?.f_type as u32)) {
            continue;
        }
        fallocate(&file, FallocateFlags::empty(), 0, UNIT)?;
        let access = ProtFlags::READ | ProtFlags::WRITE;
        let place = ptr::null_mut();
        // SAFETY: a mapping of its own, at a place that the host chooses; nobody refers to it.
        unsafe {
            let tried = mmap(place, UNIT as usize, access, MapFlags::SHARED, &file, 0)?;
            munmap(tried, UNIT as usize)?;
        }
        return Ok(file);
    }
    Err(io::ErrorKind::NotFound.into())
}

/// The address of a unit.
fn place(memory: *mut u8, unit: u64) -> *mut c_void {
    memory.wrapping_add((unit * UNIT) as usize).cast()
}

/// Units that lie side by side.
fn runs(units: impl Iterator<Item = u64>) -> Vec<Range<u64>> {
    let mut runs: Vec<Range<u64>> = Vec::new();
    for unit in units {
        match runs.last_mut() {
            Some(run) if run.end == unit => run.end += 1,
            _ => runs.push(unit..unit + 1),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_one_run() {
        let runs = |units: &[u64]| runs(units.iter().copied());
        assert_eq!(runs(&[]), []);
        assert_eq!(runs(&[3, 4, 5, 9, 11, 12]), [3..6, 9..10, 11..13]);
    }
}
