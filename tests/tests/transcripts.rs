//! Images that are built to record BIOS calls, in emulators.
//!
//! `BLESS=1 cargo test -p machine-tests --test transcripts` records the machines of [`bless`] anew:
//! `boot-path/tests/transcripts/`, which the library's tests play back. (Then
//! `BLESS=1 cargo test -p boot-path --test bios transcripts` for what comes out of them.)

use std::fs;

use anyhow::{Context as _, Result, ensure};
use boot_path::bios::transcript::{Line, PREFIX};
use disk_builder::stages::workspace;
use disk_builder::transcript;
use machine_tests::image::Defect::{NoE801, NoE820, NoEdd};
use machine_tests::image::{Image, bad_bios, small_kernel, stage1_cd};
use machine_tests::machine::{Bochs, BochsDrive, Disk, Machine, Running, firmware};

/// The size of a 2.88 MB diskette, so that one image fits all drives.
const DISKETTE: u64 = 2880 << 10;

fn recorded_image() -> Result<Image> {
    let stage1_cd = stage1_cd()?;
    let image = Image::build(small_kernel()?.path(), |recipe, _| {
        recipe.command_line = "exit".into();
        recipe.record = true;
        recipe.size_mib = Some(2);
        recipe.stage1_cd = Some(stage1_cd);
    })?;
    image.resize(DISKETTE)?;
    Ok(image)
}

/// Boots and returns the transcript.
fn record(running: Running) -> Result<String> {
    record_until("OKAY", running)
}

/// As [`record`], up to another end.
fn record_until(end: &str, mut running: Running) -> Result<String> {
    let log = running.wait_for(end)?;
    let mut out = Vec::new();
    transcript::extract(log.as_bytes(), &mut out)?;
    Ok(String::from_utf8(out)?)
}

#[test]
fn every_call_is_on_the_serial_line_and_not_on_the_screen() -> Result<()> {
    let image = recorded_image()?;
    let mut running = Machine::new(&image.path()).no_exit_port().start()?;
    let screen = running.wait_for_line(&["OKAY"])?;
    ensure!(
        !screen.iter().any(|line| line.contains(PREFIX)),
        "{screen:#?}"
    );
    let transcript = record(running)?;
    for line in [
        "bios: transcript 2",
        "bios: memory 449h [03]",
        "bios: INT 15h EAX=E820 ECX=0018 EDX=534D4150 EDI=7E00 EFL=0001 [",
        "bios: INT 13h EAX=4200 EDX=0080 ESI=7E00 EFL=0001 [10000100000000",
        " 7 disk     drive 80h by LBA",
        "12 handoff",
    ] {
        let there = transcript.lines().any(|other| other.starts_with(line));
        ensure!(there, "no {line:?} in\n{transcript}");
    }
    Ok(())
}

#[test]
fn a_call_that_has_not_returned_is_there() -> Result<()> {
    let image = Image::build(small_kernel()?.path(), |recipe, _| recipe.record = true)?;
    image.write(446, &[0; 64])?; // the partition table
    let mut running = Machine::new(&image.path()).start()?;
    running.wait_for("press a key to reboot")?;
    let log = running.wait_for("INT 16h EFL=0001")?;
    let last = log.lines().next_back().and_then(Line::parse);
    let Some(Ok(Line::Call(call))) = last else {
        panic!("{log}")
    };
    ensure!(call.answer.is_none() && call.number == 0x16, "{call:?}");
    Ok(())
}

#[test]
fn an_image_that_is_not_recorded_says_nothing() -> Result<()> {
    let image = Image::demo()?;
    let log = Machine::new(&image.path()).start()?.wait_for("OKAY")?;
    ensure!(!log.contains(PREFIX), "{log}");
    Ok(())
}

/// The machines whose transcripts are kept.
#[test]
fn bless() -> Result<()> {
    if std::env::var_os("BLESS").is_none() {
        return Ok(());
    }
    let image = recorded_image()?;
    let image = &image.path();
    let directory = workspace().join("boot-path/tests/transcripts");
    fs::create_dir_all(&directory)?;
    let keep = |name: &str, running: Result<Running>| -> Result<()> {
        let transcript = running.and_then(record).with_context(|| name.to_owned())?;
        fs::write(directory.join(name).with_extension("txt"), transcript)?;
        Ok(())
    };
    let qemu = |disk, arguments: &str| {
        let machine = Machine::new(image).disk(disk);
        machine.arguments(arguments.split_whitespace())
    };
    keep("qemu-pc-16m", qemu(Disk::Ide, "-m 16M").start())?;
    keep("qemu-pc-256m", qemu(Disk::Ide, "").start())?;
    keep("qemu-q35-256m", qemu(Disk::Ahci, "").start())?;
    keep("qemu-q35-6g", qemu(Disk::Ahci, "-m 6G").start())?;
    keep("qemu-usb", qemu(Disk::Usb, "").start())?;
    keep("qemu-floppy", qemu(Disk::Floppy, "").start())?;
    keep("qemu-cd", qemu(Disk::CdIde, "").start())?;
    let weak = qemu(Disk::Ahci, "").weak_sector(2060);
    keep("qemu-weak-sector", weak.start())?;
    let mut pulled = qemu(Disk::Usb, "")
        .drive_option("throttling.bps-read=100000")
        .start()?;
    pulled.wait_for(" 8 files")?;
    pulled.pull_drive()?;
    let transcript = record_until("press a key to reboot", pulled)?;
    fs::write(directory.join("qemu-usb-pulled.txt"), transcript)?;
    for (name, defects) in [
        ("qemu-no-e820", &[NoE820][..]),
        ("qemu-no-e820-e801", &[NoE820, NoE801]),
        ("qemu-no-edd", &[NoEdd]),
    ] {
        let rom = bad_bios(defects)?;
        let machine = qemu(Disk::Ide, "-m 48M -option-rom").arguments([rom.path()]);
        keep(name, machine.start())?;
    }
    for bios in ["latest", "legacy"] {
        let file = format!("BIOS-bochs-{bios}");
        let isa = qemu(Disk::Ide, "-M isapc -cpu qemu64,-apic -m 64M -bios");
        let isa = isa.arguments([firmware(&file)?]);
        keep(&format!("isapc-bochs-{bios}"), isa.start())?;
    }
    keep("bochs-latest", Bochs::new(image).start())?;
    let legacy = Bochs::new(image).bios("BIOS-bochs-legacy");
    keep("bochs-legacy", legacy.start())?;
    for (name, drive) in [
        ("bochs-floppy", BochsDrive::Floppy),
        ("bochs-cd", BochsDrive::Cd),
    ] {
        keep(name, Bochs::new(image).drive(drive).start())?;
    }
    Ok(())
}
