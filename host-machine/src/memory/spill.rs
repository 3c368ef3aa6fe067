//! Loaded bytes for which the host has no memory: they go to a temporary file, which is mapped in
//! their place. The path does not notice, and the host keeps as much of the file in memory as it
//! likes.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::ffi::c_void;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;

use rustix::fs::{FallocateFlags, fallocate};
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, mmap_anonymous};

use super::is_zero;

/// The bytes that go to the file at once: a power of two, and whole pages of any host.
pub(super) const UNIT: u64 = 1 << 20;

/// Drops pages; those of a file can be read again.
const DROP: Advice = Advice::LinuxDontNeed;

/// The bytes of loaded data that stay where they are: most images have no more.
const KEPT: u64 = 16 << 20;

/// The part of memory that is in a file. Units are identified by their numbers.
#[derive(Default)]
pub(super) struct Spill {
    /// How many bytes were loaded.
    loaded: Cell<u64>,
    file: RefCell<Option<File>>,
    units: RefCell<BTreeSet<u64>>,
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
        self.units.borrow().contains(&unit)
    }

    /// Whether nothing is in the file.
    pub(super) fn is_empty(&self) -> bool {
        self.units.borrow().is_empty()
    }

    /// Moves a unit to the file. `memory` is the start of all memory.
    ///
    /// # Errors
    /// If the host has no room in its temporary directory: the unit stays where it is.
    pub(super) fn move_out(&self, memory: *mut u8, unit: u64) -> io::Result<()> {
        let mut file = self.file.borrow_mut();
        let file = match &mut *file {
            Some(file) => file,
            none => none.insert(tempfile::tempfile()?),
        };
        // Reserves room for all of it, so that a write to memory is not the first to find that
        // there is none.
        fallocate(&*file, FallocateFlags::empty(), unit * UNIT, UNIT)?;
        let place = place(memory, unit);
        // SAFETY: the unit is in memory, and nobody writes to it meanwhile.
        let bytes = unsafe { std::slice::from_raw_parts(place.cast_const().cast(), UNIT as usize) };
        if !is_zero(bytes) {
            file.write_all_at(bytes, unit * UNIT)?;
        }
        let access = ProtFlags::READ | ProtFlags::WRITE;
        let how = MapFlags::SHARED | MapFlags::FIXED;
        // SAFETY: the unit belongs to our mapping. It holds the same bytes as before, and writes to
        // it stay: the file has no other user.
        let mapped = unsafe { mmap(place, UNIT as usize, access, how, file, unit * UNIT) };
        mapped.expect("a file of this size can be mapped");
        self.units.borrow_mut().insert(unit);
        Ok(())
    }

    /// Writes bytes to their place in a unit that is in the file; memory shows them without holding
    /// them.
    ///
    /// # Errors
    /// If the host cannot write.
    pub(super) fn write(&self, address: u64, bytes: &[u8]) -> io::Result<()> {
        let file = self.file.borrow();
        let file = file.as_ref().ok_or(io::ErrorKind::NotFound)?;
        file.write_all_at(bytes, address)
    }

    /// Gives a unit back that was moved out, as memory full of zeroes.
    pub(super) fn take_back(&self, memory: *mut u8, unit: u64) {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        let how = MapFlags::PRIVATE | MapFlags::FIXED | MapFlags::NORESERVE;
        let place = place(memory, unit);
        // SAFETY: the unit belongs to our mapping, and the caller has the only reference to it.
        let mapped = unsafe { mmap_anonymous(place, UNIT as usize, access, how) };
        mapped.expect("there was memory before");
        self.units.borrow_mut().remove(&unit);
        if let Some(file) = &*self.file.borrow() {
            let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            // Not every file system has holes. The unit reads as zeroes even without one.
            if fallocate(file, punch, unit * UNIT, UNIT).is_err() {
                let written = file.write_all_at(&vec![0; UNIT as usize], unit * UNIT);
                written.expect("there is room: it was reserved");
            }
        }
    }

    /// Lets the host keep as much of the file in memory as it likes.
    pub(super) fn release(&self, memory: *mut u8) {
        for run in runs(&self.units.borrow()) {
            let length = (run.end - run.start) * UNIT;
            // SAFETY: these units are a shared mapping of a file: nothing is lost, because later
            // reads come from there.
            let released = unsafe { madvise(place(memory, run.start), length as usize, DROP) };
            // If that fails, the pages only take memory.
            let _ = released;
        }
    }
}

/// The address of a unit.
fn place(memory: *mut u8, unit: u64) -> *mut c_void {
    memory.wrapping_add((unit * UNIT) as usize).cast()
}

/// Units that lie side by side.
fn runs(units: &BTreeSet<u64>) -> Vec<Range<u64>> {
    let mut runs: Vec<Range<u64>> = Vec::new();
    for &unit in units {
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
        let runs = |units: &[u64]| runs(&units.iter().copied().collect());
        assert_eq!(runs(&[]), []);
        assert_eq!(runs(&[3, 4, 5, 9, 11, 12]), [3..6, 9..10, 11..13]);
    }
}
