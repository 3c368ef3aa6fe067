//! The segments that a Linux kernel finds when it is entered in long mode:
//! Documentation/arch/x86/boot.rst, "64-bit boot protocol".

use x86_64::structures::gdt::DescriptorFlags;

/// Selector of 64-bit code (`__BOOT_CS`).
pub const BOOT_CS: u16 = 0x10;
/// Selector of flat data (`__BOOT_DS`).
pub const BOOT_DS: u16 = 0x18;

/// The descriptors, in the places that the selectors name.
pub static GDT: [u64; 4] = [
    0,
    0,
    DescriptorFlags::KERNEL_CODE64.bits(),
    DescriptorFlags::KERNEL_DATA.bits(),
];
