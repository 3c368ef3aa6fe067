//! Step 10, its beginning: which boot protocol the kernel is made for.
//!
//! **On entry**: the kernel's file is known. **This step**: unless the entry names the protocol, looks
//! for the note of the loader's own handoff; where there is none, reads the file's head and looks for the
//! other headers. **On exit**: the protocol is known, and nothing is loaded.
#![allow(unsafe_code)]

use boot_path::entry::protocol::{self, Protocol};
use boot_path::kernel::image::KernelImage;
use boot_path::kernel::placement::allocate;
use boot_path::memory::layout::PAGE_SIZE;
use boot_path::memory::map::{MemoryKind, MemoryMap};
use boot_path::ways_out::limine::requests;

use crate::entry::BootEntry;
use crate::files::Files;
use crate::kernel;
use crate::machine::faults::Failure;
use crate::machine::physical;

/// Finds out the protocol, unless the entry names it.
///
/// # Errors
/// 8B, 7A, 6B.
#[inline(never)] // its variables are large
pub fn recognise(
    files: &mut Files,
    entry: &BootEntry,
    memory: &mut MemoryMap,
) -> Result<Protocol, Failure> {
    if let Some(protocol) = entry.protocol {
        return Ok(protocol);
    }
    let file = &entry.kernel;
    let mut headers = None;
    files.attempt(Some(file), &mut |files| {
        let mut unreadable = false;
        match kernel::parse_headers(files, file, &mut headers, &mut unreadable) {
            Err(failure) if unreadable => Err(failure),
            // What is no such ELF file is none of the loader's own kernels, or one that who loads it refuses.
            _ => Ok(()),
        }
    })?;
    if headers.as_ref().is_some_and(|(_, wishes)| wishes.own) {
        return Ok(Protocol::Bootpath);
    }
    let protocol = with_head(files, entry, memory, Protocol::by_magic)?;
    if let (Protocol::Multiboot1 | Protocol::Multiboot2, Some((image, _))) = (protocol, &headers)
        && has_limine_requests(files, entry, image, memory)
    {
        return Ok(Protocol::Limine);
    }
    Ok(protocol)
}

/// Limine requests come before a Multiboot header. A kernel without one is looked at when it is loaded;
/// here its bytes are read for that alone. What cannot be read has none.
fn has_limine_requests(
    files: &mut Files,
    entry: &BootEntry,
    image: &KernelImage,
    memory: &mut MemoryMap,
) -> bool {
    let file = &entry.kernel;
    let size = protocol::HEAD as u64;
    let Ok(start) = allocate(memory, size, PAGE_SIZE, 0, MemoryKind::Reclaimable) else {
        return false;
    };
    // SAFETY: just allocated; no reference into it outlives this function.
    let buffer = unsafe { physical::bytes_mut(start, size) };
    let mut found = false;
    for segment in image.segments() {
        let step = protocol::HEAD - requests::OVERLAP as usize;
        for position in (0..segment.file_size).step_by(step) {
            let length = (segment.file_size - position).min(size) as usize;
            let piece = buffer.get_mut(..length).unwrap_or_default();
            let read = files.read_at(file, segment.file_offset + position, piece);
            let address = segment.virtual_start + position;
            found |= read.is_ok() && requests::recognises(piece, address);
        }
    }
    memory.mark(start, start + size, MemoryKind::Usable);
    found
}

/// Reads the first [`protocol::HEAD`] bytes of the kernel's file, or as many as there are, and looks
/// at them. Their memory is free again afterwards: it may be where the kernel wants to be.
///
/// # Errors
/// 8B, 7A, 6B.
pub fn with_head<T>(
    files: &mut Files,
    entry: &BootEntry,
    memory: &mut MemoryMap,
    look: impl FnOnce(&[u8]) -> T,
) -> Result<T, Failure> {
    let size = protocol::HEAD as u64;
    // Without room for even that, nothing can be booted: who loads says how much it takes.
    let Ok(start) = allocate(memory, size, PAGE_SIZE, 0, MemoryKind::Reclaimable) else {
        return Ok(look(&[]));
    };
    // SAFETY: just allocated, and nobody keeps a reference into it: `T` knows no lifetime of it.
    let head = unsafe { physical::bytes_mut(start, size) };
    let file = &entry.kernel;
    let mut length = 0;
    let read = files.attempt(Some(file), &mut |files| {
        length = files.read_at(file, 0, head)?;
        Ok(())
    });
    let result = look(head.get(..length).unwrap_or_default());
    memory.mark(start, start + size, MemoryKind::Usable);
    read.map(|()| result)
}
