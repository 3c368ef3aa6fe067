//! Whole kernel files, recognised and checked without loading them.

use core::ops::Range;

use crate::entry::protocol::Protocol;
use crate::files::file_bytes::FileBytes;
use crate::kernel::image::{self, KernelError, KernelImage, Unloaded};
use crate::kernel::relocate::relocate;
use crate::ways_out::limine::{FileError, Requests, place, scan};

/// The protocol that stage2 would recognise before it looks for other headers. `None`: the file has
/// neither a note of the loader's own handoff nor requests, or is not an ELF64 file.
pub(crate) fn recognise_file(mut file: impl FileBytes) -> Option<Protocol> {
    let (image, wishes) = image::read_file(&mut file).ok()?;
    if wishes.own {
        return Some(Protocol::Bootpath);
    }
    let found = place(&image, Unloaded(&mut file, &image));
    (!found.is_empty()).then_some(Protocol::Limine)
}

/// Between which offsets in a kernel file all begins that a Limine kernel is recognised by; 0 and 0:
/// there is nothing of it, nor a mark of another loader. `None`: it is not an ELF64 file, or has only
/// such a mark.
pub fn requests_of_file(mut file: impl FileBytes) -> Option<Range<u64>> {
    let (image, wishes) = image::read_file(&mut file).ok()?;
    let place = place(&image, Unloaded(&mut file, &image));
    let mut read_at = |offset, out: &mut [u8]| Ok::<_, KernelError>(file.read_at(offset, out));
    if place.is_empty() && image::foreign(&image, &wishes, &mut read_at).is_some() {
        return None;
    }
    Some(place)
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
