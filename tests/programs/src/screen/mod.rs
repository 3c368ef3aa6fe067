//! A framebuffer that test kernels draw in.

mod test_card;

use test_card::color;

/// A framebuffer of direct colour.
pub struct Framebuffer {
    /// The address at which the kernel sees it.
    pub start: *mut u8,
    /// Bytes from one row to the next.
    pub pitch: usize,
    /// Pixels in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Bits of a pixel.
    pub bits_per_pixel: usize,
    /// Position and size of red, green and blue.
    pub colors: [(u8, u8); 3],
}

impl Framebuffer {
    /// Whether this is plausible: rows hold their pixels, and the colours do not overlap.
    pub fn makes_sense(&self) -> bool {
        let mut used = 0_u64;
        let apart = self.colors.iter().all(|&(position, size)| {
            let bits = ((1_u64 << size) - 1) << position;
            let apart = used & bits == 0;
            used |= bits;
            apart && size > 0
        });
        apart
            && used < 1 << self.bits_per_pixel
            && self.pitch >= self.width * self.bytes()
            && self.width > 0
            && self.height > 0
    }

    fn bytes(&self) -> usize {
        self.bits_per_pixel.div_ceil(8)
    }

    /// The bytes of each pixel: address and value.
    fn pixels(&self) -> impl Iterator<Item = (*mut u8, u8)> {
        (0..self.height).flat_map(move |y| {
            (0..self.width).flat_map(move |x| {
                let color = color(x, y, self.width, self.height);
                let bits = color.iter().zip(&self.colors);
                let pixel = bits.fold(0_u32, |pixel, (&on, &(position, size))| {
                    let most = (1 << size) - 1;
                    pixel | (u32::from(on) * most) << position
                });
                let start = y * self.pitch + x * self.bytes();
                let bytes = pixel.to_le_bytes().into_iter().take(self.bytes());
                let place = self.start.wrapping_add(start);
                bytes
                    .enumerate()
                    .map(move |(i, byte)| (place.wrapping_add(i), byte))
            })
        })
    }

    /// Draws the picture.
    ///
    /// # Safety
    /// The framebuffer is there.
    pub unsafe fn draw(&self) {
        for (place, byte) in self.pixels() {
            // SAFETY: the caller's promise.
            unsafe { place.write_volatile(byte) }
        }
    }

    /// Whether it shows the picture.
    ///
    /// # Safety
    /// As [`Framebuffer::draw`].
    pub unsafe fn is_drawn(&self) -> bool {
        // SAFETY: the caller's promise.
        self.pixels()
            .all(|(place, byte)| unsafe { place.read_volatile() } == byte)
    }
}
