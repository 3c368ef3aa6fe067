//! Step 10, its beginning: which boot protocol the kernel is made for.
//!
//! **On entry**: the kernel's file is known. **This step**: unless the entry names the protocol,
//! reads the file's head and looks for the headers. **On exit**: the protocol is known, and nothing is loaded.
#![allow(unsafe_code)]

use stage2::layout::PAGE_SIZE;
use stage2::memory_map::{MemoryKind, MemoryMap};
use stage2::placement::allocate;
use stage2::protocol::{self, Protocol};

use crate::entry::BootEntry;
use crate::faults::Failure;
use crate::files::Files;
use crate::physical;

/// Finds out the protocol.
///
/// # Errors
/// 8B, 7A, 6B.
pub fn recognise(
    files: &mut Files,
    entry: &BootEntry,
    memory: &mut MemoryMap,
) -> Result<Protocol, Failure> {
    match entry.text.protocol() {
        Some(protocol) => Ok(protocol),
        None => with_head(files, entry, memory, Protocol::by_magic),
    }
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
    let start = allocate(memory, size, PAGE_SIZE, 0, MemoryKind::Reclaimable)?;
    // SAFETY: just allocated, and nobody keeps a reference into it: `T` knows no lifetime of it.
    let head = unsafe { physical::bytes_mut(start, size) };
    let length = files.read_at(&entry.kernel, 0, head)?;
    let result = look(head.get(..length).unwrap_or_default());
    memory.mark(start, start + size, MemoryKind::Usable);
    Ok(result)
}
