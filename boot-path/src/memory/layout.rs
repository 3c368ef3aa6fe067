//! Where every part of the loader lies in memory: the one file with addresses.
//!
//! All of it is below 640 KiB, which real mode reaches; what is allocated later (page tables,
//! kernel, modules, stack) comes from RAM above 1 MiB, or from behind the loader if it is small. A
//! test writes `docs/memory-layout.md` from [`REGIONS`] and compares it.

use disk_layout::{mbr, stage2};

use crate::memory::address::PhysAddr;

/// A range of physical memory with a purpose.
#[derive(Debug)]
pub struct Region {
    /// First byte.
    pub start: u64,
    /// First byte behind it.
    pub end: u64,
    /// What it holds.
    pub name: &'static str,
    /// Why it is there and not elsewhere.
    pub reason: &'static str,
}

impl Region {
    /// Length in bytes.
    pub const fn size(&self) -> u64 {
        self.end - self.start
    }

    const fn new(start: u64, end: u64, name: &'static str, reason: &'static str) -> Self {
        assert!(start < end);
        Self {
            start,
            end,
            name,
            reason,
        }
    }
}

/// Size of a page in bytes: the unit in which everything is mapped, and of the finished memory map.
pub const PAGE_SIZE: u64 = 4096;

/// The page tables of the loader below the [top one](EARLY_ROOT): identity, first 4 GiB, by 2 MiB
/// pages. One PDPT, four page directories.
pub const EARLY_TABLES: Region = Region::new(
    0x1000,
    0x6000,
    "early page tables",
    "five pages of memory that the BIOS leaves alone after the start",
);

/// The stack of all 16-bit code: stage1's, stage2's, and that of every BIOS call.
pub const REAL_MODE_STACK: Region = Region::new(
    EARLY_TABLES.end,
    mbr::LOAD_ADDRESS as u64,
    "real-mode stack",
    "grows down from stage1; some BIOSes need 4 KiB in a call",
);

/// The value at the lowest address of a stack. An overflow of the real-mode stack overwrites this
/// value first, and then the page tables below it; an overflow of the 64-bit stack, the top
/// page table. Below the fault stacks lie stacks whose owners never resume.
pub const CANARY: u32 = 0x59AC_5ACA;

/// stage1. The boot program of a CD extends up to stage2, and is no longer needed when stage2 runs.
pub const STAGE1: Region = Region::new(
    mbr::LOAD_ADDRESS as u64,
    mbr::LOAD_ADDRESS as u64 + 512,
    "stage1",
    "where every BIOS loads the MBR; a CD's boot program reaches over what is behind, up to stage2",
);

/// The memory through which the loader passes data to the BIOS and gets its answers.
pub const BIOS_BUFFER: Region = Region::new(
    STAGE1.end,
    stage2::LOAD_ADDRESS as u64,
    "BIOS buffer",
    "packets of BIOS calls and their answers, in segment 0; room for BIOSes that write too much",
);

/// stage2's image and, behind it, its variables.
pub const STAGE2: Region = Region::new(
    stage2::LOAD_ADDRESS as u64,
    0x4_6000,
    "stage2",
    "its parts and its variables; its 16-bit code comes first, within reach of segment 0",
);

/// The top page table of the loader, a PML4.
pub const EARLY_ROOT: Region = Region::new(
    STAGE2.end,
    STAGE2.end + PAGE_SIZE,
    "top page table",
    "not with the others, where the real-mode stack needs the room",
);

/// The stack in long mode.
pub const STACK: Region = Region::new(
    EARLY_ROOT.end,
    EARLY_ROOT.end + 0x6000,
    "stack",
    "24 KiB for the 64-bit code, which has been seen to use 16",
);

/// The stack of the fault handlers. It stays valid when the kernel runs, whose own stack may be
/// broken.
pub const FAULT_STACK: Region = Region::new(
    STACK.end,
    STACK.end + 0x2000,
    "fault stack",
    "IST 1, for every exception but one",
);

/// The stack of the double fault's handler, because the other one may be broken.
pub const DOUBLE_FAULT_STACK: Region = Region::new(
    FAULT_STACK.end,
    FAULT_STACK.end + 0x1000,
    "double fault stack",
    "IST 2, for the double fault",
);

/// Where INT 13h puts what it reads; and in the end INT 10h its information on graphics modes.
pub const TRANSFER_BUFFER: Region = Region::new(
    DOUBLE_FAULT_STACK.end,
    DOUBLE_FAULT_STACK.end + 0x1_0000,
    "transfer buffer",
    "a 64 KiB segment of its own: no read crosses a 64 KiB line; in the end, what Linux is told",
);

/// Bytes for an entry file: `/loader/loader.conf`, then `/boot/kernel.conf`.
pub const ENTRY_FILE_SIZE: u64 = 0x4000;

/// Bytes for the path's own structures, once there is a memory map: see
/// [`Rooms`](crate::path::Rooms).
pub const ROOMS_SIZE: u64 = 0xA000;

/// Bytes for the windows through which the file system is read.
pub const FILE_CACHE_SIZE: u64 = 0x2_0000;

/// All regions, by address.
pub const REGIONS: &[Region] = &[
    EARLY_TABLES,
    REAL_MODE_STACK,
    STAGE1,
    BIOS_BUFFER,
    STAGE2,
    EARLY_ROOT,
    STACK,
    FAULT_STACK,
    DOUBLE_FAULT_STACK,
    TRANSFER_BUFFER,
];

/// First byte behind the interrupt vectors and the BIOS data area.
pub const BIOS_DATA_END: u64 = 0x500;

/// First byte of the loader's memory.
pub const START: u64 = EARLY_TABLES.start;

/// First byte behind the loader's memory: a machine needs this much conventional memory.
pub const END: u64 = TRANSFER_BUFFER.end;

/// VGA text: 80 × 25 characters of two bytes (physical address).
pub const VGA_TEXT: u64 = 0xB_8000;

/// First byte behind the VGA text window.
pub const VGA_TEXT_END: u64 = 0xC_0000;

/// Characters in a row of VGA text.
pub const TEXT_COLUMNS: u64 = 80;

/// Rows of VGA text.
pub const TEXT_ROWS: u64 = 25;

/// The highest address that the loader itself can reach, exclusive: its tables map this much.
pub const EARLY_REACH: PhysAddr = PhysAddr::new(4 << 30);

const _: () = {
    let mut i = 1;
    while i < REGIONS.len() {
        assert!(
            REGIONS[i - 1].end <= REGIONS[i].start,
            "regions overlap or are out of order"
        );
        i += 1;
    }
    // Behind the BIOS data area, below the lowest EBDA that is accepted.
    assert!(START >= BIOS_DATA_END && END <= 384 << 10);
    // One transfer must not cross a 64 KiB boundary, and fills at most the whole region.
    assert!(TRANSFER_BUFFER.start.is_multiple_of(0x1_0000) && TRANSFER_BUFFER.size() == 0x1_0000);
    assert!(EARLY_TABLES.size() == 5 * PAGE_SIZE && EARLY_TABLES.start.is_multiple_of(PAGE_SIZE));
    assert!(STAGE2.size() > stage2::MAX_LENGTH as u64);
    // Compiled code expects its stack aligned like this, and the CPU aligns those of exceptions.
    assert!(STACK.end.is_multiple_of(16) && FAULT_STACK.end.is_multiple_of(16));
    assert!(DOUBLE_FAULT_STACK.end.is_multiple_of(16));
    assert!(EARLY_ROOT.start.is_multiple_of(PAGE_SIZE) && REAL_MODE_STACK.size() >= 0x1800);
    // 16-bit code reaches these in segment 0.
    assert!(EARLY_TABLES.end <= 0x1_0000 && REAL_MODE_STACK.end <= 0x1_0000);
    // Other processors begin here, too: this has to be a page below 1 MiB.
    assert!(TRANSFER_BUFFER.start.is_multiple_of(PAGE_SIZE) && END <= 0x10_0000);
};
