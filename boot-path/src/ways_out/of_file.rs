//! For the host: recognises the boot protocol of a kernel from its whole file.

use crate::entry::protocol::Protocol;
use crate::files::file_bytes::FileBytes;
use crate::position::FileOffset;
use crate::ways_out::limine;

/// The protocol of a kernel, by its whole file: a note of the loader's own handoff takes
/// precedence, then Limine's requests, then the other headers.
pub fn protocol_of_file(mut file: impl FileBytes) -> Protocol {
    let recognised = limine::recognise_file(&mut file);
    recognised.unwrap_or_else(|| Protocol::by_magic(file.window(FileOffset::ZERO), None))
}
