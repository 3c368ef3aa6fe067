//! The file header and the program headers, as the file stores them.

use elf::abi;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use crate::errors::text::rows;
use crate::kernel::image::KernelError;
use crate::position::FileOffset;

/// Length of the file header, in bytes.
pub const HEADER_BYTES: usize = size_of::<FileHeader>();

/// Length of a program header, in bytes; no other `e_phentsize` is accepted.
pub const PROGRAM_HEADER_BYTES: usize = size_of::<ProgramHeader>();

/// The most program headers that a kernel may have. The next number, PN_XNUM, would mean that their
/// number is elsewhere.
pub const MAX_PROGRAM_HEADERS: usize = abi::PN_XNUM as usize - 1;

/// Program headers are read in pieces of at most this many bytes.
const PIECE: usize = 16 * PROGRAM_HEADER_BYTES;

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct FileHeader {
    pub(crate) ident: [u8; abi::EI_NIDENT],
    pub(crate) kind: U16,
    pub(crate) machine: U16,
    pub(crate) version: U32,
    pub(crate) entry: U64,
    pub(crate) program_headers: U64,
    pub(crate) section_headers: U64,
    pub(crate) flags: U32,
    pub(crate) header_size: U16,
    pub(crate) program_header_size: U16,
    pub(crate) program_header_count: U16,
    pub(crate) section_header_size: U16,
    pub(crate) section_header_count: U16,
    pub(crate) section_names: U16,
}

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct ProgramHeader {
    pub(crate) kind: U32,
    pub(crate) flags: U32,
    pub(crate) offset: U64,
    pub(crate) virtual_address: U64,
    pub(crate) physical_address: U64,
    pub(crate) file_size: U64,
    pub(crate) memory_size: U64,
    pub(crate) alignment: U64,
}

const _: () = assert!(HEADER_BYTES == 64 && PROGRAM_HEADER_BYTES == 56);

/// Where the program headers are in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableLocation {
    /// First byte.
    pub offset: FileOffset,
    /// How many there are, from 1 to [`MAX_PROGRAM_HEADERS`].
    pub count: u16,
    /// Bytes of each; not 0.
    pub entry_size: u16,
}

/// Reads bytes of a file from an offset on, and returns their number. There is only one copy of the
/// code that calls it.
pub(crate) type ReadAt<'r, E> = &'r mut dyn FnMut(FileOffset, &mut [u8]) -> Result<usize, E>;

/// Receives a program header and its number; it may read other parts of the file.
type Each<'h, E> = &'h mut dyn FnMut(ReadAt<'_, E>, u16, &[u8]) -> Result<(), E>;

impl TableLocation {
    /// Length in bytes.
    pub const fn length(&self) -> u64 {
        self.count as u64 * self.entry_size as u64
    }

    /// Reads the table in small pieces, and hands each program header to `header`.
    pub(crate) fn each<E>(&self, read_at: ReadAt<'_, E>, header: Each<'_, E>) -> Result<(), E> {
        let entry_size = usize::from(self.entry_size);
        let step = PIECE.checked_div(entry_size).unwrap_or(0).max(1);
        let mut piece = [0; PIECE];
        for first in (0..self.count).step_by(step) {
            let length = usize::from(self.count - first).min(step) * entry_size;
            let piece = piece.get_mut(..length).unwrap_or_default();
            let offset = u64::from(first) * u64::from(self.entry_size);
            read_at(self.offset.saturating_add(offset), piece)?;
            for (number, bytes) in (first..).zip(rows(piece, entry_size)) {
                header(read_at, number, bytes)?;
            }
        }
        Ok(())
    }
}

/// Checks the file header and returns the place of the program headers.
///
/// `header` is the start of the file: [`HEADER_BYTES`], or all of a shorter file.
///
/// # Errors
/// 10A to 10F.
pub fn program_headers(header: &[u8], file_size: u64) -> Result<TableLocation, KernelError> {
    let header = file_header(header, file_size)?;
    let count = header.program_header_count.get();
    if count == 0 {
        return Err(KernelError::NoLoad);
    }
    let size = header.program_header_size.get();
    if usize::from(size) != PROGRAM_HEADER_BYTES {
        return Err(KernelError::HeaderSize { size });
    }
    if usize::from(count) > MAX_PROGRAM_HEADERS {
        return Err(KernelError::TooManyHeaders { count });
    }
    let table = TableLocation {
        offset: FileOffset::new(header.program_headers.get()),
        count,
        entry_size: size,
    };
    check_in_file(table.offset, table.length(), file_size)?;
    Ok(table)
}

pub(super) fn file_header(bytes: &[u8], file_size: u64) -> Result<&FileHeader, KernelError> {
    if !bytes.starts_with(&abi::ELFMAGIC) {
        return Err(KernelError::NotElf);
    }
    let Ok((header, _)) = FileHeader::ref_from_prefix(bytes) else {
        return Err(KernelError::Truncated {
            needed: HEADER_BYTES as u64,
            present: file_size,
        });
    };
    let (class, encoding) = (header.ident[abi::EI_CLASS], header.ident[abi::EI_DATA]);
    if class != abi::ELFCLASS64 || encoding != abi::ELFDATA2LSB {
        return Err(KernelError::Class { class, encoding });
    }
    let machine = header.machine.get();
    if machine != abi::EM_X86_64 {
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

pub(crate) fn check_in_file(
    offset: FileOffset,
    length: u64,
    file_size: u64,
) -> Result<(), KernelError> {
    match offset.as_u64().checked_add(length) {
        Some(end) if end <= file_size => Ok(()),
        end => Err(KernelError::Truncated {
            needed: end.unwrap_or(u64::MAX),
            present: file_size,
        }),
    }
}
