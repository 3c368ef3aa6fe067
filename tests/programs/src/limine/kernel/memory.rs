//! Memory as the page tables and the memory map have it.

use core::arch::asm;

use limine::memory_map::EntryType;

use crate::requests::{MEMORY_MAP, hhdm};

/// Index of write-combining in the PAT.
pub const WRITE_COMBINING: u64 = 5;

/// The mapping of an address. `cache` is the index into the PAT.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Page {
    pub physical: u64,
    pub writable: bool,
    pub executable: bool,
    pub cache: u64,
}

pub fn walk(address: u64) -> Option<Page> {
    let cr3: u64;
    let cr4: u64;
    // SAFETY: reads registers.
    unsafe { asm!("mov {}, cr3", "mov {}, cr4", out(reg) cr3, out(reg) cr4) }
    let levels = if cr4 & 1 << 12 != 0 { 5 } else { 4 };
    let mut table = cr3 & !0xFFF;
    let (mut writable, mut executable) = (true, true);
    for level in (0..levels).rev() {
        let shift = 12 + 9 * level;
        let index = address >> shift & 511;
        // SAFETY: the tables are in reclaimable memory, which the direct map shows.
        let entry = unsafe { *((hhdm() + table + 8 * index) as *const u64) };
        if entry & 1 == 0 {
            return None;
        }
        writable &= entry & 2 != 0;
        executable &= entry >> 63 == 0;
        if level == 0 || entry & 0x80 != 0 && level < 3 {
            let inside = address & ((1 << shift) - 1);
            let pat = if level == 0 {
                entry >> 7 & 1
            } else {
                entry >> 12 & 1
            };
            return Some(Page {
                physical: (entry & 0x000F_FFFF_FFFF_F000 & !((1 << shift) - 1)) + inside,
                writable,
                executable,
                cache: pat << 2 | entry >> 3 & 3,
            });
        }
        table = entry & 0x000F_FFFF_FFFF_F000;
    }
    None
}

pub const FRAMEBUFFER_KIND: u64 = 7;

pub const RESERVED_MAPPED: u64 = 8;

/// The kind of memory at a physical address.
pub fn memory_kind(address: u64) -> Option<EntryType> {
    let map = MEMORY_MAP.get_response()?;
    let mut entries = map.entries().iter();
    let entry = entries.find(|entry| address.wrapping_sub(entry.base) < entry.length)?;
    Some(entry.entry_type)
}

pub fn number(kind: EntryType) -> u64 {
    // SAFETY: a number in a transparent structure.
    unsafe { core::mem::transmute(kind) }
}

/// Whether data of the loader lies where it should: in reclaimable memory, seen through the direct
/// map.
pub fn reclaimable(address: u64) -> bool {
    let physical = address.wrapping_sub(hhdm());
    memory_kind(physical) == Some(EntryType::BOOTLOADER_RECLAIMABLE)
        && walk(address).is_some_and(|page| page.physical == physical && page.writable)
}

pub fn at<T>(value: &T) -> u64 {
    value as *const T as u64
}
