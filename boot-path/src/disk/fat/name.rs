//! Names of files: 8.3 names, and long ones, which take several entries.

use arrayvec::ArrayVec;

use crate::disk::fat::directory::DirectoryEntry;
use crate::errors::text::utf8;

/// The name of a file. `?`, which no name contains, stands for each character that is not ASCII.
pub struct FileName {
    bytes: [u8; Self::MOST],
    length: usize,
}

impl Default for FileName {
    fn default() -> Self {
        Self {
            bytes: [0; Self::MOST],
            length: 0,
        }
    }
}

impl FileName {
    /// The most UTF-16 units of a name.
    const MOST: usize = 255;

    /// The name.
    pub fn as_str(&self) -> &str {
        utf8(self.bytes.get(..self.length).unwrap_or_default()).0
    }

    /// Puts the characters of a part in their place. The part that comes first is the last one of
    /// the name, so the name ends in it.
    pub(super) fn put_part(&mut self, entry: &DirectoryEntry, part: u8) {
        let start = usize::from(part - 1) * PART;
        if entry.name[0] & Parts::LAST != 0 {
            self.length = start;
        }
        for index in 0..PART {
            let unit = entry.unit(index);
            let Some(slot) = self.bytes.get_mut(start + index) else {
                break;
            };
            if unit == 0 {
                break;
            }
            *slot = ascii(u8::try_from(unit).unwrap_or(0));
            self.length = self.length.max(start + index + 1);
        }
    }

    /// The 8.3 name. Its letters are lower-case where the reserved byte says so, a convention of
    /// Windows NT.
    pub(super) fn short(entry: &DirectoryEntry) -> Self {
        /// Bits for the name, and for the extension.
        const SMALL: [u8; 2] = [0x08, 0x10];

        let mut name = Self::default();
        let mut push = |byte| {
            if let Some(slot) = name.bytes.get_mut(name.length) {
                *slot = byte;
                name.length += 1;
            }
        };
        let (stem, extension) = entry.name.split_at(8);
        for (bytes, small) in [stem, extension].into_iter().zip(SMALL) {
            let last = bytes.iter().rposition(|&byte| byte != b' ');
            let used = bytes.get(..last.map_or(0, |last| last + 1));
            for (index, &byte) in used.unwrap_or_default().iter().enumerate() {
                if index == 0 && small == SMALL[1] {
                    push(b'.');
                }
                let is_small = entry.reserved & small != 0;
                let byte = ascii(byte);
                push(if is_small {
                    byte.to_ascii_lowercase()
                } else {
                    byte
                });
            }
        }
        name
    }
}

/// A printable ASCII character as itself, any other as `?`.
fn ascii(byte: u8) -> u8 {
    if matches!(byte, b' '..=b'~') {
        byte
    } else {
        b'?'
    }
}

/// Characters in one part of a long name.
pub(super) const PART: usize = 13;

/// A name to look for, in the forms that directories use.
pub(super) struct Name {
    /// UTF-16, folded.
    units: ArrayVec<u16, { Self::MAX }>,
    /// The 8.3 name, if the name has that form.
    pub(super) short: Option<[u8; 11]>,
}

impl Name {
    const MAX: usize = FileName::MOST;

    /// `None`: no file has this name.
    pub(super) fn new(name: &str) -> Option<Self> {
        // Directories have entries of these names, but the entry for the root must not be followed,
        // and no path in a file needs them.
        if matches!(name, "" | "." | "..") {
            return None;
        }
        let mut units = ArrayVec::new();
        for unit in name.encode_utf16() {
            units.try_push(fold(unit)).ok()?;
        }
        Some(Self {
            units,
            short: short_name(name.as_bytes()),
        })
    }
}

/// The 8.3 form, or `None` if the name has none.
fn short_name(name: &[u8]) -> Option<[u8; 11]> {
    let mut short = [b' '; 11];
    let (mut at, mut end) = (0, 8);
    for &byte in name {
        if byte == b'.' && end == 8 && at > 0 {
            (at, end) = (8, 11);
        } else if at < end && byte.is_ascii_graphic() && byte != b'.' {
            short[at] = byte.to_ascii_uppercase();
            at += 1;
        } else {
            return None;
        }
    }
    // A name that ends in a point is a different name.
    (at != 8 || end == 8).then_some(short)
}

/// Folds the case of a letter: ASCII only, since other letters depend on the code page of the
/// system that wrote them.
fn fold(unit: u16) -> u16 {
    if (b'a' as u16..=b'z' as u16).contains(&unit) {
        unit - 32
    } else {
        unit
    }
}

/// The preceding parts of a long name, last part first, as long as they are in order.
#[derive(Default)]
pub(super) struct Parts {
    /// The number of the latest part; 0: no part was in order.
    pub(super) part: u8,
    checksum: u8,
}

impl Parts {
    /// Bit of the part number in the first entry, which holds the last part.
    const LAST: u8 = 0x40;

    /// Adds a part. Does it belong to the preceding ones?
    pub(super) fn push(&mut self, entry: &DirectoryEntry) -> bool {
        let order = entry.name[0];
        let mut part = order & !Self::LAST;
        if usize::from(part) > FileName::MOST.div_ceil(PART) {
            part = 0;
        }
        let is_first = order & Self::LAST != 0;
        let goes_on = self.part == part.wrapping_add(1) && self.checksum == entry.checksum;
        self.part = if is_first || goes_on { part } else { 0 };
        self.checksum = entry.checksum;
        self.part != 0
    }

    /// Are all parts present, and do they belong to this entry?
    pub(super) fn is_complete_for(&self, entry: &DirectoryEntry) -> bool {
        self.part == 1
            && self.checksum
                == entry
                    .name
                    .iter()
                    .fold(0u8, |sum, &byte| sum.rotate_right(1).wrapping_add(byte))
    }
}

/// A long name, compared with a [`Name`] part by part as they come.
#[derive(Default)]
pub(super) struct LongName {
    parts: Parts,
    is_match: bool,
}

impl LongName {
    pub(super) fn push(&mut self, entry: &DirectoryEntry, name: &Name) {
        let goes_on = self.parts.push(entry);
        let part = usize::from(self.parts.part);
        if entry.name[0] & Parts::LAST != 0 {
            self.is_match = part == name.units.len().div_ceil(PART);
        }
        self.is_match = self.is_match && goes_on && is_part(entry, name, (part - 1) * PART);
    }

    /// Is the long name complete, equal to the name, and that of this entry?
    pub(super) fn is_name_of(&self, entry: &DirectoryEntry) -> bool {
        self.is_match && self.parts.is_complete_for(entry)
    }
}

/// Does the part hold the characters of the name from `start` on?
fn is_part(entry: &DirectoryEntry, name: &Name, start: usize) -> bool {
    let length = name.units.len().saturating_sub(start).min(PART);
    let Some(wanted) = name.units.get(start..start + length) else {
        return false;
    };
    // A name that does not fill its last part ends in 0 there.
    (0..PART)
        .zip(wanted.iter().chain(&[0]))
        .all(|(index, &wanted)| fold(entry.unit(index)) == wanted)
}
