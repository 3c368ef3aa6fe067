//! The outcome of a check.

use core::fmt::{self, Write};

use arrayvec::ArrayString;

/// What was found instead of what was promised. Longer texts are cut.
pub struct Facts(ArrayString<112>);

impl Facts {
    pub fn new(text: fmt::Arguments) -> Self {
        let mut facts = Self(ArrayString::new());
        let _ = facts.0.write_fmt(text); // text that does not fit is left out
        facts
    }
}

impl fmt::Display for Facts {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `Ok` if the promise was kept.
pub type Outcome = Result<(), Facts>;

/// Ends the check with these facts unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($facts:tt)+) => {
        if !$condition {
            return Err($crate::checks::outcome::Facts::new(format_args!($($facts)+)));
        }
    };
}
pub(super) use ensure;
