//! The jump to the 64-bit entry of a Linux kernel: Documentation/arch/x86/boot.rst, "64-bit boot
//! protocol".
#![allow(unsafe_code)]

use asm_lines::naked_asm;
use x86_64::structures::gdt::DescriptorFlags;

use crate::real::long_mode::DescriptorPointer;
use crate::ways_out::leave;

/// What the kernel finds as its selectors 10h and 18h when it is entered in long mode.
static GDT: [u64; 4] = [
    0,
    0,
    DescriptorFlags::KERNEL_CODE64.bits(),
    DescriptorFlags::KERNEL_DATA.bits(),
];
/// The first of them: 64-bit code.
const BOOT_CS: u16 = 0x10;
/// The second one: flat data.
const BOOT_DS: u16 = 0x18;

/// Starts the kernel.
pub fn start(entry: u64, parameters: u64) -> ! {
    leave::prepare();
    let table = DescriptorPointer::new(&raw const GDT);
    let none = DescriptorPointer::none();
    // SAFETY: the kernel was loaded there; the early tables map it and its parameters.
    unsafe { enter_64(entry, parameters, &table, &none) }
}

/// Long mode stays; the kernel gets a GDT with the selectors that it is used to, and no IDT: the
/// loader's handlers would not be found there.
///
/// In: RDI = entry, RSI = parameters, RDX, RCX = operands of LGDT and LIDT.
#[unsafe(naked)]
unsafe extern "sysv64" fn enter_64(
    entry: u64,
    parameters: u64,
    gdt: &DescriptorPointer,
    idt: &DescriptorPointer,
) -> ! {
    naked_asm!(
        "cli",
        "cld",
        "lgdt [rdx]",
        "lidt [rcx]",
        "mov eax, {data}",
        "mov ds, eax",
        "mov es, eax",
        "mov ss, eax",
        "mov fs, eax",
        "mov gs, eax",
        "xor eax, eax",
        "xor ebx, ebx",
        "xor ecx, ecx",
        "xor edx, edx",
        "xor ebp, ebp",
        "xor r8d, r8d",
        "xor r9d, r9d",
        "xor r10d, r10d",
        "xor r11d, r11d",
        "xor r12d, r12d",
        "xor r13d, r13d",
        "xor r14d, r14d",
        "xor r15d, r15d",
        "push {code}",
        "push rdi",
        "xor edi, edi",
        "retfq",
        data = const BOOT_DS,
        code = const BOOT_CS,
    )
}
