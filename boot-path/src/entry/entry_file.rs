//! Step 9: the text of an entry: what to boot, and with which command line.
//!
//! `/boot/kernel.conf`, which is optional, and the [entries](crate::entry::entries) have the syntax
//! of the Boot Loader Specification (UAPI.1, "Type #1 Boot Loader Entries"): UTF-8 lines of a key,
//! spaces or tabs, and a value.
//!
//! ```text
//! # A comment.
//! title    What a person sees
//! linux    /vmlinuz
//! initrd   /initrd.img
//! options  the command line; several such lines are joined by a space
//! ```
//!
//! These keys are not in the specification:
//!
//! ```text
//! kernel   /boot/kernel.elf
//! protocol bootpath
//! module   /boot/modules/initrd the string that the kernel finds beside the module
//! packed-module /boot/modules/logs.gz the same, but the loader does not unpack the file
//! chain    drive=81h partition=2
//! ```
//!
//! Without `protocol`, the kernel's file indicates its boot protocol. With `chain`, the loader
//! starts the boot sector of a disk or of a partition instead of a kernel.
//!
//! Other keys are ignored, as the specification demands. Files that were written for GRUB or
//! systemd-boot have some more forms: see [`KernelEntry::options`] and [`KernelEntry::modules`].

use core::fmt;
use core::str;

use disk_layout::parts::Part;

use crate::entry::protocol::Protocol;
use crate::entry::target::Target;
use crate::errors::catalogue::{self, Entry, Named};
use crate::errors::text::{copy, facts, position, split_before, utf8};

/// The kernel of a `kernel.conf` that names none.
pub const PATH_KERNEL: &str = "/boot/kernel.elf";

/// The file that is read when there are no entries.
pub const PATH_ENTRY: &str = "/boot/kernel.conf";

/// The most bytes that the file may have.
pub const MAX_FILE: usize = 16 * 1024;

/// The most bytes that a line may have, without its end.
pub const MAX_LINE: usize = 4 * 1024;

/// The most modules of one entry.
pub const MAX_MODULES: usize = 32;

pub(super) const OPTIONS: &str = "options";

/// The keys whose last value counts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum EntryKey {
    Kernel,
    Linux,
    Chain,
    Protocol,
    Title,
    Version,
    MachineId,
    SortKey,
    Architecture,
    /// Any of the keys for UEFI.
    Efi,
}

/// How many there are.
const COUNT: usize = EntryKey::Efi as usize + 1;

/// The keys, in the order of [`EntryKey`]; then the keys whose values all count.
const KEYS: [&str; COUNT + 5] = [
    KERNEL,
    LINUX,
    "chain",
    "protocol",
    "title",
    "version",
    "machine-id",
    "sort-key",
    "architecture",
    "efi",
    "uki",
    "uki-url",
    MODULE,
    PACKED_MODULE,
    INITRD,
];
const FIRST_MODULE: usize = COUNT + 2;

const KERNEL: &str = "kernel";
const LINUX: &str = "linux";
pub(super) const MODULE: &str = "module";
const PACKED_MODULE: &str = "packed-module";
const INITRD: &str = "initrd";

/// What the UEFI specification calls the machines that this loader boots.
const ARCHITECTURE: &str = "x64";

pub(super) const BLANK: [char; 2] = [' ', '\t'];
const BYTE_ORDER_MARK: &str = "\u{FEFF}";

/// A checked `/boot/kernel.conf`, or a checked entry. Holding one proves that it is within the
/// limits, that every line which names a file has a path, and that it names at most one kernel or
/// boot sector. The default is the empty file.
///
/// If a key that should occur once is repeated, the last value counts, since people append lines to
/// files. The positions of these values are recorded while the file is read, so that it is read
/// once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KernelEntry<'a> {
    /// UTF-8. It is not a `str`, which would have to be checked again when an entry is made
    /// [of its parts](Self::of).
    text: &'a [u8],
    /// By [`EntryKey`].
    values: Places,
}

/// Where the values are in the text of an entry.
pub(super) type Places = [Value; COUNT];

/// The place of a value in the text: [`MAX_FILE`] is less than 64 KiB. A missing value is empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Value {
    start: u16,
    length: u16,
}

impl Value {
    /// The place of a part of the text.
    fn of(part: &str, text: &str) -> Self {
        let start = part.as_ptr().addr().wrapping_sub(text.as_ptr().addr());
        Self {
            start: start as u16,
            length: part.len() as u16,
        }
    }

    fn within(self, text: &[u8]) -> Option<&str> {
        let start = usize::from(self.start);
        let value = text.get(start..start + usize::from(self.length))?;
        (!value.is_empty()).then_some(utf8(value).0)
    }
}

const _: () = assert!(MAX_FILE <= u16::MAX as usize);

/// A `module`, `packed-module` or `initrd` line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Module<'a> {
    /// Path in the boot partition.
    pub path: &'a str,
    /// The rest of a `module` line: the string that the kernel finds beside the module; may be
    /// empty. An `initrd` line has none, since its value is a path and nothing else.
    pub string: &'a str,
    /// The kernel gets the file as it is, even if it is compressed.
    pub packed: bool,
}

/// Why the file is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryFileError {
    /// The line, counted from 1; 0: the file as a whole.
    pub line: usize,
    /// What is wrong with it.
    pub cause: EntryFileCause,
}

/// What can be wrong with the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryFileCause {
    /// More than [`MAX_FILE`] bytes.
    FileTooLong,
    /// More than [`MAX_LINE`] bytes.
    LineTooLong,
    /// Not UTF-8.
    NotUtf8,
    /// A NUL byte, which would end the handoff's strings.
    Nul,
    /// More than [`MAX_MODULES`] modules.
    TooManyModules,
    /// A line with this key has no path.
    NoPath(&'static str),
    /// `protocol` without a name, or with an unknown one.
    UnknownProtocol,
    /// `chain` without a drive and a partition, or with something else.
    Chain,
    /// A `chain` line and a kernel: only one of them can be booted.
    KernelAndChain,
    /// An entry that names nothing to boot.
    NoKernel,
    /// `timeout` is neither a number nor a known word.
    Timeout,
    /// The value of `console` is invalid.
    Console,
}

impl Named for EntryFileError {
    fn entry(&self) -> &'static Entry {
        &catalogue::ENTRY_FILE
    }

    fn part(&self) -> Option<Part> {
        Some(Part::Texts)
    }
}

impl fmt::Display for EntryFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line != 0 {
            facts(f, "line #: ", &[self.line as u64])?;
        }
        match self.cause {
            EntryFileCause::FileTooLong => facts(f, "more than # bytes", &[MAX_FILE as u64]),
            EntryFileCause::LineTooLong => facts(f, "more than # bytes", &[MAX_LINE as u64]),
            EntryFileCause::NotUtf8 => f.write_str("not UTF-8"),
            EntryFileCause::Nul => f.write_str("a NUL byte"),
            EntryFileCause::TooManyModules => {
                facts(f, "more than # modules", &[MAX_MODULES as u64])
            }
            EntryFileCause::NoPath(key) => {
                f.write_str(key)?;
                f.write_str(" without a path")
            }
            EntryFileCause::UnknownProtocol => f.write_str("no such protocol"),
            EntryFileCause::Chain => f.write_str("chain takes drive=80h, partition=1 or both"),
            EntryFileCause::KernelAndChain => f.write_str("a kernel and chain in one entry"),
            EntryFileCause::NoKernel => f.write_str("it names nothing to boot"),
            EntryFileCause::Timeout => f.write_str("not a timeout"),
            EntryFileCause::Console => f.write_str("not serial, screen, both or none"),
        }
    }
}

/// Checks the bytes of `/boot/kernel.conf` or of an entry. A byte-order mark and CRLF line ends are
/// tolerated.
///
/// # Errors
/// [`EntryFileError`]: why the file as a whole is refused, or the first line that is.
pub fn parse(bytes: &[u8]) -> Result<KernelEntry<'_>, EntryFileError> {
    let text = text(bytes)?;
    read_lines(text, lines(text))
}

/// Checks the lines of a text, which are iterated over once.
///
/// # Errors
/// [`EntryFileError`]: the first line that is refused, and why.
pub fn read_lines<'a>(
    text: &'a str,
    lines: impl Iterator<Item = &'a str>,
) -> Result<KernelEntry<'a>, EntryFileError> {
    let mut entry = KernelEntry {
        text: text.as_bytes(),
        ..KernelEntry::default()
    };
    let mut modules = 0;
    for (line, content) in (1..).zip(lines) {
        let refuse = |cause| Err(EntryFileError { line, cause });
        if let Some(cause) = beyond_limits(content) {
            return refuse(cause);
        }
        let (name, value) = key_and_value(content);
        let Some(key) = KEYS.iter().position(|key| *key == name) else {
            continue;
        };
        let is_module = key >= FIRST_MODULE;
        // On a line of a module they belong to one of the paths.
        let value = if is_module { value } else { unquoted(value) };
        if value.is_empty() {
            // The specification's own keys may be empty: tools write them so.
            if [KERNEL, MODULE, PACKED_MODULE].contains(&name) {
                return refuse(EntryFileCause::NoPath(KEYS[key]));
            }
        } else if !is_module {
            let key = key.min(EntryKey::Efi as usize);
            entry.values[key] = Value::of(value, text);
        }
        if is_module {
            modules += match name {
                INITRD => Initrds { rest: value }.count(),
                _ => 1,
            };
            if modules > MAX_MODULES {
                return refuse(EntryFileCause::TooManyModules);
            }
        } else if key == EntryKey::Chain as usize && Target::parse(value).is_none() {
            return refuse(EntryFileCause::Chain);
        } else if key == EntryKey::Protocol as usize && Protocol::from_name(value).is_none() {
            return refuse(EntryFileCause::UnknownProtocol);
        }
        if entry.kernel().is_some() && entry.value(EntryKey::Chain).is_some() {
            return refuse(EntryFileCause::KernelAndChain);
        }
    }
    Ok(entry)
}

/// The text of a file of this kind. Its lines are not checked yet.
///
/// # Errors
/// [`EntryFileError`]: too long, or not UTF-8.
pub(crate) fn text(bytes: &[u8]) -> Result<&str, EntryFileError> {
    let refuse = |line, cause| Err(EntryFileError { line, cause });
    if bytes.len() > MAX_FILE {
        return refuse(0, EntryFileCause::FileTooLong);
    }
    let (text, is_all) = utf8(bytes);
    if !is_all {
        let line = 1 + text.bytes().filter(|&byte| byte == b'\n').count();
        return refuse(line, EntryFileCause::NotUtf8);
    }
    Ok(text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text))
}

/// Why a line is not allowed in such a file, whatever its key.
pub(crate) fn beyond_limits(line: &str) -> Option<EntryFileCause> {
    if line.len() > MAX_LINE {
        Some(EntryFileCause::LineTooLong)
    } else if position(line.as_bytes(), 0).is_some() {
        Some(EntryFileCause::Nul)
    } else {
        None
    }
}

impl<'a> KernelEntry<'a> {
    /// An entry whose text was checked before, and where its values are.
    pub(super) const fn of(text: &'a [u8], values: Places) -> Self {
        Self { text, values }
    }

    /// The text, and where the values are in it.
    pub(super) const fn parts(&self) -> (&'a [u8], Places) {
        (self.text, self.values)
    }

    fn text(&self) -> &'a str {
        utf8(self.text).0
    }

    /// The path of the kernel: that of a `kernel` line, else that of a `linux` line.
    pub fn kernel(&self) -> Option<&'a str> {
        self.value(EntryKey::Kernel).or(self.value(EntryKey::Linux))
    }

    /// The path of the kernel, [`PATH_KERNEL`] where none is named.
    pub fn kernel_path(&self) -> &'a str {
        self.kernel().unwrap_or(PATH_KERNEL)
    }

    /// The protocol to use, whatever the kernel's file indicates.
    pub fn protocol(&self) -> Option<Protocol> {
        Protocol::from_name(self.value(EntryKey::Protocol)?)
    }

    /// The boot sector to start instead of a kernel.
    pub fn chain(&self) -> Option<Target> {
        Target::parse(self.value(EntryKey::Chain)?)
    }

    /// The title that a person sees.
    pub fn title(&self) -> Option<&'a str> {
        self.value(EntryKey::Title)
    }

    /// The version of the system that is booted.
    pub fn version(&self) -> Option<&'a str> {
        self.value(EntryKey::Version)
    }

    /// The machine ID of the system that is booted.
    pub fn machine_id(&self) -> Option<&'a str> {
        self.value(EntryKey::MachineId)
    }

    /// The first criterion by which entries are sorted.
    pub fn sort_key(&self) -> Option<&'a str> {
        self.value(EntryKey::SortKey)
    }

    /// Is it for machines of another kind: another architecture, or UEFI? Such entries "should be
    /// hidden".
    pub fn is_for_others(&self) -> bool {
        self.value(EntryKey::Efi).is_some()
            || self
                .value(EntryKey::Architecture)
                .is_some_and(|name| !name.eq_ignore_ascii_case(ARCHITECTURE))
    }

    /// The last value of a key.
    #[inline(never)]
    fn value(&self, key: EntryKey) -> Option<&'a str> {
        self.values[key as usize].within(self.text)
    }

    /// The values of all `options` lines that have one, in order. Words like `$name` are left out:
    /// to GRUB they are variables, and nobody has set them here.
    pub fn options(&self) -> Values<'a> {
        Values {
            lines: lines(self.text()),
            rest: "",
        }
    }

    /// The files of the `module`, `packed-module` and `initrd` lines in order; at most [`MAX_MODULES`]. An `initrd`
    /// line may name several files, as for GRUB: each begins with a slash or a quotation mark. So a
    /// path may have blanks in it, as for systemd-boot.
    pub fn modules(&self) -> Modules<'a> {
        Modules {
            lines: lines(self.text()),
            initrds: Initrds { rest: "" },
        }
    }

    /// Bytes of the command line.
    pub fn command_line_length(&self) -> usize {
        let (count, bytes) = self.options().fold((0usize, 0), |(count, bytes), part| {
            (count + 1, bytes + part.len())
        });
        bytes + count.saturating_sub(1)
    }

    /// Joins the options by spaces to form the command line. Returns its length in bytes, or `None`
    /// when `out` is shorter than [`command_line_length`](Self::command_line_length).
    pub fn copy_command_line(&self, out: &mut [u8]) -> Option<usize> {
        let mut length = 0;
        for part in self.options() {
            if length > 0 {
                *out.get_mut(length)? = b' ';
                length += 1;
            }
            let room = out.get_mut(length..)?;
            if room.len() < part.len() {
                return None;
            }
            length += copy(part.as_bytes(), room);
        }
        Some(length)
    }
}

/// The parts of the command line: see [`KernelEntry::options`].
#[derive(Clone)]
pub struct Values<'a> {
    lines: Lines<'a>,
    /// What is left of the last line.
    rest: &'a str,
}

impl<'a> Iterator for Values<'a> {
    type Item = &'a str;

    #[inline(never)]
    fn next(&mut self) -> Option<&'a str> {
        loop {
            let (part, rest) = split_at_variable(self.rest);
            self.rest = rest;
            if !part.is_empty() {
                return Some(part);
            }
            if self.rest.is_empty() {
                let (key, value) = key_and_value(self.lines.next()?);
                if key == OPTIONS {
                    self.rest = unquoted(value);
                }
            }
        }
    }
}

/// Modules and initrds: see [`KernelEntry::modules`].
#[derive(Clone)]
pub struct Modules<'a> {
    lines: Lines<'a>,
    /// What is left of the last `initrd` line.
    initrds: Initrds<'a>,
}

impl<'a> Iterator for Modules<'a> {
    type Item = Module<'a>;

    #[inline(never)]
    fn next(&mut self) -> Option<Module<'a>> {
        loop {
            if let Some(path) = self.initrds.next() {
                let (string, packed) = ("", false);
                return Some(Module {
                    path,
                    string,
                    packed,
                });
            }
            let (key, value) = key_and_value(self.lines.next()?);
            match key {
                MODULE | PACKED_MODULE => {
                    let (path, string) = split_word(value);
                    let packed = key == PACKED_MODULE;
                    return Some(Module {
                        path,
                        string,
                        packed,
                    });
                }
                INITRD => self.initrds.rest = value,
                _ => {}
            }
        }
    }
}

/// The paths in the value of an `initrd` line.
#[derive(Clone)]
struct Initrds<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Initrds<'a> {
    type Item = &'a str;

    #[inline(never)]
    fn next(&mut self) -> Option<&'a str> {
        loop {
            let text = trim_start(self.rest);
            if text.is_empty() {
                return None;
            }
            let path;
            (path, self.rest) = quoted(text).unwrap_or_else(|| split_before_path(text));
            if !path.is_empty() && !is_variable(path) {
                return Some(path);
            }
        }
    }
}

/// The text in quotation marks at the start, and what follows them.
fn quoted(text: &str) -> Option<(&str, &str)> {
    let (inside, rest) = split_before(text.strip_prefix('"')?, |byte| byte == b'"');
    Some((inside, rest.strip_prefix('"')?))
}

/// Splits behind the first path: before a blank and what can only begin another path.
fn split_before_path(text: &str) -> (&str, &str) {
    let pairs = text.as_bytes().array_windows();
    let starts = |&[blank, first]: &[u8; 2]| is_blank(blank) && b"/\\\"$".contains(&first);
    let end = pairs.into_iter().position(starts).unwrap_or(text.len());
    let (path, rest) = text.split_at_checked(end).unwrap_or((text, ""));
    (trim_end(path), rest)
}

/// The text before the first word that is a variable, and the text behind that word.
pub(super) fn split_at_variable(text: &str) -> (&str, &str) {
    let mut rest = text;
    loop {
        rest = trim_start(rest);
        if rest.is_empty() {
            return (text, "");
        }
        let (word, behind) = split_before(rest, is_blank);
        if is_variable(word) {
            let before = text.get(..text.len() - rest.len());
            return (trim_end(before.unwrap_or("")), trim_start(behind));
        }
        rest = behind;
    }
}

/// Is a word a variable of GRUB: `$name` or `${name}`? GRUB replaces it by its value, which is
/// empty unless somebody has set it.
fn is_variable(word: &str) -> bool {
    let Some(name) = word.strip_prefix('$') else {
        return false;
    };
    let inside = || name.strip_prefix('{')?.strip_suffix('}');
    let name = inside().unwrap_or(name).as_bytes();
    let is_letter = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    name.iter().all(is_letter) && name.first().is_some_and(|first| !first.is_ascii_digit())
}

/// A value without the quotation marks around it, as systemd-boot reads it. Those around a part of
/// it belong to the value.
pub(crate) fn unquoted(value: &str) -> &str {
    match quoted(value) {
        Some((inside, "")) => inside,
        _ => value,
    }
}

/// The lines of a text.
pub(crate) fn lines(text: &str) -> Lines<'_> {
    Lines { rest: text }
}

/// See [`lines`].
#[derive(Clone)]
pub(crate) struct Lines<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Lines<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        next_line(&mut self.rest)
    }
}

/// Takes the next line, without its end.
fn next_line<'a>(rest: &mut &'a str) -> Option<&'a str> {
    if rest.is_empty() {
        return None;
    }
    let end = position(rest.as_bytes(), b'\n').unwrap_or(rest.len());
    let (line, behind) = rest.split_at_checked(end).unwrap_or((rest, ""));
    *rest = behind.get(1..).unwrap_or("");
    // The last line may lack its line feed, but still end in a carriage return.
    Some(line.strip_suffix("\r").unwrap_or(line))
}

/// The key and the value of a line. Blank lines and comments need no special case: no key is empty
/// or begins with `#`.
pub(crate) fn key_and_value(line: &str) -> (&str, &str) {
    split_word(trim_start(line))
}

/// The first word and what follows it, without the blanks in between and at the end.
fn split_word(text: &str) -> (&str, &str) {
    let (word, rest) = split_before(text, is_blank);
    (word, trim_end(trim_start(rest)))
}

fn trim_end(text: &str) -> &str {
    let end = text.bytes().rposition(|byte| !is_blank(byte));
    text.get(..end.map_or(0, |last| last + 1)).unwrap_or("")
}

fn trim_start(text: &str) -> &str {
    let blanks = text.bytes().take_while(|&byte| is_blank(byte));
    text.get(blanks.count()..).unwrap_or("")
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}
