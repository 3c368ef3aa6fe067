//! The outcomes of the checks.

use core::sync::atomic::{AtomicBool, Ordering};

use crate::report::say;

/// Whether a check has failed.
pub static FAILED: AtomicBool = AtomicBool::new(false);

/// Prints the outcome of a check.
pub fn check(what: &str, good: bool) {
    if !good {
        FAILED.store(true, Ordering::Relaxed);
    }
    say!("check {what}: {}", if good { "ok" } else { "FAILED" });
}

/// A number with a bit set for each item that is wrong.
pub fn bits(wrong: &[bool]) -> u64 {
    wrong
        .iter()
        .enumerate()
        .fold(0, |bits, (bit, &wrong)| bits | u64::from(wrong) << bit)
}
