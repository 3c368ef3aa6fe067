//! Whole kernel files, checked without loading them.

use crate::files::file_bytes::FileBytes;
use crate::kernel::image::{
    HEADER_BYTES, KernelError, KernelImage, MAX_NOTE_BYTES, MAX_TABLE_BYTES, Wishes,
    program_headers,
};
use crate::kernel::relocate::{self, SegmentBytes};
use crate::position::FileOffset;

/// Reads and checks the headers and the notes of a kernel file of `file_size` bytes, without
/// [`KernelImage::check`]. `read_at` reads bytes of the file from an offset on, and returns their
/// number. The result is written to `headers`, where it may stay: it is too large for the stack.
///
/// # Errors
/// 10A to 10P, and those of `read_at`; then `headers` is `None`.
pub fn read<E: From<KernelError>>(
    headers: &mut Option<(KernelImage, Wishes)>,
    file_size: u64,
    read_at: impl FnMut(FileOffset, &mut [u8]) -> Result<usize, E>,
) -> Result<(), E> {
    let (image, wishes) = headers.insert((KernelImage::empty(), Wishes::default()));
    let result = fill(image, wishes, file_size, read_at);
    if result.is_err() {
        *headers = None;
    }
    result
}

fn fill<E: From<KernelError>>(
    image: &mut KernelImage,
    wishes: &mut Wishes,
    file_size: u64,
    mut read_at: impl FnMut(FileOffset, &mut [u8]) -> Result<usize, E>,
) -> Result<(), E> {
    const _: () = assert!(MAX_TABLE_BYTES <= MAX_NOTE_BYTES);
    let mut buffer = [0; MAX_NOTE_BYTES];
    let mut header = [0; HEADER_BYTES];
    let length = read_at(FileOffset::ZERO, &mut header)?;
    let present = header.get(..length).unwrap_or_default();
    let location = program_headers(present, file_size)?;
    let table = buffer.get_mut(..location.length).unwrap_or_default();
    read_at(location.offset, table)?;
    image.fill(&header, table, file_size)?;

    for note in image.notes() {
        let bytes = buffer.get_mut(..note.size).unwrap_or_default();
        read_at(note.offset, bytes)?;
        wishes.parse_note(bytes)?;
    }
    Ok(())
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
    Ok((image, wishes))
}

/// As [`read`].
///
/// # Errors
/// 10A to 10P.
pub(crate) fn read_file(file: &mut impl FileBytes) -> Result<(KernelImage, Wishes), KernelError> {
    let mut headers = None;
    let size = file.size();
    read(&mut headers, size, |offset, out| {
        Ok(file.read_at(offset, out))
    })?;
    headers.ok_or(KernelError::NotElf)
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
