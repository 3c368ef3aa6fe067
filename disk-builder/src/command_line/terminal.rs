//! What a terminal shows, and a log does not: colour and progress.

use std::ffi::OsString;
use std::fmt::Display;
use std::io::{self, Write};
use std::rc::Rc;

use anstream::ColorChoice;
use anstyle::{AnsiColor, Style};
use boot_path::errors::catalogue::{self, Entry};
use clap::ValueEnum;
use disk_builder::inspect::Styles;
use disk_builder::progress::{self, Progress};

/// When there is colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set; CLICOLOR_FORCE=1: elsewhere, too.
    #[default]
    Auto,
    /// Everywhere.
    Always,
    /// Nowhere.
    Never,
}

impl Color {
    /// From now on, it is so for all that this program prints.
    pub fn apply(self) {
        let choice = match self {
            Self::Auto => ColorChoice::Auto,
            Self::Always => ColorChoice::Always,
            Self::Never => ColorChoice::Never,
        };
        choice.write_global();
    }

    /// What a command line says of it that has not been parsed yet: help and errors of the parser
    /// have colour, too.
    pub fn wanted(arguments: impl Iterator<Item = OsString>) -> Self {
        let mut wanted = Self::default();
        let mut arguments = arguments.take_while(|argument| argument != "--");
        while let Some(argument) = arguments.next() {
            let text = argument.to_string_lossy();
            let value = match text.strip_prefix("--color") {
                Some("") => arguments.next().unwrap_or_default(),
                Some(value) => value.trim_start_matches('=').into(),
                None => continue,
            };
            if let Ok(color) = Self::from_str(&value.to_string_lossy(), false) {
                wanted = color;
            }
        }
        wanted
    }
}

/// How errors look.
const ERROR: Style = AnsiColor::Red.on_default().bold();

/// How headings of a help look: as clap's own.
pub const HEADING: Style = Style::new().bold().underline();

/// How commands look in a help: as clap's own.
pub const COMMAND: Style = Style::new().bold();

/// How an inspection looks.
pub const INSPECTION: Styles = Styles {
    good: AnsiColor::Green.on_default(),
    warning: AnsiColor::Yellow.on_default(),
    problem: ERROR,
};

/// Says on standard error what went wrong. If that cannot be written, the exit status still says that
/// something did.
pub fn complain(what: impl Display) {
    let _ = writeln!(anstream::stderr(), "{ERROR}disk-builder:{ERROR:#} {what}");
}

/// Says on standard error what to try about the loader's errors in a text.
pub fn advise(text: &str) {
    for row in catalogue::ALL {
        let Entry { code, advice, .. } = row.entry;
        if text.contains(&format!("error {code}: ")) {
            let _ = writeln!(anstream::stderr(), "  {advice}");
        }
    }
}

/// Standard output, whose errors say what they are about.
pub struct Output;

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        io::stdout().write(bytes).map_err(of_output)
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stdout().flush().map_err(of_output)
    }
}

/// An error of standard output that says so.
pub fn of_output(error: io::Error) -> io::Error {
    let text = format!("cannot write to standard output: {error}");
    io::Error::new(error.kind(), text)
}

/// Who shows what goes on: nobody, unless there is a terminal and it is wanted.
pub fn progress(is_wanted: bool) -> Rc<dyn Progress> {
    #[cfg(feature = "cli-extras")]
    if is_wanted && io::IsTerminal::is_terminal(&io::stderr()) {
        return Rc::new(super::bar::Bar::default());
    }
    let _ = is_wanted;
    progress::silent()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parser_knows_what_is_wanted_before_it_parses() {
        let wanted = |line: &str| Color::wanted(line.split(' ').map(OsString::from));
        assert_eq!(wanted("build --nope"), Color::Auto);
        assert_eq!(wanted("build --color=never --nope"), Color::Never);
        assert_eq!(wanted("--color always build"), Color::Always);
        assert_eq!(wanted("--color always --color=auto"), Color::Auto);
        assert_eq!(wanted("build --color=red"), Color::Auto);
        assert_eq!(wanted("build --color"), Color::Auto);
        assert_eq!(wanted("run k -- --color=always"), Color::Auto);
    }
}
