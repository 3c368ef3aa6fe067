//! No sector of a kernel is read twice, whichever protocol it is made for.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use boot_path::position::Lba;

use crate::images::{How, Image, Subject, build};
use crate::kernels::{bootpath, limine_with, linux, multiboot1, multiboot2};
use crate::machine::{Damage, Found, boot_damaged};
use crate::volume::SECTOR;

/// Room for a kernel of 8 MiB, in clusters of 1 KiB.
const LARGE: u32 = 80;

fn image(subject: &Subject) -> Result<Image> {
    let how = How {
        mib: LARGE,
        checksums: true,
        entries: false,
        scattered: false,
    };
    build(subject, how)
}

/// Boots an image and checks that each sector of the kernel is read once. Returns how many INT 13h
/// calls read something.
fn reads_once(image: &Image) -> Result<usize> {
    let boot = boot_damaged(image, &Damage::default())?;
    let transcript = boot.pc.transcript.borrow();
    ensure!(matches!(boot.found, Found::Ready(_)), "{transcript}");
    let disks = boot.pc.disks.borrow();
    let log = &disks[0].log;
    let mut times: BTreeMap<Lba, u32> = BTreeMap::new();
    for &(first, count) in log {
        for index in 0..count {
            *times.entry(first + index).or_default() += 1;
        }
    }
    let of_kernel = |lba: Lba| {
        let mut pieces = image.kernel.iter();
        pieces.any(|&(first, count)| (first..first + count).contains(&lba.as_u64()))
    };
    let twice: Vec<_> = times
        .iter()
        .filter(|&(&lba, &times)| of_kernel(lba) && times > 1)
        .map(|(lba, times)| format!("{}: {times}", lba.as_u64()))
        .collect();
    println!("{}: {} reads", image.name, log.len());
    ensure!(
        twice.is_empty(),
        "{}: {} sectors of {:?} are read more than once: {:?}\n{log:?}",
        image.name,
        twice.len(),
        image.kernel,
        &twice[..twice.len().min(8)]
    );
    Ok(log.len())
}

#[test]
fn each_sector_of_a_kernel_is_read_once() -> Result<()> {
    let mut wrong = Vec::new();
    for size in [3_000, 20_000, 300_000] {
        for subject in [
            Subject::new("Bootpath", bootpath(size)),
            // A kernel that asks for its file gets bytes that are read for that alone.
            Subject::new("Limine", limine_with(size, false)),
            Subject::new("Multiboot 1", multiboot1(size)),
            Subject::new("Multiboot 2", multiboot2(size)),
            Subject::new("Linux", linux(size)),
        ] {
            if let Err(error) = reads_once(&image(&subject)?) {
                wrong.push(format!("{size} bytes: {error:#}"));
            }
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    Ok(())
}

/// Three calls read everything else: LBA 0; the boot sector with the FAT; and the root directory with
/// `/boot`, the configuration and the start of the kernel.
#[test]
fn a_large_kernel_takes_three_reads_more_than_its_bytes() -> Result<()> {
    const SIZE: usize = 8 << 20;
    const OTHERS: usize = 3;

    let least = SIZE.div_ceil(127 * SECTOR);
    for (name, kernel) in [
        ("Bootpath", bootpath(SIZE)),
        ("Limine", limine_with(SIZE, false)),
        ("Multiboot 1", multiboot1(SIZE)),
        ("Multiboot 2", multiboot2(SIZE)),
        ("Linux", linux(SIZE)),
    ] {
        let mut subject = Subject::new(name, kernel);
        subject.modules.clear();
        let reads = reads_once(&image(&subject)?)?;
        ensure!(reads <= least + OTHERS, "{name}: {reads} of {least}");
    }
    Ok(())
}

/// If the entry names the protocol, the loader need not look for it. Nothing else changes.
#[test]
fn a_kernel_of_8_mib_takes_as_many_reads_with_its_protocol_named() -> Result<()> {
    let mut subject = Subject::new("Multiboot 2", multiboot2(8 << 20));
    let unnamed = reads_once(&image(&subject)?)?;
    subject.protocol = Some("multiboot2");
    let named = reads_once(&image(&subject)?)?;
    println!("8 MiB: {unnamed} reads, with the protocol named {named}");
    ensure!(named == unnamed, "{unnamed}, {named}");
    Ok(())
}
