//! When the next entry is tried: what its attempts leave behind, and when there is none.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use disk_builder::image::{self, Entry, Extra, Module, Recipe};
use disk_layout::{PARTITION_LBA, SECTOR_SIZE, stage2};
use host_machine::{Disk, Image as DiskImage, Outcome, Pc, boot};

use crate::images::stages;
use crate::kernels::{bootpath, content};

const MIB: u64 = 1 << 20;

/// The size of the first module of each entry.
const LARGE: u64 = 24 * MIB;

/// A disk, and where its second module is.
struct Made {
    bytes: Vec<u8>,
    manifest: Vec<u8>,
    second: usize,
}

/// An image with these entries, of the same kernel, in the order in which they are tried. Each has so
/// many of two modules: one of [`LARGE`] bytes, and a small one.
fn image(entries: &[(&str, usize)]) -> Result<Made> {
    let directory = tempfile::tempdir()?;
    let at = |name: &str| directory.path().join(name);
    let small = content(9, 1500);
    fs::write(at("kernel.elf"), bootpath(3000))?;
    fs::write(at("large"), vec![0; LARGE as usize])?;
    fs::write(at("small"), &small)?;
    let stages = stages(directory.path())?;
    let mut recipe = Recipe::new(at("kernel.elf"), at("disk.img"), stages);
    recipe.checksums = true;
    recipe.entries = entries
        .iter()
        .map(|&(name, modules)| {
            let mut entry = Entry::new(name, at("kernel.elf"));
            let modules = ["large", "small"].iter().take(modules);
            let modules = modules.map(|name| Module {
                file: at(name),
                string: String::new(),
            });
            entry.modules = modules.map(Extra::Module).collect();
            entry
        })
        .collect();
    image::build(&recipe)?;
    let bytes = fs::read(at("disk.img"))?;
    let stage2 = &bytes[SECTOR_SIZE..PARTITION_LBA as usize * SECTOR_SIZE];
    let sectors = || bytes.chunks_exact(SECTOR_SIZE);
    let second = sectors().position(|sector| small.starts_with(sector));
    Ok(Made {
        manifest: stage2::manifest(stage2).unwrap_or_default().to_vec(),
        second: second.context("the second module is in the image")? * SECTOR_SIZE,
        bytes,
    })
}

/// Boots a disk on a PC with so much memory: the outcome, and what was printed.
fn boot_with(
    memory: u64,
    disk: impl DiskImage + 'static,
    manifest: &[u8],
) -> Result<(Outcome, String)> {
    let pc = Pc::with_disk(Disk::new(disk)).context("no memory")?;
    let pc = pc.up_to(memory);
    let outcome = boot(&pc, manifest);
    Ok((outcome, pc.transcript.take()))
}

/// An attempt gives back all memory that it took: three entries load a large module before a damaged
/// one is met, on a machine that has no room for two of them.
#[test]
fn an_attempt_gives_back_its_memory() -> Result<()> {
    let mut made = image(&[("4", 2), ("3", 2), ("2", 2), ("1", 1)])?;
    made.bytes[made.second] ^= 1;
    let memory = 2 * LARGE;
    let (outcome, transcript) = boot_with(memory, made.bytes, &made.manifest)?;
    ensure!(matches!(outcome, Outcome::Ready(..)), "{transcript}");
    for name in ["4", "3", "2"] {
        let line = format!(" 9 entries  {name}.conf is not booted, 10R: ");
        ensure!(transcript.contains(&line), "no {line}\n{transcript}");
    }
    Ok(())
}

/// Too little memory is not the entry's fault: the user has to know, and no other entry is tried.
#[test]
fn too_little_memory_ends_the_attempts() -> Result<()> {
    let made = image(&[("2", 2), ("1", 0)])?;
    let (outcome, transcript) = boot_with(LARGE, made.bytes, &made.manifest)?;
    let is_memory = matches!(outcome, Outcome::Failed { code: "6B", .. });
    ensure!(is_memory, "{outcome:?}\n{transcript}");
    ensure!(!transcript.contains("is not booted"), "{transcript}");
    Ok(())
}

/// A disk that does not answer any more, once a certain place was read.
struct Pulled {
    bytes: Vec<u8>,
    place: usize,
    is_gone: bool,
}

impl DiskImage for Pulled {
    fn length(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read(&mut self, offset: u64, out: &mut [u8]) -> Result<(), u8> {
        /// INT 13h: the drive is not ready.
        const NOT_READY: u8 = 0xAA;

        let range = offset as usize..offset as usize + out.len();
        self.is_gone |= range.contains(&self.place);
        if self.is_gone {
            return Err(NOT_READY);
        }
        out.copy_from_slice(&self.bytes[range]);
        Ok(())
    }
}

/// A disk that is gone has no other entries.
#[test]
fn a_disk_that_is_gone_ends_the_attempts() -> Result<()> {
    let made = image(&[("2", 2), ("1", 0)])?;
    let disk = Pulled {
        bytes: made.bytes,
        place: made.second,
        is_gone: false,
    };
    let (outcome, transcript) = boot_with(4 * LARGE, disk, &made.manifest)?;
    let is_disk = matches!(outcome, Outcome::Failed { code: "7A", .. });
    ensure!(is_disk, "{outcome:?}\n{transcript}");
    ensure!(!transcript.contains("is not booted"), "{transcript}");
    Ok(())
}
