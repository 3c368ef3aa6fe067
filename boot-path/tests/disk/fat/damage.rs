//! Damaged volumes: each ends in an error, and none does harm.

use boot_path::disk::block_device::{BlockDevice as _, DiskFailure};
use boot_path::disk::fat::{self, Cache, FatError, Field, Refusal, Volume};
use boot_path::disk::partition::Partition;
use boot_path::errors::catalogue::{self, Named as _, Report};
use boot_path::position::FileOffset;
use boot_path::position::{DiskOffset, Lba};
use proptest::prelude::*;

use crate::disks::*;

use super::{WINDOW, list};

const KINDS: [u32; 3] = [12, 16, 32];

/// A file of three clusters, 10, 11 and 20.
fn three(bits: u32) -> Tiny {
    let mut tiny = Tiny::new(bits);
    tiny.entry(0, b"FILE       ", 0, 10, 1500);
    tiny.chain(&[10, 11, 20], &content(3, 1500));
    tiny
}

#[track_caller]
fn assert_damaged(tiny: &Tiny, expected: FatError) {
    let error = read_file(&mut tiny.disk(), "FILE").unwrap_err();
    assert_eq!(error, expected);
    assert_eq!(error.entry(), &catalogue::FAT_DAMAGED);
}

#[test]
fn chains_into_nowhere() {
    for bits in KINDS {
        assert_eq!(
            read_file(&mut three(bits).disk(), "FILE"),
            Ok(Some(content(3, 1500)))
        );
        let last = three(bits).fat.len() as u32 - 1;
        let bad_cluster = 0x0FFF_FFF7 & ((1 << bits.min(28)) - 1);
        for link in [0, 1, last + 1, bad_cluster, bad_cluster - 1] {
            for cluster in [10, 11, 20] {
                let mut tiny = three(bits);
                tiny.fat[cluster as usize] = link;
                assert_damaged(&tiny, FatError::Link { cluster, link });
            }
            let mut tiny = three(bits);
            let first = if bits == 32 { link } else { link & 0xFFFF };
            tiny.entry(0, b"FILE       ", 0, first, 1500);
            assert_damaged(&tiny, FatError::FirstCluster(first));
        }
    }
}

#[test]
fn chains_of_the_wrong_length() {
    for bits in KINDS {
        for cluster in [10, 11] {
            let mut tiny = three(bits);
            tiny.fat[cluster] = Tiny::END;
            assert_damaged(&tiny, FatError::ChainShort(10));
        }
        // All these values end a chain.
        for end in 0..8 {
            let mut tiny = three(bits);
            tiny.fat[20] = Tiny::END - end;
            assert_eq!(
                read_file(&mut tiny.disk(), "FILE"),
                Ok(Some(content(3, 1500)))
            );
        }
        let mut tiny = three(bits);
        // Clusters that were allocated ahead belong to no byte of the file.
        tiny.fat[20] = 21;
        tiny.fat[21] = 30;
        tiny.fat[30] = Tiny::END;
        assert_eq!(
            read_file(&mut tiny.disk(), "FILE"),
            Ok(Some(content(3, 1500)))
        );
        // But they must end, and not in a free cluster.
        for back in [21, 30] {
            tiny.fat[30] = back;
            assert_damaged(&tiny, FatError::ChainLong(10));
        }
        tiny.fat[30] = 0;
        let link = FatError::Link {
            cluster: 30,
            link: 0,
        };
        assert_damaged(&tiny, link);
        // Rings.
        for back in [10, 11, 20] {
            let mut tiny = three(bits);
            tiny.fat[20] = back;
            assert_damaged(&tiny, FatError::ChainLong(10));
        }
        let mut tiny = three(bits);
        tiny.fat[10] = 10;
        assert_damaged(&tiny, FatError::ChainLong(10));

        let mut tiny = three(bits);
        tiny.entry(0, b"FILE       ", 0, 10, u32::MAX);
        assert_damaged(&tiny, FatError::FileSize(u64::from(u32::MAX)));
    }
}

/// A ring behind the end of a file, whose links lie in more sectors than the cache has windows, ends
/// after a few turns, and not when the largest of files would end.
#[test]
fn a_ring_behind_the_end_takes_few_reads() {
    let ring: Vec<_> = (1..=8).map(|number| 400 * number).collect();
    let mut tiny = three(16);
    tiny.fat[20] = ring[0];
    for (index, &cluster) in ring.iter().enumerate() {
        tiny.fat[cluster as usize] = ring[(index + 1) % ring.len()];
    }
    let mut disk = tiny.disk();
    let mut memory = vec![0; 5 * 512];
    let mut cache = Cache::new(&mut memory);
    let partition = whole(&disk);
    let volume = Volume::open(&mut disk, &mut cache, &partition).unwrap();
    let file = volume.find(&mut disk, &mut cache, "FILE").unwrap().unwrap();
    let mut extents = volume.extents(&file);
    let error = loop {
        match extents.next(&mut disk, &mut cache) {
            Ok(extent) => assert!(extent.is_some(), "the ring is not noticed"),
            Err(error) => break error,
        }
    };
    assert_eq!(error, FatError::ChainLong(10));
    assert!(disk.reads.len() < 50, "{} reads", disk.reads.len());
}

#[test]
fn directories_in_a_ring_end() {
    for bits in KINDS {
        let mut tiny = three(bits);
        tiny.entry(1, b"RING       ", 0x10, 30, 0);
        tiny.entry(2, b"NOWHERE    ", 0x10, 0, 0);
        // A directory full of deleted entries, so that the search goes on.
        tiny.chain(&[30, 32, 31], &[0xE5; 3 * 512]);
        let mut disk = tiny.disk();
        assert_eq!(read_file(&mut disk, "ring/file"), Ok(None));
        tiny.fat[31] = 30;
        let mut disk = tiny.disk();
        assert_eq!(
            read_file(&mut disk, "ring/file"),
            Err(FatError::ChainLong(30))
        );
        assert!(disk.reads.len() < 20);
        assert_eq!(
            read_file(&mut disk, "nowhere/file"),
            Err(FatError::FirstCluster(0))
        );
    }
}

/// Looks for a path, and returns what comes of it and how many reads it took.
fn look_for(disk: &mut MemoryDisk, path: &str) -> (Result<bool, FatError>, usize) {
    let mut memory = vec![0; 5 * WINDOW];
    let mut cache = Cache::new(&mut memory);
    let volume = Volume::open(disk, &mut cache, &whole(disk)).unwrap();
    disk.reads.clear();
    let found = volume.find(disk, &mut cache, path);
    (found.map(|file| file.is_some()), disk.reads.len())
}

#[test]
fn a_directory_that_contains_itself() {
    for bits in KINDS {
        let mut tiny = Tiny::new(bits);
        tiny.entry(0, b"A          ", 0x10, 20, 0);
        let entries = [
            entry(b"A          ", 0x10, 20, 0),
            entry(b"FILE       ", 0, 10, 5),
        ];
        tiny.chain(&[20], &entries.concat());
        tiny.chain(&[10], &content(1, 5));
        for (names, expected) in [(1, true), (129, true), (130, false), (2_000, false)] {
            let path = "a/".repeat(names) + "file";
            let (found, reads) = look_for(&mut tiny.disk(), &path);
            assert_eq!(found, Ok(expected), "{names} names");
            assert!(reads <= 3, "{reads}");
        }
        // The same path, listed as a directory.
        let mut disk = tiny.disk();
        for (names, expected) in [(130, true), (131, false)] {
            let listed = list(&mut disk, &"a/".repeat(names));
            assert_eq!(listed.is_some(), expected, "{names} names");
        }
    }
}

/// All directories on a path together may hold no more than one directory: 60,000 deleted entries,
/// and then the directory itself once more.
#[test]
fn a_path_through_large_directories() {
    const CLUSTERS: u32 = 3_750;

    let mut tiny = Tiny::new(16);
    tiny.entry(0, b"A          ", 0x10, 20, 0);
    let mut entries = vec![0xE5; CLUSTERS as usize * 512];
    let last = entries.len() - 64;
    entries[last..last + 32].copy_from_slice(&entry(b"A          ", 0x10, 20, 0));
    entries[last + 32..].copy_from_slice(&entry(b"FILE       ", 0, 10, 5));
    tiny.chain(&(20..20 + CLUSTERS).collect::<Vec<_>>(), &entries);
    tiny.chain(&[10], &content(1, 5));
    let mut disk = tiny.disk();
    let (found, once) = look_for(&mut disk, "a/file");
    assert_eq!(found, Ok(true));
    for path in ["a/a/file".into(), "a/".repeat(100)] {
        let (found, reads) = look_for(&mut disk, &path);
        assert_eq!(found, Err(FatError::ChainLong(20)));
        assert!(reads < 2 * once, "{reads}, and {once} for one of them");
    }
}

/// The clusters of a directory may be anywhere. At the worst, this takes as many reads as the
/// largest directory has clusters, and one of the FAT for each.
#[test]
fn a_directory_in_pieces() {
    let mut tiny = Tiny::new(16);
    tiny.entry(0, b"A          ", 0x10, 2, 0);
    // All clusters of the volume, in leaps.
    let clusters: Vec<u32> = (0..4085).map(|n| 2 + n * 1999 % 4085).collect();
    tiny.chain(&clusters, &vec![0xE5; clusters.len() * 512]);
    let (found, reads) = look_for(&mut tiny.disk(), "a/file");
    assert_eq!(found, Ok(false));
    assert!(reads <= 2 * clusters.len(), "{reads}");
    // A ring of them ends.
    let last = clusters[clusters.len() - 1] as usize;
    tiny.fat[last] = 2;
    let (found, reads) = look_for(&mut tiny.disk(), "a/file");
    assert_eq!(found, Err(FatError::ChainLong(2)));
    assert!(reads <= 2 * 4096, "{reads}");
    assert!(survive_listing(&mut tiny.disk(), "a").is_err());
}

#[test]
fn fat12_entries_lie_across_windows() {
    // Windows of one sector: 512 is not a multiple of three halves.
    let mut tiny = Tiny::new(12);
    let clusters: Vec<u32> = (2..402).collect();
    tiny.entry(0, b"FILE       ", 0, 2, 400 * 512);
    tiny.chain(&clusters, &content(4, 400 * 512));
    let mut disk = tiny.disk();
    let mut memory = vec![0; 5 * 512];
    let mut cache = Cache::new(&mut memory);
    let partition = whole(&disk);
    let volume = Volume::open(&mut disk, &mut cache, &partition).unwrap();
    let file = volume.find(&mut disk, &mut cache, "file").unwrap().unwrap();
    let mut extents = volume.extents(&file);
    let extent = extents.next(&mut disk, &mut cache).unwrap().unwrap();
    assert_eq!((extent.file_offset.as_u64(), extent.length), (0, 400 * 512));
    assert_eq!(extents.next(&mut disk, &mut cache), Ok(None));
}

#[test]
fn the_second_fat_can_be_the_active_one() {
    let mut tiny = three(32);
    let good = tiny.image();
    let fat_sectors = u32::from_le_bytes(good[36..40].try_into().unwrap());
    let fat_bytes = fat_sectors as usize * 512;
    let good_fat = good[512..][..fat_bytes].to_vec();
    tiny.fat[10] = 0;
    let mut image = tiny.image();
    image.splice(512 + fat_bytes..512 + fat_bytes, good_fat);
    image[16] = 2;
    let total = (image.len() / 512) as u32;
    image[32..36].copy_from_slice(&total.to_le_bytes());
    let mut disk = MemoryDisk::new(image, 512);
    assert_eq!(
        read_file(&mut disk, "FILE"),
        Err(FatError::Link {
            cluster: 10,
            link: 0
        })
    );
    disk.bytes[40] = 0x81;
    assert_eq!(read_file(&mut disk, "FILE"), Ok(Some(content(3, 1500))));
    disk.bytes[40] = 0x82;
    assert!(matches!(
        read_file(&mut disk, "FILE"),
        Err(FatError::NotFat {
            refusal: Refusal {
                field: Field::ActiveFat,
                value: 2
            },
            ..
        })
    ));
}

#[test]
fn boot_sectors_that_are_none() {
    let refusal = |bits, at: usize, bytes: &[u8]| {
        let mut disk = three(bits).disk();
        disk.bytes[at..][..bytes.len()].copy_from_slice(bytes);
        assert!(!fat::is_boot_sector(&disk.bytes[..512]));
        let error = read_file(&mut disk, "FILE").unwrap_err();
        assert_eq!(error.entry(), &catalogue::FAT_NOT_FAT);
        let FatError::NotFat {
            offset: DiskOffset::ZERO,
            refusal: Refusal { field, value },
        } = error
        else {
            panic!("{error:?}");
        };
        (field, value)
    };
    for bits in KINDS {
        assert!(fat::is_boot_sector(&three(bits).image()[..512]));
        for size in [0, 1, 256, 511, 513, 8192, 0xFFFF] {
            let found = refusal(bits, 11, &u16::to_le_bytes(size));
            assert_eq!(found, (Field::BytesPerSector, size.into()));
        }
        for count in [0, 3, 255] {
            assert_eq!(
                refusal(bits, 13, &[count]),
                (Field::SectorsPerCluster, count.into())
            );
        }
        assert_eq!(refusal(bits, 14, &[0, 0]), (Field::ReservedSectors, 0));
        assert_eq!(refusal(bits, 16, &[0]), (Field::Fats, 0));
        assert_eq!(refusal(bits, 21, &[0xF7]), (Field::Media, 0xF7));
        assert_eq!(refusal(bits, 32, &[0; 4]), (Field::TotalSectors, 0));
        assert_eq!(refusal(bits, 32, &[1, 0, 0, 0]), (Field::TotalSectors, 1));
        assert_eq!(refusal(bits, 510, &[0, 0]), (Field::Signature, 0));
        assert_eq!(refusal(bits, 14, &[0xFF, 0xFF]).0, Field::TotalSectors);
    }
    assert_eq!(refusal(32, 16, &[0xFF]).0, Field::TotalSectors);
    assert_eq!(refusal(12, 17, &[0, 0]), (Field::RootEntries, 0));
    assert_eq!(refusal(32, 17, &[1, 0]), (Field::RootEntries, 1));
    // Without a size of the FAT, a FAT12 would be a FAT32, which has no fixed root directory.
    assert_eq!(refusal(12, 22, &[0, 0]), (Field::SectorsPerFat, 0));
    assert_eq!(refusal(32, 36, &[0; 4]), (Field::SectorsPerFat, 0));
    assert_eq!(refusal(32, 36, &[0xFF; 4]).0, Field::TotalSectors);
    assert_eq!(refusal(32, 42, &[1]), (Field::Version, 1));
    for cluster in [0, 1, 402, u32::MAX] {
        let found = refusal(32, 44, &cluster.to_le_bytes());
        assert_eq!(found, (Field::RootCluster, cluster));
    }
    assert_eq!(refusal(16, 32, &u32::MAX.to_le_bytes()).0, Field::Clusters);
    assert!(!fat::is_boot_sector(&[0; 511]));
    assert!(!fat::is_boot_sector(&[]));
}

#[test]
fn a_fat_that_is_too_small_limits_the_clusters() {
    // Ten sectors of FAT16 have entries for clusters 2 to 2559 only.
    let mut tiny = three(16);
    tiny.chain(&[10, 2560], &content(5, 1000));
    tiny.entry(0, b"FILE       ", 0, 10, 1000);
    let mut disk = tiny.disk();
    assert_eq!(read_file(&mut disk, "FILE"), Ok(Some(content(5, 1000))));
    disk.bytes[22] = 10;
    let image = disk.bytes.clone();
    // The rest of the FAT becomes reserved sectors, so that everything else stays in its place.
    let sectors = u16::from_le_bytes([image[22], image[23]]);
    assert_eq!(sectors, 10);
    disk.bytes[22..24].copy_from_slice(&10u16.to_le_bytes());
    let mut moved = image[..11 * 512].to_vec();
    moved.extend_from_slice(&image[17 * 512..]);
    disk.bytes = moved;
    assert_eq!(
        read_file(&mut disk, "FILE"),
        Err(FatError::Link {
            cluster: 10,
            link: 2560
        })
    );
}

#[test]
fn truncated_and_unreadable_disks() {
    for bits in KINDS {
        let mut disk = three(bits).disk();
        let data = disk.bytes.len() - three(bits).data.len();
        let cut = data + (20 - 2) * 512;
        disk.bytes.truncate(cut);
        let FatError::Disk(error) = read_file(&mut disk, "FILE").unwrap_err() else {
            panic!()
        };
        assert_eq!(
            (error.cause, error.lba),
            (DiskFailure::OutOfRange, Lba::new(cut as u64 / 512))
        );
        let error = FatError::Disk(error);
        assert_eq!(error.entry(), &catalogue::DISK_RANGE);

        let mut disk = three(bits).disk();
        disk.bad = Some(0);
        let error = read_file(&mut disk, "FILE").unwrap_err();
        assert_eq!(
            Report(&error).to_string(),
            "error 7A: the disk cannot be read: LBA 0, drive 80h, status 10h"
        );
        // A read that fails leaves nothing in the cache that could be taken for the sectors.
        disk.bad = Some(disk.bytes.len() as u64 / 512 - 1);
        let mut memory = vec![0; 5 * 512];
        let mut cache = Cache::new(&mut memory);
        let partition = whole(&disk);
        let volume = Volume::open(&mut disk, &mut cache, &partition).unwrap();
        disk.bad = Some((data + (11 - 2) * 512) as u64 / 512);
        let file = volume.find(&mut disk, &mut cache, "FILE").unwrap().unwrap();
        let mut out = [0; 1500];
        for _ in 0..5 {
            let failed = volume.read_at(&mut disk, &mut cache, &file, FileOffset::ZERO, &mut out);
            assert!(matches!(failed, Err(FatError::Disk(_))));
            assert_eq!(
                volume.read_at(
                    &mut disk,
                    &mut cache,
                    &file,
                    FileOffset::ZERO,
                    &mut out[..512]
                ),
                Ok(512)
            );
        }
        disk.bad = None;
        assert_eq!(
            volume.read_at(&mut disk, &mut cache, &file, FileOffset::ZERO, &mut out),
            Ok(1500)
        );
        assert!(out[..] == content(3, 1500));
    }
}

#[test]
fn a_cache_without_room_for_a_sector() {
    let mut disk = three(16).disk();
    let partition = whole(&disk);
    for size in [0, 1, 5 * 511] {
        let mut memory = vec![0; size];
        let opened = Volume::open(&mut disk, &mut Cache::new(&mut memory), &partition);
        assert_eq!(opened.err(), Some(FatError::SectorSize(512)));
    }
}

#[test]
fn a_partition_without_end() {
    let mut disk = three(16).disk();
    for (first_lba, sectors) in [(u64::MAX, u64::MAX), (1 << 52, 1), (0, 0), (0, u64::MAX)] {
        let partition = Partition {
            number: 1,
            kind: 0x0C,
            first_lba: Lba::new(first_lba),
            sectors,
            signature: 0,
        };
        let mut memory = vec![0; 5 * 512];
        let opened = Volume::open(&mut disk, &mut Cache::new(&mut memory), &partition);
        assert_eq!(opened.is_ok(), first_lba == 0);
    }
    assert_eq!(disk.sector_count() * 512, disk.bytes.len() as u64);
}

/// Lists a directory as far as that goes; it has no more entries than a directory can have.
fn survive_listing(disk: &mut MemoryDisk, path: &str) -> Result<(), FatError> {
    let mut memory = vec![0; 5 * 16 * 1024];
    let mut cache = Cache::new(&mut memory);
    let volume = Volume::open(disk, &mut cache, &whole(disk))?;
    let Some(mut directory) = volume.directory(disk, &mut cache, path)? else {
        return Ok(());
    };
    for _ in 0..=65_536 {
        let Some(listed) = directory.next(disk, &mut cache)? else {
            return Ok(());
        };
        assert!(listed.name.as_str().is_ascii());
    }
    panic!("a directory without end");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Whatever the damage, nothing panics, and everything ends after a reasonable number of reads.
    #[test]
    fn damage_is_survived(
        kind in 0..3usize,
        wounds in proptest::collection::vec((0..20_000usize, any::<u8>()), 1..40),
        header in proptest::collection::vec((11..48usize, any::<u8>()), 0..3),
    ) {
        let mut tiny = three(KINDS[kind]);
        tiny.entry(1, b"DIR        ", 0x10, 40, 0);
        let mut nested = [0xE5; 1024];
        nested[..32].copy_from_slice(&entry(b"FILE       ", 0, 50, 5000));
        tiny.chain(&[40, 41], &nested);
        tiny.chain(&(50..60).rev().collect::<Vec<_>>(), &content(1, 5000));
        let mut disk = tiny.disk();
        for (at, byte) in wounds.into_iter().chain(header) {
            disk.bytes[at] = byte;
        }
        for path in ["FILE", "DIR/FILE", "DIR/NONE"] {
            let _ = read_file(&mut disk, path);
        }
        let _ = survive_listing(&mut disk, "DIR");
        // Two directories of at most 2 MiB and a file no larger than the volume, by the sector.
        prop_assert!(disk.reads.len() < 60_000);
    }

    #[test]
    fn garbage_is_survived(
        mut bytes in proptest::collection::vec(any::<u8>(), 512..5_000),
        sane in any::<bool>(),
    ) {
        if sane {
            let good = three(16).image();
            bytes[..48].copy_from_slice(&good[..48]);
            bytes[510..512].copy_from_slice(&[0x55, 0xAA]);
        }
        let mut disk = MemoryDisk::new(bytes, 512);
        let _ = read_file(&mut disk, "FILE");
        let _ = survive_listing(&mut disk, "/");
        prop_assert!(disk.reads.len() < 60_000);
    }
}
