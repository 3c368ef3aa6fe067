//! Writes bytes to memory.

use crate::entry::entry_file::KernelEntry;
use crate::errors::text::copy;

/// Memory that is filled from the front. Data that does not fit is left out, and
/// [`finish`](Self::finish) reports that.
pub(super) struct Writer<'a> {
    bytes: &'a mut [u8],
    /// Physical address of the first byte.
    base: u32,
    pub(super) length: usize,
}

impl<'a> Writer<'a> {
    /// Fills these bytes, which begin at the physical address `base`.
    pub(super) const fn new(bytes: &'a mut [u8], base: u32) -> Self {
        Self {
            bytes,
            base,
            length: 0,
        }
    }

    pub(super) fn align(&mut self, to: usize) {
        let length = self.length.next_multiple_of(to);
        self.room(length - self.length);
    }

    /// Takes the next bytes, and zeroes them.
    #[inline(never)]
    pub(super) fn room(&mut self, length: usize) -> &mut [u8] {
        let start = self.length;
        self.length = start.saturating_add(length);
        let room = self.bytes.get_mut(start..self.length).unwrap_or_default();
        room.fill(0);
        room
    }

    #[inline(never)]
    pub(super) fn put(&mut self, bytes: &[u8]) {
        copy(bytes, self.room(bytes.len()));
    }

    /// Overwrites bytes that were written before.
    #[inline(never)]
    pub(super) fn put_at(&mut self, position: usize, bytes: &[u8]) {
        copy(bytes, self.bytes.get_mut(position..).unwrap_or_default());
    }

    #[inline(never)]
    pub(super) fn word(&mut self, word: u32) {
        self.put(&word.to_le_bytes());
    }

    pub(super) fn words(&mut self, words: &[u32]) {
        for word in words {
            self.word(*word);
        }
    }

    pub(super) fn quadword(&mut self, quadword: u64) {
        self.put(&quadword.to_le_bytes());
    }

    /// Writes a text and a zero byte.
    #[inline(never)]
    pub(super) fn text(&mut self, text: &str) {
        self.put(text.as_bytes());
        self.room(1);
    }

    /// Writes a path; a blank and the text behind it, if there is one; and a zero byte. Many
    /// kernels drop the first word, because most loaders put the path there.
    pub(super) fn path_and_text(&mut self, path: &str, text: &str) {
        self.put(path.as_bytes());
        if !text.is_empty() {
            self.put(b" ");
        }
        self.text(text);
    }

    pub(super) fn command_line(&mut self, entry: &KernelEntry<'_>) {
        self.put(entry.kernel_path().as_bytes());
        let length = entry.command_line_length();
        if length > 0 {
            self.put(b" ");
        }
        let room = self.room(length + 1);
        entry.copy_command_line(room);
    }

    /// Physical address of the next byte.
    pub(super) const fn address(&self) -> u32 {
        self.base.wrapping_add(self.length as u32)
    }

    /// The number of bytes, if all of them fitted.
    pub(super) fn finish(self) -> Option<usize> {
        (self.length <= self.bytes.len()).then_some(self.length)
    }
}
