//! Why a step failed.

use core::fmt;

use boot_path::entry::entries::NoneBoots;
use boot_path::errors::catalogue::{Entry, Named};
use boot_path::files::error::Missing;
use boot_path::files::integrity::Damage;
use boot_path::machine::Machine as _;
use disk_layout::parts::Part;

use crate::machine::Machine;
use crate::machine::variables::Kept;

/// Any error of a step. The error itself stays in a variable, so that only a reference is passed
/// up.
pub struct Failure(Kept);

impl Failure {
    /// Shows the error, once its texts are there; if they cannot be read, why.
    fn show<T>(&self, show: impl FnOnce(&dyn Named) -> T) -> T {
        match self.part().map(|part| Machine.of_part(part, ())) {
            Some(Err(failure)) => show(&*failure.0),
            _ => show(&*self.0),
        }
    }
}

impl Named for Failure {
    fn entry(&self) -> &'static Entry {
        self.show(|error| error.entry())
    }

    fn part(&self) -> Option<Part> {
        self.0.part()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.show(|error| error.fmt(f))
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
