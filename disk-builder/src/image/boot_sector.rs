//! The first sector: stage1 with its parameters, and the partition table.

use std::io;

use anyhow::Result;
use disk_layout::{PARTITION_LBA, ParameterBlock, SECTOR_SIZE, mbr};
use mbrman::{BOOT_ACTIVE, CHS, MBRHeader, MBRPartitionEntry};
use zerocopy::IntoBytes as _;

use crate::geometry::{Geometry, Tracks};
use crate::output::OEM_NAME;
use crate::stages::Stage1;

/// LBA 0; `lba` and `sectors` are stage2's.
pub(super) fn boot_sector(
    stage1: &Stage1,
    (lba, sectors): (u16, u16),
    geometry: &Geometry,
    signature: u32,
) -> Result<Vec<u8>> {
    let mut header = MBRHeader::new(signature.to_le_bytes());
    header.bootstrap_code = stage1.code;
    put_parameter_dummy(&mut header.bootstrap_code, geometry);
    let mut parameters = ParameterBlock {
        sectors: sectors.into(),
        lba: lba.into(),
        adjustment: 0.into(),
    };
    let code = &mut header.bootstrap_code;
    code[mbr::PARAMETER_BLOCK_OFFSET..].copy_from_slice(parameters.as_bytes());
    parameters.adjustment = 0_u16
        .wrapping_sub(disk_layout::sum(&code[mbr::CHECKED]))
        .into();
    code[mbr::PARAMETER_BLOCK_OFFSET..].copy_from_slice(parameters.as_bytes());
    let last = PARTITION_LBA + (geometry.partition_sectors - 1);
    header.partition_1 = MBRPartitionEntry {
        boot: BOOT_ACTIVE,
        first_chs: chs(PARTITION_LBA, geometry.tracks),
        sys: geometry.kind.partition_type(),
        last_chs: chs(last, geometry.tracks),
        starting_lba: PARTITION_LBA,
        sectors: geometry.partition_sectors,
    };
    let mut sector = io::Cursor::new(Vec::with_capacity(SECTOR_SIZE));
    header.write_into(&mut sector)?;
    Ok(sector.into_inner())
}

/// Cylinder, head and sector of an LBA; the highest ones there are for an LBA that is too large.
fn chs(lba: u32, tracks: Tracks) -> CHS {
    let Tracks { heads, sectors } = tracks;
    CHS::from_lba_exact(lba, 1023, heads, sectors).unwrap_or(CHS::new(1023, heads - 1, sectors))
}

/// Puts into the BPB area what it holds on disk.
///
/// Some BIOSes look there for the geometry of a USB stick, so it names the one that the partition
/// table is written in. It also says that there are no FATs and no reserved sectors: tools would
/// take a disk with a complete parameter block for one large FAT volume.
fn put_parameter_dummy(code: &mut [u8; mbr::CODE_END], geometry: &Geometry) {
    let sectors = u32::try_from(geometry.image_bytes / SECTOR_SIZE as u64).unwrap_or(u32::MAX);
    // Offsets in the sector: Microsoft, "FAT: General Overview of On-Disk Format", section "Boot
    // Sector and BPB".
    let mut put = |offset: usize, bytes: &[u8]| {
        code[offset..][..bytes.len()].copy_from_slice(bytes);
    };
    put(0x03, &OEM_NAME);
    put(0x0B, &(SECTOR_SIZE as u16).to_le_bytes()); // bytes per sector
    put(0x15, &[0xF8]); // media: fixed disk
    put(0x18, &u16::from(geometry.tracks.sectors).to_le_bytes());
    put(0x1A, &u16::from(geometry.tracks.heads).to_le_bytes());
    put(0x20, &sectors.to_le_bytes()); // total sectors
    put(0x24, &[0x80]); // drive number
}
