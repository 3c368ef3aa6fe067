//! Chain loading: what the entry asks for, and the partitions of any disk.

use std::cell::Cell;

use boot_path::entry::target::Target;
use boot_path::errors::catalogue::{Named, Report};
use boot_path::position::Lba;
use boot_path::ways_out::chain::boot_sector::{ChainError, Sector, bytes, check, find};
use disk_layout::PartitionEntry;
use proptest::prelude::*;

fn target(drive: Option<u8>, partition: u8) -> Option<Target> {
    Some(Target { drive, partition })
}

#[test]
fn the_target_is_a_drive_a_partition_or_both() {
    assert_eq!(Target::parse("drive=81h"), target(Some(0x81), 0));
    assert_eq!(Target::parse("drive=0H"), target(Some(0), 0));
    assert_eq!(Target::parse("partition=2"), target(None, 2));
    let both = target(Some(0xE0), 255);
    assert_eq!(Target::parse("drive=e0h \t partition=255"), both);
    assert_eq!(Target::parse("partition=255 drive=E0h"), both);
    let shown = both.map(|target| target.to_string());
    assert_eq!(shown.as_deref(), Some("drive=E0h partition=255"));
    for text in [
        "",
        "drive",
        "drive=",
        "drive=h",
        "drive=81",
        "drive=100h",
        "drive=-1h",
        "drive=+1h",
        "drive=0080h",
        "drive=81h drive=81h",
        "partition=0",
        "partition=256",
        "partition=99999999999999999999",
        "partition=1h",
        "partition=2 3",
        "hd0,2",
        "Drive=81h",
    ] {
        assert_eq!(Target::parse(text), None, "{text:?}");
    }
}

/// Type, first sector, sectors.
type Entries = [(u8, u32, u32)];

fn sector(entries: &Entries) -> Sector {
    let mut sector = [0; 512];
    for (place, &(kind, first, count)) in sector[446..].chunks_mut(16).zip(entries) {
        place[4] = kind;
        place[8..12].copy_from_slice(&first.to_le_bytes());
        place[12..16].copy_from_slice(&count.to_le_bytes());
    }
    sector[510..].copy_from_slice(&[0x55, 0xAA]);
    sector
}

/// Looks for a partition on a disk with these tables and zeros elsewhere.
fn look(disk: &[(u64, &Entries)], number: u8) -> Result<PartitionEntry, ChainError> {
    find(number, 0x80, |lba| {
        let found = disk.iter().find(|(at, _)| Lba::new(*at) == lba);
        Ok(found.map_or([0; 512], |(_, entries)| sector(entries)))
    })
}

#[track_caller]
fn starts_at(disk: &[(u64, &Entries)], number: u8, expected: Option<u32>) {
    match look(disk, number) {
        Ok(entry) => {
            assert_eq!(Some(entry.first_lba.get()), expected);
            assert_eq!(entry.status, 0x80);
        }
        Err(error) => {
            assert_eq!(expected, None, "{error}");
            assert_eq!(error.entry().code, "12B");
        }
    }
}

#[test]
fn primary_partitions_are_entries_of_the_table() {
    let disk: &[(u64, &Entries)] = &[(
        0,
        &[(0x0C, 2048, 100), (0, 5, 5), (0x83, 0, 5), (7, 9000, 0)],
    )];
    starts_at(disk, 1, Some(2048));
    for number in [0, 2, 3, 4, 5, 255] {
        starts_at(disk, number, None);
    }
    let entry = look(disk, 1).unwrap();
    assert_eq!(bytes(&entry)[..5], [0x80, 0, 0, 0, 0x0C]);
    assert_eq!(bytes(&entry)[8..], [0, 8, 0, 0, 100, 0, 0, 0]);
    let error = look(disk, 3).unwrap_err();
    let report = Report(&error).to_string();
    assert!(
        report.ends_with(": no partition 3 on drive 80h"),
        "{report}"
    );
}

#[test]
fn logical_partitions_are_counted_from_the_extended_one_on() {
    let disk: &[(u64, &Entries)] = &[
        (0, &[(0x83, 2048, 100), (0x0F, 10_000, 50_000)]),
        (10_000, &[(0x83, 63, 100), (0x05, 1000, 500)]),
        (11_000, &[(0x05, 3000, 500), (0x0B, 32, 10)]),
        (13_000, &[(0, 0, 0), (0x05, 5000, 500)]),
        (15_000, &[(0x83, 1, 1)]),
    ];
    starts_at(disk, 1, Some(2048));
    starts_at(disk, 2, Some(10_000));
    starts_at(disk, 5, Some(10_063));
    // The two entries may come in the other order.
    starts_at(disk, 6, Some(11_032));
    starts_at(disk, 7, None);
    starts_at(disk, 8, Some(15_001));
    starts_at(disk, 9, None);
    // An extended partition without a table in it.
    let empty: &[(u64, &Entries)] = &[(0, &[(0x05, 10_000, 50_000)])];
    let error = look(empty, 5).unwrap_err();
    let report = Report(&error).to_string();
    let facts = ": LBA 10000 of drive 80h ends in 0000h instead of AA55h";
    assert!(
        report.starts_with("error 12B") && report.ends_with(facts),
        "{report}"
    );
    // The LBA is larger than an entry can express.
    let far: &[(u64, &Entries)] = &[
        (0, &[(0x05, u32::MAX, 1)]),
        (u32::MAX.into(), &[(0x83, 1, 1)]),
    ];
    starts_at(far, 5, None);
}

#[test]
fn a_ring_ends() {
    let reads = Cell::new(0);
    let found = find(255, 0x80, |lba| {
        reads.set(reads.get() + 1);
        Ok::<_, ChainError>(match lba.as_u64() {
            0 => sector(&[(0x05, 1000, 10)]),
            _ => sector(&[(0x83, 1, 1), (0x05, 500, 10)]),
        })
    });
    assert_eq!(found.unwrap().first_lba.get(), 1501);
    assert_eq!(reads.get(), 252);
}

#[test]
fn the_signature_is_what_makes_a_boot_sector() {
    let good = sector(&[]);
    assert_eq!(check(&good, Lba::new(7), 0x81), Ok(()));
    for at in [510, 511] {
        let mut bad = good;
        bad[at] ^= 1;
        let error = check(&bad, Lba::new(7), 0x81).unwrap_err();
        assert_eq!(error.entry().code, "12B");
    }
}

proptest! {
    /// Whatever is on the disk, nothing panics, there are few reads, and no empty partition is
    /// found.
    #[test]
    fn any_disk(
        number: u8,
        tables in proptest::collection::vec(
            proptest::collection::vec((prop_oneof![Just(5), Just(15), any::<u8>()], any::<u32>(), any::<u32>()), 4),
            1..4,
        ),
    ) {
        let mut reads = 0;
        let found = find(number, 0x80, |lba| {
            reads += 1;
            let index = usize::try_from(lba.as_u64()).unwrap_or(0) % tables.len();
            Ok::<_, ChainError>(sector(&tables[index]))
        });
        prop_assert!(reads <= 252);
        if let Ok(entry) = found {
            prop_assert!(entry.kind != 0 && entry.first_lba.get() != 0 && entry.sectors.get() != 0);
        }
    }

    #[test]
    fn any_text(text in "[ a-z=0-9h\t]{0,30}") {
        if let Some(target) = Target::parse(&text) {
            prop_assert_eq!(Target::parse(&target.to_string()), Some(target));
        }
    }
}
