//! Physical memory: 4 GiB of the host's address space, of which only written pages take memory.
//! Most of the large files that are loaded goes to a temporary file ([`spill`]).
#![allow(unsafe_code)]

#[cfg(target_os = "linux")]
mod spill;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;

use boot_path::memory::address::PhysAddr;
use boot_path::memory::layout::{self, PAGE_SIZE};
use boot_path::memory::ram::Allocation;
use memmap2::{MmapOptions, MmapRaw};

/// First byte behind all memory that the loader reaches.
pub const RAM_END: u64 = layout::EARLY_REACH.as_u64();

/// Physical memory, from address 0 on.
pub struct Memory {
    bytes: MmapRaw,
    /// The ranges that were handed out and not given back: start and length.
    taken: RefCell<BTreeMap<u64, u64>>,
    /// The page tables.
    tables: RefCell<BTreeSet<u64>>,
    /// The byte that fills memory when it is handed out.
    junk: Option<u8>,
    #[cfg(target_os = "linux")]
    spill: spill::Spill,
}

impl Memory {
    /// Memory full of zeroes, or of `junk` where it is handed out.
    ///
    /// # Errors
    /// If the host has no memory left.
    pub fn new(junk: Option<u8>) -> io::Result<Self> {
        let mut options = MmapOptions::new();
        options.len(RAM_END as usize).no_reserve_swap();
        let bytes = MmapRaw::from(options.map_anon()?);
        // All pages that are read but were never written share one page of the host.
        #[cfg(target_os = "linux")]
        let _ = bytes.advise(memmap2::Advice::NoHugePage); // where the host has huge pages
        Ok(Self {
            bytes,
            taken: RefCell::default(),
            tables: RefCell::default(),
            junk,
            #[cfg(target_os = "linux")]
            spill: spill::Spill::default(),
        })
    }

    /// The bytes of memory that was allocated.
    ///
    /// # Panics
    /// When some of it was handed out before and not given back, or cannot be allocated.
    pub(crate) fn take(&self, memory: &Allocation) -> &mut [u8] {
        let (start, size) = (memory.start().as_u64(), memory.size());
        let end = start.checked_add(size).expect("an address of 64 bits");
        assert!(start >= layout::END, "{start:#x} is not allocated memory");
        assert!(end <= RAM_END, "{end:#x} is out of the loader's reach");
        let mut taken = self.taken.borrow_mut();
        let before = taken.range(..end.max(start + 1)).next_back();
        if let Some((&other, &length)) = before {
            assert!(
                other + length <= start || size == 0,
                "{start:#x}, {size:#x} bytes: {other:#x}, {length:#x} bytes, was handed out before"
            );
        }
        if size > 0 {
            taken.insert(start, size);
        }
        let bytes = self.slice_mut(start, size);
        if let Some(junk) = self.junk {
            bytes.fill(junk);
        }
        bytes
    }

    /// Takes memory back.
    ///
    /// # Panics
    /// When it was not handed out.
    pub(crate) fn give_back(&self, start: PhysAddr, size: u64) {
        let start = start.as_u64();
        let known = self.taken.borrow_mut().remove(&start);
        assert!(
            known == Some(size) || size == 0,
            "{start:#x}, {size:#x} bytes, was not handed out"
        );
        self.zero(self.slice_mut(start, size));
    }

    /// Takes back all memory that was handed out in a range.
    ///
    /// # Panics
    /// When some of it was handed out together with other memory.
    pub(crate) fn give_back_within(&self, start: PhysAddr, size: u64) {
        let (start, end) = (start.as_u64(), start.as_u64() + size);
        let taken = self.taken();
        for (first, size) in taken
            .into_iter()
            .filter(|&(first, size)| first < end && first + size > start)
        {
            assert!(
                start <= first && first + size <= end,
                "{first:#x}, {size:#x} bytes, is not within {start:#x} to {end:#x}"
            );
            self.give_back(PhysAddr::new(first), size);
        }
        let mut tables = self.tables.borrow_mut();
        tables.retain(|table| !(start..end).contains(table));
    }

    /// Copies loaded bytes to their place. Writing zeroes over zeroes takes no memory; if much is
    /// loaded, it goes to the file.
    pub(crate) fn load(&self, from: &[u8], to: &mut [u8]) {
        #[cfg(target_os = "linux")]
        if self.spill.count(from.len() as u64) {
            let (mut from, mut to) = (from, to);
            while !from.is_empty() {
                let length = self.left_in_unit(to).min(from.len());
                let (piece, place) = (&from[..length], to.split_at_mut(length));
                if !self.load_to_file(piece, place.0) {
                    copy(piece, place.0);
                }
                (from, to) = (&from[length..], place.1);
            }
            return;
        }
        copy(from, to);
    }

    /// Copies bytes to their place in one unit, if the unit is in the file or can be moved there.
    #[cfg(target_os = "linux")]
    fn load_to_file(&self, from: &[u8], to: &mut [u8]) -> bool {
        let (address, unit) = self.place(to);
        if !self.spill.has(unit) {
            let moved =
                !is_zero(from) && self.spill.move_out(self.bytes.as_mut_ptr(), unit).is_ok();
            if !moved {
                return false;
            }
        }
        self.spill.write(address, from).is_ok()
    }

    /// Bytes were written to it, and are not read again soon. If there are many, they go to the
    /// file: in whole units, as soon as the end of one has been reached.
    pub(crate) fn written(&self, bytes: &[u8]) {
        #[cfg(target_os = "linux")]
        if self.spill.count(bytes.len() as u64) {
            let (start, first) = self.place(bytes);
            for unit in first..(start + bytes.len() as u64) / spill::UNIT {
                if !self.spill.has(unit) {
                    // If there is no room for a file, the unit stays in memory.
                    let _ = self.spill.move_out(self.bytes.as_mut_ptr(), unit);
                }
            }
        }
        #[cfg(not(target_os = "linux"))]
        let _ = bytes;
        self.looked_at();
    }

    /// The address of bytes of it, and the unit in which they begin.
    #[cfg(target_os = "linux")]
    fn place(&self, bytes: &[u8]) -> (u64, u64) {
        let address = (bytes.as_ptr().addr() - self.bytes.as_ptr().addr()) as u64;
        (address, address / spill::UNIT)
    }

    /// The number of bytes up to the end of the unit in which these begin.
    #[cfg(target_os = "linux")]
    fn left_in_unit(&self, bytes: &[u8]) -> usize {
        let (address, unit) = self.place(bytes);
        ((unit + 1) * spill::UNIT - address) as usize
    }

    /// The bytes that were read are not read again soon.
    pub(crate) fn looked_at(&self) {
        #[cfg(target_os = "linux")]
        self.spill.release(self.bytes.as_mut_ptr());
    }

    /// Zeroes some of it, which takes no memory from then on.
    pub(crate) fn zero(&self, bytes: &mut [u8]) {
        #[cfg(target_os = "linux")]
        if !self.spill.is_empty() {
            let mut rest = bytes;
            while !rest.is_empty() {
                let length = self.left_in_unit(rest).min(rest.len());
                let (piece, behind) = rest.split_at_mut(length);
                self.zero_in_unit(piece);
                rest = behind;
            }
            return;
        }
        self.zero_in_memory(bytes);
    }

    /// Zeroes bytes that lie in one unit.
    #[cfg(target_os = "linux")]
    fn zero_in_unit(&self, bytes: &mut [u8]) {
        let (_, unit) = self.place(bytes);
        match self.spill.has(unit) {
            true if bytes.len() as u64 == spill::UNIT => {
                self.spill.take_back(self.bytes.as_mut_ptr(), unit);
            }
            true => bytes.fill(0),
            false => self.zero_in_memory(bytes),
        }
    }

    /// Zeroes bytes that are not in the file.
    fn zero_in_memory(&self, bytes: &mut [u8]) {
        /// Whole pages of any host.
        const UNIT: usize = 64 << 10;

        let address = bytes.as_ptr().addr();
        let skip = (address.next_multiple_of(UNIT) - address).min(bytes.len());
        let (first, rest) = bytes.split_at_mut(skip);
        let (whole, last) = rest.split_at_mut(rest.len() / UNIT * UNIT);
        first.fill(0);
        last.fill(0);
        if !whole.is_empty() && !self.drop_pages(whole) {
            whole.fill(0);
        }
    }

    /// Gives whole pages back to the host. They are zero then.
    #[cfg(target_os = "linux")]
    fn drop_pages(&self, bytes: &mut [u8]) -> bool {
        let offset = bytes.as_ptr().addr() - self.bytes.as_ptr().addr();
        let advice = memmap2::UncheckedAdvice::DontNeed;
        // SAFETY: `bytes` is ours to write to and within this mapping, or the sum is out of range.
        // The bytes belong to no file, so they are zero when they are read next.
        let dropped = unsafe {
            self.bytes
                .unchecked_advise_range(advice, offset, bytes.len())
        };
        dropped.is_ok()
    }

    #[cfg(not(target_os = "linux"))]
    fn drop_pages(&self, _: &mut [u8]) -> bool {
        false
    }

    /// A page becomes a page table, full of zeroes.
    pub(crate) fn make_table(&self, page: &Allocation) {
        assert_eq!(page.size(), PAGE_SIZE, "a table is a page");
        assert!(
            page.start().is_aligned(PAGE_SIZE),
            "a table is a whole page"
        );
        self.take(page).fill(0);
        self.tables.borrow_mut().insert(page.start().as_u64());
    }

    /// The place of an entry of a page table.
    ///
    /// # Panics
    /// When there is no such table.
    pub(crate) fn table_entry(&self, table: PhysAddr, index: usize) -> u64 {
        let table = table.as_u64();
        let known = self.is_table(table);
        assert!(known && index < 512, "entry {index} of {table:#x}");
        table + 8 * index as u64
    }

    /// Bytes from an address on, up to [`RAM_END`] at most.
    pub fn read(&self, start: u64, out: &mut [u8]) {
        out.copy_from_slice(self.slice(start, out.len() as u64));
    }

    /// Writes bytes as firmware would, or hardware.
    pub fn write(&self, start: u64, bytes: &[u8]) {
        self.slice_mut(start, bytes.len() as u64)
            .copy_from_slice(bytes);
    }

    /// Whether a page was made a page table.
    pub fn is_table(&self, address: u64) -> bool {
        self.tables.borrow().contains(&address)
    }

    /// The ranges that were handed out and not given back: start and length.
    pub fn taken(&self) -> Vec<(u64, u64)> {
        let taken = self.taken.borrow();
        taken.iter().map(|(&start, &size)| (start, size)).collect()
    }

    /// Bytes that nobody writes to while they are borrowed: the path itself makes no second
    /// reference to memory that it has allocated.
    pub(crate) fn slice(&self, start: u64, length: u64) -> &[u8] {
        let end = start.checked_add(length).filter(|&end| end <= RAM_END);
        assert!(end.is_some(), "{start:#x}, {length:#x} bytes: no memory");
        // SAFETY: within the mapping, see above; a writer has the only reference, by `take`.
        unsafe {
            std::slice::from_raw_parts(self.bytes.as_ptr().add(start as usize), length as usize)
        }
    }

    #[expect(
        clippy::mut_from_ref,
        reason = "each range is handed out once: see `take`"
    )]
    pub(crate) fn slice_mut(&self, start: u64, length: u64) -> &mut [u8] {
        let end = start.checked_add(length).filter(|&end| end <= RAM_END);
        assert!(end.is_some(), "{start:#x}, {length:#x} bytes: no memory");
        let first = self.bytes.as_mut_ptr().wrapping_add(start as usize);
        // SAFETY: within the mapping; `take` hands each range out once, and `write` is only for
        // ranges that are not handed out.
        unsafe { std::slice::from_raw_parts_mut(first, length as usize) }
    }
}

/// Copies bytes, but not zeroes over zeroes.
fn copy(from: &[u8], to: &mut [u8]) {
    for (from, to) in from.chunks(PAGE).zip(to.chunks_mut(PAGE)) {
        if !(is_zero(from) && is_zero(to)) {
            to.copy_from_slice(&from[..to.len()]);
        }
    }
}

/// Bytes that are compared at once when zeroes are left out.
const PAGE: usize = 4096;

pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    // Comparing whole blocks is fast even in a build without optimisation.
    let zero = [0; PAGE];
    bytes
        .chunks(PAGE)
        .all(|chunk| *chunk == zero[..chunk.len()])
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    /// An address in the middle of a page and of a unit.
    const START: u64 = 0x1234_5678;

    fn noise(length: usize) -> Vec<u8> {
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        };
        (0..length).map(|_| next()).collect()
    }

    fn load(memory: &Memory, bytes: &[u8]) {
        let block = memory.slice_mut(START, bytes.len() as u64);
        for (from, to) in bytes.chunks(50_000).zip(block.chunks_mut(50_000)) {
            memory.load(from, to);
        }
    }

    fn holds(memory: &Memory, bytes: &[u8]) {
        let mut found = vec![0xEE; bytes.len() + 20_000];
        memory.read(START - 10_000, &mut found);
        assert!(found[10_000..][..bytes.len()] == *bytes);
        let around = found[..10_000].iter().chain(&found[10_000 + bytes.len()..]);
        assert!(around.copied().all(|byte| byte == 0x77));
    }

    #[test]
    fn what_is_moved_to_a_file_is_what_was_loaded() {
        let memory = Memory::new(None).unwrap();
        let mut bytes = noise(40 << 20);
        // Bytes that are already there stay.
        memory.write(START - 10_000, &[0x77; 10_000]);
        memory.write(START + bytes.len() as u64, &[0x77; 10_000]);
        load(&memory, &bytes);
        assert!(!memory.spill.is_empty());
        holds(&memory, &bytes);
        memory.looked_at();
        holds(&memory, &bytes);

        // It can be written to, zeroed, and loaded again with zeroes in it.
        memory.write(START + (30 << 20) + 5, &[1, 2, 3]);
        bytes[(30 << 20) + 5..][..3].copy_from_slice(&[1, 2, 3]);
        memory.looked_at();
        holds(&memory, &bytes);
        let middle = (20 << 20) + 777..(35 << 20) + 3;
        let start = START + middle.start as u64;
        memory.zero(memory.slice_mut(start, middle.len() as u64));
        bytes[middle.clone()].fill(0);
        memory.looked_at();
        holds(&memory, &bytes);
        let again = noise(1 << 20);
        bytes[25 << 20..26 << 20].copy_from_slice(&again);
        bytes[32 << 20..][..1000].copy_from_slice(&again[..1000]);
        load(&memory, &bytes);
        memory.looked_at();
        holds(&memory, &bytes);
    }

    #[test]
    fn what_was_written_is_moved_to_a_file() {
        let memory = Memory::new(None).unwrap();
        let bytes = noise(40 << 20);
        let block = memory.slice_mut(START, bytes.len() as u64);
        memory.write(START - 10_000, &[0x77; 10_000]);
        memory.write(START + bytes.len() as u64, &[0x77; 10_000]);
        for (from, to) in bytes.chunks(1 << 20).zip(block.chunks_mut(1 << 20)) {
            to.copy_from_slice(from);
            memory.written(to);
        }
        assert!(memory.spill.has((START + (30 << 20)) / spill::UNIT));
        assert!(!memory.spill.has(START / spill::UNIT));
        holds(&memory, &bytes);
    }
}
