//! Whole kernel files, recognised and checked without loading them.

use crate::entry::protocol::Protocol;
use crate::files::file_bytes::FileBytes;
use crate::kernel::image::{self, KernelImage, Unloaded};
use crate::kernel::relocate::{SegmentBytes as _, relocate};
use crate::ways_out::limine::{FileError, OVERLAP, Requests, recognises, scan};

/// The protocol that stage2 would recognise before it looks for other headers. `None`: the file has
/// neither a note of the loader's own handoff nor requests, or is not an ELF64 file.
pub(crate) fn recognise_file(mut file: impl FileBytes) -> Option<Protocol> {
    let (image, wishes) = image::read_file(&mut file).ok()?;
    if wishes.own {
        return Some(Protocol::Bootpath);
    }
    let mut unloaded = Unloaded(&mut file, &image);
    for (index, segment) in image.segments().iter().enumerate() {
        let mut offset = 0;
        loop {
            let piece = unloaded.window(index, offset);
            if recognises(piece, segment.virtual_start + offset) {
                return Some(Protocol::Limine);
            }
            let length = piece.len() as u64;
            if length <= OVERLAP || offset + length >= segment.file_size {
                break;
            }
            offset += length - OVERLAP;
        }
    }
    None
}

/// Checks a whole kernel file as stage2 would, without loading it. `None`: it has a note of the
/// loader's own handoff, or has no requests.
///
/// # Errors
/// The errors that stage2 would show: 10A to 10P, 10X to 10Z.
pub fn check_file(mut file: impl FileBytes) -> Result<Option<(KernelImage, Requests)>, FileError> {
    let (image, wishes) = image::read_file(&mut file)?;
    if wishes.own {
        return Ok(None);
    }
    let Some(requests) = scan(&image, Unloaded(&mut file, &image))? else {
        return Ok(None);
    };
    let slide = image.choose_slide();
    relocate(&image, Unloaded(&mut file, &image), slide)?;
    requests.check(&image)?;
    Ok(Some((image, requests)))
}
