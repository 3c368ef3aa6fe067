//! Headers of version 2.

use bit_field::BitField as _;
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use crate::bios::vbe::Wish;
use crate::entry::protocol::HEAD;
use crate::position::FileOffset;
use crate::ways_out::multiboot::elf::{Limits, Preference};
use crate::ways_out::multiboot::header::{
    AddressFields, Header, HeaderError, Version, VideoFields,
};
use crate::ways_out::multiboot::information::tag as info_tag;

/// Tags of a header of version 2.
mod tag {
    pub const END: u16 = 0;
    pub const INFORMATION_REQUEST: u16 = 1;
    pub const ADDRESS: u16 = 2;
    pub const ENTRY_ADDRESS: u16 = 3;
    pub const FLAGS: u16 = 4;
    pub const FRAMEBUFFER: u16 = 5;
    /// Alignment of modules, which always begin at a page; boot services, and the entry points for
    /// EFI, which are "taken into account only on EFI platforms".
    pub const WITHOUT_EFFECT: core::ops::RangeInclusive<u16> = 6..=9;
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

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RelocatableFields {
    min: U32,
    max: U32,
    align: U32,
    preference: U32,
}

impl Header {
    pub(super) fn fill_2(&mut self, head: &[u8]) -> Result<(), HeaderError> {
        let head = head.get(..HEAD.min(head.len())).unwrap_or_default();
        let offset = Version::Two.find(head)?;
        let (bytes, length) = behind_magic(head, offset)?;
        self.offset = FileOffset::new(offset as u64);
        let (mut video, mut has_text) = (None, None);
        let mut position = size_of::<Magic2>();
        loop {
            let rest = bytes.get(position..).unwrap_or_default();
            let Ok((tag, _)) = TagHeader::ref_from_prefix(rest) else {
                let offset = (offset + bytes.len()) as u64;
                return Err(HeaderError::NoEnd { offset });
            };
            let (kind, size) = (tag.kind.get(), tag.size.get());
            if kind == tag::END {
                self.end_at(position, size, length);
                break;
            }
            let wrong = HeaderError::TagSize {
                kind,
                offset: (offset + position) as u64,
                size,
            };
            let content = rest.get(size_of::<TagHeader>()..size as usize);
            let content = content.ok_or(wrong)?;
            let optional = tag.flags.get().get_bit(0);
            match kind {
                tag::INFORMATION_REQUEST => {
                    let requests = <[U32]>::ref_from_bytes(content);
                    self.request(requests.map_err(|_| wrong)?, optional)?;
                }
                tag::ADDRESS => {
                    let fields = fields::<AddressFields>(content, wrong)?;
                    self.addresses = Some(fields.check(self.offset)?);
                }
                tag::ENTRY_ADDRESS => {
                    self.entry = Some(fields::<U32>(content, wrong)?.get().into());
                }
                tag::FLAGS => {
                    let flags = fields::<U32>(content, wrong)?.get();
                    self.needs_console = flags.get_bit(0) && !optional;
                    has_text = Some(flags.get_bit(1));
                }
                tag::FRAMEBUFFER => {
                    video = Some((fields::<VideoFields>(content, wrong)?.wish(), optional));
                }
                tag::RELOCATABLE => {
                    let limits = fields::<RelocatableFields>(content, wrong)?;
                    self.limits = Some(limits.check()?);
                }
                kind if optional || tag::WITHOUT_EFFECT.contains(&kind) => {}
                kind => return Err(HeaderError::Tag { kind }),
            }
            // Tags begin at multiples of 8, in the header and therefore in the file.
            position += (size as usize).next_multiple_of(8);
        }
        self.settle_screen(video, has_text);
        self.check_entry()
    }

    /// The type alone ends the tags, as for other loaders: neither its size nor the header's length
    /// is needed to find it, and kernels exist in which one of them is wrong.
    fn end_at(&mut self, position: usize, size: u32, length: usize) {
        let end = position + size_of::<TagHeader>();
        self.unsound_end = size as usize != size_of::<TagHeader>() || end != length;
    }

    /// Addresses come with an entry point.
    fn check_entry(&self) -> Result<(), HeaderError> {
        match self.addresses.is_some() && self.entry.is_none() {
            true => Err(HeaderError::NoEntry),
            false => Ok(()),
        }
    }

    /// Combines what the tags say about the screen: the wanted mode, whether it is optional, and
    /// whether the kernel can write VGA text.
    fn settle_screen(&mut self, video: Option<(Wish, bool)>, has_text: Option<bool>) {
        self.has_text = has_text.unwrap_or(true);
        let says_text = has_text == Some(true);
        if let Some((wish, optional)) = video.filter(|(wish, _)| !is_text(wish, says_text)) {
            self.graphics = Some(wish);
            // The mode is a preference, and a kernel that says that it supports text accepts text,
            // too.
            self.needs_graphics = !optional && !says_text;
        }
    }

    /// Reads one information request.
    fn request(&mut self, kinds: &[U32], optional: bool) -> Result<(), HeaderError> {
        for kind in kinds.iter().map(|kind| kind.get()) {
            self.apm |= kind == info_tag::APM;
            if kind > info_tag::LOAD_BASE && !optional {
                return Err(HeaderError::Request { kind });
            }
        }
        Ok(())
    }
}

/// The file's head from the header on, and the length that the header claims.
fn behind_magic(head: &[u8], offset: usize) -> Result<(&[u8], usize), HeaderError> {
    let bytes = head.get(offset..).unwrap_or_default();
    let Ok((magic, _)) = Magic2::ref_from_prefix(bytes) else {
        return Err(HeaderError::Length {
            offset: offset as u64,
            length: size_of::<Magic2>() as u64,
            end: HEAD as u64,
        });
    };
    match magic.architecture.get() {
        0 => Ok((bytes, magic.length.get() as usize)),
        architecture => Err(HeaderError::Architecture { architecture }),
    }
}

/// Is the mode of a framebuffer tag a text mode, which has depth 0? Depth 0 may also mean any
/// depth, and without a size either, the tag says nothing at all. In these cases, `says_text`
/// decides: does the kernel say that it can write text?
fn is_text(wish: &Wish, says_text: bool) -> bool {
    /// All graphics modes are at least this wide.
    const COLUMNS: u32 = 320;
    let columns = (1..COLUMNS).contains(&wish.width);
    wish.depth == 0 && (columns || says_text)
}

/// The fields of a tag, which may have more bytes behind them.
fn fields<T: FromBytes + KnownLayout + Immutable + Unaligned>(
    content: &[u8],
    wrong: HeaderError,
) -> Result<&T, HeaderError> {
    T::ref_from_prefix(content).map_or(Err(wrong), |(fields, _)| Ok(fields))
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
