//! Opens a Linux kernel.

use crate::entry::protocol::{self, LinuxEntry};
use crate::files::integrity::Sums;
use crate::files::views::Reader;
use crate::position::FileOffset;
use crate::ways_out::failure::OpenMachine;
use crate::ways_out::linux::boot::Opened as Linux;
use crate::ways_out::linux::image::{HEADER_ROOM, LinuxImage};
use crate::ways_out::recognise::{Checked, Opened, Opening, expected};

/// Reads the setup header.
#[inline(never)]
pub(super) fn open<'m, M: OpenMachine<'m>>(
    opening: &mut Opening<'_, 'm>,
    wanted: Option<LinuxEntry>,
    reader: &mut Reader<'_, 'm, M>,
) -> Checked<'m, M> {
    reader.take_sum();
    let mut head = [0; HEADER_ROOM];
    let length = reader.read_at(FileOffset::ZERO, &mut head)?;
    let head = head.get(..length).unwrap_or_default();
    let image = LinuxImage::read(head, opening.entry.kernel.size)?;
    let expected = expected(opening.entry, Sums::Linux, reader)?;
    *opening.opened = Some(Opened::Linux(Linux {
        image,
        wanted,
        expected,
    }));
    Ok(expected)
}

/// The same for a kernel that the builder has recognised by this header. `read`: whether there are
/// headers of an ELF file, which were read.
#[inline(never)]
pub(super) fn open_listed<'m, M: OpenMachine<'m>>(
    opening: &mut Opening<'_, 'm>,
    read: Result<(), M::Failure>,
    reader: &mut Reader<'_, 'm, M>,
) -> Checked<'m, M> {
    let (sum, head) = opening.read_head(reader)?;
    if !protocol::is_linux(head) {
        reader.set_sum(sum);
        return opening.unknown(read, reader);
    }
    open(opening, None, reader)
}
