//! `./run.sh compare`: the same kernel by each loader.

use std::time::Duration;

use anyhow::{Result, ensure};
use disk_builder::image::find_kernel;
use disk_builder::run::EXIT_OKAY;
use disk_builder::stages;
use machine_tests::compare::{End, Outcome, Question, compare};
use machine_tests::linux::put;

/// Nothing here runs on and on.
const TIME_LIMIT: Duration = Duration::from_secs(120);

fn outcomes(bytes: &[u8]) -> Result<Vec<Outcome>> {
    let directory = tempfile::tempdir()?;
    compare(&Question {
        kernel: put(directory.path(), "kernel", bytes)?,
        modules: Vec::new(),
        command_line: "exit".into(),
        protocol: None,
        time_limit: TIME_LIMIT,
    })
}

/// A kernel for Multiboot 1 that all of them boot.
#[test]
fn all_boot_it() -> Result<()> {
    let kernel = find_kernel(Some(&stages::workspace().join("examples/multiboot-kernel")))?;
    for outcome in outcomes(&std::fs::read(kernel)?)? {
        ensure!(
            outcome.end == End::Reported(EXIT_OKAY.into()),
            "{outcome:?}"
        );
        ensure!(outcome.serial.contains("OKAY"), "{outcome:?}");
    }
    Ok(())
}

/// What is no kernel: an error with its code here, and no protocol there.
#[test]
fn nobody_boots_a_text() -> Result<()> {
    let outcomes = outcomes("this is no kernel\n".repeat(100).as_bytes())?;
    let [own, grub, qemu] = &outcomes[..] else {
        anyhow::bail!("{outcomes:?}");
    };
    let End::Refused(words) = &own.end else {
        anyhow::bail!("{own:?}");
    };
    ensure!(words.starts_with("error 10A: "), "{words}");
    for peer in [grub, qemu] {
        ensure!(matches!(peer.end, End::NoSuchProtocol(_)), "{peer:?}");
    }
    Ok(())
}

/// A header with addresses, for a flat file at 1 MiB, and code that ends in a triple fault.
fn without_handlers() -> Vec<u8> {
    const START: u32 = 0x10_0000;
    const MAGIC: u32 = 0x1BAD_B002;
    const HAS_ADDRESSES: u32 = 1 << 16;
    const HEADER_SIZE: u32 = 32;
    const CODE_SIZE: u32 = 16;

    let checksum = 0_u32.wrapping_sub(MAGIC).wrapping_sub(HAS_ADDRESSES);
    let end = START + HEADER_SIZE + CODE_SIZE;
    let entry = START + HEADER_SIZE;
    let header = [
        MAGIC,
        HAS_ADDRESSES,
        checksum,
        START,
        START,
        end,
        end,
        entry,
    ];
    let mut file: Vec<u8> = header.iter().flat_map(|word| word.to_le_bytes()).collect();
    let no_table = entry + 9;
    file.extend([0x0F, 0x01, 0x1D]); // lidt [no_table]
    file.extend(no_table.to_le_bytes());
    file.extend([0x0F, 0x0B]); // ud2
    file.extend([0; 7]);
    file
}

/// A crash is told as such, and the state of the CPU is that of the crash.
#[test]
fn a_triple_fault_is_named() -> Result<()> {
    for outcome in outcomes(&without_handlers())? {
        ensure!(outcome.end == End::TripleFault, "{outcome:?}");
        let cpu = outcome.cpu.as_ref();
        let here = cpu.is_some_and(|cpu| cpu.bits == 32 && cpu.ip == 0x10_0027);
        ensure!(here, "{outcome:?}");
    }
    Ok(())
}
