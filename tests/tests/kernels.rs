//! The everyday part of `./run.sh kernels`, and kernels that fit several protocols.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use disk_builder::image::{Entry, Module};
use disk_builder::stages;
use disk_builder::{Protocol, run};
use disk_layout::SECTOR_SIZE;
use machine_tests::elf::{MULTIBOOT2_MAGIC, put_multiboot2_header};
use machine_tests::image::{Image, c_kernel, c_kernel_with_bootstrap, test_program};
use machine_tests::kernels;
use machine_tests::linux::put;
use machine_tests::machine::{Machine, Running};
use machine_tests::peers::{self, Peer, Start};

/// The page has exactly these rows, whenever it was written.
#[test]
fn the_page_is_of_this_table() -> Result<()> {
    let page = fs::read_to_string(stages::workspace().join("docs/kernels.md"))?;
    ensure!(
        page.replace("\r\n", "\n") == kernels::page(),
        "docs/kernels.md is not of this table; update it: ./run.sh kernels"
    );
    Ok(())
}

/// Every kernel that is built here boots by one of its ways in.
#[test]
fn each_kernel_on_one_way() -> Result<()> {
    let boots = kernels::everyday();
    for outcome in kernels::run(&boots, |_| {}) {
        outcome.result.with_context(|| outcome.boot.to_string())?;
    }
    Ok(())
}

/// The kernel's bootstrap asks a loader for no more than the specification has.
#[test]
fn grub_starts_the_c_kernel_without_the_loader() -> Result<()> {
    let image = Image::build(&c_kernel_with_bootstrap()?, |recipe, directory| {
        let file = directory.join("module");
        // If this fails, the builder reports that the file is missing.
        let _ = fs::write(&file, "a module");
        let string = String::new();
        recipe.modules.push(Module { file, string });
    })?;
    let how = Start {
        protocol: peers::Protocol::Multiboot2,
        kernel: ("/boot/kernel.elf", "some words, exit"),
        modules: &[("/boot/modules/module", "")],
    };
    ensure!(Peer::Grub.install(&image, &how)?, "there is no GRUB");
    let mut running = start(&image)?;
    let ending = running.wait()?;
    let transcript = running.serial();
    ensure!(
        ending == run::Ending::Guest(run::EXIT_OKAY),
        "{ending:?}\n{transcript}"
    );
    ensure!(
        transcript.contains("C kernel, started by GRUB 2."),
        "{transcript}"
    );
    Ok(())
}

/// What “entering long mode” writes to the screen.
const OKAY: &[u8] = &[0x4F, 0x2F, 0x4B, 0x2F, 0x41, 0x2F, 0x59, 0x2F];

fn start(image: &Image) -> Result<Running> {
    let machine = Machine::new(&image.path());
    machine.time_limit(kernels::TIME_LIMIT).start()
}

/// A Limine kernel with a Multiboot 2 header, for 32-bit code of its own in a low segment.
fn limine_and_multiboot2() -> Result<Vec<u8>> {
    const HALF: u64 = 0xFFFF_FFFF_8000_0000;

    let mut both = test_program("limine-first")?;
    let other = test_program("entering-long-mode")?;
    let entry = u32::try_from(other.entry)?;
    // The first kernel is one MiB above the other one, in the higher half as well as in memory.
    for load in &mut both.program_headers {
        load.physical_address = load.virtual_address - HALF + (2 << 20);
    }
    for mut load in other.program_headers {
        load.virtual_address += HALF + (2 << 20);
        // The kernel's own header has no entry address.
        let magic = MULTIBOOT2_MAGIC.to_le_bytes();
        let own = load.data.windows(4).position(|bytes| bytes == magic);
        if let Some(own) = own {
            load.data[own..own + 4].fill(0);
        }
        both = both.with(load);
    }
    let mut file = both.build();
    put_multiboot2_header(&mut file, entry)?;
    Ok(file)
}

/// Limine's requests come before Multiboot headers, unless the entry says otherwise.
#[test]
fn of_two_protocols_limine_counts() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let kernel = put(directory.path(), "kernel", &limine_and_multiboot2()?)?;
    let image = |protocol| Image::build(&kernel, |recipe, _| recipe.protocol = protocol);
    let limine = image(None)?;
    let transcript = start(&limine)?.wait_for("OKAY\n")?;
    ensure!(
        transcript.contains("a first Limine kernel, started by Bootpath\n"),
        "{transcript}"
    );
    let multiboot = image(Some(Protocol::Multiboot2))?;
    let mut running = start(&multiboot)?;
    running.wait_for_cells(&[OKAY])?;
    let transcript = running.serial();
    ensure!(
        transcript.contains("10 kernel   Multiboot 2, ELF64, "),
        "{transcript}"
    );
    Ok(())
}

/// A note of the loader's own handoff comes before both.
#[test]
fn of_two_protocols_the_own_one_counts() -> Result<()> {
    let mut kernel = fs::read(c_kernel()?)?;
    put_multiboot2_header(&mut kernel, 0x10_0000)?;
    let directory = tempfile::tempdir()?;
    let kernel = put(directory.path(), "kernel", &kernel)?;
    let image = Image::build(&kernel, |recipe, _| {
        recipe.command_line = "exit".into();
    })?;
    let transcript = start(&image)?.wait_for("OKAY")?;
    ensure!(transcript.contains("by its own handoff"), "{transcript}");
    Ok(())
}

/// If entries name the same kernel with different protocols, it has checksums for each of them. If
/// an entry names a protocol that the builder did not know of, the kernel has no checksum.
#[test]
fn checksums_by_each_protocol() -> Result<()> {
    const CONF: &str = "/loader/loader.conf";
    const KERNEL: &str = "/boot/kernels/kernel";

    let directory = tempfile::tempdir()?;
    let bytes = limine_and_multiboot2()?;
    let kernel = put(directory.path(), "kernel", &bytes)?;
    let entries = [None, Some(Protocol::Multiboot2), Some(Protocol::Limine)];
    let image = Image::build(&kernel, |recipe, _| {
        recipe.entries = (1..)
            .zip(entries)
            .map(|(number, protocol)| Entry {
                protocol,
                ..Entry::new(format!("{number}"), &kernel)
            })
            .collect();
    })?;
    // The first instruction of the Limine kernel, in the file's first segment.
    let damaged = image.copy()?;
    let place = image.first_sector(KERNEL)? * SECTOR_SIZE as u64 + 0x1000;
    let byte = image.read(place, 1)?[0];
    damaged.write(place, &[byte ^ 1])?;
    for number in 1..4 {
        let conf = format!("default {number}\n");
        image.put(CONF, conf.as_bytes())?;
        damaged.put(CONF, conf.as_bytes())?;
        let mut running = start(&image)?;
        match number {
            2 => running.wait_for_cells(&[OKAY]).map(drop)?,
            _ => running.wait_for("OKAY\n").map(drop)?,
        }
        let transcript = start(&damaged)?.wait_for("press a key to reboot")?;
        let error = format!("error 10Q: the kernel is damaged: {KERNEL}, checksum mismatch");
        ensure!(transcript.contains(&error), "{transcript}");
    }

    // Multiboot 2 does not need that byte.
    let image = Image::build(&kernel, |_, _| {})?;
    let place = image.first_sector("/boot/kernel.elf")? * SECTOR_SIZE as u64 + 0x1000;
    image.write(place, &[byte ^ 1])?;
    image.put("/boot/kernel.conf", b"protocol multiboot2\n")?;
    start(&image)?.wait_for_cells(&[OKAY]).map(drop)
}
