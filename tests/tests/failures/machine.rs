//! Machines that cannot boot, and BIOSes that fail while they are called.

use anyhow::{Context as _, Result};
use machine_tests::elf::{Elf, ProgramHeader, R, W};
use machine_tests::image::{Defect, Image, bad_bios};
use machine_tests::machine::{Disk, Machine};

use crate::{ELSEWHERE, SECTOR, fails};

#[test]
fn cpus_that_are_not_64_bit() -> Result<()> {
    let image = Image::demo()?;
    for (cpu, code) in [
        ("486", "3B"),
        ("pentium", "3B"),
        ("pentium3", "3B"),
        ("qemu32", "3B"),
        ("n270", "3B"),
    ] {
        fails(
            &Machine::new(&image.path())
                .disk(Disk::Ide)
                .arguments(["-cpu", cpu]),
            code,
            &[],
        )
        .context(cpu)?;
    }
    Ok(())
}

/// A BIOS call ends in an exception. The report names it, and says that it was in the BIOS's own
/// code.
#[test]
fn exceptions_in_a_bios_call() -> Result<()> {
    for (defect, fact) in [
        (Defect::DivideError, ": vector 00h at C"),
        (Defect::InvalidOpcode, ": vector 06h at C"),
        (Defect::GeneralProtection, ": vector 0Dh at C"),
    ] {
        let rom = bad_bios(&[defect])?;
        let image = Image::demo()?;
        let machine = Machine::new(&image.path()).disk(Disk::Ide);
        let machine = machine.arguments(["-option-rom".as_ref(), rom.path()]);
        fails(&machine, "4A", &[fact]).with_context(|| format!("{defect:?}"))?;
    }
    Ok(())
}

/// The gate's code raises an exception on the way to the BIOS, in protected mode, or on the way
/// back, in real mode. The control registers are then only half those of long mode, and the BIOS,
/// which has to print the report, needs its own values.
#[test]
fn exceptions_between_two_modes() -> Result<()> {
    const WRMSR: [u8; 2] = [0x0F, 0x30];
    const UD2: [u8; 2] = [0x0F, 0x0B];
    const PAGE: usize = 4096;

    let rom = bad_bios(&[Defect::WatchesControl])?;
    let image = Image::demo()?;
    // The gate's WRMSRs are the first in stage2: one on each way.
    let page = image.read(SECTOR, PAGE)?;
    let places: Vec<u64> = (0..PAGE)
        .filter(|&place| page[place..].starts_with(&WRMSR))
        .map(|place| SECTOR + place as u64)
        .take(2)
        .collect();
    for place in places {
        image.write(place, &UD2)?;
        image.mend_stage2_checksums()?;
        let machine = Machine::new(&image.path()).disk(Disk::Ide);
        let machine = machine.arguments(["-option-rom".as_ref(), rom.path()]);
        fails(&machine, "4A", &[": vector 06h at "]).with_context(|| format!("{place:#x}"))?;
        image.write(place, &WRMSR)?;
    }
    Ok(())
}

#[test]
fn too_little_memory() -> Result<()> {
    let bss = ProgramHeader::load(R | W, ELSEWHERE, Vec::new(), 64 << 20);
    let kernel = Elf::halting().with(bss);
    let image = Image::with_kernel(&kernel.build())?;
    fails(
        &Machine::new(&image.path()).arguments(["-m", "32M"]),
        "6B",
        &["66 MiB needed", "31 MiB of RAM"],
    )
}
