//! Changes of the sources, as a page shows them: a diff without line numbers, which would soon be
//! wrong. The lines around a change determine its place.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};

/// A change of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// Its path in the repository.
    pub file: String,
    hunks: Vec<Hunk>,
}

/// Lines, and the lines that replace them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Hunk {
    before: Vec<String>,
    after: Vec<String>,
}

impl Edit {
    /// Reads a diff: `--- a/FILE`, `+++ b/FILE`, and before each hunk a line `@@`.
    ///
    /// # Errors
    /// When it is not a diff, or changes nothing.
    pub fn read(text: &str) -> Result<Self> {
        let mut lines = text.lines();
        let mut name = |start: &str| lines.next().and_then(|line| line.strip_prefix(start));
        let (old, new) = (name("--- a/"), name("+++ b/"));
        let file = old.filter(|_| old == new);
        let file = file.context("a change begins with `--- a/FILE` and `+++ b/FILE`")?;
        let mut hunks: Vec<Hunk> = Vec::new();
        for line in lines {
            if line == "@@" {
                hunks.push(Hunk::default());
                continue;
            }
            let hunk = hunks.last_mut().context("no `@@` in front of the lines")?;
            let (sign, text) = line.split_at_checked(1).unwrap_or((" ", ""));
            match sign {
                " " => {
                    hunk.before.push(text.to_owned());
                    hunk.after.push(text.to_owned());
                }
                "-" => hunk.before.push(text.to_owned()),
                "+" => hunk.after.push(text.to_owned()),
                _ => bail!("{line:?} begins neither with a blank nor with - or +"),
            }
        }
        let real = |hunk: &Hunk| !hunk.before.is_empty() && hunk.before != hunk.after;
        ensure!(
            !hunks.is_empty() && hunks.iter().all(real),
            "a change without a line to change, or without one that says where"
        );
        Ok(Self {
            file: file.to_owned(),
            hunks,
        })
    }

    /// Makes the change in the sources at `root`.
    ///
    /// # Errors
    /// When its lines do not occur in the file, or occur more than once.
    pub fn apply(&self, root: &Path) -> Result<()> {
        let path = root.join(&self.file);
        let text = fs::read_to_string(&path).with_context(|| format!("no {}", self.file))?;
        let changed = self.changed(&text).with_context(|| self.file.clone())?;
        fs::write(&path, changed)?;
        Ok(())
    }

    fn changed(&self, text: &str) -> Result<String> {
        let mut lines: Vec<&str> = text.lines().collect();
        for hunk in &self.hunks {
            let length = hunk.before.len();
            let mut places = lines
                .windows(length)
                .enumerate()
                .filter(|(_, window)| *window == hunk.before)
                .map(|(place, _)| place);
            let shown = hunk.before.join("\n");
            let place = places.next();
            let place = place.with_context(|| format!("there are no such lines:\n{shown}"))?;
            ensure!(
                places.next().is_none(),
                "these lines are there more than once:\n{shown}"
            );
            lines.splice(place..place + length, hunk.after.iter().map(String::as_str));
        }
        Ok(lines.join("\n") + "\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_changed_where_they_are() -> Result<()> {
        let edit = Edit::read("--- a/x/y\n+++ b/x/y\n@@\n two\n+2.5\n@@\n-four\n \n+5\n")?;
        assert_eq!(edit.file, "x/y");
        assert_eq!(
            edit.changed("one\ntwo\nthree\nfour\n\n")?,
            "one\ntwo\n2.5\nthree\n\n5\n"
        );
        for (text, message) in [
            ("two\nfour\n", "there are no such lines:\nfour\n"),
            (
                "two\ntwo\nfour\n\n",
                "these lines are there more than once:\ntwo",
            ),
        ] {
            assert_eq!(format!("{:#}", edit.changed(text).unwrap_err()), message);
        }
        Ok(())
    }

    #[test]
    fn what_changes_nothing_is_refused() {
        for text in [
            "",
            "@@\n-a\n+b\n",
            "--- a/x\n+++ b/y\n@@\n-a\n+b\n",
            "--- a/x\n+++ b/x\n-a\n+b\n",
            "--- a/x\n+++ b/x\n",
            "--- a/x\n+++ b/x\n@@\n a\n",
            "--- a/x\n+++ b/x\n@@\n+a\n",
            "--- a/x\n+++ b/x\n@@\n a\n?b\n",
            "--- a/x\n+++ b/x\n@@\n-a\n@@ -1 +1 @@\n",
        ] {
            assert!(Edit::read(text).is_err(), "{text:?}");
        }
    }
}
