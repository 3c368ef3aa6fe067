//! Output: on the first serial port (115,200 baud, 8N1) and, when the loader left the screen in
//! text mode, on the screen, below what the loader printed.
//!
//! The serial line gets every detail. The screen has 25 rows and cannot scroll back, so it gets
//! only as much as fits: everything that matters is still there at the end.

// Ports and video memory are written by hand.
#![allow(unsafe_code)]

use core::fmt::{self, Write};

use handoff::{BootInfo, DisplayKind};
use x86_64::instructions::port::Port;

use crate::sync::Shared;

/// COM1 on every PC.
const COM1: u16 = 0x3F8;

/// How often the line status is read while a byte waits: over 100 ms on a port that answers in a
/// microsecond. A byte takes 87 µs.
const SERIAL_POLLS: u32 = 100_000;

/// Light grey on black.
const GREY: u8 = 0x07;

/// The colours of the last line.
#[derive(Clone, Copy)]
pub enum Colour {
    Green,
    Red,
}

impl Colour {
    /// The ANSI escape sequence (ECMA-48, "SGR") for the serial line.
    const fn ansi(self) -> &'static str {
        match self {
            Self::Green => "\x1b[32m",
            Self::Red => "\x1b[31m",
        }
    }

    /// The attribute of VGA text: white on the colour.
    const fn attribute(self) -> u8 {
        match self {
            Self::Green => 0x2F,
            Self::Red => 0x4F,
        }
    }
}

/// Both outputs.
pub struct Console {
    serial: Option<Serial>,
    screen: Option<Screen>,
}

static CONSOLE: Shared<Console> = Shared::new(Console {
    serial: None,
    screen: None,
});

/// Finds the outputs.
pub fn init(boot: &BootInfo) {
    // SAFETY: nothing holds a reference: `print` gives its own back before it returns.
    let console = unsafe { &mut *CONSOLE.get() };
    console.serial = Serial::probe();
    console.screen = Screen::new(boot);
}

/// Where a text goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Output {
    Both,
    Serial,
    Screen,
}

/// What `print!` and the other macros call.
pub fn print(output: Output, text: fmt::Arguments) {
    // SAFETY: as above; this kernel has no `Display` that prints while it is printed.
    let console = unsafe { &mut *CONSOLE.get() };
    // Writing never fails.
    if let (Some(serial), Output::Both | Output::Serial) = (&mut console.serial, output) {
        let _ = serial.write_fmt(text);
    }
    if let (Some(screen), Output::Both | Output::Screen) = (&mut console.screen, output) {
        screen.cut = output == Output::Screen;
        let _ = screen.write_fmt(text);
    }
}

/// Prints a line in a colour.
pub fn print_coloured(colour: Colour, text: &str) {
    // SAFETY: as above.
    let console = unsafe { &mut *CONSOLE.get() };
    if let Some(serial) = &mut console.serial {
        let _ = writeln!(serial, "{}{text}\x1b[0m", colour.ansi());
    }
    if let Some(screen) = &mut console.screen {
        screen.attribute = colour.attribute();
        let _ = screen.write_str(text);
        screen.attribute = GREY;
        let _ = screen.write_str("\n");
    }
}

#[macro_export]
macro_rules! print {
    ($($argument:tt)*) => {
        $crate::console::print($crate::console::Output::Both, ::core::format_args!($($argument)*))
    };
}

#[macro_export]
macro_rules! println {
    () => { $crate::print!("\n") };
    ($format:literal $($argument:tt)*) => { $crate::print!("{}\n", ::core::format_args!($format $($argument)*)) };
}

/// A detail: a line, or with `print_detail!` a part of one, for the serial line alone.
#[macro_export]
macro_rules! detail {
    ($format:literal $($argument:tt)*) => { $crate::print_detail!("{}\n", ::core::format_args!($format $($argument)*)) };
}

#[macro_export]
macro_rules! print_detail {
    ($($argument:tt)*) => {
        $crate::console::print($crate::console::Output::Serial, ::core::format_args!($($argument)*))
    };
}

/// A row for the screen alone: a text that is too long for one is cut.
#[macro_export]
macro_rules! row {
    ($format:literal $($argument:tt)*) => { $crate::print_row!("{}\n", ::core::format_args!($format $($argument)*)) };
}

/// A part of one.
#[macro_export]
macro_rules! print_row {
    ($($argument:tt)*) => {
        $crate::console::print($crate::console::Output::Screen, ::core::format_args!($($argument)*))
    };
}

/// A 16550 UART (National Semiconductor PC16550D data sheet, "Registers").
struct Serial {
    data: Port<u8>,
    line_status: Port<u8>,
    /// It once took no byte in time: nothing waits for it again.
    dead: bool,
}

impl Serial {
    /// Sets the port up, if there is one: a port that does not exist reads FFh and keeps nothing.
    fn probe() -> Option<Self> {
        let register = |number: u16| Port::<u8>::new(COM1 + number);
        // SAFETY: these ports are the UART's, or nobody's.
        unsafe {
            let mut scratch = register(7);
            scratch.write(0x5A);
            if scratch.read() != 0x5A {
                return None;
            }
            // The loader left it at 115,200 baud, 8N1, maybe with characters still to send: setting
            // it up again would lose them.
            if register(3).read() != 0x03 {
                register(1).write(0); // no interrupts
                register(3).write(0x80); // divisor latch
                register(0).write(1); // 115,200 baud
                register(1).write(0);
                register(3).write(0x03); // 8 bits, no parity, 1 stop bit
                register(2).write(0x07); // FIFOs on and empty
                register(4).write(0x03); // DTR and RTS
            }
        }
        Some(Self {
            data: register(0),
            line_status: register(5),
            dead: false,
        })
    }

    fn write_byte(&mut self, byte: u8) {
        if self.dead {
            return;
        }
        // SAFETY: the UART's ports; writing a byte has no effect on memory.
        unsafe {
            self.dead = (0..SERIAL_POLLS).all(|_| self.line_status.read() & 0x20 == 0);
            self.data.write(byte);
        }
    }
}

impl Write for Serial {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if byte == b'\n' {
                self.write_byte(b'\r');
            }
            self.write_byte(byte);
        }
        Ok(())
    }
}

/// The VGA's CRT controller in colour text mode: index and data.
const CRT_CONTROLLER: (u16, u16) = (0x3D4, 0x3D5);

/// Its register "cursor start", whose bit 5 hides the cursor.
const CURSOR_START: u8 = 0x0A;

/// VGA text: a character of code page 437 and an attribute in each cell.
struct Screen {
    cells: *mut u16,
    columns: usize,
    rows: usize,
    /// Cells from one row to the next.
    pitch: usize,
    row: usize,
    column: usize,
    attribute: u8,
    /// Text that does not fit into a row is left out, not continued in the next one.
    cut: bool,
}

impl Screen {
    /// The screen that the loader describes, if it is in text mode. Nobody types here: hides the
    /// cursor.
    fn new(boot: &BootInfo) -> Option<Self> {
        let display = &boot.display;
        if display.kind() != Some(DisplayKind::Text) || display.width == 0 || display.height == 0 {
            return None;
        }
        let (mut index, mut data) = (Port::new(CRT_CONTROLLER.0), Port::new(CRT_CONTROLLER.1));
        // SAFETY: the loader calls the display text only if there is a VGA in colour text mode, to
        // whose memory it prints.
        unsafe {
            index.write(CURSOR_START);
            let start: u8 = data.read();
            data.write(start | 1 << 5);
        }
        Some(Self {
            cells: boot.physical_to_virtual(display.address)?.cast(),
            columns: display.width as usize,
            rows: display.height as usize,
            pitch: display.pitch as usize / size_of::<u16>(),
            row: display.cursor_row as usize,
            column: 0,
            attribute: GREY,
            cut: false,
        })
    }

    fn write_char(&mut self, character: char) {
        if character != '\n' && self.column == self.columns && self.cut {
            return;
        }
        if character == '\n' || self.column == self.columns {
            self.row += 1;
            self.column = 0;
        }
        while self.row >= self.rows {
            self.scroll();
        }
        if character != '\n' {
            let code = match character {
                'µ' => 0xE6,
                _ if character.is_ascii() => character as u8,
                _ => b'?',
            };
            self.put(self.row, self.column, code);
            self.column += 1;
        }
    }

    fn put(&mut self, row: usize, column: usize, code: u8) {
        let cell = u16::from_le_bytes([code, self.attribute]);
        // SAFETY: `row` and `column` are within the screen that the loader described, and the
        // display's memory is in the physical map.
        unsafe {
            self.cells
                .add(row * self.pitch + column)
                .write_volatile(cell)
        };
    }

    /// Moves all rows up by one.
    fn scroll(&mut self) {
        for row in 1..self.rows {
            for column in 0..self.columns {
                // SAFETY: both cells are within the screen.
                unsafe {
                    let from = self.cells.add(row * self.pitch + column);
                    let to = self.cells.add((row - 1) * self.pitch + column);
                    to.write_volatile(from.read_volatile());
                }
            }
        }
        self.row = self.rows - 1;
        let attribute = core::mem::replace(&mut self.attribute, GREY);
        for column in 0..self.columns {
            self.put(self.row, column, b' ');
        }
        self.attribute = attribute;
    }
}

impl Write for Screen {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars()
            .for_each(|character| self.write_char(character));
        Ok(())
    }
}
