//! How a run went: for people, a summary of each test at its end; for programs, JSON.

mod line;

use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::rc::Rc;
use std::time::Instant;

use anyhow::{Context as _, Result};
use boot_path::errors::text::Shown;

use crate::progress::Progress;
use crate::run::{Event, Options, Outcome, Serial, Status, run_with};
use crate::settings::Settings;
use line::Line;

/// How many lines of a failed test are shown again.
const LAST_LINES: usize = 10;
/// What is longer is cut in pieces: a kernel that prints no line end must not fill our memory.
const LONGEST_LINE: usize = 64 * 1024;

/// How to run, and to tell of it.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Standard output is a JSON object a line, and nothing else.
    pub json: bool,
    /// The Cargo.toml that has the settings; `None`: see [`Settings::find`].
    pub manifest: Option<PathBuf>,
}

impl Report {
    /// Boots a kernel or an image, as the settings of its package say it. `options` go before the
    /// settings. What [`test_name`] knows for a test is run as one, and standard error gets a summary
    /// of it: with `quiet`, only if it failed. `progress` is told how the kernel's image is built.
    ///
    /// # Errors
    /// Those of [`Settings::read`] and of [`run_with`]. They are told to programs, too.
    pub fn run(&self, mut options: Options, progress: &Rc<dyn Progress>) -> Result<Outcome> {
        let test = test_name(&options.file);
        let is_test = test.is_some();
        let name = test.unwrap_or_else(|| name(&options.file));
        let file = options.file.clone();
        let mut teller = Teller::new(&name, &file, is_test, self.json);
        teller.is_quiet = options.quiet;
        let outcome = self.settings(&options).and_then(|settings| {
            settings.complete(&mut options, is_test);
            if !is_test && !self.json {
                return run_with(&options, Serial::Inherited, progress);
            }
            if self.json {
                let settings = settings.manifest.as_deref();
                teller.json(&Line::started(&name, is_test, &options, settings));
            }
            let mut tell = |event: Event<'_>| teller.take(event);
            run_with(
                &options,
                Serial::Told(Stdio::inherit(), &mut tell),
                progress,
            )
        });
        teller.end(outcome.as_ref().map_err(|error| format!("{error:#}")));
        outcome
    }

    fn settings(&self, options: &Options) -> Result<Settings> {
        match &self.manifest {
            None => Settings::find(&options.file),
            Some(manifest) => Settings::read(manifest)?.with_context(|| {
                let manifest = manifest.display();
                format!("{manifest} has no settings: no table `package.metadata.bootpath`")
            }),
        }
    }
}

/// The name of a test that cargo has built, by the name of its file: cargo adds a hash to that of a
/// test, but not to that of a program for `cargo run`.
pub fn test_name(file: &Path) -> Option<String> {
    let (name, hash) = file.file_name()?.to_str()?.rsplit_once('-')?;
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let is_hash = hash.len() == 16 && hash.bytes().all(is_digit);
    (is_hash && !name.is_empty()).then(|| name.to_owned())
}

fn name(file: &Path) -> String {
    let name = file.file_stem().unwrap_or(file.as_os_str());
    name.to_string_lossy().into_owned()
}

/// Tells what happens, while it happens.
struct Teller<'a> {
    name: &'a str,
    file: &'a Path,
    is_test: bool,
    json: bool,
    /// A test that is all right needs no word.
    is_quiet: bool,
    /// When QEMU was started.
    start: Option<Instant>,
    /// What came of a line that has not ended yet.
    partial: Vec<u8>,
    /// The last lines of a test.
    last: VecDeque<Vec<u8>>,
}

impl<'a> Teller<'a> {
    fn new(name: &'a str, file: &'a Path, is_test: bool, json: bool) -> Self {
        Self {
            name,
            file,
            is_test,
            json,
            is_quiet: false,
            start: None,
            partial: Vec::new(),
            last: VecDeque::new(),
        }
    }

    /// Seconds since QEMU was started, with as many digits as mean something.
    fn seconds(&self) -> f64 {
        let seconds = self
            .start
            .map_or(0.0, |start| start.elapsed().as_secs_f64());
        (seconds * 1000.0).round() / 1000.0
    }

    fn json(&self, line: &Line<'_>) {
        // If nobody reads it, the run goes on: its status is the answer.
        let _ = writeln!(io::stdout(), "{}", line.to_json());
    }

    fn take(&mut self, event: Event<'_>) {
        let bytes = match event {
            Event::Started => {
                self.start = Some(Instant::now());
                return;
            }
            Event::Serial(bytes) => bytes,
        };
        if !self.json {
            let mut stdout = io::stdout().lock();
            let _ = stdout.write_all(bytes).and_then(|()| stdout.flush());
        }
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            self.partial.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                self.line(true);
            } else if self.partial.len() >= LONGEST_LINE {
                self.line(false);
            }
        }
    }

    /// A line is there, or as much of it as is taken at once.
    fn line(&mut self, complete: bool) {
        let line = std::mem::take(&mut self.partial);
        let end = line.strip_suffix(b"\n").unwrap_or(&line);
        let end = end.strip_suffix(b"\r").unwrap_or(end);
        if self.json {
            self.json(&Line::serial(self.seconds(), end, complete));
        }
        self.last.push_back(end.to_owned());
        if self.last.len() > LAST_LINES {
            self.last.pop_front();
        }
    }

    /// The run is over: this came of it, or that was in its way.
    fn end(&mut self, outcome: Result<&Outcome, String>) {
        let seconds = self.seconds();
        let is_partial = !self.partial.is_empty();
        if is_partial {
            self.line(false);
        }
        if self.is_test {
            // They are there already, if both go to a terminal.
            let is_shown = !self.json && io::stdout().is_terminal() && io::stderr().is_terminal();
            let mut summary = String::new();
            if is_shown && is_partial {
                summary.push('\n');
            }
            // Writing to a string cannot fail.
            let _ = self.summary(
                &mut summary,
                seconds,
                outcome.as_ref().ok().copied(),
                is_shown,
            );
            // If nobody reads it, the exit status is the answer.
            let _ = write!(io::stderr(), "{summary}");
        }
        if self.json {
            self.json(&Line::ended(self.name, self.file, seconds, outcome));
        }
    }

    /// What a person wants to know of a test. Without an outcome, the reason is printed elsewhere.
    fn summary(
        &self,
        out: &mut String,
        seconds: f64,
        outcome: Option<&Outcome>,
        is_shown: bool,
    ) -> fmt::Result {
        let name = Shown::new(self.name);
        let Some(outcome) = outcome else {
            return writeln!(out, "test {name} ... FAILED: nothing was booted");
        };
        if outcome.status() == Status::Success {
            if self.is_quiet {
                return Ok(());
            }
            return writeln!(out, "test {name} ... ok, {seconds:.1} s");
        }
        if !is_shown && !self.last.is_empty() {
            writeln!(out, "test {name} printed at last:")?;
            for line in &self.last {
                writeln!(out, "    {}", Shown::new(line))?;
            }
        }
        writeln!(out, "test {name} ... FAILED, {seconds:.1} s: {outcome}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_names_tests_with_a_hash() {
        let name = |file: &str| test_name(Path::new(file));
        assert_eq!(
            name("t/debug/deps/boots-0123456789abcdef").as_deref(),
            Some("boots")
        );
        assert_eq!(name("deps/a-b-0123456789abcdef").as_deref(), Some("a-b"));
        for file in [
            "t/debug/my-kernel",
            "t/debug/deps/boots",
            "-0123456789abcdef",
            "boots-0123456789abcde",
            "boots-0123456789ABCDEF",
            "boots-0123456789abcdeg",
            "boots-0123456789abcdef.img",
            "..",
        ] {
            assert_eq!(name(file), None, "{file}");
        }
    }

    fn teller(lines: &[u8]) -> Teller<'static> {
        let mut teller = Teller::new("boots", Path::new("boots"), true, false);
        for piece in lines.split_inclusive(|&byte| byte == b'\n') {
            teller.partial.extend_from_slice(piece);
            teller.line(piece.ends_with(b"\n"));
        }
        teller
    }

    fn summary(teller: &Teller<'_>, outcome: Option<&Outcome>, is_shown: bool) -> String {
        let mut summary = String::new();
        teller
            .summary(&mut summary, 1.26, outcome, is_shown)
            .unwrap();
        summary
    }

    #[test]
    fn a_summary_says_what_a_person_wants_to_know() {
        let numbers: String = (1..=12).map(|number| format!("{number}\r\n")).collect();
        let mut teller = teller(format!("{numbers}\x1b[2Jend").as_bytes());
        let good = summary(&teller, Some(&Outcome::Reported(0x10)), false);
        assert_eq!(good, "test boots ... ok, 1.3 s\n");
        teller.is_quiet = true;
        assert_eq!(summary(&teller, Some(&Outcome::Reported(0x10)), false), "");
        let bad = Outcome::Reported(0x11);
        let why =
            "test boots ... FAILED, 1.3 s: the kernel reported failure: it wrote 11h to port F4h\n";
        assert_eq!(summary(&teller, Some(&bad), true), why);
        let shown = summary(&teller, Some(&bad), false);
        let lines: Vec<_> = shown.lines().collect();
        assert_eq!(lines[..2], ["test boots printed at last:", "    4"]);
        assert_eq!(
            lines[9..],
            ["    12", "    \\x1B[2Jend", why.trim_end()],
            "{shown}"
        );
        let none = summary(&teller, None, false);
        assert_eq!(none, "test boots ... FAILED: nothing was booted\n");
    }
}
