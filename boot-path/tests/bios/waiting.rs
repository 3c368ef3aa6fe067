//! Disks that take their time to fail: how long the loader waits, what it says meanwhile, and when
//! it takes a disk for gone.

use boot_path::bios::time::{Moment, Patience};
use boot_path::disk::block_device::{BlockDevice, DiskError, DiskFailure};
use boot_path::disk::int13::Drive;
use boot_path::errors::catalogue::{Named as _, Report};
use boot_path::position::Lba;

use crate::fake_bios::{Counters, FakeBios, FakeDisk, Whim};

const COUNTERS: [Counters; 4] = [
    Counters::Both,
    Counters::TscOnly,
    Counters::TicksOnly,
    Counters::Neither,
];

/// Never, in milliseconds.
const NEVER: u64 = u64::MAX;

/// A disk that disappears after two reads. Each failure takes so many milliseconds.
fn pulled(status: u8, takes: u64, back: u64, counters: Counters) -> FakeBios {
    let disk = FakeDisk::new().with(Whim::Away(2, status, back));
    let mut bios = FakeBios::with_disk(disk.with(Whim::Takes(1, takes)));
    bios.counters = counters;
    bios
}

/// Reads twice with success, then the third time. Returns the result of that read, the number of
/// calls before it, and how many milliseconds had passed.
fn third_read(bios: &mut FakeBios) -> (Result<usize, DiskError>, usize, u64) {
    let expected = bios.disk.sectors_from(2000, 127);
    let mut drive = Drive::open(&mut *bios, 0x80);
    assert_eq!(drive.read(Lba::new(0), 1).unwrap().len(), 512);
    assert_eq!(drive.read(Lba::new(100), 127).unwrap().len(), 127 * 512);
    let (calls, before) = (drive.bios().calls.len(), drive.bios().disk.now);
    let result = drive.read(Lba::new(2000), 127).map(|bytes| {
        assert!(bytes == &expected[..bytes.len()], "other bytes");
        bytes.len() / 512
    });
    let gone = result.is_err();
    assert_eq!(drive.is_there(), !gone);
    if let Err(error) = result {
        // The BIOS is not called again, whatever the loader now wants to read: neither the same
        // sectors nor others, such as those of the second FAT.
        let calls = drive.bios().calls.len();
        for lba in [2000, 0, 100, 2001] {
            let again = drive.read(Lba::new(lba), 1).unwrap_err();
            assert_eq!((again.lba, again.cause), (Lba::new(lba), error.cause));
        }
        assert_eq!(drive.bios().calls.len(), calls);
    }
    (result, calls, before)
}

#[test]
fn a_disk_that_is_gone() {
    for status in [0x0C, 0x80, 0x31, 0xAA, 0x10, 0x01] {
        for takes in [0, 1, 80, 500, 1999, 2000, 5100, 19_990, 30_000] {
            for counters in COUNTERS {
                let what = format!("status {status:02X}h, {takes} ms, {counters:?}");
                let mut bios = pulled(status, takes, NEVER, counters);
                let (result, calls, before) = third_read(&mut bios);
                let cause = DiskFailure::NoAnswer(status);
                let (lba, drive) = (Lba::new(2000), 0x80);
                assert_eq!(result, Err(DiskError { cause, lba, drive }), "{what}");

                // No call begins more than 20 s after the first failure, and there are few calls.
                // (A tick is 55 ms, and the clock that counts them may begin anywhere between two.)
                let times = &bios.times[calls..];
                assert!(times.len() <= 110, "{what}: {} calls", times.len());
                let failed = before + takes;
                let last = times.last().unwrap();
                if counters != Counters::Neither {
                    assert!(*last < failed + 20_060, "{what}: {last} of {times:?}");
                }
                // The loader says once what it waits for, in front of the first call that begins
                // when two seconds have passed.
                let late = times.iter().find(|time| **time >= before + 2_060);
                match (counters, late) {
                    (Counters::Neither, _) => assert_eq!(bios.told, [], "{what}"),
                    (_, None) => assert!(bios.told.len() <= 1, "{what}"),
                    (_, Some(late)) => {
                        let line = format!(
                            " 7 disk     waiting for drive 80h: LBA 2000, status {status:02X}h"
                        );
                        let [(at, told)] = &bios.told[..] else {
                            panic!("{what}: {:?}", bios.told)
                        };
                        assert_eq!(*told, line);
                        assert!(*at <= *late && *at >= before + 1_940, "{what}: at {at}");
                    }
                }
            }
        }
    }
}

/// The disk fails at once for a while, and then a call hangs: whichever call that is, it is the
/// last one.
#[test]
fn a_disk_that_hangs_later() {
    for status in [0x0C, 0x80] {
        for reads in 3..30 {
            let mut bios = pulled(status, 0, NEVER, Counters::Both);
            bios.disk.whims.push(Whim::HangsAfter(reads, 32_000));
            let (result, calls, before) = third_read(&mut bios);
            assert!(result.is_err());
            let last = *bios.times[calls..].last().unwrap();
            assert_eq!(last, before, "{reads}: {:?}", &bios.times[calls..]);
        }
    }
}

/// Like QEMU's USB stick: SeaBIOS gives up each transfer after five seconds, with status 0Ch.
#[test]
fn a_usb_stick_that_is_pulled() {
    let mut bios = pulled(0x0C, 5_100, NEVER, Counters::Both);
    let (result, _, before) = third_read(&mut bios);
    let error = result.unwrap_err();
    assert_eq!(error.entry().code, "7A");
    assert_eq!(
        Report(&error).to_string(),
        "error 7A: the disk cannot be read: LBA 2000, drive 80h, status 0Ch, and the disk does not answer"
    );
    assert_eq!(bios.disk.now - before, 5 * 5_100);
    let [(at, _)] = bios.told[..] else {
        panic!("{:?}", bios.told)
    };
    assert_eq!(at - before, 5_100, "before the second call");
    // The sector and one that was read before, in turn.
    assert_eq!(bios.disk.lbas[2..], [2000, 100, 2000, 100, 2000]);
}

#[test]
fn a_disk_that_comes_back() {
    for status in [0x0C, 0x80, 0xAA] {
        for (takes, back) in [(500, 3_000), (100, 1_900), (5_100, 9_000), (30_000, 29_000)] {
            for counters in COUNTERS {
                let what = format!("status {status:02X}h, {takes} ms, {counters:?}");
                let mut bios = pulled(status, takes, back, counters);
                let (result, _, before) = third_read(&mut bios);
                assert!(result.is_ok(), "{what}: {result:?}");
                let late = bios.disk.now - before;
                assert!(late < back + takes + 200, "{what}: {late} ms");
            }
        }
    }
    // Afterwards, the disk is as fast as before.
    let mut bios = pulled(0x0C, 5_100, 6_000, Counters::Both);
    let mut drive = Drive::open(&mut bios, 0x80);
    for lba in [0, 127, 254, 381, 508] {
        assert_eq!(drive.read(Lba::new(lba), 127).unwrap().len(), 127 * 512);
    }
    assert_eq!(bios.disk.sizes.last(), Some(&127));
    assert_eq!(bios.told.len(), 1);
}

/// The drive was never good: there is no sector to compare with.
#[test]
fn a_drive_that_has_never_answered() {
    for (status, takes) in [(0x80, 5_100), (0x0C, 5_100), (0x80, 0), (0x20, 30_000)] {
        for counters in COUNTERS {
            let disk = FakeDisk::new().with(Whim::Always(status));
            let mut bios = FakeBios::with_disk(disk.with(Whim::Takes(0, takes)));
            bios.counters = counters;
            let mut drive = Drive::open(&mut bios, 0x80);
            let error = drive.read(Lba::new(0), 1).unwrap_err();
            assert_eq!((error.lba, error.entry().code), (Lba::ZERO, "7A"));
            assert!(bios.calls.len() < 30);
            if counters != Counters::Neither {
                let last = *bios.times.last().unwrap();
                assert!(last < takes + 20_060, "{takes} ms, {counters:?}");
                assert_eq!(bios.told.len(), usize::from(takes > 0));
            }
        }
    }
}

/// If a disk is only slow, nobody asks for the time, and nothing is said.
#[test]
fn a_slow_disk_is_no_trouble() {
    for takes in [0, 3_000, 40_000] {
        let disk = FakeDisk::new().with(Whim::Takes(takes, 0));
        let mut bios = FakeBios::with_disk(disk);
        let expected = bios.disk.sectors_from(50, 127);
        let mut drive = Drive::open(&mut bios, 0x80);
        for _ in 0..20 {
            assert!(drive.read(Lba::new(50), 127).unwrap() == expected);
        }
        assert_eq!((bios.clock_asked, &bios.told[..]), (0, &[][..]));
        let services: Vec<_> = bios.calls.iter().map(|(_, call)| call.ah()).collect();
        assert_eq!(services[..2], [0x41, 0x48]);
        assert_eq!(services[2..], [0x42; 20]);
    }
}

/// A drive that tries for seconds to read one bad sector, and reads all others.
#[test]
fn a_bad_sector_that_takes_long() {
    for counters in COUNTERS {
        for takes in [0, 700, 7_000, 15_000, 30_000] {
            let what = format!("{takes} ms, {counters:?}");
            let disk = FakeDisk::new().with(Whim::Dead(150..151));
            let disk = disk.with(Whim::Takes(1, takes));
            let expected = disk.sectors_from(100, 51);
            let mut bios = FakeBios::with_disk(disk);
            bios.counters = counters;
            let mut drive = Drive::open(&mut bios, 0x80);
            drive.read(Lba::new(0), 1).unwrap();
            // All that lies in front of the sector arrives.
            let mut read = Vec::new();
            while read.len() < 50 * 512 {
                let lba = 100 + (read.len() / 512) as u64;
                read.extend_from_slice(drive.read(Lba::new(lba), 127).unwrap());
            }
            assert!(read == expected[..50 * 512], "{what}");
            // The sector is bad, and the disk is there: another FAT can be tried.
            let error = drive.read(Lba::new(150), 3).unwrap_err();
            let cause = DiskFailure::Status(0x10);
            assert_eq!((error.lba, error.cause), (Lba::new(150), cause), "{what}");
            assert!(drive.is_there(), "{what}");
            assert_eq!(
                drive.read(Lba::new(151), 127).unwrap().len(),
                127 * 512,
                "{what}"
            );
            // The bad sector is found twice: by the large call, and by the small ones. Each time,
            // the last call begins in the first 20 s.
            let now = drive.bios().disk.now;
            if counters != Counters::Neither {
                assert!(now < 2 * (20_060 + 2 * takes) + 500, "{what}: {now} ms");
                assert!(drive.bios().told.len() <= 2, "{what}");
            }
            // Once the sector is known, it costs no more time, whoever reads it and whatever is
            // read around it.
            if takes >= 2_000 && counters != Counters::Neither {
                let again = drive.read(Lba::new(150), 1).unwrap_err();
                assert_eq!(again.cause, cause, "{what}");
                assert_eq!(
                    drive.read(Lba::new(140), 100).unwrap().len(),
                    10 * 512,
                    "{what}"
                );
                assert!(drive.bios().disk.now <= now + 1, "{what}");
            }
        }
    }
}

/// Every sector of them fails once, and takes three seconds for that.
#[test]
fn a_disk_with_many_weak_sectors() {
    for step in [30, 127, 200] {
        let disk = FakeDisk::new()
            .with(Whim::Weak(step))
            .with(Whim::Takes(1, 3_000));
        let mut bios = FakeBios::with_disk(disk);
        let mut drive = Drive::open(&mut bios, 0x80);
        let mut weak = 0;
        for lba in (1..2000).step_by(127) {
            let expected = drive.bios().disk.sectors_from(lba, 127);
            let mut read = Vec::new();
            while read.len() < expected.len() {
                let done = read.len() / 512;
                read.extend_from_slice(
                    drive.read(Lba::new(lba + done as u64), 127 - done).unwrap(),
                );
            }
            assert!(read == expected);
            weak += (lba..lba + 127).filter(|lba| lba % step == 0).count();
        }
        assert!(drive.is_there());
        assert_eq!(bios.told.len(), weak, "one line each");
        assert!(bios.disk.now < 3_000 * weak as u64 + 10_000);
    }
}

/// A size that is too large for the BIOS fails only after a while. This is found out once.
#[test]
fn calls_that_are_too_large_and_take_long() {
    let disk = FakeDisk::new()
        .with(Whim::AtMost(64))
        .with(Whim::Takes(1, 5_000));
    let mut bios = FakeBios::with_disk(disk);
    let mut drive = Drive::open(&mut bios, 0x80);
    drive.read(Lba::new(0), 1).unwrap();
    for lba in (0..12_700).step_by(127) {
        assert_eq!(drive.read(Lba::new(lba), 127).unwrap().len(), 127 * 512);
    }
    assert_eq!(bios.disk.sizes.last(), Some(&1), "127 is 63 and 63 and 1");
    assert!(bios.disk.now < 2 * 5_000 + 1_000, "{} ms", bios.disk.now);
}

#[test]
fn milliseconds() {
    let at = |tsc, ticks| Moment { tsc, ticks };
    let from = at(1_000, 100);
    let ghz = Some(1_000_000_000);
    for (to, frequency, expected) in [
        (at(5_000_001_000, 100), ghz, 5_000),
        (at(5_000_001_000, 100), Some(2_500_000_000), 2_000),
        (at(5_000_001_000, 100), None, 0),
        (at(1_000, 191), None, 4_998),
        (at(1_000, 191), ghz, 4_998),
        // The counter that has gone further counts.
        (at(9_000_001_000, 191), ghz, 9_000),
        (at(1_000_001_000, 191), ghz, 4_998),
        // The counter stands still, or goes backwards.
        (from, ghz, 0),
        (at(0, 99), ghz, 0),
        (at(0, 0), None, 0),
        // If the clock is set forward by hours, nobody has waited for hours.
        (at(1_000, 100 + 200_000), None, 0),
        (at(1_000, u32::MAX), ghz, 0),
        (at(u64::MAX, 100), Some(1), u64::MAX - 1_000),
    ] {
        assert_eq!(from.milliseconds_to(to, frequency), expected, "{to:?}");
    }
    // Midnight.
    let late = at(0, 0x18_00B0 - 10);
    assert_eq!(late.milliseconds_to(at(0, 10), None), 1_098);
    assert_eq!(at(0, u32::MAX).milliseconds_to(at(0, 0), None), 0);
}

/// The largest number of processors that there can be, none of which starts.
#[test]
fn many_that_do_not_come() {
    let mut patience = Patience::default();
    let mut all = 0;
    for _ in 0..255 {
        all += patience.microseconds();
        patience.was_in_vain();
    }
    assert!((5_000_000..8_000_000).contains(&all), "{all}");
    // A processor that has started does not count.
    assert_eq!(Patience::default().microseconds(), 1_000_000);
}
