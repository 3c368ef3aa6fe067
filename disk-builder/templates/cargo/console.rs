//! Text for people: `println!` writes to the serial line, and to the screen if there is one.

use core::fmt::{self, Write};
use core::hint;

use spin::Mutex;
use uart_16550::backend::PioBackend;
use uart_16550::spec::registers::LSR;
use uart_16550::{BaudRate, Config, Uart16550, Uart16550Tty};

use crate::screen::Screen;

/// The I/O port of a PC's first serial line.
const COM1: u16 = 0x3F8;

static CONSOLE: Mutex<Console> = Mutex::new(Console {
    serial: None,
    screen: None,
});

struct Console {
    serial: Option<Uart16550Tty<PioBackend>>,
    screen: Option<Screen>,
}

impl Console {
    /// Sets the serial line up, if the machine has one.
    fn open_serial() -> Option<Uart16550Tty<PioBackend>> {
        // SAFETY: no other device of a PC is at this port, and nothing else in this kernel uses it.
        let mut port = unsafe { Uart16550::new_port(COM1) }.ok()?;
        if !port.check_present() {
            return None;
        }
        // What the loader has printed may still be on its way.
        while !port.lsr().contains(LSR::TRANSMITTER_EMPTY) {
            hint::spin_loop();
        }
        port.init(Config {
            baud_rate: BaudRate::Baud115200, // as the loader has it
            ..Config::DEFAULT
        })
        .ok()?;
        Some(Uart16550Tty::from_inner(port))
    }
}

impl Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if let Some(serial) = &mut self.serial {
            serial.write_str(text)?;
        }
        if let Some(screen) = &mut self.screen {
            screen.write_str(text)?;
        }
        Ok(())
    }
}

/// From now on, text goes to the screen as well.
pub fn add_screen(screen: Option<Screen>) {
    CONSOLE.lock().screen = screen;
}

/// Does the work of `println!`.
pub fn print(text: fmt::Arguments) {
    let mut console = CONSOLE.lock();
    if console.serial.is_none() {
        console.serial = Console::open_serial();
    }
    // Neither of the two fails.
    let _ = console.write_fmt(text);
}

/// Lets a panic print, even if it happened within `print`.
pub(crate) fn unlock() {
    // SAFETY: there is one CPU, and a panic does not return to the code that holds the lock.
    unsafe { CONSOLE.force_unlock() };
}

/// Prints a line, as `std`'s does.
#[macro_export]
macro_rules! println {
    () => { $crate::console::print(format_args!("\n")) };
    ($($argument:tt)*) => {
        $crate::console::print(format_args!("{}\n", format_args!($($argument)*)))
    };
}
