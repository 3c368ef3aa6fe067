//! What can be written to an entry file so that reading it returns the same.

use core::fmt;

use crate::entry::entry_file::{BLANK, MAX_LINE, MODULE, OPTIONS, split_at_variable, unquoted};

/// Why a string cannot be written to the file so that reading returns the same string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unwritable {
    /// A line end or NUL.
    Control,
    /// Blanks at the start or at the end, which reading removes; in a path, a blank anywhere.
    Blank,
    /// The line would have more than [`MAX_LINE`] bytes.
    TooLong,
    /// Quotation marks around it, or a word like `$name`, which reading removes.
    Removed,
    /// An empty string where one is required.
    Empty,
}

impl fmt::Display for Unwritable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Control => f.write_str("a line cannot have a line end or a NUL in it"),
            Self::Blank => f.write_str(
                "blanks at the start or the end, or anywhere in a module's path, would be lost",
            ),
            Self::TooLong => write!(f, "a line has at most {MAX_LINE} bytes"),
            Self::Removed => {
                f.write_str("quotation marks around it, and words like $name, would be lost")
            }
            Self::Empty => f.write_str("nothing is there"),
        }
    }
}

impl core::error::Error for Unwritable {}

/// Checks that reading the line `options TEXT` returns `text`.
///
/// # Errors
/// [`Unwritable`]: why not.
pub fn check_options(text: &str) -> Result<(), Unwritable> {
    if unquoted(text) != text || split_at_variable(text).0 != text {
        return Err(Unwritable::Removed);
    }
    check_value(OPTIONS.len() + 1, text)
}

/// Checks that reading the line `KEY VALUE` returns `value`, for every key except `module`.
///
/// # Errors
/// [`Unwritable`]: why not.
pub fn check_line(key: &str, value: &str) -> Result<(), Unwritable> {
    if value.is_empty() {
        return Err(Unwritable::Empty);
    }
    if unquoted(value) != value {
        return Err(Unwritable::Removed);
    }
    check_value(key.len() + 1, value)
}

/// Checks that reading the line `module PATH STRING` returns `path` and `string`.
///
/// # Errors
/// [`Unwritable`]: why not.
pub fn check_module(path: &str, string: &str) -> Result<(), Unwritable> {
    if path.is_empty() {
        return Err(Unwritable::Empty);
    }
    if path.contains(BLANK) {
        return Err(Unwritable::Blank);
    }
    check_value(0, path)?;
    check_value(MODULE.len() + 1 + path.len() + 1, string)
}

fn check_value(before: usize, text: &str) -> Result<(), Unwritable> {
    if text.contains(['\n', '\r', '\0']) {
        Err(Unwritable::Control)
    } else if text.starts_with(BLANK) || text.ends_with(BLANK) {
        Err(Unwritable::Blank)
    } else if before + text.len() > MAX_LINE {
        Err(Unwritable::TooLong)
    } else {
        Ok(())
    }
}
