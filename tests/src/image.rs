//! Images to boot, and how to spoil them.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::{Context as _, Result, ensure};
use disk_builder::image::{self, Recipe};
use disk_builder::stages::{self, Program, Stages};
use disk_layout::SECTOR_SIZE;
use tempfile::TempDir;

use crate::elf::Elf;

/// Builds a program of `tests/programs` and reads it.
///
/// # Errors
/// When it does not build.
pub fn test_program(name: &str) -> Result<Elf> {
    let path = stages::build_program(&Program {
        package: "test-programs",
        bin: name,
        config: name,
    })?;
    Elf::read(&fs::read(path)?)
}

/// The two stages, built once.
///
/// # Errors
/// When they do not build.
pub fn stages() -> Result<Stages> {
    static STAGES: OnceLock<Result<Stages, String>> = OnceLock::new();
    once(&STAGES, Stages::build)
}

/// The demo kernel's ELF file, built once.
///
/// # Errors
/// When it does not build.
pub fn demo_kernel() -> Result<PathBuf> {
    static KERNEL: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    once(&KERNEL, || stages::build_program(&stages::KERNEL))
}

/// The C kernel's ELF file, built once.
///
/// # Errors
/// When it does not build.
pub fn c_kernel() -> Result<PathBuf> {
    static KERNEL: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    once(&KERNEL, || {
        image::find_kernel(Some(&stages::workspace().join("examples/c-kernel")))
    })
}

fn once<T: Clone>(
    cell: &OnceLock<Result<T, String>>,
    make: impl FnOnce() -> Result<T>,
) -> Result<T> {
    cell.get_or_init(|| make().map_err(|error| format!("{error:#}")))
        .clone()
        .map_err(anyhow::Error::msg)
}

/// An image in a directory of its own, which goes away with it.
pub struct Image {
    directory: TempDir,
    /// What lies where in it.
    pub built: Option<image::Built>,
}

impl Image {
    /// Builds an image with the demo kernel or another one. `change` may change the recipe; it is
    /// also given a directory to put files in.
    ///
    /// # Errors
    /// When the builder refuses.
    pub fn build(kernel: &Path, change: impl FnOnce(&mut Recipe, &Path)) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let mut recipe = Recipe::new(kernel, directory.path().join("disk.img"), stages()?);
        change(&mut recipe, directory.path());
        let built = Some(image::build(&recipe)?);
        Ok(Self { directory, built })
    }

    /// An image with the demo kernel, which ends the machine when it is done.
    ///
    /// # Errors
    /// When it cannot be built.
    pub fn demo() -> Result<Self> {
        Self::build(&demo_kernel()?, |recipe, _| {
            recipe.command_line = "exit".into()
        })
    }

    /// An image with a kernel made of these bytes, which nobody checks.
    ///
    /// # Errors
    /// When it cannot be built.
    pub fn with_kernel(bytes: &[u8]) -> Result<Self> {
        let mut kernel = tempfile::NamedTempFile::new()?;
        kernel.write_all(bytes)?;
        Self::build(kernel.path(), |recipe, _| recipe.unchecked = true)
    }

    /// An image that a program of one sector boots from, with `data` from LBA 1 on.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn raw(program: &[u8], data: &[u8]) -> Result<Self> {
        // SeaBIOS wants at least one cylinder.
        const LEAST: u64 = 1 << 20;

        ensure!(
            program.len() <= SECTOR_SIZE - 2,
            "the program does not fit into a sector"
        );
        let image = Self {
            directory: tempfile::tempdir()?,
            built: None,
        };
        let file = File::create(image.path())?;
        file.set_len(LEAST.max((SECTOR_SIZE + data.len()).next_multiple_of(SECTOR_SIZE) as u64))?;
        file.write_all_at(program, 0)?;
        file.write_all_at(&[0x55, 0xAA], SECTOR_SIZE as u64 - 2)?;
        file.write_all_at(data, SECTOR_SIZE as u64)?;
        Ok(image)
    }

    /// The image's file.
    pub fn path(&self) -> PathBuf {
        self.directory.path().join("disk.img")
    }

    /// Overwrites bytes.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        let file = OpenOptions::new().write(true).open(self.path())?;
        file.write_all_at(bytes, offset)
            .context("cannot write to the image")
    }

    /// Reads bytes.
    ///
    /// # Errors
    /// When the file ends before.
    pub fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        File::open(self.path())?
            .read_exact_at(&mut bytes, offset)
            .context("the image ends")?;
        Ok(bytes)
    }
}

/// What the ROM of `tests/programs/src/bad_bios.rs` can spoil; the numbers are its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Defect {
    /// INT 15h E820h is not there.
    NoE820 = 1 << 0,
    /// INT 15h E801h is not there.
    NoE801 = 1 << 1,
    /// INT 15h 88h is not there.
    No88 = 1 << 2,
    /// INT 13h has no extensions.
    NoEdd = 1 << 3,
    /// A20 is off when stage2 starts.
    A20Off = 1 << 4,
    /// INT 15h 24xxh is not there.
    NoA20Call = 1 << 5,
    /// The keyboard controller does not enable A20.
    NoA20Keyboard = 1 << 6,
    /// Port 92h does not enable A20.
    NoA20Fast = 1 << 7,
}

/// An option ROM with these defects, for QEMU's `-option-rom`.
///
/// # Errors
/// When it does not build.
pub fn bad_bios(defects: &[Defect]) -> Result<tempfile::NamedTempFile> {
    const FLAGS: usize = 6;
    const CHECKSUM: usize = 7;

    let mut rom = test_program("bad-bios")?.flat().to_vec();
    rom.resize(512, 0);
    rom[FLAGS] = defects
        .iter()
        .fold(0, |flags, &defect| flags | defect as u8);
    rom[CHECKSUM] = rom.iter().fold(0_u8, |sum, &byte| sum.wrapping_sub(byte));
    let mut file = tempfile::NamedTempFile::new()?;
    file.write_all(&rom)?;
    Ok(file)
}
