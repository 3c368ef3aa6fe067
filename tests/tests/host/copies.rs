//! A FAT volume has two FATs. Whatever one sector or one entry of the first one holds: with
//! checksums, the kernel finds the same bytes; without them, the loader keeps to its own memory.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use disk_builder::Target;

use machine_tests::elf::put_multiboot2_header;

use crate::images::{FAT12, FAT16, FAT32, How, Image, Subject, build};
use crate::kernels::{bootpath, limine, linux, multiboot1, multiboot2};
use crate::machine::{Damage, Found, boot_damaged};
use crate::volume::SECTOR;

/// How a damage can be noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tells {
    /// The disk or the file system shows it.
    Itself,
    /// Only a checksum shows it.
    Checksum,
    /// There is no other copy of the damaged sectors.
    NoCopy,
}

/// All damages of an image: a name, how the damage can be noticed, and its sectors.
fn damages(image: &Image) -> Vec<(String, Tells, Damage)> {
    let mut all = Vec::new();
    let volume = &image.volume;
    let used = volume.used(&image.bytes);
    let twins = volume.twins(&image.bytes);
    for (index, &cluster) in used.iter().enumerate() {
        let link = volume.entry(&image.bytes, cluster);
        let another = (index + 1..).map(|index| used[index % used.len()]);
        let another = another.clone().find(|it| ![cluster, link].contains(it));
        let twin = twins.get(&link).copied().unwrap_or(link);
        let values = [
            (0, Tells::Itself),
            (another.unwrap_or(cluster), Tells::Checksum),
            (twin, Tells::Checksum),
            (volume.end_of_chain(), Tells::Checksum),
        ];
        for (value, tells) in values.into_iter().filter(|(value, _)| *value != link) {
            let name = format!("cluster {cluster} leads to {value}, not {link}");
            all.push((name, tells, entry(image, cluster, value)));
        }
    }
    for lba in fat_sectors(image) {
        let sector = |name: &str, tells, bytes| {
            let name = format!("sector {lba} of the FAT: {name}");
            (name, tells, Damage([(lba, bytes)].into()))
        };
        all.push(sector("unreadable", Tells::Itself, None));
        all.push(sector("zeroes", Tells::Itself, Some(vec![0; SECTOR])));
        for other in fat_sectors(image)
            .into_iter()
            .filter(|it| *it != lba)
            .take(6)
        {
            let bytes = image.bytes[other as usize * SECTOR..][..SECTOR].to_vec();
            let name = format!("sector {other}");
            all.push(sector(&name, Tells::Checksum, Some(bytes)));
        }
    }
    for (start, length) in volume.directories(&image.bytes) {
        for at in (start..start + length).step_by(SECTOR) {
            let lba = (at / SECTOR) as u64;
            let name = format!("sector {lba} of a directory: unreadable");
            all.push((name, Tells::NoCopy, Damage([(lba, None)].into())));
        }
    }
    all
}

/// Another entry in the first FAT. In FAT12 an entry may lie in two sectors.
fn entry(image: &Image, cluster: u32, value: u32) -> Damage {
    let (start, length) = image.volume.first_fat();
    let before = &image.bytes[start..start + length];
    let mut after = image.bytes[..start + length + SECTOR].to_vec();
    image.volume.set_entry(&mut after, 0, cluster, value);
    let sectors = before.chunks(SECTOR).zip(after[start..].chunks(SECTOR));
    let changed = sectors.enumerate().filter(|(_, (one, other))| one != other);
    let first = (start / SECTOR) as u64;
    Damage(
        changed
            .map(|(index, (_, after))| (first + index as u64, Some(after.to_vec())))
            .collect(),
    )
}

/// The sectors of the first FAT that hold entries in use, and one further sector.
fn fat_sectors(image: &Image) -> BTreeSet<u64> {
    let (start, length) = image.volume.first_fat();
    let sectors = image.bytes[start..start + length]
        .chunks(SECTOR)
        .enumerate();
    let first = (start / SECTOR) as u64;
    let used = sectors.filter(|(_, bytes)| bytes.iter().any(|&byte| byte != 0));
    let mut used: BTreeSet<u64> = used.map(|(index, _)| first + index as u64).collect();
    used.extend(used.last().map(|last| last + 1));
    used
}

/// Boots an image with each of its damages; returns the number of these.
fn hold(image: &Image, checksums: bool) -> Result<usize> {
    let good = boot_damaged(image, &Damage::default())?;
    ensure!(
        matches!(good.found, Found::Ready(_)),
        "{}: {:?}\n{}",
        image.name,
        good.found,
        good.pc.transcript.borrow()
    );
    let damages = damages(image);
    let mut wrong = Vec::new();
    for (name, tells, damage) in &damages {
        let verdict = boot_damaged(image, damage).and_then(|boot| {
            let same = boot.found == good.found;
            let right = match (tells, &boot.found) {
                (Tells::NoCopy, Found::Failed(code, _)) => *code == "7A",
                // Another entry boots, or fewer are known; and a line says so.
                (Tells::NoCopy, Found::Ready(_)) if image.entries && !same => {
                    let transcript = boot.pc.transcript.borrow();
                    transcript.contains(", 7A: the disk cannot be read: LBA ")
                }
                (Tells::Checksum, _) if !checksums => true,
                _ => same,
            };
            let transcript = boot.pc.transcript.borrow();
            ensure!(right, "{}\n{transcript}", short(&boot.found));
            Ok(())
        });
        if let Err(error) = verdict {
            wrong.push(format!("{}: {name}: {error:#}", image.name));
        }
    }
    let some = wrong.iter().take(8).cloned().collect::<Vec<_>>();
    ensure!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        damages.len(),
        some.join("\n")
    );
    println!("{}: {} damages", image.name, damages.len());
    Ok(damages.len())
}

/// Boots two images, one with entries and compressed files, with checksums and without. There must
/// be at least `least` damages in all.
fn of(subject: &Subject, sizes: [u32; 2], least: usize) -> Result<()> {
    let compressed = subject.clone().compressed()?;
    let mut count = 0;
    let mut wrong = Vec::new();
    for checksums in [true, false] {
        for (subject, mib, entries) in [(subject, sizes[0], false), (&compressed, sizes[1], true)] {
            let how = How {
                mib,
                checksums,
                entries,
                scattered: true,
            };
            match hold(&build(subject, how)?, checksums) {
                Ok(damages) => count += damages,
                Err(error) => wrong.push(format!("{error:#}")),
            }
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    println!("4 images, {count} damages");
    ensure!(count >= least, "only {count} damages");
    Ok(())
}

/// Most images have more damages than this.
const LEAST: usize = 650;

#[test]
fn of_a_bootpath_kernel() -> Result<()> {
    of(
        &Subject::new("Bootpath", bootpath(6000)),
        [FAT32, FAT16],
        LEAST,
    )
}

#[test]
fn of_a_limine_kernel() -> Result<()> {
    of(&Subject::new("Limine", limine(6000)), [FAT16, FAT32], LEAST)
}

/// Seen by another view of the volume, it may be a Multiboot kernel.
#[test]
fn of_a_limine_kernel_with_a_multiboot_header() -> Result<()> {
    let mut kernel = limine(6000);
    kernel[0x800..0x840].fill(0);
    put_multiboot2_header(&mut kernel, 0x10_0000)?;
    of(
        &Subject::new("Limine and Multiboot 2", kernel),
        [FAT32, FAT16],
        LEAST,
    )
}

#[test]
fn of_a_multiboot_1_kernel() -> Result<()> {
    of(
        &Subject::new("Multiboot 1", multiboot1(6000)),
        [FAT12, FAT32],
        LEAST,
    )
}

#[test]
fn of_a_multiboot_2_kernel() -> Result<()> {
    of(
        &Subject::new("Multiboot 2", multiboot2(36_000)),
        [FAT32, FAT12],
        1_400,
    )
}

#[test]
fn of_a_linux_kernel() -> Result<()> {
    of(&Subject::new("Linux", linux(6000)), [FAT32, FAT16], LEAST)
}

#[test]
fn of_a_boot_sector() -> Result<()> {
    let mut subject = Subject::new("chain", bootpath(6000));
    subject.chain = Some(Target {
        drive: Some(0x81),
        partition: 0,
    });
    of(&subject, [FAT32, FAT16], 250)
}
/// The part of a report that there is room for.
fn short(found: &Found) -> &str {
    match found {
        Found::Ready(_) => "it boots something else",
        Found::Failed(_, report) => report,
    }
}
