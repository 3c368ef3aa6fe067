//! stage1, stage2 and a CD's boot program: missing, damaged, or with nonsense in their parameters.

use std::mem::offset_of;

use anyhow::{Context as _, Result};
use disk_layout::{SECTOR_SIZE, cd, mbr, stage2};
use machine_tests::image::{Defect, Image, bad_bios};
use machine_tests::machine::{Disk, Machine};

use crate::{KERNEL, SECTOR, fails, fails_in_stage1};

#[test]
fn stage2_cannot_be_read() -> Result<()> {
    let image = Image::demo()?;
    for disk in [Disk::Ahci, Disk::Ide] {
        fails_in_stage1(
            &Machine::new(&image.path()).disk(disk).dead_sector(3),
            "1A 0C",
        )?;
    }
    Ok(())
}

/// The drive in DL is the one that is reported, even if another disk can be read, but has no stage2.
#[test]
fn stage2_cannot_be_read_and_another_disk_has_none() -> Result<()> {
    let image = Image::demo()?;
    let other = Image::raw(&[], &[0xAA; 1 << 20])?;
    let arguments = [
        "-drive".into(),
        format!(
            "if=ide,index=1,format=raw,snapshot=on,file={}",
            other.path().display()
        ),
    ];
    let machine = Machine::new(&image.path())
        .disk(Disk::Ide)
        .arguments(&arguments);
    fails_in_stage1(&machine.clone().dead_sector(3), "1A 0C")?;
    image.write(SECTOR, &[0; SECTOR_SIZE])?;
    fails_in_stage1(&machine, "1B 00")
}

#[test]
fn stage2_is_not_there() -> Result<()> {
    let image = Image::demo()?;
    image.write(SECTOR, &[0; SECTOR_SIZE])?;
    fails_in_stage1(&Machine::new(&image.path()), "1B")
}

/// In the part of stage2 that stage1 sums up, sectors have changed places, or one is there twice,
/// or missing: the code that runs first may then be in another place. On a disk and on a CD.
#[test]
fn sectors_of_stage2_are_not_where_they_belong() -> Result<()> {
    let image = Image::demo_cd()?;
    let place = image.inspect()?.stage2.context("no stage2")?.place;
    let start = place.lba * SECTOR;
    let good = image.read(start, stage2::SUMMED + SECTOR_SIZE)?;
    let sectors: Vec<&[u8]> = good.chunks(SECTOR_SIZE).collect();
    let last = stage2::SUMMED / SECTOR_SIZE;
    let exchanged = |(one, other)| {
        let mut sectors = sectors.clone();
        sectors.swap(one, other);
        (format!("{one} and {other} exchanged"), sectors)
    };
    // Counted from 0, unlike `dd` with `seek=1`: the first sectors hold what runs before the check.
    let mut cases: Vec<(String, Vec<&[u8]>)> = [
        (7, 8),
        (3, 4),
        (11, 12),
        (9, 10),
        (0, 1),
        (4, 8),
        (5, 13),
        (14, 15),
    ]
    .map(exchanged)
    .into();
    for number in [1, 8, 14] {
        let mut missing = sectors.clone();
        missing.remove(number);
        cases.push((format!("{number} missing"), missing));
        let mut twice = sectors.clone();
        twice.insert(number, sectors[number]);
        cases.push((format!("{number} twice"), twice));
        let mut over_the_next = sectors.clone();
        over_the_next[number + 1] = sectors[number];
        cases.push((format!("{number} instead of the one behind"), over_the_next));
    }
    for (name, sectors) in cases {
        image.write(start, &sectors[..last].concat())?;
        for disk in [Disk::Ahci, Disk::CdAhci] {
            fails_in_stage1(&Machine::new(&image.path()).disk(disk), "1B 00")
                .with_context(|| format!("{name}, {disk:?}"))?;
        }
    }
    Ok(())
}

/// stage1 reports what is wrong, and so does a 16-bit step of stage2, whatever state the BIOS's
/// calls return in.
#[test]
fn errors_on_a_bios_that_returns_in_another_state() -> Result<()> {
    use Defect::{ChangesDs, ClearsInterruptFlag, SetsDirectionFlag, WatchesFlags};

    let image = Image::demo_cd()?;
    let stage2 = image.inspect()?.stage2.context("no stage2")?.place;
    let all = [
        ChangesDs,
        SetsDirectionFlag,
        ClearsInterruptFlag,
        WatchesFlags,
    ];
    for (defects, disk) in [
        (&[ChangesDs][..], Disk::Ide),
        (&[SetsDirectionFlag], Disk::CdIde),
        (&all, Disk::Ide),
        (&all, Disk::CdIde),
    ] {
        let rom = bad_bios(defects)?;
        let machine = Machine::new(&image.path()).disk(disk);
        let machine = machine.arguments(["-option-rom".as_ref(), rom.path()]);
        fails_in_stage1(&machine.clone().dead_sector(stage2.lba + 3), "1A 0C")
            .with_context(|| format!("{defects:?}, {disk:?}"))?;
        fails(&machine.arguments(["-cpu", "qemu64,-lm"]), "3B", &[])
            .with_context(|| format!("{defects:?}, {disk:?}"))?;
    }
    Ok(())
}

/// Wrong bits in the code and in the parameter block.
#[test]
fn stage1_is_damaged() -> Result<()> {
    let image = Image::demo()?;
    let last = mbr::CHECKED.end - 1;
    for (offset, bit) in [
        (mbr::CHECKED.start, 0),
        (0x100, 7),
        (0x17F, 3),
        (last - 3, 1),
        (last, 7),
    ] {
        let offset = offset as u64;
        let byte = image.read(offset, 1)?;
        image.write(offset, &[byte[0] ^ 1 << bit])?;
        fails_in_stage1(&Machine::new(&image.path()), "1D 00")
            .with_context(|| format!("bit {bit} of byte {offset:#x}"))?;
        image.write(offset, &byte)?;
    }
    Ok(())
}

#[test]
fn stage2_is_damaged_in_its_last_byte() -> Result<()> {
    let image = Image::demo()?;
    let place = image.inspect()?.stage2.context("no stage2")?.place;
    let offset = (place.lba + place.sectors) * SECTOR - 1;
    let byte = image.read(offset, 1)?;
    image.write(offset, &[byte[0] ^ 1])?;
    image.mend_stage2_sum()?;
    fails(&Machine::new(&image.path()), "1C", &[])
}

#[test]
fn stage2_says_that_it_is_longer_than_it_is() -> Result<()> {
    let image = Image::demo()?;
    let length = offset_of!(disk_layout::Stage2Header, length) as u64;
    for bytes in [u32::MAX, 0, stage2::MAX_LENGTH as u32] {
        image.write(SECTOR + length, &bytes.to_le_bytes())?;
        image.mend_stage2_sum()?;
        fails(&Machine::new(&image.path()), "1C", &[])?;
    }
    Ok(())
}

#[test]
fn a_cd_cannot_be_read() -> Result<()> {
    let image = Image::demo_cd()?;
    let stage2 = image.inspect()?.stage2.context("no stage2")?.place;
    let kernel = image.first_sector(KERNEL)?;
    for disk in [Disk::CdIde, Disk::CdAhci] {
        let machine = Machine::new(&image.path()).disk(disk);
        for lba in [stage2.lba, stage2.lba + 50, stage2.lba + stage2.sectors - 1] {
            fails_in_stage1(&machine.clone().dead_sector(lba), "1A 0C")?;
        }
        // The LBA is in the CD's blocks.
        let block = format!("LBA {},", kernel / 4);
        fails(
            &machine.dead_sector(kernel),
            "7A",
            &[&block, "drive E0h, status 0Ch"],
        )?;
    }
    Ok(())
}

/// Wrong bits in the code, in the empty space behind it, and in the parameters.
#[test]
fn the_boot_program_of_a_cd_is_damaged() -> Result<()> {
    let image = Image::demo_cd()?;
    let program = image.inspect()?.cd.context("no CD")?.program.lba * SECTOR;
    let last = cd::CHECKED.end - 1;
    for (offset, bit) in [
        (cd::CHECKED.start, 0),
        (0xC0, 7),
        (0x120, 3),
        (0x300, 4),
        (last - 7, 1),
        (last, 7),
    ] {
        let offset = program + offset as u64;
        let byte = image.read(offset, 1)?;
        image.write(offset, &[byte[0] ^ 1 << bit])?;
        fails_in_stage1(&Machine::new(&image.path()).disk(Disk::CdIde), "1D 00")
            .with_context(|| format!("bit {bit} of byte {offset:#x}"))?;
        image.write(offset, &byte)?;
    }
    Ok(())
}

#[test]
fn stage2_on_a_cd_is_damaged() -> Result<()> {
    let image = Image::demo_cd()?;
    let place = image.inspect()?.stage2.context("no stage2")?.place;
    let machine = Machine::new(&image.path()).disk(Disk::CdAhci);
    // The last sector that stage1 sums up: the first ones hold what runs before stage2 checks
    // itself.
    let offset = place.lba * SECTOR + stage2::SUMMED as u64 - SECTOR + 77;
    let byte = image.read(offset, 1)?;
    image.write(offset, &[byte[0] ^ 0x10])?;
    fails_in_stage1(&machine, "1B")?;
    image.mend_stage2_sum()?;
    fails(&machine, "1C", &[])?;
    // The image fails in the same way as a disk.
    fails(&Machine::new(&image.path()), "1C", &[])
}
