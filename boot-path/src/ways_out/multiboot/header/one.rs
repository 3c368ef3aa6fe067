//! Headers of version 1.

use bit_field::BitField as _;
use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use crate::entry::protocol::MULTIBOOT1_HEAD;
use crate::position::FileOffset;
use crate::ways_out::multiboot::header::{
    AddressFields, Header, HeaderError, Version, VideoFields,
};

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
/// Bits that are not optional, and those of them that are known.
const REQUIRED: u32 = 0xFFFF;
const KNOWN: u32 = 1 << ALIGN_MODULES | 1 << MEMORY_INFORMATION | 1 << VIDEO_MODE;
const ADDRESSES: usize = 16;

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Video1 {
    mode_type: U32,
    fields: VideoFields,
}

impl Header {
    pub(super) fn fill_1(&mut self, head: &[u8]) -> Result<(), HeaderError> {
        let head = head
            .get(..MULTIBOOT1_HEAD.min(head.len()))
            .unwrap_or_default();
        let offset = Version::One.find(head)?;
        self.offset = FileOffset::new(offset as u64);
        let bytes = head.get(offset..).unwrap_or_default();
        let cut = |length: usize| HeaderError::Length {
            offset: offset as u64,
            length: length as u64,
            end: MULTIBOOT1_HEAD as u64,
        };

        let Ok((magic, rest)) = Magic1::ref_from_prefix(bytes) else {
            return Err(cut(size_of::<Magic1>()));
        };
        let flags = magic.flags.get();
        let unknown = flags & REQUIRED & !KNOWN;
        if unknown != 0 {
            return Err(HeaderError::Flags { flags: unknown });
        }
        // A text mode is enough, whatever mode is requested: the loader may choose another one.
        self.needs_console = flags.get_bit(VIDEO_MODE);

        let addresses = AddressFields::ref_from_prefix(rest);
        let fields = addresses
            .ok()
            .and_then(|(fields, rest)| Some((fields, U32::read_from_prefix(rest).ok()?)));
        if flags.get_bit(ADDRESSES) {
            let Some((fields, (entry, _))) = fields else {
                return Err(cut(size_of::<Magic1>() + size_of::<[U32; 5]>()));
            };
            self.entry = Some(entry.get().into());
            self.addresses = Some(fields.check(self.offset)?);
        }
        if flags.get_bit(VIDEO_MODE) {
            /// The other mode type is text.
            const GRAPHICS: u32 = 0;
            let video = fields.and_then(|(_, (_, rest))| Video1::ref_from_prefix(rest).ok());
            let Some((video, _)) = video else {
                return Err(cut(size_of::<Magic1>() + size_of::<[U32; 9]>()));
            };
            if video.mode_type.get() == GRAPHICS {
                self.graphics = Some(video.fields.wish());
            }
        }
        Ok(())
    }
}
