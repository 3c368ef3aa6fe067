//! What a screen shows.

use anyhow::{Result, ensure};

use crate::test_card;

/// What a screen shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Pixels in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Red, green and blue of each pixel, row by row.
    pub pixels: Vec<u8>,
}

impl Picture {
    /// Reads the binary form of a PPM file with 8 bits a colour.
    pub(super) fn read(file: &[u8]) -> Option<Self> {
        let mut parts = file.splitn(4, |&byte| byte == b'\n');
        let mut text = || str::from_utf8(parts.next()?).ok();
        let (magic, size, most) = (text()?, text()?, text()?);
        let (width, height) = size.split_once(' ')?;
        let picture = Self {
            width: width.parse().ok()?,
            height: height.parse().ok()?,
            pixels: parts.next()?.to_vec(),
        };
        let whole = picture.pixels.len() == 3 * picture.width * picture.height;
        (magic == "P6" && most == "255" && whole).then_some(picture)
    }

    /// Checks that it is VGA text.
    ///
    /// # Errors
    /// The size.
    pub fn is_text(&self) -> Result<()> {
        let (width, height) = (self.width, self.height);
        ensure!((width, height) == (720, 400), "{width} by {height} pixels");
        Ok(())
    }

    /// Checks that it is the picture that the test kernels draw, in this size.
    ///
    /// # Errors
    /// The first pixel that differs.
    pub fn is_test_card(&self, width: usize, height: usize) -> Result<()> {
        ensure!(
            (self.width, self.height) == (width, height),
            "{} by {} pixels",
            self.width,
            self.height
        );
        for (index, pixel) in self.pixels.chunks_exact(3).enumerate() {
            let (x, y) = (index % width, index / width);
            let color = test_card::color(x, y, width, height);
            // Colours of five bits may turn full intensity into F8h.
            let same = pixel.iter().zip(color).all(|(&found, on)| match on {
                true => found >= 0xF8,
                false => found == 0,
            });
            ensure!(same, "{pixel:02x?} at {x}, {y}");
        }
        Ok(())
    }
}
