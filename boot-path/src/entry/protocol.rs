//! Step 10: which boot protocol a kernel is made for.
//!
//! Each protocol has a magic number near the start of the file, except Limine's, whose requests may
//! be anywhere among the loaded bytes. A kernel may be made for several protocols; the first one in
//! the order of [`Protocol`] is used.

use crate::errors::text::position_of;
use crate::files::file_bytes::WINDOW;
use crate::files::integrity::Sums;
use zerocopy::FromBytes as _;
use zerocopy::little_endian::U32;

/// A way out of the loader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// The loader's own: `docs/handoff.md`.
    Bootpath,
    /// The Limine protocol.
    Limine,
    /// Multiboot 2, i386 entry.
    Multiboot2,
    /// Multiboot 1.
    Multiboot1,
    /// The Linux x86 boot protocol: a bzImage, entered at the best entry (`None`) or at the one
    /// that an entry file demands.
    Linux(Option<LinuxEntry>),
}

/// Where a Linux kernel is entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinuxEntry {
    /// Its setup code, in real mode.
    Bits16,
    /// Its protected-mode code.
    Bits32,
    /// Its 64-bit code, if it has any.
    Bits64,
}

/// Names, as in entry files.
const NAMES: [(&str, Protocol); 8] = [
    ("bootpath", Protocol::Bootpath),
    ("limine", Protocol::Limine),
    ("multiboot2", Protocol::Multiboot2),
    ("multiboot1", Protocol::Multiboot1),
    ("linux", Protocol::Linux(None)),
    ("linux16", Protocol::Linux(Some(LinuxEntry::Bits16))),
    ("linux32", Protocol::Linux(Some(LinuxEntry::Bits32))),
    ("linux64", Protocol::Linux(Some(LinuxEntry::Bits64))),
];

impl Protocol {
    /// The names of all protocols.
    pub fn names() -> impl Iterator<Item = &'static str> {
        NAMES.iter().map(|(name, _)| *name)
    }

    /// The protocol of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        let mut names = NAMES.iter();
        Some(names.find(|(known, _)| *known == name)?.1)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        let mut names = NAMES.iter();
        names
            .find(|(_, known)| *known == self)
            .map_or("", |(name, _)| name)
    }

    /// Which checksums cover an uncompressed kernel of this protocol.
    pub fn sums(self) -> Sums {
        match self {
            Self::Bootpath | Self::Limine => Sums::Elf,
            Self::Multiboot1 => Sums::Multiboot1,
            Self::Multiboot2 => Sums::Multiboot2,
            Self::Linux(_) => Sums::Linux,
        }
    }

    /// The protocol of a kernel, by the first [`HEAD`] bytes of its file (or all of a shorter one).
    /// `listed`: by what it was recognised when the builder wrote it.
    pub fn by_magic(head: &[u8], listed: Option<Sums>) -> Self {
        let multiboot = match listed {
            Some(Sums::Multiboot1) => [Self::Multiboot1, Self::Multiboot2],
            _ => [Self::Multiboot2, Self::Multiboot1],
        };
        for protocol in multiboot {
            let header = match protocol {
                Self::Multiboot1 => multiboot1_header(head),
                _ => multiboot2_header(head),
            };
            if header.is_some() {
                return protocol;
            }
        }
        if is_linux(head) {
            Self::Linux(None)
        } else {
            Self::Bootpath
        }
    }
}

/// Bytes of the file in which each header but Limine's begins.
pub const HEAD: usize = 32 * 1024;

const _: () = assert!(HEAD <= WINDOW);

/// Multiboot 2: the magic number, at a multiple of 8 in the first 32 KiB (specification 3.1.1).
pub const MULTIBOOT2_MAGIC: u32 = 0xE852_50D6;
/// Multiboot 1: the magic number, at a multiple of 4 in the first 8 KiB (specification 3.1.1).
pub const MULTIBOOT1_MAGIC: u32 = 0x1BAD_B002;
/// Bytes of the file in which that header begins.
pub const MULTIBOOT1_HEAD: usize = 8 * 1024;
/// Linux: `HdrS` at 202h (Documentation/arch/x86/boot.rst), and 55AAh at 1FEh.
const LINUX_MAGIC: [u8; 4] = *b"HdrS";
const LINUX_MAGIC_OFFSET: usize = 0x202;

/// Offset of a valid Multiboot 2 header: magic, architecture, length and checksum sum up to 0.
#[inline(always)] // two parts of the loader have it, and neither needs the other
pub fn multiboot2_header(head: &[u8]) -> Option<usize> {
    header::<8, 4>(head, HEAD, MULTIBOOT2_MAGIC)
}

/// Offset of a valid Multiboot 1 header: magic, flags and checksum sum up to 0.
#[inline(always)] // as above
pub fn multiboot1_header(head: &[u8]) -> Option<usize> {
    header::<4, 3>(head, MULTIBOOT1_HEAD, MULTIBOOT1_MAGIC)
}

/// Offset of `WORDS` words that begin with a magic number, at a multiple of `ALIGN`, and sum up to
/// 0.
#[inline(always)] // as above
fn header<const ALIGN: usize, const WORDS: usize>(
    head: &[u8],
    length: usize,
    magic: u32,
) -> Option<usize> {
    let head = head.get(..length).unwrap_or(head);
    let (places, _) = head.as_chunks::<ALIGN>();
    let begins = |place: &[u8; ALIGN]| place.first_chunk() == Some(&magic.to_le_bytes());
    let mut from = 0;
    loop {
        // Few words equal the magic number, so its position is searched first and the sum computed
        // then.
        let place = from + position_of(places.get(from..)?, begins)?;
        let (words, _) = <[U32; WORDS]>::read_from_prefix(head.get(place * ALIGN..)?).ok()?;
        if words.iter().fold(0, |a: u32, b| a.wrapping_add(b.get())) == 0 {
            return Some(place * ALIGN);
        }
        from = place + 1;
    }
}

/// Is it a Linux kernel with a setup header (boot protocol 2.00 or later)?
pub fn is_linux(head: &[u8]) -> bool {
    head.get(LINUX_MAGIC_OFFSET..)
        .is_some_and(|bytes| bytes.starts_with(&LINUX_MAGIC))
        && head.get(0x1FE..0x200) == Some(&[0x55, 0xAA])
}
