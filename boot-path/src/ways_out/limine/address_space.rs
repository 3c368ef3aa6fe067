//! Step 11 for a Limine kernel: the mappings that it starts with.

use crate::kernel::placement::Kernel;
use crate::memory::address::{PhysAddr, VirtAddr};
use crate::memory::map::MemoryMap;
use crate::paging::address_space::{ENTRIES, Frames, LINK, map_kernel};
use crate::paging::page_tables::{
    Capabilities, PageTables, PagingError, TableMemory as _, TablePages,
};
use crate::ways_out::limine::{FirmwarePages, HHDM, hhdm};

/// Builds the tables of a Limine kernel: its segments, the higher half direct map, and in base
/// revision 0 the identity map. Returns the top table, which is of level 5 if `five_levels` is
/// true.
///
/// # Errors
/// 11A, 11B, 6B.
pub fn build(
    kernel: &Kernel,
    memory: &mut MemoryMap,
    pages: impl TablePages,
    capabilities: Capabilities,
    firmware: &FirmwarePages,
    revision: u64,
    five_levels: bool,
) -> Result<PhysAddr, PagingError> {
    // Up to revision 2 the map covers the holes in the first 4 GiB, where the memory types change.
    // A page of 1 GiB would span them.
    let gib_pages = capabilities.gib_pages && revision > 2;
    let capabilities = Capabilities {
        gib_pages,
        ..capabilities
    };
    let mut tables = PageTables::new(Frames { memory, pages }, capabilities)?;
    tables.set_writable_code(true);
    map_kernel(&mut tables, kernel)?;
    let bases = [Some(HHDM), (revision == 0).then_some(VirtAddr::new(0))];
    for base in bases.into_iter().flatten() {
        // Allocating tables changes which regions are free, but not what is mapped. So each turn
        // computes the list anew.
        for index in 0.. {
            let regions = tables.memory().memory.regions();
            let mapping = hhdm(regions, firmware, revision, base).nth(index);
            let Some(mapping) = mapping else { break };
            tables.map(&mapping)?;
        }
    }
    let root = tables.root();
    if !five_levels {
        return Ok(root);
    }
    // The two halves of the 48-bit addresses lie at the two ends of the five-level address space,
    // so both use the same table.
    let mut memory = tables.into_memory();
    let top = memory.allocate()?;
    let entry = root.as_u64() | LINK;
    memory.pages.write(top, ENTRIES as usize - 1, entry);
    if revision == 0 {
        memory.pages.write(top, 0, entry);
    }
    Ok(top)
}
