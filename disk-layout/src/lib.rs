//! **Contract 1: what lies where on the disk.**
//!
//! `disk-builder` writes it, stage1 and stage2 read it. Everything that two of them must agree on
//! is defined here once; assembly receives it as `const` operands.
//!
//! | LBA | what |
//! | --- | --- |
//! | 0 | [`Mbr`]: stage1's code, its [`ParameterBlock`], the partition table |
//! | 1 … | stage2, one contiguous run that begins with a [`Stage2Header`] |
//! | 2048 … | the boot partition (FAT), aligned to 1 MiB |
#![no_std]
#![forbid(unsafe_code)]

pub mod mbr;
pub mod stage2;

pub use mbr::{Mbr, ParameterBlock, PartitionEntry};
pub use stage2::{Road, Stage2Header};

/// Bytes in a sector of the image. A disk with larger logical sectors holds the same bytes in
/// fewer sectors.
pub const SECTOR_SIZE: usize = 512;

/// The LBA at which `disk-builder` starts the boot partition: 1 MiB, which every partitioning tool
/// and every flash translation layer is happy with.
pub const PARTITION_LBA: u32 = 2048;

/// The most sectors that one INT 13h call may transfer. Phoenix BIOSes take no more than 127.
pub const MAX_TRANSFER_SECTORS: u16 = 127;
