//! For the host: the checksums of a whole kernel file, over the same bytes that the loader sums up
//! while it loads the kernel.

use alloc::vec::Vec;

use crate::entry::protocol::HEAD;
use crate::files::file_bytes::FileBytes;
use crate::files::integrity::{Crc32c, Sums};
use crate::kernel::image::{self, KernelError};
use crate::position::FileOffset;
use crate::ways_out::linux::image::{HEADER_ROOM, LinuxImage};
use crate::ways_out::multiboot::elf::{PhysicalImage, check_sections};
use crate::ways_out::multiboot::header::{Header, MultibootError, Version};

/// The two checksums of a kernel's whole file, as in an [`Entry`](disk_layout::manifest::Entry): of
/// its headers, and of the bytes that are loaded. If there is only one, the first one is 0. The
/// headers are the bytes that the loader reads to open the kernel, in its order.
///
/// # Errors
/// When the file is not a bootable kernel: 10A to 10P, 10S to 10U, 11A.
pub fn of_kernel(
    mut file: impl FileBytes,
    sums: Sums,
    crc32c: Crc32c,
) -> Result<(u32, u32), MultibootError> {
    match sums {
        Sums::Whole => {
            let size = file.size();
            return Ok((0, of_bytes(&mut file, 0, (FileOffset::ZERO, size), crc32c)));
        }
        Sums::Multiboot1 => return of_multiboot(Version::One, file, crc32c),
        Sums::Multiboot2 => return of_multiboot(Version::Two, file, crc32c),
        Sums::Linux => return Ok(of_linux(file, crc32c)),
        Sums::Elf => {}
    }
    let mut headers = 0;
    let list = |count| Ok(Vec::with_capacity(count));
    let (image, _) = image::read(file.size(), list, |offset, out| {
        let length = file.read_at(offset, out);
        headers = crc32c(headers, out.get(..length).unwrap_or_default());
        Ok::<_, KernelError>(length)
    })?;
    let bytes = image.segments().iter().fold(0, |crc, segment| {
        let place = (segment.file_offset, segment.file_size);
        of_bytes(&mut file, crc, place, crc32c)
    });
    Ok((headers, bytes))
}

/// Continues a checksum over bytes of a file, given by offset and length.
fn of_bytes(
    file: &mut impl FileBytes,
    mut crc: u32,
    (offset, length): (FileOffset, u64),
    crc32c: Crc32c,
) -> u32 {
    file.pieces(offset, length, |piece| crc = crc32c(crc, piece));
    crc
}

/// The headers are the head that the loader reads first. A file that is not a bzImage never boots
/// as one, so all of it is summed.
fn of_linux(mut file: impl FileBytes, crc32c: Crc32c) -> (u32, u32) {
    let end = file.size();
    let head = head(&mut file, HEADER_ROOM);
    let headers = crc32c(0, head);
    let left_out = match LinuxImage::read(head, end) {
        Ok(image) => image.unchecked(|head| {
            let window = file.window(FileOffset::new(head.start));
            let length = (head.end - head.start) as usize;
            window.get(..length).unwrap_or(window)
        }),
        Err(_) => end..end,
    };
    let crc = of_bytes(&mut file, 0, (FileOffset::ZERO, left_out.start), crc32c);
    let behind = end.saturating_sub(left_out.end);
    (
        headers,
        of_bytes(
            &mut file,
            crc,
            (FileOffset::new(left_out.end), behind),
            crc32c,
        ),
    )
}

/// The first `length` bytes of a file, or all of a shorter one.
fn head(file: &mut impl FileBytes, length: usize) -> &[u8] {
    let window = file.window(FileOffset::ZERO);
    window.get(..length).unwrap_or(window)
}

fn of_multiboot(
    version: Version,
    mut file: impl FileBytes,
    crc32c: Crc32c,
) -> Result<(u32, u32), MultibootError> {
    let head = head(&mut file, HEAD);
    let mut headers = crc32c(0, head);
    let header = Header::parse(version, head)?;
    let mut image = PhysicalImage::default();
    let list = |count| Ok(Vec::with_capacity(count));
    header.read_image(&mut image, file.size(), list, |offset, out| {
        let length = file.read_at(offset, out);
        headers = crc32c(headers, out.get(..length).unwrap_or_default());
        Ok::<_, MultibootError>(length)
    })?;
    let mut bytes = image.segments().iter().fold(0, |crc, segment| {
        let contents = segment.contents();
        let place = (contents.file_offset, contents.file_size);
        of_bytes(&mut file, crc, place, crc32c)
    });
    if let Some(table) = image.sections() {
        let size = u64::from(table.count) * u64::from(table.entry_size);
        headers = of_bytes(&mut file, headers, (table.offset, size), crc32c);
        if let Some((start, end)) = check_sections(table, &mut file)? {
            bytes = of_bytes(&mut file, bytes, (start, end - start), crc32c);
        }
    }
    Ok((headers, bytes))
}
