//! Checks whether a file is the one that `disk-builder` wrote, against the
//! manifest ([`disk_layout::manifest`]).
//!
//! A file that has no entry, or that somebody has replaced, is not checked: it is unknown rather
//! than damaged.

use core::fmt;
use core::ops::Range;

use arrayvec::ArrayVec;
use disk_layout::manifest::{self, Entry};
use disk_layout::parts::Part;
use zerocopy::little_endian::{U32, U64};

use crate::disk::fat::File;
use crate::errors::catalogue::{self, Named};
use crate::errors::text::facts;
use crate::files::sum::Sum;

/// Both checksums of the same bytes: a CPU compares the one that it computes faster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checksums {
    /// The CRC-32C.
    pub crc32c: u32,
    /// The [`Sum`].
    pub sum: [u64; 2],
}

/// A checksum of one of the two kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// A CRC-32C.
    Crc32c(u32),
    /// A [`Sum`].
    Sum([u64; 2]),
}

/// A checksum of one of the two kinds that is being computed.
#[derive(Clone)]
pub enum Running {
    /// A CRC-32C.
    Crc32c(u32, Crc32c),
    /// A [`Sum`].
    Sum(Sum),
}

impl Running {
    /// Of nothing; by the CPU's instruction, if it has one.
    pub fn new(crc32c: Option<Crc32c>) -> Self {
        match crc32c {
            Some(crc32c) => Self::Crc32c(0, crc32c),
            None => Self::Sum(Sum::default()),
        }
    }

    /// Adds bytes.
    pub fn add(&mut self, bytes: &[u8]) {
        match self {
            Self::Crc32c(crc, crc32c) => *crc = crc32c(*crc, bytes),
            Self::Sum(sum) => sum.add(bytes),
        }
    }

    /// The checksum of all bytes.
    pub fn end(self) -> Checksum {
        match self {
            Self::Crc32c(crc, _) => Checksum::Crc32c(crc),
            Self::Sum(sum) => Checksum::Sum(sum.end()),
        }
    }
}

/// Continues a CRC-32C: takes the one so far, at first 0, and more bytes.
pub type Crc32c = fn(u32, &[u8]) -> u32;

/// The entries of all files.
#[derive(Clone, Copy)]
pub struct Manifest<'a> {
    entries: &'a [Entry],
    crc32c: Crc32c,
}

impl<'a> Manifest<'a> {
    /// The manifest in these bytes; without entries if they hold none.
    pub fn new(bytes: &'a [u8], crc32c: Crc32c) -> Self {
        let entries = manifest::parse(bytes).unwrap_or_default();
        Self { entries, crc32c }
    }

    /// The entry of a path.
    pub fn entry(&self, path: &str, sums: Sums) -> Option<&'a Entry> {
        self.entry_of(sums.key(path, self.crc32c))
    }

    fn entry_of(&self, key: u32) -> Option<&'a Entry> {
        self.entries.iter().find(|entry| entry.path.get() == key)
    }

    /// Bytes of the largest file.
    pub fn largest(&self) -> u64 {
        let sizes = self.entries.iter().map(|entry| entry.size.get());
        sizes.max().unwrap_or(0).into()
    }

    /// Whether there is an entry of this path, whatever its checksums cover.
    pub fn is_known(&self, path: &str) -> bool {
        if self.entries.is_empty() {
            return false;
        }
        let key = path_key(path, self.crc32c);
        let keys = Sums::ALL.map(|sums| sums.key_of(key, self.crc32c));
        let mut paths = self.entries.iter().map(|entry| entry.path.get());
        paths.any(|path| keys.contains(&path))
    }

    /// The entry of a file found at this path, whatever its checksums cover, if the builder wrote
    /// the file; and what they cover, if there is no other such entry.
    pub fn any(
        &self,
        role: Role,
        path: &'a str,
        file: &File,
    ) -> (Option<Expected<'a>>, Option<Sums>) {
        let key = path_key(path, self.crc32c);
        let mut own = Sums::ALL.into_iter().filter_map(|sums| {
            let entry = self.entry_of(sums.key_of(key, self.crc32c));
            let expected = own(role, path, entry, file).ok()?;
            Some((expected?, sums))
        });
        match (own.next(), own.next()) {
            (None, _) => (None, None),
            (Some((expected, sums)), None) => (Some(expected), Some(sums)),
            (Some((expected, _)), Some(_)) => (Some(expected), None),
        }
    }

    /// The entry of a directory, which covers the names in it.
    pub fn directory(&self, path: &'a str) -> Option<Expected<'a>> {
        if self.entries.is_empty() {
            return None;
        }
        let role = Role::Text;
        let entry = self.entry(path, Sums::Whole)?;
        Some(Expected { role, path, entry })
    }

    /// The entry of a file found at this path, if the builder wrote the file.
    ///
    /// # Errors
    /// [`Damage`], when the length is wrong.
    pub fn own(
        &self,
        role: Role,
        sums: Sums,
        path: &'a str,
        file: &File,
    ) -> Result<Option<Expected<'a>>, Damage<'a>> {
        own(role, path, self.entry(path, sums), file)
    }
}

/// The entry, if it is that of a file which the builder wrote.
fn own<'a>(
    role: Role,
    path: &'a str,
    entry: Option<&'a Entry>,
    file: &File,
) -> Result<Option<Expected<'a>>, Damage<'a>> {
    let Some(entry) = entry.filter(|entry| entry.is_of(file.stamp)) else {
        return Ok(None);
    };
    let size = entry.size.get().into();
    if file.size != size {
        return Err(Damage {
            role,
            path,
            cause: DamageCause::Size(file.size, size),
        });
    }
    Ok(Some(Expected { role, path, entry }))
}

/// What the checksums of a file cover. A kernel is not loaded completely, and each protocol may
/// load different parts: an entry covers one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sums {
    /// The whole file, as it is on the disk; for a kernel, if it is compressed.
    Whole = 0,
    /// Headers and segments of an ELF file, by virtual addresses.
    Elf = 1,
    /// The parts that a Multiboot 1 header selects.
    Multiboot1 = 2,
    /// The parts that a Multiboot 2 header selects.
    Multiboot2 = 3,
    /// A bzImage, except for its payload if that has its own check.
    Linux = 4,
}

impl Sums {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Elf,
        Self::Multiboot1,
        Self::Multiboot2,
        Self::Linux,
        Self::Whole,
    ];

    /// The key in a manifest: that of the path, followed by a byte that no path contains.
    pub fn key(self, path: &str, crc32c: Crc32c) -> u32 {
        self.key_of(path_key(path, crc32c), crc32c)
    }

    fn key_of(self, path_key: u32, crc32c: Crc32c) -> u32 {
        match self {
            Self::Whole => path_key,
            _ => crc32c(path_key, &[self as u8]),
        }
    }
}

/// The key of a path in a manifest. The case of ASCII letters makes no difference, as in FAT;
/// neither does a leading slash, as in entries, or `\` for a slash.
pub fn path_key(path: &str, crc32c: Crc32c) -> u32 {
    let mut before = b'/';
    let mut crc = crc32c(0, b"/");
    // Some bytes at a time: each call costs as much as many of them.
    let mut some = ArrayVec::<u8, 32>::new();
    for byte in path.bytes() {
        let byte = if byte == b'\\' { b'/' } else { byte };
        let again = byte == b'/' && before == b'/';
        before = byte;
        if again {
            continue;
        }
        if some.is_full() {
            crc = crc32c(crc, &some);
            some.clear();
        }
        let _ = some.try_push(byte.to_ascii_lowercase()); // there is room
    }
    crc32c(crc, &some)
}

/// Continues the sum of the names in a directory, which starts at 0 and does not depend on their
/// order.
pub fn sum_names(sum: u32, name: &str, crc32c: Crc32c) -> u32 {
    sum.wrapping_add(path_key(name, crc32c))
}

/// The purpose of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// `kernel.conf`, `loader.conf`, or an entry.
    Text,
    /// A kernel.
    Kernel,
    /// A module.
    Module,
}

/// The checksums that a file must have.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    role: Role,
    path: &'a str,
    entry: &'a Entry,
}

impl<'a> Expected<'a> {
    /// Compares the sum of the names in a directory.
    ///
    /// # Errors
    /// [`Damage`], when they differ.
    pub fn names(&self, found: u32) -> Result<(), Damage<'a>> {
        self.check(found == self.entry.crc32c.get())
    }

    /// Compares the checksum of its bytes.
    ///
    /// # Errors
    /// [`Damage`], when they differ.
    pub fn bytes(&self, found: Checksum) -> Result<(), Damage<'a>> {
        let Entry { crc32c, sum, .. } = self.entry;
        self.check(is_one_of(found, *crc32c, *sum))
    }

    /// Compares the checksum of a kernel's headers.
    ///
    /// # Errors
    /// [`Damage`], when they differ.
    pub fn headers(&self, found: Checksum) -> Result<(), Damage<'a>> {
        let (crc32c, sum) = (self.entry.headers_crc32c, self.entry.headers_sum);
        self.check(is_one_of(found, crc32c, sum))
    }

    /// Compares both checksums of its headers and of its bytes.
    ///
    /// # Errors
    /// [`Damage`], when any differs.
    pub fn all(&self, headers: Checksums, bytes: Checksums) -> Result<(), Damage<'a>> {
        self.headers(Checksum::Crc32c(headers.crc32c))?;
        self.headers(Checksum::Sum(headers.sum))?;
        self.bytes(Checksum::Crc32c(bytes.crc32c))?;
        self.bytes(Checksum::Sum(bytes.sum))
    }

    /// Between which offsets in the file everything begins that a Limine kernel is recognised by.
    pub fn requests(&self) -> Range<u64> {
        let [start, end] = self.entry.requests.map(U32::get);
        let end = match end {
            u32::MAX => u64::MAX,
            end => end.into(),
        };
        start.into()..end
    }

    fn check(&self, is_right: bool) -> Result<(), Damage<'a>> {
        if is_right {
            return Ok(());
        }
        Err(Damage {
            role: self.role,
            path: self.path,
            cause: DamageCause::Checksum,
        })
    }
}

/// Whether a checksum is the one of its kind.
fn is_one_of(found: Checksum, crc32c: U32, sum: [U64; 2]) -> bool {
    match found {
        Checksum::Crc32c(found) => found == crc32c.get(),
        Checksum::Sum(found) => found == sum.map(U64::get),
    }
}

/// A file has changed since it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damage<'a> {
    /// Its purpose.
    pub role: Role,
    /// Its path.
    pub path: &'a str,
    /// How the damage shows.
    pub cause: DamageCause,
}

/// What is wrong with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DamageCause {
    /// Its length in bytes: the one found, and the expected one.
    Size(u64, u64),
    /// The checksum of its bytes, or of a kernel's headers.
    Checksum,
}

impl Named for Damage<'_> {
    fn entry(&self) -> &'static catalogue::Entry {
        match self.role {
            Role::Text => &catalogue::ENTRY_DAMAGED,
            Role::Kernel => &catalogue::KERNEL_DAMAGED,
            Role::Module => &catalogue::MODULE_DAMAGED,
        }
    }

    fn part(&self) -> Option<Part> {
        Some(Part::Texts)
    }
}

impl fmt::Display for Damage<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.path)?;
        f.write_str(", ")?;
        match self.cause {
            DamageCause::Size(found, expected) => {
                facts(f, "# bytes instead of #", &[found, expected])
            }
            DamageCause::Checksum => f.write_str("checksum mismatch"),
        }
    }
}
