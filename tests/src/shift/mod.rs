//! Moves functions of stage2, and of the way in by Multiboot, by some bytes: nothing that assembly
//! relies on may depend on where a function happens to lie.
//!
//! The compiler writes the program as assembly once ([`Assembly`]). Bytes are inserted in front of
//! a function, behind its alignment. The assembler in `rustc` and the linker that cargo uses make a
//! program of it, with the same linker script. Each program is booted in the ways that lead through
//! the function ([`Scenario`]).
//!
//! Code whose place is a contract cannot be moved, and the linker script says so: stage2's entry,
//! behind its header.

mod assembly;
mod boots;
mod scenario;

use std::fmt;
use std::fs;

use anyhow::{Context as _, Result};
use disk_builder::stages::{STAGE1_MULTIBOOT, STAGE2, Stages};

pub use assembly::{Assembly, Function};
pub use scenario::Scenario;

use crate::image::{small_kernel, test_program_file};
use boots::Built;

/// The most bytes that a function is shifted by. With more, the same alignments come again.
pub const MOST: usize = 15;

/// Both programs, and a place for them.
pub struct Workshop {
    /// stage2.
    pub stage2: Assembly,
    /// The way in by Multiboot.
    pub way_in: Assembly,
    kernel: tempfile::NamedTempFile,
    limine_kernel: Vec<u8>,
}

/// Which functions are shifted, and by how many bytes. A function is known by its place in the
/// lists of both programs, one behind the other.
#[derive(Clone, Copy, Debug)]
pub enum Shift {
    /// One function, by 1 to [`MOST`] bytes.
    One(usize, usize),
    /// All functions whose place, divided by [`PARTS`], leaves this remainder: stage2 has no room
    /// for all at once. They are shifted by different numbers of bytes. In the [`MOST`] shifts with
    /// the same remainder, each function is shifted by each number.
    Part(usize, usize),
}

/// See [`Shift::Part`].
pub const PARTS: usize = 8;

impl Shift {
    /// All shifts of parts.
    pub fn parts() -> impl Iterator<Item = Self> {
        (0..MOST).flat_map(|number| (0..PARTS).map(move |part| Self::Part(part, number)))
    }

    /// How many bytes a function is shifted by.
    fn bytes(self, place: usize) -> usize {
        match self {
            Self::One(function, bytes) if function == place => bytes,
            // 7 and 15 are coprime.
            Self::Part(part, number) if place % PARTS == part => (place * 7 + number) % MOST + 1,
            Self::One(..) | Self::Part(..) => 0,
        }
    }
}

impl Workshop {
    /// Builds what all shifts have in common.
    ///
    /// # Errors
    /// When something does not build.
    pub fn new() -> Result<Self> {
        Ok(Self {
            stage2: Assembly::of(STAGE2)?,
            way_in: Assembly::of(STAGE1_MULTIBOOT)?,
            kernel: small_kernel()?,
            limine_kernel: limine_kernel()?,
        })
    }

    /// All functions, those of stage2 first.
    pub fn functions(&self) -> impl Iterator<Item = &Function> {
        self.stage2.functions.iter().chain(&self.way_in.functions)
    }

    /// The ways to boot that matter for this shift.
    fn scenarios(&self, shift: Shift) -> Vec<Scenario> {
        match shift {
            Shift::One(place, _) => {
                let function = self.functions().nth(place);
                function.map_or_else(Vec::new, |function| Scenario::through(&function.name))
            }
            Shift::Part(..) => Scenario::ALL.to_vec(),
        }
    }

    /// Shifts, and boots the result. Returns the number of ways.
    ///
    /// # Errors
    /// Names what did not go as it should.
    pub fn run(&self, shift: Shift) -> Result<usize> {
        let directory = tempfile::tempdir()?;
        let count = self.stage2.functions.len();
        let stage2 = self
            .stage2
            .shifted(directory.path(), |place| shift.bytes(place))?;
        let way_in = self
            .way_in
            .shifted(directory.path(), |place| shift.bytes(count + place))?;
        let built = Built {
            stages: Stages {
                stage2: stage2.into(),
                ..crate::image::stages()?
            },
            way_in,
            directory,
            workshop: self,
        };
        let scenarios = self.scenarios(shift);
        for &scenario in &scenarios {
            built
                .boot(scenario)
                .with_context(|| format!("{scenario:?}"))?;
        }
        Ok(scenarios.len())
    }

    /// Describes the shift in words.
    pub fn name(&self, shift: Shift) -> impl fmt::Display {
        match shift {
            Shift::One(place, bytes) => match self.functions().nth(place) {
                Some(function) => format!("{} by {bytes}", function.name),
                None => format!("no function {place}"),
            },
            Shift::Part(part, number) => {
                format!("every eighth function from number {part} on, {number}")
            }
        }
    }
}

/// The tests' kernel for the Limine protocol, which uses five levels of page tables if the CPU has
/// them, and four otherwise.
fn limine_kernel() -> Result<Vec<u8>> {
    // The request for a paging mode, and its fields: preferred, highest and lowest one.
    const ID: [u64; 2] = [0x95C1_A0ED_AB09_44CB, 0xA4E5_CB38_42F7_488A];
    const FIELDS: usize = 4 * size_of::<u64>();

    let mut kernel = fs::read(test_program_file("limine-kernel")?)?;
    let id = ID.map(u64::to_le_bytes).concat();
    let place = kernel.windows(id.len()).position(|bytes| bytes == id);
    let fields = place.context("no request for a paging mode")? + FIELDS;
    let wish = [1_u64, 1, 0].map(u64::to_le_bytes).concat();
    kernel[fields..][..wish.len()].copy_from_slice(&wish);
    Ok(kernel)
}

/// Runs shifts, several at once. `done` is called for each.
pub fn run_all(
    workshop: &Workshop,
    shifts: &[Shift],
    done: impl Fn(Shift, &Result<usize>) + Sync,
) -> Vec<Result<usize>> {
    crate::parallel::each(shifts, |shift| {
        let result = workshop.run(*shift);
        done(*shift, &result);
        result
    })
}
