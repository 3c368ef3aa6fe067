//! Chain loading: the loader starts the boot sector of a partition or of another disk as a BIOS or
//! an MBR does.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use disk_builder::run::{EXIT_OKAY, Ending};
use disk_layout::mbr::{CODE_END, PARTITION_TABLE_OFFSET};
use disk_layout::{PARTITION_LBA, SECTOR_SIZE};
use machine_tests::image::{Defect, Image, bad_bios, demo_kernel, test_program};
use machine_tests::linux::Fetched;
use machine_tests::machine::{Bochs, Machine, Running};

/// An entry of a partition table: not active, type, first sector, sectors.
fn entry(kind: u8, first: u32, sectors: u32) -> [u8; 16] {
    let mut entry = [0; 16];
    entry[4] = kind;
    entry[8..12].copy_from_slice(&first.to_le_bytes());
    entry[12..].copy_from_slice(&sectors.to_le_bytes());
    entry
}

/// A sector with code, a table and a signature.
fn sector(code: &[u8], entries: &[[u8; 16]]) -> Vec<u8> {
    let mut sector = code.to_vec();
    sector.resize(SECTOR_SIZE, 0);
    if !entries.is_empty() {
        let table = entries.as_flattened();
        sector[PARTITION_TABLE_OFFSET..][..table.len()].copy_from_slice(table);
    }
    sector[SECTOR_SIZE - 2..].copy_from_slice(&[0x55, 0xAA]);
    sector
}

fn write(image: &Image, lba: u32, bytes: &[u8]) -> Result<()> {
    image.write(u64::from(lba) * SECTOR_SIZE as u64, bytes)
}

/// A good image whose entry has this line, with more room behind its partition; and the first
/// sector of that room.
fn chaining(line: &str) -> Result<(Image, u32)> {
    let image = Image::demo()?;
    image.put("/boot/kernel.conf", line.as_bytes())?;
    let partition = image.inspect()?.partition.context("no partition")?.place;
    let end = u32::try_from(partition.lba + partition.sectors)?.next_multiple_of(2048);
    image.resize((u64::from(end) + 8192) * SECTOR_SIZE as u64)?;
    Ok((image, end))
}

fn with_second_disk(machine: Machine, second: &Path) -> Result<Running> {
    let drive = format!(
        "id=second,if=none,format=raw,snapshot=on,file={}",
        second.display()
    );
    machine
        .arguments(["-drive", &drive, "-device", "ide-hd,drive=second,bus=ide.1"])
        .start()
}

/// What the checking sector prints: `dx` and, for a partition, its entry.
fn expected(dx: &str, entry: Option<[u8; 16]>) -> String {
    let si = entry.map_or("0000", |_| "07BE");
    let mut line = format!("0000 7C00 0000 7C00 0000 {si} {si} {dx} 0202 F000 ");
    if let Some(mut entry) = entry {
        entry[0] = 0x80;
        entry.iter().for_each(|byte| line += &format!("{byte:02X}"));
    }
    line + "\r\nOKAY\r\n"
}

fn okay(mut running: Running, expected: &str) -> Result<()> {
    let transcript = running.wait_for("OKAY\r\n")?;
    ensure!(
        transcript.contains(expected),
        "no {expected} in\n{transcript}"
    );
    Ok(())
}

#[test]
fn a_partition_is_started_as_by_an_mbr() -> Result<()> {
    let program = test_program("boot-check")?;
    let (image, end) = chaining("chain partition=2\n")?;
    let second = entry(0x83, end, 2048);
    image.write(PARTITION_TABLE_OFFSET as u64 + 16, &second)?;
    write(&image, end, &sector(program.flat(), &[]))?;
    let expected = expected("0080", Some(second));
    okay(Machine::new(&image.path()).start()?, &expected)?;
    okay(Bochs::new(&image.path()).start()?, &expected)
}

#[test]
fn a_logical_partition_is_found_in_its_chain() -> Result<()> {
    let program = test_program("boot-check")?;
    let (image, end) = chaining("chain partition=6 drive=80h\n")?;
    image.write(PARTITION_TABLE_OFFSET as u64 + 32, &entry(0x0F, end, 8192))?;
    let first = sector(&[], &[entry(0x83, 63, 100), entry(0x05, 2048, 2048)]);
    write(&image, end, &first)?;
    write(&image, end + 2048, &sector(&[], &[entry(0x83, 64, 900)]))?;
    write(&image, end + 2112, &sector(program.flat(), &[]))?;
    let expected = expected("0080", Some(entry(0x83, end + 2112, 900)));
    okay(Machine::new(&image.path()).start()?, &expected)
}

#[test]
fn another_disk_is_started_as_by_the_bios() -> Result<()> {
    let program = test_program("boot-check")?;
    let (image, _) = chaining("chain drive=81h\n")?;
    let second = Image::raw(program.flat(), &[])?;
    okay(
        with_second_disk(Machine::new(&image.path()), &second.path())?,
        &expected("0081", None),
    )
}

/// SYSLINUX's MBR loads the active partition of the disk that it is given.
#[test]
fn the_mbr_of_others() -> Result<()> {
    let Some(mbr) = Fetched::Mbr.path()? else {
        return Ok(());
    };
    let program = test_program("boot-check")?;
    let (image, _) = chaining("chain drive=81h\n")?;
    let mut code = std::fs::read(mbr)?;
    code.truncate(CODE_END);
    let mut active = entry(0x83, 64, 100);
    active[0] = 0x80;
    let mut data = vec![0; 64 * SECTOR_SIZE];
    data[63 * SECTOR_SIZE..].copy_from_slice(&sector(program.flat(), &[]));
    let second = Image::raw(&[], &data)?;
    second.write(0, &sector(&code, &[active]))?;
    let mut running = with_second_disk(Machine::new(&image.path()), &second.path())?;
    let transcript = running.wait_for("OKAY\r\n")?;
    ensure!(transcript.contains(" 0081 "), "{transcript}");
    Ok(())
}

/// The loader can itself be the boot sector that is started. The BIOS that it calls relies on its
/// own values in CR0, CR4 and EFER, or refuses.
#[test]
fn bootpath_boots_bootpath() -> Result<()> {
    let rom = bad_bios(&[Defect::WatchesControl])?;
    let (image, _) = chaining("chain drive=81h\n")?;
    let second = Image::build(&demo_kernel()?, |recipe, _| {
        recipe.command_line = "exit the second".into();
    })?;
    let machine = Machine::new(&image.path()).arguments(["-option-rom".as_ref(), rom.path()]);
    let mut running = with_second_disk(machine, &second.path())?;
    let ending = running.wait()?;
    let transcript = running.serial();
    ensure!(ending == Ending::Guest(EXIT_OKAY), "{transcript}");
    ensure!(
        transcript.matches(" 7 disk     drive 8").count() == 2,
        "{transcript}"
    );
    ensure!(transcript.contains(" 7 disk     drive 81h"), "{transcript}");
    ensure!(
        transcript.contains("command line: exit the second"),
        "{transcript}"
    );
    Ok(())
}

#[test]
fn what_cannot_be_started_is_refused_by_name() -> Result<()> {
    let refused = |line: &str, error: &str| {
        let (image, end) = chaining(line)?;
        image.write(PARTITION_TABLE_OFFSET as u64 + 16, &entry(0x83, end, 2048))?;
        let mut running = Machine::new(&image.path()).start()?;
        let transcript = running.wait_for("press a key to reboot")?;
        let error = error.replace("END", &end.to_string());
        ensure!(transcript.contains(&error), "no {error:?} in\n{transcript}");
        Ok(())
    };
    let this = "error 12B: there is no boot sector to go on with";
    refused(
        "chain partition=2",
        &format!("{this}: LBA END of drive 80h ends in 0000h instead of AA55h\r\n"),
    )?;
    refused(
        "chain partition=3",
        &format!("{this}: no partition 3 on drive 80h\r\n"),
    )?;
    refused(
        "chain partition=5",
        &format!("{this}: no partition 5 on drive 80h\r\n"),
    )?;
    refused(
        "chain drive=8Fh",
        "error 7A: the disk cannot be read: LBA 0, drive 8Fh, status",
    )?;
    refused(
        "options x\nchain disk2",
        "error 9C: /boot/kernel.conf cannot be read: line 2: chain takes drive=80h, partition=1 or both\r\n",
    )?;
    ensure!(PARTITION_LBA == 2048);
    Ok(())
}
