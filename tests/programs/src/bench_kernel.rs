//! **A kernel that tells the time**: `./run.sh bench` appends a payload to it and boots it.
//!
//! Its first instruction reads the time-stamp counter. On port 0xE9 it then writes numbers in
//! hexadecimal, each with leading zeros and a line feed: the ticks since stage1's first instruction,
//! the INT 13h reads that stage2 counted, the [`checksum`] of its highest segment, which is the
//! payload, and for each of the loader's steps the ticks until it began. It leaves QEMU through
//! isa-debug-exit.
#![no_std]
#![no_main]
// The time has to be taken before anything else happens, ports have to be written, and the payload
// is known by its address alone.
#![allow(unsafe_code)]

use core::arch::{asm, naked_asm};
use core::hint::spin_loop;

use handoff::BootInfo;

/// The ports of QEMU's `-debugcon` and of its isa-debug-exit.
const DEBUG_CONSOLE: u16 = 0xE9;
const DEBUG_EXIT: u16 = 0xF4;

/// In: RDI = the `BootInfo`, and the stack as a function wants it.
#[unsafe(naked)]
#[unsafe(no_mangle)]
#[unsafe(link_section = ".text.start")]
extern "C" fn start() -> ! {
    naked_asm!(
        "rdtsc",
        "shl rdx, 32",
        "lea rsi, [rax + rdx]",
        "jmp {main}",
        main = sym main,
    )
}

extern "C" fn main(info: &BootInfo, now: u64) -> ! {
    print(now.wrapping_sub(info.timeline[1]));
    print(info.boot_disk.reads.into());
    // SAFETY: the loader promises `segment_count` segments there, sorted by address.
    let segments = unsafe {
        core::slice::from_raw_parts(info.kernel.segments, info.kernel.segment_count as usize)
    };
    if let Some(payload) = segments.last() {
        // SAFETY: that is where the loader says that the payload is, and nothing writes to it. It
        // is a multiple of eight bytes long and begins at a page boundary.
        let words = unsafe {
            core::slice::from_raw_parts(
                payload.virtual_start as *const u64,
                (payload.length / 8) as usize,
            )
        };
        print(checksum(words));
    }
    for step in 1..=12 {
        print(info.timeline[step].wrapping_sub(info.timeline[1]));
    }
    out(DEBUG_EXIT, 0);
    loop {
        spin_loop();
    }
}

/// Changes with every bit and with the order of the words.
fn checksum(words: &[u64]) -> u64 {
    words
        .iter()
        .fold(0, |sum: u64, word| sum.rotate_left(1) ^ u64::from_le(*word))
}

/// Writes 16 hexadecimal digits and a line feed.
fn print(number: u64) {
    for digit in (0..16).rev() {
        let digit = (number >> (4 * digit) & 15) as u8;
        out(
            DEBUG_CONSOLE,
            if digit < 10 {
                b'0' + digit
            } else {
                b'A' - 10 + digit
            },
        );
    }
    out(DEBUG_CONSOLE, b'\n');
}

fn out(port: u16, byte: u8) {
    // SAFETY: both are ports of QEMU's test devices, which touch no memory.
    unsafe { asm!("out dx, al", in("dx") port, in("al") byte, options(nomem, nostack)) }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}
