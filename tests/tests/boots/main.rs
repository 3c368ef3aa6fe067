//! Good images of all kinds boot, and so do machines that have small faults. `machines.rs` boots
//! the same image on many kinds of machines.

mod volumes;
mod kernels;
mod handoff;
mod bioses;
mod screen;

use anyhow::{Result, ensure};
use disk_builder::run::{EXIT_OKAY, Ending};
use machine_tests::machine::Machine;
use machine_tests::sums::crc32;

/// Checks that all of these are in the transcript.
fn contains(transcript: &str, expected: &[&str]) -> Result<()> {
    for text in expected {
        ensure!(transcript.contains(text), "no {text:?} in\n{transcript}");
    }
    Ok(())
}

/// Boots a demo kernel that says `exit`, and returns its transcript.
fn okay(machine: &Machine) -> Result<String> {
    let mut running = machine.start()?;
    let transcript = running.wait_for("OKAY")?;
    let ending = running.wait()?;
    ensure!(
        ending == Ending::Guest(EXIT_OKAY),
        "{ending:?}\n{transcript}"
    );
    ensure!(!transcript.contains("FAILED"), "{transcript}");
    Ok(transcript)
}
