//! What a disk with a GPT holds, for the message that the loader boots by an MBR's table only.
//!
//! Source: UEFI specification 2.10, 5.3. Nothing is checked by its sum, and nothing depends on it.

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use crate::disk::block_device::BlockDevice;
use crate::disk::fat;
use crate::position::{DiskOffset, Lba};

/// The header of a table, at the start of a sector.
#[derive(Clone, Copy, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Header {
    signature: [u8; 8],
    rest: [u8; 64],
    /// Where the entries are.
    entries: U64,
    count: U32,
    entry_size: U32,
}

/// An entry; it may be followed by more.
#[derive(Clone, Copy, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Entry {
    kind: [u8; 16],
    unique: [u8; 16],
    first_lba: U64,
    last_lba: U64,
    attributes: U64,
    name: [u8; 72],
}

const _: () = assert!(size_of::<Entry>() == 128);

const SIGNATURE: [u8; 8] = *b"EFI PART";

/// The most entries that are looked at: as many as all tools make.
const MOST: u32 = 128;

/// The kind of an EFI system partition, C12A7328-F81F-11D2-BA4B-00A0C93EC93B.
const EFI_SYSTEM: [u8; 16] = [
    0x28, 0x73, 0x2A, 0xC1, 0x1F, 0xF8, 0xD2, 0x11, 0xBA, 0x4B, 0x00, 0xA0, 0xC9, 0x3E, 0xC9, 0x3B,
];

/// A FAT volume in a partition of a GPT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GptVolume {
    /// The number of its entry, from 1 on.
    pub number: u32,
    /// Its first sector.
    pub first_lba: Lba,
    /// Is it the EFI system partition?
    pub is_efi: bool,
}

/// Is there a header in this sector?
pub(super) fn is_header<D: BlockDevice + ?Sized>(device: &mut D, lba: Lba) -> bool {
    let sector = device.read(lba, 1);
    sector.is_ok_and(|sector| sector.starts_with(&SIGNATURE))
}

/// The FAT volume that an owner would want to boot from, by the header in a sector: that of the EFI
/// system partition, or else the first one.
pub(super) fn find_fat<D: BlockDevice + ?Sized>(device: &mut D, header: Lba) -> Option<GptVolume> {
    let (header, _) = Header::read_from_prefix(device.read(header, 1).ok()?).ok()?;
    let size = header.entry_size.get();
    if !size.is_multiple_of(size_of::<Entry>() as u32) {
        return None;
    }
    let sector_size = device.sector_size();
    let start = Lba::new(header.entries.get()).start(sector_size);
    let mut found = None;
    for index in 0..header.count.get().min(MOST) {
        let offset = start.saturating_add(u64::from(index) * u64::from(size));
        let entry = read_entry(device, offset)?;
        let first_lba = Lba::new(entry.first_lba.get());
        if entry.kind == [0; 16] || !device.read(first_lba, 1).is_ok_and(fat::is_boot_sector) {
            continue;
        }
        let volume = GptVolume {
            number: index + 1,
            first_lba,
            is_efi: entry.kind == EFI_SYSTEM,
        };
        if volume.is_efi {
            return Some(volume);
        }
        found = found.or(Some(volume));
    }
    found
}

/// The entry at an offset, which does not cross a sector's end.
fn read_entry<D: BlockDevice + ?Sized>(device: &mut D, offset: DiskOffset) -> Option<Entry> {
    let sector_size = device.sector_size();
    let lba = offset.sector(sector_size);
    let skip = (offset - lba.start(sector_size)) as usize;
    let bytes = device.read(lba, 1).ok()?.get(skip..)?;
    let (entry, _) = Entry::read_from_prefix(bytes).ok()?;
    Some(entry)
}
