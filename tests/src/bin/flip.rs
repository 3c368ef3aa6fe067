//! `./run.sh flip [COUNT] [SEED] [--no-checksums]`: wrong bits on the disk.
//!
//! Boots an image with one wrong bit at a time, COUNT times, and shows how these boots ended. With
//! the usual number of flips or more it writes `docs/bit-flips.md`. Without checksums it shows what
//! they are good for, and fails.

use std::fs;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use disk_builder::stages;
use machine_tests::flip::{self, Outcome, Subject};

/// 30 for each region.
const COUNT: usize = 600;
const SEED: u64 = 1;

fn main() -> Result<ExitCode> {
    let (flags, numbers): (Vec<_>, Vec<_>) = std::env::args()
        .skip(1)
        .partition(|argument| argument.starts_with('-'));
    let checksums = flags.is_empty();
    ensure!(
        (checksums || flags == ["--no-checksums"]) && numbers.len() <= 2,
        "flip [COUNT] [SEED] [--no-checksums]"
    );
    let number = |index: usize, default| match numbers.get(index) {
        Some(text) => text.parse().with_context(|| format!("{text} is no number")),
        None => Ok(default),
    };
    let count = usize::try_from(number(0, COUNT as u64)?)?;
    let seed = number(1, SEED)?;

    let start = Instant::now();
    let subject = Subject::new(checksums)?;
    let flips = subject.choose(count, seed);
    let outcomes = subject.run(&flips, |flip, outcome| {
        let allowed = outcome.is_good() || flip.region.may_hang();
        let (mark, said) = match outcome {
            Outcome::Wrong(serial) => ("WRONG", serial.as_str()),
            _ if allowed => ("", ""),
            _ => ("WRONG", ""),
        };
        let (region, offset, bit) = (flip.region.name(), flip.offset, flip.bit);
        let outcome = match outcome {
            Outcome::Wrong(_) => "boots wrongly".to_owned(),
            other => format!("{other:?}"),
        };
        println!("{mark:5} {region}: byte {offset:#x} bit {bit}: {outcome}");
        if !said.is_empty() {
            println!("{said}");
        }
    })?;
    let table = flip::table(&flips, &outcomes);
    println!(
        "\n{table}\nseed {seed}, {:.0} s",
        start.elapsed().as_secs_f64()
    );
    let bad = flip::failures(&flips, &outcomes);
    if bad > 0 {
        println!("{bad} of {count} failed");
        return Ok(ExitCode::FAILURE);
    }
    if checksums && count >= COUNT {
        let page = flip::page(&flips, &outcomes, seed);
        fs::write(stages::workspace().join("docs/bit-flips.md"), page)?;
    }
    Ok(ExitCode::SUCCESS)
}
