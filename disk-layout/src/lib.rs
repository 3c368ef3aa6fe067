//! **Contract 1: what lies where on the disk.**
//!
//! `disk-builder` writes it, stage1 and stage2 read it. Everything that two of them must agree on
//! is defined here once; assembly receives it as `const` operands.
//!
//! | LBA | what |
//! | --- | --- |
//! | 0 | [`Mbr`]: stage1's code, its [`ParameterBlock`], the partition table |
//! | 1 … | stage2, one contiguous run that begins with a [`Stage2Header`] and ends with a [`manifest`]; where exactly, the [`ParameterBlock`] says |
//! | 2048 … | the boot partition (FAT), aligned to 1 MiB |
//!
//! An image that is a CD as well has more in between: see [`cd`].
#![no_std]
#![forbid(unsafe_code)]

pub mod mbr;
pub mod multiboot;
pub mod stage2;
pub mod manifest;
pub mod parts;
pub mod iso9660;
pub mod cd;

pub use mbr::{Mbr, ParameterBlock, PartitionEntry};
pub use stage2::Road;
pub use stage2::Stage2Header;

/// Bytes in a sector of the image. A disk with larger logical sectors holds the same bytes in
/// fewer sectors.
pub const SECTOR_SIZE: usize = 512;

/// Bytes in a block of a CD, the unit in which INT 13h counts there.
pub const CD_BLOCK: usize = 2048;

/// The LBA at which `disk-builder` starts the boot partition: 1 MiB, which every partitioning tool
/// and every flash translation layer is happy with.
pub const PARTITION_LBA: u32 = 2048;

/// The sum, modulo 2¹⁶, of little-endian words. stage1 sums up itself this way, and El Torito
/// requires it for the boot catalogue. It detects any damage within one word, but not words that
/// have changed places. An odd last byte is left out.
pub fn sum(bytes: &[u8]) -> u16 {
    let (words, _) = bytes.as_chunks();
    words
        .iter()
        .fold(0, |sum, &word| sum.wrapping_add(u16::from_le_bytes(word)))
}

/// The most sectors that one INT 13h call may transfer. Phoenix BIOSes take no more than 127.
pub const MAX_TRANSFER_SECTORS: u16 = 127;

/// I/O port of the first serial line, on which stage1 and stage2 print.
pub const COM1: u16 = 0x3F8;
