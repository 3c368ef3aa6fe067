//! Errors of a header, and of the kernel that it describes.

use core::fmt;

use disk_layout::parts::Part;

use crate::errors::catalogue::{self, Entry, Named};
use crate::errors::text::facts;
use crate::kernel::image::KernelError;
use crate::ways_out::multiboot::elf::MemoryConflict;

/// Why a header is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are what Display prints")]
pub enum HeaderError {
    /// There is no header, although the entry names this protocol.
    NotFound { within: u64 },
    /// The header extends beyond its permitted place.
    Length { offset: u64, length: u64, end: u64 },
    /// A tag is too short or extends beyond the header. `offset` is that in the file.
    TagSize { kind: u16, offset: u64, size: u32 },
    /// The tags do not end with a tag of type 0.
    NoEnd { offset: u64 },
    /// Addresses without an entry point.
    NoEntry,
    /// Addresses that contradict each other.
    Addresses {
        header: u32,
        load: u32,
        load_end: u32,
        bss_end: u32,
    },
    /// The limits of a relocatable kernel contradict each other.
    Limits { min: u32, max: u32, align: u32 },
    /// The header is for another CPU.
    Architecture { architecture: u32 },
    /// An unknown tag that is not optional.
    Tag { kind: u16 },
    /// A request for unknown boot information that is not optional.
    Request { kind: u32 },
    /// Unknown flags that are not optional.
    Flags { flags: u32 },
    /// A required graphics mode that is not available.
    Graphics { width: u32, height: u32, depth: u32 },
    /// A required console, but none that both kernel and loader support.
    Console { kernel_has_text: bool },
}

impl Named for HeaderError {
    fn entry(&self) -> &'static Entry {
        match self {
            Self::NotFound { .. }
            | Self::Length { .. }
            | Self::TagSize { .. }
            | Self::NoEnd { .. }
            | Self::NoEntry
            | Self::Addresses { .. }
            | Self::Limits { .. } => &catalogue::MULTIBOOT_HEADER,
            Self::Architecture { .. }
            | Self::Tag { .. }
            | Self::Request { .. }
            | Self::Flags { .. }
            | Self::Graphics { .. }
            | Self::Console { .. } => &catalogue::MULTIBOOT_UNSUPPORTED,
        }
    }

    fn part(&self) -> Option<Part> {
        Some(Part::Texts)
    }
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (text, numbers): (_, &[u64]) = match *self {
            Self::NotFound { within } => ("there is none in the first # bytes", &[within]),
            Self::Length {
                offset,
                length,
                end,
            } => (
                "at 0x# of the file, # bytes; it has to end at 0x#",
                &[offset, length, end],
            ),
            Self::TagSize { kind, offset, size } => (
                "tag # at 0x# of the file, # bytes",
                &[kind.into(), offset, size.into()],
            ),
            Self::NoEnd { offset } => ("no end tag before 0x# of the file", &[offset]),
            Self::NoEntry => ("an address tag without an entry address tag", &[]),
            Self::Addresses {
                header,
                load,
                load_end,
                bss_end,
            } => (
                "header_addr 0x#, load_addr 0x#, load_end_addr 0x#, bss_end_addr 0x#",
                &[header.into(), load.into(), load_end.into(), bss_end.into()],
            ),
            Self::Limits { min, max, align } => (
                "min_addr 0x#, max_addr 0x#, align 0x#",
                &[min.into(), max.into(), align.into()],
            ),
            Self::Architecture { architecture } => ("architecture #", &[architecture.into()]),
            Self::Tag { kind } => ("header tag #", &[kind.into()]),
            Self::Request { kind } => ("information of type #", &[kind.into()]),
            Self::Flags { flags } => ("flags 0x#", &[flags.into()]),
            Self::Graphics {
                width,
                height,
                depth,
            } => (
                "a graphics mode, # by #, # bits",
                &[width.into(), height.into(), depth.into()],
            ),
            Self::Console {
                kernel_has_text: true,
            } => ("a console, and there is no screen", &[]),
            Self::Console {
                kernel_has_text: false,
            } => ("a console other than VGA text", &[]),
        };
        facts(f, text, numbers)
    }
}

impl core::error::Error for HeaderError {}

/// Why a kernel is refused: its Multiboot header, its ELF headers, or its addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the errors say it")]
pub enum MultibootError {
    Header(HeaderError),
    Kernel(KernelError),
    Memory(MemoryConflict),
}

macro_rules! from {
    ($($variant:ident $error:ident)*) => {
        $(impl From<$error> for MultibootError {
            fn from(error: $error) -> Self {
                Self::$variant(error)
            }
        })*
    };
}

from! {
    Header HeaderError
    Kernel KernelError
    Memory MemoryConflict
}

impl MultibootError {
    fn cause(&self) -> &dyn Named {
        match self {
            Self::Header(error) => error,
            Self::Kernel(error) => error,
            Self::Memory(error) => error,
        }
    }
}

impl Named for MultibootError {
    fn entry(&self) -> &'static Entry {
        self.cause().entry()
    }
}

impl fmt::Display for MultibootError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause().fmt(f)
    }
}

impl core::error::Error for MultibootError {}
