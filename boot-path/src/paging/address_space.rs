//! Step 11, the plan: the mappings that the kernel finds when it starts.
//!
//! Its segments with their own permissions, a stack above a guard page, all RAM at the base of the
//! physical map, and the page through which the loader leaves; nothing else.
//! [`crate::paging::page_tables`] turns that into entries; the caller decides where the tables are
//! kept ([`TablePages`]).

use crate::kernel::placement::Kernel;
use crate::memory::address::{PhysAddr, VirtAddr};
use crate::memory::layout::PAGE_SIZE;
use crate::memory::map::{MemoryKind, MemoryMap};
use crate::memory::placement::allocate;
use crate::paging::page_tables::{
    Capabilities, Mapping, PageTables, PagingError, TableMemory, TablePages, physical_map,
};

/// Entries in a page table.
pub(crate) const ENTRIES: u64 = 512;
/// Binary logarithm of the size that one entry of the top table maps.
const SLOT_SHIFT: u32 = 39;

/// Flags of an entry that leads to another table: present, writable.
pub const LINK: u64 = 3;

/// Page tables in memory that is allocated page by page.
pub(crate) struct Frames<'a, P> {
    pub(crate) memory: &'a mut MemoryMap,
    pub(crate) pages: P,
}

impl<P: TablePages> TableMemory for Frames<'_, P> {
    type Pages = P;

    fn allocate(&mut self) -> Result<PhysAddr, PagingError> {
        let kind = MemoryKind::Reclaimable;
        let start = allocate(self.memory, PAGE_SIZE, PAGE_SIZE, 0, kind)?;
        self.pages.clear(start);
        Ok(start)
    }

    fn pages(&mut self) -> &mut P {
        &mut self.pages
    }
}

/// Page tables, and the mappings in them besides the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressSpace {
    /// The top table: CR3.
    pub root: PhysAddr,
    /// Lowest virtual address of the stack; the page below it is not mapped.
    pub stack_bottom: VirtAddr,
    /// Bytes from the physical map's base to the end of its last mapping.
    pub physical_map_size: u64,
}

/// Builds the tables. `switch_page` is the page through which the loader
/// leaves: it is mapped to itself.
///
/// # Errors
/// 11A, 11B, 6B.
pub fn build(
    kernel: &Kernel,
    memory: &mut MemoryMap,
    pages: impl TablePages,
    capabilities: Capabilities,
    switch_page: PhysAddr,
) -> Result<AddressSpace, PagingError> {
    let base = kernel.wishes.physical_map_base;
    let stack_size = kernel.wishes.stack_size;
    let stack = allocate(memory, stack_size, PAGE_SIZE, 0, MemoryKind::Reclaimable)?;

    // The physical map ends where its last mapping ends. Allocating tables changes which regions
    // are free, but not which are RAM, so each mapping is taken from the list anew.
    let physical_map_size = physical_map(memory.regions(), base)
        .last()
        .map_or(0, |last| last.physical_start.as_u64() + last.size);
    let stack_bottom = stack_slot(kernel, base, physical_map_size) + PAGE_SIZE;

    let mut tables = PageTables::new(Frames { memory, pages }, capabilities)?;
    tables.map(&Mapping {
        virtual_start: VirtAddr::new(switch_page.as_u64()),
        physical_start: switch_page,
        size: PAGE_SIZE,
        writable: false,
        executable: true,
        write_combining: false,
    })?;
    tables.set_global(true);
    tables.set_writable_code(kernel.wishes.allow_writable_code());
    map_kernel(&mut tables, kernel)?;
    tables.map(&Mapping {
        virtual_start: stack_bottom,
        physical_start: stack,
        size: stack_size,
        writable: true,
        executable: false,
        write_combining: false,
    })?;

    for index in 0.. {
        let mapping = physical_map(tables.memory().memory.regions(), base).nth(index);
        let Some(mapping) = mapping else { break };
        tables.map(&mapping)?;
    }
    Ok(AddressSpace {
        root: tables.root(),
        stack_bottom,
        physical_map_size,
    })
}

/// Maps the segments, with their permissions.
pub(crate) fn map_kernel<M: TableMemory>(
    tables: &mut PageTables<M>,
    kernel: &Kernel,
) -> Result<(), PagingError> {
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
            write_combining: false,
        })?;
    }
    Ok(())
}

/// The highest 512 GiB slot in the upper half that neither the kernel nor the physical map touches:
/// the stack gets it for itself.
fn stack_slot(kernel: &Kernel, base: VirtAddr, physical_map_size: u64) -> VirtAddr {
    let slot = |address: VirtAddr| address.as_u64() >> SLOT_SHIFT & (ENTRIES - 1);
    let map = slot(base)..=slot(base.saturating_add(physical_map_size.max(1) - 1));
    let free = (ENTRIES / 2..ENTRIES).rev().find(|candidate| {
        !map.contains(candidate)
            && kernel.image.page_ranges(kernel.slide).all(|range| {
                let end = range.virtual_start + (range.size - 1);
                !(slot(range.virtual_start)..=slot(end)).contains(candidate)
            })
    });
    // No machine has enough memory to fill the 256 slots. If none were free, mapping the stack
    // would fail with a conflict.
    VirtAddr::new(free.unwrap_or(ENTRIES / 2) << SLOT_SHIFT | 0xFFFF << 48)
}
