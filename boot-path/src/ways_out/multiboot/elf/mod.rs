//! Step 10, for protocols other than the loader's own: a kernel that is loaded at the physical
//! addresses in its file, the `p_paddr` of an ELF32 or ELF64 file.
//!
//! [`read`] makes a [`PhysicalImage`] of the headers: the segments, none of which overlaps another
//! or extends beyond the file or the first 4 GiB. [`PhysicalImage::place`] allocates the memory,
//! all of which has to be free: the error names the region in the way.
//! [`PhysicalImage::place_within`] moves a kernel that can run elsewhere.
//!
//! Sources: System V ABI, chapters 4 and 5, and its i386 and AMD64 supplements.

use alloc::vec::Vec;

use elf::abi;
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use crate::kernel::image::{
    FileHeader, HEADER_BYTES, KernelError, MAX_PROGRAM_HEADERS, ProgramHeader, TableLocation,
    check_in_file,
};
use crate::memory::address::PhysAddr;
use crate::position::FileOffset;

mod image;
mod leading;
mod sections;

pub use image::{Limits, MemoryConflict, PhysicalImage, Preference, Segment};
use leading::Unneeded;
pub use sections::{
    MAX_SECTIONS, SectionTable, Span, check_sections, place_sections, unloaded_sections,
};

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct FileHeader32 {
    ident: [u8; abi::EI_NIDENT],
    kind: U16,
    machine: U16,
    version: U32,
    entry: U32,
    program_headers: U32,
    section_headers: U32,
    flags: U32,
    header_size: U16,
    program_header_size: U16,
    program_header_count: U16,
    section_header_size: U16,
    section_header_count: U16,
    section_names: U16,
}

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct ProgramHeader32 {
    kind: U32,
    offset: U32,
    virtual_address: U32,
    physical_address: U32,
    file_size: U32,
    memory_size: U32,
    flags: U32,
    alignment: U32,
}

const _: () = assert!(size_of::<FileHeader32>() == 52 && size_of::<ProgramHeader32>() == 32);

/// The fields of the file header that both classes have.
struct Headers {
    is_64_bit: bool,
    /// Bytes of the file header.
    length: u64,
    entry: u64,
    table: TableLocation,
    sections: SectionTable,
}

/// A PT_LOAD of either class, with its virtual address.
struct Load {
    kind: u32,
    virtual_start: u64,
    segment: Segment,
}

/// Reads and checks the headers of an ELF file of `file_size` bytes. `read_at` reads bytes of the
/// file from an offset on, and returns their number. `list` makes a list with room for so many
/// segments.
///
/// The entry point is the virtual address of a byte in a segment; execution starts at the physical
/// address of this byte. If no segment contains the entry point, it is taken as a physical address.
///
/// # Errors
/// 10A to 10H, 10J, 10U, and those of `read_at` and `list`.
pub fn read<E: From<KernelError> + From<MemoryConflict>>(
    image: &mut PhysicalImage,
    file_size: u64,
    list: impl FnOnce(usize) -> Result<Vec<Segment>, E>,
    mut read_at: impl FnMut(FileOffset, &mut [u8]) -> Result<usize, E>,
) -> Result<(), E> {
    let mut header = [0; HEADER_BYTES];
    let length = read_at(FileOffset::ZERO, &mut header)?;
    let headers = file_header(header.get(..length).unwrap_or_default(), file_size)?;

    let table = headers.table;
    check_in_file(table.offset, table.length(), file_size)?;

    image.is_64_bit = headers.is_64_bit;
    image.use_list(list(table.count.into())?);
    let mut entry = None;
    let mut unneeded = Unneeded::new(headers.length, &table);
    table.each(&mut read_at, &mut |_, number, bytes| {
        let Some(load) = program_header(bytes, headers.is_64_bit, number) else {
            return Ok(());
        };
        match load.kind {
            abi::PT_LOAD => {}
            abi::PT_NOTE => {
                unneeded.add_note(load.segment.file_offset, load.segment.file_size);
                return Ok(());
            }
            _ => return Ok(()),
        }
        image.add::<E>(load.segment, file_size)?;
        let distance = headers.entry.wrapping_sub(load.virtual_start);
        if distance < load.segment.memory_size {
            entry = entry.or(Some(load.segment.start + distance));
        }
        Ok(())
    })?;
    for segment in image.segments_mut() {
        segment.unneeded = unneeded.in_front_of(segment, &mut read_at)?;
    }
    image.enter_at(entry.unwrap_or(PhysAddr::new(headers.entry)))?;

    image.sections = headers.sections.checked(headers.is_64_bit, file_size)?;
    Ok(())
}

fn truncated<T>(needed: usize, present: u64) -> Result<T, KernelError> {
    let needed = needed as u64;
    Err(KernelError::Truncated { needed, present })
}

/// Checks the fields that are equal, and in the same place, in both classes.
fn common_header(bytes: &[u8], file_size: u64) -> Result<&FileHeader32, KernelError> {
    if !bytes.starts_with(&abi::ELFMAGIC) {
        return Err(KernelError::NotElf);
    }
    let Ok((header, _)) = FileHeader32::ref_from_prefix(bytes) else {
        return truncated(size_of::<FileHeader32>(), file_size);
    };
    let (class, encoding) = (header.ident[abi::EI_CLASS], header.ident[abi::EI_DATA]);
    if !matches!(class, abi::ELFCLASS32 | abi::ELFCLASS64) || encoding != abi::ELFDATA2LSB {
        return Err(KernelError::Class { class, encoding });
    }
    let machine = header.machine.get();
    if machine != abi::EM_X86_64 && machine != abi::EM_386 {
        return Err(KernelError::Machine { machine });
    }
    let kind = header.kind.get();
    if kind != abi::ET_EXEC && kind != abi::ET_DYN {
        return Err(KernelError::Type { kind });
    }
    for version in [header.ident[abi::EI_VERSION].into(), header.version.get()] {
        if version != u32::from(abi::EV_CURRENT) {
            return Err(KernelError::Version { version });
        }
    }
    Ok(header)
}

fn file_header(bytes: &[u8], file_size: u64) -> Result<Headers, KernelError> {
    let header = common_header(bytes, file_size)?;
    let is_64_bit = header.ident[abi::EI_CLASS] == abi::ELFCLASS64;
    let (headers, right) = if is_64_bit {
        let Ok((header, _)) = FileHeader::ref_from_prefix(bytes) else {
            return truncated(HEADER_BYTES, file_size);
        };
        let headers = Headers {
            is_64_bit,
            length: HEADER_BYTES as u64,
            entry: header.entry.get(),
            table: TableLocation {
                offset: FileOffset::new(header.program_headers.get()),
                count: header.program_header_count.get(),
                entry_size: header.program_header_size.get(),
            },
            sections: SectionTable {
                offset: FileOffset::new(header.section_headers.get()),
                entry_size: header.section_header_size.get(),
                count: header.section_header_count.get(),
                names: header.section_names.get(),
            },
        };
        (headers, size_of::<ProgramHeader>())
    } else {
        let headers = Headers {
            is_64_bit,
            length: size_of::<FileHeader32>() as u64,
            entry: header.entry.get().into(),
            table: TableLocation {
                offset: header.program_headers.get().into(),
                count: header.program_header_count.get(),
                entry_size: header.program_header_size.get(),
            },
            sections: SectionTable {
                offset: header.section_headers.get().into(),
                entry_size: header.section_header_size.get(),
                count: header.section_header_count.get(),
                names: header.section_names.get(),
            },
        };
        (headers, size_of::<ProgramHeader32>())
    };
    let (count, size) = (headers.table.count, headers.table.entry_size);
    if count == 0 {
        return Err(KernelError::NoLoad);
    }
    if usize::from(size) != right {
        return Err(KernelError::HeaderSize { size });
    }
    if usize::from(count) > MAX_PROGRAM_HEADERS {
        return Err(KernelError::TooManyHeaders { count });
    }
    Ok(headers)
}

fn program_header(bytes: &[u8], is_64_bit: bool, number: u16) -> Option<Load> {
    if is_64_bit {
        let (header, _) = ProgramHeader::ref_from_prefix(bytes).ok()?;
        return Some(Load {
            kind: header.kind.get(),
            virtual_start: header.virtual_address.get(),
            segment: Segment {
                file_offset: FileOffset::new(header.offset.get()),
                file_size: header.file_size.get(),
                start: PhysAddr::new(header.physical_address.get()),
                memory_size: header.memory_size.get(),
                unneeded: 0,
                number,
                waiting: None,
            },
        });
    }
    let (header, _) = ProgramHeader32::ref_from_prefix(bytes).ok()?;
    Some(Load {
        kind: header.kind.get(),
        virtual_start: header.virtual_address.get().into(),
        segment: Segment {
            file_offset: FileOffset::new(header.offset.get().into()),
            file_size: header.file_size.get().into(),
            start: header.physical_address.get().into(),
            memory_size: header.memory_size.get().into(),
            unneeded: 0,
            number,
            waiting: None,
        },
    })
}
