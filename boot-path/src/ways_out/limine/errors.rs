//! Why a kernel of this protocol is refused.

use core::fmt;

use disk_layout::parts::Part;

use crate::errors::catalogue::{self, Entry, Named};
use crate::errors::text::facts;
use crate::kernel::image::KernelError;
use crate::memory::address::VirtAddr;
use crate::ways_out::limine::{MAX_INTERNAL_MODULES, MAX_REVISION};

/// Why a kernel with Limine requests is refused. Addresses are those that the kernel was linked
/// for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are what Display prints")]
pub enum LimineError {
    /// No request, tag or marker, though the entry names this protocol.
    Nothing,
    /// The same request, or the base revision tag, twice.
    Duplicate { first: VirtAddr, second: VirtAddr },
    /// A request extends beyond the bytes of its segment.
    Cut { address: VirtAddr },
    /// The end marker lies before the start marker.
    Markers { start: VirtAddr, end: VirtAddr },
    /// An unknown base revision.
    Revision { revision: u64 },
    /// A segment lies below the last 2 GiB.
    Low { address: VirtAddr },
    /// None of the available paging modes is in the range that the kernel supports.
    Paging { lowest: u64, highest: u64 },
    /// The entry point is not in the kernel.
    Entry { address: VirtAddr },
    /// More than [`MAX_INTERNAL_MODULES`].
    TooManyModules { count: u64 },
    /// An internal module whose description or strings are not in the kernel, or are not text, or
    /// whose path demands that a hash be checked.
    Module { index: u64 },
    /// The firmware has enabled the x2APIC, and it cannot be disabled.
    X2Apic,
}

impl Named for LimineError {
    fn entry(&self) -> &'static Entry {
        match self {
            Self::Nothing | Self::Duplicate { .. } | Self::Cut { .. } | Self::Markers { .. } => {
                &catalogue::LIMINE_REQUESTS
            }
            Self::Revision { .. } => &catalogue::LIMINE_REVISION,
            _ => &catalogue::LIMINE_REFUSED,
        }
    }

    fn part(&self) -> Option<Part> {
        Some(Part::Texts)
    }
}

impl fmt::Display for LimineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (text, numbers): (_, &[u64]) = match *self {
            Self::Nothing => ("there are none", &[]),
            Self::Duplicate { first, second } => (
                "twice: at 0x# and at 0x#",
                &[first.as_u64(), second.as_u64()],
            ),
            Self::Cut { address } => ("at 0x#: cut off", &[address.as_u64()]),
            Self::Markers { start, end } => (
                "start marker at 0x#, end marker at 0x#",
                &[start.as_u64(), end.as_u64()],
            ),
            Self::Revision { revision } => {
                ("revision #, known are 0 to #", &[revision, MAX_REVISION])
            }
            Self::Low { address } => ("segment at 0x#, not in the last 2 GiB", &[address.as_u64()]),
            Self::Paging { lowest, highest } => ("paging modes # to #", &[lowest, highest]),
            Self::Entry { address } => ("entry point 0x#", &[address.as_u64()]),
            Self::TooManyModules { count } => (
                "# internal modules, at most #",
                &[count, MAX_INTERNAL_MODULES as u64],
            ),
            Self::Module { index } => ("internal module #, from 0", &[index]),
            Self::X2Apic => ("the x2APIC cannot be disabled", &[]),
        };
        facts(f, text, numbers)
    }
}

impl core::error::Error for LimineError {}

/// Why a kernel file is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileError {
    /// Because of its ELF headers.
    Kernel(KernelError),
    /// Because of its requests.
    Limine(LimineError),
}

impl From<KernelError> for FileError {
    fn from(error: KernelError) -> Self {
        Self::Kernel(error)
    }
}

impl From<LimineError> for FileError {
    fn from(error: LimineError) -> Self {
        Self::Limine(error)
    }
}

impl FileError {
    fn named(&self) -> &dyn Named {
        match self {
            Self::Kernel(error) => error,
            Self::Limine(error) => error,
        }
    }
}

impl Named for FileError {
    fn entry(&self) -> &'static Entry {
        self.named().entry()
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.named().fmt(f)
    }
}
