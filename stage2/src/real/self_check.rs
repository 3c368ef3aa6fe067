//! stage2 checks that it arrived whole, before any part of it is trusted.
//!
//! stage1 has summed up the first [`SUMMED`] bytes, which contain all code that runs up to here. The
//! last thing that step 4 does is to [check] the rest, because 64-bit registers make
//! that quick. On the way in by Multiboot, nobody has summed up anything: [`check_front`] does.
#![allow(unsafe_code)]

use core::mem::offset_of;

use asm_lines::{lines, naked_asm};
use boot_path::files::sum::START;
use boot_path::with_rotations;
use disk_layout::stage2::{
    CHECK_ROUND, CHECK_START, LOAD_ADDRESS, MAX_LENGTH, SUM, SUMMED, Stage2Header,
};

use crate::machine::bios;
use crate::machine::header::HEADER;
use crate::machine::real_mode::report::{fail, messages};

messages! { STAGE2_CORRUPT }

/// Returns only if stage1's sum is right. Real mode, CS = DS = SS = 0; clobbers EBX, DI.
#[unsafe(naked)]
#[unsafe(link_section = ".real_mode.text")]
pub extern "C" fn check_front() {
    naked_asm!(
        ".code16",
        "mov di, {start} + {summed} - 4",
        "xor ebx, ebx",
        "2:",
        "rol ebx, 1",
        "add ebx, [di]",
        "sub di, 4",
        "js 2b",                        // from 8000h on
        "cmp ebx, {sum}",
        "jne {corrupt}",
        "ret",
        ".code64",
        start = const LOAD_ADDRESS,
        summed = const SUMMED,
        sum = const SUM,
        corrupt = sym report,
    )
}
const _: () = assert!(LOAD_ADDRESS == 0x8000 && SUMMED <= 0x8000);

/// Reports that stage2 is damaged. Real mode, CS = DS = 0.
#[unsafe(naked)]
#[unsafe(link_section = ".real_mode.text")]
extern "C" fn report() -> ! {
    naked_asm!(
        ".code16",
        "mov si, offset {corrupt}",
        "jmp {fail}",
        ".code64",
        corrupt = sym STAGE2_CORRUPT,
        fail = sym fail,
    )
}

/// Adds the words of a round, as [`boot_path::files::sum`] does: of two words, the first to RAX, the
/// second to RDX.
macro_rules! add {
    ($($word:literal: $by_a:literal, $by_b:literal;)*) => {
        lines!($(
            concat!("add rax, [rsi + 8 * ", $word, "]"),
            "add rdx, rax",
            concat!("rol rax, ", $by_a),
            concat!("add rdx, [rsi + 8 * ", $word, " + 8]"),
            "add rax, rdx",
            concat!("rol rdx, ", $by_b),
        )*)
    };
}

/// Returns only if the image is what `disk-builder` wrote, from [`CHECK_START`] on. In long mode,
/// before any Rust runs; clobbers RAX, RCX, RDX, RSI.
#[unsafe(naked)]
#[unsafe(link_section = ".real_mode.text")]
pub extern "C" fn check() {
    naked_asm!(
        "mov ecx, [{header} + {length}]",
        "lea eax, [ecx - {summed}]",
        "cmp eax, {max_length} - {summed}",
        "ja 3f",
        "test ecx, 511",
        "jnz 3f",
        "lea ecx, [ecx + {load_address}]", // the end
        "mov esi, {load_address} + {check_start}",
        "mov rax, {start_a}",
        "mov rdx, {start_b}",
        "2:",
        with_rotations!(add),
        "sub rsi, -{round}",            // a byte that has a sign
        "cmp esi, ecx",
        "jb 2b",
        "cmp rax, [{header} + {check}]",
        "jne 3f",
        "cmp rdx, [{header} + {check} + 8]",
        "jne 3f",
        "ret",
        // The report is 16-bit code: through the gate to it, as if it were a handler of the BIOS.
        "3:",
        "mov edi, offset {report}",
        "jmp {to_real_mode}",
        header = sym HEADER,
        length = const offset_of!(Stage2Header, length),
        check = const offset_of!(Stage2Header, check),
        summed = const SUMMED,
        max_length = const MAX_LENGTH,
        load_address = const LOAD_ADDRESS,
        check_start = const CHECK_START,
        start_a = const START[0],
        start_b = const START[1],
        round = const CHECK_ROUND,
        report = sym report,
        to_real_mode = sym bios::call_address,
    )
}
