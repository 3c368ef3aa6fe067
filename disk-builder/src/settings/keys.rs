//! The keys that there are, and what each of them takes.

/// What a key takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A text.
    Text,
    /// An amount of memory, as QEMU has it.
    Size,
    /// How many.
    Count,
    /// A time.
    Seconds,
    /// Yes or no.
    Switch,
    /// Several texts.
    Texts,
    /// Files that are loaded besides the kernel.
    Modules,
    /// The settings for tests.
    Table,
}

impl Kind {
    /// What a value has to be, in words.
    pub const fn takes(self) -> &'static str {
        match self {
            Self::Text => "a string",
            Self::Size => "a string such as \"512M\" or \"2G\"",
            Self::Count => "a whole number from 1 on",
            Self::Seconds => "a whole number of seconds from 1 on",
            Self::Switch => "true or false",
            Self::Texts => "an array of strings",
            Self::Modules => {
                "an array of files: strings, or tables with `file`, `text` and `packed`"
            }
            Self::Table => "a table",
        }
    }
}

/// A key of the settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// What it is good for: its row in docs/testing-kernels.md.
    pub meaning: &'static str,
}

const fn key(name: &'static str, kind: Kind, meaning: &'static str) -> Key {
    Key {
        name,
        kind,
        meaning,
    }
}

/// The table of tests, whose keys are the others.
pub const TEST: &str = "test";

/// All keys, in the order in which the manual has them.
pub const KEYS: [Key; 12] = [
    key("cmdline", Kind::Text, "the kernel's command line"),
    key(
        "modules",
        Kind::Modules,
        "files to load besides the kernel, from the folder of the Cargo.toml on",
    ),
    key(
        "memory",
        Kind::Size,
        "the size of the machine's memory; without it, 256M",
    ),
    key("cpus", Kind::Count, "how many CPUs it has; without it, one"),
    key("cpu", Kind::Text, "the model of its CPUs, as QEMU takes it"),
    key("machine", Kind::Text, "QEMU's machine; without it, q35"),
    key("cd", Kind::Switch, "boot from a CD drive"),
    key("usb", Kind::Switch, "connect the drive by USB"),
    key("qemu-args", Kind::Texts, "further arguments of QEMU"),
    key(
        "timeout",
        Kind::Seconds,
        "end it after so many seconds, with status 13; without it, a test has 60",
    ),
    key(
        "display",
        Kind::Switch,
        "show the screen in a window; for a test, only if its own table says so",
    ),
    key(TEST, Kind::Table, "the same keys, for tests only"),
];

/// The keys of a module that is a table.
pub const MODULE_KEYS: [Key; 3] = [
    key("file", Kind::Text, "the file"),
    key("text", Kind::Text, "a text that the kernel gets with it"),
    key(
        "packed",
        Kind::Switch,
        "do not unpack it, even if it is compressed by gzip",
    ),
];

/// The name that somebody has meant, if it is near enough to be a slip.
pub fn nearest(written: &str, keys: &[Key]) -> Option<&'static str> {
    let written = written.to_lowercase().replace('_', "-");
    let distance = |name| strsim::damerau_levenshtein(&written, name);
    // Of two that are as near, the one that is as long: letters change places more often.
    let near = keys.iter().map(|Key { name, .. }| {
        let longer = name.len().abs_diff(written.len());
        (distance(name), longer, *name)
    });
    let (distance, _, name) = near.min()?;
    (distance <= (name.len() / 3).max(1)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_understood_and_other_words_are_not() {
        for (written, meant) in [
            ("modlues", "modules"),
            ("module", "modules"),
            ("qemu_args", "qemu-args"),
            ("QEMU-ARGS", "qemu-args"),
            ("time-out", "timeout"),
            ("cpsu", "cpus"),
            ("tests", "test"),
        ] {
            assert_eq!(nearest(written, &KEYS), Some(meant), "{written}");
        }
        for written in ["run-command", "x", "", "kernel"] {
            assert_eq!(nearest(written, &KEYS), None, "{written}");
        }
    }
}
