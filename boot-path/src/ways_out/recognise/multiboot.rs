//! Opens a kernel with a Multiboot header.

use disk_layout::parts::Part;

use crate::files::error::is_of_volume;
use crate::files::integrity::Running;
use crate::files::views::Reader;
use crate::memory::list;
use crate::position::FileOffset;
use crate::ways_out::failure::OpenMachine;
use crate::ways_out::multiboot::boot::{Opened as Multiboot, sums};
use crate::ways_out::multiboot::elf::{self, PhysicalImage, unloaded_sections};
use crate::ways_out::multiboot::header::{Header, Version};
use crate::ways_out::recognise::{Checked, Opened, Opening, expected, place_of_requests, unknown};

/// Reads the header of this version, and those of an ELF file that belong to it.
#[inline(never)]
pub(super) fn open<'m, M: OpenMachine<'m>>(
    opening: &mut Opening<'_, 'm>,
    version: Version,
    reader: &mut Reader<'_, 'm, M>,
) -> Checked<'m, M> {
    reader.take_sum();
    let length = reader.read_at(FileOffset::ZERO, opening.head)?;
    let opened = opening.opened.insert(Opened::Multiboot(Multiboot {
        version,
        header: Header::new(version),
        image: PhysicalImage::default(),
        sections: None,
        unloaded: None,
        expected: None,
    }));
    let Opened::Multiboot(opened) = opened else {
        return Ok(None);
    };
    let head = opening.head.get(..length).unwrap_or_default();
    opened.header.fill(head)?;
    let size = opening.entry.kernel.size;
    let machine = reader.files().machine();
    let list = |count| {
        let place = machine.grow_heap::<elf::Segment>(count, opening.memory)?;
        opening.lists.multiboot = Some(place);
        Ok(list::with_room(count))
    };
    let read_at = |offset, out: &mut [u8]| reader.read_at(offset, out);
    opened
        .header
        .read_image(&mut opened.image, size, list, read_at)?;
    if let Some(table) = opened.image.sections() {
        let length = u64::from(table.count) * u64::from(table.entry_size);
        let headers = machine.high(length, opening.memory)?;
        let headers = opened.sections.insert(headers);
        reader.read_at(table.offset, headers)?;
        opened.unloaded = unloaded_sections(headers, table.entry_size, size)?;
    }
    opened.expected = expected(opening.entry, sums(version), reader)?;
    Ok(opened.expected)
}

/// The same for a kernel that the builder has recognised by this version's header. `read`: whether
/// there are headers of an ELF file, which were read.
#[inline(never)]
pub(super) fn open_listed<'m, M: OpenMachine<'m>>(
    opening: &mut Opening<'_, 'm>,
    version: Version,
    read: Result<(), M::Failure>,
    reader: &mut Reader<'_, 'm, M>,
) -> Checked<'m, M> {
    let (sum, head) = opening.read_head(reader)?;
    if version.find(head).is_err() {
        reader.set_sum(sum);
        return opening.unknown(read, reader);
    }
    open_unless_limine(opening, version, sum, reader)
}

/// The same, unless the kernel has Limine requests: they take precedence over a Multiboot header.
/// `sum`: that of the headers of an ELF file.
#[inline(never)]
pub(super) fn open_unless_limine<'m, M: OpenMachine<'m>>(
    opening: &mut Opening<'_, 'm>,
    version: Version,
    sum: Running,
    reader: &mut Reader<'_, 'm, M>,
) -> Checked<'m, M> {
    let multiboot = open(opening, version, reader);
    if let Err(failure) = &multiboot
        && is_of_volume(failure)
    {
        return multiboot;
    }
    let expected = match &opening.opened {
        Some(Opened::Multiboot(multiboot)) => multiboot.expected.as_ref(),
        _ => None,
    };
    if opening.headers.is_none() || place_of_requests(expected).is_empty() {
        return multiboot;
    }
    let multiboot_sum = reader.take_sum();
    let machine = reader.files().machine();
    let has_requests = unknown::has_limine_requests as fn(_, _) -> _;
    if machine.of_part(Part::Unknown, has_requests)?(&mut *opening, &mut *reader)? {
        opening.forget_multiboot(machine);
        reader.set_sum(sum);
        return opening.elf(reader);
    }
    reader.set_sum(multiboot_sum);
    multiboot
}
