//! **What a test kernel got**, reported on COM1 as the loader has set it up: one line for each
//! item, with the checksum of its bytes. Tests compare these lines with those of another boot.

use core::arch::asm;
use core::fmt;

mod checksum;

pub use checksum::checksum;

/// COM1.
pub const COM1: u16 = 0x3F8;
const LINE_STATUS: u16 = COM1 + 5;
const TRANSMITTER_EMPTY: u8 = 0x20;

/// Polls before giving up on COM1, which may not exist.
const POLLS: u32 = 100_000;

/// COM1, as a writer of texts.
pub struct Serial;

impl fmt::Write for Serial {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.bytes().for_each(send);
        Ok(())
    }
}

/// Writes a line to COM1.
#[allow(unused_macros, reason = "one of the kernels has lines of its own")]
macro_rules! say {
    ($($argument:tt)*) => {{
        use core::fmt::Write as _;
        let _ = writeln!($crate::report::Serial, $($argument)*);
    }};
}
#[allow(unused_imports, reason = "as above")]
pub(crate) use say;

/// Writes a line about some bytes: what they are, how many, their checksum, and texts that belong
/// to them.
pub fn bytes(what: &str, bytes: &[u8], texts: &[&str]) {
    use fmt::Write as _;
    let (length, sum) = (bytes.len(), checksum(bytes));
    let _ = write!(Serial, "{what} {length} bytes, sum {sum:016x}");
    for text in texts {
        let _ = write!(Serial, ": {text}");
    }
    let _ = Serial.write_str("\n");
}

/// Sends a byte.
pub fn send(byte: u8) {
    for _ in 0..POLLS {
        if input(LINE_STATUS) & TRANSMITTER_EMPTY != 0 {
            break;
        }
    }
    output(COM1, byte);
}

/// Reads a port of a device.
pub fn input(port: u16) -> u8 {
    let byte: u8;
    // SAFETY: the kernels read registers of the serial line and of the interrupt controllers, which
    // has no side effects and touches no memory.
    unsafe { asm!("in al, dx", in("dx") port, out("al") byte, options(nomem, nostack)) }
    byte
}

/// Writes to a port of a device.
pub fn output(port: u16, byte: u8) {
    // SAFETY: the kernels write to the serial line and to QEMU's test device, which touch no
    // memory.
    unsafe { asm!("out dx, al", in("dx") port, in("al") byte, options(nomem, nostack)) }
}
