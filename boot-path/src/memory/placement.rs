//! The places of what the loader loads and makes: above 1 MiB, within the loader's own reach; or
//! below, behind the loader.

use crate::memory::address::PhysAddr;
use crate::memory::layout::{self, EARLY_REACH, PAGE_SIZE};
use crate::memory::map::{MIB, MemoryKind, MemoryMap, OutOfMemory, Request};

/// The memory from which kernel, modules and tables come: above 1 MiB, within the loader's reach.
///
/// # Errors
/// 6B.
pub fn allocate(
    memory: &mut MemoryMap,
    size: u64,
    align: u64,
    offset: u64,
    kind: MemoryKind,
) -> Result<PhysAddr, OutOfMemory> {
    memory.allocate(&Request {
        size,
        align,
        offset,
        min: PhysAddr::new(MIB),
        max: EARLY_REACH,
        kind,
    })
}

/// Whole pages from the upper end of that memory, where they are in no kernel's way.
///
/// # Errors
/// 6B.
pub fn allocate_high(memory: &mut MemoryMap, size: u64) -> Result<PhysAddr, OutOfMemory> {
    memory.allocate_highest(&Request {
        size,
        align: PAGE_SIZE,
        offset: 0,
        min: PhysAddr::new(MIB),
        max: EARLY_REACH,
        kind: MemoryKind::Reclaimable,
    })
}

/// Whole pages below 1 MiB, behind the loader: within reach of a kernel that maps little, and where
/// no kernel is loaded as a rule.
///
/// # Errors
/// 6B.
pub fn allocate_low(memory: &mut MemoryMap, size: u64) -> Result<PhysAddr, OutOfMemory> {
    memory.allocate(&Request {
        size,
        align: PAGE_SIZE,
        offset: 0,
        min: const { PhysAddr::new(layout::END) },
        max: const { PhysAddr::new(MIB) },
        kind: MemoryKind::Reclaimable,
    })
}
