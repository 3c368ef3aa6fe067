//! A program that starts in protected mode in place of the kernel, copies parts of the kernel to
//! where the loader was, and goes on to the kernel. It lies outside of everything that it
//! overwrites, with a GDT of its own. No other table is in use by then: paging is off, and LIDT has
//! the BIOS's interrupt vectors, below all copies.
#![allow(unsafe_code)]

use core::mem::offset_of;

use asm_lines::naked_asm;
use boot_path::devices::descriptors::{CODE_32, DATA, GDT};
use boot_path::ways_out::handover::{LastCopies, LastCopy};

/// The program's bytes.
pub fn instructions() -> &'static [u8; LastCopies::INSTRUCTIONS] {
    let program = (program as *const ()).cast();
    // SAFETY: the function has exactly this length, and nobody writes to it.
    unsafe { &*program }
}

/// In: EBP = the address of its first byte; EAX, EBX and ESP for the kernel. At the end of the list,
/// where the destination is 0, the source is the kernel's entry point.
#[unsafe(naked)]
unsafe extern "C" fn program() -> ! {
    naked_asm!(
        ".word 0, {gdt_size} - 1, 0, 0", // padding; limit and base of the GDT
        ".quad 0, 0, {code_32}, {data}",
        ".code32",
        "lea edx, [ebp + {gdt}]",
        "mov [ebp + {gdt_pointer} + 2], edx",
        "lgdt [ebp + {gdt_pointer}]",   // the same selectors
        "mov edx, eax",
        "cld",
        "2:",
        "mov esi, [ebp + {list} + {from}]",
        "mov edi, [ebp + {list} + {to}]",
        "test edi, edi",
        "jz 3f",
        "mov ecx, [ebp + {list} + {bytes}]",
        "rep movsb",
        "mov ecx, [ebp + {list} + {zeroes}]",
        "xor eax, eax",
        "rep stosb",
        "add ebp, {size}",
        "jmp 2b",
        "3:",
        "mov eax, edx",
        "jmp esi",
        ".skip {list} - (. - {program})", // adds nothing to a program that is too long, but fails
        ".code64",
        program = sym program,
        gdt_size = const LastCopies::GDT_SIZE,
        gdt = const LastCopies::GDT,
        gdt_pointer = const LastCopies::GDT_POINTER,
        list = const LastCopies::INSTRUCTIONS,
        from = const offset_of!(LastCopy, from),
        to = const offset_of!(LastCopy, to),
        bytes = const offset_of!(LastCopy, bytes),
        zeroes = const offset_of!(LastCopy, zeroes),
        size = const size_of::<LastCopy>(),
        code_32 = const GDT[CODE_32 as usize / 8],
        data = const GDT[DATA as usize / 8],
    )
}
