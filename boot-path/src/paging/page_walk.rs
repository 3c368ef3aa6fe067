//! Finds out what is mapped at an address, for the reports of faults: walks page tables as the CPU
//! does (SDM volume 3, chapter 4).

use core::fmt;

use crate::errors::text::facts;
use crate::memory::address::{PhysAddr, VirtAddr};
use crate::memory::layout::PAGE_SIZE;
use crate::paging::page_tables::ADDRESS;

/// In an entry: it is present (bit 0).
const PRESENT: u64 = 1 << 0;
/// In an entry: writes are allowed, if all levels say so.
const WRITABLE: u64 = 1 << 1;
/// In an entry: user mode may access it, if all levels say so.
const USER: u64 = 1 << 2;
/// In an entry of level 2 or 3: it maps a page, and does not lead to a table. Reserved above.
const LARGE: u64 = 1 << 7;
/// In an entry: code cannot be fetched there, if any level says so. Reserved without EFER.NXE.
const NO_EXECUTE: u64 = 1 << 63;
/// In an entry of a large page: bit 12 is not part of the address, but chooses the memory type.
const LARGE_PAT: u64 = 1 << 12;
/// The settings that decide how the CPU walks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paging {
    /// CR3: the top table; its other bits are ignored.
    pub root: PhysAddr,
    /// 4, or 5 with CR4.LA57.
    pub levels: u32,
    /// EFER.NXE is set.
    pub nx: bool,
    /// There are 1 GiB pages.
    pub gib_pages: bool,
    /// MAXPHYADDR: bits of a physical address; from there up to bit 51, entries have reserved bits.
    pub physical_bits: u32,
}

/// The result of a CPU's walk for a virtual address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Translation {
    /// The address is not canonical: there is no walk.
    NotCanonical,
    /// The entry of the table of this level (4 or 5 is the top one, 1 the last) is not present.
    NotMapped { level: u32, entry: u64 },
    /// The entry has reserved bits set.
    Reserved { level: u32, entry: u64 },
    /// The table of this level, at this address, cannot be read.
    OutOfReach { level: u32, table: PhysAddr },
    /// A page.
    Page(Page),
}

/// An address that is mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// The address of the byte, not of the page.
    pub physical: PhysAddr,
    /// Binary logarithm of the page's size: 12, 21 or 30.
    pub shift: u32,
    /// May be written.
    pub writable: bool,
    /// May be executed.
    pub executable: bool,
    /// Is open to user mode.
    pub user: bool,
}

impl Paging {
    /// Looks `address` up. `read` returns the quadword at a physical address, or `None` if it is
    /// out of reach.
    pub fn translate(
        &self,
        address: VirtAddr,
        read: &dyn Fn(PhysAddr) -> Option<u64>,
    ) -> Translation {
        let unused = 64 - (12 + 9 * self.levels);
        if (address.as_u64() << unused) as i64 >> unused != address.as_u64() as i64 {
            return Translation::NotCanonical;
        }
        let mut table = PhysAddr::new(self.root.as_u64() & ADDRESS);
        // The permissions that all levels grant; NX is inverted, so that all three are permissions.
        let mut allowed = WRITABLE | USER | NO_EXECUTE;
        let mut level = self.levels;
        loop {
            let shift = 3 + 9 * level;
            let index = address.as_u64() >> shift & 511;
            let Some(entry) = read(table + index * 8) else {
                return Translation::OutOfReach { level, table };
            };
            if entry & PRESENT == 0 {
                return Translation::NotMapped { level, entry };
            }
            let last = level == 1 || entry & LARGE != 0;
            let size = 1u64 << shift;
            let mut reserved = ADDRESS & !((1u64 << self.physical_bits) - 1);
            if !self.nx {
                reserved |= NO_EXECUTE;
            }
            if last && level > 1 {
                reserved |= (size - PAGE_SIZE) & !LARGE_PAT;
                if level > 3 || level == 3 && !self.gib_pages {
                    reserved |= LARGE;
                }
            }
            if entry & reserved != 0 {
                return Translation::Reserved { level, entry };
            }
            allowed &= entry ^ NO_EXECUTE;
            if last {
                let page = entry & ADDRESS & !(size - 1);
                return Translation::Page(Page {
                    physical: PhysAddr::new(page | address.as_u64() & (size - 1)),
                    shift,
                    writable: allowed & WRITABLE != 0,
                    executable: allowed & NO_EXECUTE != 0,
                    user: allowed & USER != 0,
                });
            }
            table = PhysAddr::new(entry & ADDRESS);
            level -= 1;
        }
    }

    /// Reads the quadword at a virtual address, which may cross two pages; `None` if a byte of it
    /// is not mapped or out of reach.
    pub fn read(&self, address: VirtAddr, read: &dyn Fn(PhysAddr) -> Option<u64>) -> Option<u64> {
        let mut value = 0;
        for offset in (0..8).rev() {
            let address = address.wrapping_add(offset);
            let Translation::Page(page) = self.translate(address, read) else {
                return None;
            };
            let word = read(page.physical.align_down(8))?;
            value = value << 8 | word >> (8 * (page.physical.as_u64() & 7)) & 0xFF;
        }
        Some(value)
    }
}

/// `r-x`: the permissions of bytes that can be read.
pub fn permissions(writable: bool, executable: bool) -> &'static str {
    match (writable, executable) {
        (false, false) => "r--",
        (false, true) => "r-x",
        (true, false) => "rw-",
        (true, true) => "rwx",
    }
}

impl fmt::Display for Translation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (text, level, value) = match *self {
            Translation::NotCanonical => return f.write_str("not a canonical address"),
            Translation::NotMapped { level, entry } => {
                ("not mapped (the entry of level # is #h)", level, entry)
            }
            Translation::Reserved { level, entry } => {
                ("reserved bits in the entry of level #: #h", level, entry)
            }
            Translation::OutOfReach { level, table } => (
                "unknown (the table of level # at #h is out of the loader's reach)",
                level,
                table.as_u64(),
            ),
            Translation::Page(page) => {
                let (number, unit) = match page.shift {
                    12 => (4, "# KiB page, "),
                    21 => (2, "# MiB page, "),
                    _ => (1, "# GiB page, "),
                };
                facts(f, unit, &[number])?;
                f.write_str(permissions(page.writable, page.executable))?;
                f.write_str(if page.user { ", user" } else { ", supervisor" })?;
                return facts(f, ", at physical #h", &[page.physical.as_u64()]);
            }
        };
        facts(f, text, &[level.into(), value])
    }
}
