//! Why the loader rejects a kernel's ELF file.

use core::fmt;

use disk_layout::parts::Part;

use crate::errors::catalogue::{self, Entry, Named};
use crate::errors::text::facts;
use crate::kernel::image::{Foreign, MAX_PROGRAM_HEADERS};
use crate::memory::address::VirtAddr;

/// Why a kernel is refused. Segments are identified by the number of their program header, from 0,
/// as in `readelf -lW`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are what Display prints")]
pub enum KernelError {
    /// No ELF magic.
    NotElf,
    /// Not 64 bits, or not little-endian.
    Class { class: u8, encoding: u8 },
    /// Not EM_X86_64.
    Machine { machine: u16 },
    /// No header, note or request that the loader knows, but the marks of another loader's kernels.
    Foreign { kind: Foreign },
    /// Neither ET_EXEC nor ET_DYN.
    Type { kind: u16 },
    /// The file ends before something that should be in it.
    Truncated { needed: u64, present: u64 },
    /// An ELF version other than 1.
    Version { version: u32 },
    /// The program headers have an unknown size.
    HeaderSize { size: u16 },
    /// More than [`MAX_PROGRAM_HEADERS`] program headers.
    TooManyHeaders { count: u16 },
    /// PT_NOTEs with more bytes than the file has: they overlap.
    TooManyNotes { segment: u16 },
    /// A second program header of a type that may occur once.
    Duplicate { segment: u16, kind: u32 },
    /// A segment has more bytes in the file than in memory.
    Sizes {
        segment: u16,
        file_size: u64,
        memory_size: u64,
    },
    /// PT_TLS, or a table of the dynamic section, is not among the bytes that are loaded.
    NotLoaded {
        kind: Table,
        address: VirtAddr,
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
    /// A segment's addresses are not all canonical, or a position-independent kernel is larger than
    /// 2 GiB.
    Wraps {
        segment: u16,
        address: VirtAddr,
        size: u64,
    },
    /// The entry point is not in an executable segment.
    Entry { entry: u64 },
    /// Pages would be writable and executable without a request in the kernel's note.
    WritableCode { address: VirtAddr, size: u64 },
    /// Pages would overlap a mapping of the loader.
    Conflict { address: VirtAddr },
    /// A segment lies in page 0.
    PageZero { segment: u16, address: VirtAddr },
    /// A relocation of a type that is not known.
    Relocation { kind: u32, address: VirtAddr },
    /// A relocation by a symbol that is not in the kernel. Symbols are identified by their number,
    /// as in `readelf --dyn-syms`.
    Undefined { symbol: u32, address: VirtAddr },
    /// A relocation by a symbol whose value is not an address.
    SymbolKind {
        symbol: u32,
        kind: u8,
        address: VirtAddr,
    },
    /// A relocation of an address that is not loaded.
    RelocationTarget { address: VirtAddr },
    /// Relocations with implicit addends (DT_REL).
    ImplicitAddends { address: VirtAddr, size: u64 },
    /// A request whose value does not have 8 bytes, or ends behind its PT_NOTE.
    NoteLength { kind: u32, length: u32 },
    /// A request that cannot be granted.
    NoteValue { kind: u32, value: u64 },
    /// The kernel needs shared libraries (DT_NEEDED).
    SharedLibrary,
    /// An unsupported `p_align`, or addresses that do not agree with it.
    Alignment {
        segment: u16,
        alignment: u64,
        virtual_address: VirtAddr,
        offset: u64,
    },
}

/// The table that [`KernelError::NotLoaded`] and [`KernelError::TableSize`] are about.
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
    /// DT_SYMTAB, as far as relocations refer to it.
    Symbols,
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tls => "PT_TLS",
            Self::Dynamic => "PT_DYNAMIC",
            Self::Rela => "DT_RELA",
            Self::Relr => "DT_RELR",
            Self::JumpRelocations => "DT_JMPREL",
            Self::Symbols => "DT_SYMTAB",
        })
    }
}

impl Named for KernelError {
    fn entry(&self) -> &'static Entry {
        match self {
            Self::NotElf => &catalogue::KERNEL_NOT_ELF,
            Self::Foreign { .. } => &catalogue::KERNEL_FOREIGN,
            Self::Class { .. } => &catalogue::KERNEL_CLASS,
            Self::Machine { .. } => &catalogue::KERNEL_MACHINE,
            Self::Type { .. } => &catalogue::KERNEL_TYPE,
            Self::Truncated { .. } => &catalogue::KERNEL_TRUNCATED,
            Self::Version { .. }
            | Self::HeaderSize { .. }
            | Self::TooManyHeaders { .. }
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
            | Self::Undefined { .. }
            | Self::SymbolKind { .. }
            | Self::RelocationTarget { .. }
            | Self::ImplicitAddends { .. } => &catalogue::KERNEL_RELOCATION,
            Self::NoteLength { .. } | Self::NoteValue { .. } => &catalogue::KERNEL_NOTE,
            Self::SharedLibrary => &catalogue::KERNEL_DYNAMIC,
            Self::Alignment { .. } => &catalogue::KERNEL_ALIGNMENT,
        }
    }

    fn part(&self) -> Option<Part> {
        Some(Part::Texts)
    }
}

/// One line for each variant.
#[rustfmt::skip]
impl fmt::Display for KernelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (text, numbers): (_, &[u64]) = match *self {
            Self::NotElf | Self::NoLoad => ("", &[]),
            Self::Foreign { kind } => return kind.fmt(f),
            Self::Class { class, encoding } => ("class #, data encoding #", &[class.into(), encoding.into()]),
            Self::Machine { machine } => ("e_machine #", &[machine.into()]),
            Self::Type { kind } => ("e_type #", &[kind.into()]),
            Self::Truncated { needed, present } => ("needs # bytes, has #", &[needed, present]),
            Self::Version { version } => ("version #", &[version.into()]),
            Self::HeaderSize { size } => ("e_phentsize #", &[size.into()]),
            Self::TooManyHeaders { count } =>
                ("# program headers, at most #", &[count.into(), MAX_PROGRAM_HEADERS as u64]),
            Self::TooManyNotes { segment } => ("segment #: the notes overlap", &[segment.into()]),
            Self::Duplicate { segment, kind } =>
                ("segment #: a second one of type 0x#", &[segment.into(), kind.into()]),
            Self::Sizes { segment, file_size, memory_size } =>
                ("segment #: p_filesz 0x#, p_memsz 0x#", &[segment.into(), file_size, memory_size]),
            Self::NotLoaded { kind, address, size } => {
                kind.fmt(f)?;
                (" at 0x#, 0x# bytes, is not loaded", &[address.as_u64(), size])
            }
            Self::TableSize { kind, size, entry_size } => {
                kind.fmt(f)?;
                (": 0x# bytes, 0x# an entry", &[size, entry_size])
            }
            Self::Overlap { first, second, address } =>
                ("segments # and # at 0x#", &[first.into(), second.into(), address]),
            Self::Wraps { segment, address, size } => ("segment # at 0x#, 0x# bytes", &[segment.into(), address.as_u64(), size]),
            Self::Entry { entry } => ("e_entry 0x#", &[entry]),
            Self::WritableCode { address, size } => ("at 0x#, 0x# bytes", &[address.as_u64(), size]),
            Self::Conflict { address } => ("virtual address 0x################", &[address.as_u64()]),
            Self::PageZero { segment, address } => ("segment # at 0x#", &[segment.into(), address.as_u64()]),
            Self::Relocation { kind, address } => ("type # at 0x#", &[kind.into(), address.as_u64()]),
            Self::Undefined { symbol, address } =>
                ("symbol # for 0x# is undefined", &[symbol.into(), address.as_u64()]),
            Self::SymbolKind { symbol, kind, address } =>
                ("symbol # for 0x# is of type #", &[symbol.into(), address.as_u64(), kind.into()]),
            Self::RelocationTarget { address } => ("at 0x#, which is not loaded", &[address.as_u64()]),
            Self::ImplicitAddends { address, size } => ("DT_REL at 0x#, 0x# bytes", &[address.as_u64(), size]),
            Self::NoteLength { kind, length } => ("type #, # bytes, not 8", &[kind.into(), length.into()]),
            Self::NoteValue { kind, value } => ("type #, value 0x#", &[kind.into(), value]),
            Self::SharedLibrary => ("DT_NEEDED", &[]),
            Self::Alignment { segment, alignment, virtual_address, offset } => (
                "segment #: p_align 0x#, p_vaddr 0x#, p_offset 0x#",
                &[segment.into(), alignment, virtual_address.as_u64(), offset],
            ),
        };
        facts(f, text, numbers)
    }
}

impl core::error::Error for KernelError {}
