//! Recognises, by its signature, what a partition or a disk holds instead of FAT.
//!
//! The result only words the message when nothing can be booted: "no FAT file system" must not lead
//! a user to format another system's disk. So this code rather recognises too much than too little,
//! and nothing else depends on it.
//!
//! Sources of the offsets and signatures: libblkid of util-linux 2.41 (`libblkid/src/superblocks`),
//! and the formats' own documents. The tests say with which tools they were compared.

use core::fmt;

use disk_layout::Mbr;
use disk_layout::SECTOR_SIZE;
use disk_layout::mbr::BOOT_SIGNATURE;
use zerocopy::FromBytes as _;

use crate::disk::block_device::BlockDevice;
use crate::errors::text::{copy, facts};
use crate::position::Lba;

/// Something other than FAT, where a FAT volume was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Foreign {
    /// The partition, from 1 on; 0: the whole disk.
    pub partition: u8,
    /// Its name.
    pub name: &'static str,
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.partition {
            0 => f.write_str("the disk"),
            number => facts(f, "partition #", &[number.into()]),
        }?;
        f.write_str(" holds ")?;
        f.write_str(self.name)
    }
}

/// Bytes by which a format is recognised. The type is small, since there are many signatures.
struct Signature {
    /// The bytes, as far as they are not 0.
    bytes: [u8; 8],
    /// Their offset in bytes from the start; they do not cross a multiple of 512.
    offset: u32,
    name: &'static str,
}

const fn signature(offset: u32, text: &[u8], name: &'static str) -> Signature {
    let mut bytes = [0; 8];
    bytes.split_at_mut(text.len()).0.copy_from_slice(text);
    Signature {
        bytes,
        offset,
        name,
    }
}

const RAID: &str = "a part of a Linux RAID";
const LUKS: &str = "LUKS (encrypted)";
const LVM: &str = "LVM";
const EXT: &str = "ext2";

/// All signatures that are counted from the start, sorted by offset, so that each sector is read
/// once.
static SIGNATURES: &[Signature] = &[
    signature(0, b"LUKS\xBA\xBE", LUKS),
    signature(0, &RAID_1, RAID), // version 1.1
    signature(0, b"XFSB", "XFS"),
    signature(0, b"hsqs", "squashfs"),
    signature(3, b"NTFS    ", "NTFS"),
    signature(3, b"EXFAT   ", "exFAT"),
    signature(3, b"-FVE-FS-", "BitLocker (encrypted)"),
    signature(3, b"ReFS", "ReFS"),
    signature(32, b"NXSB", "APFS"),
    signature(512, b"\x57\x45\x56\x82", "a BSD disk label"),
    signature(512 + 24, b"LVM2 001", LVM),
    signature(1024, b"\x10\x20\xF5\xF2", "F2FS"),
    signature(1024, b"\xE2\xE1\xF5\xE0", "EROFS"),
    signature(1024, b"H+\0\x04", "HFS+"),
    signature(1024, b"HX\0\x05", "HFS+"),
    signature(1024, b"\x02\0\0\0\0\0\x34\x34", "NILFS2"),
    signature(EXT_MAGIC, b"\x53\xEF", EXT),
    signature(4096 - 10, b"SWAPSPAC", "Linux swap space"),
    signature(4096 - 10, b"S1SUSPEN", "a suspended Linux"),
    signature(4096, &RAID_1, RAID), // version 1.2
    signature(4096 + 24, b"\xC6\x85\x73\xF6\x4E\x1A\x45\xCA", "bcache"),
    signature(4096 + 24, b"\xC6\x85\x73\xF6\x66\xCE\x90\xA9", "bcachefs"),
    signature(8192 + 1372, b"\x54\x19\x01", "UFS"),
    // The first name in a label's list of properties, with its length.
    signature(16 * 1024 + 23, b"\x07version", "ZFS"),
    signature(32 * 1024, b"JFS1", "JFS"),
    signature(32 * 1024 + 1, b"CD001", "ISO 9660 (a CD)"),
    signature(32 * 1024 + 1, b"BEA01", "UDF"),
    signature(64 * 1024, b"ReIsEr4", "Reiser4"),
    signature(64 * 1024, b"\x01\x16\x19\x70", "GFS2"),
    signature(64 * 1024 + 52, b"ReIsEr", "ReiserFS"),
    signature(64 * 1024 + 64, b"_BHRfS_M", "btrfs"),
    signature(64 * 1024 + 1372, b"\x19\x01\x54\x19", "UFS"),
];

/// Magic of a member of a Linux RAID, in the byte order of PCs, followed by the major version 1.
const RAID_1: [u8; 5] = [0xFC, 0x4E, 0x2B, 0xA9, 1];

/// Offset of the magic of ext2, ext3 and ext4, in the superblock's first sector.
const EXT_MAGIC: u32 = SUPERBLOCK + 0x38;
const SUPERBLOCK: u32 = 1024;

const _: () = {
    let mut index = 0;
    let mut last = 0;
    while index < SIGNATURES.len() {
        let Signature { offset, bytes, .. } = &SIGNATURES[index];
        let offset = *offset as usize;
        assert!(offset % SECTOR_SIZE + bytes.len() <= SECTOR_SIZE);
        assert!(offset / SECTOR_SIZE >= last);
        last = offset / SECTOR_SIZE;
        index += 1;
    }
};

/// Recognises what the `sectors` sectors from `first_lba` on hold, in the disk's own sectors.
/// `None`: nothing known, though they need not be empty.
pub fn find<D: BlockDevice + ?Sized>(
    device: &mut D,
    first_lba: Lba,
    sectors: u64,
) -> Option<&'static str> {
    at_start(device, first_lba, sectors).or_else(|| at_end(device, first_lba, sectors))
}

/// The same, by the signatures at the start. A volume that holds others (of a RAID, of LVM,
/// encrypted) takes precedence over a file system, which may be an older one.
pub fn at_start<D: BlockDevice + ?Sized>(
    device: &mut D,
    first_lba: Lba,
    sectors: u64,
) -> Option<&'static str> {
    let mut found = None;
    let mut read = None;
    let mut sector = [0; SECTOR_SIZE];
    for Signature {
        offset,
        bytes,
        name,
    } in SIGNATURES
    {
        let start = u64::from(*offset) / SECTOR_SIZE as u64;
        if read != Some(start) {
            if !read_512(device, first_lba, sectors, start, &mut sector) {
                break;
            }
            read = Some(start);
            // The table of the disk itself does not count.
            if start == 0 && first_lba != Lba::ZERO && is_table(&sector) {
                found = Some("other partitions");
            }
        }
        let there = sector.get(*offset as usize % SECTOR_SIZE..);
        let mut pairs = bytes.iter().zip(there.unwrap_or_default());
        if !pairs.all(|(&wanted, &found)| wanted == 0 || wanted == found) {
            continue;
        }
        match *name {
            RAID | LUKS | LVM => return Some(name),
            EXT => found = found.or(ext(&sector)),
            _ => found = found.or(Some(name)),
        }
    }
    found
}

/// The same, by the signatures at the end: a member of a Linux RAID of version 0.90 or 1.0. (If the
/// RAID is a mirror, the start of the member is the start of the RAID.)
pub fn at_end<D: BlockDevice + ?Sized>(
    device: &mut D,
    first_lba: Lba,
    sectors: u64,
) -> Option<&'static str> {
    let mut sector = [0; SECTOR_SIZE];
    // In units of 512 bytes: 64 KiB in front of the last multiple of 64 KiB, and at least 8 KiB in
    // front of the end, at a multiple of 4 KiB. If the volume is too small, the result is far
    // behind its end.
    let length = sectors.saturating_mul(units(device));
    let places = [
        (length & !127).wrapping_sub(128),
        length.wrapping_sub(16) & !7,
    ];
    let is_member = places.iter().any(|&start| {
        read_512(device, first_lba, sectors, start, &mut sector) && sector.starts_with(&RAID_1[..4])
    });
    is_member.then_some(RAID)
}

/// Multiples of 512 bytes in a sector of the disk.
fn units<D: BlockDevice + ?Sized>(device: &D) -> u64 {
    (device.sector_size() / SECTOR_SIZE).max(1) as u64
}

/// Reads 512 bytes of a volume of `sectors` sectors; `start` counts in 512 bytes. False: they are
/// behind its end, or cannot be read.
fn read_512<D: BlockDevice + ?Sized>(
    device: &mut D,
    first_lba: Lba,
    sectors: u64,
    start: u64,
    out: &mut [u8; SECTOR_SIZE],
) -> bool {
    let units = units(device);
    let (sector, skip) = (start / units, (start % units) as usize * SECTOR_SIZE);
    if sector >= sectors {
        return false;
    }
    let bytes = device.read(first_lba.saturating_add(sector), 1).ok();
    let bytes = bytes.and_then(|bytes| bytes.get(skip..));
    bytes.is_some_and(|bytes| copy(bytes, out) == SECTOR_SIZE)
}

/// Is a sector a partition table? An extended partition begins with one.
fn is_table(sector: &[u8; SECTOR_SIZE]) -> bool {
    let Ok((mbr, _)) = Mbr::ref_from_prefix(sector) else {
        return false;
    };
    mbr.signature.get() == BOOT_SIGNATURE
        && mbr.partitions.iter().all(|entry| entry.status & 0x7F == 0)
        && mbr
            .partitions
            .iter()
            .any(|entry| entry.kind != 0 && entry.sectors.get() != 0)
}

/// Which member of the ext family it is, if any: the magic alone has only two bytes. (Linux,
/// Documentation/filesystems/ext4/super.rst.)
fn ext(sector: &[u8; SECTOR_SIZE]) -> Option<&'static str> {
    /// Offsets in the superblock: of the revision, of which two are known, and of the feature
    /// words.
    const REVISION: usize = 0x4C;
    const COMPATIBLE: usize = 0x5C;
    const INCOMPATIBLE: usize = 0x60;
    const HAS_JOURNAL: u32 = 1 << 2;
    /// Extents, 64 bits, flexible block groups.
    const OF_EXT4: u32 = 1 << 6 | 1 << 7 | 1 << 9;

    let word = |offset: usize| {
        let bytes = sector.get(SUPERBLOCK as usize % SECTOR_SIZE + offset..);
        let bytes = bytes.and_then(|bytes| bytes.first_chunk());
        bytes.map_or(0, |&bytes| u32::from_le_bytes(bytes))
    };
    if word(REVISION) > 1 {
        None
    } else if word(INCOMPATIBLE) & OF_EXT4 != 0 {
        Some("ext4")
    } else if word(COMPATIBLE) & HAS_JOURNAL != 0 {
        Some("ext3")
    } else {
        Some(EXT)
    }
}
