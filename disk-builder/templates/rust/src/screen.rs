//! The screen in text mode, from the row on that the loader left free.
//!
//! This is little enough to have no crate for it. The crate `vga` sets a mode of its own, 80 × 25;
//! the loader tells which one is set.

use core::fmt;
use core::slice;
use core::sync::atomic::{AtomicU16, Ordering};

use handoff::{BootInfo, DisplayKind};

/// Light grey on black, in the upper byte of a cell.
const COLOUR: u16 = 0x0700;

pub struct Screen {
    /// Character and colour of each cell, row by row. Atomics, because the compiler leaves none of
    /// their writes out.
    cells: &'static [AtomicU16],
    columns: usize,
    row: usize,
    column: usize,
}

impl Screen {
    /// The screen, if it is in text mode. Call it once.
    pub fn new(boot: &'static BootInfo) -> Option<Self> {
        let display = &boot.display;
        // A cell has two bytes.
        if display.kind() != Some(DisplayKind::Text) || display.pitch != 2 * display.width {
            return None;
        }
        let (columns, rows) = (display.width as usize, display.height as usize);
        let cells = (boot.physical_map_base + display.address) as *const AtomicU16;
        Some(Self {
            // SAFETY: the loader promises that the screen has this size and is in the physical map.
            cells: unsafe { slice::from_raw_parts(cells, columns * rows) },
            columns,
            row: display.cursor_row as usize,
            column: 0,
        })
    }

    /// Begins a row, and moves all rows up when there is no other one left.
    fn new_row(&mut self) {
        self.row += 1;
        self.column = 0;
        if (self.row + 1) * self.columns > self.cells.len() {
            let last = self.cells.len() - self.columns;
            for cell in 0..last {
                let below = self.cells[cell + self.columns].load(Ordering::Relaxed);
                self.cells[cell].store(below, Ordering::Relaxed);
            }
            for cell in &self.cells[last..] {
                cell.store(COLOUR | u16::from(b' '), Ordering::Relaxed);
            }
            self.row = last / self.columns;
        }
    }
}

impl fmt::Write for Screen {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            if character == '\n' || self.column == self.columns {
                self.new_row();
            }
            if character == '\n' {
                continue;
            }
            // The screen's characters are those of code page 437: ASCII, and others.
            let byte = if character.is_ascii() {
                character as u8
            } else {
                b'?'
            };
            let cell = self.row * self.columns + self.column;
            self.cells[cell].store(COLOUR | u16::from(byte), Ordering::Relaxed);
            self.column += 1;
        }
        Ok(())
    }
}
