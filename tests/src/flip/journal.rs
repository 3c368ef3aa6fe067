//! A file with what was found out so far: an interrupted run continues where it was.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::{Context as _, Result};

use super::Outcome;

/// The outcomes of the flips of one image that have been tried, by their numbers. The first line of
/// the file says what they belong to: a journal of anything else is started anew.
pub struct Journal {
    path: PathBuf,
    file: Mutex<File>,
    known: BTreeMap<usize, Outcome>,
}

impl Journal {
    /// Opens the journal of what `subject` describes.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn open(path: &Path, subject: &str) -> Result<Self> {
        let cannot = || format!("cannot write {}", path.display());
        let old = fs::read_to_string(path).unwrap_or_default();
        let mut lines = old.split_inclusive('\n');
        let head = format!("{subject}\n");
        let mut text = head.clone();
        let mut known = BTreeMap::new();
        if lines.next() == Some(&head) {
            // The last line may be cut short.
            for (line, (number, outcome)) in lines.filter_map(|line| Some((line, parse(line)?))) {
                text += line;
                known.insert(number, outcome);
            }
        }
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory).with_context(cannot)?;
        }
        fs::write(path, &text).with_context(cannot)?;
        let file = OpenOptions::new().append(true).open(path);
        Ok(Self {
            path: path.to_owned(),
            file: Mutex::new(file.with_context(cannot)?),
            known,
        })
    }

    /// How many outcomes it had when it was opened.
    pub fn known(&self) -> usize {
        self.known.len()
    }

    /// The outcome of a flip, if it had one when it was opened.
    pub fn get(&self, number: usize) -> Option<Outcome> {
        self.known.get(&number).cloned()
    }

    /// Adds an outcome.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put(&self, number: usize, outcome: &Outcome) -> Result<()> {
        let Ok(mut file) = self.file.lock() else {
            return Ok(()); // another thread has panicked while it was writing
        };
        let cannot = || format!("cannot write {}", self.path.display());
        writeln!(file, "{number} {}", text_of(outcome)).with_context(cannot)
    }

    /// Deletes the journal, when everything was reported.
    ///
    /// # Errors
    /// When the file cannot be deleted.
    pub fn delete(self) -> Result<()> {
        let cannot = || format!("cannot delete {}", self.path.display());
        fs::remove_file(&self.path).with_context(cannot)
    }
}

/// An outcome on one line.
fn text_of(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Boots => "boots".to_owned(),
        Outcome::BootsByCopy => "copy".to_owned(),
        Outcome::Named(code) => format!("named {code}"),
        Outcome::Hang => "hang".to_owned(),
        Outcome::Reset => "reset".to_owned(),
        Outcome::Wrong(serial) => format!("wrong {serial:?}"),
    }
}

/// Parses a complete line of the journal.
fn parse(line: &str) -> Option<(usize, Outcome)> {
    let (number, text) = line.strip_suffix('\n')?.split_once(' ')?;
    let outcome = match text.split_once(' ').unwrap_or((text, "")) {
        ("boots", "") => Outcome::Boots,
        ("copy", "") => Outcome::BootsByCopy,
        ("named", code) => Outcome::Named(code.to_owned()),
        ("hang", "") => Outcome::Hang,
        ("reset", "") => Outcome::Reset,
        ("wrong", serial) => Outcome::Wrong(serial.to_owned()),
        _ => return None,
    };
    Some((number.parse().ok()?, outcome))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_goes_on_where_it_was() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("journals/one");
        let journal = Journal::open(&path, "this one")?;
        journal.put(7, &Outcome::Named("10Q".into()))?;
        journal.put(2, &Outcome::Wrong("two\r\nlines".into()))?;
        journal.put(3, &Outcome::BootsByCopy)?;
        drop(journal);
        // The run was interrupted in the middle of a line.
        let text = fs::read_to_string(&path)?;
        fs::write(&path, text + "9 boots")?;

        let journal = Journal::open(&path, "this one")?;
        assert_eq!(journal.known(), 3);
        assert_eq!(journal.get(7), Some(Outcome::Named("10Q".into())));
        assert!(matches!(journal.get(2), Some(Outcome::Wrong(_))));
        assert_eq!(journal.get(3), Some(Outcome::BootsByCopy));
        assert_eq!(journal.get(9), None);
        journal.put(9, &Outcome::Hang)?;
        assert_eq!(Journal::open(&path, "this one")?.known(), 4);

        let other = Journal::open(&path, "another one")?;
        assert_eq!(other.known(), 0);
        other.delete()?;
        assert!(!path.exists());
        Ok(())
    }
}
