//! Kernels by the crate handoff: the first version of it, and today's.

use std::fs;

use anyhow::{Result, ensure};
use disk_builder::image::{Module, Recipe};
use disk_builder::run::{EXIT_OKAY, Ending};
use machine_tests::checksum::checksum;
use machine_tests::elf::noise;
use machine_tests::image::{Image, test_program_file};
use machine_tests::machine::Machine;

/// What the kernels are given besides the module.
const COMMAND_LINE: &str = "log=serial colour=red log=none  quiet";

/// An image with a kernel of `tests/programs`, and a module.
fn image(kernel: &str) -> Result<Image> {
    Image::build(
        &test_program_file(kernel)?,
        |recipe: &mut Recipe, directory| {
            recipe.command_line = COMMAND_LINE.into();
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
    let mut running = Machine::new(&image.path()).start()?;
    let ending = running.wait()?;
    let said = running.serial();
    ensure!(ending == Ending::Guest(EXIT_OKAY), "{ending:?}\n{said}");
    // The loader says this line last.
    let lines = said
        .lines()
        .skip_while(|line| !line.starts_with("12 handoff"));
    Ok(lines
        .skip(1)
        .map(|line| line.trim_end().to_owned())
        .collect())
}

#[test]
fn a_kernel_of_the_first_version_runs_on_todays_loader() -> Result<()> {
    let lines = lines_of_the_kernel(&image("old-kernel")?)?;
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
