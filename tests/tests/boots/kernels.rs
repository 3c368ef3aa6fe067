//! Kernels of all kinds, and what they are given.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use disk_builder::image::{Module, Recipe};
use disk_builder::run::Ending;
use machine_tests::checksum::checksum as checksum_of;
use machine_tests::elf::{Elf, ProgramHeader, R, W, noise};
use machine_tests::image::{
    Image, c_kernel, demo_kernel, position_independent_kernel, test_program,
};
use machine_tests::machine::Machine;

use crate::{contains, crc32, okay};

#[test]
fn the_c_kernel() -> Result<()> {
    let image = Image::build(&c_kernel()?, |recipe, _| {
        recipe.command_line = "exit".into()
    })?;
    okay(&Machine::new(&image.path())).map(drop)
}

#[test]
fn a_position_independent_kernel() -> Result<()> {
    let image = Image::build(&position_independent_kernel()?, |recipe, _| {
        recipe.command_line = "exit".into()
    })?;
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
            // If this fails, the builder reports that the file is missing.
            let _ = fs::write(&file, noise(length));
            recipe.modules.push(Module {
                file,
                string: format!("this is {name}"),
            });
        }
    };
    let image = Image::build(&demo_kernel()?, change)?;
    let transcript = okay(&Machine::new(&image.path()))?;
    contains(
        &transcript,
        &[
            "command line: exit crc  two  spaces, umlaut ü",
            ", 100001 bytes: this is first.bin",
            ", 0 bytes: this is empty",
            ", 4096 bytes: this is A long name.txt",
            &format!("{:08x}", crc32(&noise(100_001))),
            &format!("{:08x}", crc32(&noise(4096))),
        ],
    )
}

/// Words that differ, `length` bytes of them.
fn words(length: usize) -> String {
    let mut text: String = (0..length).map(|number| format!("{number} ")).collect();
    text.truncate(length - 1);
    text + "."
}

#[test]
fn the_longest_line_and_the_most_modules_arrive() -> Result<()> {
    const LONGEST: usize = 4096 - "options ".len();
    const MODULES: usize = 32;

    let command_line = format!("exit crc {}", words(LONGEST - "exit crc ".len()));
    let length = |number| 500 * number + 1;
    let image = Image::build(&demo_kernel()?, |recipe, directory| {
        recipe.command_line.clone_from(&command_line);
        for number in 0..MODULES {
            let file = directory.join(format!("module-{number}"));
            // If this fails, the builder reports that the file is missing.
            let _ = fs::write(&file, noise(length(number)));
            recipe.modules.push(Module {
                file,
                string: format!("number {number}"),
            });
        }
    })?;
    let transcript = okay(&Machine::new(&image.path()))?;
    contains(&transcript, &[&format!("command line: {command_line}\r\n")])?;
    let mut rest = &transcript[..];
    for number in 0..MODULES {
        let line = format!(", {} bytes: number {number}\r\n", length(number));
        let place = rest.find(&line);
        let place = place.with_context(|| format!("no {line:?} in its place in\n{transcript}"))?;
        rest = &rest[place..];
        contains(rest, &[&format!("{:08x}", crc32(&noise(length(number))))])?;
    }
    Ok(())
}

#[test]
fn the_longest_command_line_arrives() -> Result<()> {
    const LONGEST_FILE: usize = 16 << 10;
    const LONGEST_LINE: usize = 4096;

    // Each line end becomes a space of the command line.
    let lines = LONGEST_FILE.div_ceil(LONGEST_LINE + 1);
    let lines: Vec<_> = (0..lines)
        .map(|line| {
            let left = LONGEST_FILE - line * (LONGEST_LINE + 1);
            let value = left.min(LONGEST_LINE) - "options ".len();
            format!("exit {line} {}", words(value - "exit 0 ".len()))
        })
        .collect();
    let configuration = format!("options {}", lines.join("\noptions "));
    ensure!(configuration.len() == LONGEST_FILE);
    let image = Image::demo()?;
    image.put("/boot/kernel.conf", configuration.as_bytes())?;
    let transcript = okay(&Machine::new(&image.path()))?;
    contains(
        &transcript,
        &[&format!("command line: {}\r\n", lines.join(" "))],
    )
}

/// Every byte of many segments arrives, whatever is between them.
#[test]
fn a_kernel_of_a_thousand_segments() -> Result<()> {
    const FIRST: u64 = 0xFFFF_FFFF_8020_0000;

    let mut kernel = test_program("witness")?;
    let mut expected = String::new();
    for number in 0..1000 {
        // With other permissions than their neighbours, with zeroes behind their bytes, and some in a
        // group of their own.
        let address = FIRST + 0x3000 * number + (number / 100) * (4 << 20);
        let (flags, length) = ([R, R | W][number as usize % 2], 100 + number as usize);
        let (mut bytes, memory) = (noise(length), length + 200);
        let load = ProgramHeader::load(flags, address, bytes.clone(), memory as u64);
        kernel = kernel.with(load);
        bytes.resize(memory, 0);
        writeln!(expected, "segment at {address:x}, flags {flags:x}")?;
        writeln!(
            expected,
            "segment {memory} bytes, sum {:016x}",
            checksum_of(&bytes)
        )?;
    }
    let image = Image::with_kernel(&kernel.build())?;
    let transcript = okay(&Machine::new(&image.path()))?;
    contains(&transcript.replace('\r', ""), &[&expected])
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
    let code = &mut kernel.program_headers[0];
    kernel.entry = kernel.entry - code.virtual_address + address;
    code.virtual_address = address;
    code.physical_address = address;
    kernel = kernel.with(ProgramHeader::filled(R, address + (2 << 20), payload));
    change(&mut kernel);
    let mut file = kernel.build();
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
        for load in &mut kernel.program_headers {
            load.physical_address = load.virtual_address - BASE + 0x10_0000;
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
        for load in &mut kernel.program_headers {
            load.alignment = 2 << 20;
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
