//! Step 9: which of several entries to boot.
//!
//! `/loader/loader.conf` names the default entry, as systemd-boot's does. The files in
//! `/loader/entries` are the entries, in the order of the Boot Loader Specification (UAPI.1,
//! "Sorting" and "Boot counting").

use core::cmp::Ordering;
use core::fmt;

use arrayvec::ArrayVec;

use crate::entry::entry_file::{self, EntryFileCause, EntryFileError, KernelEntry};
use crate::entry::version;
use crate::errors::catalogue::{self, Entry, Named};
use crate::errors::text::{decimal, facts, split_last};

pub use crate::entry::loader_conf::{LoaderConf, Timeout};
pub use crate::entry::pattern::{MAX_PATTERN, matches};

/// The directory of the entries.
pub const DIRECTORY: &str = "/loader/entries";

/// The file that names the default entry.
pub const PATH_LOADER: &str = "/loader/loader.conf";

/// The suffix of entries' names, in upper or lower case.
const SUFFIX: &str = ".conf";

/// The most entries. Those further back in the directory are left out.
pub const MAX_ENTRIES: usize = 64;

/// The most files that are read to find entries; files that turn out not to be entries count as
/// well. Those further back are left out.
pub const MAX_CANDIDATES: usize = 4 * MAX_ENTRIES;

/// The most files that are left out with a message each that names file and reason.
pub const MAX_NAMED: u32 = 8;

/// Is a file in [`DIRECTORY`] an entry? Names that begin with a point are those of hidden files,
/// which some systems write beside each file.
pub fn is_entry(name: &str) -> bool {
    !name.starts_with('.') && stem(name).len() < name.len()
}

/// The name of an entry's file without the suffix.
pub fn stem(name: &str) -> &str {
    let parts = name.split_at_checked(name.len().saturating_sub(SUFFIX.len()));
    match parts {
        Some((stem, suffix)) if suffix.eq_ignore_ascii_case(SUFFIX) => stem,
        _ => name,
    }
}

/// An entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item<'a> {
    // Nothing else is stored, since there may be many entries: the rest follows from the name.
    /// Path of its file.
    pub path: &'a str,
    /// Its contents.
    pub text: KernelEntry<'a>,
}

/// Boot counters: `+LEFT-DONE` at the end of a name. The loader does not update them, since it
/// never writes to the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tries {
    /// How many more times it may be tried; 0: it is bad.
    pub left: u32,
    /// How many times it was tried.
    pub done: u32,
}

impl Tries {
    /// Removes the counters from a name without suffix.
    fn split(stem: &str) -> (&str, Option<Self>) {
        let parts = || {
            let (id, counters) = split_last(stem, b'+')?;
            let (left, done) = split_last(counters, b'-').unwrap_or((counters, "0"));
            let (left, done) = (decimal(left)?, decimal(done)?);
            Some((id, Self { left, done }))
        };
        parts().map_or((stem, None), |(id, tries)| (id, Some(tries)))
    }
}

impl<'a> Item<'a> {
    /// Checks an entry. `None`: it is for machines of another kind.
    ///
    /// # Errors
    /// [`EntryFileError`]: why it cannot be booted.
    pub fn new(path: &'a str, bytes: &'a [u8]) -> Result<Option<Self>, EntryFileError> {
        let text = entry_file::parse(bytes)?;
        if text.is_for_others() {
            return Ok(None);
        }
        if text.kernel().is_none() && text.chain().is_none() {
            return Err(EntryFileError {
                line: 0,
                cause: EntryFileCause::NoKernel,
            });
        }
        Ok(Some(Self { path, text }))
    }

    /// The name of its file.
    pub fn name(&self) -> &'a str {
        split_last(self.path, b'/').map_or(self.path, |(_, name)| name)
    }

    /// Its name without suffix and counters, and the boot counters, if there are any.
    fn id_and_tries(&self) -> (&'a str, Option<Tries>) {
        Tries::split(stem(self.name()))
    }

    /// The boot counters in its name, if there are any.
    pub fn tries(&self) -> Option<Tries> {
        self.id_and_tries().1
    }

    /// Was it tried as often as allowed, and never with success?
    pub fn is_bad(&self) -> bool {
        is_bad(self.tries())
    }

    /// Does the pattern of `loader.conf` match its name without counters, with or without the
    /// suffix?
    fn matches(&self, pattern: &str) -> bool {
        let (id, _) = self.id_and_tries();
        matches(pattern, id, "") || matches(pattern, id, SUFFIX)
    }

    /// Which entry comes first.
    pub fn compare(&self, other: &Self) -> Ordering {
        let (text, other_text) = (&self.text, &other.text);
        let by_key = match (text.sort_key(), other_text.sort_key()) {
            (Some(one), Some(another)) => one
                .cmp(another)
                .then_with(|| text.machine_id().cmp(&other_text.machine_id()))
                .then_with(|| {
                    let [one, another] = [text, other_text].map(|text| text.version());
                    newer(one.unwrap_or(""), another.unwrap_or(""))
                }),
            (one, another) => another.is_some().cmp(&one.is_some()),
        };
        // Entries that are equal so far differ in the counters, or in the case of letters.
        let ((id, tries), (other_id, other_tries)) = (self.id_and_tries(), other.id_and_tries());
        let by_tries = || match (tries, other_tries) {
            (Some(one), Some(another)) => another
                .left
                .cmp(&one.left)
                .then(one.done.cmp(&another.done)),
            (one, another) => one.is_some().cmp(&another.is_some()),
        };
        is_bad(tries)
            .cmp(&is_bad(other_tries))
            .then(by_key)
            .then_with(|| newer(id, other_id))
            .then_with(by_tries)
            .then_with(|| self.path.cmp(other.path))
    }
}

fn is_bad(tries: Option<Tries>) -> bool {
    tries.is_some_and(|tries| tries.left == 0)
}

/// The higher version comes first.
fn newer(one: &str, another: &str) -> Ordering {
    version::compare(another, one)
}

/// All bootable entries, in their order. (The type has several KiB.)
#[derive(Debug)]
pub struct Entries<'a> {
    items: ArrayVec<Item<'a>, MAX_ENTRIES>,
    /// Files that were read.
    read: usize,
    /// Files that are left out, though they are meant as entries.
    skipped: u32,
    /// Those of them that get no message of their own, and the message for the first of these.
    unnamed: u32,
    first_unnamed: ArrayVec<Warning<'a>, 1>,
    /// Entries for machines of another kind.
    hidden: u32,
}

impl<'a> Entries<'a> {
    /// No entries.
    pub const fn new() -> Self {
        Self {
            items: ArrayVec::new_const(),
            read: 0,
            skipped: 0,
            unnamed: 0,
            first_unnamed: ArrayVec::new_const(),
            hidden: 0,
        }
    }

    /// The reason not to read any more files, if there is one.
    pub fn full(&self) -> Option<EntryFileError> {
        let cause = if self.items.is_full() {
            EntryFileCause::TooManyEntries
        } else if self.read >= MAX_CANDIDATES {
            EntryFileCause::TooManyFiles
        } else {
            return None;
        };
        Some(EntryFileError { line: 0, cause })
    }

    /// Adds the entry in a file, if it is for machines of this kind. Returns a warning if it is
    /// left out; the others are not affected.
    #[must_use]
    pub fn add(&mut self, path: &'a str, bytes: &'a [u8]) -> Option<Warning<'a>> {
        self.add_by(path, bytes, &mut Item::compare)
    }

    /// As [`add`](Self::add), with another function in the place of [`Item::compare`], which may
    /// count.
    #[must_use]
    pub fn add_by(
        &mut self,
        path: &'a str,
        bytes: &'a [u8],
        compare: &mut dyn FnMut(&Item<'a>, &Item<'a>) -> Ordering,
    ) -> Option<Warning<'a>> {
        if let Some(error) = self.full() {
            return self.skip(path, error);
        }
        match Item::new(path, bytes) {
            Ok(None) => self.hidden = self.hidden.saturating_add(1),
            Ok(Some(item)) => {
                // Behind the entries that come first, and behind its equals.
                let place = self
                    .items
                    .partition_point(|other| compare(other, &item).is_le());
                // There is room: `full` has checked it.
                let _ = self.items.try_insert(place, item);
            }
            Err(error) => return self.skip(path, error),
        }
        self.read += 1;
        None
    }

    /// Counts a file that is left out. Returns a warning, or nothing if it is one of too many.
    #[must_use]
    pub fn skip(&mut self, path: &'a str, error: EntryFileError) -> Option<Warning<'a>> {
        let warning = Warning {
            path,
            cause: WarningCause::Skipped { error, more: 0 },
        };
        self.read += 1;
        self.skipped = self.skipped.saturating_add(1);
        // These errors apply to all later files too, so one message is enough.
        let same =
            [EntryFileCause::TooManyEntries, EntryFileCause::TooManyFiles].contains(&error.cause);
        if self.skipped - self.unnamed <= MAX_NAMED && !same {
            return Some(warning);
        }
        self.unnamed += 1;
        let _ = self.first_unnamed.try_push(warning); // if it is the first one
        None
    }

    /// The number of files left out so far without a message.
    pub fn unnamed(&self) -> u32 {
        self.unnamed
    }

    /// One warning about all of those, for the end.
    pub fn rest(&self) -> Option<Warning<'a>> {
        let Warning { path, cause } = *self.first_unnamed.first()?;
        let WarningCause::Skipped { error, .. } = cause else {
            return None;
        };
        let more = self.unnamed.saturating_sub(1);
        let cause = WarningCause::Skipped { error, more };
        Some(Warning { path, cause })
    }

    /// Was the directory empty, even of files that were left out?
    pub fn is_empty(&self) -> bool {
        self.items.is_empty() && self.skipped == 0 && self.hidden == 0
    }

    /// The entries in their order.
    pub fn items(&self) -> &[Item<'a>] {
        &self.items
    }

    /// The first entry that the pattern matches; else, or without a pattern, the first of all. A
    /// pattern of more than [`MAX_PATTERN`] bytes matches none.
    ///
    /// # Errors
    /// [`NoEntry`], when there is none.
    pub fn choose<'p>(&self, pattern: Option<&'p str>) -> Result<Choice<'a, 'p>, NoEntry> {
        let sane = pattern.filter(|pattern| pattern.len() <= MAX_PATTERN);
        let wanted = sane.and_then(|pattern| {
            let mut items = self.items.iter();
            items.find(|item| item.matches(pattern))
        });
        let item = wanted.or(self.items.first()).ok_or(NoEntry {
            skipped: self.skipped,
            hidden: self.hidden,
        })?;
        Ok(Choice {
            item: *item,
            unmatched: pattern.filter(|_| wanted.is_none()),
        })
    }
}

impl Default for Entries<'_> {
    fn default() -> Self {
        Self::new()
    }
}

/// The entry to boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice<'a, 'p> {
    /// The entry.
    pub item: Item<'a>,
    /// A pattern that matches none of the entries.
    pub unmatched: Option<&'p str>,
}

/// A problem that does not stop the boot. Its `Display` names the file and the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Warning<'a> {
    path: &'a str,
    cause: WarningCause<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WarningCause<'a> {
    /// An entry is left out, and so are `more` others.
    Skipped { error: EntryFileError, more: u32 },
    /// A line of `loader.conf`, or all of it, is ignored.
    Ignored(EntryFileError),
    /// This pattern matches no entry.
    Unmatched(&'a str),
}

impl<'a> Warning<'a> {
    /// About a line of [`PATH_LOADER`] or all of it.
    pub fn in_loader_conf(error: EntryFileError) -> Self {
        Self {
            path: PATH_LOADER,
            cause: WarningCause::Ignored(error),
        }
    }

    /// About a pattern in [`PATH_LOADER`] that matches none of the entries.
    pub fn no_default(pattern: &'a str) -> Self {
        Self {
            path: PATH_LOADER,
            cause: WarningCause::Unmatched(pattern),
        }
    }
}

impl fmt::Display for Warning<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.path)?;
        let (text, error, more) = match self.cause {
            WarningCause::Skipped { error, more } => (" is left out: ", error, more),
            WarningCause::Ignored(error) => (": ", error, 0),
            WarningCause::Unmatched(pattern) => {
                f.write_str(": no entry is named ")?;
                return f.write_str(pattern);
            }
        };
        f.write_str(text)?;
        error.fmt(f)?;
        match more {
            0 => Ok(()),
            _ => facts(f, "; so are # more", &[more.into()]),
        }
    }
}

/// There are files in [`DIRECTORY`], and none of them can be booted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoEntry {
    /// Those that cannot be read as entries.
    pub skipped: u32,
    /// Those for machines of another kind.
    pub hidden: u32,
}

impl Named for NoEntry {
    fn entry(&self) -> &'static Entry {
        &catalogue::ENTRY_NONE
    }
}

impl fmt::Display for NoEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers = [self.skipped.into(), self.hidden.into()];
        facts(f, "# left out, # for other machines", &numbers)
    }
}
