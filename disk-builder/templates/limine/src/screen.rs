//! Text on a framebuffer. The font is the crate `noto-sans-mono-bitmap`, for ASCII.

use core::fmt;
use core::slice;
use core::sync::atomic::{AtomicU32, Ordering};

use limine::framebuffer::{Framebuffer, MemoryModel};
use noto_sans_mono_bitmap::{FontWeight, RasterHeight, get_raster, get_raster_width};

const WEIGHT: FontWeight = FontWeight::Regular;
const HEIGHT: RasterHeight = RasterHeight::Size16;
/// The size of a character in pixels.
const CELL: (usize, usize) = (get_raster_width(WEIGHT, HEIGHT), HEIGHT.val());

pub struct Screen {
    /// The pixels, line by line. Atomics, because the compiler leaves none of their writes out.
    pixels: &'static [AtomicU32],
    /// Pixels from one line to the next.
    pitch: usize,
    columns: usize,
    rows: usize,
    row: usize,
    column: usize,
}

impl Screen {
    /// The screen, if its pixels have 32 bits. Call it once.
    pub fn new(screen: &Framebuffer<'static>) -> Option<Self> {
        if screen.bpp() != 32 || screen.memory_model() != MemoryModel::RGB {
            return None;
        }
        let pitch = screen.pitch() as usize / size_of::<AtomicU32>();
        let length = pitch * screen.height() as usize;
        Some(Self {
            // SAFETY: the loader promises that the screen has this size and is mapped.
            pixels: unsafe { slice::from_raw_parts(screen.addr().cast(), length) },
            pitch,
            columns: screen.width() as usize / CELL.0,
            rows: screen.height() as usize / CELL.1,
            row: 0,
            column: 0,
        })
    }

    /// Begins a row. Below the last one, the screen is cleared and begins anew: to move everything up,
    /// video memory would have to be read, which is slow.
    fn new_row(&mut self) {
        self.row += 1;
        self.column = 0;
        if self.row == self.rows {
            self.row = 0;
            for pixel in self.pixels {
                pixel.store(0, Ordering::Relaxed);
            }
        }
    }

    fn draw(&mut self, character: char) {
        let raster = get_raster(character, WEIGHT, HEIGHT);
        let Some(raster) = raster.or(get_raster('?', WEIGHT, HEIGHT)) else {
            return;
        };
        let first = self.row * CELL.1 * self.pitch + self.column * CELL.0;
        for (y, line) in raster.rows().enumerate() {
            for (x, &brightness) in line.iter().enumerate() {
                // The same for red, green and blue, whatever their order.
                let grey = u32::from(brightness) * 0x01_01_01;
                self.pixels[first + y * self.pitch + x].store(grey, Ordering::Relaxed);
            }
        }
        self.column += 1;
    }
}

impl fmt::Write for Screen {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            if character == '\n' || self.column == self.columns {
                self.new_row();
            }
            if character != '\n' {
                self.draw(character);
            }
        }
        Ok(())
    }
}
