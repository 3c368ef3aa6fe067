//! One wrong bit on the disk, and what it does to the boot.
//!
//! Each [`Kind`] of kernel has an image (`subject`) whose kernel prints exactly what it got
//! (`tests/programs/src/report/mod.rs`). So a boot is right if the serial line shows the same as
//! without the wrong bit, and nothing else.

mod boot;
mod journal;
mod kind;
mod layout;
mod page;
mod region;
mod subject;

pub use journal::Journal;
pub use kind::Kind;
pub use page::{page, section};
pub use region::{Coverage, Region};
pub use subject::Subject;

/// A wrong bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flip {
    /// The region that it is in.
    pub region: Region,
    /// The byte of the disk.
    pub offset: u64,
    /// 0 to 7.
    pub bit: u8,
}

/// How a boot ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As if nothing were wrong.
    Boots,
    /// The same, by the second copy of something, which the loader reported.
    BootsByCopy,
    /// An error with this code; [`BIOS`], if the BIOS finds nothing to boot; or [`KERNEL`], if the
    /// kernel finds its payload damaged.
    Named(String),
    /// Nothing more came.
    Hang,
    /// The machine was reset.
    Reset,
    /// The kernel, or something that was taken for it, ran with another result; or the loader
    /// crashed. With the output on the serial line.
    Wrong(String),
}

/// Instead of a code: the BIOS has found nothing to boot.
pub const BIOS: &str = "BIOS";
/// Instead of a code: the kernel has found its payload damaged.
pub const KERNEL: &str = "kernel";

impl Outcome {
    /// Whether a wrong bit in this region may end like this.
    pub fn is_allowed(&self, region: Region) -> bool {
        match self {
            Self::Boots | Self::BootsByCopy | Self::Named(_) => true,
            Self::Hang | Self::Reset | Self::Wrong(_) => region.coverage() != Coverage::Checked,
        }
    }
}

/// How many boots ended in a way that is not allowed.
pub fn failures(flips: &[Flip], outcomes: &[Outcome]) -> usize {
    let bad = |(flip, outcome): &(&Flip, &Outcome)| !outcome.is_allowed(flip.region);
    flips.iter().zip(outcomes).filter(bad).count()
}

/// SplitMix64.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut value = self.0;
        value = (value ^ value >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        value = (value ^ value >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        value ^ value >> 31
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(end)) >> 64) as u64
    }
}
