//! Why a kernel is refused.

use core::fmt;

use disk_layout::parts::Part;

use crate::errors::catalogue::{self, Entry, Named};
use crate::errors::text::facts;
use crate::ways_out::linux::image::header::OLDEST;

/// Why a kernel is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are what Display prints")]
pub enum LinuxError {
    /// The file ends within the setup code, or within the kernel.
    Truncated { needed: u64, present: u64 },
    /// No `HdrS`, or no 55AAh in front of it.
    NoHeader,
    /// The header's first instruction is not a short jump over the header.
    Jump { opcode: u8, distance: u8 },
    /// A protocol before 2.02.
    Old { version: u16 },
    /// The setup code is longer than [`MAX_SETUP`](crate::ways_out::linux::image::MAX_SETUP).
    Setup { sectors: u8 },
    /// The kernel wants to be loaded at 64 KiB: a zImage.
    Low,
    /// The alignment is not a power of two.
    Alignment { alignment: u32 },
    /// The entry file demands the 64-bit entry, but the kernel has none.
    No64 { version: u16, xloadflags: u16 },
    /// The command line is longer than the kernel can take.
    CommandLine { length: u64, limit: u64 },
    /// An initial RAM disk is empty: its writer was interrupted.
    EmptyInitrd,
    /// Memory that the kernel requires is not free.
    NotFree { start: u64, end: u64 },
}

impl Named for LinuxError {
    fn entry(&self) -> &'static Entry {
        match self {
            Self::Truncated { .. } => &catalogue::KERNEL_TRUNCATED,
            Self::NotFree { .. } => &catalogue::KERNEL_MEMORY,
            _ => &catalogue::LINUX_REFUSED,
        }
    }

    fn part(&self) -> Option<Part> {
        Some(Part::Texts)
    }
}

impl fmt::Display for LinuxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (text, numbers): (_, &[u64]) = match *self {
            Self::Truncated { needed, present } => {
                ("# bytes needed, # bytes present", &[needed, present])
            }
            Self::NoHeader => ("no HdrS in it", &[]),
            Self::Jump { opcode, distance } => (
                "##h ##h at 200h is no jump behind the header",
                &[opcode.into(), distance.into()],
            ),
            Self::Old { version } => (
                "protocol ####h, older than ####h",
                &[version.into(), OLDEST.into()],
            ),
            Self::Setup { sectors } => ("# sectors of setup code, more than 63", &[sectors.into()]),
            Self::Low => ("a zImage, not a bzImage", &[]),
            Self::Alignment { alignment } => ("kernel_alignment ########h", &[alignment.into()]),
            Self::No64 {
                version,
                xloadflags,
            } => (
                "no 64-bit entry: protocol ####h, xloadflags ####h",
                &[version.into(), xloadflags.into()],
            ),
            Self::CommandLine { length, limit } => {
                ("a command line of # bytes, more than #", &[length, limit])
            }
            Self::EmptyInitrd => ("an initial RAM disk of 0 bytes", &[]),
            Self::NotFree { start, end } => ("#h to #h", &[start, end]),
        };
        facts(f, text, numbers)
    }
}
