//! Step 10: the kernel and its modules.
//!
//! **On entry**: the files are known, memory can be allocated. **This step**: checks the ELF
//! headers; finds room; reads only the bytes of PT_LOAD segments, straight to where they belong;
//! zeroes the rest; relocates. Then the modules, whole. **On exit**: everything the kernel needs is
//! in memory; nothing is mapped yet.
#![allow(unsafe_code)]

use arrayvec::ArrayVec;
use stage2::entry_file::MAX_MODULES;
use stage2::fat::File;
use stage2::kernel_image::{
    self, Group, HEADER_BYTES, KernelImage, MAX_NOTE_BYTES, MAX_SEGMENTS, MAX_TABLE_BYTES, Segment,
    Wishes,
};
use stage2::layout::{EARLY_REACH, PAGE_SIZE};
use stage2::memory_map::{MIB, MemoryKind, MemoryMap, OutOfMemory, Request};
use stage2::relocate::{LoadedKernel, relocate};
use stage2::stream::Range;

use crate::entry::{BootEntry, Missing};
use crate::faults::Failure;
use crate::files::Files;
use crate::{physical, say};

/// A module in memory.
pub struct LoadedModule {
    /// Physical address, a multiple of 4 KiB.
    pub start: u64,
    /// Length in bytes.
    pub length: u64,
}

/// A kernel in memory.
pub struct Kernel {
    pub image: KernelImage,
    pub wishes: Wishes,
    /// What is added to the addresses in `image`.
    pub slide: u64,
    /// Physical address of each segment.
    addresses: ArrayVec<u64, MAX_SEGMENTS>,
    modules: ArrayVec<LoadedModule, MAX_MODULES>,
}

impl Kernel {
    /// The segments, and the physical address of each.
    pub fn segments(&self) -> impl Iterator<Item = (&Segment, u64)> {
        let addresses = self.addresses.iter().copied();
        self.image.segments().iter().zip(addresses)
    }

    /// Physical address of the first segment.
    pub fn physical_start(&self) -> u64 {
        self.addresses.first().copied().unwrap_or(0)
    }

    /// Physical address of a page of the kernel, by its virtual address with the slide.
    pub fn physical_page(&self, address: u64) -> Option<u64> {
        let address = address.wrapping_sub(self.slide);
        let group = self.image.groups().find(|group| group.contains(address))?;
        Some(self.group(&group) + (address - group.virtual_start))
    }

    /// The modules, in the order of the entry.
    pub fn modules(&self) -> &[LoadedModule] {
        &self.modules
    }

    /// Physical address of a group of segments.
    fn group(&self, group: &Group) -> u64 {
        self.segments()
            .nth(group.first)
            .map_or(0, |(segment, address)| {
                address - (segment.virtual_start - group.virtual_start)
            })
    }
}

/// The memory from which kernel, modules and tables come: above 1 MiB, within the loader's reach.
pub fn allocate(
    memory: &mut MemoryMap,
    size: u64,
    align: u64,
    offset: u64,
    kind: MemoryKind,
) -> Result<u64, OutOfMemory> {
    memory.allocate(&Request {
        size,
        align,
        offset,
        min: MIB,
        max: EARLY_REACH,
        kind,
    })
}

/// Loads the kernel and the modules.
///
/// # Errors
/// 10A to 10P, 9B, 8B, 7A, 6B.
pub fn load(
    files: &mut Files,
    entry: &BootEntry,
    memory: &mut MemoryMap,
) -> Result<Kernel, Failure> {
    let image = read_headers(files, &entry.kernel)?;
    let wishes = read_wishes(files, &entry.kernel, &image)?;
    image.check(&wishes)?;

    let slide = image.choose_slide();
    let mut kernel = Kernel {
        image,
        wishes,
        slide,
        addresses: ArrayVec::new(),
        modules: ArrayVec::new(),
    };
    place(&mut kernel, memory)?;
    read_segments(files, &entry.kernel, &kernel)?;
    relocate(
        &kernel.image,
        &mut InMemory {
            addresses: &kernel.addresses,
            image: &kernel.image,
        },
        slide,
    )?;

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

fn read_headers(files: &mut Files, file: &File) -> Result<KernelImage, Failure> {
    let mut header = [0; HEADER_BYTES];
    let length = files.read_at(file, 0, &mut header)?;
    let present = header.get(..length).unwrap_or_default();
    let location = kernel_image::program_headers(present, file.size)?;
    let mut table = [0; MAX_TABLE_BYTES];
    let table = table.get_mut(..location.length).unwrap_or_default();
    files.read_at(file, location.offset, table)?;
    Ok(KernelImage::parse(&header, table, file.size)?)
}

fn read_wishes(files: &mut Files, file: &File, image: &KernelImage) -> Result<Wishes, Failure> {
    let mut wishes = Wishes::default();
    for note in image.notes() {
        let mut bytes = [0; MAX_NOTE_BYTES];
        let bytes = bytes.get_mut(..note.size).unwrap_or_default();
        files.read_at(file, note.offset, bytes)?;
        wishes.parse_note(bytes)?;
    }
    Ok(wishes)
}

/// Allocates memory for every group of segments: where the linker script wants it, or anywhere.
fn place(kernel: &mut Kernel, memory: &mut MemoryMap) -> Result<(), OutOfMemory> {
    for group in kernel.image.groups() {
        let wanted = group.preferred_physical.filter(|&start| {
            start >= MIB
                && start.saturating_add(group.size) <= EARLY_REACH
                && memory.allocate_at(start, group.size, MemoryKind::Kernel)
        });
        let start = match wanted {
            Some(start) => start,
            None => allocate(
                memory,
                group.size,
                group.alignment,
                group.offset,
                MemoryKind::Kernel,
            )?,
        };
        // The groups come in the order of the segments.
        let segments = kernel.image.segments().get(group.first..group.end);
        let offsets = segments
            .unwrap_or_default()
            .iter()
            .map(|segment| segment.virtual_start - group.virtual_start);
        for offset in offsets {
            let Ok(()) = kernel.addresses.try_push(start + offset) else {
                break;
            };
        }
    }
    Ok(())
}

/// Reads the segments' bytes, and zeroes whatever else is in their pages: `.bss`, and what would
/// otherwise still hold data of whoever used the memory before.
fn read_segments(files: &mut Files, file: &File, kernel: &Kernel) -> Result<(), Failure> {
    let mut ranges = [Range {
        file_offset: 0,
        length: 0,
        destination: 0,
    }; MAX_SEGMENTS];
    for (range, (segment, address)) in ranges.iter_mut().zip(kernel.segments()) {
        *range = Range {
            file_offset: segment.file_offset,
            length: segment.file_size,
            destination: address,
        };
    }
    for group in kernel.image.groups() {
        let start = kernel.group(&group);
        let mut position = start;
        let members = kernel.segments().take(group.end).skip(group.first);
        for (segment, address) in members {
            zero(position, address);
            position = address + segment.file_size;
        }
        zero(position, start + group.size);
    }
    // Those that are left over are empty.
    files.load(file, &ranges)
}

/// Zeroes the bytes from `start` to `end`, if there are any.
fn zero(start: u64, end: u64) {
    if start < end {
        // SAFETY: part of a group of segments, which was allocated for nothing else.
        unsafe { physical::bytes_mut(start, end - start) }.fill(0);
    }
}

/// The loaded segments, for the relocations.
struct InMemory<'a> {
    addresses: &'a [u64],
    image: &'a KernelImage,
}

impl InMemory<'_> {
    fn segment(&self, index: usize) -> Option<(&Segment, u64)> {
        let address = self.addresses.get(index)?;
        Some((self.image.segments().get(index)?, *address))
    }
}

impl LoadedKernel for InMemory<'_> {
    fn bytes(&self, segment: usize) -> &[u8] {
        match self.segment(segment) {
            // SAFETY: these bytes were read from the file, and are written through `memory` only,
            // which needs the only reference.
            Some((segment, address)) if segment.file_size > 0 => unsafe {
                physical::bytes(address, segment.file_size)
            },
            _ => &[],
        }
    }

    fn memory(&mut self, segment: usize) -> Option<&mut [u8]> {
        let (segment, address) = self.segment(segment)?;
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
        let size = file.size.next_multiple_of(PAGE_SIZE).max(PAGE_SIZE);
        let start = allocate(memory, size, PAGE_SIZE, 0, MemoryKind::Module)?;
        files.load(
            &file,
            &[Range {
                file_offset: 0,
                length: file.size,
                destination: start,
            }],
        )?;
        zero(start + file.size, start + size);
        let module = LoadedModule {
            start,
            length: file.size,
        };
        let Ok(()) = kernel.modules.try_push(module) else {
            break;
        };
    }
    Ok(())
}
