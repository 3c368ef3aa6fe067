//! Disks with a GPT.

use boot_path::disk::block_device::BlockDevice as _;
use boot_path::disk::gpt::GptVolume;
use boot_path::disk::partition::{self, Partition, PartitionError};
use boot_path::errors::catalogue::Report;
use boot_path::position::Lba;

use crate::disks::{MemoryDisk, Tiny};

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

/// A disk as an installer for UEFI leaves it, with entries of this size: a partition of Linux, one
/// with FAT, and an EFI system partition, each at its LBA.
fn with_entries(sector_size: usize, entry_size: usize) -> MemoryDisk {
    const LINUX: [u8; 16] = [0xAF; 16];
    const BASIC: [u8; 16] = [0xA2; 16];
    // C12A7328-F81F-11D2-BA4B-00A0C93EC93B, the first three fields in the byte order of PCs.
    const EFI: [u8; 16] = *b"\x28\x73\x2A\xC1\x1F\xF8\xD2\x11\xBA\x4B\0\xA0\xC9\x3E\xC9\x3B";

    let mut disk = gpt(sector_size);
    let last = disk.sector_count() as usize - 1;
    for (header, entries) in [(1, 2), (last, last - 16)] {
        let header = &mut disk.bytes[header * sector_size..][..92];
        header[72..80].copy_from_slice(&(entries as u64).to_le_bytes());
        header[80..84].copy_from_slice(&5u32.to_le_bytes());
        header[84..88].copy_from_slice(&(entry_size as u32).to_le_bytes());
        for (index, kind, lba) in [(0, LINUX, 100), (1, BASIC, 200), (4, EFI, 300u64)] {
            let entry = &mut disk.bytes[entries * sector_size + index * entry_size..][..48];
            entry[..16].copy_from_slice(&kind);
            entry[32..40].copy_from_slice(&lba.to_le_bytes());
        }
    }
    disk
}

#[test]
fn the_fat_volume_in_a_gpt_is_named() {
    let boot = &Tiny::new(12).image()[..512];
    for (sector_size, entry_size) in [(512, 128), (512, 256), (512, 1024), (4096, 128)] {
        let mut disk = with_entries(sector_size, entry_size);
        let gpt_at = |lba| Err(PartitionError::Gpt(Some(Lba::new(lba))));
        assert_eq!(partition::find(&mut disk), gpt_at(1));
        let found = |disk: &mut MemoryDisk, number, lba, is_efi| {
            let volume = GptVolume {
                number,
                first_lba: Lba::new(lba),
                is_efi,
            };
            let error = partition::find(disk);
            assert_eq!(error, Err(PartitionError::GptFat(volume)), "{sector_size}");
        };
        disk.bytes[200 * sector_size..][..512].copy_from_slice(boot);
        found(&mut disk, 2, 200, false);
        disk.bytes[300 * sector_size..][..512].copy_from_slice(boot);
        found(&mut disk, 5, 300, true);
        // A loader behind the MBR has overwritten the header; the copy leads there, too.
        disk.bytes[sector_size..][..8].fill(0);
        found(&mut disk, 5, 300, true);
        // An entry that says that it is free.
        let last = disk.sector_count() as usize - 1;
        disk.bytes[(last - 16) * sector_size + 4 * entry_size..][..16].fill(0);
        found(&mut disk, 2, 200, false);
    }
    let mut disk = with_entries(512, 128);
    disk.bytes[300 * 512..][..512].copy_from_slice(boot);
    assert_eq!(
        Report(&partition::find(&mut disk).unwrap_err()).to_string(),
        "error 7D: the disk has a GPT, which is not supported: \
         its partition 5 at LBA 300 holds FAT (the EFI system partition), \
         but is not in the table of LBA 0, by which a BIOS's disks are booted"
    );
}

/// Any number of entries, of any size, anywhere.
#[test]
fn a_strange_gpt_is_bounded() {
    for (entries, count, size) in [
        (2, u32::MAX, 128),
        (u64::MAX, 5, 128),
        (2, 5, 0),
        (2, 5, 100),
        (2, 5, u32::MAX - 127),
        (u64::MAX / 512, u32::MAX, 128),
    ] {
        let mut disk = with_entries(512, 128);
        let header = &mut disk.bytes[512..][..92];
        header[72..80].copy_from_slice(&entries.to_le_bytes());
        header[80..84].copy_from_slice(&count.to_le_bytes());
        header[84..88].copy_from_slice(&size.to_le_bytes());
        let found = partition::find(&mut disk);
        assert_eq!(found, Err(PartitionError::Gpt(Some(Lba::new(1)))));
        assert!(disk.reads.len() < 300, "{}", disk.reads.len());
    }
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
