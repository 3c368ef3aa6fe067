//! The options of `build`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use disk_builder::image::Recipe;
use disk_builder::output::{Content, Output};
use disk_builder::stages::{self, ElfFile, Stages};

use super::Road;
use super::boot::Boot;

/// The options as clap has them.
#[derive(Args)]
pub struct BuildOptions {
    /// The image to write. An older image is replaced when the new one is complete.
    #[arg(long, short, value_name = "IMAGE")]
    output: PathBuf,
    /// Replace a file even if it is not an image of this program; never one of the inputs.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    boot: Box<Boot>,
    /// The loader's road to 64-bit mode.
    #[arg(long, value_enum, default_value_t = Road::Protected)]
    road: Road,
    /// Write each BIOS call to the serial line: see `transcript`.
    #[arg(long)]
    record: bool,
    /// Size of the image; without it, what suits the files.
    #[arg(long, value_name = "MIB")]
    size: Option<u32>,
    /// Make it a CD as well: the same image boots as a disk or stick, and as a CD.
    #[arg(long)]
    cd: bool,
    /// Take the ELF files `stage1` and `stage2` (and `stage1-cd`) from here instead of building
    /// them.
    #[arg(long, value_name = "DIR")]
    stages: Option<PathBuf>,
    /// Take the kernel even if the loader will refuse it.
    #[arg(long)]
    unchecked: bool,
    /// For programs: JSON that says what was built.
    #[arg(long)]
    pub json: bool,
    /// Give the loader no checksums of the kernel, its modules and its configuration.
    #[arg(long)]
    no_checksums: bool,
}

impl BuildOptions {
    /// What the image is made of. Builds the programs of the loader.
    pub fn recipe(self) -> Result<Recipe> {
        // Find mistakes in the command line before starting anything that takes time.
        let boot = self.boot.find()?;
        let mut inputs = boot.inputs();
        if let Some(directory) = &self.stages {
            let programs = [stages::STAGE1, stages::STAGE2, stages::STAGE1_CD];
            inputs.extend(programs.map(|program| directory.join(program.bin)));
        }
        Output::new(&self.output, Content::Image, self.force, inputs)?;
        let stages = match &self.stages {
            Some(directory) => Stages::in_directory(directory),
            None => Stages::find()?,
        };
        let stage1_cd = match &self.stages {
            _ if !self.cd => None,
            Some(directory) => Some(directory.join(stages::STAGE1_CD.bin).into()),
            None => Some(ElfFile::of(&stages::STAGE1_CD)?),
        };
        Ok(Recipe {
            force: self.force,
            road: self.road.into(),
            record: self.record,
            size_mib: self.size,
            stage1_cd,
            unchecked: self.unchecked,
            checksums: !self.no_checksums,
            ..boot.recipe(self.output, stages)
        })
    }
}
