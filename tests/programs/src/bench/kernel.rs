//! **A kernel that reports the time**: `./run.sh bench` appends a payload to it and boots it.
//!
//! Its first instruction reads the time-stamp counter. On port 0xE9 it then writes numbers in
//! hexadecimal, each with leading zeros and a line feed: the ticks since stage1's first
//! instruction, the INT 13h reads that stage2 counted, the [`tell::checksum`] of its highest
//! segment, which is the payload, and for each of the loader's steps the ticks until it began. It
//! leaves QEMU through isa-debug-exit.
#![no_std]
#![no_main]
// The time has to be taken before anything else happens, ports have to be written, and the payload
// is accessed by its address.
#![allow(unsafe_code)]

use core::arch::naked_asm;

use handoff::BootInfo;

mod tell;

/// In: RDI = the `BootInfo`, and the stack as a function expects it.
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
    tell::number(now.wrapping_sub(info.timeline[1]));
    tell::number(info.boot_disk.reads.into());
    // SAFETY: the loader promises `segment_count` segments there, sorted by address.
    let segments = unsafe {
        core::slice::from_raw_parts(info.kernel.segments, info.kernel.segment_count as usize)
    };
    if let Some(payload) = segments.last() {
        // SAFETY: the loader says that the payload is there, and nobody writes to it. It is a
        // multiple of eight bytes long and begins at a page boundary.
        let words = unsafe {
            core::slice::from_raw_parts(
                payload.virtual_start as *const u64,
                (payload.length / 8) as usize,
            )
        };
        tell::number(tell::checksum(words));
    }
    for step in 1..=12 {
        tell::number(info.timeline[step].wrapping_sub(info.timeline[1]));
    }
    tell::end()
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}
