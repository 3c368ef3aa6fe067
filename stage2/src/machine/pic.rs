//! The two interrupt controllers of a PC, 8259A.
#![allow(unsafe_code)]

use x86_64::instructions::port::Port;

/// Masks all lines of both: the BIOS's timer would arrive as vector 8, a double fault to a kernel that
/// enables interrupts early.
pub fn mask() {
    // SAFETY: their mask registers.
    unsafe {
        Port::<u8>::new(0x21).write(0xFF);
        Port::<u8>::new(0xA1).write(0xFF);
    }
}
