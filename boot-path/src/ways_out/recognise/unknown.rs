//! Kernels of which nobody has said by what protocol they boot.

use disk_layout::parts::Part;

use crate::entry::choose::BootEntry;
use crate::entry::protocol::Protocol;
use crate::files::access::Files;
use crate::files::views::Reader;
use crate::kernel::image::{self, KernelError};
use crate::kernel::loading::Loaded;
use crate::kernel::placement::Kernel;
use crate::ways_out::failure::OpenMachine;
use crate::ways_out::limine::recognises;
use crate::ways_out::multiboot::header::Version;
use crate::ways_out::recognise::{Checked, Opened, Opening, multiboot};

/// Finds out the protocol of a kernel without a note by the head of its file, and reads its headers.
/// `read`: whether they are those of an ELF file, which were read.
#[inline(never)]
pub(super) fn open<'m, M: OpenMachine<'m>>(
    opening: &mut Opening<'_, 'm>,
    read: Result<(), M::Failure>,
    reader: &mut Reader<'_, 'm, M>,
) -> Checked<'m, M> {
    let listed = opening.sums;
    let (sum, head) = opening.read_head(reader)?;
    let version = match Protocol::by_magic(head, listed) {
        Protocol::Linux(wanted) => return opening.linux(wanted, reader),
        Protocol::Multiboot1 => Version::One,
        Protocol::Multiboot2 => Version::Two,
        Protocol::Bootpath | Protocol::Limine => {
            reader.set_sum(sum);
            return read.and_then(|()| opening.elf(reader));
        }
    };
    let open = multiboot::open_unless_limine as fn(_, _, _, _) -> _;
    let machine = reader.files().machine();
    machine.of_part(Part::Multiboot, open)?(opening, version, sum, reader)
}

/// Limine requests take precedence over a Multiboot header. To find them, reads and keeps all
/// bytes that would be loaded, and the sections that would not, with them.
///
/// # Errors
/// 8B or 7A.
#[inline(never)]
pub(super) fn has_limine_requests<'m, M: OpenMachine<'m>>(
    opening: &mut Opening<'_, 'm>,
    reader: &mut Reader<'_, 'm, M>,
) -> Result<bool, M::Failure> {
    let Some((image, _)) = &opening.headers else {
        return Ok(false);
    };
    let unloaded = match &opening.opened {
        Some(Opened::Multiboot(multiboot)) => multiboot.unloaded,
        _ => None,
    };
    let segments = image.segments().iter();
    let parts = segments.map(|segment| (segment.file_offset, segment.file_size));
    let parts = parts.chain(unloaded.map(|(start, end)| (start, end - start)));
    let files = reader.keep(parts, opening.memory)?;
    let mut segments = image.segments().iter().enumerate();
    Ok(segments.any(|(index, segment)| recognises(files.kept(index), segment.virtual_start)))
}

/// Refuses a kernel that has the marks of another loader's kernels, but nothing that this loader
/// knows.
///
/// # Errors
/// 10W.
#[inline(never)]
pub(super) fn refuse_foreign<'m, M: OpenMachine<'m>>(
    files: &mut Files<'m, M>,
    entry: &BootEntry<'m>,
    loaded: &Loaded<'m>,
) -> Result<(), M::Failure> {
    let Kernel { image, wishes, .. } = &loaded.kernel;
    let mut read_at = |offset, out: &mut [u8]| files.read_at(&entry.kernel, offset, out);
    match image::foreign(image, wishes, &mut read_at) {
        Some(kind) => Err(KernelError::Foreign { kind }.into()),
        None => Ok(()),
    }
}
