//! The outcomes of the checks.

use crate::report::say;

/// The checks so far.
pub struct Checks {
    pub failed: bool,
}

impl Checks {
    /// Notes the result of a check, and prints it if it failed.
    pub fn check(&mut self, what: &str, good: bool) {
        if !good {
            say!("FAILED: {what}");
        }
        self.failed |= !good;
    }
}
