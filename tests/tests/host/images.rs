//! Images to boot on the host, which `disk-builder` builds with stages that nobody runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use disk_builder::image::{self, Entry, Extra, Module, Recipe};
use disk_builder::stages::Stages;
use disk_builder::{Protocol, Target};
use disk_layout::{PARTITION_LBA, SECTOR_SIZE, mbr, stage2};
use fuzz::elf_fixture::{ET_EXEC, Elf, PT_LOAD, ProgramHeader, R, W, X};
use machine_tests::elf::noise;
use machine_tests::kernels::gzip;

use crate::kernels::content;
use crate::volume::Volume;

/// Sectors in front of stage2.
const STAGE2_LBA: usize = 1;

/// An image.
#[derive(Clone)]
pub struct Image {
    /// What is in it.
    pub name: String,
    pub bytes: Arc<[u8]>,
    pub volume: Volume,
    /// Where the kernel is: first sector and number of sectors of each piece.
    pub kernel: Vec<(u64, u64)>,
    /// What the loader finds behind its own image.
    pub manifest: Vec<u8>,
    /// As in [`How`].
    pub entries: bool,
}

/// What an image is made of.
#[derive(Clone)]
pub struct Subject {
    pub name: &'static str,
    pub kernel: Vec<u8>,
    /// The protocol, as an entry names it.
    pub protocol: Option<&'static str>,
    pub modules: Vec<(&'static str, Vec<u8>)>,
    /// The boot sector that is started instead of a kernel.
    pub chain: Option<Target>,
}

impl Subject {
    /// A kernel with modules of several clusters, whose names need several entries each.
    pub fn new(name: &'static str, kernel: Vec<u8>) -> Self {
        let modules = vec![
            ("inner", content(4, 1500)),
            (
                "a module with quite a long name, the second one",
                content(5, 2100),
            ),
            (
                "a module with quite a long name, the third one",
                content(6, 1999),
            ),
            (
                "the last one of the modules, whose name is in another cluster",
                content(7, 600),
            ),
        ];
        Self {
            name,
            kernel,
            protocol: None,
            modules,
            chain: None,
        }
    }

    /// The same, with all files compressed.
    pub fn compressed(mut self) -> Result<Self> {
        self.kernel = gzip(&self.kernel)?;
        for (_, bytes) in &mut self.modules {
            *bytes = gzip(bytes)?;
        }
        Ok(self)
    }
}

/// How an image is laid out.
#[derive(Clone, Copy, Debug)]
pub struct How {
    /// Size in MiB, which decides the kind of FAT.
    pub mib: u32,
    /// Whether its files have checksums.
    pub checksums: bool,
    /// Whether there are entries, instead of one configuration.
    pub entries: bool,
    /// Whether the clusters are in random order.
    pub scattered: bool,
}

/// Sizes of images, with clusters of 512 bytes each.
pub const FAT12: u32 = 2;
pub const FAT16: u32 = 5;
pub const FAT32: u32 = 36;

/// Builds an image.
pub fn build(subject: &Subject, how: How) -> Result<Image> {
    let directory = tempfile::tempdir()?;
    let at = |name: &str| directory.path().join(name);
    let put = |name: &str, bytes: &[u8]| -> Result<PathBuf> {
        fs::write(at(name), bytes)?;
        Ok(at(name))
    };
    let stages = stages(directory.path())?;
    let kernel = put("kernel.elf", &subject.kernel)?;
    let mut recipe = Recipe::new(kernel, at("disk.img"), stages);
    fs::create_dir(at("modules"))?;
    for (name, bytes) in &subject.modules {
        let file = put(&format!("modules/{name}"), bytes)?;
        let string = format!("this is {name}");
        recipe.modules.push(Module { file, string });
    }
    recipe.command_line = "some words ".repeat(90).trim_end().into();
    recipe.protocol = subject.protocol.and_then(Protocol::from_name);
    recipe.chain = subject.chain;
    recipe.size_mib = Some(how.mib);
    recipe.checksums = how.checksums;
    if how.entries {
        add_entries(&mut recipe);
    }
    let inspection = image::build(&recipe)?.inspection;
    let mut files = inspection.files.into_iter();
    let kernel = files.find(|file| file.path.ends_with("/kernel.elf"));
    let pieces = kernel.map(|file| file.extents).unwrap_or_default();
    let pieces = pieces.iter().map(|it| (it.lba, it.sectors));
    Ok(Image {
        kernel: pieces.collect(),
        ..read(subject.name, &at("disk.img"), how)?
    })
}

/// Turns the configuration into the entry that is booted, among others.
fn add_entries(recipe: &mut Recipe) {
    let entry = |name: &str| {
        let mut entry = Entry::new(name, &recipe.kernel);
        entry.title = Some(format!("Title of {name}"));
        entry
    };
    let mut entries: Vec<_> = ["one", "two", "three", "four"]
        .map(|name| entry(&format!("an-entry-that-has-a-long-name-{name}")))
        .into();
    let mut booted = entry("the-one-that-is-booted-and-has-a-long-name");
    booted.command_line.clone_from(&recipe.command_line);
    booted.protocol = recipe.protocol;
    booted.chain = recipe.chain;
    booted.modules = recipe.modules.drain(..).map(Extra::Module).collect();
    entries.insert(2, booted);
    recipe.default = Some("the-one-that*".into());
    recipe.entries = entries;
}

fn read(name: &str, path: &Path, how: How) -> Result<Image> {
    let mut bytes = fs::read(path)?;
    let mut volume = Volume::of(&bytes, PARTITION_LBA as usize)?;
    if how.scattered {
        volume.scatter(&mut bytes)?;
    }
    let stage2 = &bytes[STAGE2_LBA * SECTOR_SIZE..PARTITION_LBA as usize * SECTOR_SIZE];
    let manifest = stage2::manifest(stage2).unwrap_or_default().to_vec();
    let sums = if how.checksums { "" } else { ", no checksums" };
    let entries = if how.entries { ", entries" } else { "" };
    Ok(Image {
        name: format!("{name}, FAT{}{entries}{sums}", volume.bits),
        bytes: bytes.into(),
        kernel: Vec::new(),
        volume,
        manifest,
        entries: how.entries,
    })
}

/// One segment, which nobody runs.
fn program(start: u64, bytes: Vec<u8>, size: u64) -> Elf {
    Elf::new(ET_EXEC, start).with(ProgramHeader {
        kind: PT_LOAD,
        ..ProgramHeader::load(R | W | X, start, bytes, size)
    })
}

/// Stages that nobody runs, in a directory.
pub fn stages(directory: &Path) -> Result<Stages> {
    fs::write(directory.join("stage1"), stage1())?;
    fs::write(directory.join("stage2"), stage2())?;
    Ok(Stages::in_directory(directory))
}

fn stage1() -> Vec<u8> {
    let mut bytes = vec![0xEB, 0x58, 0x90];
    bytes.resize(mbr::BPB_AREA.end, 0);
    bytes.extend([0xF4; 100]);
    let size = bytes.len() as u64;
    program(mbr::LOAD_ADDRESS.into(), bytes, size).build()
}

fn stage2() -> Vec<u8> {
    let mut bytes = noise(5000);
    bytes[..stage2::ENTRY_OFFSET].fill(0);
    bytes[..stage2::MAGIC.len()].copy_from_slice(&stage2::MAGIC);
    let start = u64::from(stage2::LOAD_ADDRESS);
    let mut elf = program(start, bytes, 192_512);
    elf.entry = start + stage2::ENTRY_OFFSET as u64;
    elf.build()
}

/// A disk that holds only a boot sector.
pub fn boot_sector() -> Result<Vec<u8>> {
    let mut disk = noise(64 * SECTOR_SIZE);
    let end = disk.get_mut(SECTOR_SIZE - 2..SECTOR_SIZE);
    end.context("a sector")?.copy_from_slice(&[0x55, 0xAA]);
    Ok(disk)
}
