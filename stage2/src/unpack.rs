//! Step 10, its beginning: files that were compressed by gzip.
//!
//! **On entry**: a file is known, memory can be allocated. **This step**: looks at its first bytes.
//! A compressed file is read whole, compared with its checksum and unpacked, as high in memory as
//! possible: many kernels want to be low. **On exit**: the file, which may be another one, in memory.
#![allow(unsafe_code)]

use core::mem::MaybeUninit;

use boot_path::disk::stream::Range;
use boot_path::files::gzip::{self, Decompressor, GzipError};
use boot_path::files::integrity::{Role, Sums};
use boot_path::kernel::placement::allocate_high;
use boot_path::memory::map::{MemoryKind, MemoryMap};

use crate::files::{File, Files};
use crate::machine::crc::{crc32, crc32c};
use crate::machine::faults::Failure;
use crate::machine::global::Global;
use crate::machine::physical;
use crate::say;

/// Too many KiB for the stack.
static STATE: Global<MaybeUninit<Decompressor>> = Global::new(MaybeUninit::uninit());

/// The file itself, or what was compressed in it.
///
/// # Errors
/// 8C, 8B, 7A, 10Q or 10R.
pub fn unpack(
    files: &mut Files,
    role: Role,
    path: &'static str,
    file: File,
    memory: &mut MemoryMap,
) -> Result<File, Failure> {
    let mut unpacked = file;
    files.attempt(Some(&file), &mut |files| {
        let mut head = [0; gzip::MAGIC.len()];
        files.read_at(&file, 0, &mut head)?;
        unpacked = match gzip::is_gzip(&head) {
            true => unpack_file(files, role, path, &file, memory)?,
            false => file,
        };
        Ok(())
    })?;
    Ok(unpacked)
}

/// Unpacks from memory; what is not there yet is read, and its memory is free again afterwards.
fn unpack_file(
    files: &mut Files,
    role: Role,
    path: &'static str,
    file: &File,
    memory: &mut MemoryMap,
) -> Result<File, Failure> {
    if let Some(bytes) = file.bytes() {
        return unpack_bytes(bytes, memory);
    }
    let expected = files.expected(role, Sums::Whole, path, file)?;
    let start = allocate(memory, file.size)?;
    let range = Range {
        file_offset: 0,
        length: file.size,
        destination: start,
    };
    let unpacked = files.load(file, &[range]).and_then(|()| {
        // SAFETY: just allocated and filled; the reference is gone when the memory is.
        let bytes = unsafe { physical::bytes(start, file.size) };
        if let Some(expected) = expected {
            expected.bytes(crc32c(0, bytes))?;
        }
        unpack_bytes(bytes, memory)
    });
    memory.mark(start, start + file.size, MemoryKind::Usable);
    unpacked
}

/// Unpacks to memory that is allocated for it, and stays allocated.
#[inline(never)]
fn unpack_bytes(packed: &[u8], memory: &mut MemoryMap) -> Result<File, Failure> {
    let size = gzip::unpacked_length(packed)?;
    let start = allocate(memory, size)?;
    // SAFETY: just allocated; nobody else knows it.
    let out = unsafe { physical::bytes_mut(start, size) };
    let unpacked =
        STATE.with(|state| gzip::unpack(packed, out, state.write(Decompressor::new()), crc32));
    if let Err(error) = unpacked {
        memory.mark(start, start + size.max(1), MemoryKind::Usable);
        return Err(error.into());
    }
    say!("10 gzip     # KiB unpacked from #"; size.div_ceil(1024), (packed.len() as u64).div_ceil(1024));
    // SAFETY: it stays allocated, and is not written to any more.
    Ok(unsafe { File::in_memory(start, size) })
}

/// Memory, as high as possible. That there is none is this file's fault, which may say anything.
fn allocate(memory: &mut MemoryMap, needed: u64) -> Result<u64, GzipError> {
    allocate_high(memory, needed).map_err(|_| GzipError::Room { needed })
}
