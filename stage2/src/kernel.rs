//! Step 10: the kernel and its modules.
//!
//! **On entry**: the files are known, memory can be allocated. **This step**: checks the ELF
//! headers; finds room ([`stage2::placement`]); reads only the bytes of PT_LOAD segments, straight to where they belong;
//! zeroes the rest; relocates. Then the modules, whole. **On exit**: everything the kernel needs is
//! in memory; nothing is mapped yet.
#![allow(unsafe_code)]

use stage2::fat::File;
use stage2::kernel_image;
use stage2::memory_map::MemoryMap;
use stage2::placement::Kernel;
use stage2::relocate::{LoadedKernel, relocate};

use crate::entry::{BootEntry, Missing};
use crate::faults::Failure;
use crate::files::Files;
use crate::{physical, say};

/// Loads the kernel and the modules.
///
/// # Errors
/// 10A to 10P, 9B, 8B, 7A, 6B.
pub fn load(
    files: &mut Files,
    entry: &BootEntry,
    memory: &mut MemoryMap,
) -> Result<Kernel, Failure> {
    let file = &entry.kernel;
    let (image, wishes) =
        kernel_image::read(file.size, |offset, out| files.read_at(file, offset, out))?;
    let mut kernel = Kernel::place(image, wishes, memory)?;
    read_segments(files, file, &kernel)?;
    relocate(&kernel.image, &mut InMemory(&kernel), kernel.slide)?;

    let bytes: u64 = kernel
        .image
        .segments()
        .iter()
        .map(|segment| segment.file_size)
        .sum();
    say!(
        "10 kernel   ",
        if kernel.image.position_independent() {
            "PIE"
        } else {
            "ELF64"
        },
        ", # segments, # KiB at #h";
        kernel.image.segments().len() as u64,
        bytes.div_ceil(1024),
        kernel.physical_start()
    );
    load_modules(files, entry, &mut kernel, memory)?;
    Ok(kernel)
}

/// Reads the segments' bytes, and zeroes the rest of their pages.
fn read_segments(files: &mut Files, file: &File, kernel: &Kernel) -> Result<(), Failure> {
    kernel.zeroes(zero);
    files.load(file, &kernel.reads())
}

/// Zeroes the bytes from `start` to `end`, if there are any.
fn zero(start: u64, end: u64) {
    if start < end {
        // SAFETY: part of what was allocated for segments or a module, and for nothing else.
        unsafe { physical::bytes_mut(start, end - start) }.fill(0);
    }
}

/// The loaded segments, for the relocations.
struct InMemory<'a>(&'a Kernel);

impl LoadedKernel for InMemory<'_> {
    fn bytes(&self, segment: usize) -> &[u8] {
        match self.0.segment(segment) {
            // SAFETY: these bytes were read from the file, and are written through `memory` only,
            // which needs the only reference.
            Some((segment, address)) if segment.file_size > 0 => unsafe {
                physical::bytes(address, segment.file_size)
            },
            _ => &[],
        }
    }

    fn memory(&mut self, segment: usize) -> Option<&mut [u8]> {
        let (segment, address) = self.0.segment(segment)?;
        // SAFETY: the segment's memory, and the reference lives as long as the one to `self`.
        Some(unsafe { physical::bytes_mut(address, segment.memory_size) })
    }
}

fn load_modules(
    files: &mut Files,
    entry: &BootEntry,
    kernel: &mut Kernel,
    memory: &mut MemoryMap,
) -> Result<(), Failure> {
    for module in entry.text.modules() {
        let file = files
            .find(module.path)?
            .ok_or(Missing::Module(module.path))?;
        let module = kernel.place_module(file.size, memory)?;
        files.load(&file, &[module.read()])?;
        zero(module.start + module.length, module.memory_end());
    }
    Ok(())
}
