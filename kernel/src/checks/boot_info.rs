//! What BootInfo says: texts, modules, the disk, times, randomness.

// A text has a byte behind its end.
#![allow(unsafe_code)]

use handoff::BootInfo;

use super::Machine;
use super::outcome::{Facts, Outcome, ensure};
use crate::paging::PAGE;
use crate::time;

pub fn boot_info(machine: &Machine) -> Outcome {
    let boot = machine.boot;
    ensure!(
        boot.magic == handoff::BOOTPATH_MAGIC,
        "magic {:#x}",
        boot.magic
    );
    ensure!(
        boot.version == handoff::BOOTPATH_VERSION,
        "version {}",
        boot.version
    );
    ensure!(
        boot.size as usize == size_of::<BootInfo>(),
        "{} bytes",
        boot.size
    );
    ensure!(!boot.loader().is_empty(), "no name of the loader");
    for text in [&boot.loader, &boot.command_line] {
        ensure!(
            terminated(text),
            "a text of {} bytes is not well-formed",
            text.length
        );
    }
    ensure!(
        boot.kernel.slide.is_multiple_of(PAGE),
        "slide {:#x}",
        boot.kernel.slide
    );
    let entry = boot.kernel.entry;
    let own = crate::entry::record_registers as *const () as u64;
    ensure!(entry == own, "entry {entry:#x}, not {own:#x}");
    Ok(())
}

pub fn modules(machine: &Machine) -> Outcome {
    let boot = machine.boot;
    for module in boot.modules() {
        let path = module.path.as_str();
        ensure!(
            terminated(&module.path) && terminated(&module.string),
            "texts of {path}"
        );
        let (start, physical) = (module.start as u64, module.physical_start);
        ensure!(physical.is_multiple_of(PAGE), "{path} at {physical:#x}");
        ensure!(
            start == boot.physical_map_base + physical,
            "{path} at {start:#x}"
        );
    }
    Ok(())
}

/// Whether a text is UTF-8 and a zero byte follows it.
fn terminated(text: &handoff::Text) -> bool {
    // SAFETY: the contract promises the text and the byte behind it.
    let end = unsafe { text.start.add(text.length as usize).read() };
    end == 0 && text.as_str().len() as u64 == text.length
}

pub fn boot_disk(machine: &Machine) -> Outcome {
    let disk = &machine.boot.boot_disk;
    if disk.sector_size == 0 {
        // Another loader brought everything: there was no disk.
        let numbers = [
            disk.partition_lba,
            disk.partition_sectors,
            disk.reads.into(),
        ];
        let bytes = [disk.drive, disk.bios_drive, disk.partition];
        ensure!(
            numbers == [0; 3] && bytes == [0; 3] && disk.signature == 0,
            "no disk, but {numbers:?}, {bytes:?}"
        );
        return Ok(());
    }
    ensure!(disk.partition_sectors > 0, "the partition is empty");
    ensure!(
        disk.partition == 0 || disk.partition_lba > 0,
        "the partition begins at LBA 0"
    );
    let size = disk.sector_size;
    ensure!(
        size.is_power_of_two() && size >= 512,
        "sectors of {size} bytes"
    );
    ensure!(disk.reads > 0, "no reads");
    Ok(())
}

pub fn timeline(machine: &Machine) -> Outcome {
    // The stamps of such a CPU are 0, or whatever it has there.
    if !time::has_counter() {
        return Ok(());
    }
    let mut last = 0;
    for step in 1..=time::STEPS.len() {
        let Some(ticks) = machine.boot.time_of_step(step) else {
            return Err(Facts::new(format_args!("step {step} was not taken")));
        };
        ensure!(
            ticks >= last,
            "step {step} at {ticks}, the one before at {last}"
        );
        last = ticks;
    }
    let entry = machine.registers.time;
    ensure!(
        entry >= last,
        "the handoff was at {last}, the kernel's first instruction at {entry}"
    );
    Ok(())
}

pub fn random_seed(machine: &Machine) -> Outcome {
    let seed = &machine.boot.random_seed;
    ensure!(
        seed.iter().any(|byte| byte != &seed[0]),
        "all bytes are {:#04x}",
        seed[0]
    );
    Ok(())
}
