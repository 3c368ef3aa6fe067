//! What the checks end in.

use crate::report::say;

/// What was checked.
pub struct Checks {
    pub failed: bool,
}

impl Checks {
    /// Says what a check ends in, if it fails.
    pub fn check(&mut self, what: &str, good: bool) {
        if !good {
            say!("FAILED: {what}");
        }
        self.failed |= !good;
    }
}
