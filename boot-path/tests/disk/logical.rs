//! Logical partitions, and the choice among several partitions by what is in them.

use boot_path::disk::logical::ChainDamage;
use boot_path::disk::partition::{Found, Note, PartitionError, TableLba};
use boot_path::disk::probe::Foreign;
use boot_path::entry::bootable;
use boot_path::errors::catalogue::Report;
use proptest::prelude::*;

use crate::disks::{MemoryDisk, Tiny, entry, long_entries};
use crate::partition::{SIGNATURE, mbr};

/// An entry of a table: number, status, kind, first LBA, sectors.
type Entry = (usize, u8, u8, u32, u32);

const KIB: usize = 1024;

/// A disk of 2 MiB with these tables and volumes, each at its LBA.
fn disk(tables: &[(u32, &[Entry])], volumes: &[(u32, Vec<u8>)]) -> MemoryDisk {
    let mut bytes = vec![0; 2048 * KIB];
    for &(lba, entries) in tables {
        bytes[lba as usize * 512..][..512].copy_from_slice(&mbr(entries));
    }
    for (lba, volume) in volumes {
        bytes[*lba as usize * 512..][..volume.len()].copy_from_slice(volume);
    }
    MemoryDisk::new(bytes, 512)
}

/// A volume without a file.
fn empty() -> Vec<u8> {
    let mut image = Tiny::new(12).image();
    image.truncate(64 * 512);
    image
}

/// A volume with a file of this short name in a directory of a directory, or in a directory.
fn with(directories: &[&[u8; 11]], file: &[[u8; 32]]) -> Vec<u8> {
    let mut tiny = Tiny::new(12);
    let mut inner = file.concat();
    for (cluster, name) in (10..).zip(directories.iter().rev()) {
        tiny.chain(&[cluster], &inner);
        inner = entry(name, 0x10, cluster, 0).to_vec();
    }
    tiny.root[..inner.len()].copy_from_slice(&inner);
    let mut image = tiny.image();
    image.truncate(64 * 512);
    image
}

/// Volumes with something to boot, each by another file.
fn bootable_volumes() -> [Vec<u8>; 3] {
    let conf = b"FEDORA  CON";
    let sum = crate::disks::checksum(conf);
    let mut long = long_entries("fedora.conf", sum);
    long.push(entry(conf, 0, 0, 0));
    [
        with(&[b"BOOT       "], &[entry(b"KERNEL  ELF", 0, 0, 0)]),
        // `kernel.conf` has four letters behind the point, so it has a long name.
        with(&[b"BOOT       "], &{
            let short = b"KERNEL~1CON";
            let mut long = long_entries("kernel.conf", crate::disks::checksum(short));
            long.push(entry(short, 0, 0, 0));
            long
        }),
        with(&[b"LOADER     ", b"ENTRIES    "], &long),
    ]
}

fn find(disk: &mut MemoryDisk) -> Result<Found, PartitionError> {
    bootable::find_partition(disk, &mut vec![0; 5 * 16 * KIB], &mut bootable::has_entries)
}

fn chosen(disk: &mut MemoryDisk) -> (u8, u64, Option<Note>, Option<ChainDamage>) {
    let found = find(disk).unwrap();
    assert_eq!(found.partition.signature, SIGNATURE);
    let first = found.partition.first_lba.as_u64();
    (found.partition.number, first, found.note, found.damage)
}

/// An ext4 partition, and an extended one with three logical ones of this kind.
fn tables(extended: u8, kind: u8) -> [(u32, Vec<Entry>); 4] {
    [
        (0, vec![(1, 0, 0x83, 64, 64), (2, 0, extended, 1000, 3000)]),
        // All but the first link count from the start of the extended partition.
        (1000, vec![(1, 0, 0x83, 64, 100), (2, 0, 0x05, 200, 300)]),
        (1200, vec![(1, 0, kind, 64, 100), (2, 0, 0x05, 400, 300)]),
        (1400, vec![(1, 0, kind, 32, 100)]),
    ]
}

fn borrowed(tables: &[(u32, Vec<Entry>)]) -> Vec<(u32, &[Entry])> {
    tables.iter().map(|(lba, all)| (*lba, &all[..])).collect()
}

#[test]
fn fat_may_lie_in_a_logical_partition() {
    for extended in [0x05, 0x0F, 0x85] {
        for kind in [0x0C, 0x83] {
            let tables = tables(extended, kind);
            let tables = borrowed(&tables);
            let mut both = disk(&tables, &[(1264, empty()), (1432, empty())]);
            assert_eq!(chosen(&mut both), (6, 1264, None, None));
            let found = find(&mut both).unwrap().partition;
            assert_eq!((found.kind, found.sectors), (kind, 100));
            let mut second = disk(&tables, &[(1432, empty())]);
            assert_eq!(chosen(&mut second), (7, 1432, None, None));
        }
    }
}

#[test]
fn the_order_is_active_then_fat_kinds_then_any_and_primary_first() {
    let [kernel, ..] = bootable_volumes();
    let everywhere = [64, 1064, 1264, 1432].map(|lba| (lba, kernel.clone()));
    let mut tables = tables(0x05, 0x83);
    assert_eq!(chosen(&mut disk(&borrowed(&tables), &everywhere)).0, 1);
    tables[3].1[0].2 = 0x0C;
    assert_eq!(chosen(&mut disk(&borrowed(&tables), &everywhere)).0, 7);
    tables[0].1[0].2 = 0x0C;
    assert_eq!(chosen(&mut disk(&borrowed(&tables), &everywhere)).0, 1);
    // fdisk marks a logical partition as active, too.
    tables[2].1[0].1 = 0x80;
    assert_eq!(chosen(&mut disk(&borrowed(&tables), &everywhere)).0, 6);
    tables[0].1[0].1 = 0x80;
    assert_eq!(chosen(&mut disk(&borrowed(&tables), &everywhere)).0, 1);
    // An active extended partition, as LILO wants it, is none to boot from.
    tables[0].1[0].1 = 0;
    tables[0].1[1].1 = 0x80;
    tables[2].1[0].1 = 0;
    assert_eq!(chosen(&mut disk(&borrowed(&tables), &everywhere)).0, 1);
}

/// Linux counts the tables that describe a partition; DOS leaves an empty first one.
#[test]
fn tables_without_a_partition_have_no_number() {
    let mut tables = tables(0x05, 0x0C);
    tables[1].1.remove(0);
    let mut disk = disk(&borrowed(&tables), &[(1264, empty())]);
    assert_eq!(chosen(&mut disk), (5, 1264, None, None));
}

#[test]
fn several_extended_partitions_are_read_in_turn() {
    let tables = [
        (0, vec![(2, 0, 0x05, 1000, 100), (3, 0, 0x0F, 2000, 500)]),
        (1000, vec![(1, 0, 0x83, 10, 10)]),
        (2000, vec![(1, 0, 0x0C, 63, 100)]),
    ];
    let mut disk = disk(&borrowed(&tables), &[(2063, empty())]);
    assert_eq!(chosen(&mut disk), (6, 2063, None, None));
}

#[test]
fn a_chain_without_damage_may_be_long() {
    let links = |count: u32| -> Vec<(u32, Vec<Entry>)> {
        let mut tables = vec![(0, vec![(1, 0, 0x0F, 1000, 3000)])];
        for n in 0..count {
            let mut entries = vec![(1, 0, 0x83, 1, 1)];
            if n + 1 < count {
                entries.push((2, 0, 0x05, (n + 1) * 8, 8));
            }
            tables.push((1000 + n * 8, entries));
        }
        tables
    };
    let tables = links(100);
    let last = (1000 + 99 * 8 + 1, empty());
    let mut hundred = disk(&borrowed(&tables), &[last]);
    assert_eq!(chosen(&mut hundred), (104, 1793, None, None));
    let tables = links(101);
    let mut more = disk(&borrowed(&tables), &[(1801, empty())]);
    let error = PartitionError::Chain(ChainDamage::Ring(TableLba::new(1800)));
    assert_eq!(find(&mut more), Err(error));
}

/// A ring, and a chain into nothing, are named, and stop nothing that lies in front of them.
#[test]
fn a_damaged_chain_is_named() {
    let ring = ChainDamage::Ring(TableLba::new(1200));
    let nothing = ChainDamage::NoTable(TableLba::new(2100));
    let behind = ChainDamage::NoTable(TableLba::new(4_000_001_000));
    for (link, damage) in [(200, ring), (1100, nothing), (4_000_000_000, behind)] {
        let mut tables = tables(0x05, 0x83);
        tables[3].1.push((2, 0, 0x05, link, 300));
        let tables = borrowed(&tables);
        // The first partition that is found ends the walk.
        let mut good = disk(&tables, &[(1432, bootable_volumes()[0].clone())]);
        assert_eq!(chosen(&mut good), (7, 1432, None, None));
        let mut empty_one = disk(&tables, &[(1432, empty())]);
        assert_eq!(chosen(&mut empty_one), (7, 1432, None, Some(damage)));
        let mut primary = disk(&tables, &[(64, empty())]);
        assert_eq!(chosen(&mut primary), (1, 64, None, Some(damage)));
        let mut none = disk(&tables, &[]);
        assert_eq!(find(&mut none), Err(PartitionError::Chain(damage)));
        assert!(none.reads.len() < 100, "{}", none.reads.len());
    }
    let mut tables = tables(0x05, 0x83);
    tables[3].1.push((2, 0, 0x05, 200, 300));
    let tables = borrowed(&tables);
    let text = |disk: &mut MemoryDisk| Report(&find(disk).unwrap_err()).to_string();
    assert_eq!(
        text(&mut disk(&tables, &[])),
        "error 7C: there is no boot partition: \
         the chain of logical partitions comes back to LBA 1200"
    );
    let mut unreadable = disk(&tables, &[]);
    unreadable.bad = Some(1400);
    assert_eq!(
        text(&mut unreadable),
        "error 7C: there is no boot partition: \
         the chain of logical partitions leads to LBA 1400: no table"
    );
    // What is recognised says more.
    let mut known = disk(&tables, &[(1264, b"LUKS\xBA\xBE\0\x02".to_vec())]);
    assert_eq!(
        text(&mut known),
        "error 7C: there is no boot partition: partition 6 holds LUKS (encrypted)"
    );
}

#[test]
fn numbers_beyond_32_bits_are_sums() {
    let tables = [
        (0, vec![(1, 0, 0x0F, 1000, u32::MAX)]),
        (1000, vec![(2, 0, 0x05, u32::MAX, 100)]),
    ];
    let mut disk = disk(&borrowed(&tables), &[]);
    let lba = TableLba::new(u32::MAX).as_u64() + 1000;
    let Err(PartitionError::Chain(ChainDamage::NoTable(table))) = find(&mut disk) else {
        panic!("the chain leads behind the disk");
    };
    assert_eq!(table.as_u64(), lba);
}

/// A table in an image for any disk counts in 512 bytes: so do all tables of a chain.
#[test]
fn on_larger_sectors_tables_lie_within_them() {
    let tables = [
        (0, vec![(1, 0, 0x0F, 1001, 2000)]),
        (1001, vec![(1, 0, 0x0C, 23, 100)]),
    ];
    let mut disk = disk(&borrowed(&tables), &[(1024, empty())]);
    disk.sector_size = 4096;
    assert_eq!(chosen(&mut disk), (5, 128, None, None));
}

#[test]
fn a_partition_with_something_to_boot_comes_first() {
    let entries: &[Entry] = &[
        (1, 0x80, 0x0C, 64, 64),
        (2, 0, 0x0C, 128, 64),
        (3, 0, 0x83, 192, 64),
    ];
    let disk = |volumes: &[(u32, Vec<u8>)]| disk(&[(0, entries)], volumes);
    for bootable in bootable_volumes() {
        let all = [(64, empty()), (128, empty()), (192, bootable.clone())];
        assert_eq!(
            chosen(&mut disk(&all)),
            (3, 192, Some(Note::Nothing(1)), None)
        );
        let first = [(64, bootable.clone()), (128, bootable.clone())];
        assert_eq!(chosen(&mut disk(&first)), (1, 64, None, None));
        // A directory that cannot be followed shows nothing; the second one does.
        let mut damaged = bootable.clone();
        damaged[512..1024].fill(0);
        let two = [(64, damaged), (128, bootable)];
        assert_eq!(
            chosen(&mut disk(&two)),
            (2, 128, Some(Note::Nothing(1)), None)
        );
    }
    // The error is that of the first one.
    let none = [(64, empty()), (128, empty())];
    assert_eq!(chosen(&mut disk(&none)), (1, 64, None, None));
    // A directory with the name of the file, an entry that is hidden, and the name of another file.
    for (directories, name, attributes) in [
        (&[b"BOOT       "][..], b"KERNEL  ELF", 0x10),
        (&[b"LOADER     ", b"ENTRIES    "], b"README     ", 0),
        (&[b"LOADER     "], b"LOADER  CON", 0),
    ] {
        let other = with(directories, &[entry(name, attributes, 20, 0)]);
        let two = [(64, other), (128, bootable_volumes()[0].clone())];
        assert_eq!(chosen(&mut disk(&two)).0, 2);
    }
}

#[test]
fn where_there_is_no_choice_nothing_is_read() {
    let mut disk = disk(&[(0, &[(2, 0x80, 0x0C, 64, 64)])], &[(64, empty())]);
    assert_eq!(chosen(&mut disk), (2, 64, None, None));
    assert_eq!(disk.reads, [(0, 1)]);
}

#[test]
fn an_active_partition_that_is_not_booted_is_named() {
    let entries: &[Entry] = &[(1, 0x80, 0x07, 64, 64), (2, 0, 0x0C, 128, 64)];
    let ntfs = b"\xEB\x52\x90NTFS    \0\x02\x08".to_vec();
    let note = |disk: &mut MemoryDisk| chosen(disk).2.map(|note| note.to_string());
    let mut windows = disk(&[(0, entries)], &[(64, ntfs), (128, empty())]);
    let foreign = Foreign {
        partition: 1,
        name: "NTFS",
    };
    assert_eq!(chosen(&mut windows).2, Some(Note::Foreign(foreign)));
    assert_eq!(
        note(&mut windows).as_deref(),
        Some("partition 1 is active, but holds NTFS")
    );
    let mut unknown = disk(&[(0, entries)], &[(128, empty())]);
    assert_eq!(
        note(&mut unknown).as_deref(),
        Some("partition 1 is active, but holds no FAT file system")
    );
    let two = [(64, empty()), (128, bootable_volumes()[0].clone())];
    assert_eq!(
        note(&mut disk(&[(0, entries)], &two)).as_deref(),
        Some("partition 1 is active, but holds nothing to boot")
    );
    // Sound: no entry is active, as on a disk that UEFI boots, or the active one is booted.
    for (status, volumes) in [(0, [(128, empty())]), (0x80, [(64, empty())])] {
        let entries = [(1, status, 0x07, 64, 64), (2, 0, 0x0C, 128, 64)];
        assert_eq!(note(&mut disk(&[(0, &entries)], &volumes)), None);
    }
    let both = [(1, 0x80, 0x0C, 64, 64), (3, 0x80, 0x0C, 128, 64)];
    let mut both = disk(&[(0, &both)], &[(64, bootable_volumes()[0].clone())]);
    assert_eq!(
        note(&mut both).as_deref(),
        Some("partitions 1 and 3 are active, and only one may be")
    );
}

proptest! {
    /// Tables that lead anywhere, in any order.
    #[test]
    fn any_chain_comes_to_an_end(
        tables in proptest::collection::vec(
            (0..40u32, proptest::collection::vec((1..=4usize, any::<bool>(), 0..40u32), 1..4)),
            1..30,
        ),
    ) {
        let mut all: Vec<(u32, Vec<Entry>)> = vec![(0, vec![(1, 0, 0x05, 100, 2000), (2, 0, 0x0F, 110, 9)])];
        for (lba, entries) in tables {
            let entries = entries.into_iter().map(|(number, link, first)| {
                (number, 0, if link { 0x05 } else { 0x0C }, first, 10)
            });
            all.push((100 + lba, entries.collect()));
        }
        let mut disk = disk(&borrowed(&all), &[]);
        let _ = find(&mut disk);
        // Three walks of two chains to find FAT volumes, and one to name what is there instead.
        prop_assert!(disk.reads.len() < 4 * 2 * 100 * 20, "{}", disk.reads.len());
    }
}
