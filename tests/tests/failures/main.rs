//! Bad images and bad machines: each ends in the error that names what is wrong, and a key press
//! starts the machine again. The recipes (`recipes.rs`) show one way to each error. These tests
//! show other ways, and what else happens.

mod stages;
mod machine;
mod disk;
mod files;
mod kernel;
mod faults;

use anyhow::{Context as _, Result, ensure};
use disk_builder::run::Ending;
use disk_layout::SECTOR_SIZE;
use machine_tests::elf::Elf;
use machine_tests::image::Image;
use machine_tests::machine::Machine;

const SECTOR: u64 = SECTOR_SIZE as u64;
const KERNEL: &str = "/boot/kernel.elf";
/// A page of its own behind the code of [`Elf::halting`].
const ELSEWHERE: u64 = 0xFFFF_FFFF_8020_0000;

/// Checks that the machine ends in this error, with these facts in its line, and that a key press
/// reboots it.
fn fails(machine: &Machine, code: &str, facts: &[&str]) -> Result<()> {
    let mut running = machine.start()?;
    let transcript = running.wait_for("press a key to reboot")?;
    let error = format!("error {code}: ");
    let line = transcript.lines().find(|line| line.contains(&error));
    let line = line.with_context(|| format!("no {error:?} in\n{transcript}"))?;
    for fact in facts {
        ensure!(line.contains(fact), "no {fact:?} in {line:?}");
    }
    let screen = running.screen()?.join("\n");
    ensure!(
        screen.contains(&error),
        "no {error:?} on the screen:\n{screen}"
    );
    running.press("spc")?;
    let ending = running.wait().context("a key press does not reboot")?;
    ensure!(ending == Ending::Closed, "{ending:?}");
    Ok(())
}

/// Checks that stage1 ends in this error, after which it can do nothing more.
fn fails_in_stage1(machine: &Machine, code: &str) -> Result<()> {
    let mut running = machine.start()?;
    let error = format!("error {code}");
    running.wait_for(&error)?;
    let screen = running.screen()?.join("\n");
    ensure!(
        screen.contains(&error),
        "no {error:?} on the screen:\n{screen}"
    );
    Ok(())
}

/// Checks that a kernel of these bytes is refused.
fn refused(kernel: &[u8], code: &str, facts: &[&str]) -> Result<()> {
    fails(
        &Machine::new(&Image::with_kernel(kernel)?.path()),
        code,
        facts,
    )
}

/// Checks that a good kernel is refused after this change.
fn refused_if(change: impl FnOnce(&mut Elf), code: &str) -> Result<()> {
    let mut kernel = Elf::halting();
    change(&mut kernel);
    refused(&kernel.build(), code, &[])
}

/// Sets the entry of a cluster in all copies of a FAT32 volume's FAT.
fn link(image: &Image, cluster: u64, next: u64) -> Result<()> {
    const COPIES: u64 = 2;
    const ENTRY: u64 = 4;

    let volume = image.inspect()?.volume.context("no file system")?;
    ensure!(volume.fat_bits == 32, "{volume:?}");
    for copy in 0..COPIES {
        let fat = volume.fats.lba + copy * (volume.fats.sectors / COPIES);
        let entry = u32::try_from(next)?.to_le_bytes();
        image.write(fat * SECTOR + cluster * ENTRY, &entry)?;
    }
    Ok(())
}

/// The first cluster of the kernel, which is at least three clusters long.
fn kernel_cluster(image: &Image) -> Result<u64> {
    const FIRST: u64 = 2;

    let volume = image.inspect()?.volume.context("no file system")?;
    let sectors = image.first_sector(KERNEL)? - volume.data.lba;
    Ok(FIRST + sectors * SECTOR / u64::from(volume.cluster))
}

/// A kernel of one segment at the usual place, whose code begins with these bytes.
fn code(bytes: &[u8]) -> Elf {
    let mut kernel = Elf::halting();
    let code = &mut kernel.program_headers[0];
    code.data = bytes.to_vec();
    code.memory_size = bytes.len() as u64;
    kernel
}
