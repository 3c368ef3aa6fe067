//! Whole kernel files, checked without loading them.

use alloc::vec::Vec;

use elf::abi;
use zerocopy::FromBytes as _;

use crate::files::file_bytes::FileBytes;
use crate::kernel::image::{
    Foreign, HEADER_BYTES, KernelError, KernelImage, ProgramHeader, Segment, Wishes, check_in_file,
    foreign, program_headers,
};
use crate::kernel::relocate::{self, SegmentBytes};
use crate::memory::list;
use crate::position::FileOffset;

/// Reads and checks the headers and the notes of a kernel file of `file_size` bytes, without
/// [`KernelImage::check`]. `read_at` reads bytes of the file from an offset on, and returns their
/// number. `list` makes a list with room for so many segments.
///
/// # Errors
/// 10A to 10P, and those of `read_at` and `list`.
pub fn read<E: From<KernelError>>(
    file_size: u64,
    list: impl FnOnce(usize) -> Result<Vec<Segment>, E>,
    mut read_at: impl FnMut(FileOffset, &mut [u8]) -> Result<usize, E>,
) -> Result<(KernelImage, Wishes), E> {
    let mut header = [0; HEADER_BYTES];
    let length = read_at(FileOffset::ZERO, &mut header)?;
    let present = header.get(..length).unwrap_or_default();
    let table = program_headers(present, file_size)?;
    let (mut image, mut wishes) = (KernelImage::empty(), Wishes::default());
    image.begin(present, file_size)?;
    image.segments = list(table.count.into())?;
    let mut has_notes = false;
    table.each(&mut read_at, &mut |_, number, bytes| {
        has_notes |= note(bytes).is_some();
        Ok(image.add(bytes, number, file_size)?)
    })?;
    let addresses = image.check_addresses();
    if !has_notes {
        addresses?;
        return Ok((image, wishes));
    }

    let mut left = file_size;
    table.each(&mut read_at, &mut |read_at, segment, bytes| {
        let Some((offset, size)) = note(bytes) else {
            return Ok(());
        };
        check_in_file(offset, size, file_size)?;
        // Notes that overlap could be read for hours.
        let rest = left.checked_sub(size);
        left = rest.ok_or(KernelError::TooManyNotes { segment })?;
        wishes.read_note(offset, size, read_at)
    })?;
    // The addresses of a vmlinux make no sense to anybody who does not know what it is.
    match addresses {
        Err(_) if wishes.pvh && !wishes.own => {
            let kind = Foreign::Pvh;
            Err(KernelError::Foreign { kind })?
        }
        addresses => addresses?,
    }
    Ok((image, wishes))
}

/// Offset and size in the file of a PT_NOTE with bytes, by its program header.
fn note(header: &[u8]) -> Option<(FileOffset, u64)> {
    let (header, _) = ProgramHeader::ref_from_prefix(header).ok()?;
    let (offset, size) = (header.offset.get(), header.file_size.get());
    let is_note = header.kind.get() == abi::PT_NOTE && size > 0;
    is_note.then_some((FileOffset::new(offset), size))
}

/// Checks a whole kernel file as stage2 would, relocations included, without loading it.
///
/// # Errors
/// The errors that stage2 would show: 10A to 10P, 11A.
pub fn check_file(mut file: impl FileBytes) -> Result<(KernelImage, Wishes), KernelError> {
    let (image, wishes) = read_file(&mut file)?;
    image.check(&wishes)?;
    let slide = image.choose_slide();
    relocate::relocate(&image, Unloaded(&mut file, &image), slide)?;
    if !wishes.own {
        let mut read_at = |offset, out: &mut [u8]| Ok::<_, KernelError>(file.read_at(offset, out));
        if let Some(kind) = foreign(&image, &wishes, &mut read_at) {
            return Err(KernelError::Foreign { kind });
        }
    }
    Ok((image, wishes))
}

/// As [`read`].
///
/// # Errors
/// 10A to 10P.
pub(crate) fn read_file(file: &mut impl FileBytes) -> Result<(KernelImage, Wishes), KernelError> {
    let list = |count| Ok(list::with_room(count));
    read(file.size(), list, |offset, out| {
        Ok(file.read_at(offset, out))
    })
}

/// A kernel that is still in its file.
pub(crate) struct Unloaded<'a, F>(pub(crate) &'a mut F, pub(crate) &'a KernelImage);

impl<F: FileBytes> SegmentBytes for Unloaded<'_, F> {
    fn window(&mut self, segment: usize, offset: u64) -> &[u8] {
        let Some(segment) = self.1.segments().get(segment) else {
            return &[];
        };
        // The segment lies within the file, so the sum does not exceed the file's size.
        let left = segment.file_size.saturating_sub(offset);
        let window = self.0.window(segment.file_offset.saturating_add(offset));
        let left = usize::try_from(left).unwrap_or(usize::MAX);
        window.get(..left).unwrap_or(window)
    }

    fn memory(&mut self, _: usize) -> Option<&mut [u8]> {
        None
    }
}
