//! `./run.sh verdicts [COUNT] [SEED]`, or `./run.sh verdicts --image NAME [SEED]`: whether the host
//! and a machine agree on which images boot.
//!
//! Boots COUNT of the images that a SEED makes, and compares what the machine does with what the
//! loader's path, `inspect` and `build` say on the host. With `--image` it makes one of them,
//! leaves it in `target/verdict.img`, and shows what is said about it.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use disk_builder::stages;
use machine_tests::verdicts::{self, Answer, Case, Cases, Comparison};

const COUNT: usize = 100;
const SEED: u64 = 0;

const USAGE: &str = "usage: ./run.sh verdicts [COUNT] [SEED]
       ./run.sh verdicts --image NAME [SEED]";

/// What is to be done.
struct Options {
    count: usize,
    seed: u64,
    /// Only the image of this name.
    image: Option<String>,
}

impl Options {
    fn parse(arguments: impl Iterator<Item = String>) -> Result<Self> {
        let mut options = Self {
            count: COUNT,
            seed: SEED,
            image: None,
        };
        let mut numbers = Vec::new();
        let mut arguments = arguments;
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--image" => options.image = Some(arguments.next().context("which image?")?),
                text => numbers.push(
                    text.parse::<u32>()
                        .with_context(|| format!("'{text}' is no number"))?,
                ),
            }
        }
        match (&options.image, &numbers[..]) {
            (_, []) => {}
            (None, [count]) => options.count = *count as usize,
            (None, [count, seed]) => {
                (options.count, options.seed) = (*count as usize, (*seed).into());
            }
            (Some(_), [seed]) => options.seed = (*seed).into(),
            _ => bail!("there are too many numbers"),
        }
        ensure!(options.count > 0, "COUNT is 0");
        Ok(options)
    }
}

/// What became of an image, in a few words.
fn outcome(comparison: &Comparison) -> String {
    match &comparison.answer {
        Answer::HandsOver if comparison.has_run => "boots, and its kernel reports success".into(),
        Answer::HandsOver => "boots".into(),
        Answer::Refuses(report) => report.clone(),
        Answer::NothingToBoot => "the BIOS finds nothing to boot".into(),
        Answer::Else(serial) => format!("neither boots nor is refused:\n{}", serial.trim_end()),
    }
}

/// A line for one image; more, if something is wrong with it.
fn text_of(case: &Case, comparison: &Comparison, seed: u64) -> String {
    let name = &case.name;
    let mut text = format!("{name}: {}", outcome(comparison));
    for fault in &comparison.faults {
        text = format!("{text}\n  WRONG  {fault}");
    }
    if !comparison.faults.is_empty() {
        text = format!("{text}\n  again: ./run.sh verdicts --image '{name}' {seed}");
    }
    text
}

/// Makes one image, keeps it and boots it.
fn one(cases: &Cases, case: &Case, seed: u64) -> Result<usize> {
    let made = cases.make(case)?;
    let target = std::env::var_os("CARGO_TARGET_DIR");
    let target = target.map_or_else(|| stages::workspace().join("target"), PathBuf::from);
    let path = target.join("verdict.img");
    fs::copy(made.path(), &path).with_context(|| format!("cannot write {}", path.display()))?;
    let comparison = verdicts::compare(case, &made)?;
    println!("{}", text_of(case, &comparison, seed));
    match &comparison.verdict.refusal {
        Some(refusal) => println!("the path: {} ({})", refusal.report, refusal.error),
        None => println!("the path: it boots"),
    }
    println!("the image: {}", path.display());
    Ok(comparison.faults.len())
}

/// Boots some of all images.
fn some(cases: &Cases, count: usize, seed: u64) -> Result<usize> {
    let start = Instant::now();
    let chosen = verdicts::choose(&cases.all, count, seed, |case| {
        verdicts::is_refused(&cases.make(case)?)
    })?;
    let count = chosen.len();
    let done = AtomicUsize::new(0);
    let comparisons = verdicts::compare_all(cases, &chosen, |case, comparison| {
        let number = done.fetch_add(1, Ordering::Relaxed) + 1;
        // In one piece, because several boots end at once.
        println!("{number:4}/{count} {}", text_of(case, comparison, seed));
    })?;
    let wrong = comparisons.iter().filter(|it| !it.faults.is_empty());
    let wrong = wrong.count();
    let is_refused =
        |it: &&Comparison| matches!(it.answer, Answer::Refuses(_) | Answer::NothingToBoot);
    let refused = comparisons.iter().filter(is_refused).count();
    let seconds = start.elapsed().as_secs_f64();
    let agree = match wrong {
        0 => "all agree".into(),
        _ => format!("{wrong} DISAGREE"),
    };
    println!("{count} images booted, {refused} refused, {agree}; seed {seed}, {seconds:.0} s");
    Ok(wrong)
}

/// Reports a mistake in the command line.
fn wrong_usage(error: &anyhow::Error) -> ExitCode {
    eprintln!("{error}\n{USAGE}");
    ExitCode::from(2)
}

fn main() -> Result<ExitCode> {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(error) => return Ok(wrong_usage(&error)),
    };
    let cases = Cases::new(options.seed)?;
    let wrong = match &options.image {
        Some(name) => match cases.find(name) {
            Ok(case) => one(&cases, case, options.seed)?,
            Err(error) => return Ok(wrong_usage(&error)),
        },
        None => some(&cases, options.count, options.seed)?,
    };
    Ok(match wrong {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}
