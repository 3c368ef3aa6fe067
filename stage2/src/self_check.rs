//! Step 1, its end: stage2 checks that it arrived whole, before anything of it is trusted.
//!
//! **On entry**: real mode, CS = DS = SS = 0. **This step**: CRC-32 over the image, compared with
//! the header's; the length is checked before it is believed. **On exit**: the same mode; EAX to
//! EDI clobbered.
#![allow(unsafe_code)]

use core::arch::naked_asm;
use core::mem::offset_of;

use disk_layout::stage2::{CRC_START, LOAD_ADDRESS, MAX_LENGTH, Stage2Header};
use stage2::{catalogue, layout};

use crate::HEADER;
use crate::real_mode::{fail, message, message_length};

/// CRC-32/ISO-HDLC: the polynomial 04C11DB7h, reflected.
const POLYNOMIAL: u32 = 0xEDB8_8320;

/// Where the table for one byte a step is built: 1 KiB of the memory that step 4 fills with page
/// tables. Making it takes ten thousand instructions; in the image it would take two sectors.
const TABLE: u64 = layout::EARLY_TABLES.start;

#[unsafe(link_section = ".real_mode.rodata")]
static CORRUPT: [u8; message_length(&catalogue::STAGE2_CORRUPT)] =
    message(&catalogue::STAGE2_CORRUPT);

/// Returns only when the image is what `disk-builder` wrote.
#[unsafe(naked)]
#[unsafe(link_section = ".real_mode.text")]
pub extern "C" fn check() {
    naked_asm!(
        ".code16",
        // The table: entry i is the remainder of byte i.
        "mov di, {table}",
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
        "mov [di], eax",
        "add di, 4",
        "inc bl",
        "jnz .Lentry",

        "mov edi, [{header} + {length}]",
        "lea eax, [edi - 512]",
        "cmp eax, {max_length} - 512",
        "ja .Lcorrupt",
        "test di, 511",
        "jnz .Lcorrupt",
        "mov edx, 0xFFFFFFFF",
        "mov si, {crc_start}",
        "mov ax, {load_address} >> 4",
        "shr edi, 9",                   // sectors
        // A sector at a time, with DS at its start: the image may be longer than what SI reaches.
        ".Lsector:",
        "mov ds, ax",
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
        "xor si, si",
        "mov ax, ds",
        "add ax, 512 >> 4",
        "dec di",
        "jnz .Lsector",
        "xor ax, ax",
        "mov ds, ax",
        "not edx",
        "cmp edx, [{header} + {crc32}]",
        "jne .Lcorrupt",
        "ret",

        ".Lcorrupt:",
        "mov si, offset {corrupt}",
        "jmp {fail}",
        ".code64",
        header = sym HEADER,
        length = const offset_of!(Stage2Header, length),
        crc32 = const offset_of!(Stage2Header, crc32),
        max_length = const MAX_LENGTH,
        crc_start = const CRC_START,
        load_address = const LOAD_ADDRESS,
        polynomial = const POLYNOMIAL,
        table = const TABLE,
        corrupt = sym CORRUPT,
        fail = sym fail,
    )
}
