//! Why the path stopped.

use std::fmt;

use boot_path::entry::entries::NoneBoots;
use boot_path::errors::catalogue::{Entry, Named, Report};
use boot_path::files::error::Missing;
use boot_path::files::integrity::Damage;

/// Any error of the path.
pub struct Failure<'h> {
    error: Box<dyn Named + 'h>,
    variant: String,
}

impl Failure<'_> {
    /// Names the error: its type, and its variant, or the variant of its cause or role.
    pub fn variant(&self) -> &str {
        &self.variant
    }
}

/// The name of a variant, from the name of the error's type and its `Debug` text.
fn variant(of: &str, debug: &str) -> String {
    let of = of.split('<').next().unwrap_or_default();
    let name = of.rsplit([':', ' ']).next().unwrap_or_default();
    let inner = match debug.strip_prefix(name) {
        None => debug,
        Some(fields) => ["cause: ", "role: "]
            .iter()
            .find_map(|field| Some(fields.split_once(field)?.1))
            .unwrap_or_default(),
    };
    let end = inner.find(|c: char| !c.is_alphanumeric());
    match inner.split_at(end.unwrap_or(inner.len())).0 {
        "" => name.to_owned(),
        inner => format!("{name}::{inner}"),
    }
}

impl Named for Failure<'_> {
    fn entry(&self) -> &'static Entry {
        self.error.entry()
    }
}

impl fmt::Display for Failure<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
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
                    let variant = variant(stringify!($error), &format!("{error:?}"));
                    Self { error: Box::new(error), variant }
                }
            }
        )*
    };
}

boot_path::with_all_errors!(failure);
failure! {
    Missing<'h>
    Damage<'h>
    NoneBoots<'h>
}
