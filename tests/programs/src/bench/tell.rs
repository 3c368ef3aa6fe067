//! The output of the benchmark's kernels, on the port of QEMU's `-debugcon`.

use core::arch::asm;
use core::hint::spin_loop;

/// The ports of QEMU's `-debugcon` and of its isa-debug-exit.
const DEBUG_CONSOLE: u16 = 0xE9;
const DEBUG_EXIT: u16 = 0xF4;

/// A sum that changes with every bit and with the order of the words.
pub fn checksum(words: &[u64]) -> u64 {
    words
        .iter()
        .fold(0, |sum: u64, word| sum.rotate_left(1) ^ u64::from_le(*word))
}

/// Writes 16 hexadecimal digits and a line feed.
pub fn number(number: u64) {
    for digit in (0..16).rev() {
        let digit = (number >> (4 * digit) & 15) as u8;
        byte(if digit < 10 {
            b'0' + digit
        } else {
            b'A' - 10 + digit
        });
    }
    byte(b'\n');
}

/// Writes a byte.
pub fn byte(byte: u8) {
    out(DEBUG_CONSOLE, byte);
}

/// Leaves QEMU.
pub fn end() -> ! {
    out(DEBUG_EXIT, 0);
    loop {
        spin_loop();
    }
}

fn out(port: u16, byte: u8) {
    // SAFETY: both are ports of QEMU's test devices, which touch no memory.
    unsafe { asm!("out dx, al", in("dx") port, in("al") byte, options(nomem, nostack)) }
}
