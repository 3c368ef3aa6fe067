//! The bare-metal programs: those that this program contains, building them with cargo, and making
//! flat binaries of the loader's.

use std::path::Path;

use anyhow::Result;

mod cargo;
mod elf_file;
mod flat;
mod parts;
mod program;
mod source;
mod toolchain;

pub use elf_file::{ElfFile, built_in};
pub(crate) use flat::{Stage1, Stage1Cd, Stage2};
pub use parts::link as link_in_parts;
pub use program::{KERNEL, LOADER, Program, STAGE1, STAGE1_CD, STAGE1_MULTIBOOT, STAGE2};
pub use source::{
    build_program, build_program_for, has_sources, rustc, target, toolchain, workspace,
};
pub use toolchain::{Toolchain, linker_arguments, output};

/// The ELF files of the two stages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stages {
    /// ELF file of stage1.
    pub stage1: ElfFile,
    /// ELF file of stage2.
    pub stage2: ElfFile,
}

impl Stages {
    /// The stages that are part of this program, or that are built from their sources.
    ///
    /// # Errors
    /// Those of [`ElfFile::of`].
    pub fn find() -> Result<Self> {
        Ok(Self {
            stage1: ElfFile::of(&STAGE1)?,
            stage2: ElfFile::of(&STAGE2)?,
        })
    }

    /// The files `stage1` and `stage2` of a directory.
    pub fn in_directory(directory: &Path) -> Self {
        Self {
            stage1: directory.join("stage1").into(),
            stage2: directory.join("stage2").into(),
        }
    }
}
