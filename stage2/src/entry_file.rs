//! Step 9: what to boot, and with which words.
//!
//! `/boot/kernel.conf` is optional and has the syntax of the Boot Loader Specification (UAPI.1,
//! "Type #1 Boot Loader Entries"): UTF-8 lines of a key, spaces or tabs, and a value.
//!
//! ```text
//! # A comment.
//! title    Accepted, and of no consequence yet
//! options  the command line; several such lines are joined by a space
//! module   /boot/modules/initrd the string that the kernel finds beside the module
//! protocol linux16
//! chain    drive=81h partition=2
//! ```
//!
//! Without `protocol`, the kernel's file says what boot protocol it is made for. With `chain`, no
//! kernel is booted, but the boot sector of a disk or of a partition.
//!
//! Other keys are ignored, as the specification demands.

use core::fmt;
use core::str;

use crate::boot_sector::Target;
use crate::catalogue::{self, Entry, Named};
use crate::protocol::Protocol;
use crate::text::{copy, facts, split_before};

/// The kernel in the boot partition.
pub const PATH_KERNEL: &str = "/boot/kernel.elf";

/// The file that this module reads.
pub const PATH_ENTRY: &str = "/boot/kernel.conf";

/// The most bytes that the file may have.
pub const MAX_FILE: usize = 16 * 1024;

/// The most bytes that a line may have, without its end.
pub const MAX_LINE: usize = 4 * 1024;

/// The most modules.
pub const MAX_MODULES: usize = 32;

const OPTIONS: &str = "options";
const MODULE: &str = "module";
const PROTOCOL: &str = "protocol";
const CHAIN: &str = "chain";
const BLANK: [char; 2] = [' ', '\t'];
const BYTE_ORDER_MARK: &str = "\u{FEFF}";

/// A checked `/boot/kernel.conf`. Holding one proves that it is within the limits and that every
/// `module` line has a path. The default is the empty file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KernelEntry<'a> {
    text: &'a str,
}

/// A `module` line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Module<'a> {
    /// Path in the boot partition.
    pub path: &'a str,
    /// The rest of the line: the string that the kernel finds beside the module; may be empty.
    pub string: &'a str,
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
    /// A NUL byte: the handoff's strings could not hold it.
    Nul,
    /// More than [`MAX_MODULES`] modules.
    TooManyModules,
    /// `module` without a path.
    NoPath,
    /// `protocol` with a name that is not that of one.
    UnknownProtocol,
    /// `chain` without a drive and a partition, or with something else.
    Chain,
}

impl Named for EntryFileError {
    fn entry(&self) -> &'static Entry {
        &catalogue::ENTRY_FILE
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
            EntryFileCause::NoPath => f.write_str("module without a path"),
            EntryFileCause::UnknownProtocol => f.write_str("no such protocol"),
            EntryFileCause::Chain => f.write_str("chain takes drive=80h, partition=1 or both"),
        }
    }
}

/// Checks the bytes of `/boot/kernel.conf`. A byte-order mark and CRLF line ends are tolerated.
///
/// # Errors
/// [`EntryFileError`]: the first line that is refused, and why.
pub fn parse(bytes: &[u8]) -> Result<KernelEntry<'_>, EntryFileError> {
    let refuse = |line, cause| Err(EntryFileError { line, cause });
    if bytes.len() > MAX_FILE {
        return refuse(0, EntryFileCause::FileTooLong);
    }
    let text = match bytes.utf8_chunks().next() {
        None => "",
        Some(chunk) if chunk.invalid().is_empty() => chunk.valid(),
        Some(chunk) => {
            let before = chunk.valid().bytes();
            let line = 1 + before.filter(|&byte| byte == b'\n').count();
            return refuse(line, EntryFileCause::NotUtf8);
        }
    };
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);

    let mut modules = 0;
    let mut number = 0;
    let mut rest = text;
    while let Some(line) = next_line(&mut rest) {
        number += 1;
        if line.len() > MAX_LINE {
            return refuse(number, EntryFileCause::LineTooLong);
        }
        if line.bytes().any(|byte| byte == 0) {
            return refuse(number, EntryFileCause::Nul);
        }
        match key_and_value(line) {
            (MODULE, value) => {
                modules += 1;
                if value.is_empty() {
                    return refuse(number, EntryFileCause::NoPath);
                }
                if modules > MAX_MODULES {
                    return refuse(number, EntryFileCause::TooManyModules);
                }
            }
            (PROTOCOL, value) if Protocol::from_name(value).is_none() => {
                return refuse(number, EntryFileCause::UnknownProtocol);
            }
            (CHAIN, value) if Target::parse(value).is_none() => {
                return refuse(number, EntryFileCause::Chain);
            }
            _ => {}
        }
    }
    Ok(KernelEntry { text })
}

impl<'a> KernelEntry<'a> {
    /// The values of all `options` lines that have one, in order.
    pub fn options(&self) -> impl Iterator<Item = &'a str> + Clone + use<'a> {
        self.values(OPTIONS).filter(|value| !value.is_empty())
    }

    /// The `module` lines in order; at most [`MAX_MODULES`].
    pub fn modules(&self) -> impl Iterator<Item = Module<'a>> + Clone + use<'a> {
        self.values(MODULE).map(|value| {
            let (path, string) = split_word(value);
            Module { path, string }
        })
    }

    /// The protocol that the last `protocol` line names; `None` without such a line.
    pub fn protocol(&self) -> Option<Protocol> {
        self.values(PROTOCOL).last().and_then(Protocol::from_name)
    }

    /// The boot sector that the last `chain` line names; `None` without such a line.
    pub fn chain(&self) -> Option<Target> {
        self.values(CHAIN).last().and_then(Target::parse)
    }

    /// Bytes of the command line.
    pub fn command_line_length(&self) -> usize {
        let (count, bytes) = self.options().fold((0usize, 0), |(count, bytes), part| {
            (count + 1, bytes + part.len())
        });
        bytes + count.saturating_sub(1)
    }

    /// Puts the command line together: the options, joined by a space. Returns its length in
    /// bytes, or `None` when `out` is shorter than
    /// [`command_line_length`](Self::command_line_length).
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

    fn values(&self, key: &'static str) -> Values<'a> {
        Values {
            rest: self.text,
            key,
        }
    }
}

/// The values of all lines with a key.
#[derive(Clone)]
struct Values<'a> {
    rest: &'a str,
    key: &'static str,
}

impl<'a> Iterator for Values<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        loop {
            let (key, value) = key_and_value(next_line(&mut self.rest)?);
            if key == self.key {
                return Some(value);
            }
        }
    }
}

/// Takes the next line, without its end.
fn next_line<'a>(rest: &mut &'a str) -> Option<&'a str> {
    if rest.is_empty() {
        return None;
    }
    let (line, behind) = split_before(rest, |byte| byte == b'\n');
    *rest = behind.get(1..).unwrap_or("");
    // The last line may lack its line feed, but not the carriage return.
    Some(line.strip_suffix("\r").unwrap_or(line))
}

/// The two parts of a line. Blank lines and comments need no care: no key is empty or begins with
/// `#`.
fn key_and_value(line: &str) -> (&str, &str) {
    split_word(trim_start(line))
}

/// The first word and what follows it, without the blanks in between and at the end.
fn split_word(text: &str) -> (&str, &str) {
    let (word, rest) = split_before(text, is_blank);
    let rest = trim_start(rest);
    let end = rest.bytes().rposition(|byte| !is_blank(byte));
    let rest = rest.get(..end.map_or(0, |last| last + 1));
    (word, rest.unwrap_or(""))
}

fn trim_start(text: &str) -> &str {
    let blanks = text.bytes().take_while(|&byte| is_blank(byte));
    text.get(blanks.count()..).unwrap_or("")
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// Why a string cannot be written to the file such that reading gives the same string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unwritable {
    /// A line end or NUL.
    Control,
    /// Blanks at the start or at the end, which reading removes; in a path: a blank anywhere.
    Blank,
    /// The line would have more than [`MAX_LINE`] bytes.
    TooLong,
    /// A path without a character.
    Empty,
}

impl fmt::Display for Unwritable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Control => f.write_str("a line end or a NUL cannot be written to kernel.conf"),
            Self::Blank => f.write_str(
                "blanks at the start or the end, or anywhere in a path, are lost in kernel.conf",
            ),
            Self::TooLong => write!(f, "a line of kernel.conf has at most {MAX_LINE} bytes"),
            Self::Empty => f.write_str("a module needs a path"),
        }
    }
}

impl core::error::Error for Unwritable {}

/// Checks that the line `options TEXT` gives back `text`.
///
/// # Errors
/// [`Unwritable`]: why not.
pub fn check_options(text: &str) -> Result<(), Unwritable> {
    check_value(OPTIONS.len() + 1, text)
}

/// Checks that the line `module PATH STRING` gives back `path` and `string`.
///
/// # Errors
/// [`Unwritable`]: why not.
pub fn check_module(path: &str, string: &str) -> Result<(), Unwritable> {
    if path.is_empty() {
        return Err(Unwritable::Empty);
    }
    if path.contains(BLANK) {
        return Err(Unwritable::Blank);
    }
    check_value(0, path)?;
    check_value(MODULE.len() + 1 + path.len() + 1, string)
}

fn check_value(before: usize, text: &str) -> Result<(), Unwritable> {
    if text.contains(['\n', '\r', '\0']) {
        Err(Unwritable::Control)
    } else if text.starts_with(BLANK) || text.ends_with(BLANK) {
        Err(Unwritable::Blank)
    } else if before + text.len() > MAX_LINE {
        Err(Unwritable::TooLong)
    } else {
        Ok(())
    }
}
