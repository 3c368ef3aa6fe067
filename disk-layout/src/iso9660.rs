//! The blocks that make a CD of an image: ISO 9660, and El Torito's way to boot from one.
//!
//! Names and offsets: ECMA-119 (which is ISO 9660); Phoenix and IBM, "El Torito" Bootable CD-ROM
//! Format Specification, version 1.0. Blocks have [`CD_BLOCK`] bytes.

use core::mem::size_of;

use zerocopy::{BE, FromBytes, Immutable, IntoBytes, KnownLayout, LE, U16, U32, Unaligned};

use crate::CD_BLOCK;

/// Byte offset of the first volume descriptor. The 16 blocks in front of it are the "system area",
/// free for other uses: for an MBR, for instance.
pub const DESCRIPTORS: usize = 16 * CD_BLOCK;

/// Follows the first byte of each volume descriptor.
pub const STANDARD_IDENTIFIER: [u8; 5] = *b"CD001";

/// A number in both byte orders.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Both16 {
    /// Least significant byte first.
    pub little: U16<LE>,
    /// Most significant byte first.
    pub big: U16<BE>,
}

impl Both16 {
    /// The same number twice.
    pub const fn new(number: u16) -> Self {
        Self {
            little: U16::new(number),
            big: U16::new(number),
        }
    }
}

/// A number in both byte orders.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Both32 {
    /// Least significant byte first.
    pub little: U32<LE>,
    /// Most significant byte first.
    pub big: U32<BE>,
}

impl Both32 {
    /// The same number twice.
    pub const fn new(number: u32) -> Self {
        Self {
            little: U32::new(number),
            big: U32::new(number),
        }
    }
}

/// The head of every volume descriptor.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct DescriptorHeader {
    /// Its type: [`PRIMARY`](Self::PRIMARY) and others.
    pub kind: u8,
    /// [`STANDARD_IDENTIFIER`].
    pub identifier: [u8; 5],
    /// 1.
    pub version: u8,
}

impl DescriptorHeader {
    /// Type of a [`BootRecord`].
    pub const BOOT_RECORD: u8 = 0;
    /// Type of a [`PrimaryVolumeDescriptor`].
    pub const PRIMARY: u8 = 1;
    /// Type of the last descriptor, whose rest is zero.
    pub const TERMINATOR: u8 = 255;

    /// The head of a descriptor of type `kind`.
    pub const fn new(kind: u8) -> Self {
        Self {
            kind,
            identifier: STANDARD_IDENTIFIER,
            version: 1,
        }
    }
}

/// The head of a record in a directory; the name follows, and a zero byte if its length is even.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct DirectoryRecord {
    /// Length of the record in bytes.
    pub length: u8,
    /// Zero.
    pub extended_attributes: u8,
    /// First block of the file section.
    pub extent: Both32,
    /// Its length in bytes.
    pub data_length: Both32,
    /// Year since 1900, month, day, hour, minute, second, time zone; all zero: not specified.
    pub time: [u8; 7],
    /// [`DIRECTORY`](Self::DIRECTORY), [`NOT_FINAL`](Self::NOT_FINAL).
    pub flags: u8,
    /// Zero.
    pub interleave: [u8; 2],
    /// Number of the volume in its set: 1.
    pub volume: Both16,
    /// Bytes in the name.
    pub name_length: u8,
}

impl DirectoryRecord {
    /// Flag: it is a directory.
    pub const DIRECTORY: u8 = 1 << 1;
    /// Flag: the file goes on in the section that the next record describes.
    pub const NOT_FINAL: u8 = 1 << 7;

    /// Length of a record whose name has `name` bytes.
    pub const fn length(name: usize) -> usize {
        (size_of::<Self>() + name).next_multiple_of(2)
    }

    /// The head of a record with a name of `name_length` bytes.
    pub const fn new(extent: u32, data_length: u32, flags: u8, name_length: u8) -> Self {
        Self {
            length: Self::length(name_length as usize) as u8,
            extended_attributes: 0,
            extent: Both32::new(extent),
            data_length: Both32::new(data_length),
            time: [0; 7],
            flags,
            interleave: [0; 2],
            volume: Both16::new(1),
            name_length,
        }
    }
}

/// The name by which a directory lists itself.
pub const SELF: [u8; 1] = [0];
/// The name by which a directory lists the one that it is in.
pub const PARENT: [u8; 1] = [1];

/// The volume: its size, its directories.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct PrimaryVolumeDescriptor {
    /// [`DescriptorHeader::PRIMARY`].
    pub header: DescriptorHeader,
    /// Zero.
    pub unused: u8,
    /// The system that uses the system area; padded with blanks, as all such texts are.
    pub system: [u8; 32],
    /// The volume's name.
    pub volume: [u8; 32],
    /// Zero.
    pub unused_2: [u8; 8],
    /// Size of the volume in blocks.
    pub blocks: Both32,
    /// Zero.
    pub unused_3: [u8; 32],
    /// Volumes in the set: 1.
    pub set_size: Both16,
    /// Number of this one: 1.
    pub sequence_number: Both16,
    /// [`CD_BLOCK`].
    pub block_size: Both16,
    /// Length of a path table in bytes.
    pub path_table_length: Both32,
    /// Block of the path table with least significant bytes first.
    pub path_table_little: U32<LE>,
    /// Zero: there is no second one.
    pub optional_path_table_little: U32<LE>,
    /// Block of the path table with most significant bytes first.
    pub path_table_big: U32<BE>,
    /// Zero.
    pub optional_path_table_big: U32<BE>,
    /// The root directory's record.
    pub root: DirectoryRecord,
    /// Its name: [`SELF`].
    pub root_name: [u8; 1],
    /// Name of the set.
    pub set: [u8; 128],
    /// Publisher.
    pub publisher: [u8; 128],
    /// Who prepared the data.
    pub preparer: [u8; 128],
    /// What made the volume.
    pub application: [u8; 128],
    /// Names of files: copyright, abstract, bibliography.
    pub files: [[u8; 37]; 3],
    /// Times of creation, modification and expiration, and from when on the volume is effective:
    /// sixteen digits and a time zone each. All digits `0` and a zero: not specified.
    pub times: [[u8; 17]; 4],
    /// 1.
    pub structure_version: u8,
    /// Zero.
    pub reserved: u8,
    /// Free for applications.
    pub application_use: [u8; 512],
    /// Zero.
    pub reserved_2: [u8; 653],
}

/// A time that is not specified.
pub const NO_TIME: [u8; 17] = *b"0000000000000000\0";

/// El Torito's descriptor: says where the boot catalogue is.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct BootRecord {
    /// [`DescriptorHeader::BOOT_RECORD`].
    pub header: DescriptorHeader,
    /// [`EL_TORITO`].
    pub system: [u8; 32],
    /// Zero.
    pub boot: [u8; 32],
    /// Block of the boot catalogue.
    pub catalogue: U32<LE>,
    /// Zero.
    pub reserved: [u8; 1973],
}

/// The identifier by which a BIOS recognises a [`BootRecord`].
pub const EL_TORITO: [u8; 32] = *b"EL TORITO SPECIFICATION\0\0\0\0\0\0\0\0\0";

/// The first entry of the boot catalogue. Its 16-bit words sum up to 0.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct ValidationEntry {
    /// 1.
    pub header: u8,
    /// 0: for PCs with a BIOS.
    pub platform: u8,
    /// Zero.
    pub reserved: U16<LE>,
    /// Who made it.
    pub identifier: [u8; 24],
    /// The value that makes the sum 0.
    pub checksum: U16<LE>,
    /// [`KEY`](Self::KEY).
    pub key: [u8; 2],
}

impl ValidationEntry {
    /// The last two bytes.
    pub const KEY: [u8; 2] = [0x55, 0xAA];
}

/// The second entry of the boot catalogue: what is booted from the CD by default.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct DefaultEntry {
    /// [`BOOTABLE`](Self::BOOTABLE).
    pub indicator: u8,
    /// 0: no emulation of a diskette or a disk.
    pub media: u8,
    /// Segment to which the program is loaded; 0: 7C0h.
    pub segment: U16<LE>,
    /// Partition type, for an emulated disk.
    pub system: u8,
    /// Zero.
    pub unused: u8,
    /// Length of the program, in units of 512 bytes.
    pub sectors: U16<LE>,
    /// Its first block.
    pub block: U32<LE>,
    /// Zero.
    pub reserved: [u8; 20],
}

impl DefaultEntry {
    /// It can be booted.
    pub const BOOTABLE: u8 = 0x88;
}

const _: () = assert!(size_of::<DirectoryRecord>() == 33);
const _: () = assert!(size_of::<PrimaryVolumeDescriptor>() == CD_BLOCK);
const _: () = assert!(size_of::<BootRecord>() == CD_BLOCK);
const _: () = assert!(size_of::<ValidationEntry>() == 32);
const _: () = assert!(size_of::<DefaultEntry>() == 32);
