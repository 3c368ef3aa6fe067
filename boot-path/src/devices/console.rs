//! The console, on the first serial line and VGA text at once.
//!
//! The texts may come from files: paths, titles, strings of another loader. So a device gets only
//! characters to be read and ends of lines: everything goes through [`Escaping`].

use core::cell::Cell;
use core::fmt;
use core::slice;

use crate::bios::firmware::Bios;
use crate::bios::int10;
use crate::devices::port::{Port, Ports};
use crate::devices::serial;
use crate::errors::text::{Escaping, fill_in, on_screen};
use crate::machine::Consoles;
use crate::memory::layout::{TEXT_COLUMNS as COLUMNS, TEXT_ROWS as ROWS, VGA_TEXT, VGA_TEXT_END};

/// VGA attributes: grey on black, white on red.
const GREY: u8 = 0x07;
const ALARM: u8 = 0x4F;

/// The CRT controller's registers for the cursor's position.
const CURSOR_HIGH: u8 = 0x0E;
const CURSOR_LOW: u8 = 0x0F;

/// A machine that has a screen.
pub trait Screen: Ports {
    /// Reads a cell of the VGA text window: the character, and its attribute in the high byte.
    fn cell(self, index: u64) -> u16;

    /// Writes it.
    fn set_cell(self, index: u64, value: u16);

    /// Copies `count` cells from `first` on to the start of the window.
    fn move_cells_up(self, first: u64, count: u64);

    /// Prints a character by the BIOS.
    fn teletype(self, character: u8);

    /// The position of the BIOS's cursor: column, row.
    fn bios_cursor(self) -> [u8; 2];

    /// Tells it where the cursor is.
    fn set_bios_cursor(self, cursor: [u8; 2]);
}

/// What kind of screen there is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// There is none.
    None,
    /// VGA text, in memory.
    VgaText,
    /// The BIOS has a screen, but there is no VGA below it (only a framebuffer): the BIOS prints.
    Teletype,
}

/// The devices to print on. Another line, from a fault's report, may interrupt a line.
pub struct Console<M> {
    machine: M,
    started: Cell<bool>,
    serial: Cell<bool>,
    screen: Cell<Kind>,
    wanted: Cell<Consoles>,
    row: Cell<u64>,
    column: Cell<u64>,
    attribute: Cell<u8>,
}

impl<M: Screen + Bios> Console<M> {
    /// A console of a machine in which no device has been found yet.
    pub const fn new(machine: M) -> Self {
        Self {
            machine,
            started: Cell::new(false),
            serial: Cell::new(false),
            screen: Cell::new(Kind::None),
            wanted: Cell::new(Consoles::ALL),
            row: Cell::new(0),
            column: Cell::new(0),
            attribute: Cell::new(GREY),
        }
    }

    /// Looks for the serial line.
    pub fn find_serial_line(&self) {
        self.started.set(true);
        self.serial.set(serial::program(self.machine));
    }

    /// Looks for the screen. Sets mode 3 if the BIOS says that another mode is active.
    pub fn find_screen(&self) {
        let mut machine = self.machine;
        let found = if !int10::text_mode(&mut machine) {
            Kind::None
        } else if self.has_text_memory() && self.has_crt_controller() {
            Kind::VgaText
        } else {
            Kind::Teletype
        };
        self.screen.set(found);
        self.follow_bios();
    }

    /// Whether devices have been looked for.
    pub fn is_started(&self) -> bool {
        self.started.get()
    }

    /// What was found.
    pub fn found(&self) -> &'static str {
        match (self.serial.get(), self.screen.get()) {
            (true, Kind::VgaText) => "COM1, VGA text",
            (true, Kind::Teletype) => "COM1, the BIOS's screen",
            (true, Kind::None) => "COM1",
            (false, Kind::VgaText) => "VGA text",
            (false, Kind::Teletype) => "the BIOS's screen",
            (false, Kind::None) => "none",
        }
    }

    /// Does the last cell of the window keep a value? Where there is no VGA, that may be RAM.
    fn has_text_memory(&self) -> bool {
        const LAST: u64 = (VGA_TEXT_END - VGA_TEXT) / 2 - 1;

        let before = self.machine.cell(LAST);
        let there = [0x0755, 0x07AA].iter().all(|&probe| {
            self.machine.set_cell(LAST, probe);
            self.machine.cell(LAST) == probe
        });
        self.machine.set_cell(LAST, before);
        there
    }

    /// Does the CRT controller keep the low byte of the cursor's position? An empty bus reads FFh.
    fn has_crt_controller(&self) -> bool {
        self.machine.output(Port::CRT_INDEX, CURSOR_LOW);
        let before = self.machine.input(Port::CRT_DATA);
        let there = [0x55, 0xAA].iter().all(|&probe| {
            self.machine.output(Port::CRT_DATA, probe);
            self.machine.input(Port::CRT_DATA) == probe
        });
        self.machine.output(Port::CRT_DATA, before);
        there
    }

    /// From here on the BIOS is not called any more, not even to print.
    pub fn without_bios(&self) {
        if self.screen.get() == Kind::Teletype {
            self.without_screen();
        }
    }

    /// From here on the screen shows graphics, and nothing is printed there.
    pub fn without_screen(&self) {
        self.screen.set(Kind::None);
    }

    /// The BIOS may have cleared the screen: the next output begins where its cursor is.
    pub fn follow_bios(&self) {
        let [column, row] = self.machine.bios_cursor();
        self.row.set(u64::from(row).min(ROWS - 1));
        self.column.set(u64::from(column).min(COLUMNS - 1));
    }

    /// Column and row of the next character, if the screen is VGA text.
    pub fn cursor(&self) -> Option<(u64, u64)> {
        let cursor = (self.column.get().min(COLUMNS - 1), self.row.get());
        (self.screen.get() == Kind::VgaText).then_some(cursor)
    }

    /// Tells the BIOS where the cursor is, so that 16-bit code, which prints through it, continues
    /// there.
    pub fn tell_bios(&self) {
        if let Some((column, row)) = self.cursor() {
            self.machine.set_bios_cursor([column as u8, row as u8]);
        }
    }

    /// Puts the blinking cursor behind what was printed, and tells the BIOS.
    pub fn show_cursor(&self) {
        self.tell_bios();
        if let Some((column, row)) = self.cursor() {
            let [low, high] = ((row * COLUMNS + column) as u16).to_le_bytes();
            self.machine.output(Port::CRT_INDEX, CURSOR_HIGH);
            self.machine.output(Port::CRT_DATA, high);
            self.machine.output(Port::CRT_INDEX, CURSOR_LOW);
            self.machine.output(Port::CRT_DATA, low);
        }
    }

    /// From here on, only errors are printed everywhere; everything else only on `wanted`.
    pub fn print_only(&self, wanted: Consoles) {
        self.wanted.set(wanted);
    }

    /// From here on everything is printed everywhere, on the screen in white on red.
    pub fn alarm(&self) {
        self.attribute.set(ALARM);
        self.wanted.set(Consoles::ALL);
    }

    /// Waits until the serial line has sent everything, but not for ever: the next program may set
    /// it up anew, which would lose the last characters.
    pub fn drain(&self) {
        if self.serial.get() {
            serial::drain(self.machine);
        }
    }

    /// Prints a line: texts, and the numbers for the `#` in them, as in
    /// [`facts`](crate::errors::text::facts).
    pub fn print_line(&self, texts: &[&str], numbers: &[u64]) {
        self.print_on_each(&|out| {
            let mut numbers: slice::Iter<'_, _> = numbers.iter();
            for text in texts {
                fill_in(out, text, &mut numbers)?;
            }
            out.write_char('\n')
        });
    }

    /// Prints one line, whatever texts are in it.
    pub fn print(&self, what: &dyn fmt::Display) {
        self.print_on_each(&|out| {
            fmt::write(&mut Escaping::line(out), format_args!("{what}"))?;
            out.write_char('\n')
        });
    }

    /// Prints on serial line and VGA text, and by the BIOS where that has the screen.
    fn print_on_each(&self, write: &dyn Fn(&mut dyn fmt::Write) -> fmt::Result) {
        // The devices cannot fail.
        let _ = write(&mut Escaping::lines(&mut Devices(self)));
        if self.wanted.get().screen && self.screen.get() == Kind::Teletype {
            let _ = write(&mut Escaping::lines(&mut Teletype(self)));
        }
    }

    /// The serial line gets UTF-8, the screen one cell per character.
    fn put(&self, c: char) {
        if self.wanted.get().serial {
            match u8::try_from(c) {
                Ok(byte) if byte.is_ascii() => self.send(byte),
                _ => (c.encode_utf8(&mut [0; 4]).bytes()).for_each(|byte| self.send(byte)),
            }
        }
        if self.wanted.get().screen && self.screen.get() == Kind::VgaText {
            self.show(on_screen(c));
        }
    }

    fn send(&self, byte: u8) {
        let sent = self.serial.get() && serial::send(self.machine, byte);
        self.serial.set(sent);
    }

    fn show(&self, byte: u8) {
        match byte {
            b'\r' => self.column.set(0),
            b'\n' => self.new_line(),
            _ => {
                if self.column.get() == COLUMNS {
                    self.column.set(0);
                    self.new_line();
                }
                let cell = self.row.get() * COLUMNS + self.column.get();
                let value = u16::from_le_bytes([byte, self.attribute.get()]);
                self.machine.set_cell(cell, value);
                self.column.set(self.column.get() + 1);
            }
        }
    }

    fn new_line(&self) {
        const LAST_ROW: u64 = COLUMNS * (ROWS - 1);

        if self.row.get() < ROWS - 1 {
            self.row.set(self.row.get() + 1);
            return;
        }
        self.machine.move_cells_up(COLUMNS, LAST_ROW);
        for cell in LAST_ROW..LAST_ROW + COLUMNS {
            self.machine
                .set_cell(cell, u16::from_le_bytes([b' ', GREY]));
        }
    }
}

/// Serial line and VGA text.
struct Devices<'c, M>(&'c Console<M>);

impl<M: Screen + Bios> fmt::Write for Devices<'_, M> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|c| self.write_char(c))
    }

    fn write_char(&mut self, c: char) -> fmt::Result {
        if c == '\n' {
            self.0.put('\r');
        }
        self.0.put(c);
        Ok(())
    }
}

/// The screen, by the BIOS.
struct Teletype<'c, M>(&'c Console<M>);

impl<M: Screen> fmt::Write for Teletype<'_, M> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|c| self.write_char(c))
    }

    fn write_char(&mut self, c: char) -> fmt::Result {
        if c == '\n' {
            self.0.machine.teletype(b'\r');
        }
        self.0.machine.teletype(on_screen(c));
        Ok(())
    }
}

/// The serial line without the screen, for output that would only fill the screen. Its texts are
/// ASCII.
pub struct SerialLine<'c, M>(pub &'c Console<M>);

impl<M: Screen + Bios> fmt::Write for SerialLine<'_, M> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            self.write_char(char::from(byte))?;
        }
        Ok(())
    }

    fn write_char(&mut self, c: char) -> fmt::Result {
        if c == '\n' {
            self.0.send(b'\r');
        }
        self.0.send(c as u8);
        Ok(())
    }
}
