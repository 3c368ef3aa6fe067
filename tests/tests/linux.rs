//! The Linux x86 boot protocol: the tests' own kernel checks every promise, and real kernels boot.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use disk_builder::Protocol;
use disk_builder::image::Module;
use disk_builder::run::{EXIT_OKAY, Ending};
use disk_layout::SECTOR_SIZE;
use machine_tests::elf::noise;
use machine_tests::image::{Defect, Image, bad_bios};
use machine_tests::kernels;
use machine_tests::linux::{
    CpioFile, Fetched, bench_kernel, check_kernel, cpio, header, initrd, put,
};
use machine_tests::machine::{Bochs, Disk, Machine, Running};

/// An image with the checking kernel, changed, entered at `bits`, with these modules.
fn image(bits: u32, changes: &[(usize, &[u8])], modules: &[&[u8]]) -> Result<Image> {
    let kernel = check_kernel(changes)?;
    let directory = tempfile::tempdir()?;
    let kernel = put(directory.path(), "bzimage", &kernel)?;
    let image = Image::build(&kernel, |recipe, directory| {
        for (number, bytes) in modules.iter().enumerate() {
            let file = directory.join(format!("initrd-{number}"));
            // If this fails, the builder reports that the file is missing.
            let _ = fs::write(&file, bytes);
            recipe.modules.push(Module {
                file,
                string: String::new(),
            });
        }
    })?;
    let mut text = format!("protocol linux{bits}\noptions entry={bits} two  words\n");
    for number in 0..modules.len() {
        text += &format!("module /boot/modules/initrd-{number}\n");
    }
    image.put("/boot/kernel.conf", text.as_bytes())?;
    Ok(image)
}

/// Boots it and returns what it printed, which ends in `OKAY`.
fn okay(mut running: Running) -> Result<String> {
    let transcript = running.wait_for("OKAY\r\n")?;
    ensure!(!transcript.contains("FAILED"), "{transcript}");
    Ok(transcript)
}

fn contains(transcript: &str, expected: &[&str]) -> Result<()> {
    for text in expected {
        ensure!(transcript.contains(text), "no {text:?} in\n{transcript}");
    }
    Ok(())
}

#[test]
fn every_entry_finds_what_is_promised() -> Result<()> {
    for (bits, mode) in [(16, "real"), (32, "protected"), (64, "long")] {
        let image = image(bits, &[], &[b"first", b"", b"second, longer"])?;
        let transcript = okay(Machine::new(&image.path()).start()?)?;
        contains(
            &transcript,
            &[
                &format!(" in {mode} mode\r\n"),
                "10 kernel   Linux, protocol 2.15, ",
                &format!("command line: entry={bits} two  words\r\n"),
                "loaded at 1000000, ",
                // In at least two pages, below the file system's windows, which are below the firmware's
                // tables at the end of 256 MiB.
                "initrd 24 bytes at FDDE000: first...second, longer..\r\n",
            ],
        )?;
        if bits != 16 {
            contains(
                &transcript,
                &[
                    "memory 0 to 1000 type 2\r\nmemory 1000 to 9F000 type 1\r\n",
                    "memory 100000 to FFDF000 type 1\r\n",
                ],
            )?;
        }
    }
    Ok(())
}

/// Setup code calls the BIOS, which then needs its own values in CR0, CR4 and EFER.
#[test]
fn setup_code_finds_the_control_registers_of_the_bios() -> Result<()> {
    let rom = bad_bios(&[Defect::WatchesControl])?;
    let image = image(16, &[], &[])?;
    let machine = Machine::new(&image.path()).arguments(["-option-rom".as_ref(), rom.path()]);
    contains(&okay(machine.start()?)?, &[" in real mode\r\n"])
}

#[test]
fn a_kernel_that_cannot_move_and_an_old_one() -> Result<()> {
    let fixed: (usize, &[u8]) = (header::RELOCATABLE_KERNEL, &[0]);
    let there: (usize, &[u8]) = (header::PREF_ADDRESS, &0x200_0000_u64.to_le_bytes());
    for bits in [16, 32, 64] {
        let image = image(bits, &[fixed, there], &[])?;
        let transcript = okay(Machine::new(&image.path()).start()?)?;
        contains(
            &transcript,
            &["loaded at 100000, ", "initrd 0 bytes at 0: \r\n"],
        )?;
    }
    // Protocol 2.02: the header ends behind cmd_line_ptr, and the loader enters the setup code
    // without being asked to.
    let old: (usize, &[u8]) = (header::VERSION, &0x0202_u16.to_le_bytes());
    let image = image(16, &[old, fixed], &[b"old"])?;
    image.put(
        "/boot/kernel.conf",
        b"options entry=16\nmodule /boot/modules/initrd-0\n",
    )?;
    let transcript = okay(Machine::new(&image.path()).start()?)?;
    contains(
        &transcript,
        &["Linux, protocol 2.02, ", "in real mode\r\n", ": old.\r\n"],
    )
}

/// The setup code of a kernel that names no 32-bit code, and that of one with a video mode to set.
#[test]
fn what_only_setup_code_can_do() -> Result<()> {
    let nowhere: (usize, &[u8]) = (header::CODE32_START, &[0; 4]);
    let old: (usize, &[u8]) = (header::VERSION, &0x0207_u16.to_le_bytes());
    let fixed: (usize, &[u8]) = (header::RELOCATABLE_KERNEL, &[0]);
    for (changes, options) in [
        (&[nowhere, old, fixed][..], "entry=16"),
        (&[], "entry=16 vga=0x317 vid_mode=791"),
        (&[], "entry=16 vid_mode=65534 vga=ext"),
        (&[], "entry=64 vga=normal"),
        (&[], "entry=64 vga=ask"),
    ] {
        let image = image(16, changes, &[])?;
        let text = format!("options {options}\n");
        image.put("/boot/kernel.conf", text.as_bytes())?;
        let transcript = okay(Machine::new(&image.path()).start()?)?;
        let mode = match options.contains("=16") {
            true => " in real mode\r\n",
            false => " in long mode\r\n",
        };
        contains(&transcript, &[mode])?;
    }
    // Where the 32-bit entry is demanded, nobody looks at a mode.
    let image = image(32, &[], &[])?;
    let text = b"protocol linux32\noptions entry=32 vga=791\n";
    image.put("/boot/kernel.conf", text)?;
    let transcript = okay(Machine::new(&image.path()).start()?)?;
    contains(&transcript, &[" in protected mode\r\n"])
}

/// iPXE's image for loaders of Linux, to its banner.
#[test]
fn ipxe_by_its_setup_code() -> Result<()> {
    let Some(kernel) = Fetched::Ipxe.path()? else {
        return Ok(());
    };
    let image = Image::build(&kernel, |_, _| ())?;
    let mut running = Machine::new(&image.path())
        .time_limit(kernels::TIME_LIMIT)
        .start()?;
    running.wait_for(" in real mode\r\n")?;
    running.wait_for_screen("iPXE initialising devices")
}

#[test]
fn other_machines() -> Result<()> {
    for bits in [16, 32, 64] {
        let image = image(bits, &[], &[b"first"])?;
        okay(Bochs::new(&image.path()).start()?)?;
        let machine = Machine::new(&image.path()).disk(Disk::Ide);
        okay(machine.arguments(["-m", "6G"]).start()?)?;
    }
    Ok(())
}

#[test]
fn what_cannot_be_booted_is_refused_by_name() -> Result<()> {
    let refused = |bits, changes: &[(usize, &[u8])], options: usize, expected: &str| {
        let kernel = check_kernel(changes)?;
        let image = Image::with_kernel(&kernel)?;
        let long = "x".repeat(options);
        let text = format!("protocol linux{bits}\noptions {long}\n");
        image.put("/boot/kernel.conf", text.as_bytes())?;
        let mut running = Machine::new(&image.path()).start()?;
        let transcript = running.wait_for("press a key to reboot")?;
        contains(&transcript, &[&format!("error {expected}\r\n")])?;
        // The builder's words are the same.
        let problems = image.inspect()?.problems;
        let found = problems
            .iter()
            .any(|line| *line == format!("error {expected}"));
        ensure!(found || expected.starts_with("10U"), "{problems:?}");
        Ok(())
    };
    let this = "10V: the Linux kernel cannot be booted like this";
    refused(
        64,
        &[(header::LOADFLAGS, &[0])],
        1,
        &format!("{this}: a zImage, not a bzImage"),
    )?;
    refused(
        64,
        &[(header::XLOADFLAGS, &[0])],
        1,
        &format!("{this}: no 64-bit entry: protocol 020Fh, xloadflags 0000h"),
    )?;
    refused(
        32,
        &[],
        2048,
        &format!("{this}: a command line of 2048 bytes, more than 2047"),
    )?;
    refused(
        16,
        &[
            (header::RELOCATABLE_KERNEL, &[0]),
            (header::PREF_ADDRESS, &0x1000_0000_u64.to_le_bytes()),
        ],
        1,
        "10U: the memory that the kernel wants is not free: 10000000h to 10400000h",
    )
}

/// A wrong bit in the setup code, in the kernel or in an initial RAM disk has a name, whichever
/// entry is used. Without checksums, the image boots.
#[test]
fn what_is_damaged() -> Result<()> {
    const KERNEL: &str = "/boot/kernel.elf";
    const INITRD: &str = "/boot/modules/initrd";

    let kernel = check_kernel(&[])?;
    let text = b"command line: ";
    let text = kernel.windows(text.len()).position(|found| found == text);
    let text = text.context("the kernel does not say that")? as u64;
    let directory = tempfile::tempdir()?;
    let kernel = put(directory.path(), "bzimage", &kernel)?;
    let initrd = put(directory.path(), "initrd", b"an initrd")?;
    let build = |bits: u32, checksums| {
        Image::build(&kernel, |recipe, _| {
            recipe.command_line = format!("entry={bits}");
            recipe.protocol = Protocol::from_name(&format!("linux{bits}"));
            recipe.checksums = checksums;
            recipe.modules.push(Module {
                file: initrd.clone(),
                string: String::new(),
            });
        })
    };
    let flip = |image: &Image, path, offset| {
        let at = image.first_sector(path)? * SECTOR_SIZE as u64 + offset;
        let byte = image.read(at, 1)?[0];
        image.write(at, &[byte ^ 0x20])
    };
    for (bits, path, offset, code) in [
        (16, KERNEL, 0x1E0, "10Q"),
        (64, KERNEL, 0x1E0, "10Q"),
        (32, KERNEL, text, "10Q"),
        (64, KERNEL, text, "10Q"),
        (16, INITRD, 3, "10R"),
        (64, INITRD, 8, "10R"),
    ] {
        let image = build(bits, true)?;
        ensure!(image.inspect()?.problems.is_empty());
        flip(&image, path, offset)?;
        let mut running = Machine::new(&image.path()).start()?;
        let transcript = running.wait_for("press a key to reboot")?;
        contains(&transcript, &[&format!("error {code}: "), path])?;
        let problems = image.inspect()?.problems;
        ensure!(
            problems.len() == 1 && problems[0].contains(code),
            "{problems:?}"
        );
    }
    let image = build(64, false)?;
    flip(&image, KERNEL, text)?;
    flip(&image, INITRD, 0)?;
    let transcript = okay(Machine::new(&image.path()).start()?)?;
    contains(
        &transcript,
        &["\nCommand line: entry=64\r\n", ": An initrd"],
    )?;
    Ok(())
}

/// The loader has no checksum of a payload that the kernel itself checks, but one of what is around
/// it.
#[test]
fn what_the_kernel_checks_itself() -> Result<()> {
    const KERNEL: &str = "/boot/kernel.elf";
    const XZ: [u8; 8] = *b"\xFD7zXZ\0\0\x01";
    const LENGTH: usize = 100_000;

    let mut payload = noise(LENGTH);
    payload[..XZ.len()].copy_from_slice(&XZ);
    let mut kernel = bench_kernel(&payload)?;
    let start = kernel.len() - LENGTH;
    kernel.extend([0; 16]); // the length in the header is not that of the file
    let directory = tempfile::tempdir()?;
    let file = put(directory.path(), "bzimage", &kernel)?;
    for (offset, is_named) in [
        (start - 1, true),
        (start + XZ.len(), false),
        (start + LENGTH - 1, false),
        (start + LENGTH, true),
    ] {
        let image = Image::build(&file, |_, _| {})?;
        ensure!(image.inspect()?.problems.is_empty());
        let at = image.first_sector(KERNEL)? * SECTOR_SIZE as u64 + offset as u64;
        let byte = image.read(at, 1)?[0];
        image.write(at, &[byte ^ 1])?;
        let problems = image.inspect()?.problems;
        ensure!(problems.len() == usize::from(is_named), "{problems:?}");
        let mut running = Machine::new(&image.path()).start()?;
        if is_named {
            running.wait_for("error 10Q: ")?;
        } else {
            let ending = running.wait()?;
            let transcript = running.serial();
            ensure!(
                transcript.contains("\n12 handoff  "),
                "{ending:?}\n{transcript}"
            );
        }
    }
    Ok(())
}

/// The Linux kernel in the everyday part of `./run.sh kernels`, with a second archive.
#[test]
fn a_real_kernel_with_two_archives() -> Result<()> {
    let Some(kernel) = Fetched::Cloud.path()? else {
        return Ok(());
    };
    let second = cpio(&[CpioFile::file(
        "second",
        0o10_0644,
        b"**** the second archive\n",
    )]);
    let first = initrd(Fetched::Cloud)?;
    let image = Image::build(&kernel, |recipe, directory| {
        recipe.command_line = "console=ttyS0 panic=-1 a=\"b c\"".into();
        for (name, bytes) in [("first", &first), ("second", &second)] {
            let file = directory.join(name);
            // If this fails, the builder reports that the file is missing.
            let _ = fs::write(&file, bytes);
            recipe.modules.push(Module {
                file,
                string: String::new(),
            });
        }
    })?;
    let mut running = Machine::new(&image.path())
        .time_limit(kernels::TIME_LIMIT)
        .start()?;
    let ending = running.wait()?;
    let transcript = running.serial();
    ensure!(ending == Ending::Closed, "{ending:?}\n{transcript}");
    ensure!(ending != Ending::Guest(EXIT_OKAY));
    contains(
        &transcript,
        &[
            "12 handoff  to 1000200h in long mode\r\n",
            "**** init of the tests, 64 bits\r\n",
            "**** cmdline console=ttyS0 panic=-1 a=\"b c\"\r\n",
            "**** memory 2",
            "**** the second archive\r\n",
            "**** OKAY\r\n",
        ],
    )
}
