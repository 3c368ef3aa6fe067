//! The choice of the boot partition on disks whose sectors are larger than 512 bytes.

use boot_path::disk::block_device::{DiskError, DiskFailure};
use boot_path::disk::partition::{self, PartitionError};
use boot_path::errors::catalogue::Report;
use boot_path::position::Lba;

use crate::disks::{MemoryDisk, Tiny};
use crate::partition::{SIGNATURE, mbr};

const MIB: usize = 1 << 20;

/// A disk with this table and FAT boot sectors at these byte offsets.
fn disk(
    sector_size: usize,
    entries: &[(usize, u8, u8, u32, u32)],
    volumes: &[usize],
) -> MemoryDisk {
    let mut bytes = vec![0; 6 * MIB];
    bytes[..512].copy_from_slice(&mbr(entries));
    let boot_sector = Tiny::new(16).image();
    for &offset in volumes {
        bytes[offset..][..512].copy_from_slice(&boot_sector[..512]);
    }
    MemoryDisk::new(bytes, sector_size)
}

/// Makes a CD of a disk.
fn with_iso9660(mut disk: MemoryDisk) -> MemoryDisk {
    disk.bytes[16 * 2048..][..7].copy_from_slice(b"\x01CD001\x01");
    disk
}

fn found(disk: &mut MemoryDisk) -> Result<(u64, u64), PartitionError> {
    partition::find(disk).map(|partition| {
        assert_eq!((partition.number, partition.signature), (1, SIGNATURE));
        (partition.first_lba.as_u64(), partition.sectors)
    })
}

#[test]
fn a_disk_with_512_byte_sectors_is_read_once() {
    let mut disk = with_iso9660(disk(512, &[(1, 0x80, 0x0C, 2048, 4201)], &[]));
    assert_eq!(found(&mut disk), Ok((2048, 4201)));
    assert_eq!(disk.reads, [(0, 1)]);
}

#[test]
fn a_table_counts_in_the_disks_own_sectors() {
    for size in [1024, 2048, 4096] {
        let lba = (MIB / size) as u32;
        let mut disk = disk(size, &[(1, 0x80, 0x0C, lba, 77)], &[MIB]);
        assert_eq!(found(&mut disk), Ok((lba.into(), 77)), "{size}");
        // This holds even if something else lies where the volume would be in units of 512 bytes.
        let before = lba as usize * 512;
        disk.bytes.copy_within(MIB..MIB + 512, before);
        assert_eq!(found(&mut disk), Ok((lba.into(), 77)), "{size}");
    }
}

#[test]
fn or_in_512_bytes_when_the_volume_is_there() {
    // With sectors of 2048 bytes, that sector would not exist; with 1024, it would be another one.
    for (size, sectors) in [(1024, 2101), (2048, 1051), (4096, 526)] {
        let lba = (MIB / size) as u64;
        let mut disk = disk(size, &[(1, 0x80, 0x0C, 2048, 4201)], &[MIB]);
        assert_eq!(found(&mut disk), Ok((lba, sectors)), "{size}");
        // The size of the disk need not be known.
        disk.claimed_sectors = Some(u64::MAX);
        assert_eq!(found(&mut disk), Ok((lba, sectors)), "{size}");
    }
}

#[test]
fn on_a_cd_it_counts_in_512_bytes() {
    for size in [2048, 4096] {
        // The other place lies within the partition, where a file may look like a volume.
        let decoy = 1280 * size;
        let entries = [(1, 0x80, 0x0C, 1280, 10000)];
        let volumes = [1280 * 512, decoy];
        let lba = (1280 * 512 / size) as u64;
        let sectors = (10000 * 512 / size) as u64;
        let mut own = disk(size, &entries, &volumes);
        assert_eq!(found(&mut own), Ok((1280, 10000)), "{size}");
        let mut cd = with_iso9660(disk(size, &entries, &volumes));
        assert_eq!(found(&mut cd), Ok((lba, sectors)), "{size}");
        // A CD whose descriptor cannot be read is only a disk.
        cd.bad = Some(16 * 2048 / size as u64);
        assert_eq!(found(&mut cd), Ok((1280, 10000)), "{size}");
        cd.bytes[decoy..][..512].fill(0);
        assert_eq!(found(&mut cd), Ok((lba, sectors)), "{size}");
    }
}

#[test]
fn a_volume_that_is_nowhere_is_for_the_next_step_to_miss() {
    let entries = [(1, 0x80, 0x0C, 1280, 10000)];
    assert_eq!(found(&mut disk(2048, &entries, &[])), Ok((1280, 10000)));
    let mut cd = with_iso9660(disk(2048, &entries, &[]));
    assert_eq!(found(&mut cd), Ok((320, 2500)));
    // Behind the end in both units.
    let mut small = with_iso9660(disk(2048, &[(1, 0x80, 0x0C, 1 << 20, 1)], &[]));
    let error = found(&mut small).unwrap_err();
    assert_eq!(
        Report(&error).to_string(),
        "error 7B: the sectors lie behind the end of the disk: \
         partition 1 starts at LBA 1048576, the disk has 12288 sectors"
    );
}

#[test]
fn a_partition_within_a_larger_sector_is_refused() {
    let mut cd = with_iso9660(disk(2048, &[(1, 0x80, 0x0C, 1281, 5000)], &[1281 * 512]));
    let error = found(&mut cd).unwrap_err();
    assert_eq!(
        Report(&error).to_string(),
        "error 7C: there is no boot partition: \
         partition 1 starts at LBA 1281 of 512 bytes, within a sector of 2048"
    );
}

#[test]
fn a_disk_that_cannot_be_read_is_no_disk_without_a_table() {
    let mut disk = disk(2048, &[(1, 0x80, 0x0C, 2048, 10)], &[MIB]);
    disk.bad = Some(0);
    let error = partition::find(&mut disk).unwrap_err();
    assert_eq!(
        error,
        PartitionError::Disk(DiskError {
            cause: DiskFailure::Status(0x10),
            lba: Lba::ZERO,
            drive: 0x80
        })
    );
    assert!(Report(&error).to_string().starts_with("error 7A: "));
}
