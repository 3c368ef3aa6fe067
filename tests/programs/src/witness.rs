//! **A kernel that tells exactly what it got**: the machine tests boot it from disks with a wrong bit.
//!
//! On COM1, as the loader has set it up, it writes one line each for its own place, each of its
//! segments, the command line and each module, with a checksum of every byte; then `WITNESS`. It
//! leaves QEMU through isa-debug-exit. What may differ from boot to boot without anything being
//! wrong (times, the number of reads, the random seed) is left out.
#![no_std]
#![no_main]
// Ports have to be written, and segments are known by their addresses alone.
#![allow(unsafe_code)]

use core::arch::asm;
use core::hint::spin_loop;

use handoff::{BootInfo, KernelSegment};

const COM1: u16 = 0x3F8;
/// QEMU's isa-debug-exit, and what says that all is well: `EXIT_OKAY` of `disk-builder`.
const EXIT_PORT: u16 = 0xF4;
const EXIT_OKAY: u8 = 0x10;

handoff::entry_point!(main);

fn main(boot: &'static BootInfo) -> ! {
    let kernel = &boot.kernel;
    say("kernel", &[kernel.virtual_base, kernel.size, kernel.entry]);
    say("stack", &[kernel.stack_size]);
    say("map", &[boot.physical_map_base, boot.physical_map_size]);
    say(
        "disk",
        &[
            boot.boot_disk.partition.into(),
            boot.boot_disk.partition_lba,
        ],
    );
    for segment in kernel.segments() {
        let KernelSegment {
            virtual_start,
            length,
            flags,
            ..
        } = *segment;
        // SAFETY: the loader says that the segment is there, and nothing writes to any.
        let bytes =
            unsafe { core::slice::from_raw_parts(virtual_start as *const u8, length as usize) };
        say(
            "segment",
            &[virtual_start, length, flags.into(), checksum(bytes)],
        );
    }
    text(boot.command_line());
    for module in boot.modules() {
        let bytes = module.bytes();
        say("module", &[bytes.len() as u64, checksum(bytes)]);
        text(module.path.as_str());
        text(module.string.as_str());
    }
    put("WITNESS\r\n");
    // SAFETY: the port of QEMU's test device, which touches no memory.
    unsafe { asm!("out dx, al", in("dx") EXIT_PORT, in("al") EXIT_OKAY, options(nomem, nostack)) }
    loop {
        spin_loop();
    }
}

/// Changes with every bit and with the order of the bytes.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(1, |sum: u64, &byte| {
        (sum.rotate_left(5) ^ u64::from(byte)).wrapping_mul(0x2545_F491_4F6C_DD1D)
    })
}

/// A line: a word, and numbers in hexadecimal.
fn say(word: &str, numbers: &[u64]) {
    put(word);
    for number in numbers {
        put(" ");
        for digit in (0..16).rev() {
            let digit = (number >> (4 * digit) & 15) as u8;
            byte(if digit < 10 {
                b'0' + digit
            } else {
                b'A' - 10 + digit
            });
        }
    }
    put("\r\n");
}

/// A line of text.
fn text(text: &str) {
    put("text ");
    put(text);
    put("\r\n");
}

fn put(text: &str) {
    text.bytes().for_each(byte);
}

/// Writes a byte to COM1 when it takes one.
fn byte(byte: u8) {
    const LINE_STATUS: u16 = COM1 + 5;
    const TRANSMITTER_EMPTY: u8 = 0x20;
    loop {
        let status: u8;
        // SAFETY: ports of a serial line, which touch no memory.
        unsafe {
            asm!("in al, dx", in("dx") LINE_STATUS, out("al") status, options(nomem, nostack))
        }
        if status & TRANSMITTER_EMPTY != 0 {
            break;
        }
    }
    // SAFETY: as above.
    unsafe { asm!("out dx, al", in("dx") COM1, in("al") byte, options(nomem, nostack)) }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    put("PANIC\r\n");
    loop {
        spin_loop();
    }
}
