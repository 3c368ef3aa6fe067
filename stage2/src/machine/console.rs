//! Step 5: the console, on COM1 and VGA text at once.
//!
//! **On entry**: 64-bit mode, nothing known of the devices. **This step**: COM1 is looked for and
//! programmed (115,200 baud, 8N1); VGA text is looked for, and mode 3 set when another one is
//! active. Either may be missing. **On exit**: [`crate::say!`] prints.
//!
//! What is printed may hold texts from files: paths, titles, what another loader says. So nothing but
//! ends of lines reaches a device that is not a character to be read: all of it goes through
//! [`boot_path::errors::text::Escaping`].
#![allow(unsafe_code)]

use core::fmt;

use boot_path::bios::int10;
use boot_path::errors::text::{Escaping, fill_in, on_screen};
use boot_path::machine::Consoles;
use boot_path::memory::layout::{self, TEXT_COLUMNS as COLUMNS, TEXT_ROWS as ROWS};
use x86_64::instructions::port::Port;

use crate::machine::bios::{self, Machine};
use crate::machine::global::Global;
use crate::machine::physical;
use crate::say;

/// I/O port of the first serial line.
pub const COM1: u16 = 0x3F8;

/// Polls of the line status before a character is given up: far more than one takes at 115,200
/// baud, and an end for a line that never gets ready.
const SERIAL_POLLS: u32 = 100_000;

/// BIOS data area: the cursor on page 0, column and row (two u8).
const BDA_CURSOR: u64 = 0x450;

/// VGA attributes: grey on black, white on red.
const GREY: u8 = 0x07;
const ALARM: u8 = 0x4F;

/// What is known of the screen.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Screen {
    /// There is none.
    None,
    /// VGA text, in memory.
    VgaText,
    /// The BIOS has one, but there is no VGA below it (a framebuffer without one): it prints.
    Teletype,
}

/// What there is to print on.
pub struct Console {
    started: bool,
    serial: bool,
    screen: Screen,
    /// On which of them it prints.
    wanted: Consoles,
    row: u64,
    column: u64,
    attribute: u8,
}

static CONSOLE: Global<Console> = Global::new(Console {
    started: false,
    serial: false,
    screen: Screen::None,
    wanted: Consoles::ALL,
    row: 0,
    column: 0,
    attribute: GREY,
});

/// Begins to print.
pub fn start() {
    let found = match find_devices() {
        (true, Screen::VgaText) => "COM1, VGA text",
        (true, Screen::Teletype) => "COM1, the BIOS's screen",
        (true, Screen::None) => "COM1",
        (false, Screen::VgaText) => "VGA text",
        (false, Screen::Teletype) => "the BIOS's screen",
        (false, Screen::None) => "none",
    };
    say!("Bootpath ", env!("CARGO_PKG_VERSION"));
    say!(" 5 console  ", found);
}

/// Looks for the devices: serial line, screen.
fn find_devices() -> (bool, Screen) {
    let serial = program_serial();
    CONSOLE.with(|console| {
        console.started = true;
        console.serial = serial;
    });
    bios::begin_transcript();
    let screen = find_screen();
    CONSOLE.with(|console| console.screen = screen);
    follow_bios();
    (serial, screen)
}

/// From here on the BIOS is not called any more, not even to print.
pub fn without_bios() {
    CONSOLE.with(|console| {
        if console.screen == Screen::Teletype {
            console.screen = Screen::None;
        }
    });
}

/// From here on the screen shows graphics, and nothing is printed there.
pub fn without_screen() {
    CONSOLE.with(|console| console.screen = Screen::None);
}

/// The BIOS may have cleared the screen: what is printed next begins where its cursor is.
pub fn follow_bios() {
    let cursor = physical::read::<[u8; 2]>(BDA_CURSOR);
    CONSOLE.with(|console| {
        console.row = u64::from(cursor[1]).min(ROWS - 1);
        console.column = u64::from(cursor[0]).min(COLUMNS - 1);
    });
}

/// Column and row of the next character on the screen, if that is VGA text.
pub fn cursor() -> Option<(u64, u64)> {
    CONSOLE.with(|console| {
        let column = console.column.min(COLUMNS - 1);
        (console.screen == Screen::VgaText).then_some((column, console.row))
    })
}

/// From here on what is no error is printed there only.
pub fn print_only(wanted: Consoles) {
    CONSOLE.with(|console| console.wanted = wanted);
}

/// From here on everything is printed everywhere, on the screen in white on red. Starts the console
/// where that has not come yet.
pub fn alarm() {
    if !CONSOLE.with(|console| console.started) {
        find_devices();
    }
    CONSOLE.with(|console| {
        console.attribute = ALARM;
        console.wanted = Consoles::ALL;
    });
}

/// Prints a line; see [`crate::say!`].
pub fn print_line(texts: &[&str], numbers: &[u64]) {
    print_on_each(&|out| {
        let mut numbers = numbers.iter();
        for text in texts {
            fill_in(out, text, &mut numbers)?;
        }
        out.write_char('\n')
    });
}

/// Prints a line of what formats itself: one line, whatever texts are in it.
pub fn print(what: &dyn fmt::Display) {
    print_on_each(&|out| {
        fmt::write(&mut Escaping::line(out), format_args!("{what}"))?;
        out.write_char('\n')
    });
}

/// Prints on serial line and VGA text, and by the BIOS where that has the screen.
fn print_on_each(write: &dyn Fn(&mut dyn fmt::Write) -> fmt::Result) {
    // The devices cannot fail.
    let by_bios = CONSOLE.with(|console| {
        let _ = write(&mut Escaping::lines(console));
        console.wanted.screen && console.screen == Screen::Teletype
    });
    if by_bios {
        let _ = write(&mut Escaping::lines(&mut Teletype));
    }
}

/// The screen, by INT 10h AH=0Eh.
struct Teletype;

impl fmt::Write for Teletype {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|c| self.write_char(c))
    }

    fn write_char(&mut self, c: char) -> fmt::Result {
        if c == '\n' {
            bios::print(b'\r');
        }
        bios::print(on_screen(c));
        Ok(())
    }
}

/// Prints a line: texts, and the numbers for the `#` in them, as in [`boot_path::errors::text::facts`].
#[macro_export]
macro_rules! say {
    ($($text:expr),+ $(; $($number:expr),+)?) => {
        $crate::machine::console::print_line(&[$($text),+], &[$($($number),+)?])
    };
}

impl fmt::Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|c| self.write_char(c))
    }

    fn write_char(&mut self, c: char) -> fmt::Result {
        if c == '\n' {
            self.put('\r');
        }
        self.put(c);
        Ok(())
    }
}

impl Console {
    /// The serial line gets UTF-8, the screen a cell a character.
    fn put(&mut self, c: char) {
        if self.wanted.serial {
            for &byte in c.encode_utf8(&mut [0; 4]).as_bytes() {
                self.serial = self.serial && send(byte);
            }
        }
        if self.wanted.screen && self.screen == Screen::VgaText {
            self.show(on_screen(c));
        }
    }

    fn show(&mut self, byte: u8) {
        match byte {
            b'\r' => self.column = 0,
            b'\n' => self.new_line(),
            _ => {
                if self.column == COLUMNS {
                    self.column = 0;
                    self.new_line();
                }
                let cell = layout::VGA_TEXT + 2 * (self.row * COLUMNS + self.column);
                physical::write_u16(cell, u16::from_le_bytes([byte, self.attribute]));
                self.column += 1;
            }
        }
    }

    fn new_line(&mut self) {
        if self.row < ROWS - 1 {
            self.row += 1;
            return;
        }
        // SAFETY: the text window is mapped and belongs to the console alone.
        let screen = unsafe { physical::bytes_mut(layout::VGA_TEXT, 2 * COLUMNS * ROWS) };
        let last_row = (2 * COLUMNS * (ROWS - 1)) as usize;
        screen.copy_within(2 * COLUMNS as usize.., 0);
        for cell in screen[last_row..].as_chunks_mut::<2>().0 {
            *cell = [b' ', GREY];
        }
    }
}

/// The serial line without the screen, for what would only fill that. What is written is ASCII.
pub struct SerialLine;

impl fmt::Write for SerialLine {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            self.write_char(char::from(byte))?;
        }
        Ok(())
    }

    fn write_char(&mut self, c: char) -> fmt::Result {
        CONSOLE.with(|console| {
            if c == '\n' && console.serial {
                console.serial = send(b'\r');
            }
            if console.serial {
                console.serial = send(c as u8);
            }
        });
        Ok(())
    }
}

/// Tells the BIOS where the cursor is: what 16-bit code prints through it goes on there.
pub fn tell_bios() {
    CONSOLE.with(|console| {
        if console.screen == Screen::VgaText {
            let column = console.column.min(COLUMNS - 1);
            let cursor = u16::from_le_bytes([column as u8, console.row as u8]);
            physical::write_u16(BDA_CURSOR, cursor);
        }
    });
}

/// Puts the blinking cursor behind what was printed, and tells the BIOS.
pub fn show_cursor() {
    tell_bios();
    CONSOLE.with(|console| {
        if console.screen != Screen::VgaText {
            return;
        }
        let position = (console.row * COLUMNS + console.column.min(COLUMNS - 1)) as u16;
        let [low, high] = position.to_le_bytes();
        // SAFETY: the CRT controller's index and data registers in colour text mode; 0Eh and 0Fh
        // are the cursor's position.
        unsafe {
            Port::<u8>::new(0x3D4).write(0x0E);
            Port::<u8>::new(0x3D5).write(high);
            Port::<u8>::new(0x3D4).write(0x0F);
            Port::<u8>::new(0x3D5).write(low);
        }
    });
}

/// Waits until COM1 has sent everything, but not for ever: what follows may set it up anew, which
/// would lose the last characters.
pub fn drain() {
    if !CONSOLE.with(|console| console.serial) {
        return;
    }
    for _ in 0..SERIAL_POLLS {
        // SAFETY: line status of a UART that was found to be there; bit 6: transmitter empty.
        if unsafe { register(5).read() } & 0x40 != 0 {
            return;
        }
    }
}

/// Register of COM1, by its offset.
fn register(offset: u16) -> Port<u8> {
    Port::new(COM1 + offset)
}

/// Programs COM1 and tells whether it is there: a UART keeps what is written to its scratch
/// register, an empty bus does not.
fn program_serial() -> bool {
    // SAFETY: the registers of a UART 8250 to 16550, or nothing at all, at this address on every PC.
    unsafe {
        for probe in [0x5A, 0xA5] {
            register(7).write(probe);
            if register(7).read() != probe {
                return false;
            }
        }
        register(1).write(0); // no interrupts
        register(3).write(0x80); // the divisor is next
        register(0).write(1); // 115,200 baud
        register(1).write(0);
        register(3).write(3); // 8 data bits, no parity, 1 stop bit
        register(2).write(0); // no FIFOs: not every UART has them
        register(4).write(3); // DTR, RTS
    }
    true
}

/// Sends a byte as soon as the line takes it. False: it never did, there is no use in going on.
fn send(byte: u8) -> bool {
    for _ in 0..SERIAL_POLLS {
        // SAFETY: line status and transmitter of a UART that was found to be there.
        unsafe {
            if register(5).read() & 0x20 != 0 {
                register(0).write(byte);
                return true;
            }
        }
    }
    false
}

/// Looks for the screen. Mode 3 is set when the BIOS says that another mode is active.
fn find_screen() -> Screen {
    if !int10::text_mode(&mut Machine) {
        Screen::None
    } else if has_text_memory() && has_crt_controller() {
        Screen::VgaText
    } else {
        Screen::Teletype
    }
}

/// Does the last cell of the window keep what is written to it? Where there is no VGA, that may be
/// RAM.
fn has_text_memory() -> bool {
    let cell = layout::VGA_TEXT_END - 2;
    let before = physical::read::<u16>(cell);
    let there = [0x0755, 0x07AA].iter().all(|&probe| {
        physical::write_u16(cell, probe);
        physical::read::<u16>(cell) == probe
    });
    physical::write_u16(cell, before);
    there
}

/// Does the CRT controller keep the low byte of the cursor's position (index 0Fh)? An empty bus reads
/// FFh.
fn has_crt_controller() -> bool {
    let (mut index, mut data) = (Port::<u8>::new(0x3D4), Port::<u8>::new(0x3D5));
    // SAFETY: two registers of a VGA in colour text mode, or nothing at all; the position is put back.
    unsafe {
        index.write(0x0F);
        let before = data.read();
        let there = [0x55, 0xAA].iter().all(|&probe| {
            data.write(probe);
            data.read() == probe
        });
        data.write(before);
        there
    }
}
