//! Step 10: the demands of a kernel's Multiboot header, of version 1 or 2.
//!
//! A header is a promise of the kernel and a list of demands. A demand that cannot be met is
//! refused by name; an optional one is ignored. `docs/multiboot.md` lists both.
//!
//! Sources: Multiboot Specification 0.6.96, section 3.1; Multiboot2 Specification 2.0, section 3.1.

use alloc::vec::Vec;
use core::fmt;

use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use crate::bios::vbe::Wish;
use crate::entry::protocol;
use crate::files::file_bytes::FileBytes;
use crate::kernel::image::KernelError;
use crate::memory::address::PhysAddr;
use crate::memory::list;
use crate::position::FileOffset;
use crate::ways_out::multiboot::elf::{self, Limits, MemoryConflict, PhysicalImage, Segment};

mod errors;
mod one;
mod two;

pub use errors::{HeaderError, MultibootError};

/// Which specification a header follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// Multiboot 0.6.96.
    One,
    /// Multiboot2 2.0.
    Two,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Version {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::One => "Multiboot 1",
            Self::Two => "Multiboot 2",
        }
    }

    /// Offset of a valid header in the head of a file.
    ///
    /// # Errors
    /// 10S.
    #[inline(never)] // there is more than one caller
    pub fn find(self, head: &[u8]) -> Result<usize, HeaderError> {
        let (offset, within) = match self {
            Self::One => (protocol::multiboot1_header(head), protocol::MULTIBOOT1_HEAD),
            Self::Two => (protocol::multiboot2_header(head), protocol::HEAD),
        };
        let within = within as u64;
        offset.ok_or(HeaderError::NotFound { within })
    }

    /// The value of EAX when the kernel starts.
    pub const fn boot_magic(self) -> u32 {
        match self {
            Self::One => 0x2BAD_B002,
            Self::Two => 0x36D7_6289,
        }
    }
}

/// The address fields, equal in both versions.
#[derive(Clone, Copy, Debug, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct AddressFields {
    header: U32,
    load: U32,
    load_end: U32,
    bss_end: U32,
}

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct VideoFields {
    width: U32,
    height: U32,
    depth: U32,
}

/// Where a kernel goes, if its Multiboot header and not an ELF header says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// First byte in the file.
    pub file_offset: FileOffset,
    /// Its address in memory.
    pub start: PhysAddr,
    /// End of the bytes from the file; `None`: the whole file.
    pub file_end: Option<PhysAddr>,
    /// End of the zeroes behind them; `None`: there are none.
    pub end: Option<PhysAddr>,
}

/// The demands of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Which specification it follows.
    pub version: Version,
    /// Where it is in the file.
    pub offset: FileOffset,
    /// Where the kernel goes.
    pub addresses: Option<Addresses>,
    /// The entry point.
    pub entry: Option<PhysAddr>,
    /// Where the kernel may be moved to.
    pub limits: Option<Limits>,
    /// It wants the table of the APM BIOS.
    pub apm: bool,
    /// It requires a screen.
    pub needs_console: bool,
    /// It can write VGA text.
    pub has_text: bool,
    /// The graphics mode that it wants.
    pub graphics: Option<Wish>,
    /// It requires a graphics mode.
    pub needs_graphics: bool,
    /// Its end is not where its length says, or its end tag has another size than 8.
    pub unsound_end: bool,
}

impl VideoFields {
    fn wish(&self) -> Wish {
        Wish {
            width: self.width.get(),
            height: self.height.get(),
            depth: self.depth.get(),
        }
    }
}

impl Header {
    /// Finds the header of a version in the first [`HEAD`](crate::entry::protocol::HEAD) bytes of
    /// the file (or all of a shorter one) and reads it.
    ///
    /// # Errors
    /// 10S, 10T.
    pub fn parse(version: Version, head: &[u8]) -> Result<Self, HeaderError> {
        let mut header = Self::new(version);
        header.fill(head)?;
        Ok(header)
    }

    /// As [`parse`](Self::parse), in place.
    ///
    /// # Errors
    /// 10S, 10T.
    pub fn fill(&mut self, head: &[u8]) -> Result<(), HeaderError> {
        match self.version {
            Version::One => self.fill_1(head),
            Version::Two => self.fill_2(head),
        }
    }

    /// An empty header, to be [filled](Self::fill).
    pub const fn new(version: Version) -> Self {
        Self {
            version,
            offset: FileOffset::ZERO,
            addresses: None,
            entry: None,
            limits: None,
            apm: false,
            needs_console: false,
            has_text: true,
            graphics: None,
            needs_graphics: false,
            unsound_end: false,
        }
    }

    /// Does the machine have a screen that the kernel accepts? `text`: there is VGA text;
    /// `graphics`: there is the mode that it wants, or another one.
    ///
    /// # Errors
    /// 10T.
    pub fn check_screen(&self, text: bool, graphics: bool) -> Result<(), HeaderError> {
        let wish = self.graphics.filter(|_| !graphics);
        if let Some(Wish {
            width,
            height,
            depth,
        }) = wish.filter(|_| self.needs_graphics)
        {
            return Err(HeaderError::Graphics {
                width,
                height,
                depth,
            });
        }
        let drawn = self.graphics.is_some() && graphics;
        if self.needs_console && !drawn && !(text && self.has_text) {
            return Err(HeaderError::Console {
                kernel_has_text: self.has_text,
            });
        }
        Ok(())
    }

    /// Reads which parts of the kernel go where: by the header's addresses, else by those of an ELF
    /// file. `image` must be empty. `read_at` reads bytes of the file from an offset on, and
    /// returns their number. `list` makes a list with room for so many segments.
    ///
    /// # Errors
    /// 10A to 10H, 10J, 10S, 10U, and those of `read_at` and `list`.
    pub fn read_image<E: From<HeaderError> + From<KernelError> + From<MemoryConflict>>(
        &self,
        image: &mut PhysicalImage,
        file_size: u64,
        list: impl FnOnce(usize) -> Result<Vec<Segment>, E>,
        read_at: impl FnMut(FileOffset, &mut [u8]) -> Result<usize, E>,
    ) -> Result<(), E> {
        let Some(addresses) = self.addresses else {
            elf::read(image, file_size, list, read_at)?;
            if let Some(entry) = self.entry {
                image.enter_at(entry)?;
            }
            return Ok(());
        };
        let in_file = file_size.saturating_sub(addresses.file_offset.as_u64());
        let length = addresses
            .file_end
            .map_or(in_file, |end| end - addresses.start);
        let size = addresses.end.map_or(length, |end| end - addresses.start);
        let segment = Segment {
            file_offset: addresses.file_offset,
            file_size: length,
            start: addresses.start,
            memory_size: size,
            unneeded: 0,
            number: 0,
            waiting: None,
        };
        image.use_list(list(1)?);
        image.add::<E>(segment, file_size)?;
        Ok(image.enter_at(self.entry.unwrap_or(addresses.start))?)
    }
}

/// Checks a whole kernel file as stage2 would, except for facts that only the machine knows: which
/// memory is free, and whether there is a screen.
///
/// # Errors
/// The errors that stage2 would show: 10A to 10H, 10J, 10S to 10U.
pub fn check_file(
    version: Version,
    mut file: impl FileBytes,
) -> Result<(Header, PhysicalImage), MultibootError> {
    let header = Header::parse(version, file.window(FileOffset::ZERO))?;
    header.check_screen(true, true)?;
    let mut image = PhysicalImage::default();
    let list = |count| Ok(list::with_room(count));
    header.read_image(&mut image, file.size(), list, |offset, out| {
        Ok::<_, MultibootError>(file.read_at(offset, out))
    })?;
    if let Some(table) = image.sections() {
        elf::check_sections(table, &mut file)?;
    }
    Ok((header, image))
}

impl AddressFields {
    /// Checks what can be checked without the file; `offset` is that of the header in the file.
    fn check(&self, offset: FileOffset) -> Result<Addresses, HeaderError> {
        /// "The file must be loaded from its beginning."
        const ALL: u32 = u32::MAX;

        let [header, load, load_end, bss_end] =
            [self.header, self.load, self.load_end, self.bss_end].map(U32::get);
        let wrong = HeaderError::Addresses {
            header,
            load,
            load_end,
            bss_end,
        };
        let distance = match load {
            ALL => offset.as_u64(),
            load => u64::from(header).checked_sub(load.into()).ok_or(wrong)?,
        };
        let start = PhysAddr::from(header).checked_before(distance);
        let start = start.ok_or(wrong)?;
        let end = |address: u32| (address != 0).then_some(PhysAddr::from(address));
        let addresses = Addresses {
            file_offset: offset.checked_before(distance).ok_or(wrong)?,
            start,
            file_end: end(load_end),
            end: end(bss_end),
        };
        let mut before = start;
        for end in [addresses.file_end, addresses.end].into_iter().flatten() {
            if end < before {
                return Err(wrong);
            }
            before = end;
        }
        Ok(addresses)
    }
}
