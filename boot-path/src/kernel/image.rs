//! The kernel's ELF file: which bytes go where, and whether that can be booted at all.
//!
//! What is read first is small: the file header, the program headers and the notes. From these
//! come the [`KernelImage`] (checked: no segment overlaps another, wraps or leaves the file) and
//! the kernel's [`Wishes`]; from these the plan: which segments have to lie side by side in
//! physical memory ([`Group`]), where a position-independent kernel goes
//! ([`KernelImage::choose_slide`]) and which page gets which permissions
//! ([`KernelImage::page_ranges`]). Relocations are done by [`crate::kernel::relocate`], once the bytes are
//! in memory.
//!
//! Every field is somebody else's number: the arithmetic is checked, the tables are bounded, and
//! whatever cannot be booted is refused by name. [`check_file`] is the same for a file that nobody
//! loads, for the host.
//!
//! Sources: System V ABI, chapters 4 and 5 (object files, program loading), and its AMD64
//! supplement; `PT_GNU_RELRO` and the 8-byte aligned notes as GNU ld and LLVM's lld write them.

use core::{fmt, mem};

use arrayvec::ArrayVec;
use elf::abi;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use crate::errors::catalogue::{self, Entry, Named};
use crate::errors::text::facts;
use crate::files::file_bytes::FileBytes;
use crate::kernel::relocate::{self, SegmentBytes};
use crate::memory::layout;
use crate::memory::map::MIB;

/// Length of the file header, in bytes.
pub const HEADER_BYTES: usize = size_of::<FileHeader>();

/// Length of a program header, in bytes; no other `e_phentsize` is accepted.
pub const PROGRAM_HEADER_BYTES: usize = size_of::<ProgramHeader>();

/// The most program headers that a kernel may have.
pub const MAX_PROGRAM_HEADERS: usize = 64;

/// Length of the longest program header table, in bytes.
pub const MAX_TABLE_BYTES: usize = MAX_PROGRAM_HEADERS * PROGRAM_HEADER_BYTES;

/// The most PT_LOAD segments (with bytes in memory) that a kernel may have.
pub const MAX_SEGMENTS: usize = 32;

/// The most PT_NOTE segments that a kernel may have.
pub const MAX_NOTES: usize = 8;

/// Length of the longest PT_NOTE, in bytes.
pub const MAX_NOTE_BYTES: usize = 4096;

/// Where the lowest segment of a position-independent kernel goes: the last 2 GiB, for which the
/// code models `kernel` and `small` (position-independent) are made.
pub const PREFERRED_BASE: u64 = 0xFFFF_FFFF_8000_0000;

const PAGE: u64 = 4096;
const LARGE_PAGE: u64 = 2 << 20;
const GIB: u64 = 1 << 30;
/// End of the lower half of the canonical address space.
const LOWER_HALF_END: u64 = 1 << 47;
const UPPER_HALF: u64 = !(LOWER_HALF_END - 1);
/// Nothing is put into the very last page, so that every end fits into a u64.
const LAST_PAGE: u64 = !(PAGE - 1);
/// Below it is what the BIOS needs and where the loader is.
const LOW_MEMORY_END: u64 = 1 << 20;
/// The architecture's limit of physical addresses.
const PHYSICAL_END: u64 = 1 << 52;

const MIN_STACK_SIZE: u64 = PAGE;
const MAX_STACK_SIZE: u64 = 16 << 20;

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

/// Why a kernel is refused. Segments go by the number of their program header, from 0, as
/// `readelf -lW` counts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are what Display prints")]
pub enum KernelError {
    /// No ELF magic.
    NotElf,
    /// Not 64 bits, or not little-endian.
    Class { class: u8, encoding: u8 },
    /// Not EM_X86_64.
    Machine { machine: u16 },
    /// Neither ET_EXEC nor ET_DYN.
    Type { kind: u16 },
    /// The file ends before something that it should hold.
    Truncated { needed: u64, present: u64 },
    /// An ELF version other than 1.
    Version { version: u32 },
    /// The program headers have an unknown size.
    HeaderSize { size: u16 },
    /// More than [`MAX_PROGRAM_HEADERS`] program headers.
    TooManyHeaders { count: u16 },
    /// More than [`MAX_SEGMENTS`] segments.
    TooManySegments { segment: u16 },
    /// More than [`MAX_NOTES`] PT_NOTE.
    TooManyNotes { segment: u16 },
    /// A second one of what there may be one of.
    Duplicate { segment: u16, kind: u32 },
    /// More bytes in the file than in memory.
    Sizes {
        segment: u16,
        file_size: u64,
        memory_size: u64,
    },
    /// PT_TLS, or a table of the dynamic section, is not among the bytes that are loaded.
    NotLoaded {
        kind: Table,
        address: u64,
        size: u64,
    },
    /// A table of the dynamic section has entries of an unknown size, or not a whole number of
    /// them, or an address without a size.
    TableSize {
        kind: Table,
        size: u64,
        entry_size: u64,
    },
    /// No segment has bytes in memory.
    NoLoad,
    /// Two segments claim the same addresses.
    Overlap {
        first: u16,
        second: u16,
        address: u64,
    },
    /// A segment leaves the canonical addresses; a position-independent kernel is larger than
    /// 2 GiB.
    Wraps {
        segment: u16,
        address: u64,
        size: u64,
    },
    /// The entry point is not in an executable segment.
    Entry { entry: u64 },
    /// Pages would be writable and executable, and the kernel's note does not ask for it.
    WritableCode { address: u64, size: u64 },
    /// Pages would lie where the loader maps something else.
    Conflict { address: u64 },
    /// A segment lies in page 0.
    PageZero { segment: u16, address: u64 },
    /// A relocation other than R_X86_64_RELATIVE (or none).
    Relocation { kind: u32, address: u64 },
    /// A relocation of what is not loaded.
    RelocationTarget { address: u64 },
    /// Relocations with implicit addends (DT_REL).
    ImplicitAddends { address: u64, size: u64 },
    /// A PT_NOTE of more than [`MAX_NOTE_BYTES`].
    NoteSize { segment: u16, size: u64 },
    /// A wish whose value has another length than 8 bytes, or ends behind its PT_NOTE.
    NoteLength { kind: u32, length: u32 },
    /// A wish that cannot be granted.
    NoteValue { kind: u32, value: u64 },
    /// The kernel names a dynamic linker (PT_INTERP).
    Interpreter { segment: u16 },
    /// The kernel needs shared libraries (DT_NEEDED).
    SharedLibrary,
    /// An unsupported `p_align`, or addresses that do not fit to it.
    Alignment {
        segment: u16,
        alignment: u64,
        virtual_address: u64,
        offset: u64,
    },
}

/// What [`KernelError::NotLoaded`] and [`KernelError::TableSize`] speak of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// PT_TLS: the initial image of thread-local storage.
    Tls,
    /// PT_DYNAMIC.
    Dynamic,
    /// DT_RELA.
    Rela,
    /// DT_RELR.
    Relr,
    /// DT_JMPREL.
    JumpRelocations,
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tls => "PT_TLS",
            Self::Dynamic => "PT_DYNAMIC",
            Self::Rela => "DT_RELA",
            Self::Relr => "DT_RELR",
            Self::JumpRelocations => "DT_JMPREL",
        })
    }
}

impl Named for KernelError {
    fn entry(&self) -> &'static Entry {
        match self {
            Self::NotElf => &catalogue::KERNEL_NOT_ELF,
            Self::Class { .. } => &catalogue::KERNEL_CLASS,
            Self::Machine { .. } => &catalogue::KERNEL_MACHINE,
            Self::Type { .. } => &catalogue::KERNEL_TYPE,
            Self::Truncated { .. } => &catalogue::KERNEL_TRUNCATED,
            Self::Version { .. }
            | Self::HeaderSize { .. }
            | Self::TooManyHeaders { .. }
            | Self::TooManySegments { .. }
            | Self::TooManyNotes { .. }
            | Self::Duplicate { .. }
            | Self::Sizes { .. }
            | Self::NotLoaded { .. }
            | Self::TableSize { .. } => &catalogue::KERNEL_HEADERS,
            Self::NoLoad => &catalogue::KERNEL_NO_LOAD,
            Self::Overlap { .. } => &catalogue::KERNEL_OVERLAP,
            Self::Wraps { .. } => &catalogue::KERNEL_WRAPS,
            Self::Entry { .. } => &catalogue::KERNEL_ENTRY,
            Self::WritableCode { .. } => &catalogue::KERNEL_WRITABLE_CODE,
            Self::Conflict { .. } => &catalogue::PAGING_CONFLICT,
            Self::PageZero { .. } => &catalogue::KERNEL_PAGE_ZERO,
            Self::Relocation { .. }
            | Self::RelocationTarget { .. }
            | Self::ImplicitAddends { .. } => &catalogue::KERNEL_RELOCATION,
            Self::NoteSize { .. } | Self::NoteLength { .. } | Self::NoteValue { .. } => {
                &catalogue::KERNEL_NOTE
            }
            Self::Interpreter { .. } | Self::SharedLibrary => &catalogue::KERNEL_DYNAMIC,
            Self::Alignment { .. } => &catalogue::KERNEL_ALIGNMENT,
        }
    }
}

impl fmt::Display for KernelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (text, numbers): (_, &[u64]) = match *self {
            Self::NotElf | Self::NoLoad => ("", &[]),
            Self::Class { class, encoding } => {
                ("class #, data encoding #", &[class.into(), encoding.into()])
            }
            Self::Machine { machine } => ("e_machine #", &[machine.into()]),
            Self::Type { kind } => ("e_type #", &[kind.into()]),
            Self::Truncated { needed, present } => ("needs # bytes, has #", &[needed, present]),
            Self::Version { version } => ("version #", &[version.into()]),
            Self::HeaderSize { size } => ("e_phentsize #", &[size.into()]),
            Self::TooManyHeaders { count } => (
                "# program headers, at most #",
                &[count.into(), MAX_PROGRAM_HEADERS as u64],
            ),
            Self::TooManySegments { segment } => (
                "segment #: more than # PT_LOAD",
                &[segment.into(), MAX_SEGMENTS as u64],
            ),
            Self::TooManyNotes { segment } => (
                "segment #: more than # PT_NOTE",
                &[segment.into(), MAX_NOTES as u64],
            ),
            Self::Duplicate { segment, kind } => (
                "segment #: a second one of type 0x#",
                &[segment.into(), kind.into()],
            ),
            Self::Sizes {
                segment,
                file_size,
                memory_size,
            } => (
                "segment #: p_filesz 0x#, p_memsz 0x#",
                &[segment.into(), file_size, memory_size],
            ),
            Self::NotLoaded {
                kind,
                address,
                size,
            } => {
                kind.fmt(f)?;
                (" at 0x#, 0x# bytes, is not loaded", &[address, size])
            }
            Self::TableSize {
                kind,
                size,
                entry_size,
            } => {
                kind.fmt(f)?;
                (": 0x# bytes, 0x# an entry", &[size, entry_size])
            }
            Self::Overlap {
                first,
                second,
                address,
            } => (
                "segments # and # at 0x#",
                &[first.into(), second.into(), address],
            ),
            Self::Wraps {
                segment,
                address,
                size,
            } => (
                "segment # at 0x#, 0x# bytes",
                &[segment.into(), address, size],
            ),
            Self::Entry { entry } => ("e_entry 0x#", &[entry]),
            Self::WritableCode { address, size } => ("at 0x#, 0x# bytes", &[address, size]),
            Self::Conflict { address } => ("virtual address 0x################", &[address]),
            Self::PageZero { segment, address } => ("segment # at 0x#", &[segment.into(), address]),
            Self::Relocation { kind, address } => ("type # at 0x#", &[kind.into(), address]),
            Self::RelocationTarget { address } => ("at 0x#, which is not loaded", &[address]),
            Self::ImplicitAddends { address, size } => {
                ("DT_REL at 0x#, 0x# bytes", &[address, size])
            }
            Self::NoteSize { segment, size } => (
                "segment #: 0x# bytes, at most 0x#",
                &[segment.into(), size, MAX_NOTE_BYTES as u64],
            ),
            Self::NoteLength { kind, length } => {
                ("type #, # bytes, not 8", &[kind.into(), length.into()])
            }
            Self::NoteValue { kind, value } => ("type #, value 0x#", &[kind.into(), value]),
            Self::Interpreter { segment } => ("segment # is PT_INTERP", &[segment.into()]),
            Self::SharedLibrary => ("DT_NEEDED", &[]),
            Self::Alignment {
                segment,
                alignment,
                virtual_address,
                offset,
            } => (
                "segment #: p_align 0x#, p_vaddr 0x#, p_offset 0x#",
                &[segment.into(), alignment, virtual_address, offset],
            ),
        };
        facts(f, text, numbers)
    }
}

impl core::error::Error for KernelError {}

/// Where the program headers are in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableLocation {
    /// First byte.
    pub offset: u64,
    /// Length in bytes, at most [`MAX_TABLE_BYTES`]; it may be 0.
    pub length: usize,
}

/// Checks the file header and tells where the program headers are.
///
/// `header` is the beginning of the file: [`HEADER_BYTES`], or all of a shorter file.
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
    let offset = header.program_headers.get();
    let length = usize::from(count) * PROGRAM_HEADER_BYTES;
    check_in_file(offset, length as u64, file_size)?;
    Ok(TableLocation { offset, length })
}

fn file_header(bytes: &[u8], file_size: u64) -> Result<&FileHeader, KernelError> {
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

pub(crate) fn check_in_file(offset: u64, length: u64, file_size: u64) -> Result<(), KernelError> {
    match offset.checked_add(length) {
        Some(end) if end <= file_size => Ok(()),
        end => Err(KernelError::Truncated {
            needed: end.unwrap_or(u64::MAX),
            present: file_size,
        }),
    }
}

const fn page_floor(address: u64) -> u64 {
    address & !(PAGE - 1)
}

/// One PT_LOAD with bytes in memory.
///
/// Having one from a [`KernelImage`] tells that `file_size <= memory_size`, that its bytes are
/// within the file, and that its addresses do not wrap, not even when rounded up to a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// First byte in the file (`p_offset`).
    pub file_offset: u64,
    /// Bytes in the file (`p_filesz`).
    pub file_size: u64,
    /// First byte in memory (`p_vaddr`), without the slide.
    pub virtual_start: u64,
    /// Bytes in memory (`p_memsz`), never 0; what goes beyond `file_size` is zero.
    pub memory_size: u64,
    /// What the linker script calls the load address (`p_paddr`).
    pub load_address: u64,
    /// `p_align`, a power of two from 1 to 2 MiB.
    pub alignment: u64,
    /// `p_flags`: 1 executable, 2 writable, 4 readable.
    pub flags: u32,
    /// Number of its program header, from 0.
    pub number: u16,
}

impl Segment {
    /// The byte behind its last one.
    pub const fn virtual_end(&self) -> u64 {
        self.virtual_start + self.memory_size
    }

    /// Start of its first page.
    pub const fn first_page(&self) -> u64 {
        page_floor(self.virtual_start)
    }

    /// End of its last page.
    pub const fn page_end(&self) -> u64 {
        page_floor(self.virtual_end() + (PAGE - 1))
    }

    /// Whether it is writable.
    pub const fn writable(&self) -> bool {
        self.flags & abi::PF_W != 0
    }

    /// Whether it is executable.
    pub const fn executable(&self) -> bool {
        self.flags & abi::PF_X != 0
    }

    fn contains(&self, address: u64) -> bool {
        address.wrapping_sub(self.virtual_start) < self.memory_size
    }

    /// Checks one PT_LOAD by itself.
    fn new(header: &ProgramHeader, number: u16, file_size: u64) -> Result<Self, KernelError> {
        let segment = Self {
            file_offset: header.offset.get(),
            file_size: header.file_size.get(),
            virtual_start: header.virtual_address.get(),
            memory_size: header.memory_size.get(),
            load_address: header.physical_address.get(),
            alignment: header.alignment.get().max(1),
            flags: header.flags.get(),
            number,
        };
        if segment.file_size > segment.memory_size {
            return Err(KernelError::Sizes {
                segment: number,
                file_size: segment.file_size,
                memory_size: segment.memory_size,
            });
        }
        if segment.file_size > 0 {
            check_in_file(segment.file_offset, segment.file_size, file_size)?;
        }
        let end = segment.virtual_start.checked_add(segment.memory_size);
        if end.is_none_or(|end| end > LAST_PAGE) {
            return Err(segment.wraps());
        }
        // The bytes are copied, so offset and address need to agree only as far as a page goes:
        // that is the mark of a file that was not patched by hand.
        let within = segment.alignment.min(PAGE) - 1;
        let disagree = segment.file_offset.wrapping_sub(segment.virtual_start) & within != 0;
        if !segment.alignment.is_power_of_two()
            || segment.alignment > LARGE_PAGE
            || disagree && segment.file_size > 0
        {
            return Err(KernelError::Alignment {
                segment: number,
                alignment: segment.alignment,
                virtual_address: segment.virtual_start,
                offset: segment.file_offset,
            });
        }
        Ok(segment)
    }

    fn wraps(&self) -> KernelError {
        KernelError::Wraps {
            segment: self.number,
            address: self.virtual_start,
            size: self.memory_size,
        }
    }
}

/// PT_TLS: the initial image of thread-local storage; it is part of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tls {
    /// First byte of the initialised part, without the slide.
    pub virtual_start: u64,
    /// Bytes of the initialised part.
    pub file_size: u64,
    /// Bytes in all.
    pub memory_size: u64,
    /// A power of two.
    pub alignment: u64,
}

/// Some bytes of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileRange {
    /// First byte.
    pub offset: u64,
    /// Length in bytes.
    pub size: usize,
}

/// Some virtual addresses, without the slide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressRange {
    /// First byte.
    pub start: u64,
    /// Length in bytes.
    pub size: u64,
}

/// Segments so near to each other that they keep their distances in physical memory too: they may
/// share pages, and large pages may hold several of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    /// The first of its segments, as an index into [`KernelImage::segments`].
    pub first: usize,
    /// The segment behind its last one.
    pub end: usize,
    /// First byte in memory, without the slide; aligned to 4 KiB.
    pub virtual_start: u64,
    /// Length in bytes, a multiple of 4 KiB.
    pub size: u64,
    /// What the physical address has to be aligned to, after `offset` is taken off: 4 KiB, or more
    /// if a segment asks for it, or 2 MiB if the group is as large as a large page.
    pub alignment: u64,
    /// The physical address modulo `alignment`.
    pub offset: u64,
    /// Where the linker script wants it: the load addresses, if they are usable and were meant.
    /// The kernel runs wherever it is put; this only keeps a promise where it can be kept.
    pub preferred_physical: Option<u64>,
}

impl Group {
    /// Whether a virtual address, without the slide, is in it.
    pub const fn contains(&self, address: u64) -> bool {
        address.wrapping_sub(self.virtual_start) < self.size
    }
}

/// Pages of the kernel that get the same permissions; they are in one [`Group`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageRange {
    /// First byte, with the slide; aligned to 4 KiB.
    pub virtual_start: u64,
    /// Length in bytes, a multiple of 4 KiB.
    pub size: u64,
    /// Whether it may be written to.
    pub writable: bool,
    /// Whether it may be executed.
    pub executable: bool,
}

/// A kernel whose headers were checked.
///
/// Having one tells that there is at least one segment, that the segments are sorted, do not
/// overlap, and are canonical where they will lie, and that the entry point is in one of them.
#[derive(Clone, Debug)]
pub struct KernelImage {
    position_independent: bool,
    entry: u64,
    segments: ArrayVec<Segment, MAX_SEGMENTS>,
    notes: ArrayVec<FileRange, MAX_NOTES>,
    tls: Option<Tls>,
    relro: Option<AddressRange>,
    dynamic: Option<AddressRange>,
}

impl KernelImage {
    /// Reads and checks the headers. `table` is what [`program_headers`] pointed to.
    ///
    /// What depends on the kernel's wishes is left to [`Self::check`], what depends on its bytes to
    /// [`relocate::relocate`].
    ///
    /// # Errors
    /// 10A to 10P.
    pub fn parse(header: &[u8], table: &[u8], file_size: u64) -> Result<Self, KernelError> {
        let header = file_header(header, file_size)?;
        let mut image = Self {
            position_independent: header.kind.get() == abi::ET_DYN,
            entry: header.entry.get(),
            segments: ArrayVec::new(),
            notes: ArrayVec::new(),
            tls: None,
            relro: None,
            dynamic: None,
        };
        let (headers, _) = table.as_chunks::<PROGRAM_HEADER_BYTES>();
        for (number, bytes) in (0..).zip(headers.iter().take(MAX_PROGRAM_HEADERS)) {
            let header: &ProgramHeader = zerocopy::transmute_ref!(bytes);
            image.add(header, number, file_size)?;
        }
        image.check_addresses()?;
        Ok(image)
    }

    fn add(&mut self, h: &ProgramHeader, number: u16, file_size: u64) -> Result<(), KernelError> {
        let kind = h.kind.get();
        let range = AddressRange {
            start: h.virtual_address.get(),
            size: h.memory_size.get(),
        };
        match kind {
            abi::PT_LOAD => {
                if range.size == 0 && h.file_size.get() == 0 {
                    return Ok(());
                }
                return self.insert(Segment::new(h, number, file_size)?);
            }
            abi::PT_INTERP => return Err(KernelError::Interpreter { segment: number }),
            abi::PT_NOTE => return self.add_note(h, number, file_size),
            abi::PT_TLS | abi::PT_DYNAMIC | abi::PT_GNU_RELRO if range.size > 0 => {}
            _ => return Ok(()),
        }

        let replaced = match kind {
            abi::PT_TLS => self.tls.replace(Self::tls_of(h, number)?).is_some(),
            abi::PT_DYNAMIC => {
                let size = h.file_size.get();
                self.dynamic
                    .replace(AddressRange { size, ..range })
                    .is_some()
            }
            _ => {
                if range.start.checked_add(range.size).is_none() {
                    let AddressRange {
                        start: address,
                        size,
                    } = range;
                    return Err(KernelError::Wraps {
                        segment: number,
                        address,
                        size,
                    });
                }
                self.relro.replace(range).is_some()
            }
        };
        if replaced {
            Err(KernelError::Duplicate {
                segment: number,
                kind,
            })
        } else {
            Ok(())
        }
    }

    /// Keeps the segments sorted by address.
    fn insert(&mut self, segment: Segment) -> Result<(), KernelError> {
        let number = segment.number;
        if self.segments.try_push(segment).is_err() {
            return Err(KernelError::TooManySegments { segment: number });
        }
        let mut unsorted = self.segments.as_mut_slice();
        while let [front @ .., last] = unsorted
            && let Some(before) = front.last_mut()
            && before.virtual_start > last.virtual_start
        {
            mem::swap(before, last);
            unsorted = front;
        }
        Ok(())
    }

    fn add_note(
        &mut self,
        h: &ProgramHeader,
        number: u16,
        file_size: u64,
    ) -> Result<(), KernelError> {
        let (offset, size) = (h.offset.get(), h.file_size.get());
        if size == 0 {
            return Ok(());
        }
        check_in_file(offset, size, file_size)?;
        if size > MAX_NOTE_BYTES as u64 {
            return Err(KernelError::NoteSize {
                segment: number,
                size,
            });
        }
        let note = FileRange {
            offset,
            size: size as usize,
        };
        self.notes
            .try_push(note)
            .map_err(|_| KernelError::TooManyNotes { segment: number })
    }

    fn tls_of(h: &ProgramHeader, number: u16) -> Result<Tls, KernelError> {
        let tls = Tls {
            virtual_start: h.virtual_address.get(),
            file_size: h.file_size.get(),
            memory_size: h.memory_size.get(),
            alignment: h.alignment.get().max(1),
        };
        if tls.file_size > tls.memory_size {
            return Err(KernelError::Sizes {
                segment: number,
                file_size: tls.file_size,
                memory_size: tls.memory_size,
            });
        }
        if !tls.alignment.is_power_of_two() {
            return Err(KernelError::Alignment {
                segment: number,
                alignment: tls.alignment,
                virtual_address: tls.virtual_start,
                offset: h.offset.get(),
            });
        }
        Ok(tls)
    }

    /// Checks how the segments lie to each other, to the address space and to the rest.
    fn check_addresses(&self) -> Result<(), KernelError> {
        let segments = self.segments();
        let (Some(_), Some(last)) = (segments.first(), segments.last()) else {
            return Err(KernelError::NoLoad);
        };
        for [before, behind] in segments.array_windows() {
            if behind.virtual_start < before.virtual_end() {
                return Err(KernelError::Overlap {
                    first: before.number,
                    second: behind.number,
                    address: behind.virtual_start,
                });
            }
        }
        if self.position_independent {
            let end = last.page_end() - self.slide_origin();
            if end > LAST_PAGE - PREFERRED_BASE {
                return Err(last.wraps());
            }
        } else {
            for segment in segments {
                if segment.virtual_start < PAGE {
                    return Err(KernelError::PageZero {
                        segment: segment.number,
                        address: segment.virtual_start,
                    });
                }
                let (start, end) = (segment.virtual_start, segment.virtual_end());
                if end > LOWER_HALF_END && start < UPPER_HALF {
                    return Err(segment.wraps());
                }
            }
        }
        if !segments
            .iter()
            .any(|s| s.executable() && s.contains(self.entry))
        {
            return Err(KernelError::Entry { entry: self.entry });
        }
        if let Some(Tls {
            virtual_start: address,
            file_size: size,
            ..
        }) = self.tls
            && size > 0
            && !segments.iter().any(|s| {
                s.contains(address) && size <= s.memory_size - address.wrapping_sub(s.virtual_start)
            })
        {
            return Err(KernelError::NotLoaded {
                kind: Table::Tls,
                address,
                size,
            });
        }
        Ok(())
    }

    /// Checks what depends on the kernel's wishes: that no page is writable and executable, unless
    /// the kernel asks for it, and that the kernel, the loader's page and the physical map do not
    /// meet. (How far the physical map reaches depends on the machine; its first MiB is certain.)
    ///
    /// # Errors
    /// 10K, 11A.
    pub fn check(&self, wishes: &Wishes) -> Result<(), KernelError> {
        let slide = self.choose_slide();
        for range in self.page_ranges(slide) {
            if range.writable && range.executable && !wishes.allow_writable_code() {
                return Err(KernelError::WritableCode {
                    address: range.virtual_start.wrapping_sub(slide),
                    size: range.size,
                });
            }
            let last = range.virtual_start + (range.size - 1);
            for (start, size) in [
                (layout::STAGE2.start, layout::PAGE_SIZE),
                (wishes.physical_map_base, MIB),
            ] {
                if range.virtual_start < start.saturating_add(size) && start <= last {
                    return Err(KernelError::Conflict {
                        address: range.virtual_start.max(start),
                    });
                }
            }
        }
        Ok(())
    }

    /// Whether the kernel runs at any virtual address (ET_DYN).
    pub const fn position_independent(&self) -> bool {
        self.position_independent
    }

    /// Virtual address of the entry point, without the slide.
    pub const fn entry(&self) -> u64 {
        self.entry
    }

    /// The segments, sorted by virtual address; at least one.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Where the notes are in the file: these bytes are for [`Wishes::parse_note`].
    pub fn notes(&self) -> &[FileRange] {
        &self.notes
    }

    /// The initial image of thread-local storage.
    pub const fn tls(&self) -> Option<Tls> {
        self.tls
    }

    /// PT_GNU_RELRO: what is read-only once the relocations are done. [`Self::page_ranges`] has it
    /// taken into account.
    pub const fn relro(&self) -> Option<AddressRange> {
        self.relro
    }

    /// Takes PT_GNU_RELRO away, for a protocol whose permissions are those of PT_LOAD alone.
    pub fn forget_relro(&mut self) {
        self.relro = None;
    }

    /// The dynamic section.
    pub const fn dynamic(&self) -> Option<AddressRange> {
        self.dynamic
    }

    /// Lowest virtual address of the segments, without the slide.
    pub fn virtual_start(&self) -> u64 {
        self.segments()
            .first()
            .map_or(0, |first| first.virtual_start)
    }

    /// The byte behind the last segment, without the slide.
    pub fn virtual_end(&self) -> u64 {
        self.segments().last().map_or(0, Segment::virtual_end)
    }

    /// The groups of segments, by address: at most [`MAX_SEGMENTS`].
    pub fn groups(&self) -> impl Iterator<Item = Group> {
        let mut first = 0;
        core::iter::from_fn(move || {
            let group = self.group(first)?;
            first = group.end;
            Some(group)
        })
    }

    /// The group that begins with a segment.
    fn group(&self, first: usize) -> Option<Group> {
        let segments = self.segments().get(first..)?;
        let lowest = segments.first()?;
        let near = |[before, behind]: &&[Segment; 2]| {
            // Two segments in one page: the difference is below 0.
            behind.first_page().saturating_sub(before.page_end()) < LARGE_PAGE
        };
        let count = 1 + segments.array_windows().take_while(near).count();
        let segments = segments.get(..count)?;
        let virtual_start = lowest.first_page();
        let size = segments.last()?.page_end() - virtual_start;

        let asked = segments.iter().map(|s| s.alignment).fold(PAGE, u64::max);
        let alignment = if size >= LARGE_PAGE {
            LARGE_PAGE
        } else {
            asked
        };
        Some(Group {
            first,
            end: first + count,
            virtual_start,
            size,
            alignment,
            offset: virtual_start % alignment,
            preferred_physical: self.load_address(segments, size),
        })
    }

    /// The physical address that the linker script gives a group, if it means one.
    fn load_address(&self, segments: &[Segment], size: u64) -> Option<u64> {
        let lowest = segments.first()?;
        let distance = lowest.load_address.wrapping_sub(lowest.virtual_start);
        let same = segments
            .iter()
            .all(|s| s.load_address.wrapping_sub(s.virtual_start) == distance);
        // Without AT(), p_paddr merely repeats p_vaddr. That is a wish only where the address is
        // what the kernel was linked for and could be a physical one.
        let meant =
            distance != 0 || !self.position_independent && lowest.virtual_start < LOWER_HALF_END;
        let start = lowest.first_page().wrapping_add(distance);
        let usable = start.is_multiple_of(PAGE)
            && (LOW_MEMORY_END..PHYSICAL_END).contains(&start)
            && size <= PHYSICAL_END - start;
        (same && meant && usable).then_some(start)
    }

    /// What all groups are to be aligned to.
    fn alignment(&self) -> u64 {
        self.groups()
            .map(|group| group.alignment)
            .fold(PAGE, u64::max)
    }

    /// The address that goes to [`PREFERRED_BASE`]: that of the lowest segment, as far down as the
    /// alignment asks.
    fn slide_origin(&self) -> u64 {
        self.virtual_start() & !(self.alignment() - 1)
    }

    /// What to add (wrapping) to the addresses of a position-independent kernel, so that it begins
    /// at [`PREFERRED_BASE`]; 0 for the others. A multiple of every [`Group::alignment`].
    pub fn choose_slide(&self) -> u64 {
        if self.position_independent {
            PREFERRED_BASE.wrapping_sub(self.slide_origin())
        } else {
            0
        }
    }

    /// The pages of the segments with their final permissions, by address, in as few pieces as
    /// possible.
    ///
    /// A page that several segments share gets the permissions of all of them. PT_GNU_RELRO takes
    /// the permission to write from the pages it ends in or behind; as with a C library, its
    /// beginning is rounded down and so is its end.
    pub fn page_ranges(&self, slide: u64) -> impl Iterator<Item = PageRange> {
        let mut page = Some(self.virtual_start());
        core::iter::from_fn(move || {
            let mut run: Option<PageRange> = None;
            while let Some(start) = page {
                let (flags, next) = self.permissions(start);
                if let (Some(flags), Some(end)) = (flags, next) {
                    let piece = PageRange {
                        virtual_start: page_floor(start).wrapping_add(slide),
                        size: end - page_floor(start),
                        writable: flags & abi::PF_W != 0,
                        executable: flags & abi::PF_X != 0,
                    };
                    match &mut run {
                        None => run = Some(piece),
                        Some(run)
                            if (run.writable, run.executable)
                                == (piece.writable, piece.executable) =>
                        {
                            run.size += piece.size;
                        }
                        Some(_) => break,
                    }
                    page = next;
                } else {
                    page = next;
                    if run.is_some() {
                        break;
                    }
                }
            }
            run
        })
    }

    /// The permissions of the page at an address, if it belongs to a segment, and the next address
    /// at which they may be others.
    fn permissions(&self, address: u64) -> (Option<u32>, Option<u64>) {
        let page = page_floor(address);
        let mut flags = None;
        let mut next = None;
        let mut within = |start: u64, end: u64| {
            let inside = start <= page && page < end;
            let edge = if inside { end } else { start };
            if edge > page {
                next = Some(next.map_or(edge, |next: u64| next.min(edge)));
            }
            inside
        };
        for segment in self.segments() {
            if within(segment.first_page(), segment.page_end()) {
                flags = Some(flags.unwrap_or(0) | segment.flags);
            }
        }
        if let Some(AddressRange { start, size }) = self.relro
            && within(page_floor(start), page_floor(start + size))
        {
            flags = flags.map(|flags| flags & !abi::PF_W);
        }
        (flags, next)
    }
}

/// What a kernel asks for by notes named [`handoff::NOTE_NAME`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wishes {
    /// Size of the stack in bytes: 4 KiB to 16 MiB, a multiple of 4 KiB.
    pub stack_size: u64,
    /// Virtual address of the physical map: canonical, not 0, a multiple of 1 GiB.
    pub physical_map_base: u64,
    /// `handoff::FLAG_…`
    pub flags: u64,
    /// Whether there is such a note: the kernel is made for the loader's own handoff.
    pub own: bool,
}

impl Default for Wishes {
    fn default() -> Self {
        Self {
            stack_size: handoff::DEFAULT_STACK_SIZE,
            physical_map_base: handoff::DEFAULT_PHYSICAL_MAP_BASE,
            flags: 0,
            own: false,
        }
    }
}

impl Wishes {
    /// Length of a note's header, the name (with a zero byte) and what fills it up to 4 bytes.
    const NAME_LENGTH: usize = handoff::NOTE_NAME.len() + 1;
    const VALUE: usize = 12 + Self::NAME_LENGTH.next_multiple_of(4);

    /// Whether pages may be writable and executable.
    pub const fn allow_writable_code(&self) -> bool {
        self.flags & handoff::FLAG_ALLOW_WRITABLE_CODE != 0
    }

    /// Whether the loader's fault handlers stay for the kernel.
    pub const fn fault_reports(&self) -> bool {
        self.flags & handoff::FLAG_NO_FAULT_REPORTS == 0
    }

    /// Takes the wishes from the bytes of one PT_NOTE; a later wish replaces an earlier one,
    /// but flags add up.
    ///
    /// Notes are aligned to 4 bytes or to 8, and linker scripts put both into one segment, where
    /// nobody can tell any more which padding is meant. So the notes are not walked but looked for
    /// by name, at every multiple of 4. Types that are not known are the wishes of a later version,
    /// and are ignored; flags that are not known are refused, as the kernel may count on them.
    ///
    /// # Errors
    /// 10N.
    pub fn parse_note(&mut self, bytes: &[u8]) -> Result<(), KernelError> {
        let (words, _) = bytes.as_chunks::<4>();
        let word = |index: usize| words.get(index).map(|&word| u32::from_le_bytes(word));
        for start in 0..words.len() {
            if word(start) != Some(Self::NAME_LENGTH as u32) {
                continue;
            }
            let note = words.get(start..).unwrap_or_default().as_flattened();
            let named = note
                .get(12..)
                .and_then(|name| name.strip_prefix(handoff::NOTE_NAME.as_bytes()));
            let (Some([0, ..]), Some(length), Some(kind)) =
                (named, word(start + 1), word(start + 2))
            else {
                continue;
            };
            self.own = true;
            let value = note
                .get(Self::VALUE..)
                .and_then(|value| value.first_chunk());
            match value {
                Some(&value) if length == 8 => self.grant(kind, u64::from_le_bytes(value))?,
                _ => return Err(KernelError::NoteLength { kind, length }),
            }
        }
        Ok(())
    }

    fn grant(&mut self, kind: u32, value: u64) -> Result<(), KernelError> {
        let possible = match kind {
            handoff::NOTE_STACK_SIZE => {
                self.stack_size = page_floor(value.saturating_add(PAGE - 1));
                (MIN_STACK_SIZE..=MAX_STACK_SIZE).contains(&value)
            }
            handoff::NOTE_PHYSICAL_MAP_BASE => {
                self.physical_map_base = value;
                value.is_multiple_of(GIB)
                    && value != 0
                    && !(LOWER_HALF_END..UPPER_HALF).contains(&value)
            }
            handoff::NOTE_FLAGS => {
                self.flags |= value;
                value & !(handoff::FLAG_ALLOW_WRITABLE_CODE | handoff::FLAG_NO_FAULT_REPORTS) == 0
            }
            _ => true,
        };
        if possible {
            Ok(())
        } else {
            Err(KernelError::NoteValue { kind, value })
        }
    }
}

/// Reads and checks what the headers and the notes of a kernel file of `file_size` bytes say, but for
/// [`KernelImage::check`]. `read_at` reads bytes of the file from an offset on, and returns how many
/// there were.
///
/// # Errors
/// 10A to 10P, and those of `read_at`.
pub fn read<E: From<KernelError>>(
    file_size: u64,
    mut read_at: impl FnMut(u64, &mut [u8]) -> Result<usize, E>,
) -> Result<(KernelImage, Wishes), E> {
    const _: () = assert!(MAX_TABLE_BYTES <= MAX_NOTE_BYTES);
    let mut buffer = [0; MAX_NOTE_BYTES];
    let mut header = [0; HEADER_BYTES];
    let length = read_at(0, &mut header)?;
    let present = header.get(..length).unwrap_or_default();
    let location = program_headers(present, file_size)?;
    let table = buffer.get_mut(..location.length).unwrap_or_default();
    read_at(location.offset, table)?;
    let image = KernelImage::parse(&header, table, file_size)?;

    let mut wishes = Wishes::default();
    for note in image.notes() {
        let bytes = buffer.get_mut(..note.size).unwrap_or_default();
        read_at(note.offset, bytes)?;
        wishes.parse_note(bytes)?;
    }
    Ok((image, wishes))
}

/// Checks a whole kernel file as stage2 would, relocations included, without loading it.
///
/// # Errors
/// What stage2 would show: 10A to 10P, 11A.
pub fn check_file(mut file: impl FileBytes) -> Result<(KernelImage, Wishes), KernelError> {
    let (image, wishes) = read_file(&mut file)?;
    image.check(&wishes)?;
    let slide = image.choose_slide();
    relocate::relocate(&image, Unloaded(&mut file, &image), slide)?;
    Ok((image, wishes))
}

/// As [`read`].
///
/// # Errors
/// 10A to 10P.
pub(crate) fn read_file(file: &mut impl FileBytes) -> Result<(KernelImage, Wishes), KernelError> {
    read(file.size(), |offset, out| Ok(file.read_at(offset, out)))
}

/// A kernel as it lies in its file.
pub(crate) struct Unloaded<'a, F>(pub(crate) &'a mut F, pub(crate) &'a KernelImage);

impl<F: FileBytes> SegmentBytes for Unloaded<'_, F> {
    fn window(&mut self, segment: usize, offset: u64) -> &[u8] {
        let Some(segment) = self.1.segments().get(segment) else {
            return &[];
        };
        // The segment is in the file: the sum is no larger than its size.
        let left = segment.file_size.saturating_sub(offset);
        let window = self.0.window(segment.file_offset.saturating_add(offset));
        let left = usize::try_from(left).unwrap_or(usize::MAX);
        window.get(..left).unwrap_or(window)
    }

    fn memory(&mut self, _: usize) -> Option<&mut [u8]> {
        None
    }
}
