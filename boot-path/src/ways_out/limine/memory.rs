//! The memory map, the memory that a kernel finds mapped, and the memory that it may reclaim.

use arrayvec::ArrayVec;

use crate::machine::Machine;
use crate::memory::address::{PhysAddr, VirtAddr};
use crate::memory::layout::{EARLY_REACH, PAGE_SIZE};
use crate::memory::list;
use crate::memory::map::{MIB, MemoryKind, MemoryMap, Region};
use crate::memory::ram::Block;
use crate::paging::page_tables::Mapping;

/// The start of the higher half direct map, which shows physical address 0: the same with four and
/// with five levels of page tables.
pub const HHDM: VirtAddr = VirtAddr::new(0xFFFF_8000_0000_0000);

/// The address at which a kernel sees a physical address.
pub const fn in_hhdm(address: PhysAddr) -> VirtAddr {
    HHDM.plus(address.as_u64())
}

/// The protocol's numbers for types of memory map entries.
#[expect(missing_docs, reason = "named as in the protocol")]
pub mod kind {
    pub const USABLE: u64 = 0;
    pub const RESERVED: u64 = 1;
    pub const ACPI_RECLAIMABLE: u64 = 2;
    pub const ACPI_NVS: u64 = 3;
    pub const BAD_MEMORY: u64 = 4;
    pub const BOOTLOADER_RECLAIMABLE: u64 = 5;
    pub const EXECUTABLE_AND_MODULES: u64 = 6;
    pub const FRAMEBUFFER: u64 = 7;
    pub const RESERVED_MAPPED: u64 = 8;
}

/// An entry of the kernel's memory map; base and length are multiples of 4 KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// First byte.
    pub base: u64,
    /// Bytes.
    pub length: u64,
    /// One of [`kind`].
    pub kind: u64,
}

/// Pages that hold tables of the firmware, by address and without overlap.
#[derive(Clone, Debug, Default)]
pub struct FirmwarePages(ArrayVec<(u64, u64), 64>);

impl FirmwarePages {
    /// Adds the pages of some bytes. There is room for 64 separate places.
    pub fn add(&mut self, start: u64, length: u64) {
        let (Some(end), true) = (start.checked_add(length), length > 0) else {
            return;
        };
        let mut start = start & !(PAGE_SIZE - 1);
        let Some(mut end) = end.checked_next_multiple_of(PAGE_SIZE) else {
            return;
        };
        self.0.retain(|&mut (old_start, old_end)| {
            let apart = old_end < start || end < old_start;
            if !apart {
                start = start.min(old_start);
                end = end.max(old_end);
            }
            apart
        });
        let place = self.0.partition_point(|&(old, _)| old < start);
        list::try_insert(&mut self.0, place, (start, end));
    }
}

/// The memory map of a kernel: that of the loader, sorted and without overlap, in the protocol's
/// terms. Pages of `firmware` in reserved or unreported memory are "reserved (mapped)".
pub fn entries<'a>(
    regions: &'a [Region],
    firmware: &'a FirmwarePages,
) -> impl Iterator<Item = Entry> + 'a {
    let mut position = 0;
    core::iter::from_fn(move || {
        let mut entry: Option<Entry> = None;
        while position < u64::MAX {
            let (kind, end) = piece(regions, firmware, position);
            match (&mut entry, kind) {
                (None, Some(kind)) => {
                    let (base, length) = (position, end - position);
                    entry = Some(Entry { base, length, kind });
                }
                (Some(entry), Some(kind)) if entry.kind == kind => {
                    entry.length += end - position;
                }
                (None, None) => {}
                _ => break,
            }
            position = end;
        }
        entry
    })
}

/// The kind of memory at an address, and its end; `u64::MAX`: nothing follows.
fn piece(regions: &[Region], firmware: &FirmwarePages, address: u64) -> (Option<u64>, u64) {
    let mut end = u64::MAX;
    // Given the first range that ends behind the address: does it contain the address?
    let mut holds = |start: u64, behind: u64| {
        let inside = start <= address;
        end = end.min(if inside { behind } else { start });
        inside
    };
    let region = regions.iter().find(|region| region.end.as_u64() > address);
    let mut kind = region
        .filter(|region| holds(region.start.as_u64(), region.end.as_u64()))
        .map(kind_of);
    let pages = firmware.0.iter().find(|&&(_, behind)| behind > address);
    if pages.is_some_and(|&(start, behind)| holds(start, behind))
        && matches!(kind, None | Some(kind::RESERVED))
    {
        kind = Some(kind::RESERVED_MAPPED);
    }
    (kind, end)
}

/// The protocol's name for the loader's kind of memory.
fn kind_of(region: &Region) -> u64 {
    match region.kind {
        MemoryKind::Usable => kind::USABLE,
        MemoryKind::Reclaimable => kind::BOOTLOADER_RECLAIMABLE,
        MemoryKind::Kernel | MemoryKind::Module => kind::EXECUTABLE_AND_MODULES,
        MemoryKind::AcpiReclaimable => kind::ACPI_RECLAIMABLE,
        MemoryKind::AcpiNvs => kind::ACPI_NVS,
        MemoryKind::Bad => kind::BAD_MEMORY,
        // In this protocol, VGA's text window is not a framebuffer.
        MemoryKind::Framebuffer if region.start.as_u64() >= MIB => kind::FRAMEBUFFER,
        MemoryKind::Framebuffer | MemoryKind::Reserved => kind::RESERVED,
    }
}

/// Does a base revision want memory of this kind in the direct map? Up to revision 2, the map
/// contains the first 4 GiB as well.
fn is_mapped(kind: u64, revision: u64) -> bool {
    match kind {
        kind::USABLE
        | kind::BOOTLOADER_RECLAIMABLE
        | kind::EXECUTABLE_AND_MODULES
        | kind::FRAMEBUFFER => true,
        kind::ACPI_RECLAIMABLE | kind::ACPI_NVS => revision != 3,
        kind::RESERVED_MAPPED => revision == 0 || revision > 3,
        _ => revision == 0,
    }
}

/// The mappings of the higher half direct map, or, with `base` 0, of the identity map, which lacks
/// page 0. Adjacent ranges are merged, except with framebuffers, where writes are combined. The
/// protocol demands that all of it is writable and executable.
pub fn hhdm<'a>(
    regions: &'a [Region],
    firmware: &'a FirmwarePages,
    revision: u64,
    base: VirtAddr,
) -> impl Iterator<Item = Mapping> + 'a {
    let everything = if revision < 3 {
        EARLY_REACH.as_u64()
    } else {
        0
    };
    let mut position = match base.as_u64() {
        0 => PAGE_SIZE,
        _ => 0,
    };
    core::iter::from_fn(move || {
        let mut mapping: Option<Mapping> = None;
        while position < u64::MAX {
            let (kind, mut end) = piece(regions, firmware, position);
            let mapped =
                position < everything || kind.is_some_and(|kind| is_mapped(kind, revision));
            if position < everything {
                end = end.min(everything);
            }
            let write_combining = kind == Some(kind::FRAMEBUFFER);
            match &mut mapping {
                None if mapped => {
                    mapping = Some(Mapping {
                        virtual_start: base.saturating_add(position),
                        physical_start: PhysAddr::new(position),
                        size: end - position,
                        writable: true,
                        executable: true,
                        write_combining,
                    });
                }
                None => {}
                Some(mapping) if mapped && mapping.write_combining == write_combining => {
                    mapping.size += end - position;
                }
                Some(_) => break,
            }
            position = end;
        }
        mapping
    })
}

/// Allocates memory that the kernel may reuse once it needs nothing of the loader.
pub(super) fn reclaimable<'m, M: Machine<'m>>(
    machine: M,
    size: u64,
    memory: &mut MemoryMap,
) -> Result<Block<'m>, M::Failure> {
    machine.pages(size, MemoryKind::Reclaimable, memory)
}

/// Allocates a stack; returns the address of its end as the kernel sees it.
pub(super) fn allocate_stack<'m, M: Machine<'m>>(
    machine: M,
    size: u64,
    memory: &mut MemoryMap,
) -> Result<VirtAddr, M::Failure> {
    Ok(in_hhdm(reclaimable(machine, size, memory)?.end()))
}
