//! `docs/machines.md`.

use std::fmt::Write as _;
use std::process::Command;

use anyhow::{Context as _, Result};
use disk_builder::run::QEMU;

use super::{Extra, Outcome, Row, Start};
use crate::book::wrap::wrap;
use crate::machine::{BochsDrive, bochs_program};

/// The versions of the emulators.
pub struct Versions(String);

impl Versions {
    /// Asks the emulators. `bios` is the BIOS's first line on the screen.
    ///
    /// # Errors
    /// When an emulator is missing, or does not print its version.
    pub fn ask(bios: &str) -> Result<Self> {
        let qemu = first_line(QEMU, "--version", "QEMU emulator version ")?;
        let bochs = first_line(bochs_program(), "--help", "Bochs x86 Emulator ")?;
        // `SeaBIOS (version 1.16.2-debian-1.16.2-1)`
        let bios = bios.replace(" (version ", " ").replace(')', "");
        let bios = bios.split('-').next().unwrap_or(&bios);
        Ok(Self(format!("QEMU {qemu} with {bios}, Bochs {bochs}.")))
    }

    /// The versions on a page.
    pub fn of_page(page: &str) -> Option<Self> {
        let line = page.lines().find_map(|line| line.strip_prefix(LAST_RUN))?;
        Some(Self(line.to_owned()))
    }
}

const LAST_RUN: &str = "Last run: ";

/// The first word behind `before` in a program's output.
fn first_line(program: &str, argument: &str, before: &str) -> Result<String> {
    let output = Command::new(program).arg(argument).output();
    let output = output.with_context(|| format!("cannot run {program}"))?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let behind = text.split_once(before).map(|(_, behind)| behind);
    let word = behind.and_then(|behind| behind.split_whitespace().next());
    Ok(word
        .with_context(|| format!("no version in what {program} {argument} says"))?
        .to_owned())
}

/// The page with the table, if all machines did what they had to.
pub fn page(rows: &[Row], versions: &Versions) -> String {
    let mut page = format!(
        "# Machines\n\n\
         `./run.sh machines` boots one image on all of these machines and compares the output of the loader and the demo kernel, line by line, \
         with what is expected there; it writes this page if all machines passed. `./run.sh machines NAME…` runs those whose names contain \
         one of the words. Those marked ● are part of `./run.sh test`. A new machine is a row of [the table](../tests/src/matrix/table.rs).\n\n\
         The image has the size of a 2.88 MB diskette, so that the same bytes boot as hard disk, USB stick and floppy. Names with `direct` mean \
         the same image with stage2's other road to long mode. Names with `cd` or `hybrid` mean the same image built with `--cd`, as a CD or as a disk, and those with `emulates` a CD that emulates the image as a hard disk.\n\n\
         {LAST_RUN}{}\n\n\
         The machines are QEMU's with 256 MiB, or Bochs' with 64 MiB, unless the table says otherwise. Usable memory is what the loader reports, in MiB.\n\n\
         | | name | machine | what it shows | result | drive | usable | console |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- |\n",
        versions.0
    );
    for row in rows {
        let (drive, usable) = match row.outcome {
            Outcome::Refused(_) | Outcome::RefusedByStage1(..) => (String::new(), String::new()),
            Outcome::Boots | Outcome::TooLittleMemory { .. } => (
                format!(
                    "{:02X}h, {}",
                    row.drive,
                    if row.chs { "CHS" } else { "LBA" }
                ),
                row.usable_mib.to_string(),
            ),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(
            page,
            "| {} | {} | {} | {} | {} | {drive} | {usable} | {} |",
            if row.everyday { "●" } else { "" },
            row.name,
            row.machine(),
            row.shows,
            row.result(),
            match (row.serial, row.screen) {
                (true, _) if row.teletype => "both, the screen by the BIOS",
                (true, true) => "both",
                (true, false) => "serial line",
                (false, true) => "screen",
                (false, false) => "none",
            },
        );
    }
    wrap(&page)
}

impl Row {
    /// How it must end.
    pub fn result(&self) -> String {
        match self.outcome {
            Outcome::Boots => "boots".into(),
            Outcome::Refused(entry) | Outcome::RefusedByStage1(entry, _) => {
                format!("error {}", entry.code)
            }
            Outcome::TooLittleMemory { .. } => {
                format!(
                    "error {}",
                    boot_path::errors::catalogue::MEMORY_TOO_LITTLE.code
                )
            }
        }
    }

    /// How it is started, in terms of the emulator.
    fn machine(&self) -> String {
        match &self.start {
            Start::Qemu {
                disk,
                arguments,
                extras,
            } => {
                let mut words = Vec::new();
                if !arguments.split_whitespace().any(|word| word == "-M") {
                    words.push(format!("-M {}", disk.machine()));
                }
                if !arguments.is_empty() {
                    words.push((*arguments).to_owned());
                }
                if disk.is_diskette() {
                    words.push("-drive if=floppy".into());
                }
                if disk.is_cd() {
                    words.push("-drive media=cdrom".into());
                }
                words.extend(disk.devices().iter().map(|device| {
                    let name = device.split(',').next().unwrap_or(device);
                    format!("-device {name}")
                }));
                for extra in extras {
                    match extra {
                        Extra::Bios(name) => words.push(format!("-bios {name}")),
                        Extra::Drive(option) => words.push(format!("-drive {option}")),
                        Extra::DirtyMemory => words.push("-device loader".into()),
                        Extra::BehindBootManager(_) => words.push("-drive index=1".into()),
                        Extra::Rom(_) => words.push("-option-rom".into()),
                    }
                }
                if !self.serial {
                    words.push("-serial none".into());
                }
                format!("`{}`", words.join(" "))
            }
            Start::Bochs {
                bios,
                cpu,
                mib,
                drive,
            } => {
                let (option, _) = drive.option();
                let drive = match drive {
                    BochsDrive::Disk => String::new(),
                    BochsDrive::Disk4Kn | BochsDrive::Floppy | BochsDrive::Cd => {
                        format!(", `{option}…`")
                    }
                };
                format!("Bochs, `{bios}`, `cpu: model={cpu}`, `megs: {mib}`{drive}")
            }
        }
    }
}
