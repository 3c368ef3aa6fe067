//! The layout of an image that is both a disk and a CD.
//!
//! A BIOS that boots a disk reads the MBR; one that boots a CD reads block 17, the boot catalogue,
//! and the boot program. Both find the same stage2 and the same boot partition.
//!
//! ```text
//! block    LBA
//!     0      0  MBR
//!    16     64  primary volume descriptor
//!    17     68  boot record: where the boot catalogue is
//!    18     72  end of the volume descriptors
//!    19     76  boot catalogue: where the CD's boot program is
//!    20     80  path table, least significant bytes first
//!    21     84  path table, most significant bytes first
//!    22     88  root directory: one file, the boot partition
//!    23     92  the CD's boot program, stage1's place in memory and on the path
//!    24     96  stage2
//!   512   2048  the boot partition (FAT)
//! ```

use core::mem::{offset_of, size_of};
use core::ops::Range;

use zerocopy::little_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::{CD_BLOCK, SECTOR_SIZE, iso9660, mbr, stage2};

/// The block of the primary volume descriptor.
pub const PRIMARY_BLOCK: u32 = (iso9660::DESCRIPTORS / CD_BLOCK) as u32;
/// The block of the boot record, where El Torito wants it.
pub const BOOT_RECORD_BLOCK: u32 = PRIMARY_BLOCK + 1;
/// The block that ends the volume descriptors.
pub const TERMINATOR_BLOCK: u32 = BOOT_RECORD_BLOCK + 1;
/// The block of the boot catalogue.
pub const CATALOGUE_BLOCK: u32 = TERMINATOR_BLOCK + 1;
/// The blocks of the two path tables.
pub const PATH_TABLE_BLOCKS: [u32; 2] = [CATALOGUE_BLOCK + 1, CATALOGUE_BLOCK + 2];
/// The block of the root directory.
pub const ROOT_BLOCK: u32 = PATH_TABLE_BLOCKS[1] + 1;
/// The block of the boot program.
pub const PROGRAM_BLOCK: u32 = ROOT_BLOCK + 1;
/// The first block of stage2.
pub const STAGE2_BLOCK: u16 = PROGRAM_BLOCK as u16 + 1;

/// The sectors of 512 bytes in a block.
pub const SECTORS_PER_BLOCK: usize = CD_BLOCK / SECTOR_SIZE;

/// The name of the file that is the boot partition.
pub const PARTITION_FILE: &[u8; 14] = b"BOOTPATH.IMG;1";

/// Bytes of the boot program that survive: stage2 is loaded directly behind them.
pub const CODE_END: usize = (stage2::LOAD_ADDRESS - mbr::LOAD_ADDRESS) as usize;

/// Offset of the [`Parameters`] in the boot program.
pub const PARAMETERS_OFFSET: usize = CODE_END - size_of::<Parameters>();

/// The part of the boot program whose little-endian 16-bit words sum up to 0, as in
/// [`mbr::CHECKED`]. The code in front of it is the same there, except for the jump over the BPB
/// area, which has the message in it.
pub const CHECKED: Range<usize> = (mbr::CHECKED.start - mbr::BPB_AREA.end + mbr::MESSAGE.end
    - mbr::MESSAGE.start)
    .next_multiple_of(2)..CODE_END;

/// Where stage2 is on the CD: filled by `disk-builder`, read by the boot program.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Parameters {
    /// Length of stage2 in blocks; 1 ..= 88.
    pub blocks: U16,
    /// Its first block.
    pub block: U16,
    /// The value that makes the sum of [`CHECKED`] 0.
    pub adjustment: U16,
}

// LES reads both in one go: the length to a register, the first block to ES.
const _: () =
    assert!(offset_of!(Parameters, block) == offset_of!(Parameters, blocks) + size_of::<U16>());
const _: () = assert!(CODE_END <= CD_BLOCK);
// stage2 ends in front of the boot partition.
const _: () = assert!(
    STAGE2_BLOCK as usize * SECTORS_PER_BLOCK + stage2::MAX_LENGTH / SECTOR_SIZE
        <= crate::PARTITION_LBA as usize
);
const _: () = assert!((CHECKED.end - CHECKED.start).is_multiple_of(2));
