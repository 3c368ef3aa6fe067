//! Step 10: what a kernel's Multiboot header asks for, of version 1 or 2.
//!
//! A header is a promise of the kernel and a list of demands: whatever is demanded and not to be had
//! here is refused by name, whatever may be ignored is. `docs/multiboot.md` has both lists.
//!
//! Sources: Multiboot Specification 0.6.96, section 3.1; Multiboot2 Specification 2.0, section 3.1.

use core::fmt;

use bit_field::BitField as _;
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use crate::bios::vbe::Wish;
use crate::entry::protocol::{self, HEAD};
use crate::errors::catalogue::{self, Entry, Named};
use crate::errors::text::facts;
use crate::files::file_bytes::FileBytes;
use crate::kernel::image::KernelError;
use crate::ways_out::multiboot::elf::{
    self, Limits, MemoryConflict, PhysicalImage, Preference, Segment,
};
use crate::ways_out::multiboot::information::tag as info_tag;

/// Bytes at the start of the file in which a header of version 1 lies.
const HEAD_1: usize = 8 * 1024;

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
    /// How it is called.
    pub const fn name(self) -> &'static str {
        match self {
            Self::One => "Multiboot 1",
            Self::Two => "Multiboot 2",
        }
    }

    /// What EAX is when the kernel starts.
    pub const fn boot_magic(self) -> u32 {
        match self {
            Self::One => 0x2BAD_B002,
            Self::Two => 0x36D7_6289,
        }
    }
}

/// Tags of a header of version 2.
mod tag {
    pub const END: u16 = 0;
    pub const INFORMATION_REQUEST: u16 = 1;
    pub const ADDRESS: u16 = 2;
    pub const ENTRY_ADDRESS: u16 = 3;
    pub const FLAGS: u16 = 4;
    pub const FRAMEBUFFER: u16 = 5;
    pub const MODULE_ALIGNMENT: u16 = 6;
    /// Boot services, and the entry points for EFI: "taken into account only on EFI platforms".
    pub const EFI: core::ops::RangeInclusive<u16> = 7..=9;
    pub const RELOCATABLE: u16 = 10;
}

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Magic2 {
    magic: U32,
    architecture: U32,
    length: U32,
    checksum: U32,
}

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct TagHeader {
    kind: U16,
    flags: U16,
    size: U32,
}

/// The addresses of both versions.
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

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Video1 {
    mode_type: U32,
    fields: VideoFields,
}

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RelocatableFields {
    min: U32,
    max: U32,
    align: U32,
    preference: U32,
}

/// A header of version 1; the addresses count when bit 16 of the flags is set, the last four words
/// when bit 2 is.
#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Magic1 {
    magic: U32,
    flags: U32,
    checksum: U32,
}

/// Bits of the flags of version 1.
const ALIGN_MODULES: usize = 0;
const MEMORY_INFORMATION: usize = 1;
const VIDEO_MODE: usize = 2;
/// Bits from here on may be ignored.
const OPTIONAL: usize = 16;
const ADDRESSES: usize = 16;

/// What is wrong with a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are what Display prints")]
pub enum HeaderError {
    /// There is none, although the entry says that it is such a kernel.
    NotFound { within: u64 },
    /// Not all of it lies where it has to.
    Length { offset: u64, length: u64, end: u64 },
    /// A tag is too short or reaches out of the header. `offset` is that in the file.
    TagSize { kind: u16, offset: u64, size: u32 },
    /// The tags do not end with a tag of type 0.
    NoEnd { offset: u64 },
    /// Addresses, and no entry point.
    NoEntry,
    /// Addresses that contradict each other.
    Addresses {
        header: u32,
        load: u32,
        load_end: u32,
        bss_end: u32,
    },
    /// The limits of a relocatable kernel contradict each other.
    Limits { min: u32, max: u32, align: u32 },
    /// For another CPU.
    Architecture { architecture: u32 },
    /// A tag that may not be ignored, and is not known.
    Tag { kind: u16 },
    /// Boot information that may not be left out, and is not known.
    Request { kind: u32 },
    /// Flags that may not be ignored, and are not known.
    Flags { flags: u32 },
    /// A graphics mode that may not be a text mode.
    Graphics { width: u32, height: u32, depth: u32 },
    /// A console, and there is none that both sides know.
    Console { kernel_has_text: bool },
}

impl Named for HeaderError {
    fn entry(&self) -> &'static Entry {
        match self {
            Self::NotFound { .. }
            | Self::Length { .. }
            | Self::TagSize { .. }
            | Self::NoEnd { .. }
            | Self::NoEntry
            | Self::Addresses { .. }
            | Self::Limits { .. } => &catalogue::MULTIBOOT_HEADER,
            Self::Architecture { .. }
            | Self::Tag { .. }
            | Self::Request { .. }
            | Self::Flags { .. }
            | Self::Graphics { .. }
            | Self::Console { .. } => &catalogue::MULTIBOOT_UNSUPPORTED,
        }
    }
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (text, numbers): (_, &[u64]) = match *self {
            Self::NotFound { within } => ("there is none in the first # bytes", &[within]),
            Self::Length {
                offset,
                length,
                end,
            } => (
                "at 0x# of the file, # bytes; it has to end at 0x#",
                &[offset, length, end],
            ),
            Self::TagSize { kind, offset, size } => (
                "tag # at 0x# of the file, # bytes",
                &[kind.into(), offset, size.into()],
            ),
            Self::NoEnd { offset } => ("no end tag before 0x# of the file", &[offset]),
            Self::NoEntry => ("an address tag without an entry address tag", &[]),
            Self::Addresses {
                header,
                load,
                load_end,
                bss_end,
            } => (
                "header_addr 0x#, load_addr 0x#, load_end_addr 0x#, bss_end_addr 0x#",
                &[header.into(), load.into(), load_end.into(), bss_end.into()],
            ),
            Self::Limits { min, max, align } => (
                "min_addr 0x#, max_addr 0x#, align 0x#",
                &[min.into(), max.into(), align.into()],
            ),
            Self::Architecture { architecture } => ("architecture #", &[architecture.into()]),
            Self::Tag { kind } => ("header tag #", &[kind.into()]),
            Self::Request { kind } => ("information of type #", &[kind.into()]),
            Self::Flags { flags } => ("flags 0x#", &[flags.into()]),
            Self::Graphics {
                width,
                height,
                depth,
            } => (
                "a graphics mode, # by #, # bits",
                &[width.into(), height.into(), depth.into()],
            ),
            Self::Console {
                kernel_has_text: true,
            } => ("a console, and there is no screen", &[]),
            Self::Console {
                kernel_has_text: false,
            } => ("a console other than VGA text", &[]),
        };
        facts(f, text, numbers)
    }
}

impl core::error::Error for HeaderError {}

/// Where a kernel goes that does not leave it to an ELF header. Addresses are physical.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// First byte in the file.
    pub file_offset: u64,
    /// Where it goes.
    pub start: u64,
    /// End of what comes from the file; `None`: all of it.
    pub file_end: Option<u64>,
    /// End of what is zero behind it; `None`: nothing is.
    pub end: Option<u64>,
}

/// What a header asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Which specification it follows.
    pub version: Version,
    /// Where it is in the file.
    pub offset: u64,
    /// Where the kernel goes.
    pub addresses: Option<Addresses>,
    /// The entry point, physical.
    pub entry: Option<u64>,
    /// The kernel can be moved.
    pub limits: Option<Limits>,
    /// It wants the table of the APM BIOS.
    pub apm: bool,
    /// It does not do without a screen.
    pub needs_console: bool,
    /// It can write VGA text.
    pub has_text: bool,
    /// The graphics mode that it wants.
    pub graphics: Option<Wish>,
    /// Nothing else than graphics will do.
    pub needs_graphics: bool,
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
    /// Finds the header of a version in the first [`HEAD`] bytes of the file (or all of a shorter
    /// one) and reads it.
    ///
    /// # Errors
    /// 10S, 10T.
    pub fn parse(version: Version, head: &[u8]) -> Result<Self, HeaderError> {
        match version {
            Version::One => Self::parse_1(head),
            Version::Two => Self::parse_2(head),
        }
    }

    fn new(version: Version, offset: usize) -> Self {
        Self {
            version,
            offset: offset as u64,
            addresses: None,
            entry: None,
            limits: None,
            apm: false,
            needs_console: false,
            has_text: true,
            graphics: None,
            needs_graphics: false,
        }
    }

    fn parse_1(head: &[u8]) -> Result<Self, HeaderError> {
        let head = head.get(..HEAD_1.min(head.len())).unwrap_or_default();
        let offset = protocol::multiboot1_header(head).ok_or(HeaderError::NotFound {
            within: HEAD_1 as u64,
        })?;
        let mut header = Self::new(Version::One, offset);
        let bytes = head.get(offset..).unwrap_or_default();
        let cut = |length: usize| HeaderError::Length {
            offset: offset as u64,
            length: length as u64,
            end: HEAD_1 as u64,
        };

        let Ok((magic, rest)) = Magic1::ref_from_prefix(bytes) else {
            return Err(cut(size_of::<Magic1>()));
        };
        let flags = magic.flags.get();
        let mut unknown = flags.get_bits(..OPTIONAL);
        for known in [ALIGN_MODULES, MEMORY_INFORMATION, VIDEO_MODE] {
            unknown.set_bit(known, false);
        }
        if unknown != 0 {
            return Err(HeaderError::Flags { flags: unknown });
        }
        // A text mode will do, whatever mode is asked for: the loader may choose another one.
        header.needs_console = flags.get_bit(VIDEO_MODE);

        let addresses = AddressFields::ref_from_prefix(rest);
        let fields = addresses
            .ok()
            .and_then(|(fields, rest)| Some((fields, U32::read_from_prefix(rest).ok()?)));
        if flags.get_bit(ADDRESSES) {
            let Some((fields, (entry, _))) = fields else {
                return Err(cut(size_of::<Magic1>() + size_of::<[U32; 5]>()));
            };
            header.entry = Some(entry.get().into());
            header.addresses = Some(fields.check(offset)?);
        }
        if flags.get_bit(VIDEO_MODE) {
            /// The other mode type is text.
            const GRAPHICS: u32 = 0;
            let video = fields.and_then(|(_, (_, rest))| Video1::ref_from_prefix(rest).ok());
            let Some((video, _)) = video else {
                return Err(cut(size_of::<Magic1>() + size_of::<[U32; 9]>()));
            };
            if video.mode_type.get() == GRAPHICS {
                header.graphics = Some(video.fields.wish());
            }
        }
        Ok(header)
    }

    fn parse_2(head: &[u8]) -> Result<Self, HeaderError> {
        let head = head.get(..HEAD.min(head.len())).unwrap_or_default();
        let offset = protocol::multiboot2_header(head).ok_or(HeaderError::NotFound {
            within: HEAD as u64,
        })?;
        let bytes = head.get(offset..).unwrap_or_default();
        let mut header = Self::new(Version::Two, offset);

        let magic = Magic2::ref_from_prefix(bytes);
        let length = magic.map_or(0, |(magic, _)| magic.length.get()) as usize;
        let inside = bytes.get(..length);
        let Some((Ok((magic, _)), bytes)) =
            inside.map(|bytes| (Magic2::ref_from_prefix(bytes), bytes))
        else {
            return Err(HeaderError::Length {
                offset: offset as u64,
                length: length as u64,
                end: HEAD as u64,
            });
        };
        if magic.architecture.get() != 0 {
            return Err(HeaderError::Architecture {
                architecture: magic.architecture.get(),
            });
        }

        let mut video = None;
        let mut has_text = None;
        let mut position = size_of::<Magic2>();
        loop {
            let rest = bytes.get(position..).unwrap_or_default();
            let Ok((tag, _)) = TagHeader::ref_from_prefix(rest) else {
                return Err(HeaderError::NoEnd {
                    offset: (offset + length) as u64,
                });
            };
            let (kind, size) = (tag.kind.get(), tag.size.get());
            let wrong = HeaderError::TagSize {
                kind,
                offset: (offset + position) as u64,
                size,
            };
            let content = rest.get(size_of::<TagHeader>()..size as usize);
            let content = content.ok_or(wrong)?;
            let optional = tag.flags.get().get_bit(0);
            match kind {
                tag::END => break,
                tag::INFORMATION_REQUEST => {
                    let Ok(requests) = <[U32]>::ref_from_bytes(content) else {
                        return Err(wrong);
                    };
                    header.request(requests, optional)?;
                }
                tag::ADDRESS => {
                    header.addresses =
                        Some(fields::<AddressFields>(content, wrong)?.check(offset)?);
                }
                tag::ENTRY_ADDRESS => {
                    header.entry = Some(fields::<U32>(content, wrong)?.get().into());
                }
                tag::FLAGS => {
                    let flags = fields::<U32>(content, wrong)?.get();
                    header.needs_console = flags.get_bit(0) && !optional;
                    has_text = Some(flags.get_bit(1));
                }
                tag::FRAMEBUFFER => {
                    let fields = fields::<VideoFields>(content, wrong)?;
                    video = Some((fields.wish(), optional));
                }
                tag::RELOCATABLE => {
                    let limits = fields::<RelocatableFields>(content, wrong)?;
                    header.limits = Some(limits.check()?);
                }
                // Modules begin at a page in any case.
                tag::MODULE_ALIGNMENT => {}
                kind if optional || tag::EFI.contains(&kind) => {}
                kind => return Err(HeaderError::Tag { kind }),
            }
            // Tags begin at multiples of 8; the header does, and so does the file.
            position += (size as usize).next_multiple_of(8);
        }
        if header.addresses.is_some() && header.entry.is_none() {
            return Err(HeaderError::NoEntry);
        }
        header.has_text = has_text.unwrap_or(true);
        let says_text = has_text == Some(true);
        if let Some((wish, optional)) = video.filter(|(wish, _)| !is_text(wish, says_text)) {
            header.graphics = Some(wish);
            // The mode is a wish, and text will do for a kernel that says that it has text.
            header.needs_graphics = !optional && !says_text;
        }
        Ok(header)
    }

    /// What is asked for in one information request.
    fn request(&mut self, kinds: &[U32], optional: bool) -> Result<(), HeaderError> {
        for kind in kinds.iter().map(|kind| kind.get()) {
            self.apm |= kind == info_tag::APM;
            if kind > info_tag::LOAD_BASE && !optional {
                return Err(HeaderError::Request { kind });
            }
        }
        Ok(())
    }

    /// Is there a screen for it? `text`: there is VGA text; `graphics`: there is the mode that it
    /// wants, or another one.
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

    /// What of the kernel goes where: by the header's addresses, else by those of an ELF file.
    /// `read_at` reads bytes of the file from an offset on, and returns how many there were.
    ///
    /// # Errors
    /// 10A to 10H, 10J, 10S, 10U, and those of `read_at`.
    pub fn image<E: From<HeaderError> + From<KernelError> + From<MemoryConflict>>(
        &self,
        file_size: u64,
        read_at: impl FnMut(u64, &mut [u8]) -> Result<usize, E>,
    ) -> Result<PhysicalImage, E> {
        let Some(addresses) = self.addresses else {
            let mut image = elf::read(file_size, read_at)?;
            if let Some(entry) = self.entry {
                image.enter_at(entry)?;
            }
            return Ok(image);
        };
        let in_file = file_size.saturating_sub(addresses.file_offset);
        let length = addresses
            .file_end
            .map_or(in_file, |end| end - addresses.start);
        let size = addresses.end.map_or(length, |end| end - addresses.start);
        let segment = Segment {
            file_offset: addresses.file_offset,
            file_size: length,
            start: addresses.start,
            memory_size: size,
            number: 0,
        };
        PhysicalImage::one_piece(segment, self.entry.unwrap_or(addresses.start), file_size)
    }
}

/// What is wrong with a kernel: its Multiboot header, its ELF headers, or its addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the errors say it")]
pub enum MultibootError {
    Header(HeaderError),
    Kernel(KernelError),
    Memory(MemoryConflict),
}

macro_rules! from {
    ($($variant:ident $error:ident)*) => {
        $(impl From<$error> for MultibootError {
            fn from(error: $error) -> Self {
                Self::$variant(error)
            }
        })*
    };
}

from! {
    Header HeaderError
    Kernel KernelError
    Memory MemoryConflict
}

impl MultibootError {
    fn cause(&self) -> &dyn Named {
        match self {
            Self::Header(error) => error,
            Self::Kernel(error) => error,
            Self::Memory(error) => error,
        }
    }
}

impl Named for MultibootError {
    fn entry(&self) -> &'static Entry {
        self.cause().entry()
    }
}

impl fmt::Display for MultibootError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause().fmt(f)
    }
}

impl core::error::Error for MultibootError {}

/// Checks a whole kernel file as stage2 would, but for what only the machine knows: which memory is
/// free, and whether there is a screen.
///
/// # Errors
/// What stage2 would show: 10A to 10H, 10J, 10S to 10U.
pub fn check_file(
    version: Version,
    mut file: impl FileBytes,
) -> Result<(Header, PhysicalImage), MultibootError> {
    let header = Header::parse(version, file.window(0))?;
    header.check_screen(true, true)?;
    let image = header.image(file.size(), |offset, out| {
        Ok::<_, MultibootError>(file.read_at(offset, out))
    })?;
    if let Some(table) = image.sections() {
        elf::check_sections(table, &mut file)?;
    }
    Ok((header, image))
}

/// Whether the mode of a framebuffer tag is a text mode, which has no depth. That may also mean that
/// any depth will do, and with no size either, it says nothing at all: it depends on `says_text` then,
/// whether the kernel says that it can write text.
fn is_text(wish: &Wish, says_text: bool) -> bool {
    /// No graphics mode is as narrow.
    const COLUMNS: u32 = 320;
    let columns = (1..COLUMNS).contains(&wish.width);
    wish.depth == 0 && (columns || says_text)
}

/// The fields of a tag; there may be more behind them.
fn fields<T: FromBytes + KnownLayout + Immutable + Unaligned>(
    content: &[u8],
    wrong: HeaderError,
) -> Result<&T, HeaderError> {
    T::ref_from_prefix(content).map_or(Err(wrong), |(fields, _)| Ok(fields))
}

impl AddressFields {
    /// Checks what can be without the file; `offset` is that of the header in it.
    fn check(&self, offset: usize) -> Result<Addresses, HeaderError> {
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
        let offset = offset as u64;
        let distance = match load {
            ALL => offset,
            load => u64::from(header).checked_sub(load.into()).ok_or(wrong)?,
        };
        let start = u64::from(header).checked_sub(distance).ok_or(wrong)?;
        let end = |address: u32| (address != 0).then_some(u64::from(address));
        let addresses = Addresses {
            file_offset: offset.checked_sub(distance).ok_or(wrong)?,
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

impl RelocatableFields {
    fn check(&self) -> Result<Limits, HeaderError> {
        let [min, max, align] = [self.min, self.max, self.align].map(U32::get);
        if min > max || align != 0 && !align.is_power_of_two() {
            return Err(HeaderError::Limits { min, max, align });
        }
        Ok(Limits {
            min: min.into(),
            max: max.into(),
            align: align.max(1).into(),
            preference: match self.preference.get() {
                1 => Preference::Lowest,
                2 => Preference::Highest,
                _ => Preference::None,
            },
        })
    }
}
