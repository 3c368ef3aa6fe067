//! Why a step failed.

use core::fmt;

use boot_path::entry::entries::NoneBoots;
use boot_path::errors::catalogue::{Entry, Named};
use boot_path::files::error::Missing;
use boot_path::files::integrity::Damage;

use crate::machine::variables::Kept;

/// Any error of a step. The error itself stays in a variable, so that only a reference is passed
/// up.
pub struct Failure(Kept);

impl Named for Failure {
    fn entry(&self) -> &'static Entry {
        self.0.entry()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

macro_rules! failure {
    ($($error:ty)*) => {
        $(
            impl From<$error> for Failure {
                #[cold]
                #[inline(never)]
                fn from(error: $error) -> Self {
                    Self(Kept::new(error))
                }
            }
        )*
    };
}

boot_path::with_all_errors!(failure);
failure! {
    Missing<'static>
    Damage<'static>
    NoneBoots<'static>
}
