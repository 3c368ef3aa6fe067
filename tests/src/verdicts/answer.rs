//! What a machine does with an image, and whether that is what the host said about it.

use std::cell::Cell;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use boot_path::errors::text::Escaping;
use disk_builder::run::{EXIT_OKAY, Ending};

use super::cases::{Case, Cases, Made};
use super::verdict::{Verdict, judge, path_says};
use crate::machine::{ERROR, Machine, OFFER};
use crate::parallel;

/// A boot takes a fraction of a second. If nothing is printed for this long, it is tried again,
/// with more time.
const TIME_LIMIT: Duration = Duration::from_secs(10);
const LAST_TIME_LIMIT: Duration = Duration::from_secs(60);
/// How long a kernel may take to end the machine. Many never do, because their code is arbitrary.
const OF_A_KERNEL: Duration = Duration::from_secs(1);

/// The end of free memory on the machine below: SeaBIOS uses the last part of its 256 MiB.
const MEMORY_END: u64 = 0x0FFD_F000;

/// What the loader prints last.
const HANDOFF: &str = "12 handoff  ";

/// What a machine does with an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The loader hands over.
    HandsOver,
    /// The loader prints this error.
    Refuses(String),
    /// The BIOS finds nothing to boot.
    NothingToBoot,
    /// Something that no image may cause; with the output on the serial line.
    Else(String),
}

/// What was said about an image, and what it did.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// What the host said.
    pub verdict: Verdict,
    /// What the machine did.
    pub answer: Answer,
    /// Whether the kernel then reported success.
    pub has_run: bool,
    /// The differences: each a sentence.
    pub faults: Vec<String>,
}

/// Boots an image and compares the result with what the host says about it.
///
/// # Errors
/// When the image cannot be read, or the machine cannot be run.
pub fn compare(case: &Case, made: &Made) -> Result<Comparison> {
    let verdict = judge(case, made)?;
    let expected = expected(&made.path())?;
    let (mut answer, mut has_run) = boot(&made.path(), TIME_LIMIT)?;
    if matches!(answer, Answer::Else(_)) {
        (answer, has_run) = boot(&made.path(), LAST_TIME_LIMIT)?;
    }
    let mut faults = verdict.faults.clone();
    if answer != expected {
        faults.push(format!("the machine: {answer:?}; the path: {expected:?}"));
    }
    Ok(Comparison {
        verdict,
        answer,
        has_run,
        faults,
    })
}

/// Makes images, boots them and compares, several at once. `report` is called for each result.
///
/// # Errors
/// When an image cannot be made, or a machine cannot be run.
pub fn compare_all(
    cases: &Cases,
    chosen: &[&Case],
    report: impl Fn(&Case, &Comparison) + Sync,
) -> Result<Vec<Comparison>> {
    let compare = |case: &&Case| {
        let comparison = cases.make(case).and_then(|made| compare(case, &made));
        let comparison = comparison.with_context(|| case.name.clone())?;
        report(case, &comparison);
        Ok(comparison)
    };
    parallel::each(chosen, compare).into_iter().collect()
}

/// What the machine should do according to the loader's path on the host.
fn expected(image: &Path) -> Result<Answer> {
    const SIGNATURE: u64 = 510;

    let mut signature = [0; 2];
    File::open(image)?.read_exact_at(&mut signature, SIGNATURE)?;
    if signature != [0x55, 0xAA] {
        return Ok(Answer::NothingToBoot);
    }
    let refusal = path_says(image, |pc| pc.up_to(MEMORY_END))?;
    Ok(refusal.map_or(Answer::HandsOver, |refusal| {
        Answer::Refuses(as_printed(&refusal.report))
    }))
}

/// A report as the loader prints it, without what must not get from an image to a terminal.
fn as_printed(report: &str) -> String {
    use std::fmt::Write as _;

    let mut line = String::new();
    // Writing to a string cannot fail.
    let _ = Escaping::lines(&mut line).write_str(report);
    line
}

/// Boots an image. Returns what it does, and whether a kernel reported success.
///
/// # Errors
/// When the machine cannot be run.
pub fn boot(image: &Path, time_limit: Duration) -> Result<(Answer, bool)> {
    // A CPU with the same features as the host's PC.
    let machine = Machine::new(image).arguments(["-nodefaults", "-vga", "std", "-cpu", "max"]);
    let mut running = machine.time_limit(time_limit).start()?;
    let handed_over = Cell::new(None);
    let end = running.watch_for(|serial| {
        let now = Instant::now();
        if serial.lines().any(|line| line.starts_with(HANDOFF)) && handed_over.get().is_none() {
            handed_over.set(Some(now));
        }
        let waited = handed_over.get().map(|since| now - since);
        serial.contains(OFFER) || waited.is_some_and(|waited| waited >= OF_A_KERNEL)
    })?;
    let serial = running.serial();
    if end.is_none() && serial.is_empty() {
        let screen = running.screen().context("nothing is to be seen")?;
        if screen.iter().any(|line| line == "No bootable device.") {
            return Ok((Answer::NothingToBoot, false));
        }
    }
    let has_run = end == Some(Ending::Guest(EXIT_OKAY));
    Ok((answer(serial), has_run))
}

/// The meaning of the output on the serial line.
fn answer(serial: String) -> Answer {
    let hands_over = |line: &&str| line.starts_with(HANDOFF);
    let report = serial.lines().find(|line| line.starts_with(ERROR));
    let is_over = serial.contains(OFFER);
    match (serial.lines().find(hands_over), report) {
        (Some(_), None) => Answer::HandsOver,
        // The kernel has crashed, but not the loader.
        (Some(_), Some(report)) if report.starts_with("error 12A: ") => Answer::HandsOver,
        (None, Some(report)) if is_over => Answer::Refuses(report.trim_end().to_owned()),
        _ => Answer::Else(serial),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_told_by_its_lines() {
        let lines = |lines: &[&str]| lines.iter().map(|line| format!("{line}\r\n")).collect();
        let [hands_over, refuses] = ["12 handoff  to 100000h", "error 10A: it is no ELF file"];
        let [step, crash] = ["10 kernel   ELF64", "error 5A: a CPU exception: vector 6"];
        let of_kernel = "error 12A: the kernel has crashed: vector 6";
        let answer = |of: &[&str]| answer(lines(of));
        let none = |of: &[&str]| Answer::Else(lines(of));

        assert_eq!(answer(&[step, hands_over]), Answer::HandsOver);
        let crashed = [step, hands_over, of_kernel, OFFER];
        assert_eq!(answer(&crashed), Answer::HandsOver);
        let refused = Answer::Refuses(refuses.to_owned());
        assert_eq!(answer(&[step, refuses, "advice", OFFER]), refused);

        // The loader has not ended, or not in an allowed way.
        for wrong in [
            &[][..],
            &[step],
            &[step, refuses],
            &[step, hands_over, crash, OFFER],
            &[step, hands_over, refuses, OFFER],
        ] {
            assert_eq!(answer(wrong), none(wrong));
        }
    }
}
