//! Why the path stopped.

use std::fmt;

use boot_path::errors::catalogue::{Entry, Named, Report};
use boot_path::files::error::Missing;
use boot_path::files::integrity::Damage;

/// Any error of the path.
pub struct Failure<'h>(Box<dyn Named + 'h>);

impl Named for Failure<'_> {
    fn entry(&self) -> &'static Entry {
        self.0.entry()
    }
}

impl fmt::Display for Failure<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Failure<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Report(self), f)
    }
}

macro_rules! failure {
    ($($error:ty)*) => {
        $(
            impl<'h> From<$error> for Failure<'h> {
                fn from(error: $error) -> Self {
                    Self(Box::new(error))
                }
            }
        )*
    };
}

boot_path::with_all_errors!(failure);
failure! {
    Missing<'h>
    Damage<'h>
}
