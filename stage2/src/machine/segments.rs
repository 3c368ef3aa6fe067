//! The GDT's selectors and descriptors, and the control registers of long mode: what all code needs
//! that goes from one mode to another.

use x86_64::registers::control::{Cr0Flags, Cr4Flags};
use x86_64::structures::gdt::DescriptorFlags;
use x86_64::structures::tss::TaskStateSegment;

// Selectors in the GDT, which is on the switch page.
/// 64-bit code.
pub const CODE_64: u16 = 0x08;
/// Flat 32-bit code, for the road through protected mode. Its selector and the next one are those
/// that Linux's 32-bit entry wants.
pub const CODE_32: u16 = 0x10;
/// Flat data, for 64-bit and 32-bit code.
pub const DATA: u16 = 0x18;
/// 16-bit code with base 0, for the way back to real mode.
pub const CODE_16: u16 = 0x20;
/// 16-bit data with base 0 and a limit of 64 KiB, which real mode expects to find.
pub const DATA_16: u16 = 0x28;
/// The task state segment (two entries).
pub const TSS: u16 = 0x30;

/// A 16-bit segment: base 0, limit FFFFh, present, accessed, writable or readable.
pub const SEGMENT_16: u64 = DescriptorFlags::USER_SEGMENT.bits()
    | DescriptorFlags::PRESENT.bits()
    | DescriptorFlags::ACCESSED.bits()
    | DescriptorFlags::WRITABLE.bits()
    | DescriptorFlags::LIMIT_0_15.bits();

/// A present, available 64-bit TSS; its base is filled in when the program runs.
const TSS_DESCRIPTOR: u64 = 0x89 << 40 | (size_of::<TaskStateSegment>() - 1) as u64;

/// The descriptors, in the places that the selectors name; that of the TSS takes two.
pub const GDT: [u64; 8] = {
    let mut gdt = [0; 8];
    gdt[index(CODE_64)] = DescriptorFlags::KERNEL_CODE64.bits();
    gdt[index(CODE_32)] = DescriptorFlags::KERNEL_CODE32.bits();
    gdt[index(DATA)] = DescriptorFlags::KERNEL_DATA.bits();
    gdt[index(CODE_16)] = SEGMENT_16 | DescriptorFlags::EXECUTABLE.bits();
    gdt[index(DATA_16)] = SEGMENT_16;
    gdt[index(TSS)] = TSS_DESCRIPTOR;
    gdt
};
const _: () = assert!(index(TSS) + 1 < GDT.len());

/// The place of a selector's descriptor.
const fn index(selector: u16) -> usize {
    assert!(selector != 0 && selector.is_multiple_of(8));
    selector as usize / size_of::<u64>()
}

/// The operand of LGDT and LIDT: limit, base. Modes other than the 64-bit one read four bytes of the
/// base, which is all of an address in stage2.
#[derive(Clone, Copy)]
#[repr(C, packed)]
pub struct DescriptorPointer {
    limit: u16,
    base: *const (),
}

impl DescriptorPointer {
    /// For a whole table.
    pub const fn new<T>(table: *const T) -> Self {
        Self {
            limit: (size_of::<T>() - 1) as u16,
            base: table.cast(),
        }
    }

    /// An empty table.
    pub const fn none() -> Self {
        Self {
            limit: 0,
            base: core::ptr::null(),
        }
    }
}

/// The model-specific register EFER.
pub const IA32_EFER: u32 = 0xC000_0080;

/// CR0 in long mode: what is set …
pub const CR0_SET: u32 = (Cr0Flags::PROTECTED_MODE_ENABLE.bits()
    | Cr0Flags::MONITOR_COPROCESSOR.bits()
    | Cr0Flags::EXTENSION_TYPE.bits()
    | Cr0Flags::NUMERIC_ERROR.bits()
    | Cr0Flags::WRITE_PROTECT.bits()
    | Cr0Flags::PAGING.bits()) as u32;
/// … and what is cleared: no FPU emulation, caches on (Bochs' BIOS leaves them off).
pub const CR0_CLEAR: u32 = (Cr0Flags::EMULATE_COPROCESSOR.bits()
    | Cr0Flags::TASK_SWITCHED.bits()
    | Cr0Flags::ALIGNMENT_MASK.bits()) as u32
    | CACHES_OFF;
/// CR0: no caches.
pub const CACHES_OFF: u32 =
    (Cr0Flags::NOT_WRITE_THROUGH.bits() | Cr0Flags::CACHE_DISABLE.bits()) as u32;
/// CR4 in long mode: the host's `core` uses SSE2.
pub const CR4: u32 = (Cr4Flags::PHYSICAL_ADDRESS_EXTENSION.bits()
    | Cr4Flags::OSFXSR.bits()
    | Cr4Flags::OSXMMEXCPT_ENABLE.bits()) as u32;
