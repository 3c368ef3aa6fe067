//! Whether a file is what `disk-builder` wrote: the [manifest](disk_layout::manifest), and what is
//! compared with it.
//!
//! A file without an entry, or one that somebody has replaced, is not checked: it is not damaged,
//! only unknown.

use core::fmt;

use disk_layout::manifest::{self, Entry};

use crate::disk::fat::File;
use crate::errors::catalogue::{self, Named};
use crate::errors::text::facts;

/// Continues a CRC-32C: the one so far, and more bytes. It begins with 0.
pub type Crc32c = fn(u32, &[u8]) -> u32;

/// The entries of all files.
#[derive(Clone, Copy)]
pub struct Manifest<'a> {
    entries: &'a [Entry],
    crc32c: Crc32c,
}

impl<'a> Manifest<'a> {
    /// The manifest in these bytes; one without entries where there is none.
    pub fn new(bytes: &'a [u8], crc32c: Crc32c) -> Self {
        let entries = manifest::parse(bytes).unwrap_or_default();
        Self { entries, crc32c }
    }

    /// The entry of a path.
    pub fn entry(&self, path: &str, sums: Sums) -> Option<&'a Entry> {
        let key = sums.key(path, self.crc32c);
        self.entries.iter().find(|entry| entry.path.get() == key)
    }

    /// An entry of a file that was found at this path, whatever its checksums are of, when it is the
    /// builder's own.
    pub fn any(&self, role: Role, path: &'a str, file: &File) -> Option<Expected<'a>> {
        let mut own = Sums::ALL
            .iter()
            .map(|&sums| self.own(role, sums, path, file));
        own.find_map(|own| own.ok().flatten())
    }

    /// The entry of a directory: of the names in it.
    pub fn directory(&self, path: &'a str) -> Option<Expected<'a>> {
        let role = Role::Text;
        let entry = self.entry(path, Sums::Whole)?;
        Some(Expected { role, path, entry })
    }

    /// The entry of a file that was found at this path, when it is the builder's own.
    ///
    /// # Errors
    /// [`Damage`], when it has not the right length.
    pub fn own(
        &self,
        role: Role,
        sums: Sums,
        path: &'a str,
        file: &File,
    ) -> Result<Option<Expected<'a>>, Damage<'a>> {
        let entry = self.entry(path, sums);
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
}

/// What the checksums of a file are of. Of a kernel, not everything is loaded, and by another
/// protocol it may be something else: an entry speaks of one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sums {
    /// All of it, as it is on the disk: of a kernel when it is compressed.
    Whole = 0,
    /// Headers and segments of an ELF file, by virtual addresses.
    Elf = 1,
    /// What a Multiboot 1 header wants.
    Multiboot1 = 2,
    /// What a Multiboot 2 header wants.
    Multiboot2 = 3,
    /// A bzImage, but for its payload if that checks itself.
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

    /// What they go by in a manifest: the path's key, and behind it a byte that is in no path.
    pub fn key(self, path: &str, crc32c: Crc32c) -> u32 {
        let key = path_key(path, crc32c);
        match self {
            Self::Whole => key,
            _ => crc32c(key, &[self as u8]),
        }
    }
}

/// What a path goes by in a manifest. As in FAT, the case of ASCII letters makes no difference, and
/// as in entries, neither does a slash in front.
pub fn path_key(path: &str, crc32c: Crc32c) -> u32 {
    let mut before = b'/';
    path.bytes().fold(crc32c(0, b"/"), |crc, byte| {
        let again = byte == b'/' && before == b'/';
        before = byte;
        if again {
            crc
        } else {
            crc32c(crc, &[byte.to_ascii_lowercase()])
        }
    })
}

/// Continues the sum of the names in a directory, in whatever order they come: it begins with 0.
pub fn sum_names(sum: u32, name: &str, crc32c: Crc32c) -> u32 {
    sum.wrapping_add(path_key(name, crc32c))
}

/// What a file is for.
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
    /// Compares the checksum of its bytes.
    ///
    /// # Errors
    /// [`Damage`], when it is another one.
    pub fn bytes(&self, found: u32) -> Result<(), Damage<'a>> {
        self.compare(found, self.entry.crc32c.get())
    }

    /// Compares the checksum of a kernel's headers.
    ///
    /// # Errors
    /// [`Damage`], when it is another one.
    pub fn headers(&self, found: u32) -> Result<(), Damage<'a>> {
        self.compare(found, self.entry.headers_crc32c.get())
    }

    fn compare(&self, found: u32, expected: u32) -> Result<(), Damage<'a>> {
        if found == expected {
            return Ok(());
        }
        Err(Damage {
            role: self.role,
            path: self.path,
            cause: DamageCause::Checksum(found, expected),
        })
    }
}

/// A file is not what it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damage<'a> {
    /// What it is for.
    pub role: Role,
    /// Its path.
    pub path: &'a str,
    /// How that shows.
    pub cause: DamageCause,
}

/// What is wrong with a file: what was found, and what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DamageCause {
    /// Its length in bytes.
    Size(u64, u64),
    /// The CRC-32C of its bytes, or of a kernel's headers.
    Checksum(u32, u32),
}

impl Named for Damage<'_> {
    fn entry(&self) -> &'static catalogue::Entry {
        match self.role {
            Role::Text => &catalogue::ENTRY_DAMAGED,
            Role::Kernel => &catalogue::KERNEL_DAMAGED,
            Role::Module => &catalogue::MODULE_DAMAGED,
        }
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
            DamageCause::Checksum(found, expected) => facts(
                f,
                "CRC-32C ########h instead of ########h",
                &[found.into(), expected.into()],
            ),
        }
    }
}
