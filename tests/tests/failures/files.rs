//! Files that differ from those that were written.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use disk_builder::image::Module;
use disk_builder::run::{EXIT_OKAY, Ending};
use machine_tests::elf::noise;
use machine_tests::image::{Image, small_kernel};
use machine_tests::machine::Machine;

use crate::{KERNEL, SECTOR, fails};

/// Each file that the builder wrote, and the error if a bit of it is wrong. If another file is
/// copied over it, the image boots.
#[test]
fn a_file_is_damaged_or_replaced() -> Result<()> {
    const MODULE: &str = "/boot/modules/first.bin";
    const CONFIGURATION: &str = "/boot/kernel.conf";

    let build = || {
        Image::build(small_kernel()?.path(), |recipe, directory| {
            recipe.command_line = "exit crc".into();
            let file = directory.join("first.bin");
            // If this fails, the builder reports that the file is missing.
            let _ = fs::write(&file, noise(70_000));
            recipe.modules.push(Module {
                file,
                string: String::new(),
            });
        })
    };
    let image = build()?;
    for (path, offset, code) in [
        (CONFIGURATION, 10, "9E"),
        // e_shoff; a byte that is loaded.
        (KERNEL, 40, "10Q"),
        (KERNEL, 0x2345, "10Q"),
        (MODULE, 69_999, "10R"),
    ] {
        let place = image.first_sector(path)? * SECTOR + offset;
        let byte = image.read(place, 1)?;
        image.write(place, &[byte[0] ^ 1])?;
        for cpu in ["qemu64", "qemu64,+sse4.2"] {
            let machine = Machine::new(&image.path()).arguments(["-cpu", cpu]);
            fails(&machine, code, &["checksum mismatch"]).with_context(|| path.to_owned())?;
        }
        image.write(place, &byte)?;
    }
    let okay = |image: &Image| {
        let mut running = Machine::new(&image.path()).start()?;
        let transcript = running.wait_for("OKAY")?;
        ensure!(!transcript.contains(" 8 files    by "), "{transcript}");
        running.wait()
    };
    ensure!(okay(&image)? == Ending::Guest(EXIT_OKAY));
    image.put(MODULE, &noise(70_000)[1..])?;
    image.put(
        CONFIGURATION,
        format!("options exit\nmodule {MODULE}\n").as_bytes(),
    )?;
    let mut kernel = fs::read(small_kernel()?.path())?;
    kernel.extend(b"another one");
    image.put(KERNEL, &kernel)?;
    ensure!(okay(&image)? == Ending::Guest(EXIT_OKAY));

    let image = build()?;
    image.mtools("mdel", [format!("::{CONFIGURATION}")])?;
    fails(&Machine::new(&image.path()), "9D", &[])?;
    image.put(CONFIGURATION, b"")?;
    let mut running = Machine::new(&image.path()).start()?;
    running.wait_for("command line: \r\n")?;
    Ok(())
}
