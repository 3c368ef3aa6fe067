//! Step 10: the kernel and its modules.
//!
//! **On entry**: the files are known, memory can be allocated. **This step**: checks the ELF
//! headers; finds room ([`boot_path::kernel::placement`]); reads only the bytes of PT_LOAD segments, straight to where they belong;
//! zeroes the rest; relocates. Then the modules, whole. What `disk-builder` wrote must have its
//! checksum. **On exit**: everything the kernel needs is in memory; nothing is mapped yet. What kernels
//! without a note are checked for by their protocol comes in between, in `main.rs`.
#![allow(unsafe_code)]

use core::mem::MaybeUninit;

use boot_path::disk::stream::Range;
use boot_path::files::integrity::{Expected, Role, Sums};
use boot_path::kernel::image::{self, KernelImage, Wishes};
use boot_path::kernel::placement::{Kernel, LoadedModule};
use boot_path::kernel::relocate::{LoadedKernel, relocate};
use boot_path::memory::map::MemoryMap;

use crate::entry::{self, BootEntry, Missing};
use crate::files::{File, Files};
use crate::machine::crc::crc32c;
use crate::machine::faults::Failure;
use crate::machine::physical;
use crate::say;
use crate::unpack;

/// Loads the kernel.
///
/// # Errors
/// 10A to 10R, 11A, 8B, 7A, 6B.
#[inline(never)] // its variables are large, and not needed any more afterwards
pub fn load(
    files: &mut Files,
    entry: &BootEntry,
    memory: &mut MemoryMap,
) -> Result<Kernel, Failure> {
    let file = &entry.kernel;
    let expected = entry.expected(files, Sums::Elf)?;
    /// Not on the stack, which is small.
    static mut HEADERS: MaybeUninit<Option<(KernelImage, Wishes)>> = MaybeUninit::uninit();
    let headers = &raw mut HEADERS;
    // SAFETY: this function is called once.
    let headers = unsafe { (*headers).write(None) };
    read_headers(files, file, expected, headers)?;
    // It was set, or there was a failure.
    let (image, wishes) = headers.take().ok_or(Missing::Kernel(entry.path))?;
    let kernel = Kernel::place(image, wishes, memory)?;
    // What has requests of the Limine protocol instead of a note has other rules.
    if kernel.wishes.own {
        kernel.image.check(&kernel.wishes)?;
    }
    read_segments(files, file, &kernel, expected)?;
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
    Ok(kernel)
}

/// Reads what tells how the kernel is to be loaded, into the caller's variable: it is large, and the
/// stack is not.
///
/// # Errors
/// 10A to 10R, 8B, 7A.
pub fn read_headers(
    files: &mut Files,
    file: &File,
    expected: Option<Expected<'static>>,
    headers: &mut Option<(KernelImage, Wishes)>,
) -> Result<(), Failure> {
    files.attempt(Some(file), &mut |files| {
        let crc = parse_headers(files, file, headers, &mut false)?;
        match expected {
            Some(expected) => Ok(expected.headers(crc)?),
            None => Ok(()),
        }
    })
}

/// The same, by one view of the volume and without a word about checksums: returns the one of what was
/// read. `unreadable`: that was why it failed.
///
/// # Errors
/// 10A to 10P, 8B, 7A.
#[inline(never)] // there is more than one caller
pub fn parse_headers(
    files: &mut Files,
    file: &File,
    headers: &mut Option<(KernelImage, Wishes)>,
    unreadable: &mut bool,
) -> Result<u32, Failure> {
    let mut crc = 0;
    *headers = None;
    *headers = Some(image::read(file.size, |offset, out| {
        let read = files.read_at(file, offset, out);
        *unreadable = read.is_err();
        let length = read?;
        crc = crc32c(crc, out.get(..length).unwrap_or_default());
        Ok::<_, Failure>(length)
    })?);
    Ok(crc)
}

/// Reads the segments' bytes, and zeroes the rest of their pages.
fn read_segments(
    files: &mut Files,
    file: &File,
    kernel: &Kernel,
    expected: Option<Expected<'static>>,
) -> Result<(), Failure> {
    kernel.zeroes(zero);
    files.attempt(Some(file), &mut |files| {
        files.load(file, &kernel.reads())?;
        let Some(expected) = expected else {
            return Ok(());
        };
        let segments = kernel.segments();
        let crc = segments.fold(0, |crc, (segment, address)| {
            checksum(crc, address, segment.file_size)
        });
        Ok(expected.bytes(crc)?)
    })
}

/// Goes on with a checksum over bytes that were loaded. Not while they pass by: that would be in the
/// order of the file, where segments may overlap, and would not see what memory makes of them.
pub fn checksum(crc: u32, start: u64, length: u64) -> u32 {
    if length == 0 {
        return crc;
    }
    // SAFETY: what was allocated for a segment or a module; nothing writes to it meanwhile.
    crc32c(crc, unsafe { physical::bytes(start, length) })
}

/// Zeroes the bytes from `start` to `end`, if there are any.
pub fn zero(start: u64, end: u64) {
    if start < end {
        // SAFETY: part of what was allocated for segments or a module, and for nothing else.
        unsafe { physical::bytes_mut(start, end - start) }.fill(0);
    }
}

/// The loaded segments.
pub struct InMemory<'a>(pub &'a Kernel);

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

/// Loads the modules of the entry.
///
/// # Errors
/// 10Q, 10R, 9B, 8B, 7A, 6B.
pub fn load_modules(
    files: &mut Files,
    entry: &BootEntry,
    kernel: &mut Kernel,
    memory: &mut MemoryMap,
) -> Result<(), Failure> {
    for module in entry.text.modules() {
        let module = load_module(files, module.path, memory)?;
        kernel.add_module(module);
    }
    Ok(())
}

/// Loads one module, from the start of a page on; of a compressed one, what is in it.
///
/// # Errors
/// 8C, 10R, 9B, 8B, 7A, 6B.
pub fn load_module(
    files: &mut Files,
    path: &'static str,
    memory: &mut MemoryMap,
) -> Result<LoadedModule, Failure> {
    let file = entry::find(files, Missing::Module(path))?;
    let file = unpack::unpack(files, Role::Module, path, file, memory)?;
    let module = LoadedModule::place(file.size, memory)?;
    load_module_to(files, path, &file, module)?;
    Ok(module)
}

/// Loads ranges of a file, and compares the checksum that it has by `sums`: `checked` is what that is of,
/// as start and length in memory, in the order of the file.
///
/// # Errors
/// 10Q, 10R, 8B, 7A.
pub fn load_checked(
    files: &mut Files,
    (role, sums): (Role, Sums),
    path: &'static str,
    file: &File,
    ranges: &[Range],
    checked: &dyn Fn() -> [(u64, u64); 3],
) -> Result<(), Failure> {
    let expected = files.expected(role, sums, path, file)?;
    files.attempt(Some(file), &mut |files| {
        files.load(file, ranges)?;
        let Some(expected) = expected else {
            return Ok(());
        };
        let crc = checked()
            .iter()
            .fold(0, |crc, &(start, length)| checksum(crc, start, length));
        Ok(expected.bytes(crc)?)
    })
}

/// Loads all of a file that is no kernel, and compares its checksum.
///
/// # Errors
/// 10R, 8B, 7A.
pub fn load_whole(
    files: &mut Files,
    path: &'static str,
    file: &File,
    destination: u64,
) -> Result<(), Failure> {
    let all = Range {
        file_offset: 0,
        length: file.size,
        destination,
    };
    let kind = (Role::Module, Sums::Whole);
    load_checked(files, kind, path, file, &[all], &|| {
        [(destination, all.length), (0, 0), (0, 0)]
    })
}

/// Loads a module whose place is known.
///
/// # Errors
/// 10Q, 10R, 8B, 7A.
pub fn load_module_to(
    files: &mut Files,
    path: &'static str,
    file: &File,
    module: LoadedModule,
) -> Result<(), Failure> {
    load_whole(files, path, file, module.start)?;
    zero(module.start + module.length, module.memory_end());
    Ok(())
}
