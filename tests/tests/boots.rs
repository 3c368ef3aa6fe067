//! Good images on good machines: they boot, whatever the disk is connected by.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use disk_builder::Road;
use disk_builder::image::{Module, Recipe};
use disk_builder::run::{EXIT_OKAY, Ending};
use disk_builder::stages::{self, Program};
use machine_tests::elf::{Elf, Segment, noise};
use machine_tests::image::{Defect, Image, bad_bios, c_kernel, demo_kernel, test_program};
use machine_tests::machine::{Bochs, Disk, Machine, bochs_file};

/// Boots a demo kernel that says `exit`, and returns its transcript.
fn okay(machine: &Machine) -> Result<String> {
    let mut running = machine.start()?;
    let transcript = running.wait_for("OKAY")?;
    let ending = running.wait()?;
    ensure!(
        ending == Ending::Guest(EXIT_OKAY),
        "{ending:?}\n{transcript}"
    );
    ensure!(!transcript.contains("FAILED"), "{transcript}");
    Ok(transcript)
}

fn demo(road: Road) -> Result<Image> {
    Image::build(&demo_kernel()?, |recipe, _| {
        recipe.command_line = "exit".into();
        recipe.road = road;
    })
}

fn boots_from(disk: Disk) -> Result<()> {
    for road in [Road::Protected, Road::Direct] {
        okay(&Machine::new(&demo(road)?.path()).disk(disk))?;
    }
    Ok(())
}

#[test]
fn ide() -> Result<()> {
    boots_from(Disk::Ide)
}

#[test]
fn ahci() -> Result<()> {
    boots_from(Disk::Ahci)
}

#[test]
fn virtio() -> Result<()> {
    boots_from(Disk::Virtio)
}

#[test]
fn usb() -> Result<()> {
    boots_from(Disk::Usb)
}

#[test]
fn cpu_models() -> Result<()> {
    let image = Image::demo()?;
    for cpu in ["qemu64,-nx", "kvm64", "phenom", "max", "max,-pdpe1gb"] {
        okay(&Machine::new(&image.path()).arguments(["-cpu", cpu]))?;
    }
    Ok(())
}

#[test]
fn memory_sizes() -> Result<()> {
    let image = Image::demo()?;
    for memory in ["16M", "64M", "3584M", "6144M"] {
        okay(&Machine::new(&image.path()).arguments(["-m", memory, "-cpu", "max"]))?;
    }
    Ok(())
}

#[test]
fn no_video_adapter() -> Result<()> {
    okay(&Machine::new(&Image::demo()?.path()).arguments(["-vga", "none"])).map(drop)
}

#[test]
fn memory_that_is_not_zero() -> Result<()> {
    let dirt = tempfile::NamedTempFile::new()?;
    fs::write(dirt.path(), vec![0xA5; 64 << 20])?;
    let loader = format!(
        "loader,addr=0x100000,force-raw=on,file={}",
        dirt.path().display()
    );
    okay(&Machine::new(&Image::demo()?.path()).arguments(["-device", &loader])).map(drop)
}

#[test]
fn the_isa_pc_with_a20_off_and_the_bios_of_bochs() -> Result<()> {
    let bios = bochs_file("BIOS-bochs-latest")?;
    okay(
        &Machine::new(&Image::demo()?.path())
            .disk(Disk::Ide)
            .arguments([
                "-M".as_ref(),
                "isapc".as_ref(),
                "-cpu".as_ref(),
                "qemu64,-apic".as_ref(),
                "-bios".as_ref(),
                bios.as_path(),
            ]),
    )
    .map(drop)
}

#[test]
fn bochs() -> Result<()> {
    for road in [Road::Protected, Road::Direct] {
        let mut machine = Bochs::new(&demo(road)?.path()).start()?;
        let transcript = machine.wait_for("OKAY")?;
        ensure!(!transcript.contains("FAILED"), "{transcript}");
    }
    Ok(())
}

#[test]
fn read_errors_that_do_not_come_again() -> Result<()> {
    let image = Image::demo()?;
    let inspection = &image
        .built
        .as_ref()
        .context("an image without files")?
        .inspection;
    let kernel = inspection
        .files
        .iter()
        .find(|file| file.path == "/boot/kernel.elf");
    let kernel = kernel
        .and_then(|file| file.extents.first())
        .context("no kernel")?
        .lba;
    for disk in [Disk::Ide, Disk::Ahci] {
        let machine = Machine::new(&image.path()).disk(disk);
        okay(
            &machine
                .weak_sector(5)
                .weak_sector(kernel)
                .weak_sector(kernel + 40),
        )?;
    }
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

#[test]
fn the_c_kernel() -> Result<()> {
    let image = Image::build(&c_kernel()?, |recipe, _| {
        recipe.command_line = "exit".into()
    })?;
    okay(&Machine::new(&image.path())).map(drop)
}

#[test]
fn a_position_independent_kernel() -> Result<()> {
    let kernel = Program {
        config: "kernel-pie",
        ..stages::KERNEL
    };
    let kernel = stages::build_program(&kernel)?;
    let image = Image::build(&kernel, |recipe, _| recipe.command_line = "exit".into())?;
    okay(&Machine::new(&image.path())).map(drop)
}

#[test]
fn command_line_and_modules_arrive() -> Result<()> {
    let change = |recipe: &mut Recipe, directory: &Path| {
        recipe.command_line = "exit crc  two  spaces, umlaut ü".into();
        for (name, length) in [
            ("first.bin", 100_001),
            ("empty", 0),
            ("A long name.txt", 4096),
        ] {
            let file = directory.join(name);
            // The builder finds out when it is not there.
            let _ = fs::write(&file, noise(length));
            recipe.modules.push(Module {
                file,
                string: format!("this is {name}"),
            });
        }
    };
    let image = Image::build(&demo_kernel()?, change)?;
    let transcript = okay(&Machine::new(&image.path()))?;
    for expected in [
        "command line: exit crc  two  spaces, umlaut ü",
        ", 100001 bytes: this is first.bin",
        ", 0 bytes: this is empty",
        ", 4096 bytes: this is A long name.txt",
        &format!("{:08x}", crc32(&noise(100_001))),
        &format!("{:08x}", crc32(&noise(4096))),
    ] {
        ensure!(
            transcript.contains(expected),
            "no {expected:?} in\n{transcript}"
        );
    }
    Ok(())
}

/// CRC-32 (ISO-HDLC), bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg())
        })
    })
}

/// What the bench kernel says.
struct Said {
    reads: u64,
    checksum: u64,
}

/// Boots the bench kernel with a payload behind it, moved to `address`.
fn boot_payload(
    address: u64,
    payload: Vec<u8>,
    change: impl FnOnce(&mut Elf),
    debug: usize,
) -> Result<Said> {
    let mut kernel = test_program("bench-kernel")?;
    kernel.entry = kernel.entry - kernel.segments[0].address + address;
    kernel.segments[0].address = address;
    kernel.segments[0].physical = address;
    kernel
        .segments
        .push(Segment::load(4, address + (2 << 20), payload));
    change(&mut kernel);
    let mut file = kernel.write();
    file.extend(noise(debug));
    let image = Image::with_kernel(&file)?;
    let console = tempfile::NamedTempFile::new()?;
    let mut machine = Machine::new(&image.path())
        .arguments([
            "-debugcon".into(),
            format!("file:{}", console.path().display()),
        ])
        .start()?;
    let ending = machine.wait()?;
    ensure!(
        ending == Ending::Failed(Some(1)),
        "{ending:?}\n{}",
        machine.serial()
    );
    let said = fs::read_to_string(console.path())?;
    let mut numbers = said
        .lines()
        .skip(1)
        .map(|line| u64::from_str_radix(line, 16));
    let mut next = || numbers.next().unwrap_or(Ok(0));
    Ok(Said {
        reads: next()?,
        checksum: next()?,
    })
}

fn checksum(payload: &[u8]) -> u64 {
    let (words, _) = payload.as_chunks();
    words.iter().fold(0, |sum: u64, word| {
        sum.rotate_left(1) ^ u64::from_le_bytes(*word)
    })
}

#[test]
fn kernels_at_all_kinds_of_addresses() -> Result<()> {
    let payload = noise(5 << 20);
    for address in [
        0xFFFF_FFFF_8000_0000,
        0xFFFF_FFF8_0000_0000,
        0xFFFF_FF80_1234_5000,
        0x40_0000,
        0x1000,
        0x7000_0000_0000,
    ] {
        let said = boot_payload(address, payload.clone(), |_| {}, 0)?;
        ensure!(
            said.checksum == checksum(&payload),
            "the payload at {address:#x} is damaged"
        );
    }
    Ok(())
}

#[test]
fn a_kernel_with_physical_addresses() -> Result<()> {
    const BASE: u64 = 0xFFFF_FFFF_8000_0000;
    let payload = noise(3 << 20);
    let at_1_mib = |kernel: &mut Elf| {
        for segment in &mut kernel.segments {
            segment.physical = segment.address - BASE + 0x10_0000;
        }
    };
    let said = boot_payload(BASE + 0x10_0000, payload.clone(), at_1_mib, 0)?;
    ensure!(
        said.checksum == checksum(&payload),
        "the payload is damaged"
    );
    Ok(())
}

#[test]
fn a_kernel_aligned_to_2_mib() -> Result<()> {
    let payload = noise(3 << 20);
    let aligned = |kernel: &mut Elf| {
        for segment in &mut kernel.segments {
            segment.alignment = 2 << 20;
        }
    };
    // The ELF writer lays bytes out modulo 4 KiB, so that only the first 4 KiB of p_align agree.
    let said = boot_payload(0xFFFF_FFFF_8000_0000, payload.clone(), aligned, 0)?;
    ensure!(
        said.checksum == checksum(&payload),
        "the payload is damaged"
    );
    Ok(())
}

#[test]
fn debug_information_is_not_read() -> Result<()> {
    let payload = noise(200 << 10);
    let boot = |debug| boot_payload(0xFFFF_FFFF_8000_0000, payload.clone(), |_| {}, debug);
    let (stripped, full) = (boot(0)?, boot(20 << 20)?);
    ensure!(
        full.checksum == checksum(&payload),
        "the payload is damaged"
    );
    ensure!(
        full.reads <= stripped.reads + 1,
        "{} reads, and {} without debug information",
        full.reads,
        stripped.reads
    );
    Ok(())
}

#[test]
fn bioses_that_lack_something() -> Result<()> {
    use Defect::*;

    let image = Image::demo()?;
    for defects in [
        &[NoE820][..],
        &[NoE820, NoE801],
        &[NoEdd],
        &[A20Off],
        &[A20Off, NoA20Keyboard, NoA20Fast],
        &[A20Off, NoA20Call, NoA20Fast],
        &[A20Off, NoA20Call, NoA20Keyboard],
    ] {
        let rom = bad_bios(defects)?;
        // 88h knows of no more than 64 MiB.
        okay(
            &Machine::new(&image.path())
                .disk(Disk::Ide)
                .arguments(["-m", "48M", "-option-rom"])
                .arguments([rom.path()]),
        )
        .map_err(|error| error.context(format!("{defects:?}")))?;
    }
    Ok(())
}
