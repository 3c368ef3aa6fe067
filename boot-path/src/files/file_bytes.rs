//! The bytes of a file, which may be larger than memory.
//!
//! The loader checks a kernel that it has loaded; `disk-builder` checks a file that it does not want to
//! load. Both run the same code: it asks for a window into the file, and gets all of the rest
//! where the file is in memory.

use crate::errors::text::copy;
use crate::position::FileOffset;

/// How many bytes from an offset on are to be had in one piece, unless the file ends before. No reader
/// wants more at once: whoever relies on it asserts that this is enough.
pub const WINDOW: usize = 32 * 1024;

/// A file whose bytes can be looked at.
pub trait FileBytes {
    /// Length in bytes.
    fn size(&self) -> u64;

    /// The bytes from `offset` on: [`WINDOW`] of them or more, or all that are left.
    ///
    /// What cannot be read is missing; whoever implements this keeps the error.
    fn window(&mut self, offset: FileOffset) -> &[u8];

    /// Copies the bytes from `offset` on; returns how many there were.
    fn read_at(&mut self, offset: FileOffset, out: &mut [u8]) -> usize {
        let mut done = 0;
        while let Some(rest) = out.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match copy(self.window(offset.saturating_add(done as u64)), rest) {
                0 => break,
                count => done += count,
            }
        }
        done
    }

    /// Calls `each` with the bytes from `offset` on, piece by piece: `length` of them, or as many as
    /// there are.
    fn pieces(&mut self, offset: FileOffset, length: u64, mut each: impl FnMut(&[u8]))
    where
        Self: Sized,
    {
        let mut done = 0;
        while done < length {
            let window = self.window(offset.saturating_add(done));
            let wanted = usize::try_from(length - done).unwrap_or(usize::MAX);
            let piece = window.get(..wanted).unwrap_or(window);
            if piece.is_empty() {
                break;
            }
            each(piece);
            done += piece.len() as u64;
        }
    }
}

/// A file in memory.
impl<T: AsRef<[u8]> + ?Sized> FileBytes for &T {
    fn size(&self) -> u64 {
        (*self).as_ref().len() as u64
    }

    fn window(&mut self, offset: FileOffset) -> &[u8] {
        let offset = usize::try_from(offset.as_u64()).ok();
        let rest = offset.and_then(|offset| (*self).as_ref().get(offset..));
        rest.unwrap_or_default()
    }
}

impl<F: FileBytes> FileBytes for &mut F {
    fn size(&self) -> u64 {
        (**self).size()
    }

    fn window(&mut self, offset: FileOffset) -> &[u8] {
        (**self).window(offset)
    }
}
