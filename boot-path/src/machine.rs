//! What the boot path needs of the machine that it runs on.
//!
//! The package `stage2` implements it on a PC: BIOS gate, console, physical memory. The package
//! `host-machine` implements it on the host: a BIOS over a disk image, and memory that knows what
//! was allocated.

use alloc::vec::Vec;
use core::fmt;

use disk_layout::parts::Part;

use crate::bios::firmware::Bios;
use crate::bios::time::Clock;
use crate::errors::catalogue::Named;
use crate::memory::address::{PhysAddr, VirtAddr};
use crate::memory::layout::PAGE_SIZE;
use crate::memory::list;
use crate::memory::map::{MemoryKind, MemoryMap, OutOfMemory};
use crate::memory::placement::{allocate, allocate_high, allocate_low};
use crate::memory::ram::{Allocation, Block};

/// A segment of the kernel that runs: first address, bytes, `p_flags`.
pub type KernelSegment = (VirtAddr, u64, u32);

/// The devices on which everything except errors is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Consoles {
    /// The serial line.
    pub serial: bool,
    /// The screen.
    pub screen: bool,
}

impl Consoles {
    /// All of them.
    pub const ALL: Self = Self {
        serial: true,
        screen: true,
    };
}

/// Entries of one page table, one behind the other.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// The table.
    pub table: PhysAddr,
    /// The first one's index; all of them are below 512.
    pub index: usize,
    /// How many there are, at least one.
    pub count: usize,
    /// The first one.
    pub entry: u64,
    /// How much more each next one is.
    pub step: u64,
}

impl Run {
    /// Passes each one to `write`, with its index, until one is refused.
    ///
    /// # Errors
    /// How many are in front of that one.
    pub fn write_each(self, mut write: impl FnMut(usize, u64) -> bool) -> Result<(), usize> {
        let mut entry = self.entry;
        for number in 0..self.count {
            if !write(self.index + number, entry) {
                return Err(number);
            }
            entry += self.step;
        }
        Ok(())
    }
}

/// The machine. A value of it is a handle: copies of it are the same machine. Allocated memory
/// lives as long as `'m`.
pub trait Machine<'m>: Bios + Clock + Copy {
    /// Why a step failed: any error of any step.
    type Failure: Named + From<OutOfMemory>;

    /// Begins or ends another try after a failure. That failure is kept; those of the other try are
    /// not.
    fn again(self, _: bool) {}

    /// The next list is made in this memory.
    fn heap(self, _: Block<'m>) {}

    /// The bytes of memory that was allocated. Their content is undefined.
    fn bytes(self, memory: Allocation) -> &'m mut [u8];

    /// Memory that is not used any more: first byte and length.
    fn freed(self, _: PhysAddr, _: u64) {}

    /// Nothing in this range that was allocated is used any more: first byte and length.
    fn freed_within(self, _: PhysAddr, _: u64) {}

    /// Copies bytes that were read to their place in a block: as many as fit.
    fn store(self, from: &[u8], to: &mut [u8]);

    /// The path writes this many bytes to a block before it reports them as
    /// [`written`](Self::written).
    const STEP: usize = usize::MAX;

    /// These bytes of a block are final. The path does not read them again soon.
    fn written(self, _: &mut [u8]) {}

    /// Zeroes bytes of a block.
    fn zero(self, bytes: &mut [u8]) {
        bytes.fill(0);
    }

    /// Bytes of the firmware, or of another loader that ran before: start (physical) and length.
    /// `None` if the loader does not reach them.
    fn firmware(self, start: PhysAddr, length: u64) -> Option<&'m [u8]>;

    /// Makes a page table of a page that was allocated: clears all its entries.
    fn new_table(self, page: Allocation);

    /// Reads an entry of a page table that was made by [`new_table`](Self::new_table); `index` is
    /// below 512.
    fn table_entry(self, table: PhysAddr, index: usize) -> u64;

    /// Writes an entry of a page table that was made by [`new_table`](Self::new_table); `index` is
    /// below 512.
    fn set_table_entry(self, table: PhysAddr, index: usize, entry: u64);

    /// Writes a run of entries of such a table.
    ///
    /// # Errors
    /// How many entries are in front of the first one that is not 0.
    fn fill_table(self, run: Run) -> Result<(), usize>;

    /// Extends the CRC-32C `crc` (0 at first) by a few bytes.
    fn crc32c(crc: u32, bytes: &[u8]) -> u32;

    /// The same for any number of bytes, if the CPU has an instruction for it.
    fn fast_crc32c() -> Option<fn(u32, &[u8]) -> u32>;

    /// Adds bytes of a block to a checksum by `add`. They are not looked at again soon.
    fn sum_block(self, bytes: &[u8], add: &mut dyn FnMut(&[u8])) {
        add(bytes);
    }

    /// Extends the CRC-32/ISO-HDLC `crc` (0 at first) by bytes of a block, which are not looked at
    /// again soon.
    fn crc32_of_block(self, crc: u32, bytes: &[u8]) -> u32;

    /// Prints one line, whatever texts are in it.
    fn print(self, line: &dyn fmt::Display);

    /// Prints a line: texts, and the numbers for the `#` in them, as in
    /// [`facts`](crate::errors::text::facts).
    fn print_line(self, texts: &[&str], numbers: &[u64]);

    /// From here on, only errors are printed everywhere; everything else only on `on`.
    fn print_only(self, on: Consoles);

    /// Column and row of the next character, if the screen is VGA text.
    fn cursor(self) -> Option<(u64, u64)>;

    /// Puts the blinking cursor behind what was printed.
    fn show_cursor(self);

    /// The screen shows graphics from here on; or it has gone back to text, and the BIOS knows
    /// where the cursor is.
    fn screen_has_changed(self, graphics: bool);

    /// A step of the boot path begins.
    fn step(self, number: usize);

    /// The time-stamp counter at the start of each step.
    fn stamps(self) -> [u64; handoff::TIMELINE_LENGTH];

    /// The drive that the loader was read from, and the one that the BIOS named.
    fn drives(self) -> (u8, u8);

    /// How the loader was read: see [`disk_layout::mbr::frame::WAY`].
    fn way(self) -> u16;

    /// The magic number and the address of the information from another loader, if one started the
    /// program.
    fn multiboot(self) -> Option<(u32, u32)>;

    /// What the CPU can do: `handoff::CPU_…`.
    fn cpu_features(self) -> u64;

    /// The page through which the loader leaves for a kernel of its own protocol.
    fn switch_page(self) -> PhysAddr;

    /// Notes the kernel's segments, for reports of faults of the kernel before it has an IDT.
    fn note_segments(self, segments: Vec<KernelSegment>);

    /// 256 bits that nobody can guess, as far as the machine can provide them.
    fn random_seed(self) -> [u8; 32];

    /// The time-stamp counter's frequency in Hz; `None`: it cannot be found out.
    fn tsc_frequency(self) -> Option<u64>;

    /// A function of a part of the loader, once this part is there. Nothing but the first part is
    /// there from the start, so all calls of such a function lead through this one: linking fails
    /// otherwise.
    ///
    /// # Errors
    /// 7E, 7F.
    fn of_part<F>(self, _: Part, function: F) -> Result<F, Self::Failure> {
        Ok(function)
    }

    /// The block of what was just allocated.
    fn block(self, memory: Allocation) -> Block<'m> {
        Block::new(memory.start(), self.bytes(memory))
    }

    /// Allocates whole pages above 1 MiB, within the loader's reach.
    ///
    /// # Errors
    /// 6B.
    fn pages(
        self,
        size: u64,
        kind: MemoryKind,
        memory: &mut MemoryMap,
    ) -> Result<Block<'m>, Self::Failure> {
        let start = allocate(memory, size, PAGE_SIZE, 0, kind)?;
        Ok(self.block(Allocation::new(start, size)))
    }

    /// Allocates memory as high as possible, where it is in no kernel's way.
    ///
    /// # Errors
    /// 6B.
    fn high(self, size: u64, memory: &mut MemoryMap) -> Result<Block<'m>, Self::Failure> {
        let start = allocate_high(memory, size)?;
        Ok(self.block(Allocation::new(start, size)))
    }

    /// An empty list with room for `count` values. Its memory stays allocated.
    ///
    /// # Errors
    /// 6B.
    fn list<T>(self, count: usize, memory: &mut MemoryMap) -> Result<Vec<T>, Self::Failure> {
        self.grow_heap::<T>(count, memory)?;
        Ok(list::with_room(count))
    }

    /// Gives memory for a list of so many values to the heap. Returns where that memory is, to
    /// [give it back](Self::give_back) when the list is gone.
    ///
    /// # Errors
    /// 6B.
    fn grow_heap<T>(
        self,
        count: usize,
        memory: &mut MemoryMap,
    ) -> Result<Allocation, Self::Failure> {
        self.grow_heap_by((count * size_of::<T>()) as u64, memory)
    }

    /// As [`grow_heap`](Self::grow_heap), in bytes: below 1 MiB if there are few. Little memory above
    /// is all for the kernel.
    ///
    /// # Errors
    /// 6B.
    #[inline(never)] // for every kind of list
    fn grow_heap_by(self, size: u64, memory: &mut MemoryMap) -> Result<Allocation, Self::Failure> {
        const FEW: u64 = 4 * PAGE_SIZE;

        let low = match size {
            ..=FEW => allocate_low(memory, size).ok(),
            _ => None,
        };
        let block = match low {
            Some(start) => self.block(Allocation::new(start, size)),
            None => self.high(size, memory)?,
        };
        let place = Allocation::new(block.start(), size);
        self.heap(block);
        Ok(place)
    }

    /// Makes the memory of a block free again.
    fn free(self, block: Block<'m>, memory: &mut MemoryMap) {
        let (start, end) = (block.start(), block.end());
        self.give_back(Allocation::new(start, end - start), memory);
    }

    /// Makes memory free again that nobody uses any more.
    fn give_back(self, place: Allocation, memory: &mut MemoryMap) {
        let (start, size) = (place.start(), place.size());
        self.freed(start, size);
        memory.mark(start, start + size.max(1), MemoryKind::Usable);
    }
}

/// Prints a line on a [`Machine`]: texts, and the numbers for the `#` in them.
#[macro_export]
macro_rules! say {
    ($machine:expr, $($text:expr),+ $(; $($number:expr),+)?) => {
        $crate::machine::Machine::print_line($machine, &[$($text),+], &[$($($number),+)?])
    };
}
