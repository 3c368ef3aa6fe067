//! **A Multiboot kernel that reports the time**: `./run.sh bench` puts a header of either version
//! into it, appends a payload, and boots it.
//!
//! On port 0xE9 it writes numbers in hexadecimal, each with leading zeros and a line feed: the
//! ticks of the time-stamp counter from the moment that `stopwatch.rs` noted to its first
//! instruction, and the same checksum of the payload as [`tell::checksum`](../tell.rs) computes. It
//! leaves QEMU through isa-debug-exit. It stays in 32-bit code, as Multiboot starts it.
#![no_std]
#![no_main]
// The program is asm from end to end.
#![allow(unsafe_code)]

use core::arch::naked_asm;

mod started;

/// Room for a header of either version, and then the number of the payload's bytes, which is a
/// multiple of eight.
#[used]
#[unsafe(link_section = ".multiboot2")]
static HEADER: Header = Header([0; 24], 0);

#[repr(C, align(8))]
struct Header([u8; 24], u32);

/// Where the payload is (physical).
const PAYLOAD: u32 = 4 << 20;
/// The end of memory that nobody uses while the kernel runs.
const STACK: u32 = 0x7C00;
/// The ports of QEMU's `-debugcon` and of its isa-debug-exit.
const DEBUG_CONSOLE: u16 = 0xE9;
const DEBUG_EXIT: u16 = 0xF4;

#[unsafe(naked)]
#[unsafe(no_mangle)]
extern "C" fn start() -> ! {
    naked_asm!(
        ".code32",
        "rdtsc",
        "mov esp, {stack}",
        "sub eax, [{started}]",
        "sbb edx, [{started} + 4]",
        "call {number}",

        // EDX:EAX is rotated by one bit, then the next eight bytes are combined with it.
        "mov esi, {payload}",
        "mov ecx, [{header} + 24]",
        "shr ecx, 3",
        "xor eax, eax",
        "xor edx, edx",
        "jecxz .Lsummed",
        ".Lword:",
        "mov ebp, edx",
        "shld edx, eax, 1",
        "shld eax, ebp, 1",
        "xor eax, [esi]",
        "xor edx, [esi + 4]",
        "add esi, 8",
        "dec ecx",
        "jnz .Lword",
        ".Lsummed:",
        "call {number}",
        "mov dx, {debug_exit}",
        "out dx, al",
        ".Lstop:",
        "hlt",
        "jmp .Lstop",
        ".code64",
        stack = const STACK,
        started = const started::STARTED,
        number = sym number,
        payload = const PAYLOAD,
        header = sym HEADER,
        debug_exit = const DEBUG_EXIT,
    )
}

/// Writes EDX:EAX in 16 hexadecimal digits, and a line feed. Clobbers EAX, EBX, ECX, EDX, EDI.
#[unsafe(naked)]
extern "C" fn number() {
    naked_asm!(
        ".code32",
        "mov ebx, eax",
        "mov edi, 2",
        ".Lhalf:",
        "mov ecx, 8",
        ".Ldigit:",
        "rol edx, 4",
        "mov al, dl",
        "and al, 15",
        "cmp al, 10",
        "jb .Lbelow_ten",
        "add al, 'A' - '0' - 10",
        ".Lbelow_ten:",
        "add al, '0'",
        "out {debug_console}, al",
        "loop .Ldigit",
        "mov edx, ebx",
        "dec edi",
        "jnz .Lhalf",
        "mov al, 10",
        "out {debug_console}, al",
        "ret",
        ".code64",
        debug_console = const DEBUG_CONSOLE,
    )
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
