//! The state of a processor that the protocol promises: descriptor tables and control registers.

use x86_64::registers::control::{Cr0Flags, Cr4Flags, EferFlags};
use x86_64::structures::gdt::DescriptorFlags;

use crate::devices::descriptors::SEGMENT_16;

/// Selector of 64-bit code.
pub const CODE: u16 = 0x28;
/// Selector of 64-bit data.
pub const DATA: u16 = 0x30;
/// Selector of the empty task state segment.
pub const TSS: u16 = 0x38;

/// The descriptors in the protocol's order, followed by an available 64-bit task state segment with
/// base 0 and limit 0.
pub const GDT: [u64; 9] = [
    0,
    SEGMENT_16 | DescriptorFlags::EXECUTABLE.bits(),
    SEGMENT_16,
    DescriptorFlags::KERNEL_CODE32.bits(),
    DescriptorFlags::KERNEL_DATA.bits(),
    DescriptorFlags::KERNEL_CODE64.bits(),
    DescriptorFlags::KERNEL_DATA.bits(),
    0x89 << 40,
    0,
];

/// CR0.
pub const CR0: u32 = (Cr0Flags::PROTECTED_MODE_ENABLE.bits()
    | Cr0Flags::EXTENSION_TYPE.bits()
    | Cr0Flags::WRITE_PROTECT.bits()
    | Cr0Flags::PAGING.bits()) as u32;

/// CR4, with four or five levels of page tables.
pub fn cr4(five_levels: bool) -> u32 {
    let mut cr4 = Cr4Flags::PHYSICAL_ADDRESS_EXTENSION;
    cr4.set(Cr4Flags::L5_PAGING, five_levels);
    cr4.bits() as u32
}

/// EFER, of a CPU with these features (`handoff::CPU_…`).
pub fn efer(cpu_features: u64) -> u32 {
    let mut efer = EferFlags::LONG_MODE_ENABLE | EferFlags::LONG_MODE_ACTIVE;
    let has_nx = cpu_features & handoff::CPU_NX != 0;
    efer.set(EferFlags::NO_EXECUTE_ENABLE, has_nx);
    efer.bits() as u32
}
