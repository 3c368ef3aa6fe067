//! The bytes of a file, which may be larger than memory.
//!
//! The loader checks a kernel that it has loaded; `disk-builder` checks a file without loading it.
//! Both run the same code, which asks for a window into the file. If the file is in memory, the
//! window extends to its end.

use crate::errors::text::copy;
use crate::position::FileOffset;

/// How many bytes from an offset on a window holds, unless the file ends earlier. No reader needs
/// more at once: each reader that relies on this asserts that it is enough.
pub const WINDOW: usize = 32 * 1024;

/// A file whose bytes can be inspected.
pub trait FileBytes {
    /// Length in bytes.
    fn size(&self) -> u64;

    /// The bytes from `offset` on: [`WINDOW`] of them or more, or all that are left.
    ///
    /// Bytes that cannot be read are missing; the implementation keeps the error.
    fn window(&mut self, offset: FileOffset) -> &[u8];

    /// Copies the bytes from `offset` on; returns their number.
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

    /// Calls `each` with the bytes from `offset` on, piece by piece: `length` of them, or all that
    /// are left.
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
