//! For the host: the checksums of a whole kernel file, over the same bytes that the loader sums up
//! while it loads the kernel.

use crate::entry::protocol::HEAD;
use crate::files::file_bytes::FileBytes;
use crate::files::integrity::{Checksums, Crc32c, Sums};
use crate::files::sum::Sum;
use crate::kernel::image::{self, KernelError};
use crate::memory::list;
use crate::position::FileOffset;
use crate::ways_out::linux::image::{HEADER_ROOM, LinuxImage};
use crate::ways_out::multiboot::elf::{PhysicalImage, check_sections};
use crate::ways_out::multiboot::header::{Header, MultibootError, Version};

/// Both checksums of the same bytes, while they are being computed.
pub struct Both {
    crc: u32,
    sum: Sum,
    crc32c: Crc32c,
}

impl Both {
    /// Those of nothing.
    pub fn new(crc32c: Crc32c) -> Self {
        Self {
            crc: 0,
            sum: Sum::default(),
            crc32c,
        }
    }

    /// Adds bytes.
    pub fn add(&mut self, bytes: &[u8]) {
        self.crc = (self.crc32c)(self.crc, bytes);
        self.sum.add(bytes);
    }

    /// The checksums of all bytes.
    pub fn end(self) -> Checksums {
        Checksums {
            crc32c: self.crc,
            sum: self.sum.end(),
        }
    }
}

/// The checksums of some bytes.
pub fn of_slice(bytes: &[u8], crc32c: Crc32c) -> Checksums {
    let mut both = Both::new(crc32c);
    both.add(bytes);
    both.end()
}

/// The checksums of a kernel's whole file, as in an [`Entry`](disk_layout::manifest::Entry): of its
/// headers, and of the bytes that are loaded. If there are none of headers, they are 0. The headers
/// are the bytes that the loader reads to open the kernel, in its order.
///
/// # Errors
/// When the file is not a bootable kernel: 10A to 10P, 10S to 10U, 11A.
pub fn of_kernel(
    mut file: impl FileBytes,
    sums: Sums,
    crc32c: Crc32c,
) -> Result<(Checksums, Checksums), MultibootError> {
    match sums {
        Sums::Whole => {
            let size = file.size();
            let mut both = Both::new(crc32c);
            add(&mut both, &mut file, (FileOffset::ZERO, size));
            return Ok((Checksums::default(), both.end()));
        }
        Sums::Multiboot1 => return of_multiboot(Version::One, file, crc32c),
        Sums::Multiboot2 => return of_multiboot(Version::Two, file, crc32c),
        Sums::Linux => return Ok(of_linux(file, crc32c)),
        Sums::Elf => {}
    }
    let mut headers = Both::new(crc32c);
    let list = |count| Ok(list::with_room(count));
    let (image, _) = image::read(file.size(), list, |offset, out| {
        let length = file.read_at(offset, out);
        headers.add(out.get(..length).unwrap_or_default());
        Ok::<_, KernelError>(length)
    })?;
    let mut bytes = Both::new(crc32c);
    for segment in image.segments() {
        add(
            &mut bytes,
            &mut file,
            (segment.file_offset, segment.file_size),
        );
    }
    Ok((headers.end(), bytes.end()))
}

/// Adds bytes of a file, given by offset and length.
fn add(both: &mut Both, file: &mut impl FileBytes, (offset, length): (FileOffset, u64)) {
    file.pieces(offset, length, |piece| both.add(piece));
}

/// The headers are the head that the loader reads first. A file that is not a bzImage never boots
/// as one, so all of it is summed.
fn of_linux(mut file: impl FileBytes, crc32c: Crc32c) -> (Checksums, Checksums) {
    let end = file.size();
    let head = head(&mut file, HEADER_ROOM);
    let headers = of_slice(head, crc32c);
    let left_out = match LinuxImage::read(head, end) {
        Ok(image) => image.unchecked(|head| {
            let window = file.window(FileOffset::new(head.start));
            let length = (head.end - head.start) as usize;
            window.get(..length).unwrap_or(window)
        }),
        Err(_) => end..end,
    };
    let mut bytes = Both::new(crc32c);
    add(&mut bytes, &mut file, (FileOffset::ZERO, left_out.start));
    let behind = end.saturating_sub(left_out.end);
    add(
        &mut bytes,
        &mut file,
        (FileOffset::new(left_out.end), behind),
    );
    (headers, bytes.end())
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
) -> Result<(Checksums, Checksums), MultibootError> {
    let head = head(&mut file, HEAD);
    let mut headers = Both::new(crc32c);
    headers.add(head);
    let header = Header::parse(version, head)?;
    let mut image = PhysicalImage::default();
    let list = |count| Ok(list::with_room(count));
    header.read_image(&mut image, file.size(), list, |offset, out| {
        let length = file.read_at(offset, out);
        headers.add(out.get(..length).unwrap_or_default());
        Ok::<_, MultibootError>(length)
    })?;
    let mut bytes = Both::new(crc32c);
    for segment in image.segments() {
        let contents = segment.contents();
        add(
            &mut bytes,
            &mut file,
            (contents.file_offset, contents.file_size),
        );
    }
    if let Some(table) = image.sections() {
        let size = u64::from(table.count) * u64::from(table.entry_size);
        add(&mut headers, &mut file, (table.offset, size));
        if let Some((start, end)) = check_sections(table, &mut file)? {
            add(&mut bytes, &mut file, (start, end - start));
        }
    }
    Ok((headers.end(), bytes.end()))
}
