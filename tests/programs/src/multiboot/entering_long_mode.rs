//! **The smallest Multiboot 2 kernel that reaches 64-bit code**, as many first kernels do it:
//! 32-bit code checks that a Multiboot 2 loader has started it (`ERR: 0`), that the CPU has CPUID
//! (`ERR: 1`) and long mode (`ERR: 2`), maps the first GiB to itself by pages of 2 MiB, goes to
//! long mode, and writes a green `OKAY` into the upper left corner of the screen.
#![no_std]
#![no_main]
// All of it is assembly.
#![allow(unsafe_code)]

use core::arch::naked_asm;

const MAGIC: u32 = 0xE852_50D6;
const LENGTH: u32 = 24;

/// The header, with only an end tag.
#[used]
#[unsafe(link_section = ".multiboot2")]
static HEADER: Header = Header([MAGIC, 0, LENGTH, 0_u32.wrapping_sub(MAGIC + LENGTH), 0, 8]);

#[repr(C, align(8))]
struct Header([u32; 6]);

#[repr(C, align(4096))]
struct Table([u64; 512]);

static mut P4: Table = Table([0; 512]);
static mut P3: Table = Table([0; 512]);
static mut P2: Table = Table([0; 512]);

#[repr(C, align(16))]
struct Stack([u8; 4096]);

static mut STACK: Stack = Stack([0; 4096]);

/// Null, and 64-bit code: executable, code or data, present, long.
static GDT: [u64; 2] = [0, 1 << 43 | 1 << 44 | 1 << 47 | 1 << 53];

#[repr(C, packed)]
struct Pointer(u16, &'static [u64; 2]);

static GDT_POINTER: Pointer = Pointer(15, &GDT);

#[unsafe(naked)]
#[unsafe(no_mangle)]
extern "C" fn start() -> ! {
    naked_asm!(
        ".code32",
        "mov esp, offset {stack} + 4096",
        "cmp eax, 0x36d76289",
        "mov al, '0'",
        "jne .Lerror",

        // EFLAGS.ID can be changed if the CPU has CPUID.
        "pushfd",
        "pop eax",
        "mov ecx, eax",
        "xor eax, 1 << 21",
        "push eax",
        "popfd",
        "pushfd",
        "pop eax",
        "push ecx",
        "popfd",
        "cmp eax, ecx",
        "mov al, '1'",
        "je .Lerror",

        "mov eax, 0x80000000",
        "cpuid",
        "cmp eax, 0x80000001",
        "mov al, '2'",
        "jb .Lerror",
        "mov eax, 0x80000001",
        "cpuid",
        "test edx, 1 << 29",
        "mov al, '2'",
        "jz .Lerror",

        "mov eax, offset {p3}",
        "or eax, 3",
        "mov [{p4}], eax",
        "mov eax, offset {p2}",
        "or eax, 3",
        "mov [{p3}], eax",
        "xor ecx, ecx",
        ".Lmap:",
        "mov eax, 0x200000",
        "mul ecx",
        "or eax, 0x83",
        "mov [{p2} + ecx * 8], eax",
        "inc ecx",
        "cmp ecx, 512",
        "jne .Lmap",

        "mov eax, offset {p4}",
        "mov cr3, eax",
        "mov eax, cr4",
        "or eax, 1 << 5",
        "mov cr4, eax",
        "mov ecx, 0xC0000080",
        "rdmsr",
        "or eax, 1 << 8",
        "wrmsr",
        "mov eax, cr0",
        "or eax, 1 << 31 | 1 << 16",
        "mov cr0, eax",
        "lgdt [{gdt_pointer}]",
        "ljmp 8, offset .Llong",

        ".Lerror:",
        "mov dword ptr [0xB8000], 0x4f524f45",
        "mov dword ptr [0xB8004], 0x4f3a4f52",
        "mov dword ptr [0xB8008], 0x4f204f20",
        "mov byte ptr [0xB800A], al",
        ".Lstop:",
        "hlt",
        "jmp .Lstop",

        ".code64",
        ".Llong:",
        "xor eax, eax",
        "mov ss, eax",
        "mov ds, eax",
        "mov es, eax",
        "mov fs, eax",
        "mov gs, eax",
        "mov rax, 0x2f592f412f4b2f4f",
        "mov qword ptr [0xB8000], rax",
        "2:",
        "hlt",
        "jmp 2b",
        stack = sym STACK,
        p4 = sym P4,
        p3 = sym P3,
        p2 = sym P2,
        gdt_pointer = sym GDT_POINTER,
    )
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}
