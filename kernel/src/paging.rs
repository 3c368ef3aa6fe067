//! What is mapped: the page tables as the loader left them, read through the physical map (SDM
//! vol. 3, "4-Level Paging").

// Page tables are read from raw memory.
#![allow(unsafe_code)]

use arrayvec::ArrayVec;
use handoff::{BootInfo, MemoryKind, MemoryRegion};
use x86_64::registers::control::Cr3;
use x86_64::structures::paging::PageTableFlags as Flags;

/// Bytes in a small page.
pub const PAGE: u64 = 4096;

/// The most ranges: as many as the loader's memory map has regions, and some for the kernel.
const MAX_RUNS: usize = 640;

/// Entries of a table.
const ENTRIES: u64 = 512;

/// The bits of an entry that hold a physical address.
const ADDRESS_MASK: u64 = 0x000F_FFFF_FFFF_F000;

/// A range that is mapped to one range of physical memory, with one set of permissions.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Run {
    pub start: u64,
    /// Last byte, because a range may end with the address space.
    pub last: u64,
    pub physical: u64,
    pub writable: bool,
    pub executable: bool,
    pub user: bool,
}

impl Run {
    /// The physical address that a virtual one in the run is mapped to.
    pub fn translate(&self, address: u64) -> u64 {
        self.physical + (address - self.start)
    }
}

/// Everything that is mapped.
pub struct PageMap {
    /// Sorted by address.
    pub runs: ArrayVec<Run, MAX_RUNS>,
    /// How many pages of 4 KiB, 2 MiB and 1 GiB.
    pub pages: [u64; 3],
    /// How many page tables.
    pub tables: u64,
    /// The reason why the walk stopped, if it did.
    pub problem: Option<(&'static str, u64)>,
}

impl PageMap {
    /// Walks the tables that CR3 points to.
    pub fn read(boot: &BootInfo) -> Self {
        let mut map = Self {
            runs: ArrayVec::new(),
            pages: [0; 3],
            tables: 0,
            problem: None,
        };
        let root = Cr3::read().0.start_address().as_u64();
        let permissions = Flags::WRITABLE | Flags::USER_ACCESSIBLE;
        if let Err(problem) = map.walk(boot, root, 3, 0, permissions) {
            map.problem = Some(problem);
        }
        map
    }

    /// Walks one table. `level` is 3 for the topmost one, 0 for the last; `above` has the
    /// permissions of the levels above.
    fn walk(
        &mut self,
        boot: &BootInfo,
        table: u64,
        level: u32,
        start: u64,
        above: Flags,
    ) -> Result<(), (&'static str, u64)> {
        self.tables += 1;
        if boot.region_of(table).and_then(MemoryRegion::kind) != Some(MemoryKind::Reclaimable) {
            return Err(("a page table is not in reclaimable memory", table));
        }
        let Some(entries) = boot.physical_to_virtual(table) else {
            return Err(("a page table is not in the physical map", table));
        };
        let size = PAGE * ENTRIES.pow(level);
        for index in 0..ENTRIES {
            // SAFETY: a table has 512 entries, and this one is in the physical map.
            let entry = unsafe { entries.cast::<u64>().add(index as usize).read_volatile() };
            let flags = Flags::from_bits_truncate(entry);
            if !flags.contains(Flags::PRESENT) {
                continue;
            }
            let mut address = start + index * size;
            if level == 3 && index >= ENTRIES / 2 {
                address |= 0xFFFF_0000_0000_0000; // canonical
            }
            // An access is allowed only if all levels allow it.
            let mut permissions = above & (flags | Flags::NO_EXECUTE);
            permissions |= (above | flags) & Flags::NO_EXECUTE;
            if level == 0 || flags.contains(Flags::HUGE_PAGE) {
                let Some(count) = self.pages.get_mut(level as usize) else {
                    return Err(("a page is larger than 1 GiB", address));
                };
                *count += 1;
                let physical = entry & ADDRESS_MASK & !(size - 1);
                self.add(Run {
                    start: address,
                    last: address + (size - 1),
                    physical,
                    writable: permissions.contains(Flags::WRITABLE),
                    executable: !permissions.contains(Flags::NO_EXECUTE),
                    user: permissions.contains(Flags::USER_ACCESSIBLE),
                })?;
            } else {
                self.walk(boot, entry & ADDRESS_MASK, level - 1, address, permissions)?;
            }
        }
        Ok(())
    }

    /// Adds a page: to the last run if the page continues it.
    fn add(&mut self, page: Run) -> Result<(), (&'static str, u64)> {
        if let Some(run) = self.runs.last_mut() {
            let continued = Run {
                start: page.start,
                last: page.last,
                physical: run
                    .physical
                    .wrapping_add(page.start.wrapping_sub(run.start)),
                ..*run
            };
            if run.last.checked_add(1) == Some(page.start) && continued == page {
                run.last = page.last;
                return Ok(());
            }
        }
        self.runs
            .try_push(page)
            .map_err(|_| ("more ranges are mapped than expected", page.start))
    }

    /// The run that an address lies in.
    pub fn find(&self, address: u64) -> Option<&Run> {
        self.runs
            .iter()
            .find(|run| run.start <= address && address <= run.last)
    }
}
