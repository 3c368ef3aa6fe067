//! LBA 0: the master boot record.
//!
//! ```text
//! 0x000  jmp short 0x5A; nop
//! 0x003  BPB area: some BIOSes overwrite it in memory              87 bytes
//! 0x047    in it: the text of stage1's errors                       9 bytes
//! 0x05A  stage1's code                                     at most 344 bytes
//! 0x1B2  parameter block: where stage2 is                           6 bytes
//! 0x1B8  disk signature                                             4 bytes
//! 0x1BC  (zero)                                                     2 bytes
//! 0x1BE  partition table: four entries of                          16 bytes
//! 0x1FE  55 AA
//! ```

use core::mem::{offset_of, size_of};
use core::ops::Range;

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::SECTOR_SIZE;

/// Where every BIOS loads the MBR (physical address, bytes).
pub const LOAD_ADDRESS: u32 = 0x7C00;

/// The bytes which some BIOSes take for a BIOS parameter block and patch in memory when they boot
/// a USB stick (media byte, geometry, hidden sectors, drive number): nothing of stage1 lies there
/// but [`MESSAGE`].
pub const BPB_AREA: Range<usize> = 0x03..0x5A;

/// The text that stage1's errors begin with, where FAT32 has the volume label. BIOSes patch numbers,
/// which lie in front of it. If one patched the label, too, only an error would look odd.
pub const MESSAGE: Range<usize> = 0x47..0x50;
const _: () = assert!(BPB_AREA.start < MESSAGE.start && MESSAGE.end < BPB_AREA.end);

/// The first byte behind everything that belongs to stage1, its parameter block included.
pub const CODE_END: usize = offset_of!(Mbr, disk_signature);

/// Offset of the [`ParameterBlock`].
pub const PARAMETER_BLOCK_OFFSET: usize = CODE_END - size_of::<ParameterBlock>();

/// The part of the sector whose little-endian 16-bit words sum up to 0: stage1 checks it before
/// running it. The check and the printing of an error lie in front of it; the rest of the code and
/// the parameter block lie in it.
pub const CHECKED: Range<usize> = 0xD4..CODE_END;

const _: () = assert!((CHECKED.end - CHECKED.start).is_multiple_of(2));

/// Offset of the partition table.
pub const PARTITION_TABLE_OFFSET: usize = offset_of!(Mbr, partitions);

/// The last two bytes of a boot sector.
pub const BOOT_SIGNATURE: u16 = 0xAA55;

/// What stage1 leaves on the stack for stage2: offsets from [`LOAD_ADDRESS`], where its stack
/// begins.
pub mod frame {
    use core::ops::RangeInclusive;

    /// What the BIOS had passed in DL (u8).
    pub const BIOS_DRIVE: i16 = -2;
    /// The drive that stage2 was read from (u8).
    pub const DRIVE: i16 = -4;
    /// The letter of the error that step 1 reports (u8), and behind it the BIOS's status: how the
    /// first drive that was tried has failed. `D` as long as none has.
    pub const LETTER: i16 = -6;
    /// The 32 bytes that PUSHAD left: EDI at the lowest address, EAX at the highest.
    pub const REGISTERS: i16 = -38;
    /// The time-stamp counter at stage1's start, bits 31:0; 0 where the CPU has none.
    pub const TIME_STAMP_LOW: i16 = REGISTERS + 28;
    /// How stage2 was read (u16). 0: by LBA, in sectors of 512 bytes; [`WAY_CHS`]; [`WAY_CD`].
    pub const WAY: i16 = REGISTERS + 24;
    /// By cylinder, head and sector, with this many sectors per track, because reading by LBA
    /// failed or did not deliver stage2.
    pub const WAY_CHS: RangeInclusive<u16> = 1..=63;
    /// By LBA, in blocks of 2048 bytes.
    pub const WAY_CD: u16 = 2048;
    /// Not by the BIOS: another loader had brought it ([`crate::multiboot`]).
    pub const WAY_MULTIBOOT: u16 = 0xFFFF;
    /// Bits 63:32.
    pub const TIME_STAMP_HIGH: i16 = REGISTERS + 20;
    /// The interrupt vector of #UD as the BIOS had it (far address): stage1 has changed it.
    pub const INVALID_OPCODE_VECTOR: i16 = REGISTERS + 16;
}

/// Where stage2 is: filled by `disk-builder`, read by stage1.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct ParameterBlock {
    /// Length of stage2 in sectors of 512 bytes; 1 ..= 352.
    pub sectors: U16,
    /// First sector of stage2, in units of 512 bytes. All of stage2 lies below [`END_LBA`].
    ///
    /// [`END_LBA`]: ParameterBlock::END_LBA
    pub lba: U16,
    /// The value that makes the sum of [`CHECKED`] 0.
    pub adjustment: U16,
}

impl ParameterBlock {
    /// The first sector that stage1 cannot read. It treats sector numbers as signed, so CWD, which
    /// takes one byte, produces their upper half. Cylinder numbers stay below 256 on any real
    /// geometry.
    pub const END_LBA: u32 = 0x8000;
}

// LES reads both in one go: the length to a register, the first sector to ES.
const _: () = assert!(
    offset_of!(ParameterBlock, lba) == offset_of!(ParameterBlock, sectors) + size_of::<U16>()
);
// stage2 lies in front of the boot partition.
const _: () = assert!(crate::PARTITION_LBA <= ParameterBlock::END_LBA);

/// One entry of the partition table.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct PartitionEntry {
    /// 0x80: the partition to boot from; 0: any other.
    pub status: u8,
    /// Cylinder, head and sector of the first sector, in INT 13h's packed form.
    pub first_chs: [u8; 3],
    /// What is in the partition; 0: the entry is free.
    pub kind: u8,
    /// Cylinder, head and sector of the last sector.
    pub last_chs: [u8; 3],
    /// First sector, in the disk's logical sectors.
    pub first_lba: U32,
    /// Length, in the disk's logical sectors.
    pub sectors: U32,
}

/// The whole sector.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Mbr {
    /// stage1: its jump, the BPB area, its code and the [`ParameterBlock`].
    pub code: [u8; 440],
    /// Random or derived number by which operating systems tell disks apart.
    pub disk_signature: U32,
    /// Zero (0x5A5A: write-protected, to some operating systems).
    pub reserved: U16,
    /// The four primary partitions.
    pub partitions: [PartitionEntry; 4],
    /// [`BOOT_SIGNATURE`].
    pub signature: U16,
}

const _: () = assert!(size_of::<Mbr>() == SECTOR_SIZE);
const _: () = assert!(PARTITION_TABLE_OFFSET == 446);
