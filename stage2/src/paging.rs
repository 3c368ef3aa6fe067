//! Step 11: the page tables that the kernel starts with.
//!
//! **On entry**: the kernel is in memory. **This step**: maps what [`address_space`] says, in tables
//! of its own. **On exit**: the tables are complete; the loader's own are still in use.
#![allow(unsafe_code)]

use boot_path::kernel::placement::Kernel;
use boot_path::memory::layout::PAGE_SIZE;
use boot_path::memory::map::MemoryMap;
use boot_path::paging::address_space::{self, AddressSpace, TablePages};
use boot_path::paging::page_tables::Capabilities;

use crate::machine::faults::Failure;
use crate::machine::physical;
use crate::machine::switch;
use crate::real::cpu;
use crate::say;

/// Entries in a page table.
const ENTRIES: usize = 512;

/// The tables, and for which CPU.
pub struct Tables {
    /// What they map.
    pub space: AddressSpace,
    /// What the CPU can do: `handoff::CPU_…`.
    pub cpu_features: u64,
}

/// Page tables in physical memory.
pub struct Physical;

impl TablePages for Physical {
    fn clear(&mut self, table: u64) {
        // SAFETY: just allocated, one page.
        unsafe { physical::bytes_mut(table, PAGE_SIZE) }.fill(0);
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
    // SAFETY: only tables that were allocated and cleared are asked for; each reference is used for
    // one access.
    unsafe { &mut *core::ptr::with_exposed_provenance_mut(table as usize) }
}

/// What the CPU's paging can do.
pub fn capabilities(cpu_features: u64) -> Capabilities {
    let has = |flag| cpu_features & flag != 0;
    Capabilities {
        nx: has(::handoff::CPU_NX),
        gib_pages: has(::handoff::CPU_1GIB_PAGES),
    }
}

/// Builds the tables.
///
/// # Errors
/// 11A, 11B, 6B.
pub fn build(kernel: &Kernel, memory: &mut MemoryMap) -> Result<Tables, Failure> {
    let cpu_features = cpu::features();
    let capabilities = capabilities(cpu_features);
    let space = address_space::build(kernel, memory, Physical, capabilities, switch::address())?;
    say!(
        "11 paging   stack # KiB, physical map at #h";
        kernel.wishes.stack_size >> 10,
        kernel.wishes.physical_map_base
    );
    Ok(Tables {
        space,
        cpu_features,
    })
}
