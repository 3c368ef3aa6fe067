//! The choice of the boot partition.

use boot_path::disk::partition::{self, Candidate, PartitionError, TableLba, boot_partition};
use boot_path::errors::catalogue::{self, Named as _, Report};
use proptest::prelude::*;

use crate::disks::{self, MemoryDisk, Tiny};

pub(crate) const SIGNATURE: u32 = 0x1234_5678;

/// An MBR with these entries: number, status, kind, first LBA, sectors.
pub(crate) fn mbr(entries: &[(usize, u8, u8, u32, u32)]) -> [u8; 512] {
    let mut sector = [0; 512];
    sector[440..444].copy_from_slice(&SIGNATURE.to_le_bytes());
    for &(number, status, kind, first, sectors) in entries {
        let entry = &mut sector[446 + 16 * (number - 1)..][..16];
        entry[0] = status;
        entry[4] = kind;
        entry[8..12].copy_from_slice(&first.to_le_bytes());
        entry[12..16].copy_from_slice(&sectors.to_le_bytes());
    }
    sector[510..].copy_from_slice(&[0x55, 0xAA]);
    sector
}

fn chosen(entries: &[(usize, u8, u8, u32, u32)]) -> Result<(u8, u64, u64), PartitionError> {
    boot_partition(&mbr(entries), 1 << 20).map(|partition| {
        assert_eq!(partition.signature, SIGNATURE);
        let first_lba = partition.first_lba.as_u64();
        (partition.number, first_lba, partition.sectors)
    })
}

#[test]
fn the_active_entry_is_chosen() {
    for number in 1..=4 {
        let entries = [(number, 0x80, 0x0C, 2048, 1000)];
        assert_eq!(chosen(&entries), Ok((number as u8, 2048, 1000)));
    }
    // The active entry comes before others of a FAT kind, whatever its own kind is.
    let entries = [
        (1, 0, 0x0C, 63, 10),
        (3, 0x80, 0x83, 2048, 1000),
        (4, 0, 0x06, 9, 9),
    ];
    assert_eq!(chosen(&entries), Ok((3, 2048, 1000)));
    // The first of several active entries counts.
    let entries = [(2, 0x80, 0x0C, 63, 10), (3, 0x80, 0x0C, 2048, 1000)];
    assert_eq!(chosen(&entries), Ok((2, 63, 10)));
}

#[test]
fn without_an_active_entry_the_first_of_a_fat_kind() {
    for kind in [
        1, 4, 6, 0xB, 0xC, 0xE, 0x11, 0x14, 0x16, 0x1B, 0x1C, 0x1E, 0xEF,
    ] {
        let entries = [
            (1, 0, 0x83, 63, 10),
            (2, 0, kind, 100, 10),
            (3, 0, 0x0C, 200, 10),
        ];
        assert_eq!(chosen(&entries), Ok((2, 100, 10)), "{kind:#x}");
    }
    for kind in [2, 5, 7, 0xA, 0xD, 0xF, 0x82, 0x83, 0xEE, 0xFF] {
        assert_eq!(
            chosen(&[(1, 0, kind, 63, 10)]),
            Err(PartitionError::NoEntry),
            "{kind:#x}"
        );
    }
}

#[test]
fn entries_that_are_none_are_passed_over() {
    for none in [
        (1, 0x80, 0, 63, 10),
        (1, 0x80, 0x0C, 0, 10),
        (1, 0x80, 0x0C, 63, 0),
        (1, 0x81, 0x0C, 63, 10),
        (1, 0x7F, 0x0C, 63, 10),
    ] {
        assert_eq!(chosen(&[none]), Err(PartitionError::NoEntry));
        assert_eq!(chosen(&[none, (2, 0, 0x0C, 100, 10)]), Ok((2, 100, 10)));
    }
}

#[test]
fn the_partition_starts_on_the_disk() {
    let sector = mbr(&[(2, 0x80, 0x0C, 2048, 1000)]);
    let error = PartitionError::BehindEnd {
        number: 2,
        first_lba: TableLba::new(2048),
        disk_sectors: 2048,
    };
    assert_eq!(boot_partition(&sector, 2048), Err(error));
    assert_eq!(error.entry(), &catalogue::DISK_RANGE);
    // The partition may end behind the disk: some BIOSes report too small a size.
    assert!(boot_partition(&sector, 2049).is_ok());
    assert!(boot_partition(&sector, u64::MAX).is_ok());
    let last = mbr(&[(2, 0x80, 0x0C, u32::MAX, u32::MAX)]);
    let partition = boot_partition(&last, u64::MAX).unwrap();
    assert_eq!(
        partition.first_lba.as_u64() + partition.sectors,
        2 * u64::from(u32::MAX)
    );
}

#[test]
fn what_is_no_boot_sector_is_refused() {
    let mut sector = mbr(&[(1, 0x80, 0x0C, 2048, 1000)]);
    for short in [&sector[..511], &sector[..0]] {
        assert_eq!(
            boot_partition(short, 1 << 20),
            Err(PartitionError::NoSignature(0))
        );
    }
    sector[510] = 0x54;
    let error = boot_partition(&sector, 1 << 20).unwrap_err();
    assert_eq!(
        Report(&error).to_string(),
        "error 7C: there is no boot partition: LBA 0 ends in AA54h instead of AA55h"
    );
}

#[test]
fn a_disk_can_be_one_volume() {
    let boot = Tiny::new(12).image();
    let whole = Candidate {
        number: 0,
        kind: 0,
        first_lba: TableLba::new(0),
        sectors: 5000,
        signature: 0,
    };
    assert_eq!(boot_partition(&boot, 5000), Ok(whole));
    // Boot code in the place of the table, which looks like an active entry by chance.
    let mut code = boot[..512].to_vec();
    code[446..510].copy_from_slice(&[0x0C; 64]);
    code[446] = 0x80;
    assert_eq!(boot_partition(&code, 5000), Ok(whole));
    // An MBR may carry a BPB.
    let mut both = mbr(&[(1, 0x80, 0x0C, 2048, 1000)]);
    both[..90].copy_from_slice(&boot[..90]);
    assert_eq!(boot_partition(&both, 5000).unwrap().number, 1);
    // mkfs.fat's boot sectors have messages, but not in the table's place.
    let boot = disks::mkfs(4096, &["-F", "12", "-s", "8"]);
    assert_eq!(boot_partition(&boot, 8192).unwrap().number, 0);
}

/// The number of the partition that is chosen when those of `fat` hold a FAT volume.
fn by_content(entries: &[(usize, u8, u8, u32, u32)], fat: &[u32]) -> Result<u8, PartitionError> {
    let mut bytes = vec![0; 512 * 1024];
    bytes[..512].copy_from_slice(&mbr(entries));
    let boot = Tiny::new(12).image();
    for &first in fat {
        bytes[first as usize * 512..][..512].copy_from_slice(&boot[..512]);
    }
    let mut disk = MemoryDisk::new(bytes, 512);
    partition::find(&mut disk).map(|partition| partition.number)
}

#[test]
fn the_first_that_holds_fat_is_chosen() {
    let active = (1, 0x80, 0x07, 64, 64);
    let fat = (2, 0, 0x0C, 128, 64);
    let other = (3, 0, 0x83, 192, 64);
    let second = (4, 0x80, 0x0C, 256, 64);
    let all = [active, fat, other, second];
    for (places, number) in [
        (&[64, 128, 192, 256][..], 1),
        (&[128, 192, 256], 4),
        (&[128, 192], 2),
        (&[192], 3),
        // None: the table decides, and the file system says what is wrong.
        (&[], 1),
    ] {
        assert_eq!(by_content(&all, places), Ok(number), "{places:?}");
    }
    assert_eq!(by_content(&[other], &[192]), Ok(3));
    assert_eq!(by_content(&[other], &[]), Err(PartitionError::NoEntry));
    // A damaged boot sector has a backup, which counts as well.
    assert_eq!(by_content(&all, &[64 + 6, 128]), Ok(1));
}

#[test]
fn sectors_may_be_larger() {
    let mut sector = mbr(&[(1, 0x80, 0x0C, 256, 1000)]).to_vec();
    sector.resize(4096, 0xAA);
    assert_eq!(
        boot_partition(&sector, 5000).unwrap().first_lba,
        TableLba::new(256)
    );
}

proptest! {
    #[test]
    fn garbage_gives_a_partition_on_the_disk_or_an_error(
        mut sector in proptest::collection::vec(any::<u8>(), 512),
        statuses in proptest::array::uniform4(prop_oneof![Just(0u8), Just(0x80), any::<u8>()]),
        disk_sectors in any::<u64>(),
    ) {
        sector[510..].copy_from_slice(&[0x55, 0xAA]);
        for (number, status) in statuses.into_iter().enumerate() {
            sector[446 + 16 * number] = status;
        }
        if let Ok(partition) = boot_partition(&sector, disk_sectors) {
            prop_assert!((1..=4).contains(&partition.number));
            let first_lba = partition.first_lba.as_u64();
            prop_assert!(first_lba > 0 && first_lba < disk_sectors);
            prop_assert!(partition.sectors > 0);
            let at = 446 + 16 * (usize::from(partition.number) - 1);
            prop_assert!(sector[at] & 0x7F == 0);
        }
    }
}
