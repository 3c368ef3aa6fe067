//! **A kernel that reports the time**: `./run.sh bench` appends a payload to it and boots it.
//!
//! Its first instruction reads the time-stamp counter. On port 0xE9 it then writes numbers in
//! hexadecimal, each with leading zeros and a line feed: the ticks since stage1's first
//! instruction, the INT 13h reads that stage2 counted, the [`tell::checksum`] of its highest
//! segment, which is the payload, and for each of the loader's steps the ticks until it began. It
//! leaves QEMU through isa-debug-exit.
//!
//! As a Limine kernel, for which the benchmark adds [`Requests`], it reports only the ticks since
//! the moment that `stopwatch.rs` noted, and the payload's checksum.
#![no_std]
#![no_main]
// The time has to be taken before anything else happens, ports have to be written, and the payload
// is accessed by its address.
#![allow(unsafe_code)]

use core::arch::naked_asm;

use handoff::BootInfo;

mod started;
mod tell;

/// What the benchmark adds, at [`REQUESTS`], for the Limine protocol.
#[repr(C)]
struct Requests {
    /// A start marker, the tag of base revision 0, and a request for the offset of the higher half
    /// direct map, but for its last word.
    words: [u64; 12],
    /// The response: its revision, and the offset.
    offset: &'static [u64; 2],
    /// A request for modules, or zeros.
    modules: [u64; 6],
    end_marker: [u64; 2],
    /// The address of the payload, and the number of its bytes.
    payload: (u64, u64),
}

/// Where they are.
const REQUESTS: *const Requests = 0xFFFF_FFFF_8010_0000 as *const Requests;

/// In: RDI = the `BootInfo`, or 0 by the Limine protocol, and the stack as a function expects it.
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

extern "C" fn main(info: Option<&BootInfo>, now: u64) -> ! {
    let Some(info) = info else { by_limine(now) };
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

fn by_limine(now: u64) -> ! {
    // SAFETY: the benchmark has put them there, and the loader has written the response.
    let requests = unsafe { &*REQUESTS };
    let started = (requests.offset[1] + started::STARTED) as *const u64;
    // SAFETY: by base revision 0, the first 4 GiB are mapped there.
    tell::number(now.wrapping_sub(unsafe { started.read() }));
    let (address, length) = requests.payload;
    // SAFETY: the benchmark says that the payload is there; nobody writes to it.
    let words =
        unsafe { core::slice::from_raw_parts(address as *const u64, (length / 8) as usize) };
    tell::number(tell::checksum(words));
    tell::end()
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}
