//! Step 9: which of several entries to boot.
//!
//! `/loader/loader.conf` names the default entry, as systemd-boot's does. The files in
//! `/loader/entries` are the entries, in the order of the Boot Loader Specification (UAPI.1,
//! "Sorting" and "Boot counting").

use core::cmp::Ordering;
use core::fmt;

use arrayvec::ArrayVec;
use disk_layout::parts::Part;

use crate::entry::entry_file::{
    self, EntryFileCause, EntryFileError, KernelEntry, MAX_FILE, Places,
};
use crate::entry::version;
use crate::errors::catalogue::{self, Entry, Named};
use crate::errors::text::{decimal, facts, split_last, utf8};
use crate::memory::list;

pub use crate::entry::loader_conf::{LoaderConf, Timeout};
pub use crate::entry::pattern::{MAX_PATTERN, matches};

/// The directory of the entries.
pub const DIRECTORY: &str = "/loader/entries";

/// The file that names the default entry.
pub const PATH_LOADER: &str = "/loader/loader.conf";

/// The suffix of entries' names, in upper or lower case.
const SUFFIX: &str = ".conf";

/// The most entries that are kept: the first ones in the order, however many there are.
pub const MAX_ENTRIES: usize = 32;

/// The most files that are left out with a message each that names file and reason.
pub const MAX_NAMED: u32 = 8;

/// Bytes of a [`Room`]: a path in [`DIRECTORY`], whose name has at most 255 characters, and a text.
pub const ROOM: usize = DIRECTORY.len() + 1 + 255 + MAX_FILE;

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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Item<'a> {
    // Nothing else is stored, since there may be many entries: the rest follows from the name.
    /// Path of its file, which is UTF-8. To check that takes longer than to compare it.
    path: &'a [u8],
    /// Its contents.
    pub text: KernelEntry<'a>,
    /// What its name says. It is compared several times.
    said: Said,
}

/// What the name of an entry's file says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Said {
    /// Where the name begins in the path, and where it ends without suffix and counters.
    start: u16,
    end: u16,
    tries: Option<Tries>,
}

impl Said {
    fn by(path: &str) -> Self {
        let name = split_last(path, b'/').map_or(path, |(_, name)| name);
        let (id, tries) = Tries::split(stem(name));
        let start = path.len() - name.len();
        Self {
            start: start as u16,
            end: (start + id.len()) as u16,
            tries,
        }
    }
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
        Ok(Some(Self::of(path, text)))
    }

    /// What `text` says, in the file at `path`, whose name has at most 255 characters.
    pub fn of(path: &'a str, text: KernelEntry<'a>) -> Self {
        let said = Said::by(path);
        let path = path.as_bytes();
        Self { path, text, said }
    }

    /// Its path.
    pub fn path(&self) -> &'a str {
        utf8(self.path).0
    }

    /// The name of its file.
    pub fn name(&self) -> &'a str {
        let path = self.path();
        path.get(self.said.start.into()..).unwrap_or_default()
    }

    /// Its name without suffix and counters.
    fn id(&self) -> &'a [u8] {
        let Said { start, end, .. } = self.said;
        self.path.get(start.into()..end.into()).unwrap_or_default()
    }

    /// The boot counters in its name, if there are any.
    pub fn tries(&self) -> Option<Tries> {
        self.said.tries
    }

    /// Was it tried as often as allowed, and never with success?
    pub fn is_bad(&self) -> bool {
        is_bad(self.tries())
    }

    /// Does the pattern of `loader.conf` match its name without counters, with or without the
    /// suffix?
    fn matches(&self, pattern: &str) -> bool {
        let (id, _) = utf8(self.id());
        matches(pattern, id, "") || matches(pattern, id, SUFFIX)
    }

    /// Which entry comes first.
    pub fn compare(&self, other: &Item<'_>) -> Ordering {
        let (text, other_text) = (&self.text, &other.text);
        let by_key = match (text.sort_key(), other_text.sort_key()) {
            (Some(one), Some(another)) => one
                .cmp(another)
                .then_with(|| text.machine_id().cmp(&other_text.machine_id()))
                .then_with(|| {
                    let [one, another] = [text, other_text].map(|text| text.version());
                    newer(
                        one.unwrap_or("").as_bytes(),
                        another.unwrap_or("").as_bytes(),
                    )
                }),
            (one, another) => another.is_some().cmp(&one.is_some()),
        };
        // Entries that are equal so far differ in the counters, or in the case of letters.
        let (tries, other_tries) = (self.tries(), other.tries());
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
            .then_with(|| newer(self.id(), other.id()))
            .then_with(by_tries)
            .then_with(|| self.path.cmp(other.path))
    }
}

fn is_bad(tries: Option<Tries>) -> bool {
    tries.is_some_and(|tries| tries.left == 0)
}

/// The higher version comes first.
fn newer(one: &[u8], another: &[u8]) -> Ordering {
    version::compare(another, one)
}

/// Memory with the path of a file, and behind it the file's text. Whoever adds it to [`Entries`]
/// gets other memory back, so that much of it is never needed.
#[derive(Debug)]
pub struct Room<'a> {
    /// The memory.
    pub bytes: &'a mut [u8],
    /// Bytes of the path.
    pub path: usize,
    /// Bytes of the text.
    pub text: usize,
}

impl Room<'_> {
    /// The path.
    pub fn path(&self) -> &str {
        utf8(self.bytes.get(..self.path).unwrap_or_default()).0
    }

    fn text(&self) -> &[u8] {
        let text = self.bytes.get(self.path..self.path + self.text);
        text.unwrap_or_default()
    }
}

/// An entry in memory that it owns.
#[derive(Debug)]
struct Kept<'a> {
    bytes: &'a mut [u8],
    /// Bytes of the path.
    path: u16,
    /// Where the text begins and ends.
    start: u16,
    end: u16,
    values: Places,
    said: Said,
}

const _: () = assert!(ROOM <= u16::MAX as usize);

impl<'a> Kept<'a> {
    fn item(&self) -> Item<'_> {
        item(self.bytes, self)
    }

    /// The entry, whose memory is never used for another one.
    fn keep(mut self) -> Item<'a> {
        let bytes = core::mem::take(&mut self.bytes);
        item(bytes, &self)
    }
}

/// The entry in the memory of `kept`.
fn item<'a>(bytes: &'a [u8], kept: &Kept<'_>) -> Item<'a> {
    let text = bytes.get(kept.start.into()..kept.end.into());
    Item {
        path: bytes.get(..kept.path.into()).unwrap_or_default(),
        text: KernelEntry::of(text.unwrap_or_default(), kept.values),
        said: kept.said,
    }
}

/// Bootable entries, in their order: the first ones, and the first of all that the default's
/// pattern matches. (The type has several KiB.)
#[derive(Debug)]
pub struct Entries<'a> {
    items: ArrayVec<Kept<'a>, MAX_ENTRIES>,
    /// The first of those that the pattern matches and that are not among `items`.
    wanted: Option<Kept<'a>>,
    /// Bootable entries, those included that are not kept.
    usable: u32,
    /// Files that are left out, though they are meant as entries.
    skipped: u32,
    /// Entries for machines of another kind.
    hidden: u32,
}

/// What [`Entries::add`] returns.
#[derive(Debug, Default)]
pub struct Added<'a> {
    /// Memory that is free: that of the file, or of another entry that comes too late in the order.
    pub free: Option<&'a mut [u8]>,
    /// Why the file is left out. The free memory is that of the file then.
    pub error: Option<EntryFileError>,
}

impl<'a> Entries<'a> {
    /// No entries.
    pub const fn new() -> Self {
        Self {
            items: ArrayVec::new_const(),
            wanted: None,
            usable: 0,
            skipped: 0,
            hidden: 0,
        }
    }

    /// Adds the entry in a file, if it is for machines of this kind. `pattern`: that of the
    /// default. If the file is left out, the others are not affected.
    pub fn add(&mut self, room: Room<'a>, pattern: Option<&str>) -> Added<'a> {
        self.add_by(room, pattern, &mut |one, other| one.compare(other))
    }

    /// As [`add`](Self::add), with another function in the place of [`Item::compare`], which may
    /// count.
    pub fn add_by(
        &mut self,
        room: Room<'a>,
        pattern: Option<&str>,
        compare: &mut dyn FnMut(&Item<'_>, &Item<'_>) -> Ordering,
    ) -> Added<'a> {
        let item = match Item::new(room.path(), room.text()) {
            Ok(Some(item)) => item,
            Ok(None) => {
                self.hidden = self.hidden.saturating_add(1);
                return Added::free(room.bytes);
            }
            Err(error) => {
                return Added {
                    free: Some(room.bytes),
                    error: Some(error),
                };
            }
        };
        let (text, values) = item.text.parts();
        // A byte-order mark in front of the text does not belong to it.
        let end = room.path + room.text;
        let new = Kept {
            path: room.path as u16,
            start: (end - text.len()) as u16,
            end: end as u16,
            values,
            said: item.said,
            bytes: room.bytes,
        };
        let item = new.item();
        let found = self
            .items
            .binary_search_by(|other| compare(&other.item(), &item));
        let Err(place) = found else {
            return Added::free(new.bytes); // only a damaged directory shows a name twice
        };
        self.usable = self.usable.saturating_add(1);
        let Some(late) = self.insert(place, new) else {
            return Added::default();
        };
        let is_wanted = sane(pattern).is_some_and(|pattern| late.item().matches(pattern))
            && self
                .wanted
                .as_ref()
                .is_none_or(|wanted| compare(&late.item(), &wanted.item()).is_lt());
        if !is_wanted {
            return Added::free(late.bytes);
        }
        let worse = self.wanted.replace(late);
        Added {
            free: worse.map(|worse| worse.bytes),
            error: None,
        }
    }

    /// Puts an entry among the others. Returns the one for which there is no room.
    fn insert(&mut self, place: usize, new: Kept<'a>) -> Option<Kept<'a>> {
        if place >= MAX_ENTRIES {
            return Some(new);
        }
        let last = self.items.is_full().then(|| self.items.pop()).flatten();
        // There is room: the last one has made it.
        list::try_insert(&mut self.items, place, new);
        last
    }

    /// Counts a file that is left out. Returns whether a message names it: the first ones.
    pub fn skip(&mut self) -> bool {
        self.skipped = self.skipped.saturating_add(1);
        self.skipped <= MAX_NAMED
    }

    /// One warning about all files that no message has named, for the end.
    pub fn rest(&self) -> Option<Warning<'static>> {
        let more = self.skipped.saturating_sub(MAX_NAMED);
        (more > 0).then_some(Warning {
            path: DIRECTORY,
            cause: WarningCause::More(more),
        })
    }

    /// Was the directory empty, even of files that were left out?
    pub fn is_empty(&self) -> bool {
        self.usable == 0 && self.skipped == 0 && self.hidden == 0
    }

    /// The number of bootable entries, those included that are not kept.
    pub fn usable(&self) -> u32 {
        self.usable
    }

    /// The kept entries in their order.
    pub fn items(&self) -> impl Iterator<Item = Item<'_>> {
        self.items.iter().chain(&self.wanted).map(Kept::item)
    }

    /// The first entry that the pattern matches; else, or without a pattern, the first of all. A
    /// pattern of more than [`MAX_PATTERN`] bytes matches none. It is the pattern with which the
    /// entries were added.
    ///
    /// # Errors
    /// [`NoEntry`], when there is none.
    pub fn choose<'p>(&self, pattern: Option<&'p str>) -> Result<Choice<'_, 'p>, NoEntry> {
        let wanted =
            sane(pattern).and_then(|pattern| self.items().find(|item| item.matches(pattern)));
        let item = wanted.or(self.items().next()).ok_or(NoEntry {
            skipped: self.skipped,
            hidden: self.hidden,
        })?;
        Ok(Choice {
            item,
            unmatched: pattern.filter(|_| wanted.is_none()),
        })
    }

    /// Changes the order to that in which the entries are tried: first those that the pattern
    /// matches.
    pub fn prefer(&mut self, pattern: Option<&str>) {
        let Some(pattern) = sane(pattern) else {
            return;
        };
        let mut front = 0;
        for index in 0..self.items.len() {
            let is_wanted = self.items.get(index).map(Kept::item);
            if is_wanted.is_some_and(|item| item.matches(pattern)) {
                if let Some(moved) = self.items.get_mut(front..=index) {
                    moved.rotate_right(1);
                }
                front += 1;
            }
        }
        if let Some(wanted) = self.wanted.take() {
            // It comes behind all the others that match, and in front of the rest.
            if self.items.is_full() {
                self.items.pop();
            }
            let front = front.min(self.items.len());
            list::try_insert(&mut self.items, front, wanted);
        }
    }

    /// Keeps only the entry in this file, if there is one.
    pub fn pick(&mut self, path: &str) {
        if self.items().any(|item| item.path() == path) {
            self.items.retain(|kept| kept.item().path() == path);
        }
    }

    /// Takes the first entry.
    pub fn take_first(&mut self) -> Option<Item<'a>> {
        self.items.pop_at(0).map(Kept::keep)
    }
}

impl<'a> Added<'a> {
    fn free(bytes: &'a mut [u8]) -> Self {
        Self {
            free: Some(bytes),
            error: None,
        }
    }
}

/// A pattern that may match something.
fn sane(pattern: Option<&str>) -> Option<&str> {
    pattern.filter(|pattern| pattern.len() <= MAX_PATTERN)
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
pub struct Warning<'a> {
    path: &'a str,
    cause: WarningCause<'a>,
}

enum WarningCause<'a> {
    /// A file is left out.
    Skipped(&'a dyn Named),
    /// A file cannot be read: it is left out.
    Unreadable(&'a dyn Named),
    /// A directory has the name of an entry.
    Directory,
    /// So many other files are left out.
    More(u32),
    /// A line of `loader.conf`, or all of it, is ignored.
    Ignored(&'a dyn Named),
    /// `loader.conf` is gone.
    Gone,
    /// This pattern matches no entry.
    Unmatched(&'a str),
}

impl<'a> Warning<'a> {
    /// About a file whose contents are invalid.
    pub fn skipped(path: &'a str, error: &'a dyn Named) -> Self {
        let cause = WarningCause::Skipped(error);
        Self { path, cause }
    }

    /// About a file that cannot be read.
    pub fn unreadable(path: &'a str, error: &'a dyn Named) -> Self {
        let cause = WarningCause::Unreadable(error);
        Self { path, cause }
    }

    /// About a directory where a file should be.
    pub fn directory(path: &'a str) -> Self {
        let cause = WarningCause::Directory;
        Self { path, cause }
    }

    /// About [`PATH_LOADER`], which `disk-builder` wrote and which is not there.
    pub fn loader_conf_is_gone() -> Self {
        Self {
            path: PATH_LOADER,
            cause: WarningCause::Gone,
        }
    }

    /// About a line of [`PATH_LOADER`] or all of it.
    pub fn in_loader_conf(error: &'a dyn Named) -> Self {
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
        let text = match &self.cause {
            WarningCause::Skipped(error) => {
                f.write_str(" is left out: ")?;
                return error.fmt(f);
            }
            WarningCause::Unreadable(error) => {
                f.write_str(" is left out, ")?;
                return Coded(*error).fmt(f);
            }
            WarningCause::Ignored(error) => {
                f.write_str(": ")?;
                return error.fmt(f);
            }
            WarningCause::More(more) => {
                return facts(f, ": # more are left out", &[(*more).into()]);
            }
            WarningCause::Unmatched(pattern) => {
                f.write_str(": no entry is named ")?;
                pattern
            }
            WarningCause::Directory => " is left out: it is a directory",
            WarningCause::Gone => " is gone",
        };
        f.write_str(text)
    }
}

/// A failure that does not stop the boot: code, sentence and facts.
pub struct Coded<'a>(pub &'a dyn Named);

impl fmt::Display for Coded<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Entry { code, sentence, .. } = self.0.entry();
        for part in [code, ": ", sentence, ": "] {
            f.write_str(part)?;
        }
        self.0.fmt(f)
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

/// Entries could be chosen, and none of them boots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoneBoots<'m> {
    /// The error of the first one.
    pub first: &'static Entry,
    /// Its facts.
    pub facts: &'m str,
    /// How many were tried.
    pub tried: u64,
}

impl Named for NoneBoots<'_> {
    fn entry(&self) -> &'static Entry {
        self.first
    }

    fn part(&self) -> Option<Part> {
        Some(Part::Texts)
    }
}

impl fmt::Display for NoneBoots<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.facts)?;
        let separator = if self.facts.is_empty() { "" } else { "; " };
        f.write_str(separator)?;
        facts(f, "none of # entries boots", &[self.tried])
    }
}

impl Named for NoEntry {
    fn entry(&self) -> &'static Entry {
        &catalogue::ENTRY_NONE
    }

    fn part(&self) -> Option<Part> {
        Some(Part::Texts)
    }
}

impl fmt::Display for NoEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers = [self.skipped.into(), self.hidden.into()];
        facts(f, "# left out, # for other machines", &numbers)
    }
}
