//! Volumes and disks of all kinds. Nothing is written to them.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use disk_builder::image::Module;
use machine_tests::el_torito;
use machine_tests::elf::noise;
use machine_tests::image::{Image, demo_kernel, small_kernel, stage1_cd};
use machine_tests::machine::{Disk, Machine};

use crate::{contains, crc32, okay};

#[test]
fn kinds_of_fat() -> Result<()> {
    for (size_mib, fat_bits) in [(3, 12), (16, 16), (64, 32)] {
        let image = Image::build(small_kernel()?.path(), |recipe, _| {
            recipe.command_line = "exit".into();
            recipe.size_mib = Some(size_mib);
        })?;
        let volume = image.inspect()?.volume.context("no file system")?;
        ensure!(volume.fat_bits == fat_bits, "{volume:?}");
        let transcript = okay(&Machine::new(&image.path()))?;
        contains(&transcript, &[&format!("FAT{fat_bits}")])?;
    }
    Ok(())
}

/// For a hard disk that a CD emulates, the BIOS takes heads and sectors per track from where the
/// partition table says that the partition ends.
#[test]
fn a_hard_disk_that_a_cd_emulates() -> Result<()> {
    for size_mib in [Some(2), Some(40), Some(62), Some(63), None] {
        let image = Image::build(small_kernel()?.path(), |recipe, _| {
            recipe.command_line = "exit".into();
            recipe.size_mib = size_mib;
        })?;
        let cd = el_torito::hard_disk(&image)?;
        let machine = Machine::new(&cd.path()).disk(Disk::CdIde);
        let transcript = okay(&machine).with_context(|| format!("{size_mib:?} MiB"))?;
        contains(
            &transcript,
            &["drive 80h by CHS, 512 bytes a sector, partition 1 at LBA 2048"],
        )?;
    }
    Ok(())
}

/// On a volume that other programs made, the files lie in every other cluster.
#[test]
fn fragmented_files() -> Result<()> {
    const CLUSTER: usize = 2048;
    const FRAGMENTS: usize = 400;
    const MODULE: &str = "/boot/modules/fragmented.bin";

    let kernel = small_kernel()?;
    let image = Image::build(kernel.path(), |recipe, _| recipe.size_mib = Some(16))?;
    image.format(&["-F", "16", "-s", "4"])?;
    image.mtools("mmd", ["::/boot", "::/boot/modules", "::/filler"])?;
    image.put(
        "/boot/kernel.conf",
        format!("options exit crc\nmodule {MODULE}\n").as_bytes(),
    )?;
    let directory = tempfile::tempdir()?;
    let fillers: Vec<_> = (0..2 * FRAGMENTS)
        .map(|number| format!("{number:04}"))
        .collect();
    for filler in &fillers {
        fs::write(directory.path().join(filler), [0xA5; CLUSTER])?;
    }
    let paths = fillers.iter().map(|filler| directory.path().join(filler));
    image.mtools("mcopy", paths.chain(["::/filler".into()]))?;
    let every_other = fillers.iter().step_by(2);
    image.mtools(
        "mdel",
        every_other.map(|filler| format!("::/filler/{filler}")),
    )?;
    let module = noise(100_001);
    image.put("/boot/kernel.elf", &fs::read(kernel.path())?)?;
    image.put(MODULE, &module)?;

    for file in &image.inspect()?.files {
        let clusters = file.size.div_ceil(CLUSTER as u64);
        ensure!(file.pieces == clusters, "{file:?}");
    }
    let transcript = okay(&Machine::new(&image.path()))?;
    contains(&transcript, &["FAT16", &format!("{:08x}", crc32(&module))])
}

#[test]
fn read_errors_that_do_not_come_again() -> Result<()> {
    let image = Image::demo()?;
    let kernel = image.first_sector("/boot/kernel.elf")?;
    for disk in [Disk::Ide, Disk::Ahci] {
        let machine = Machine::new(&image.path()).disk(disk);
        okay(
            &machine
                .weak_sector(5)
                .weak_sector(kernel)
                .weak_sector(kernel + 40),
        )?;
    }
    let image = Image::demo_cd()?;
    let stage2 = image.inspect()?.stage2.context("no stage2")?.place.lba;
    for disk in [Disk::CdIde, Disk::CdAhci] {
        let machine = Machine::new(&image.path()).disk(disk);
        okay(
            &machine
                .weak_sector(stage2 + 5)
                .weak_sector(kernel)
                .weak_sector(kernel + 40),
        )?;
        // After three failures, the rest is read block by block.
        let machine = Machine::new(&image.path()).disk(disk);
        let machine = (0..3).fold(machine, |machine, _| machine.weak_sector(stage2 + 90));
        okay(&machine)?;
    }
    Ok(())
}

/// A cluster of 1 KiB is half a block of a CD.
#[test]
fn a_cd_with_modules() -> Result<()> {
    let stage1_cd = stage1_cd()?;
    let image = Image::build(&demo_kernel()?, |recipe, directory| {
        recipe.command_line = "exit crc".into();
        recipe.stage1_cd = Some(stage1_cd);
        for (name, length) in [("odd", 1025), ("long", 300_001), ("last", 5)] {
            let file = directory.join(name);
            // If this fails, the builder reports that the file is missing.
            let _ = fs::write(&file, noise(length));
            recipe.modules.push(Module {
                file,
                string: String::new(),
            });
        }
    })?;
    let inspection = image.inspect()?;
    ensure!(
        inspection
            .volume
            .is_some_and(|volume| volume.cluster == 1024)
    );
    let within = |lba: u64| !lba.is_multiple_of(4);
    ensure!(
        inspection
            .files
            .iter()
            .any(|file| within(file.extents[0].lba))
    );
    let transcript = okay(&Machine::new(&image.path()).disk(Disk::CdIde))?;
    contains(
        &transcript,
        &[
            "drive E0h by LBA, 2048 bytes a sector, partition 1 at LBA 512",
            &format!("{:08x}", crc32(&noise(1025))),
            &format!("{:08x}", crc32(&noise(300_001))),
            &format!("{:08x}", crc32(&noise(5))),
        ],
    )
}

#[test]
fn a_dead_sector_that_only_reading_ahead_meets() -> Result<()> {
    // The sector lies behind the FAT sectors of the kernel's chain, and before the end of the first
    // read.
    let unneeded = u64::from(disk_layout::PARTITION_LBA) + 30;
    let image = Image::demo()?;
    okay(&Machine::new(&image.path()).dead_sector(unneeded))?;
    Ok(())
}

#[test]
fn nothing_is_written_to_the_disk() -> Result<()> {
    let image = Image::demo()?;
    let before = fs::read(image.path())?;
    okay(&Machine::new(&image.path()).writable())?;
    ensure!(fs::read(image.path())? == before, "the image was changed");
    Ok(())
}
