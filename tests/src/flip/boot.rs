//! Boots an image with a wrong bit, and finds out how it ends.

use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use disk_builder::run::{EXIT_OKAY, Ending};

use super::{BIOS, Flip, KERNEL, Outcome};
use crate::image::Image;
use crate::machine::{Machine, Running};

/// A boot takes a fraction of a second. If nothing is printed for this long, it is tried again,
/// with more time.
const TIME_LIMIT: Duration = Duration::from_secs(8);
const LAST_TIME_LIMIT: Duration = Duration::from_secs(60);

/// Both ways to compute checksums: by tables, and by the CPU's instruction.
pub(super) const CPUS: [&str; 2] = ["qemu64", "qemu64,+sse4.2"];

/// What the loader prints when it uses the second copy of something.
const BY_A_COPY: &str = " 8 files    by ";
/// What the loader prints last.
const HANDOFF: &str = "\n12 handoff  ";
/// What the kernel of Linux's protocol prints if its payload is damaged.
const BAD_PAYLOAD: &str = "FAILED payload";

/// Copies of an image, one for each machine that runs.
pub(super) struct Copies<'a> {
    image: &'a Image,
    free: Mutex<Vec<Image>>,
}

impl<'a> Copies<'a> {
    pub(super) fn new(image: &'a Image) -> Self {
        Self {
            image,
            free: Mutex::new(Vec::new()),
        }
    }

    /// Does something with a copy into which the wrong bit was written.
    fn with<T>(&self, flip: &Flip, work: impl FnOnce(&Image) -> Result<T>) -> Result<T> {
        let free = || self.free.lock().ok();
        let copy = free().and_then(|mut free| free.pop());
        let copy = copy.map_or_else(|| self.image.copy(), Ok)?;
        let byte = copy.read(flip.offset, 1)?[0];
        copy.write(flip.offset, &[byte ^ 1 << flip.bit])?;
        let result = work(&copy);
        // Only a copy that was restored is used again.
        if copy.write(flip.offset, &[byte]).is_ok()
            && let Some(mut free) = free()
        {
            free.push(copy);
        }
        result
    }
}

/// A machine with little for its BIOS to set up.
fn machine(image: &Image, cpu: &str) -> Machine {
    Machine::new(&image.path()).arguments(["-nodefaults", "-vga", "std", "-cpu", cpu])
}

/// The output of a good image.
///
/// # Errors
/// When its kernel is not content.
pub(super) fn transcript(image: &Image, cpu: &str) -> Result<String> {
    let mut running = machine(image, cpu).time_limit(LAST_TIME_LIMIT).start()?;
    let end = running.watch_for(|serial| error_code(serial).is_some())?;
    let serial = running.serial();
    ensure!(
        end == Some(Ending::Guest(EXIT_OKAY)),
        "{end:?} after\n{serial}"
    );
    Ok(serial)
}

/// Boots with the wrong bit. `transcript` is the output without it.
///
/// # Errors
/// When the machine cannot be run.
pub(super) fn boot(copies: &Copies<'_>, flip: &Flip, transcript: &str) -> Result<Outcome> {
    copies.with(flip, |image| {
        let machine = machine(image, CPUS[usize::from(flip.bit % 2)]);
        for limit in [TIME_LIMIT, LAST_TIME_LIMIT] {
            let mut running = machine.clone().time_limit(limit).start()?;
            let (outcome, is_over) = watch(&mut running, transcript)?;
            if is_over || limit == LAST_TIME_LIMIT || outcome.is_allowed(flip.region) {
                return Ok(outcome);
            }
        }
        Ok(Outcome::Hang)
    })
}

/// Watches a machine. Returns how it ended, and whether it did: it may only have been slow.
fn watch(running: &mut Running, transcript: &str) -> Result<(Outcome, bool)> {
    let end = running.watch_for(|serial| error_code(serial).is_some())?;
    let serial = running.serial();
    let outcome = outcome(running, end, serial, transcript)?;
    let named = matches!(outcome, Outcome::Named(_));
    Ok((outcome, named || end.is_some()))
}

fn outcome(
    running: &Running,
    end: Option<Ending>,
    serial: String,
    transcript: &str,
) -> Result<Outcome> {
    if let Some(code) = error_code(&serial) {
        // The loader has crashed, or the kernel has.
        let crashed = code.starts_with('5') || code == "12A";
        return Ok(match crashed {
            true => Outcome::Wrong(serial),
            false => Outcome::Named(code),
        });
    }
    Ok(match end {
        Some(Ending::Guest(EXIT_OKAY)) => {
            let is_copy = |line: &&str| line.starts_with(BY_A_COPY);
            let told = serial.lines().any(|line| is_copy(&line));
            let rest = serial.lines().filter(|line| !is_copy(line));
            match rest.eq(transcript.lines()) {
                true if told => Outcome::BootsByCopy,
                true => Outcome::Boots,
                false => Outcome::Wrong(serial),
            }
        }
        Some(Ending::Guest(_) | Ending::Failed(Some(_))) if serial.contains(BAD_PAYLOAD) => {
            Outcome::Named(KERNEL.to_owned())
        }
        // The loader has found no fault.
        _ if serial.contains(HANDOFF) => Outcome::Wrong(serial),
        Some(Ending::Closed) => Outcome::Reset,
        Some(_) => Outcome::Wrong(serial),
        None => {
            let screen = running.screen().context("nothing is to be seen")?;
            match screen.iter().any(|line| line == "No bootable device.") {
                true => Outcome::Named(BIOS.to_owned()),
                false => Outcome::Hang,
            }
        }
    })
}

/// The code of the loader's error, if all of the error was printed.
fn error_code(serial: &str) -> Option<String> {
    const STAGE1: [&str; 3] = ["1A ", "1B ", "1D "];
    let (_, rest) = serial.split_once("error ")?;
    // stage1's line ends with two digits, and nothing follows it.
    if STAGE1.iter().any(|code| rest.starts_with(code)) {
        return (rest.len() >= 5).then(|| rest[..2].to_owned());
    }
    let (code, facts) = rest.split_once(':')?;
    facts
        .contains("press a key to reboot")
        .then(|| code.to_owned())
}
