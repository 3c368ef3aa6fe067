//! Building an image.
//!
//! ```text
//! LBA 0      MBR: stage1, its parameter block, the partition table
//! LBA 1      stage2
//! LBA 2048   the boot partition, FAT: /boot/kernel.conf, /boot/kernel.elf, /boot/modules/…
//!            or /loader/loader.conf, /loader/entries/…, /boot/kernels/…, /boot/modules/…
//! ```
//!
//! In an image that is a CD as well, the CD's structures lie in between: see [`disk_layout::cd`].
//!
//! The same input gives the same bytes: there are no times of the host in the image, and its serial
//! numbers are a checksum of what is in it. The files lie in one piece each, in the order in which the loader
//! reads them. Blocks of zeros are left out of the file (it is sparse).

mod boot_sector;
mod files;
mod recipe;
mod volume;

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;

use anyhow::{Context as _, Result, anyhow, ensure};
use boot_path::entry::entries;
use boot_path::files::integrity::Role;
use disk_layout::stage2 as stage2_image;
use disk_layout::{PARTITION_LBA, SECTOR_SIZE, iso9660, mbr};
use serde::Serialize;

pub use recipe::{Entry, Extra, Module, Recipe};

use crate::cd;
use crate::geometry::Geometry;
use crate::inspect::{self, Chains, Inspection};
use crate::manifest::Manifest;
use crate::output::{self, Output};
use crate::progress::{self, Progress, Step};
use crate::signals;
use crate::sparse::{Partition, SparseFile};
use crate::stages::{self, Stage1, Stage1Cd, Stage2};
use boot_sector::boot_sector;
use files::Source;
use volume::Volume;

/// LBA of stage2 in an image that is not a CD as well.
const STAGE2_LBA: u16 = 1;

/// What was built. Its `Display` is for people: sizes, and a table of what lies where.
#[derive(Clone, Debug, Serialize)]
pub struct Built {
    /// The image.
    pub image: PathBuf,
    /// Bytes of the MBR that stage1 uses, of the 440 that there are.
    pub stage1_bytes: usize,
    /// Bytes of the CD's boot program that are used, of the 1024 that there are.
    pub stage1_cd_bytes: Option<usize>,
    /// Bytes of stage2, without padding.
    pub stage2_bytes: usize,
    /// What the loader's own reader finds in the image.
    #[serde(flatten)]
    pub inspection: Inspection,
}

impl fmt::Display for Built {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "stage1: {}/{} bytes", self.stage1_bytes, mbr::CODE_END)?;
        if let Some(bytes) = self.stage1_cd_bytes {
            let most = disk_layout::cd::CODE_END;
            writeln!(f, "stage1 on a CD: {bytes}/{most} bytes")?;
        }
        writeln!(
            f,
            "stage2: {} bytes, {} sectors (max {} bytes)",
            self.stage2_bytes,
            self.stage2_bytes
                .max(stage2_image::SUMMED)
                .div_ceil(SECTOR_SIZE),
            stage2_image::MAX_LENGTH
        )?;
        self.inspection.fmt_table(f)
    }
}

/// The kernel that a path stands for: a file stands for itself; in a directory, `make` makes
/// `kernel.elf`; without a path, the demo kernel is built. The variable `BOOTPATH` tells a makefile
/// where this repository, and `bootpath.h` in it, are.
///
/// # Errors
/// When there is no such file, or it cannot be made.
pub fn find_kernel(path: Option<&Path>) -> Result<PathBuf> {
    let Some(path) = path else {
        ensure!(
            stages::has_sources(&stages::KERNEL),
            "which kernel? Name one with --kernel; without it, the demo kernel is built, whose sources \
             are not here"
        );
        return stages::build_program(&stages::KERNEL);
    };
    let data = fs::metadata(path).with_context(|| format!("cannot open {}", path.display()))?;
    if !data.is_dir() {
        return Ok(path.to_owned());
    }
    let name = path.display();
    let is_there = |file: &str| path.join(file).exists();
    ensure!(
        ["GNUmakefile", "makefile", "Makefile"]
            .into_iter()
            .any(is_there),
        "{name} is a directory without a Makefile: give the kernel's file"
    );
    let mut make = Command::new("make");
    make.arg("-C")
        .arg(path)
        .env("BOOTPATH", stages::workspace())
        .stdout(io::stderr());
    let status = signals::status(&mut make);
    let status = status.with_context(|| format!("cannot run make in {name}"))?;
    ensure!(status.success(), "make failed in {name}");
    let kernel = path.join("kernel.elf");
    ensure!(
        kernel.exists(),
        "make has made no kernel.elf in {name}: its first target has to make one"
    );
    Ok(kernel)
}

/// Builds the image.
///
/// # Errors
/// When a file cannot be read or written, when the loader would refuse the kernel or its command
/// line, or when it does not all fit.
pub fn build(recipe: &Recipe) -> Result<Built> {
    build_with_progress(recipe, &progress::silent())
}

/// The same, and `progress` is told how it goes.
///
/// # Errors
/// Those of [`build`].
pub fn build_with_progress(recipe: &Recipe, progress: &Rc<dyn Progress>) -> Result<Built> {
    let content = output::Content::Image;
    let output = Output::new(&recipe.output, content, recipe.force, recipe.inputs())?;
    let mut parts = Parts::read(recipe, progress)?;
    let name = recipe.output.display();
    let inspection = output.write(|file| {
        parts.write(file, || format!("cannot write {name}"), progress)?;
        let _step = Step::new(&**progress, &format!("checking {name}"), None);
        let inspection = inspect::inspect_file(file, Chains::Later, progress)?;
        if !recipe.unchecked {
            check(&inspection, &parts.files)?;
        }
        Ok(inspection)
    })?;
    Ok(Built {
        image: recipe.output.clone(),
        stage1_bytes: parts.stage1.used,
        stage1_cd_bytes: parts.stage1_cd.map(|program| program.used),
        stage2_bytes: parts.stage2.used,
        inspection,
    })
}

/// The parts of an image.
struct Parts {
    stage1: Stage1,
    stage1_cd: Option<Stage1Cd>,
    stage2: Stage2,
    files: Vec<Source>,
    manifest: Option<Manifest>,
    geometry: Geometry,
}

impl Parts {
    /// Reads what the recipe names, and checks that it fits.
    fn read(recipe: &Recipe, progress: &Rc<dyn Progress>) -> Result<Self> {
        let stage1 = Stage1::read(&recipe.stages.stage1)?;
        let stage1_cd = recipe.stage1_cd.as_ref().map(Stage1Cd::read);
        let stage1_cd = stage1_cd.transpose()?;
        let files = files::of(recipe)?;
        let manifest = recipe
            .checksums
            .then(|| manifest(&files, progress))
            .transpose()?;
        let how = (recipe.road, recipe.record);
        let room = manifest.as_ref().map(Manifest::length);
        let lba = stage2_lba(stage1_cd.is_some());
        let stage2 = Stage2::read(&recipe.stages.stage2, how, room, lba.into())?;
        let geometry = Geometry::choose(&files::content(&files), recipe.size_mib)?;
        Ok(Self {
            stage1,
            stage1_cd,
            stage2,
            files,
            manifest,
            geometry,
        })
    }

    /// Writes the image. `cannot` says what failed when the file cannot be written.
    fn write(
        &mut self,
        file: &File,
        cannot: impl Copy + Fn() -> String,
        progress: &Rc<dyn Progress>,
    ) -> Result<()> {
        let disk = SparseFile::new(file.try_clone()?, self.geometry.image_bytes);
        let mut disk = disk.with_context(cannot)?;
        let serial_number = self.write_volume(&mut disk, cannot, progress)?;
        self.write_loader(&mut disk, serial_number, cannot)?;
        disk.flush().with_context(cannot)
    }

    /// Writes the boot partition, and seals stage2 with the checksums of the files. Returns the serial
    /// number of the disk.
    fn write_volume(
        &mut self,
        disk: &mut SparseFile,
        cannot: impl Copy + Fn() -> String,
        progress: &Rc<dyn Progress>,
    ) -> Result<u32> {
        let start = u64::from(PARTITION_LBA) * SECTOR_SIZE as u64;
        let length = u64::from(self.geometry.partition_sectors) * SECTOR_SIZE as u64;
        let partition = Partition::new(disk, start, length);
        let mut volume = Volume::format(partition, &self.geometry).with_context(cannot)?;
        let bytes = self.files.iter().map(Source::size).sum();
        let step = Step::new(&**progress, "writing the files", Some(bytes));
        let content = volume
            .fill(&self.files, self.manifest.as_mut(), progress)
            .with_context(cannot)?;
        drop(step);
        // The checksums of what was just read are known only now.
        let manifest = self.manifest.as_ref().map(Manifest::bytes).transpose()?;
        self.stage2.seal(&manifest.unwrap_or_default());
        let mut crc = crc32fast::Hasher::new();
        crc.update(&self.stage1.code);
        crc.update(&self.stage2.bytes);
        if let Some(program) = &self.stage1_cd {
            crc.update(&program.code);
        }
        crc.combine(&content);
        // Zero means that there is no number.
        let serial_number = crc.finalize().max(1);
        volume.finish(serial_number).with_context(cannot)?;
        Ok(serial_number)
    }

    /// Writes what lies outside of the boot partition: stage2, the structures of a CD, the first sector.
    fn write_loader(
        &self,
        disk: &mut SparseFile,
        serial_number: u32,
        cannot: impl Copy + Fn() -> String,
    ) -> Result<()> {
        let lba = stage2_lba(self.stage1_cd.is_some());
        let mut put = |offset: u64, bytes: &[u8]| disk.write_at(offset, bytes).with_context(cannot);
        put(u64::from(lba) * SECTOR_SIZE as u64, &self.stage2.bytes)?;
        if let Some(program) = &self.stage1_cd {
            let blocks = cd::blocks(&self.geometry, program, self.stage2.first)?;
            put(iso9660::DESCRIPTORS as u64, blocks.as_flattened())?;
        }
        let sectors = u16::try_from(self.stage2.sectors())?;
        let place = (lba, sectors);
        put(
            0,
            &boot_sector(&self.stage1, place, &self.geometry, serial_number)?,
        )
    }
}

/// Where stage2 goes.
fn stage2_lba(is_cd: bool) -> u16 {
    match is_cd {
        true => cd::STAGE2_LBA,
        false => STAGE2_LBA,
    }
}

/// Checks that the loader boots all that is in the image.
fn check(inspection: &Inspection, files: &[Source]) -> Result<()> {
    let Some(refusal) = inspection.refusals.first() else {
        let verified = inspection.verify();
        return verified.context("the new image is not what it should be");
    };
    let mut files = files.iter();
    let kernel = files.find(|source| Some(&source.path) == refusal.kernel.as_ref());
    let kernel = kernel.map_or("the new image", |source| &source.host_name);
    let problem = anyhow!("{kernel} cannot be booted: {}", refusal.problem);
    Err(match &refusal.entry {
        Some(entry) => problem.context(format!("entry {entry} is not possible")),
        None => problem,
    })
}

/// The checksums of all files, except those that are computed while the files are written.
fn manifest(files: &[Source], progress: &Rc<dyn Progress>) -> Result<Manifest> {
    let mut manifest = Manifest::default();
    let entries = files.iter().filter_map(|source| {
        let name = source.path.strip_prefix(entries::DIRECTORY)?;
        name.strip_prefix('/')
    });
    manifest.add_directory(entries::DIRECTORY, entries)?;
    for source in files {
        let path = &source.path;
        match &source.content {
            files::Content::Text(text) => manifest.add_text(path, text)?,
            files::Content::File(_, size) if source.role != Role::Kernel => {
                manifest.add(path, *size)?;
            }
            files::Content::File(..) => {
                let what = format!("reading {}", source.host_name);
                let _step = Step::new(&**progress, &what, None);
                if let Some(mut file) = source.open(progress)? {
                    manifest.add_kernel(path, &mut file, &source.protocols)?;
                    source.check(&mut file)?;
                }
            }
        }
    }
    Ok(manifest)
}
