//! Disks and BIOSes that are not as they should be, one test for each thing that may be wrong.

use boot_path::disk::block_device::{BlockDevice, DiskError, DiskFailure};
use boot_path::disk::int13::Drive;
use boot_path::disk::partition::{self, PartitionError};
use boot_path::errors::catalogue::Named as _;
use boot_path::position::Lba;
use proptest::prelude::*;

use crate::fake_bios::{FakeBios, FakeDisk, Fate, INVALID, RandomBios, Whim};

/// Calls that read before a sector is known to be unreadable: three of each size from 127 down, and
/// one by the other way.
const READS_OF_A_DEAD_SECTOR: usize = 7 * 3 + 1;

/// Opens the disk and reads sectors of it, all of which arrive and are the right ones. Returns the
/// BIOS, whose calls are those of the read alone.
#[track_caller]
fn good(disk: FakeDisk, lba: u64, count: usize) -> FakeBios {
    let mut bios = FakeBios::with_disk(disk);
    bios.clobbers = true;
    read_all(&mut bios, lba, count);
    bios
}

#[track_caller]
fn read_all(bios: &mut FakeBios, lba: u64, count: usize) {
    let expected = bios.disk.sectors_from(lba, count);
    let mut drive = Drive::open(&mut *bios, 0x80);
    assert_eq!(drive.sector_size(), expected.len() / count);
    let mut read = Vec::new();
    while read.len() < expected.len() {
        let done = read.len() / drive.sector_size();
        let at_once = (count - done).min(drive.max_transfer());
        read.extend_from_slice(drive.read(Lba::new(lba + done as u64), at_once).unwrap());
    }
    assert!(read == expected, "other bytes");
}

/// The error that a read ends in, and the BIOS afterwards.
fn bad(disk: FakeDisk, lba: u64, count: usize) -> (DiskError, FakeBios) {
    let mut bios = FakeBios::with_disk(disk);
    bios.clobbers = true;
    let mut drive = Drive::open(&mut bios, 0x80);
    let error = drive
        .read(Lba::new(lba), count)
        .expect_err("it cannot be read");
    (error, bios)
}

fn status(status: u8, lba: u64) -> DiskError {
    DiskError {
        cause: DiskFailure::Status(status),
        lba: Lba::new(lba),
        drive: 0x80,
    }
}

/// AH and the number of sectors of each call that reads.
fn reads(bios: &FakeBios) -> Vec<(u8, usize)> {
    let calls = bios.calls.iter().map(|(_, registers)| registers.ah());
    let reads = calls.filter(|ah| matches!(ah, 0x02 | 0x42));
    reads.zip(bios.disk.sizes.iter().copied()).collect()
}

#[test]
fn a_good_disk_is_read_by_few_calls() {
    let bios = good(FakeDisk::new(), 2048, 300);
    assert_eq!(reads(&bios), [(0x42, 127), (0x42, 127), (0x42, 46)]);
    let services: Vec<_> = bios.calls.iter().map(|(_, call)| call.ah()).collect();
    assert_eq!(services, [0x41, 0x48, 0x42, 0x42, 0x42]);
}

/// What stage1 has read by the extensions is not asked for.
#[test]
fn a_disk_that_stage1_has_read_is_asked_nothing() {
    for whim in [
        Whim::DeniesExtensions,
        Whim::Answers41(0x55AA, 1),
        Whim::NoParameters,
        Whim::Parameters(1000, 4096),
    ] {
        let mut bios = FakeBios::with_disk(FakeDisk::new().with(whim));
        bios.clobbers = true;
        let expected = bios.disk.sectors_from(2048, 127);
        let mut drive = Drive::proved_disk(&mut bios, 0x80);
        assert!(drive.read(Lba::new(2048), 127).unwrap() == expected);
        let services: Vec<_> = bios.calls.iter().map(|(_, call)| call.ah()).collect();
        assert_eq!(services, [0x42]);
    }
}

/// How long it is, is asked when a read has failed.
#[test]
fn a_read_across_the_end_of_a_disk_that_was_not_asked() {
    let mut disk = FakeDisk::new();
    disk.sectors = 1000;
    let mut bios = FakeBios::with_disk(disk);
    bios.clobbers = true;
    let expected = bios.disk.sectors_from(950, 50);
    let mut drive = Drive::proved_disk(&mut bios, 0x80);
    assert_eq!(drive.sector_count(), u64::MAX);
    assert!(drive.read(Lba::new(950), 127).unwrap() == expected);
    assert_eq!(drive.sector_count(), 1000);
    let sizes = &drive.bios().disk.sizes;
    assert_eq!(*sizes, [127, 50], "no halves, and nothing behind the end");
    let error = drive.read(Lba::new(1000), 1).unwrap_err();
    assert_eq!(error.cause, DiskFailure::OutOfRange);
    assert_eq!(drive.read(Lba::new(100), 127).unwrap().len(), 127 * 512);
    assert_eq!(bios.count(0x13, 0x48), 1);
    assert_eq!(bios.disk.sizes.last(), Some(&127), "not remembered");
}

/// Whatever the BIOS says then of the size of its sectors, they have the size that stage1 has read.
#[test]
fn a_disk_that_is_asked_late_keeps_its_sectors() {
    let disk = FakeDisk::new().with(Whim::Parameters(1 << 21, 4096));
    let mut bios = FakeBios::with_disk(disk.with(Whim::Transient(1, 0x0C)));
    let expected = bios.disk.sectors_from(2048, 127);
    let mut drive = Drive::proved_disk(&mut bios, 0x80);
    assert!(drive.read(Lba::new(2048), 127).unwrap() == expected);
    assert_eq!((drive.sector_size(), drive.sector_count()), (512, 1 << 21));
}

#[test]
fn no_call_reads_more_than_127_sectors_or_crosses_64_kib() {
    let disk = FakeDisk::new().with(Whim::AtMost(127));
    let bios = good(disk.with(Whim::No64KCrossing), 0, 1000);
    assert_eq!(bios.count(0x13, 0), 0, "resets");
}

#[test]
fn every_call_names_the_drive() {
    // All registers are junk after each call: the disk and the BIOS would complain.
    let mut disk = FakeDisk::new().with(Whim::Transient(1, 0x11));
    disk.number = 0x81;
    let mut bios = FakeBios::with_disk(disk);
    bios.clobbers = true;
    let expected = bios.disk.sector(7);
    let mut drive = Drive::open(&mut bios, 0x81);
    assert_eq!(drive.number(), 0x81);
    assert!(drive.read(Lba::new(7), 1).unwrap() == expected);
    assert_eq!(drive.reads(), 2);
}

#[test]
fn without_extensions_tracks_are_read() {
    for whim in [
        Whim::NoExtensions,
        Whim::DeniesExtensions,
        Whim::LeavesCarry(0x41),
        Whim::Answers41(0x55AA, 1),
        Whim::Answers41(0xAA55, 0b110),
    ] {
        let bios = good(FakeDisk::new().with(whim), 2048, 100);
        // LBA 2048 is sector 33 of its track.
        assert_eq!(reads(&bios), [(0x02, 32 - 1), (0x02, 63), (0x02, 6)]);
        assert_eq!(bios.count(0x13, 0x48), 0);
    }
}

#[test]
fn a_floppy_has_tracks_of_its_own() {
    let mut disk = FakeDisk::new().with(Whim::NoExtensions);
    (disk.heads, disk.sectors_per_track, disk.sectors) = (2, 18, 2880);
    let bios = good(disk.clone(), 30, 60);
    assert_eq!(
        reads(&bios),
        [(0x02, 6), (0x02, 18), (0x02, 18), (0x02, 18)]
    );
    // Behind the end of the disk. The loader asks for the geometry once more than when it opened
    // the disk.
    let (error, bios) = bad(disk, 2880, 1);
    assert_eq!(error, status(0x04, 2880));
    assert!(bios.calls.len() < 12);
}

#[test]
fn the_highest_cylinder_is_1023() {
    let last = 1024 * 255 * 63 - 1;
    let mut disk = FakeDisk::new().with(Whim::NoExtensions);
    disk.sectors = last + 100;
    good(disk.clone(), last, 1);
    let (error, bios) = bad(disk, last + 1, 1);
    assert_eq!(error, status(0x04, last + 1));
    assert_eq!(bios.count(0x13, 0x02), 0);
}

#[test]
fn extensions_that_are_only_claimed() {
    let bios = good(FakeDisk::new().with(Whim::OnlyClaimsExtensions), 0, 300);
    let by_lba = reads(&bios).iter().filter(|(ah, _)| *ah == 0x42).count();
    assert_eq!(
        by_lba,
        READS_OF_A_DEAD_SECTOR - 1,
        "it stays the way that works"
    );
    // If there is no geometry either, the disk cannot be read.
    let disk = FakeDisk::new().with(Whim::OnlyClaimsExtensions);
    let (error, bios) = bad(disk.with(Whim::NoGeometry), 9, 63);
    assert_eq!(error, status(INVALID, 9));
    assert!(bios.calls.len() < 50);
}

#[test]
fn extensions_that_are_denied_are_tried_where_tracks_do_not_help() {
    for whim in [Whim::NoGeometry, Whim::ZeroSectorsPerTrack] {
        let disk = FakeDisk::new().with(Whim::DeniesExtensions).with(whim);
        let bios = good(disk.clone(), 1, 200);
        assert_eq!(bios.count(0x13, 0x02), 0);
        let (error, bios) = bad(disk.with(Whim::NoExtensions), 1, 1);
        assert_eq!(error, status(0x04, 1));
        assert!(bios.calls.len() < 12);
    }
}

#[test]
fn parameters_may_be_longer_than_asked_for() {
    let disk = FakeDisk::new().with(Whim::ParametersOverrun(400));
    good(disk.with(Whim::WantsZeroFlags), 5, 5);
}

#[test]
fn sectors_of_another_size() {
    for size in [1024, 2048, 4096, 32768] {
        let mut disk = FakeDisk::new();
        disk.sector_size = size;
        let bios = good(disk, 3, 100);
        assert_eq!(reads(&bios)[0], (0x42, 127.min(65536 / size).min(100)));
    }
    // Sectors of these sizes cannot be read in any other way.
    let mut disk = FakeDisk::new().with(Whim::Always(0x10));
    disk.sector_size = 4096;
    let (error, bios) = bad(disk, 1, 16);
    assert_eq!(error, status(0x10, 1));
    assert_eq!(bios.count(0x13, 0x08) + bios.count(0x13, 0x02), 0);
}

/// A CD, from which stage2 was read.
#[test]
fn a_drive_that_was_read_before_is_not_asked() {
    let mut disk = FakeDisk::new().with(Whim::DeniesExtensions);
    disk = disk.with(Whim::Parameters(1, 512)).with(Whim::NoGeometry);
    disk.sector_size = 2048;
    let expected = disk.sectors_from(512, 100);
    let mut bios = FakeBios::with_disk(disk);
    bios.clobbers = true;
    let mut drive = Drive::proved(&mut bios, 0x80, 2048);
    assert!(drive.by_lba());
    assert_eq!((drive.sector_size(), drive.max_transfer()), (2048, 32));
    assert!(drive.read(Lba::new(512), 32).unwrap() == &expected[..32 * 2048]);
    assert!(drive.read(Lba::new(544), 32).unwrap() == &expected[32 * 2048..][..32 * 2048]);
    let services: Vec<_> = bios.calls.iter().map(|(_, call)| call.ah()).collect();
    assert_eq!(services, [0x42, 0x42]);
}

#[test]
fn parameters_that_make_no_sense() {
    for size in [0, 1, 256, 511, 513, 520, 1000, 0xEEEE, 0xFFFF] {
        for sectors in [0, 1 << 21, u64::MAX] {
            let disk = FakeDisk::new().with(Whim::Parameters(sectors, size));
            let bios = good(disk.clone(), 2048, 127);
            assert_eq!(bios.calls.len(), 3);
            let drive = Drive::open(FakeBios::with_disk(disk), 0x80);
            assert!(drive.sector_count() >= 1 << 21);
        }
    }
    for whim in [Whim::NoParameters, Whim::LeavesCarry(0x48)] {
        let bios = good(FakeDisk::new().with(whim), 2048, 127);
        assert_eq!(reads(&bios), [(0x42, 127)]);
    }
}

#[test]
fn a_disk_that_is_larger_than_its_bios_says() {
    // Like a number of sectors that was cut to fewer bits.
    let disk = FakeDisk::new().with(Whim::Parameters(1000, 512));
    let bios = good(disk, 2048, 127);
    assert_eq!(reads(&bios), [(0x42, 127)]);

    let mut bios = FakeBios::with_disk(FakeDisk::new().with(Whim::Parameters(1000, 512)));
    bios.disk.content.insert(0, mbr(2048));
    let mut drive = Drive::open(&mut bios, 0x80);
    let partition = partition::find(&mut drive).unwrap();
    assert_eq!(partition.first_lba, Lba::new(2048));
    assert_eq!(drive.sector_count(), u64::MAX, "what was said was wrong");
}

#[test]
fn a_partition_behind_the_end() {
    let mut disk = FakeDisk::new();
    disk.sectors = 1000;
    disk.content.insert(0, mbr(2048));
    let mut bios = FakeBios::with_disk(disk);
    let mut drive = Drive::open(&mut bios, 0x80);
    let error = partition::find(&mut drive).unwrap_err();
    let PartitionError::BehindEnd { disk_sectors, .. } = error else {
        panic!("{error:?}")
    };
    assert_eq!(disk_sectors, 1000);
    // And a read there says so, too.
    let error = drive.read(Lba::new(1000), 1).unwrap_err();
    assert_eq!(error.cause, DiskFailure::OutOfRange);

    // If nobody has asked how long the disk is, the read is what says so.
    let mut drive = Drive::proved_disk(&mut bios, 0x80);
    let partition = partition::find(&mut drive).unwrap();
    let error = drive.read(partition.first_lba, 1).unwrap_err();
    assert_eq!(error.cause, DiskFailure::OutOfRange);
}

#[test]
fn the_first_sector_cannot_be_read() {
    let mut bios = FakeBios::with_disk(FakeDisk::new().with(Whim::Dead(0..1)));
    let mut drive = Drive::open(&mut bios, 0x80);
    let error = partition::find(&mut drive).unwrap_err();
    assert_eq!(error, PartitionError::Disk(status(0x10, 0)));
    assert_eq!(error.entry().code, "7A");
}

#[test]
fn a_bios_that_takes_fewer_sectors_is_asked_for_fewer() {
    for (most, remembered) in [(126, 63), (64, 63), (32, 31), (8, 7), (1, 1)] {
        let bios = good(FakeDisk::new().with(Whim::AtMost(most)), 100, 1000);
        let reads = reads(&bios);
        let failures = reads.iter().filter(|(_, count)| *count > most).count();
        let sizes = [127, 63, 31, 15, 7, 3, 1];
        let larger = sizes.iter().filter(|size| **size > most).count();
        assert_eq!(failures, 3 * larger, "it is remembered");
        assert!(
            reads[failures..]
                .iter()
                .any(|(_, count)| *count == remembered)
        );
    }
}

#[test]
fn errors_that_go_away() {
    for (times, resets) in [(1, 1), (2, 2)] {
        let bios = good(FakeDisk::new().with(Whim::Transient(times, 0x0C)), 50, 127);
        assert_eq!(bios.count(0x13, 0), resets);
        assert_eq!(reads(&bios).last(), Some(&(0x42, 127)), "not halved");
    }
    // The reads succeed only when the size was halved, or later.
    for times in 3..READS_OF_A_DEAD_SECTOR {
        let disk = FakeDisk::new().with(Whim::Transient(times, 0x0C));
        let bios = good(disk.with(Whim::ZeroesCount), 50, 127);
        assert!(bios.calls.len() < 3 + 2 * READS_OF_A_DEAD_SECTOR + 128);
    }
}

#[test]
fn a_controller_that_is_stuck_until_a_reset() {
    let bios = good(FakeDisk::new().with(Whim::StuckUntilReset), 50, 127);
    assert_eq!(reads(&bios), [(0x42, 127), (0x42, 127)]);
    assert_eq!(bios.count(0x13, 0), 1);
}

#[test]
fn errors_for_ever_have_an_end() {
    for code in [0x04, 0x10, 0x20, 0xBB, 0xFF] {
        let (error, bios) = bad(FakeDisk::new().with(Whim::Always(code)), 77, 127);
        assert_eq!(error, status(code, 77));
        assert_eq!(reads(&bios).len(), READS_OF_A_DEAD_SECTOR);
        assert!(bios.calls.len() < 50);
    }
    // The BIOS may take ten seconds for each of these.
    for code in [0x31, 0x80, 0xAA] {
        for whim in [Whim::NoGeometry, Whim::NoExtensions, Whim::ZeroesCount] {
            let disk = FakeDisk::new().with(Whim::Always(code)).with(whim);
            let (error, bios) = bad(disk, 77, 127);
            assert_eq!(error, status(code, 77));
            assert!(reads(&bios).len() <= 7);
        }
    }
}

#[test]
fn a_dead_sector_costs_only_itself() {
    let disk = FakeDisk::new().with(Whim::Dead(150..152));
    for whim in [Whim::AtMost(127), Whim::NoExtensions, Whim::ZeroesCount] {
        let disk = disk.clone().with(whim);
        let expected = disk.sectors_from(100, 50);
        let mut bios = FakeBios::with_disk(disk);
        let mut drive = Drive::open(&mut bios, 0x80);
        let mut read = Vec::new();
        while read.len() < expected.len() {
            let lba = 100 + (read.len() / 512) as u64;
            read.extend_from_slice(drive.read(Lba::new(lba), 127).unwrap());
        }
        assert!(read == expected, "all in front of it, and not more");
        for lba in [150, 151] {
            assert_eq!(
                drive.read(Lba::new(lba), 127).unwrap_err(),
                status(0x10, lba)
            );
        }
        assert_eq!(drive.read(Lba::new(152), 127).unwrap().len(), 127 * 512);
        let longest = if drive.by_lba() { 127 } else { 63 };
        assert_eq!(bios.disk.sizes.iter().rev().take(3).max(), Some(&longest));
        assert!(bios.calls.len() < 300);
    }
}

#[test]
fn success_with_too_few_sectors_is_none() {
    let bios = good(FakeDisk::new().with(Whim::HalfOfMoreThan(20)), 40, 127);
    assert_eq!(reads(&bios).last().unwrap().0, 0x42);
    let disk = FakeDisk::new().with(Whim::HalfOfMoreThan(0));
    let (error, _) = bad(disk, 40, 1);
    assert_eq!(error, status(0x04, 40));
}

#[test]
fn a_failed_read_that_leaves_its_mark_in_the_packet() {
    // The next packet is a new one: with the old one, the second try would read nothing.
    let disk = FakeDisk::new().with(Whim::ZeroesCount);
    let bios = good(disk.with(Whim::Transient(1, 0x0C)), 40, 100);
    assert_eq!(reads(&bios), [(0x42, 100), (0x42, 100)]);
}

/// The first read is made twice: marks show that its sectors have arrived.
#[test]
fn success_that_clears_the_number_of_sectors() {
    let far = 900_000;
    let disk = || FakeDisk::new().with(Whim::ClearsCount);
    let bios = good(disk(), far, 300);
    assert_eq!(
        reads(&bios),
        [(0x42, 127), (0x42, 127), (0x42, 127), (0x42, 46)]
    );
    // Such a BIOS reports failures all the same.
    good(disk().with(Whim::Transient(2, 0x0C)), far, 300);
    let (error, _) = bad(disk().with(Whim::Dead(far..far + 1)), far, 1);
    assert_eq!(error.lba, Lba::new(far));
    // Nothing has arrived.
    let none = disk().with(Whim::Script(vec![Fate::Short(0); 200]));
    let (error, _) = bad(none.with(Whim::NoGeometry), far, 3);
    assert_eq!(error, status(0x04, far));
    // Two of three have: smaller calls deliver them.
    good(disk().with(Whim::Script(vec![Fate::Short(2); 200])), far, 3);
}

/// Some BIOSes report what the disk has inside, and read in sectors of 512 bytes.
#[test]
fn stage1_proves_the_size_of_the_sectors() {
    let disk = FakeDisk::new().with(Whim::Parameters(1 << 20, 4096));
    let mut bios = FakeBios::with_disk(disk);
    let mut drive = Drive::open(&mut bios, 0x80);
    assert_eq!(drive.sector_size(), 4096);
    drive.prove_sector_size();
    assert_eq!(drive.sector_size(), 512);
}

#[test]
fn carry_decides_and_not_the_status() {
    // CF is set on entry, so a service that leaves it alone has not read anything.
    for service in [0x42, 0x02] {
        let disk = FakeDisk::new().with(Whim::LeavesCarry(service));
        let disk = disk.with(match service {
            0x42 => Whim::NoGeometry,
            _ => Whim::NoExtensions,
        });
        let (error, bios) = bad(disk, 4, 10);
        assert_eq!(error.lba, Lba::new(4));
        assert!(bios.calls.len() < 40);
    }
    let fates = vec![Fate::CarryAlone; 3];
    let bios = good(FakeDisk::new().with(Whim::Script(fates)), 4, 10);
    assert_eq!(
        reads(&bios)[..4],
        [(0x42, 10), (0x42, 10), (0x42, 10), (0x42, 5)]
    );
}

#[test]
fn geometry_with_carry_but_without_an_error() {
    let disk = FakeDisk::new().with(Whim::NoExtensions);
    good(disk.with(Whim::GeometryWithCarry), 600, 64);
}

#[test]
fn a_drive_that_was_taken_away() {
    let disk = FakeDisk::new().with(Whim::Always(0x31));
    let (error, bios) = bad(disk.with(Whim::NoExtensions).with(Whim::NoGeometry), 0, 1);
    assert_eq!(error.to_string(), "LBA 0, drive 80h, status 04h");
    assert!(bios.calls.len() < 12);
}

/// An MBR with one active partition.
fn mbr(first_lba: u32) -> Vec<u8> {
    let mut sector = vec![0; 512];
    sector[446] = 0x80;
    sector[450] = 0x0C;
    sector[454..458].copy_from_slice(&first_lba.to_le_bytes());
    sector[458..462].copy_from_slice(&1000_u32.to_le_bytes());
    sector[510..].copy_from_slice(&[0x55, 0xAA]);
    sector
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        3 => Just(Fate::Good),
        2 => any::<u8>().prop_map(Fate::Junk),
        1 => any::<u8>().prop_map(Fate::LateFailure),
        1 => (0..130_u8).prop_map(Fate::Short),
        1 => Just(Fate::CarryAlone),
    ]
}

fn whim() -> impl Strategy<Value = Whim> {
    prop_oneof![
        Just(Whim::NoExtensions),
        Just(Whim::DeniesExtensions),
        Just(Whim::OnlyClaimsExtensions),
        any::<(u16, u16)>().prop_map(|(bx, cx)| Whim::Answers41(bx, cx)),
        (0..480_usize).prop_map(Whim::ParametersOverrun),
        // A size that is plausible but wrong cannot be told from a right one.
        any::<u64>().prop_map(|sectors| Whim::Parameters(sectors, 511)),
        Just(Whim::NoParameters),
        Just(Whim::NoGeometry),
        Just(Whim::ZeroSectorsPerTrack),
        Just(Whim::GeometryWithCarry),
        prop_oneof![
            Just(0x00),
            Just(0x02),
            Just(0x08),
            Just(0x41),
            Just(0x42),
            Just(0x48)
        ]
        .prop_map(Whim::LeavesCarry),
        (0..128_usize).prop_map(Whim::AtMost),
        (0..30_usize, any::<u8>()).prop_map(|(times, code)| Whim::Transient(times, code)),
        Just(Whim::StuckUntilReset),
        any::<u8>().prop_map(Whim::Always),
        (0..5000_u64, 0..300_u64).prop_map(|(lba, count)| Whim::Dead(lba..lba + count)),
        Just(Whim::ZeroesCount),
        (0..128_usize).prop_map(Whim::HalfOfMoreThan),
        prop::collection::vec(fate(), 0..120).prop_map(Whim::Script),
    ]
}

proptest! {
    /// Whatever a disk does, the bytes that arrive are those that were asked for, everything else
    /// is an error, and everything ends.
    #[test]
    fn only_right_sectors_arrive(
        whims in prop::collection::vec(whim(), 0..5),
        clobbers: bool,
        heads in 1..=256_u64,
        sectors_per_track in 1..=63_u64,
        asked in prop::collection::vec((0..6000_u64, 1..128_usize), 1..6),
    ) {
        let mut disk = FakeDisk::new();
        (disk.heads, disk.sectors_per_track, disk.whims) = (heads, sectors_per_track, whims);
        disk.sectors = 5000;
        let pristine = disk.clone();
        let mut bios = FakeBios::with_disk(disk);
        bios.clobbers = clobbers;
        let mut drive = Drive::open(&mut bios, 0x80);
        for (lba, count) in asked {
            match drive.read(Lba::new(lba), count) {
                Ok(bytes) => {
                    let done = bytes.len() / 512;
                    prop_assert!(bytes.len() % 512 == 0 && (1..=count).contains(&done));
                    prop_assert!(bytes == pristine.sectors_from(lba, done), "LBA {lba}");
                }
                Err(error) => prop_assert_eq!((error.lba, error.drive), (Lba::new(lba), 0x80)),
            }
        }
        // Five reads of single sectors, each with two errors and two resets.
        prop_assert!(bios.calls.len() < 5 * 127 * 5 + 200, "{} calls", bios.calls.len());
    }

    /// With any answers, nothing panics and everything ends.
    #[test]
    fn any_answers(answers in prop::collection::vec(any::<u32>(), 0..600), lba: u64, count in 1..128_usize) {
        let bios = RandomBios::new(answers, 5000, |registers| {
            (registers.ebx, registers.ecx) = (0xAA55, 1);
        });
        let mut drive = Drive::open(bios, 0x80);
        let size = drive.sector_size();
        prop_assert!(size.is_power_of_two() && (512..=32768).contains(&size));
        if let Ok(bytes) = drive.read(Lba::new(lba), count) {
            prop_assert!(!bytes.is_empty() && bytes.len() <= count * size);
        }
        let _ = partition::find(&mut drive);
    }
}
