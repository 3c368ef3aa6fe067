//! Physical memory: 4 GiB of the host's address space, of which only what is written to takes room.
#![allow(unsafe_code)]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;

use boot_path::memory::address::PhysAddr;
use boot_path::memory::layout::{self, PAGE_SIZE};
use boot_path::memory::ram::Allocation;
use memmap2::{MmapOptions, MmapRaw};

/// First byte behind all memory: what the loader reaches.
pub const RAM_END: u64 = layout::EARLY_REACH.as_u64();

/// Physical memory, from address 0 on.
pub struct Memory {
    bytes: MmapRaw,
    /// What was handed out and not given back: start and length.
    taken: RefCell<BTreeMap<u64, u64>>,
    /// The page tables.
    tables: RefCell<BTreeMap<u64, ()>>,
    /// What memory that was just handed out is full of.
    junk: Option<u8>,
}

impl Memory {
    /// Memory that is full of zeroes, and of `junk` where it is handed out.
    ///
    /// # Errors
    /// When the host has no room.
    pub fn new(junk: Option<u8>) -> io::Result<Self> {
        let mut options = MmapOptions::new();
        options.len(RAM_END as usize).no_reserve_swap();
        let bytes = MmapRaw::from(options.map_anon()?);
        // Of what is read, and was never written, there is only one page.
        #[cfg(target_os = "linux")]
        let _ = bytes.advise(memmap2::Advice::NoHugePage); // if it knows any
        Ok(Self {
            bytes,
            taken: RefCell::default(),
            tables: RefCell::default(),
            junk,
        })
    }

    /// The bytes of memory that was allocated.
    ///
    /// # Panics
    /// When some of it was handed out before and not given back, or is not memory that can be allocated.
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

    /// Memory is given back.
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

    /// Zeroes bytes of it, which take no room from then on.
    pub(crate) fn zero(&self, bytes: &mut [u8]) {
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
        // SAFETY: `bytes` is ours to write to, and of this mapping, or the sum is out of range. It
        // belongs to no file: what is read there next is zero.
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
        self.tables.borrow_mut().insert(page.start().as_u64(), ());
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
        self.tables.borrow().contains_key(&address)
    }

    /// Start and length of what was handed out and not given back.
    pub fn taken(&self) -> Vec<(u64, u64)> {
        let taken = self.taken.borrow();
        taken.iter().map(|(&start, &size)| (start, size)).collect()
    }

    /// Bytes that nobody writes to as long as they are looked at: the path itself makes no second
    /// reference to what it has allocated.
    pub(crate) fn slice(&self, start: u64, length: u64) -> &[u8] {
        let end = start.checked_add(length).filter(|&end| end <= RAM_END);
        assert!(end.is_some(), "{start:#x}, {length:#x} bytes: no memory");
        // SAFETY: within the mapping, see above; who writes has the only reference, by `take`.
        unsafe {
            std::slice::from_raw_parts(self.bytes.as_ptr().add(start as usize), length as usize)
        }
    }

    #[expect(
        clippy::mut_from_ref,
        reason = "each range is handed out once: see `take`"
    )]
    fn slice_mut(&self, start: u64, length: u64) -> &mut [u8] {
        let end = start.checked_add(length).filter(|&end| end <= RAM_END);
        assert!(end.is_some(), "{start:#x}, {length:#x} bytes: no memory");
        let first = self.bytes.as_mut_ptr().wrapping_add(start as usize);
        // SAFETY: within the mapping; `take` hands each range out once, and `write` is for what is not
        // handed out.
        unsafe { std::slice::from_raw_parts_mut(first, length as usize) }
    }
}
