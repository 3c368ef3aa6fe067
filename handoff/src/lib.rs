//! **Contract 2: what a kernel finds when Bootpath hands the machine over.**
//!
//! A kernel in Rust depends on this crate, names its entry function with [`entry_point!`] and may
//! state wishes with [`wish!`]; a kernel in C includes `bootpath.h`, which is generated from this
//! file. The whole contract, the registers included, is written up in `docs/handoff.md`.
//!
//! ## The state of the machine at entry
//! - 64-bit long mode, CPL 0, interrupts disabled (IF = 0), DF = 0.
//! - `RDI` = address of [`BootInfo`]; `RBP` and all other general registers are 0; `RSP` is where
//!   the System V ABI wants it at a function's first instruction (16-byte aligned + 8, a null
//!   return address on top).
//! - CR0: PE, MP, ET, NE, WP, PG. CR4: PAE, PGE, OSFXSR, OSXMMEXCPT. EFER: LME, LMA, and NXE where
//!   the CPU has NX. x87 and SSE are initialised.
//! - A flat 64-bit GDT with a TSS, and an IDT whose handlers print a readable report.
//! - Both PICs are masked.
//!
//! ## What is mapped
//! Every PT_LOAD at its own address with its own permissions; the stack, with an unmapped guard
//! page below it; all RAM and the first MiB at [`BootInfo::physical_map_base`] (writable, never
//! executable); one page of the loader with the switch code, the GDT and the IDT. Nothing else.
//!
//! ## What a kernel asks for first
//! | | |
//! | --- | --- |
//! | memory | [`memory_map`](BootInfo::memory_map), [`usable`](BootInfo::usable), [`region_of`](BootInfo::region_of); with the feature `x86_64`, `usable_frames` |
//! | files | [`modules`](BootInfo::modules), [`module`](BootInfo::module), [`Module::bytes`] |
//! | the kernel itself | [`Kernel::segments`], [`Kernel::stack`] |
//! | the command line | [`words`](BootInfo::words), [`has_word`](BootInfo::has_word), [`value_of`](BootInfo::value_of) |
//! | physical memory | [`physical_map`](BootInfo::physical_map), [`PhysicalMap::pointer`] |
//! | the end | `exit`, `ExitCode` |
//! | output | with the feature `serial`, `Serial` and `serial_println!` |
//!
//! No method needs `unsafe`, except to read physical memory by its address.
//!
//! ## Features
//! - `serial`: `Serial`, a writer to COM1 as the loader has set it up, and `serial_println!`. It
//!   depends on nothing.
//! - `x86_64`: addresses, frames and the base of the physical map in the types of the crate
//!   [`x86_64`](https://docs.rs/x86_64) 0.15.
//!
//! Without them, the crate depends on `core` alone.
//!
//! ## Versions
//! An old kernel runs on a newer loader, and a kernel with a newer crate on an older loader: see
//! [`BootInfo::from_loader`] and [`FIRST_SIZE`].
#![no_std]
#![deny(missing_docs)]
// The structure holds pointers for C's sake; sharing it between threads has to be promised by hand.
#![allow(unsafe_code)]

mod access;
#[cfg(feature = "x86_64")]
mod addresses;
pub mod bytes;
mod command_line;
mod entry;
#[cfg(target_arch = "x86_64")]
mod exit;
mod memory_map;
mod physical_map;
#[cfg(all(feature = "serial", target_arch = "x86_64"))]
mod serial;
mod versions;
mod wishes;

use core::ffi::c_char;

#[cfg(feature = "x86_64")]
pub use addresses::UsableFrames;
#[cfg(target_arch = "x86_64")]
pub use exit::{ExitCode, exit, exit_failure, exit_success};
pub use memory_map::Regions;
pub use physical_map::PhysicalMap;
#[cfg(all(feature = "serial", target_arch = "x86_64"))]
pub use serial::{Serial, print_to_serial};
pub use versions::FIRST_SIZE;
pub use wishes::Note;

/// [`BootInfo::magic`]: the ASCII letters `BOOTPATH`, first letter in the lowest byte.
pub const BOOTPATH_MAGIC: u64 = 0x4854_4150_544F_4F42;

/// [`BootInfo::version`]. It grows when a field changes its meaning; fields that are only added at
/// the end show in [`BootInfo::size`].
pub const BOOTPATH_VERSION: u32 = 1;

/// Name of the ELF notes by which a kernel tells the loader its wishes.
pub const NOTE_NAME: &str = "Bootpath";

/// Note type: the size of the stack in bytes (u64). 4 KiB to 16 MiB; rounded up to whole pages.
pub const NOTE_STACK_SIZE: u32 = 1;

/// Note type: the virtual address at which all physical memory is mapped (u64). Canonical, aligned
/// to 1 GiB, not 0.
pub const NOTE_PHYSICAL_MAP_BASE: u32 = 2;

/// Note type: a set of flags (u64), see `FLAG_…`.
pub const NOTE_FLAGS: u32 = 3;

/// In [`NOTE_FLAGS`]: segments that are writable and executable are accepted.
pub const FLAG_ALLOW_WRITABLE_CODE: u64 = 1;

/// In [`NOTE_FLAGS`]: the IDT is empty at the start, and a fault resets the machine instead of
/// being reported by the loader.
pub const FLAG_NO_FAULT_REPORTS: u64 = 2;

/// I/O port at which a kernel tells `disk-builder run` how it ends: that of QEMU's device
/// `isa-debug-exit`, which no device of a PC uses. Writing a doubleword to it ends QEMU.
pub const EXIT_PORT: u16 = 0xF4;

/// What a kernel writes to [`EXIT_PORT`] to report success; every other value reports failure. QEMU
/// turns the value into an exit status of its own (33), which keeps 7 bits.
pub const EXIT_SUCCESS: u32 = 0x10;

/// What a kernel writes to [`EXIT_PORT`] to report failure, if it has nothing else to say.
pub const EXIT_FAILURE: u32 = 0x11;

/// Where all physical memory is mapped when the kernel does not wish otherwise.
pub const DEFAULT_PHYSICAL_MAP_BASE: u64 = 0xFFFF_8000_0000_0000;

/// The smallest stack that a kernel may wish for, in bytes.
pub const STACK_SIZE_MIN: u64 = 4 * 1024;

/// The largest stack that a kernel may wish for, in bytes.
pub const STACK_SIZE_MAX: u64 = 16 * 1024 * 1024;

/// Size of the stack in bytes when the kernel does not wish otherwise.
pub const DEFAULT_STACK_SIZE: u64 = 64 * 1024;

/// What a [`MemoryRegion`] holds. A kind that a kernel does not know must be treated as reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
pub enum MemoryKind {
    /// Free RAM.
    Usable = 1,
    /// RAM that holds the loader's data: page tables, stack, GDT and IDT, `BootInfo` and what it
    /// points to. Free as soon as the kernel needs none of them any more.
    Reclaimable = 2,
    /// The kernel's segments.
    Kernel = 3,
    /// A module.
    Module = 4,
    /// ACPI tables; free once they have been read.
    AcpiReclaimable = 5,
    /// ACPI non-volatile storage: to be kept over sleep.
    AcpiNvs = 6,
    /// Video memory.
    Framebuffer = 7,
    /// Must not be touched: it belongs to the firmware, or is not RAM.
    Reserved = 8,
    /// RAM that the firmware found to be faulty.
    Bad = 9,
}

/// One range of physical memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct MemoryRegion {
    /// First byte (physical address).
    pub start: u64,
    /// Length in bytes, never 0.
    pub length: u64,
    /// A [`MemoryKind`], as a number: a newer loader may know more kinds.
    pub kind: u32,
    /// Zero.
    pub reserved: u32,
}

/// Text in UTF-8. A zero byte follows it, which `length` does not count.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Text {
    /// First byte (virtual address), never null.
    pub start: *const c_char,
    /// Length in bytes.
    pub length: u64,
}

/// One PT_LOAD of the kernel, as it lies in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct KernelSegment {
    /// First byte (virtual address).
    pub virtual_start: u64,
    /// First byte (physical address).
    pub physical_start: u64,
    /// Length in bytes (`p_memsz`).
    pub length: u64,
    /// `p_flags`: 1 executable, 2 writable, 4 readable.
    pub flags: u32,
    /// Zero.
    pub reserved: u32,
}

/// Where the kernel is.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Kernel {
    /// Lowest virtual address of its segments.
    pub virtual_base: u64,
    /// Physical address of the byte at `virtual_base`.
    pub physical_base: u64,
    /// Bytes from `virtual_base` to the end of the highest segment.
    pub size: u64,
    /// What was added to the ELF's addresses; 0 unless it is position-independent.
    pub slide: u64,
    /// Virtual address of the entry point.
    pub entry: u64,
    /// The segments, sorted by address.
    pub segments: *const KernelSegment,
    /// How many there are.
    pub segment_count: u64,
    /// Lowest virtual address of the stack; the page below it is not mapped.
    pub stack_bottom: u64,
    /// Size of the stack in bytes.
    pub stack_size: u64,
}

/// A file that was loaded for the kernel.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Module {
    /// First byte (virtual address, in the physical map), aligned to 4 KiB.
    pub start: *const u8,
    /// First byte (physical address).
    pub physical_start: u64,
    /// Length in bytes.
    pub length: u64,
    /// Its path in the boot partition.
    pub path: Text,
    /// The string that was given with it; may be empty.
    pub string: Text,
}

/// What a [`Display`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum DisplayKind {
    /// There is none.
    None = 0,
    /// VGA text: two bytes a character, code page 437 and attribute.
    Text = 1,
    /// Pixels. No kernel gets this from today's loader.
    Framebuffer = 2,
}

/// The screen.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Display {
    /// A [`DisplayKind`], as a number.
    pub kind: u32,
    /// Bits of a pixel; 16 in text mode (character and attribute).
    pub bits_per_pixel: u32,
    /// First byte (physical address; it is in the physical map).
    pub address: u64,
    /// Columns or pixels.
    pub width: u32,
    /// Rows or lines.
    pub height: u32,
    /// Bytes from one row or line to the next.
    pub pitch: u32,
    /// Row of the first free line in text mode: the kernel may print from there.
    pub cursor_row: u32,
}

/// The disk that the machine was booted from. All of it is zero if there was none, because another
/// loader had loaded the kernel and its modules.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct BootDisk {
    /// Drive number that INT 13h knows it by.
    pub drive: u8,
    /// Drive number that the BIOS passed to the MBR; it may be a wrong one.
    pub bios_drive: u8,
    /// Number of the boot partition, 1 to 4; from 5 on: a logical partition; 0: the whole disk is one
    /// volume.
    pub partition: u8,
    /// Zero.
    pub reserved: u8,
    /// The MBR's disk signature.
    pub signature: u32,
    /// First sector of the boot partition, in logical sectors.
    pub partition_lba: u64,
    /// Length of the boot partition, in logical sectors.
    pub partition_sectors: u64,
    /// Bytes in a logical sector; 0: there is no disk.
    pub sector_size: u32,
    /// How many reads (INT 13h calls) stage2 made, up to the handoff.
    pub reads: u32,
}

/// The initial image of thread-local storage (PT_TLS).
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct TlsTemplate {
    /// First byte of the initialised part (virtual address); 0: the kernel has no PT_TLS.
    pub start: u64,
    /// Bytes of the initialised part.
    pub file_size: u64,
    /// Bytes in all; what goes beyond `file_size` is zero.
    pub memory_size: u64,
    /// Alignment in bytes, a power of two.
    pub alignment: u64,
}

/// In [`BootInfo::cpu_features`]: pages may be marked not executable (and are).
pub const CPU_NX: u64 = 1 << 0;
/// In [`BootInfo::cpu_features`]: 1 GiB pages.
pub const CPU_1GIB_PAGES: u64 = 1 << 1;
/// In [`BootInfo::cpu_features`]: five-level paging (not switched on).
pub const CPU_LA57: u64 = 1 << 2;
/// In [`BootInfo::cpu_features`]: the time-stamp counter runs at a constant rate.
pub const CPU_INVARIANT_TSC: u64 = 1 << 3;
/// In [`BootInfo::cpu_features`]: the instruction RDRAND.
pub const CPU_RDRAND: u64 = 1 << 4;
/// In [`BootInfo::cpu_features`]: the instruction RDSEED.
pub const CPU_RDSEED: u64 = 1 << 5;
/// In [`BootInfo::cpu_features`]: x2APIC.
pub const CPU_X2APIC: u64 = 1 << 6;
/// In [`BootInfo::cpu_features`]: a hypervisor is present.
pub const CPU_HYPERVISOR: u64 = 1 << 7;
/// In [`BootInfo::cpu_features`]: SMEP.
pub const CPU_SMEP: u64 = 1 << 8;
/// In [`BootInfo::cpu_features`]: SMAP.
pub const CPU_SMAP: u64 = 1 << 9;

/// Length of [`BootInfo::timeline`].
pub const TIMELINE_LENGTH: usize = 16;

/// Everything that the loader knows. It lies in reclaimable memory and may be copied; the pointers
/// in it are virtual addresses in the physical map.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct BootInfo {
    /// [`BOOTPATH_MAGIC`].
    pub magic: u64,
    /// [`BOOTPATH_VERSION`].
    pub version: u32,
    /// Bytes in this structure.
    pub size: u32,
    /// Name and version of the loader.
    pub loader: Text,
    /// The kernel's command line; may be empty.
    pub command_line: Text,
    /// All that the firmware reported and the loader used: sorted by address, no overlap.
    pub memory_map: *const MemoryRegion,
    /// Number of regions.
    pub memory_map_count: u64,
    /// Virtual address at which physical address 0 is mapped.
    pub physical_map_base: u64,
    /// Bytes from there to the end of the highest mapped region.
    pub physical_map_size: u64,
    /// Where the kernel and its stack are.
    pub kernel: Kernel,
    /// The modules, in the order of the entry.
    pub modules: *const Module,
    /// Number of modules.
    pub module_count: u64,
    /// The screen.
    pub display: Display,
    /// Physical address of the ACPI root pointer (RSDP); 0: not found.
    pub rsdp: u64,
    /// Physical address of the SMBIOS 2.x entry point (`_SM_`); 0: not found.
    pub smbios: u64,
    /// Physical address of the SMBIOS 3.x entry point (`_SM3_`); 0: not found.
    pub smbios3: u64,
    /// The disk that the machine was booted from.
    pub boot_disk: BootDisk,
    /// The initial image of thread-local storage.
    pub tls: TlsTemplate,
    /// What the CPU can do: `CPU_…`.
    pub cpu_features: u64,
    /// The time-stamp counter at the start of each step of the boot path, by the number of the
    /// step (1 is stage1's first instruction, 12 the handoff); 0: not taken.
    pub timeline: [u64; TIMELINE_LENGTH],
    /// From RDSEED or RDRAND, else from the jitter of clocks: then it is not secret.
    pub random_seed: [u8; 32],
}

// SAFETY: the loader has stopped when the kernel sees the structure; nothing writes to it or to
// what it points to any more.
unsafe impl Sync for BootInfo {}
// SAFETY: as above.
unsafe impl Send for BootInfo {}
