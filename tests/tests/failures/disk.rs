//! Disks that cannot be read, or only slowly, and damage to what describes a volume.

use std::fs;
use std::mem::offset_of;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use disk_builder::image::Module;
use disk_builder::run::{EXIT_OKAY, Ending};
use disk_layout::{PartitionEntry, SECTOR_SIZE, mbr};
use machine_tests::elf::{ProgramHeader, R, noise};
use machine_tests::image::{Image, small_kernel};
use machine_tests::machine::{Disk, Machine};

use crate::{ELSEWHERE, KERNEL, SECTOR, code, fails, kernel_cluster, link};

#[test]
fn the_kernel_cannot_be_read() -> Result<()> {
    let image = Image::demo()?;
    let lba = image.first_sector(KERNEL)?;
    for (disk, lba) in [(Disk::Ahci, lba), (Disk::Ide, lba + 100)] {
        // A read may begin before the dead sector. The error names the sector where the call began,
        // or the dead one.
        fails(
            &Machine::new(&image.path()).disk(disk).dead_sector(lba),
            "7A",
            &["LBA ", "drive 80h", "status 0Ch"],
        )?;
    }
    Ok(())
}

/// What the loader prints about a disk that fails for two seconds.
const WAITING: &str = " 7 disk     waiting for drive 80h: LBA ";

/// SeaBIOS gives up each transfer from the stick after five seconds. The loader says what it waits
/// for before the second transfer, begins none later than 20 s after the first failure, and then
/// does not try another FAT.
#[test]
fn a_usb_stick_is_pulled() -> Result<()> {
    let image = Image::build(small_kernel()?.path(), |recipe, directory| {
        let file = directory.join("large.bin");
        // If this fails, the builder reports that the file is missing.
        let _ = fs::write(&file, noise(8 << 20));
        recipe.modules.push(Module {
            file,
            string: String::new(),
        });
    })?;
    for disk in [Disk::Usb, Disk::UsbUhci] {
        let mut running = Machine::new(&image.path())
            .disk(disk)
            .drive_option("throttling.bps-read=1000000")
            .time_limit(Duration::from_secs(120))
            .start()?;
        // On a busy host, the loader may have waited for the stick before, and the stick may have
        // come back.
        let before = running.wait_for(" 9 entry ")?.matches(WAITING).count();
        running.pull_drive()?;
        let pulled = Instant::now();
        let waits = |serial: &str| serial.matches(WAITING).count() > before;
        let so_far = running.wait_until("line about waiting", waits)?;
        ensure!(!so_far.contains("error"), "{so_far}");
        let transcript = running.wait_for("press a key to reboot")?;
        let seconds = pulled.elapsed().as_secs();
        // 5 s + 20 s + 5 s, and a busy host.
        ensure!((15..40).contains(&seconds), "{seconds} s\n{transcript}");
        let lines = transcript.matches(WAITING).count();
        ensure!(lines == before + 1, "{transcript}");
        ensure!(!transcript.contains(" 8 files    by "), "{transcript}");
        let error = transcript.lines().find(|line| line.contains("error 7A: "));
        let error = error.with_context(|| transcript.clone())?;
        let facts = "drive 80h, status 0Ch, and the disk does not answer";
        ensure!(error.contains(facts), "{error}");
    }
    Ok(())
}

/// Every call takes longer than two seconds, and every call succeeds.
#[test]
fn a_slow_disk_is_not_waited_for() -> Result<()> {
    let image = Image::build(small_kernel()?.path(), |recipe, _| {
        recipe.command_line = "exit".into();
    })?;
    let mut running = Machine::new(&image.path())
        .drive_option("throttling.bps-read=25000")
        .time_limit(Duration::from_secs(180))
        .start()?;
    let transcript = running.wait_for("OKAY")?;
    ensure!(!transcript.contains(WAITING), "{transcript}");
    ensure!(running.wait()? == Ending::Guest(EXIT_OKAY));
    Ok(())
}

#[test]
fn the_partition_begins_behind_the_end_of_the_disk() -> Result<()> {
    let image = Image::demo()?;
    let sectors = image.inspect()?.bytes / SECTOR;
    let first_lba = mbr::PARTITION_TABLE_OFFSET + offset_of!(PartitionEntry, first_lba);
    image.write(first_lba as u64, &u32::try_from(sectors)?.to_le_bytes())?;
    fails(
        &Machine::new(&image.path()),
        "7B",
        &[&format!(
            "partition 1 starts at LBA {sectors}, the disk has {sectors} sectors"
        )],
    )
}

#[test]
fn the_image_is_cut_short() -> Result<()> {
    for missing_from in [0, 100] {
        let image = Image::demo()?;
        let lba = image.first_sector(KERNEL)? + missing_from;
        image.resize(lba * SECTOR)?;
        for disk in [Disk::Ahci, Disk::Ide] {
            fails(
                &Machine::new(&image.path()).disk(disk),
                "7B",
                &[&format!("LBA {lba}, drive 80h")],
            )?;
        }
    }
    Ok(())
}

#[test]
fn the_kernels_chain_is_damaged() -> Result<()> {
    const FREE: u64 = 0;
    const BAD: u64 = 0xFFF_FFF7;
    const LAST: u64 = 0xFFF_FFFF;

    let kernel = small_kernel()?;
    let build = || Image::build(kernel.path(), |_, _| {});
    let first = kernel_cluster(&build()?)?;
    let broken = format!("cluster {} leads to ", first + 1);
    for (next, code, fact) in [
        (FREE, "8B", &broken[..]),
        (BAD, "8B", &broken),
        (1 << 27, "8B", &broken), // behind the last cluster
        (LAST, "8B", "is too short"),
        (first, "10Q", "checksum mismatch"), // a ring, so that the note is not where it was
    ] {
        let image = build()?;
        link(&image, first + 1, next)?;
        fails(&Machine::new(&image.path()), code, &[fact]).with_context(|| format!("{next:#x}"))?;
    }
    // Without checksums, a ring is found only at the end of the file.
    let image = Image::build(kernel.path(), |recipe, _| recipe.checksums = false)?;
    link(&image, first + 1, first)?;
    fails(&Machine::new(&image.path()), "8B", &["is too long"])
}

/// The first FAT or the first boot sector is gone: the loader uses the other one.
#[test]
fn the_second_copies_do() -> Result<()> {
    let image = Image::demo()?;
    let volume = image.inspect()?.volume.context("no file system")?;
    let boot_sector = image.read(volume.reserved.lba * SECTOR, SECTOR_SIZE)?;
    let boots = |lines: &[&str]| -> Result<()> {
        let mut running = Machine::new(&image.path()).start()?;
        let transcript = running.wait_for("OKAY")?;
        for line in lines {
            let line = format!(" 8 files    by {line}");
            ensure!(transcript.contains(&line), "no {line:?} in\n{transcript}");
        }
        ensure!(
            transcript.matches(" 8 files    by ").count() == lines.len(),
            "{transcript}"
        );
        Ok(())
    };
    boots(&[])?;
    image.write(volume.reserved.lba * SECTOR, &[0; SECTOR_SIZE])?;
    let backup = "the backup boot sector, because of 8A: byte 0x100000 of the disk, signature: 0";
    boots(&[backup])?;
    let fat = vec![0; volume.fats.sectors as usize / 2 * SECTOR_SIZE];
    image.write(volume.fats.lba * SECTOR, &fat)?;
    boots(&[
        backup,
        "the backup boot sector and the second FAT, because of 8B: cluster 2 leads to 0x0",
    ])?;
    image.write(volume.reserved.lba * SECTOR, &boot_sector)?;
    boots(&["the second FAT, because of 8B: cluster 2 leads to 0x0"])?;
    // One more sector in front of the FATs is plausible but wrong.
    image.write(volume.reserved.lba * SECTOR + 14, &[boot_sector[14] + 1])?;
    image.write(
        volume.fats.lba * SECTOR,
        &image.read(
            (volume.fats.lba + volume.fats.sectors / 2) * SECTOR,
            fat.len(),
        )?,
    )?;
    boots(&["the backup boot sector, because of "])
}

/// A bit is wrong in the first FAT, whose chain the loader follows to find the kernel's protocol:
/// the kernel has no note, so its first 32 KiB are searched.
#[test]
fn the_second_fat_does_for_a_kernel_without_a_note() -> Result<()> {
    let kernel = code(&[0xFA, 0xF4]).with(ProgramHeader::filled(R, ELSEWHERE, noise(60_000)));
    let image = Image::with_kernel(&kernel.build())?;
    let volume = image.inspect()?.volume.context("no file system")?;
    let kernel = image.first_sector("/boot/kernel.elf")? - volume.data.lba;
    let cluster = 2 + 10 + kernel * SECTOR / u64::from(volume.cluster);
    let link = volume.fats.lba * SECTOR + 4 * cluster; // FAT32
    let byte = image.read(link + 2, 1)?[0];
    image.write(link + 2, &[byte ^ 0x10])?;
    let mut running = Machine::new(&image.path()).start()?;
    let transcript = running.wait_for("12 handoff ")?;
    let line = format!("by the second FAT, because of 8B: cluster {cluster} leads to ");
    ensure!(transcript.contains(&line), "no {line:?} in\n{transcript}");
    Ok(())
}

#[test]
fn the_root_directory_is_a_ring() -> Result<()> {
    const DELETED: u8 = 0xE5;
    const ROOT_CLUSTER: u64 = 2;

    let image = Image::demo()?;
    let volume = image.inspect()?.volume.context("no file system")?;
    // A directory ends with its first entry that was never used.
    let entries = vec![DELETED; usize::try_from(volume.cluster)?];
    link(&image, ROOT_CLUSTER, ROOT_CLUSTER)?;
    image.write(volume.data.lba * SECTOR, &entries)?;
    fails(
        &Machine::new(&image.path()),
        "8B",
        &["the chain from cluster 2 on is too long"],
    )
}
