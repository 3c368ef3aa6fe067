//! Step 11: the page tables that the kernel starts with.
//!
//! **On entry**: the kernel is in memory. **This step**: maps its segments with their own
//! permissions, a stack under a guard page, all RAM at the physical map's base, and the switch
//! page; nothing else. **On exit**: the tables are complete; the loader's own are still in use.
#![allow(unsafe_code)]

use stage2::layout::PAGE_SIZE;
use stage2::memory_map::{MemoryKind, MemoryMap};
use stage2::page_tables::{
    Capabilities, Mapping, PageTables, PagingError, TableMemory, physical_map,
};

use crate::faults::Failure;
use crate::kernel::{Kernel, allocate};
use crate::{cpu, physical, say, switch};

/// Entries in a page table.
const ENTRIES: usize = 512;
/// Binary logarithm of what one entry of the top table maps.
const SLOT_SHIFT: u32 = 39;

/// Tables, and what they map besides the kernel.
pub struct Tables {
    /// Physical address of the top table: CR3.
    pub root: u64,
    /// What the CPU can do: `handoff::CPU_…`.
    pub cpu_features: u64,
    /// Lowest virtual address of the stack.
    pub stack_bottom: u64,
    /// Bytes from the physical map's base to the end of its last mapping.
    pub physical_map_size: u64,
}

/// Page tables in memory that is allocated one by one.
struct Frames<'a>(&'a mut MemoryMap);

impl TableMemory for Frames<'_> {
    fn allocate(&mut self) -> Result<u64, PagingError> {
        let start = allocate(self.0, PAGE_SIZE, PAGE_SIZE, 0, MemoryKind::Reclaimable)?;
        // SAFETY: just allocated, one page.
        unsafe { physical::bytes_mut(start, PAGE_SIZE) }.fill(0);
        Ok(start)
    }

    fn read(&self, table: u64, index: usize) -> u64 {
        entries(table)[index % ENTRIES]
    }

    fn write(&mut self, table: u64, index: usize, value: u64) {
        entries(table)[index % ENTRIES] = value;
    }
}

/// A table's entries.
fn entries(table: u64) -> &'static mut [u64; ENTRIES] {
    // SAFETY: only tables that `Frames` handed out are asked for; each reference is used for one
    // access.
    unsafe { &mut *core::ptr::with_exposed_provenance_mut(table as usize) }
}

/// Builds the tables.
///
/// # Errors
/// 11A, 11B, 6B.
pub fn build(kernel: &Kernel, memory: &mut MemoryMap) -> Result<Tables, Failure> {
    let cpu_features = cpu::features();
    let has = |flag| cpu_features & flag != 0;
    let base = kernel.wishes.physical_map_base;
    let stack_size = kernel.wishes.stack_size;
    let stack = allocate(memory, stack_size, PAGE_SIZE, 0, MemoryKind::Reclaimable)?;

    // The last mapping of the physical map ends where it ends. Which regions are free changes while
    // tables are allocated, but not which are RAM: so the list is asked anew for each mapping.
    let physical_map_size = physical_map(memory.regions(), base)
        .last()
        .map_or(0, |last| last.physical_start + last.size);
    let stack_bottom = stack_slot(kernel, base, physical_map_size) + PAGE_SIZE;

    let mut tables = PageTables::new(
        Frames(memory),
        Capabilities {
            nx: has(::handoff::CPU_NX),
            gib_pages: has(::handoff::CPU_1GIB_PAGES),
        },
    )?;
    tables.map(&Mapping {
        virtual_start: switch::address(),
        physical_start: switch::address(),
        size: PAGE_SIZE,
        writable: false,
        executable: true,
    })?;
    tables.set_global(true);
    tables.set_writable_code(kernel.wishes.allow_writable_code());
    for range in kernel.image.page_ranges(kernel.slide) {
        let physical_start = kernel
            .physical_page(range.virtual_start)
            .ok_or(PagingError::OutOfRange(range.virtual_start))?;
        tables.map(&Mapping {
            virtual_start: range.virtual_start,
            physical_start,
            size: range.size,
            writable: range.writable,
            executable: range.executable,
        })?;
    }
    let data = |virtual_start, physical_start, size| Mapping {
        virtual_start,
        physical_start,
        size,
        writable: true,
        executable: false,
    };
    tables.map(&data(stack_bottom, stack, stack_size))?;

    for index in 0.. {
        let mapping = physical_map(tables.memory().0.regions(), base).nth(index);
        let Some(mapping) = mapping else { break };
        tables.map(&mapping)?;
    }
    let root = tables.root();
    say!(
        "11 paging   stack # KiB, physical map at #h";
        stack_size >> 10,
        base
    );
    Ok(Tables {
        root,
        cpu_features,
        stack_bottom,
        physical_map_size,
    })
}

/// The highest part of 512 GiB in the upper half that neither the kernel nor the physical map
/// touches: the stack gets it for itself.
fn stack_slot(kernel: &Kernel, base: u64, physical_map_size: u64) -> u64 {
    let slot = |address: u64| address >> SLOT_SHIFT & (ENTRIES as u64 - 1);
    let map = slot(base)..=slot(base.saturating_add(physical_map_size.max(1) - 1));
    let free = (ENTRIES as u64 / 2..ENTRIES as u64)
        .rev()
        .find(|candidate| {
            !map.contains(candidate)
                && kernel.image.page_ranges(kernel.slide).all(|range| {
                    let end = range.virtual_start + (range.size - 1);
                    !(slot(range.virtual_start)..=slot(end)).contains(candidate)
                })
        });
    // There are 256 slots and no machine whose memory fills them: with none free, the mapping of
    // the stack is refused as a conflict.
    free.unwrap_or(ENTRIES as u64 / 2) << SLOT_SHIFT | 0xFFFF << 48
}
