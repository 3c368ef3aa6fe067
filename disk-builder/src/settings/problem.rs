//! What is wrong with a file of settings: where, and the line itself.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Something that is wrong at a place of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// The line itself.
    pub text: String,
    /// Where in it, in characters.
    pub columns: Range<usize>,
    /// What is wrong.
    pub message: String,
}

impl Problem {
    /// What is wrong at these bytes of a file's text.
    pub fn new(file: &Path, text: &str, at: Range<usize>, message: String) -> Self {
        let before = text.get(..at.start).unwrap_or(text);
        let start = before.rfind('\n').map_or(0, |end| end + 1);
        let line = text[start..].split(['\r', '\n']).next().unwrap_or_default();
        let column = before[start..].chars().count();
        let end = at.end.min(start + line.len());
        let length = text
            .get(at.start..end)
            .map_or(0, |part| part.chars().count());
        Self {
            file: file.to_owned(),
            line: before.matches('\n').count() + 1,
            text: line.to_owned(),
            columns: column..column + length.max(1),
            message,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (line, file) = (self.line, self.file.display());
        writeln!(f, "{file}:{line}: {}", self.message)?;
        writeln!(f, "{line:>5} | {}", self.text)?;
        // A tab is as wide here as in the line above.
        let indent = self.text.chars().take(self.columns.start);
        let indent: String = indent.map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        write!(f, "{:>5} | {indent}{}", "", "^".repeat(self.columns.len()))
    }
}

impl std::error::Error for Problem {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_shown_with_the_place() {
        let text = "first\r\n\tkey = \"ä\" # more\r\nlast";
        let shown = |part: &str| {
            let start = text.find(part).unwrap();
            let at = start..start + part.len();
            Problem::new(Path::new("Cargo.toml"), text, at, "no".into()).to_string()
        };
        assert_eq!(
            shown("\"ä\""),
            "Cargo.toml:2: no\n    2 | \tkey = \"ä\" # more\n      | \t      ^^^"
        );
        assert_eq!(
            shown("last"),
            "Cargo.toml:3: no\n    3 | last\n      | ^^^^"
        );
        // A place that goes on in the next line, and one behind the end.
        assert_eq!(
            shown("first\r\n\tkey"),
            "Cargo.toml:1: no\n    1 | first\n      | ^^^^^"
        );
        let end = text.len()..text.len();
        let problem = Problem::new(Path::new("x"), text, end, "no".into());
        assert_eq!(problem.columns, 4..5);
    }
}
