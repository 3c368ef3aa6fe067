//! The way in by Multiboot: another loader starts `bootpath.elf` as if it were a kernel. The file
//! contains stage2, and the modules hold what is to be booted.
//!
//! **On entry** (from a Multiboot 1 or 2 loader): 32-bit protected mode, flat segments, A20 on,
//! interrupts off; EAX: which of the two; EBX: its information, anywhere in memory. The rest is as
//! the BIOS left it, vectors and interrupt controllers included.
//!
//! **This step**: keeps a copy of low memory, moves stage2 to 8000h, and goes back to real mode.
//!
//! **On exit** (to stage2, at 802Ah): real mode, CS = DS = ES = SS = 0, DF = 0, IF = 1. On the
//! stack, which begins at 7C00h: EAX and EBX, as [`disk_layout::multiboot::frame`] says.
#![no_std]
#![no_main]
// The whole program is assembly in naked functions.
#![allow(unsafe_code)]

use core::mem::offset_of;

use asm_lines::naked_asm;
use disk_layout::multiboot::{self, Parameters, frame};
use disk_layout::{mbr, stage2};
use zerocopy::little_endian::U32;

/// Multiboot 1: magic, flags (modules on page boundaries, memory information), checksum.
const HEADER_1: [u32; 3] = {
    let (magic, flags) = (0x1BAD_B002_u32, 0b11_u32);
    [magic, flags, 0_u32.wrapping_sub(magic.wrapping_add(flags))]
};

/// Multiboot 2: magic, architecture (i386), length, checksum; the tag "modules on page boundaries",
/// optional; the tag that ends the list.
const HEADER_2: [u32; 8] = {
    let (magic, length) = (0xE852_50D6_u32, 32_u32);
    let checksum = 0_u32.wrapping_sub(magic.wrapping_add(length));
    [magic, 0, length, checksum, 6 | 1 << 16, 8, 0, 8]
};

/// Both headers; the second one is aligned to 8.
#[repr(C, align(8))]
struct Headers([u32; 8], [u32; 3]);

#[used]
#[unsafe(link_section = ".headers")]
static HEADERS: Headers = Headers(HEADER_2, HEADER_1);

/// Filled by `disk-builder`; stage2 follows.
#[used]
#[unsafe(no_mangle)]
#[unsafe(link_section = ".parameters")]
static PARAMETERS: Parameters = Parameters {
    stage2_bytes: U32::ZERO,
    reserved: [0; 12],
};

unsafe extern "C" {
    // From the linker script: the run address of the 16-bit code, its place in the file, and its
    // length.
    static trampoline_start: u8;
    static trampoline_in_file: u8;
    static trampoline_bytes: u8;
}

/// From the other loader to stage2.
#[unsafe(naked)]
#[unsafe(no_mangle)]
#[unsafe(link_section = ".text")]
extern "C" fn start() -> ! {
    naked_asm!(
        ".code32",
        "cli",
        "cld",
        "mov edx, eax",                 // which of the two
        // The information and its strings may lie in memory that stage2 needs.
        "xor esi, esi",
        "mov edi, {saved}",
        "mov ecx, {saved_bytes} / 4",
        "rep movsd",
        "mov esi, offset {parameters} + {behind}",
        "mov edi, {destination}",
        "mov ecx, [{parameters} + {stage2_bytes}]",
        "rep movsb",
        "mov esi, offset {trampoline_in_file}",
        "mov edi, offset {trampoline_start}",
        "mov ecx, offset {trampoline_bytes}",
        "rep movsb",
        "mov [{stack} + {magic}], edx",
        "mov [{stack} + {information}], ebx",
        "lgdt [.Lgdt_pointer]",
        "ljmp 8, offset {to_real_mode}",

        // 16-bit code and data, base 0, limit FFFFh.
        ".p2align 3",
        ".Lgdt:",
        ".quad 0, 0x00009A000000FFFF, 0x000092000000FFFF",
        ".Lgdt_pointer:",
        ".word .Lgdt_pointer - .Lgdt - 1",
        ".long .Lgdt",
        ".code64",
        saved = const multiboot::SAVED,
        saved_bytes = const multiboot::SAVED_BYTES,
        parameters = sym PARAMETERS,
        behind = const size_of::<Parameters>(),
        stage2_bytes = const offset_of!(Parameters, stage2_bytes),
        destination = const stage2::LOAD_ADDRESS,
        to_real_mode = sym to_real_mode,
        trampoline_start = sym trampoline_start,
        trampoline_in_file = sym trampoline_in_file,
        trampoline_bytes = sym trampoline_bytes,
        stack = const mbr::LOAD_ADDRESS,
        magic = const frame::MAGIC,
        information = const frame::INFORMATION,
    )
}

/// The way back to real mode, in the free sector behind the place of the MBR.
#[unsafe(naked)]
#[unsafe(link_section = ".trampoline")]
extern "C" fn to_real_mode() -> ! {
    naked_asm!(
        ".code16",
        "mov ax, 16",                   // real mode keeps the limits: 64 KiB
        "mov ds, ax",
        "mov es, ax",
        "mov fs, ax",
        "mov gs, ax",
        "mov ss, ax",
        "mov eax, cr0",
        "and al, 0xFE",                 // PE
        "mov cr0, eax",
        "ljmp 0, offset .Lreal",
        ".Lreal:",
        "xor ax, ax",
        "mov ds, ax",
        "mov es, ax",
        "mov fs, ax",
        "mov gs, ax",
        "mov ss, ax",
        "mov esp, {stack} + {information}",
        "lidt [.Lvectors]",
        "sti",
        "ljmp 0, {entry}",
        ".Lvectors:",
        ".word 0x3FF",
        ".long 0",
        ".code64",
        stack = const mbr::LOAD_ADDRESS,
        information = const frame::INFORMATION,
        entry = const stage2::LOAD_ADDRESS as usize + multiboot::ENTRY_OFFSET,
    )
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
