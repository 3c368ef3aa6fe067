//! `./run.sh flip [--kernel KIND] [COUNT] [SEED] [--no-checksums]`, or
//! `./run.sh flip --kernel KIND --at BYTE BIT`: wrong bits on the disk.
//!
//! Boots images with one wrong bit at a time, COUNT times for each kind of kernel, and shows how
//! these boots ended. With all kinds and at least the usual number of flips, it writes
//! `docs/bit-flips.md`. Without checksums it shows what they are good for, and fails. With `--at`
//! it boots with that one wrong bit and shows all output.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use disk_builder::stages;
use machine_tests::flip::{self, Flip, Journal, Kind, Outcome, Region, Subject};

/// About twenty for each region.
const COUNT: usize = 500;
const SEED: u64 = 1;

const USAGE: &str = "usage: ./run.sh flip [--kernel KIND] [COUNT] [SEED] [--no-checksums]
       ./run.sh flip --kernel KIND --at BYTE BIT";

/// What is to be done.
struct Options {
    kinds: Vec<Kind>,
    count: usize,
    seed: u64,
    checksums: bool,
    /// Only this bit of this byte of the disk.
    at: Option<(u64, u8)>,
}

impl Options {
    fn parse(arguments: impl Iterator<Item = String>) -> Result<Self> {
        let mut options = Self {
            kinds: Kind::ALL.to_vec(),
            count: COUNT,
            seed: SEED,
            checksums: true,
            at: None,
        };
        let mut numbers = Vec::new();
        let mut arguments = arguments;
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--no-checksums" => options.checksums = false,
                "--kernel" => {
                    let name = arguments.next().context("--kernel needs a KIND")?;
                    options.kinds = kinds(&name)?;
                }
                "--at" => {
                    let mut next =
                        || number(&arguments.next().context("--at needs a BYTE and a BIT")?);
                    options.at = Some((next()?, u8::try_from(next()?)?));
                }
                text => numbers.push(number(text)?),
            }
        }
        match numbers[..] {
            [] => {}
            [count] => options.count = usize::try_from(count)?,
            [count, seed] => (options.count, options.seed) = (usize::try_from(count)?, seed),
            _ => bail!("COUNT and SEED are all the numbers there are"),
        }
        ensure!(
            options.at.is_none() || options.kinds.len() == 1,
            "--at needs a --kernel"
        );
        Ok(options)
    }

    /// Whether the result is what the page shows.
    fn is_for_the_page(&self) -> bool {
        self.checksums && self.kinds == Kind::ALL && self.count >= COUNT
    }

    fn journal(&self, subject: &Subject) -> Result<Journal> {
        let kind = subject.kind.name();
        let target = std::env::var_os("CARGO_TARGET_DIR");
        let target = target.map_or_else(|| stages::workspace().join("target"), PathBuf::from);
        let path = target.join(format!("flip/{kind}"));
        let (count, seed) = (self.count, self.seed);
        let image = subject.fingerprint()?;
        Journal::open(
            &path,
            &format!("{count} flips of {kind} by seed {seed} in image {image:016x}"),
        )
    }
}

/// A number: decimal, or hexadecimal behind `0x`.
fn number(text: &str) -> Result<u64> {
    let number = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    number.with_context(|| format!("'{text}' is no number"))
}

/// The kinds that a word stands for.
fn kinds(name: &str) -> Result<Vec<Kind>> {
    if name == "all" {
        return Ok(Kind::ALL.to_vec());
    }
    let names: Vec<_> = Kind::ALL.iter().map(|kind| kind.name()).collect();
    let kind = Kind::from_name(name);
    let kind = kind.with_context(|| format!("KIND is all or one of {}", names.join(", ")))?;
    Ok(vec![kind])
}

/// A line for one boot.
fn show(number: usize, count: usize, flip: Flip, outcome: &Outcome) {
    let (region, offset, bit) = (flip.region.name(), flip.offset, flip.bit);
    let (said, serial) = match outcome {
        Outcome::Wrong(serial) => ("is wrong".to_owned(), serial.as_str()),
        other => (format!("{other:?}"), ""),
    };
    let bad = !outcome.is_allowed(flip.region);
    let mark = if bad { "WRONG " } else { "" };
    let mut text = format!("{number:4}/{count} {mark}{region}: byte {offset:#x} bit {bit}: {said}");
    if bad && !serial.is_empty() {
        text = format!("{text}\n{}", serial.trim_end());
    }
    // In one piece, because several boots end at once.
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

/// Boots with one wrong bit.
fn boot_one(kind: Kind, checksums: bool, (byte, bit): (u64, u8)) -> Result<ExitCode> {
    let subject = Subject::new(kind, checksums)?;
    let flip = subject.at(byte, bit);
    let flip = flip.with_context(|| format!("there is no bit {bit} of byte {byte:#x}"))?;
    let outcomes = subject.run(&[flip], None, |_, flip, outcome| show(1, 1, flip, outcome))?;
    Ok(match flip::failures(&[flip], &outcomes) {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

fn main() -> Result<ExitCode> {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("{error}\n{USAGE}");
            return Ok(ExitCode::from(2));
        }
    };
    if let Some(at) = options.at {
        return boot_one(options.kinds[0], options.checksums, at);
    }
    let count = options.count;
    let mut sections = Vec::new();
    let mut journals = Vec::new();
    let mut bad = 0;
    for &kind in &options.kinds {
        let subject = Subject::new(kind, options.checksums)?;
        let flips = subject.choose(&Region::ALL, count, options.seed);
        let journal = options.journal(&subject)?;
        let start = Instant::now();
        let done = AtomicUsize::new(journal.known());
        println!("{}: {} of {count} are known", kind.title(), journal.known());
        let outcomes = subject.run(&flips, Some(&journal), |_, flip, outcome| {
            let number = done.fetch_add(1, Ordering::Relaxed) + 1;
            show(number, count, flip, outcome);
        })?;
        let section = flip::section(&subject, &flips, &outcomes);
        let seconds = start.elapsed().as_secs_f64();
        println!("\n{section}\nseed {}, {seconds:.0} s\n", options.seed);
        bad += flip::failures(&flips, &outcomes);
        sections.push(section);
        journals.push(journal);
    }
    if bad == 0 && options.is_for_the_page() {
        let page = flip::page(&sections, count, options.seed);
        fs::write(stages::workspace().join("docs/bit-flips.md"), page)?;
    }
    for journal in journals {
        journal.delete()?;
    }
    if bad > 0 {
        println!("{bad} of {} failed", count * options.kinds.len());
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}
