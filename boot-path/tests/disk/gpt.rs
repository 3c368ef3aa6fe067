//! Disks with a GPT.

use boot_path::disk::block_device::BlockDevice as _;
use boot_path::disk::partition::{self, Partition, PartitionError};
use boot_path::errors::catalogue::Report;
use boot_path::position::Lba;

use crate::disks::MemoryDisk;

const MIB: usize = 1 << 20;

/// A disk as `sgdisk -n 1:2048:0` leaves it: a protective MBR, header and copy.
fn gpt(sector_size: usize) -> MemoryDisk {
    let mut bytes = vec![0; 4 * MIB];
    let last = (bytes.len() / sector_size - 1) as u32;
    let entry = &mut bytes[446..462];
    entry.copy_from_slice(b"\0\0\x02\0\xEE\xFF\xFF\xFF\x01\0\0\0\0\0\0\0");
    entry[12..16].copy_from_slice(&last.to_le_bytes());
    bytes[510..512].copy_from_slice(&[0x55, 0xAA]);
    for lba in [1, last as usize] {
        bytes[lba * sector_size..][..12].copy_from_slice(b"EFI PART\0\0\x01\0");
    }
    MemoryDisk::new(bytes, sector_size)
}

#[test]
fn a_gpt_is_named() {
    for sector_size in [512, 4096] {
        let mut disk = gpt(sector_size);
        let last = disk.sector_count() - 1;
        assert_eq!(
            partition::find(&mut disk),
            Err(PartitionError::Gpt(Some(Lba::new(1))))
        );
        // Some BIOSes boot only if an entry is active.
        disk.bytes[446] = 0x80;
        assert_eq!(
            partition::find(&mut disk),
            Err(PartitionError::Gpt(Some(Lba::new(1))))
        );
        // A loader behind the MBR has overwritten the header.
        disk.bytes[sector_size..][..8].fill(0);
        let error = partition::find(&mut disk).unwrap_err();
        assert_eq!(error, PartitionError::Gpt(Some(Lba::new(last))));
        assert_eq!(
            Report(&error).to_string(),
            format!(
                "error 7D: the disk has a GPT, which is not supported: its header is in LBA {last}"
            )
        );
        // Nobody knows where the disk ends.
        disk.claimed_sectors = Some(u64::MAX);
        disk.reads.clear();
        assert_eq!(partition::find(&mut disk), Err(PartitionError::Gpt(None)));
        assert!(
            disk.reads.iter().all(|&(lba, _)| lba <= 64),
            "{:?}",
            disk.reads
        );
    }
    // Only the MBR is gone.
    let mut disk = gpt(512);
    disk.bytes[..512].fill(0);
    assert_eq!(
        partition::find(&mut disk),
        Err(PartitionError::Gpt(Some(Lba::new(1))))
    );
}

/// A hybrid MBR: the partition that can be booted is booted.
#[test]
fn a_fat_partition_beside_a_gpt_is_booted() {
    for status in [0, 0x80] {
        let mut disk = gpt(512);
        let mut entry = [0; 16];
        entry[0] = status;
        entry[4] = 0x0C;
        entry[8..16].copy_from_slice(b"\0\x08\0\0\0\x10\0\0");
        disk.bytes[462..478].copy_from_slice(&entry);
        let expected = Partition {
            number: 2,
            kind: 0x0C,
            first_lba: Lba::new(2048),
            sectors: 4096,
            signature: 0,
        };
        assert_eq!(partition::find(&mut disk), Ok(expected));
    }
}
