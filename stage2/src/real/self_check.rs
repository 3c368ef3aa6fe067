//! Step 1, its end: stage2 checks that it arrived whole, before any part of it is trusted.
//!
//! **On entry**: real mode, CS = DS = SS = 0. **This step**: CRC-32C over the image, compared with
//! the header's; the length is checked before it is believed. **On exit**: the same mode; EAX to
//! EDI and EBP clobbered.
#![allow(unsafe_code)]

use core::mem::offset_of;

use asm_lines::naked_asm;
use boot_path::files::checksum::CRC_32C;
use boot_path::memory::layout;
use disk_layout::stage2::{CRC_START, LOAD_ADDRESS, MAX_LENGTH, SUMMED, Stage2Header};

use crate::machine::header::HEADER;
use crate::machine::real_mode::report::{fail, messages};
use crate::real::cpu::has_cpuid;

/// Where the table for one byte per step is built: 1 KiB of the memory that step 4 fills with page
/// tables. Building it takes ten thousand instructions; in the image it would take two sectors.
const TABLE: u64 = layout::EARLY_TABLES.start;

// `.Lfrom_length` is there.
const _: () = assert!(CRC_START == 12);
// The table is within reach of CS = 0.
const _: () =
    assert!(TABLE + 1024 <= layout::EARLY_TABLES.end && layout::EARLY_TABLES.end <= 0x1_0000);
// Only 16-bit code runs before the image is known to be whole, and stage1 has summed up all of
// that: the linker script keeps all of it below 64 KiB.
const _: () = assert!(LOAD_ADDRESS as usize + SUMMED >= 0x1_0000);

/// CPUID leaf 1, ECX bit 20: SSE4.2, which has the instruction CRC32 (SDM vol. 2A), in real mode as
/// well.
const CPUID_SSE4_2: u32 = 1 << 20;

messages! { STAGE2_CORRUPT }

/// Returns only when the image is what `disk-builder` wrote.
///
/// Uses the CPU's instruction if there is one, else a table for one byte per step.
#[unsafe(naked)]
#[unsafe(link_section = ".real_mode.text")]
pub extern "C" fn check() {
    naked_asm!(
        ".code16",
        "mov edi, [{header} + {length}]",
        "lea eax, [edi - 512]",
        "cmp eax, {max_length} - 512",
        "ja .Lcorrupt",
        "test di, 511",
        "jnz .Lcorrupt",

        "xor ebp, ebp",                 // does the CPU have the instruction?
        "call {has_cpuid}",
        "jz .Ltable",
        "mov eax, 1",
        "cpuid",
        "and ecx, {sse4_2}",
        "mov ebp, ecx",
        "jnz .Lchecked_cpu",

        // The table: entry i is the remainder of byte i.
        ".Ltable:",
        "mov si, {table}",
        "xor ebx, ebx",
        ".Lentry:",
        "mov eax, ebx",
        "mov cx, 8",
        ".Lbit:",
        "shr eax, 1",
        "jnc .Lno_carry",
        "xor eax, {polynomial}",
        ".Lno_carry:",
        "loop .Lbit",
        "mov [si], eax",
        "add si, 4",
        "inc bl",
        "jnz .Lentry",
        ".Lchecked_cpu:",

        // A sector at a time, with DS at its start: SI alone may not reach the end of the image.
        "mov edx, 0xFFFFFFFF",
        "mov ax, {load_address} >> 4",
        "mov ds, ax",
        "shr edi, 9",                   // sectors
        "mov si, {crc_start}",
        "test ebp, ebp",
        "jz .Lfour_bytes",
        "xor si, si",
        "jmp .Lfrom_length",
        ".Lsector:",
        "mov ds, ax",
        "test ebp, ebp",
        "jz .Lfour_bytes",
        // Bytes, because in 16-bit code QEMU treats CRC32 of a doubleword as that of a word.
        ".Lsixteen_bytes:",
        ".irp offset, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11",
        "crc32 edx, byte ptr [si + \\offset]",
        ".endr",
        ".Lfrom_length:",
        ".irp offset, 12, 13, 14, 15",
        "crc32 edx, byte ptr [si + \\offset]",
        ".endr",
        "add si, 16",
        "cmp si, 512",
        "jb .Lsixteen_bytes",
        "jmp .Lnext_sector",
        ".Lfour_bytes:",
        "lodsd",
        "xor eax, edx",
        ".rept 4",
        "movzx ebx, al",
        "shr eax, 8",
        "xor eax, cs:[ebx * 4 + {table}]",
        ".endr",
        "mov edx, eax",
        "cmp si, 512",
        "jb .Lfour_bytes",
        ".Lnext_sector:",
        "xor si, si",
        "mov ax, ds",
        "add ax, 512 >> 4",
        "dec di",
        "jnz .Lsector",
        "xor ax, ax",
        "mov ds, ax",
        "not edx",
        "cmp edx, [{header} + {crc32c}]",
        "jne .Lcorrupt",
        "ret",

        ".Lcorrupt:",
        "mov si, offset {corrupt}",
        "jmp {fail}",
        ".code64",
        header = sym HEADER,
        length = const offset_of!(Stage2Header, length),
        crc32c = const offset_of!(Stage2Header, crc32c),
        has_cpuid = sym has_cpuid,
        sse4_2 = const CPUID_SSE4_2,
        max_length = const MAX_LENGTH,
        crc_start = const CRC_START,
        load_address = const LOAD_ADDRESS,
        polynomial = const CRC_32C,
        table = const TABLE,
        corrupt = sym STAGE2_CORRUPT,
        fail = sym fail,
    )
}
