//! The beginning of a segment that holds nothing but the file's own headers.
//!
//! Linkers load the ELF header and the program headers, as well, if there is room for them: `ld
//! -Ttext=0x100000` puts them to the page in front of the code, where a PC has its BIOS. No kernel
//! needs these bytes, and other loaders boot such a file.

use arrayvec::ArrayVec;

use crate::entry::protocol::HEAD;
use crate::kernel::image::{ReadAt, TableLocation};
use crate::memory::address::PhysAddr;
use crate::memory::layout::PAGE_SIZE;
use crate::position::FileOffset;
use crate::ways_out::multiboot::elf::{Segment, Span};

/// Notes beyond this number count as contents.
const MAX_NOTES: usize = 6;

/// The parts of the file that a kernel does not need in memory.
pub(super) struct Unneeded {
    headers: [Span; 2],
    notes: ArrayVec<Span, MAX_NOTES>,
}

impl Unneeded {
    /// The file header, of `length` bytes, and the program headers.
    pub(super) fn new(length: u64, table: &TableLocation) -> Self {
        let end = |start: FileOffset, length| (start, start.saturating_add(length));
        Self {
            headers: [
                end(FileOffset::ZERO, length),
                end(table.offset, table.length()),
            ],
            notes: ArrayVec::new(),
        }
    }

    /// Adds a PT_NOTE: linkers put notes between the headers and the code.
    pub(super) fn add_note(&mut self, offset: FileOffset, length: u64) {
        let _ = self.notes.try_push((offset, offset.saturating_add(length)));
    }

    /// The first byte behind the headers and notes at an offset, if it is in one of them.
    fn behind(&self, offset: FileOffset) -> Option<FileOffset> {
        let mut all = self.headers.iter().chain(&self.notes);
        let (_, end) = all.find(|(start, end)| (start..end).contains(&&offset))?;
        Some(*end)
    }

    /// How many of a segment's first bytes are headers, notes and zeroes: whole pages of memory, or
    /// all of the segment. 0 if it does not begin with headers.
    pub(super) fn in_front_of<E>(
        &self,
        segment: &Segment,
        read_at: ReadAt<'_, E>,
    ) -> Result<u64, E> {
        let start = segment.file_offset;
        let within = |(from, to): &Span| (from..to).contains(&&start);
        if segment.file_size == 0 || !self.headers.iter().any(within) {
            return Ok(0);
        }
        let end = start + segment.file_size;
        // A Multiboot header would be in the file's head, and the checksum of the headers covers it.
        let last = end.min(FileOffset::new(HEAD as u64));
        let mut position = start;
        while position < last {
            if let Some(behind) = self.behind(position) {
                position = behind;
                continue;
            }
            let mut piece = [0; 256];
            let length = (last - position).min(piece.len() as u64) as usize;
            let piece = piece.get_mut(..length).unwrap_or_default();
            read_at(position, piece)?;
            let zeroes = piece.iter().take_while(|&&byte| byte == 0).count();
            position += zeroes as u64;
            if zeroes < length && self.behind(position).is_none() {
                break;
            }
        }
        if position >= end && segment.file_size == segment.memory_size {
            return Ok(segment.file_size);
        }
        let address = segment.start + (position.min(last) - start);
        let pages = address.align_down(PAGE_SIZE);
        Ok(pages.max(segment.start) - segment.start)
    }
}

impl Segment {
    /// The segment without some of its first bytes, all of which come from the file.
    const fn without_first(mut self, bytes: u64) -> Self {
        if let Some(place) = self.waiting {
            self.waiting = place.checked_add(bytes as u32);
        }
        self.file_offset = self.file_offset.plus(bytes);
        self.file_size -= bytes;
        self.start = self.start.plus(bytes);
        self.memory_size -= bytes;
        self.unneeded -= bytes;
        self
    }

    /// The segment without the headers at its beginning: checksums cover these bytes, because the
    /// headers may have to be left out.
    pub const fn contents(self) -> Self {
        self.without_first(self.unneeded)
    }

    /// The segment without the page at an address and all in front of it, if nobody needs them.
    pub(super) fn behind_page(self, page: PhysAddr) -> Option<Self> {
        let bytes = (page + PAGE_SIZE).min(self.end()) - self.start;
        (bytes > 0 && bytes <= self.unneeded).then(|| self.without_first(bytes))
    }
}
