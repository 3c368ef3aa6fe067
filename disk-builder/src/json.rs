//! JSON that a terminal only shows.

use std::fmt::Write as _;

use anyhow::Result;
use boot_path::errors::text::is_harmful;
use serde::Serialize;

/// A value as JSON, for programs. Also safe on a terminal.
///
/// # Errors
/// None that is known.
pub fn pretty(value: &impl Serialize) -> Result<String> {
    Ok(shown(&serde_json::to_string_pretty(value)?))
}

/// JSON that is also safe on a terminal, which obeys more characters than JSON escapes. Its line ends
/// belong to the layout.
pub(crate) fn shown(json: &str) -> String {
    let mut shown = String::with_capacity(json.len());
    for c in json.chars() {
        // All other harmful characters are inside strings.
        if is_harmful(c) && c != '\n' {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a string cannot fail.
                let _ = write!(shown, "\\u{unit:04x}");
            }
        } else {
            shown.push(c);
        }
    }
    shown
}
