//! Kernels by the crate handoff: the first version of it, and today's.

use std::fs;

use anyhow::{Context as _, Result, bail, ensure};
use disk_builder::image::{Module, Recipe};
use disk_builder::run::{EXIT_OKAY, Ending};
use disk_builder::stages::workspace;
use machine_tests::checksum::checksum;
use machine_tests::elf::noise;
use machine_tests::image::{Image, test_program_file};
use machine_tests::machine::Machine;

/// What the kernels are given besides the module.
const COMMAND_LINE: &str = "log=serial colour=red log=none  quiet";

/// An image with a kernel of `tests/programs`, and a module; the command line has more words.
fn image(kernel: &str, words: &str) -> Result<Image> {
    Image::build(
        &test_program_file(kernel)?,
        |recipe: &mut Recipe, directory| {
            recipe.command_line = format!("{COMMAND_LINE}{words}");
            let file = directory.join("data.bin");
            // If this fails, the builder reports that the file is missing.
            let _ = fs::write(&file, noise(5000));
            let string = "five thousand bytes".into();
            recipe.modules.push(Module { file, string });
        },
    )
}

/// Boots the image, and returns the lines that the kernel printed.
fn lines_of_the_kernel(image: &Image) -> Result<Vec<String>> {
    let (lines, ending) = run(&Machine::new(&image.path()))?;
    ensure!(ending == Ending::Guest(EXIT_OKAY), "{ending:?}: {lines:#?}");
    Ok(lines)
}

/// Runs a machine to its end: what the kernel printed, and how it ended.
fn run(machine: &Machine) -> Result<(Vec<String>, Ending)> {
    let mut running = machine.start()?;
    let ending = running.wait()?;
    Ok((kernels_lines(&running.serial()), ending))
}

/// The lines that are the kernel's.
fn kernels_lines(said: &str) -> Vec<String> {
    // The loader says this line last.
    let lines = said
        .lines()
        .skip_while(|line| !line.starts_with("12 handoff"));
    lines
        .skip(1)
        .map(|line| line.trim_end().to_owned())
        .collect()
}

#[test]
fn a_kernel_of_the_first_version_runs_on_todays_loader() -> Result<()> {
    let lines = lines_of_the_kernel(&image("old-kernel", "")?)?;
    let sum = checksum(&noise(5000));
    let expected = [
        "started by Bootpath",
        "command line: log=serial colour=red log=none  quiet",
        "stack of 98304 bytes",
        "physical map at ffffa00000000000",
        "usable: more than 192 MiB",
        "segments: as they are in physical memory",
        &format!("module 5000 bytes, sum {sum:016x}: /boot/modules/data.bin: five thousand bytes"),
        "display: Some(Text)",
        "disk 80h, 512 bytes a sector",
        "TLS: false",
        "OKAY",
    ];
    ensure!(lines == expected, "{lines:#?}");
    Ok(())
}

/// What the kernel that uses all of the crate prints before its end.
fn lines_of_todays_kernel(words: &str) -> Vec<String> {
    let sum = checksum(&noise(5000));
    let lines = [
        &format!("words: log=serial colour=red log=none quiet{words}"),
        "log Some(\"none\"), colour Some(\"red\"), quiet true",
        "free: more than 192 MiB, up to 256 MiB",
        "kernel: this function and the stack are in it",
        &format!("module data.bin: 5000 bytes, sum {sum:016x}: five thousand bytes"),
        "at the RSDP: Some(\"RSD PTR \")",
        "free memory: written and read",
        "page tables: they agree",
    ];
    lines.map(str::to_owned).into()
}

#[test]
fn a_kernel_uses_all_of_the_crate() -> Result<()> {
    let lines = lines_of_the_kernel(&image("handoff-kernel", "")?)?;
    let mut expected = lines_of_todays_kernel("");
    expected.push("OKAY".into());
    ensure!(lines == expected, "{lines:#?}");
    Ok(())
}

#[test]
fn a_kernel_ends_with_the_code_that_it_chooses() -> Result<()> {
    for (word, line, value) in [
        (" end=7", "ends with Some(7)", 7),
        (" end=16", "ends with None", 0x11),
        (" end=panic", "FAILED: as it was asked to", 0x11),
    ] {
        let image = image("handoff-kernel", word)?;
        let (lines, ending) = run(&Machine::new(&image.path()))?;
        let mut expected = lines_of_todays_kernel(word);
        expected.push(line.into());
        ensure!(lines == expected, "{word}: {lines:#?}");
        ensure!(ending == Ending::Guest(value), "{word}: {ending:?}");
    }
    Ok(())
}

#[test]
fn a_kernel_stops_where_there_is_no_exit_port() -> Result<()> {
    let image = image("handoff-kernel", "")?;
    let mut running = Machine::new(&image.path()).no_exit_port().start()?;
    running.wait_for("OKAY")?;
    let halted = |registers: &str| registers.contains("HLT=1");
    let mut registers = running.registers()?;
    for _ in 0..600 {
        if halted(&registers) {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
        registers = running.registers()?;
    }
    ensure!(halted(&registers), "{registers}");
    // RFLAGS without IF: no interrupt wakes it.
    let flags = registers.split("RFL=").nth(1).unwrap_or_default();
    let flags = u32::from_str_radix(flags.split(' ').next().unwrap_or_default(), 16)?;
    ensure!(flags & 1 << 9 == 0, "{registers}");
    Ok(())
}

#[test]
fn a_kernel_without_a_serial_line_comes_to_its_end() -> Result<()> {
    let image = image("handoff-kernel", " end=9")?;
    let (lines, ending) = run(&Machine::new(&image.path()).no_serial())?;
    ensure!(
        lines.is_empty() && ending == Ending::Guest(9),
        "{ending:?}: {lines:?}"
    );
    Ok(())
}

#[test]
fn the_kernel_of_the_readme() -> Result<()> {
    let readme = fs::read_to_string(workspace().join("handoff/README.md"))?;
    let code = readme.split("```rust\n").nth(1).unwrap_or_default();
    let code = code.split("```").next().unwrap_or_default();
    let program = workspace().join("tests/programs/src/bootpath/readme_kernel.rs");
    let program = fs::read_to_string(program)?;
    let program = program.lines().skip_while(|line| *line != "#![no_std]");
    let program: Vec<_> = program
        .filter(|line| !line.contains("not in the README"))
        .collect();
    // Where lines are left out, an empty one remains.
    ensure!(
        program.join("\n").replace("\n\n\n", "\n\n") == code.trim_end(),
        "{program:#?}"
    );

    let lines = lines_of_the_kernel(&image("readme-kernel", " test")?)?;
    let [loader, free, module] = &lines[..] else {
        bail!("{lines:#?}");
    };
    ensure!(loader.starts_with("started by Bootpath "), "{loader}");
    let free: u32 = free
        .strip_suffix(" MiB are free")
        .context("free memory")?
        .parse()?;
    ensure!((200..256).contains(&free), "{free}");
    ensure!(module == "data.bin: 5000 bytes", "{module}");

    let (lines, ending) = run(&Machine::new(&image("readme-kernel", "")?.path()))?;
    ensure!(ending == Ending::Guest(0x11), "{ending:?}");
    ensure!(
        lines.last().is_some_and(|line| line == "nothing to do"),
        "{lines:#?}"
    );
    Ok(())
}
