//! Step 9: `/loader/loader.conf`, the settings that apply to all entries.

use crate::entry::entry_file::{self, EntryFileCause, EntryFileError};
use crate::errors::text::decimal;
use crate::machine::Consoles;

/// A checked `/loader/loader.conf`. The default is the empty file. Other keys than these are
/// ignored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoaderConf<'a> {
    default_entry: Option<&'a str>,
    timeout: Option<Timeout>,
    console: Option<Consoles>,
}

/// How long to wait for the user's choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timeout {
    /// This many seconds; 0: do not wait, and show nothing.
    Seconds(u32),
    /// For ever.
    Forever,
}

impl<'a> LoaderConf<'a> {
    /// Checks the file. Returns the valid settings, and the first error.
    pub fn parse(bytes: &'a [u8]) -> (Self, Option<EntryFileError>) {
        match entry_file::text(bytes) {
            Ok(text) => Self::read_lines(entry_file::lines(text)),
            Err(error) => (Self::default(), Some(error)),
        }
    }

    /// The same for its lines, which are iterated over once. The last value of a key counts.
    pub fn read_lines(lines: impl Iterator<Item = &'a str>) -> (Self, Option<EntryFileError>) {
        let mut conf = Self::default();
        let mut first = None;
        for (line, content) in (1..).zip(lines) {
            if let Some(cause) = entry_file::beyond_limits(content) {
                return (Self::default(), Some(EntryFileError { line, cause }));
            }
            let (key, value) = entry_file::key_and_value(content);
            let value = entry_file::unquoted(value);
            let is_there = !value.is_empty();
            let cause = match key {
                "default" if is_there => {
                    conf.default_entry = Some(value);
                    continue;
                }
                TIMEOUT => {
                    let read = timeout(value);
                    if is_there {
                        conf.timeout = read;
                    }
                    read.is_none().then_some(EntryFileCause::Timeout)
                }
                CONSOLE => {
                    let read = consoles(value);
                    if is_there {
                        conf.console = read;
                    }
                    read.is_none().then_some(EntryFileCause::Console)
                }
                _ => continue,
            };
            first = first.or(cause.map(|cause| EntryFileError { line, cause }));
        }
        (conf, first)
    }

    /// The pattern that selects the default entry: `*`, `?` and `[a-z]` are special, the case of
    /// ASCII letters is ignored.
    pub fn default_entry(&self) -> Option<&'a str> {
        self.default_entry
    }

    /// How long to wait for the user's choice.
    pub fn timeout(&self) -> Option<Timeout> {
        self.timeout
    }

    /// Where the loader prints messages that are not errors.
    pub fn console(&self) -> Option<Consoles> {
        self.console
    }
}

const TIMEOUT: &str = "timeout";
const CONSOLE: &str = "console";

fn consoles(value: &str) -> Option<Consoles> {
    let (serial, screen) = match value {
        "both" => (true, true),
        "serial" => (true, false),
        "screen" => (false, true),
        "none" => (false, false),
        _ => return None,
    };
    Some(Consoles { serial, screen })
}

fn timeout(value: &str) -> Option<Timeout> {
    match value {
        "menu-force" => Some(Timeout::Forever),
        "menu-hidden" | "menu-disabled" => Some(Timeout::Seconds(0)),
        _ => decimal(value).map(Timeout::Seconds),
    }
}
