//! What a kernel asks the loader for.

use crate::kernel::image::{GIB, KernelError, ReadAt};
use crate::memory::address::VirtAddr;
use crate::memory::layout::PAGE_SIZE;
use crate::position::FileOffset;

/// Length of the name, type (XEN_ELFNOTE_PHYS32_ENTRY) and name of a note with an entry point for PVH.
const PVH_ENTRY: [[u8; 4]; 3] = [[4, 0, 0, 0], [18, 0, 0, 0], *b"Xen\0"];

const MIN_STACK_SIZE: u64 = PAGE_SIZE;
const MAX_STACK_SIZE: u64 = 16 << 20;

/// What a kernel asks for by notes named [`handoff::NOTE_NAME`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wishes {
    /// Size of the stack in bytes: 4 KiB to 16 MiB, a multiple of 4 KiB.
    pub stack_size: u64,
    /// Where the physical map begins: canonical, not 0, a multiple of 1 GiB.
    pub physical_map_base: VirtAddr,
    /// `handoff::FLAG_…`
    pub flags: u64,
    /// Is there such a note? Then the kernel is made for the loader's own handoff.
    pub own: bool,
    /// Is there a note with an entry point for PVH?
    pub pvh: bool,
}

impl Default for Wishes {
    fn default() -> Self {
        Self {
            stack_size: handoff::DEFAULT_STACK_SIZE,
            physical_map_base: VirtAddr::new(handoff::DEFAULT_PHYSICAL_MAP_BASE),
            flags: 0,
            own: false,
            pvh: false,
        }
    }
}

impl Wishes {
    /// Length of a note's name with its zero byte, which follows the header and is padded to 4
    /// bytes.
    const NAME_LENGTH: usize = handoff::NOTE_NAME.len() + 1;
    const VALUE: usize = 12 + Self::NAME_LENGTH.next_multiple_of(4);
    /// Length of a whole wish.
    const WISH: usize = Self::VALUE + 8;
    /// A PT_NOTE is read in pieces of at most this many bytes.
    const PIECE: usize = 1024;

    /// May pages be writable and executable?
    pub const fn allow_writable_code(&self) -> bool {
        self.flags & handoff::FLAG_ALLOW_WRITABLE_CODE != 0
    }

    /// Do the loader's fault handlers stay active for the kernel?
    pub const fn fault_reports(&self) -> bool {
        self.flags & handoff::FLAG_NO_FAULT_REPORTS == 0
    }

    /// Reads the wishes from the bytes of one PT_NOTE. A later wish replaces an earlier one; flags
    /// accumulate.
    ///
    /// Notes are aligned to 4 bytes or to 8, and linker scripts put both into one segment, which
    /// hides the padding that was meant. So this function does not walk the notes, but searches for
    /// their name at every multiple of 4. Unknown types are wishes of a later version, and are
    /// ignored. Unknown flags are refused, as the kernel may depend on them.
    ///
    /// # Errors
    /// 10N.
    pub fn parse_note(&mut self, bytes: &[u8]) -> Result<(), KernelError> {
        self.parse_notes_before(bytes.len(), bytes)
    }

    /// Reads the wishes from one PT_NOTE, in pieces.
    pub(super) fn read_note<E: From<KernelError>>(
        &mut self,
        mut offset: FileOffset,
        size: u64,
        read_at: ReadAt<'_, E>,
    ) -> Result<(), E> {
        let mut left = size;
        let mut piece = [0; Self::PIECE];
        loop {
            let length = left.min(Self::PIECE as u64) as usize;
            let piece = piece.get_mut(..length).unwrap_or_default();
            read_at(offset, piece)?;
            if left <= Self::PIECE as u64 {
                return Ok(self.parse_note(piece)?);
            }
            // A wish that begins further behind may be cut off: it is in the next piece.
            let step = Self::PIECE - Self::WISH;
            self.parse_notes_before(step, piece)?;
            offset += step as u64;
            left -= step as u64;
        }
    }

    /// As [`parse_note`](Self::parse_note), of the notes that begin before the offset `end`.
    fn parse_notes_before(&mut self, end: usize, bytes: &[u8]) -> Result<(), KernelError> {
        let (words, _) = bytes.as_chunks::<4>();
        let word = |index: usize| words.get(index).map(|&word| u32::from_le_bytes(word));
        for start in 0..words.len().min(end.div_ceil(4)) {
            let note = words.get(start..).and_then(|note| note.first_chunk());
            self.pvh |= note.is_some_and(|&[name, _, kind, owner]: &[[u8; 4]; 4]| {
                [name, kind, owner] == PVH_ENTRY
            });
            if word(start) != Some(Self::NAME_LENGTH as u32) {
                continue;
            }
            let note = words.get(start..).unwrap_or_default().as_flattened();
            let named = note
                .get(12..)
                .and_then(|name| name.strip_prefix(handoff::NOTE_NAME.as_bytes()));
            let (Some([0, ..]), Some(length), Some(kind)) =
                (named, word(start + 1), word(start + 2))
            else {
                continue;
            };
            self.own = true;
            let value = note
                .get(Self::VALUE..)
                .and_then(|value| value.first_chunk());
            match value {
                Some(&value) if length == 8 => self.grant(kind, u64::from_le_bytes(value))?,
                _ => return Err(KernelError::NoteLength { kind, length }),
            }
        }
        Ok(())
    }

    fn grant(&mut self, kind: u32, value: u64) -> Result<(), KernelError> {
        let possible = match kind {
            handoff::NOTE_STACK_SIZE => {
                self.stack_size = value.saturating_add(PAGE_SIZE - 1) & !(PAGE_SIZE - 1);
                (MIN_STACK_SIZE..=MAX_STACK_SIZE).contains(&value)
            }
            handoff::NOTE_PHYSICAL_MAP_BASE => {
                self.physical_map_base = VirtAddr::new(value);
                value != 0
                    && self.physical_map_base.is_aligned(GIB)
                    && self.physical_map_base.is_canonical()
            }
            handoff::NOTE_FLAGS => {
                self.flags |= value;
                value & !(handoff::FLAG_ALLOW_WRITABLE_CODE | handoff::FLAG_NO_FAULT_REPORTS) == 0
            }
            _ => true,
        };
        if possible {
            Ok(())
        } else {
            Err(KernelError::NoteValue { kind, value })
        }
    }
}
