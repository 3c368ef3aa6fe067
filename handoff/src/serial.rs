//! COM1, as the loader has set it up: 115,200 baud, 8 data bits, no parity, 1 stop bit (National
//! Semiconductor PC16550D data sheet, "Registers").
//!
//! It is not set up again, which would lose what the loader is still sending. Crates for such a port
//! do that first, and wait for ever when it takes no byte.

use core::arch::asm;
use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering};

/// COM1 on every PC; its data register.
const COM1: u16 = 0x3F8;
/// Its line status register.
const LINE_STATUS: u16 = COM1 + 5;
/// In the line status: there is room for a byte.
const HAS_ROOM: u8 = 1 << 5;

/// How often the line status is read while a byte waits: over 100 ms on a port that answers in a
/// microsecond. A byte takes 87 µs.
const POLLS: u32 = 100_000;

/// The port has not taken a byte in time. Until it takes one, nothing waits for it.
static IS_DEAD: AtomicBool = AtomicBool::new(false);

/// A writer to COM1.
///
/// A line feed is sent as carriage return and line feed. Writing never fails and never waits for
/// ever: what a dead port does not take is lost, and where there is no port, everything is.
///
/// The writers of several CPUs may mix their texts. The kernel must not use COM1 otherwise at the
/// same time.
///
/// ```no_run
/// use core::fmt::Write as _;
///
/// # fn kernel(boot: &handoff::BootInfo) {
/// let _ = writeln!(handoff::Serial, "started by {}", boot.loader());
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Serial;

impl Serial {
    /// Sends bytes as they are.
    ///
    /// ```no_run
    /// handoff::Serial.send(b"\x1b[32mgreen\x1b[0m");
    /// ```
    pub fn send(self, bytes: &[u8]) {
        for &byte in bytes {
            send(&mut Com1, &IS_DEAD, byte);
        }
    }
}

impl fmt::Write for Serial {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        send_text(&mut Com1, &IS_DEAD, text);
        Ok(())
    }
}

/// Prints to COM1, as `print!` does to standard output: see [`Serial`].
///
/// ```no_run
/// handoff::serial_print!("{} ", 42);
/// ```
#[macro_export]
macro_rules! serial_print {
    ($($argument:tt)*) => { $crate::print_to_serial(::core::format_args!($($argument)*)) };
}

/// Prints a line to COM1, as `println!` does to standard output: see [`Serial`].
///
/// ```no_run
/// # fn kernel(boot: &handoff::BootInfo) {
/// handoff::serial_println!("started by {}", boot.loader());
/// handoff::serial_println!();
/// # }
/// ```
#[macro_export]
macro_rules! serial_println {
    () => { $crate::serial_print!("\n") };
    ($($argument:tt)*) => {
        $crate::serial_print!("{}\n", ::core::format_args!($($argument)*))
    };
}

/// What [`serial_print!`](crate::serial_print) calls.
///
/// ```no_run
/// handoff::print_to_serial(format_args!("{} ", 42));
/// ```
pub fn print_to_serial(text: fmt::Arguments<'_>) {
    // Writing never fails; a `Display` that does has been printed up to there.
    let _ = fmt::write(&mut Serial, text);
}

/// What a port of this kind can do.
trait Uart {
    /// Its line status.
    fn line_status(&mut self) -> u8;
    /// Gives it a byte to send.
    fn put(&mut self, byte: u8);
}

/// The machine's.
struct Com1;

impl Uart for Com1 {
    fn line_status(&mut self) -> u8 {
        let status: u8;
        // SAFETY: reading the line status touches no memory.
        unsafe {
            asm!("in al, dx", in("dx") LINE_STATUS, out("al") status,
                options(nomem, nostack, preserves_flags));
        }
        status
    }

    fn put(&mut self, byte: u8) {
        // SAFETY: sending a byte touches no memory.
        unsafe {
            asm!("out dx, al", in("dx") COM1, in("al") byte,
                options(nomem, nostack, preserves_flags));
        }
    }
}

fn send_text(uart: &mut impl Uart, is_dead: &AtomicBool, text: &str) {
    for byte in text.bytes() {
        if byte == b'\n' {
            send(uart, is_dead, b'\r');
        }
        send(uart, is_dead, byte);
    }
}

/// Sends a byte as soon as the port takes it. If it does not, the next byte waits no more.
fn send(uart: &mut impl Uart, is_dead: &AtomicBool, byte: u8) {
    let polls = if is_dead.load(Ordering::Relaxed) {
        1
    } else {
        POLLS
    };
    let has_room = (0..polls).any(|_| uart.line_status() & HAS_ROOM != 0);
    if has_room {
        uart.put(byte);
    }
    is_dead.store(!has_room, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec::Vec;

    use super::*;

    /// A port that has room after so many polls for each byte; `None`: never.
    struct Fake {
        busy: Option<u32>,
        polls: u32,
        since_byte: u32,
        sent: Vec<u8>,
    }

    impl Fake {
        fn new(busy: Option<u32>) -> Self {
            let (polls, since_byte, sent) = (0, 0, Vec::new());
            Self {
                busy,
                polls,
                since_byte,
                sent,
            }
        }
    }

    impl Uart for Fake {
        fn line_status(&mut self) -> u8 {
            self.polls += 1;
            self.since_byte += 1;
            let ready = self.busy.is_some_and(|busy| self.since_byte > busy);
            if ready { HAS_ROOM } else { !HAS_ROOM }
        }

        fn put(&mut self, byte: u8) {
            self.since_byte = 0;
            self.sent.push(byte);
        }
    }

    #[test]
    fn a_slow_port_gets_every_byte() {
        let (mut uart, is_dead) = (Fake::new(Some(90)), AtomicBool::new(false));
        send_text(&mut uart, &is_dead, "aé\nb");
        assert_eq!(uart.sent, b"a\xc3\xa9\r\nb");
        assert_eq!(uart.polls, 6 * 91);
        assert!(!is_dead.into_inner());
    }

    #[test]
    fn a_dead_port_is_waited_for_once() {
        let (mut uart, is_dead) = (Fake::new(None), AtomicBool::new(false));
        send_text(&mut uart, &is_dead, "a long text");
        assert!(uart.sent.is_empty());
        assert_eq!(uart.polls, POLLS + 10, "ten more bytes, without waiting");
        // It lives again: the first byte that it takes is not lost, and then it is waited for.
        (uart.busy, uart.since_byte) = (Some(0), 0);
        send_text(&mut uart, &is_dead, "bc");
        uart.busy = Some(50);
        send_text(&mut uart, &is_dead, "d");
        assert_eq!(uart.sent, b"bcd");
    }
}
