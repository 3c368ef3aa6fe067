//! Section headers, and the parts of a file that are loaded for them.

use elf::abi;
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::errors::text::rows;
use crate::files::file_bytes::FileBytes;
use crate::kernel::image::{KernelError, check_in_file};
use crate::memory::address::PhysAddr;
use crate::position::FileOffset;

/// The most sections that a kernel may have: their number is 16 bits, and the last 256 are special.
pub const MAX_SECTIONS: u16 = 0xFF00;

/// Where the section headers are in the file, which contains all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SectionTable {
    /// First byte in the file.
    pub offset: FileOffset,
    /// Bytes of a header: 40 (ELF32) or 64 (ELF64).
    pub entry_size: u16,
    /// How many there are, never 0.
    pub count: u16,
    /// Number of the section with the names of the sections.
    pub names: u16,
}

impl SectionTable {
    /// Checks that all headers are in the file. `None`: there are none.
    pub(super) fn checked(
        self,
        is_64_bit: bool,
        file_size: u64,
    ) -> Result<Option<Self>, KernelError> {
        if self.count == 0 || self.offset == FileOffset::ZERO {
            return Ok(None);
        }
        let size = self.entry_size;
        let right = match is_64_bit {
            true => SECTION_HEADER_BYTES_64,
            false => SECTION_HEADER_BYTES_32,
        };
        if size != right || self.count > MAX_SECTIONS {
            return Err(KernelError::HeaderSize { size });
        }
        let bytes = u64::from(self.count) * u64::from(size);
        check_in_file(self.offset, bytes, file_size)?;
        Ok(Some(self))
    }
}

/// The beginning of a section header, ELF32 and ELF64, as far as it is needed.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct SectionHeader<W> {
    name: U32,
    kind: U32,
    flags: W,
    address: W,
    offset: W,
    size: W,
}

const SECTION_HEADER_BYTES_32: u16 = 40;
const SECTION_HEADER_BYTES_64: u16 = 64;

/// The part of a file to load for its sections: first byte, and the one behind the last.
pub type Span = (FileOffset, FileOffset);

/// The part of the file that contains all sections that are not in memory already: symbols, names,
/// debug information. `headers` are the section headers. `None`: there are no such sections.
///
/// # Errors
/// 10E.
pub fn unloaded_sections(
    headers: &[u8],
    entry_size: u16,
    file_size: u64,
) -> Result<Option<Span>, KernelError> {
    let mut span: Option<Span> = None;
    for bytes in rows(headers, entry_size.into()) {
        let Some((offset, size)) = unloaded_section(bytes, entry_size) else {
            continue;
        };
        check_in_file(offset, size, file_size)?;
        let (start, end) = span.unwrap_or((offset, offset));
        span = Some((start.min(offset), end.max(offset + size)));
    }
    Ok(span)
}

/// As [`unloaded_sections`], of a file that is not loaded.
///
/// # Errors
/// 10E.
pub fn check_sections(
    table: SectionTable,
    file: &mut impl FileBytes,
) -> Result<Option<Span>, KernelError> {
    let SectionTable {
        offset,
        count,
        entry_size,
        ..
    } = table;
    let file_size = file.size();
    let mut span: Option<Span> = None;
    for number in 0..u64::from(count) {
        let mut header = [0; SECTION_HEADER_BYTES_64 as usize];
        let header = header.get_mut(..entry_size.into()).unwrap_or_default();
        file.read_at(offset + number * u64::from(entry_size), header);
        if let Some((from, to)) = unloaded_sections(header, entry_size, file_size)? {
            let (start, end) = span.unwrap_or((from, to));
            span = Some((start.min(from), end.max(to)));
        }
    }
    Ok(span)
}

/// Writes addresses into the section headers: the file from `start` on was loaded to `address`.
pub fn place_sections(headers: &mut [u8], entry_size: u16, start: FileOffset, address: PhysAddr) {
    let mut rest = headers;
    while let Some((bytes, behind)) = rest.split_at_mut_checked(usize::from(entry_size).max(1)) {
        rest = behind;
        let Some((offset, _)) = unloaded_section(bytes, entry_size) else {
            continue;
        };
        let address = address
            .as_u64()
            .wrapping_add(offset.as_u64().wrapping_sub(start.as_u64()));
        if entry_size == SECTION_HEADER_BYTES_64 {
            if let Ok((header, _)) = SectionHeader::<U64>::mut_from_prefix(bytes) {
                header.address.set(address);
            }
        } else if let Ok((header, _)) = SectionHeader::<U32>::mut_from_prefix(bytes) {
            header.address.set(address as u32);
        }
    }
}

/// Offset and size in the file of a section that has bytes there and no address in memory.
fn unloaded_section(header: &[u8], entry_size: u16) -> Option<(FileOffset, u64)> {
    let (kind, address, offset, size) = if entry_size == SECTION_HEADER_BYTES_64 {
        let (header, _) = SectionHeader::<U64>::ref_from_prefix(header).ok()?;
        let [address, offset, size] = [header.address, header.offset, header.size].map(U64::get);
        (header.kind.get(), address, offset, size)
    } else {
        let (header, _) = SectionHeader::<U32>::ref_from_prefix(header).ok()?;
        let words = [header.address, header.offset, header.size];
        let [address, offset, size] = words.map(|word| word.get().into());
        (header.kind.get(), address, offset, size)
    };
    let unloaded = kind != abi::SHT_NULL && kind != abi::SHT_NOBITS && address == 0 && size != 0;
    unloaded.then_some((FileOffset::new(offset), size))
}
