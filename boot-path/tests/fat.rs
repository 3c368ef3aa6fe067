//! The FAT reader against volumes made by mkfs.fat, mtools and `fatfs`, and by hand.

mod support;

use std::io::Write as _;

use boot_path::disk::block_device::{BlockDevice as _, DiskFailure};
use boot_path::disk::fat::{self, Cache, Extent, FatError, Field, Refusal, Volume};
use boot_path::disk::partition::Partition;
use boot_path::errors::catalogue::{self, Named as _, Report};
use fatfs::{FatType, FormatVolumeOptions};
use proptest::prelude::*;
use support::*;

const WINDOW: usize = 127 * 512;

// --- Whole volumes -----------------------------------------------------------------------------

/// What `populate` writes besides directories: path and content.
fn files(cluster: usize) -> Vec<(String, Vec<u8>)> {
    let mut files = vec![
        ("empty".into(), 0),
        ("one".into(), 1),
        ("cluster".into(), cluster),
        ("cluster1.bin".into(), cluster + 1),
        ("cluster2".into(), 2 * cluster),
        ("Mixed Case and spaces.text".into(), 100),
        ("größe-文件.bin".into(), 700),
        ("x".repeat(255), 10),
        ("boot/kernel.elf".into(), 12_345),
        ("boot/kernel.conf".into(), 17),
        ("boot/modules/a/b/c/deep.file.name".into(), 3),
        ("fragments/even".into(), 12 * cluster + 5),
        ("fragments/odd".into(), 12 * cluster),
    ];
    files.extend((0..120).map(|n| (format!("boot/many/a somewhat longer name {n}"), n % 7)));
    (1..)
        .zip(files)
        .map(|(seed, (path, size))| (path, content(seed, size)))
        .collect()
}

fn populate(volume: &mut Vec<u8>, cluster: usize) {
    fatfs_write(volume, |root| {
        for path in ["fragments", "boot", "boot/many", "boot/modules"] {
            root.create_dir(path).unwrap();
        }
        for path in ["boot/modules/a", "boot/modules/a/b", "boot/modules/a/b/c"] {
            root.create_dir(path).unwrap();
        }
        let files = files(cluster);
        let (whole, fragments) = files.split_at(11);
        let (fragments, many) = fragments.split_at(2);
        // What is removed leaves deleted entries and holes for what comes then.
        for n in 0..20 {
            put(
                root,
                &format!("a name that will be gone soon {n}"),
                &content(n, cluster),
            );
        }
        for (path, bytes) in whole {
            put(root, path, bytes);
        }
        for n in (0..20).step_by(2) {
            root.remove(&format!("a name that will be gone soon {n}"))
                .unwrap();
        }
        // Written in turns, two files interleave.
        let mut open: Vec<_> = fragments
            .iter()
            .map(|(path, _)| root.create_file(path).unwrap())
            .collect();
        for turn in 0..=12 {
            for (file, (_, bytes)) in open.iter_mut().zip(fragments) {
                let piece = bytes.chunks(cluster).nth(turn).unwrap_or_default();
                file.write_all(piece).unwrap();
            }
        }
        drop(open);
        for (path, bytes) in many {
            put(root, path, bytes);
        }
    });
}

/// Finds and reads everything, on disks with each size of sectors.
fn check(volume: Vec<u8>, cluster: usize) {
    let mut disk = MemoryDisk::new(volume, 512);
    for sector_size in [512, 1024, 2048, 4096] {
        disk.sector_size = sector_size;
        disk.bytes
            .resize(disk.bytes.len().next_multiple_of(sector_size), 0);
        for (path, bytes) in files(cluster) {
            let shouted = format!("/{}", path.to_ascii_uppercase());
            for path in [&path, &shouted] {
                let read = read_file(&mut disk, path).unwrap();
                assert!(read.as_ref() == Some(&bytes), "{path} at {sector_size}");
            }
        }
        for path in [
            "",
            "/",
            "boot",
            "boot/none",
            "none/kernel.elf",
            "one/kernel.elf",
            "empty/x",
            "on",
            "onee",
            "one.",
            "boot/.",
            "boot/../one",
            "a name that will be gone soon 2",
            "boot/many/a somewhat longer name",
            "boot/many/a somewhat longer name 1200",
            &"x".repeat(254),
            &"x".repeat(256),
        ] {
            assert_eq!(read_file(&mut disk, path), Ok(None), "{path}");
        }
    }
    check_listings(&mut disk, cluster);
    check_fragments(&mut disk, cluster as u64);
}

/// The names of the files in a directory, and the bytes of all of them in one.
fn list(disk: &mut MemoryDisk, path: &str) -> Option<(Vec<String>, Vec<u8>)> {
    let mut memory = vec![0; 3 * 16 * 1024];
    let mut cache = Cache::new(&mut memory);
    let volume = Volume::open(disk, &mut cache, &whole(disk)).unwrap();
    let mut directory = volume.directory(disk, &mut cache, path).unwrap()?;
    let (mut names, mut bytes) = (Vec::new(), Vec::new());
    while let Some(listed) = directory.next(disk, &mut cache).unwrap() {
        names.push(listed.name.as_str().to_owned());
        bytes.extend(stream_file(disk, &mut cache, &volume, &listed.file).unwrap());
    }
    Some((names, bytes))
}

/// Each directory lists the files that were written to it, and nothing else.
fn check_listings(disk: &mut MemoryDisk, cluster: usize) {
    for directory in [
        "",
        "boot",
        "boot/modules",
        "boot/modules/a/b/c",
        "boot/many",
        "fragments",
    ] {
        let mut expected = Vec::new();
        for (path, bytes) in files(cluster) {
            let (parent, name) = path.rsplit_once('/').unwrap_or(("", &path));
            if parent == directory {
                let ascii = |c: char| if c.is_ascii() { c } else { '?' };
                expected.push((name.chars().map(ascii).collect::<String>(), bytes));
            }
        }
        let (names, bytes) = list(disk, &format!("/{directory}/")).unwrap();
        // Of those that were removed, every other one is left in the root directory.
        let (mut names, mut gone): (Vec<_>, Vec<_>) = names
            .into_iter()
            .partition(|name| !name.starts_with("a name that"));
        assert_eq!(gone.len(), if directory.is_empty() { 10 } else { 0 });
        gone.clear();
        // Some systems write 8.3 names in capitals.
        let lower = |names: &mut Vec<String>| {
            names
                .iter_mut()
                .for_each(|name| name.make_ascii_lowercase());
            names.sort();
        };
        let mut wanted: Vec<_> = expected.iter().map(|(name, _)| name.clone()).collect();
        lower(&mut names);
        lower(&mut wanted);
        assert_eq!(names, wanted, "{directory}");
        if directory == "boot/many" {
            let expected: Vec<_> = expected.into_iter().flat_map(|(_, bytes)| bytes).collect();
            assert!(bytes == expected, "they come in the order of the directory");
        }
    }
    for path in ["one", "none", "boot/none", "boot/kernel.elf"] {
        assert_eq!(list(disk, path), None, "{path}");
    }
}

/// The fragmented file has as many extents as expected, and they cover it.
fn check_fragments(disk: &mut MemoryDisk, cluster: u64) {
    let mut memory = vec![0; 3 * WINDOW];
    let mut cache = Cache::new(&mut memory);
    let partition = whole(disk);
    let volume = Volume::open(disk, &mut cache, &partition).unwrap();
    let file = volume
        .find(disk, &mut cache, "fragments/even")
        .unwrap()
        .unwrap();
    let mut extents = volume.extents(&file);
    let (mut at, mut count) = (0, 0);
    while let Some(Extent {
        file_offset,
        length,
        ..
    }) = extents.next(disk, &mut cache).unwrap()
    {
        assert_eq!(file_offset, at);
        assert!(length > 0);
        (at, count) = (at + length, count + 1);
    }
    assert_eq!(at, 12 * cluster + 5);
    assert!(count >= 7, "only {count} extents");
}

fn check_mkfs(kib: usize, arguments: &[&str], cluster: usize) {
    let mut volume = mkfs(kib, arguments);
    populate(&mut volume, cluster);
    check(volume, cluster);
}

fn check_fatfs(mib: usize, kind: FatType, sector: u16, cluster: u32) {
    let options = FormatVolumeOptions::new()
        .fat_type(kind)
        .bytes_per_sector(sector)
        .bytes_per_cluster(cluster)
        .total_sectors((mib << 20) as u32 / u32::from(sector));
    let mut volume = fatfs_format(mib << 20, options);
    populate(&mut volume, cluster as usize);
    check(volume, cluster as usize);
}

#[test]
fn mkfs_fat12() {
    check_mkfs(2880, &["-F", "12", "-s", "2"], 1024);
    check_mkfs(4096, &["-F", "12", "-S", "1024", "-s", "2"], 2048);
    check_mkfs(12288, &["-F", "12", "-S", "4096", "-s", "1"], 4096);
}

#[test]
fn mkfs_fat16() {
    check_mkfs(8192, &["-F", "16", "-s", "2"], 1024);
    check_mkfs(16384, &["-F", "16", "-S", "2048", "-s", "1"], 2048);
}

#[test]
fn mkfs_fat32() {
    check_mkfs(36 * 1024, &["-F", "32", "-s", "1"], 512);
}

#[test]
fn fatfs_fat12() {
    check_fatfs(4, FatType::Fat12, 512, 4096);
    check_fatfs(4, FatType::Fat12, 2048, 4096);
}

#[test]
fn fatfs_fat16() {
    check_fatfs(32, FatType::Fat16, 512, 4096);
    check_fatfs(32, FatType::Fat16, 1024, 4096);
}

#[test]
fn fatfs_fat32() {
    check_fatfs(300, FatType::Fat32, 512, 4096);
    check_fatfs(300, FatType::Fat32, 4096, 4096);
}

#[test]
fn mtools() {
    for (kib, arguments) in [
        (4096, ["-F", "12", "-s", "8"]),
        (4096, ["-F", "16", "-s", "1"]),
        (36 * 1024, ["-F", "32", "-s", "1"]),
    ] {
        let mut volume = mkfs(kib, &arguments);
        let names = [
            "kernel.elf",
            "A long name of mtools.text",
            "übergrößenträger.ÄÖÜ",
        ];
        for (seed, name) in (1..).zip(names) {
            mcopy(&mut volume, name, &content(seed, 20_000));
        }
        let mut disk = MemoryDisk::new(volume, 512);
        for (seed, name) in (1..).zip(names) {
            let read = read_file(&mut disk, name).unwrap();
            assert!(read == Some(content(seed, 20_000)), "{name} {arguments:?}");
        }
    }
}

// --- The number of reads -----------------------------------------------------------------------

#[test]
fn few_reads_find_a_kernel() {
    const MIB: usize = 1 << 20;
    // The root directory of FAT16 is as large as a first read: there is one more.
    for (kind, mib, head_reads) in [(FatType::Fat16, 64, 3), (FatType::Fat32, 300, 2)] {
        let options = FormatVolumeOptions::new()
            .fat_type(kind)
            .bytes_per_cluster(4096);
        let mut bytes = fatfs_format(mib * MIB, options);
        let kernel = content(1, 16 * MIB + 777);
        fatfs_write(&mut bytes, |root| {
            root.create_dir("boot").unwrap();
            put(root, "boot/kernel.conf", b"options exit\n");
            put(root, "boot/kernel.elf", &kernel);
        });
        let mut disk = MemoryDisk::new(bytes, 512);
        let mut memory = vec![0; 3 * WINDOW];
        let mut cache = Cache::new(&mut memory);
        let partition = whole(&disk);
        let volume = Volume::open(&mut disk, &mut cache, &partition).unwrap();
        let entry = volume
            .find(&mut disk, &mut cache, "/boot/kernel.conf")
            .unwrap()
            .unwrap();
        let file = volume
            .find(&mut disk, &mut cache, "/boot/kernel.elf")
            .unwrap()
            .unwrap();
        let mut text = [0; 100];
        let length = volume
            .read_at(&mut disk, &mut cache, &entry, 0, &mut text)
            .unwrap();
        assert_eq!(&text[..length], b"options exit\n");
        let mut head = [0; 4096];
        assert_eq!(
            volume.read_at(&mut disk, &mut cache, &file, 0, &mut head),
            Ok(4096)
        );
        assert!(head[..] == kernel[..4096]);
        assert_eq!(disk.reads.len(), head_reads, "{kind:?}: {:?}", disk.reads);

        disk.reads.clear();
        assert!(stream_file(&mut disk, &mut cache, &volume, &file).unwrap() == kernel);
        let least = kernel.len().div_ceil(512 * 127);
        assert!(
            disk.reads.len() <= least + 1,
            "{kind:?}: {} of {least}",
            disk.reads.len()
        );
        // What lies in the cache was not read again, and but for that all calls are full.
        assert!(
            disk.reads[..disk.reads.len() - 1]
                .iter()
                .all(|&(_, count)| count == 127)
        );
    }
}

#[test]
fn the_fat_is_read_in_large_pieces() {
    const MIB: usize = 1 << 20;
    let options = FormatVolumeOptions::new()
        .fat_type(FatType::Fat32)
        .bytes_per_cluster(4096);
    let mut bytes = fatfs_format(300 * MIB, options);
    let kernel = content(2, 64 * MIB);
    fatfs_write(&mut bytes, |root| put(root, "kernel.elf", &kernel));
    let mut disk = MemoryDisk::new(bytes, 512);
    let mut memory = vec![0; 3 * WINDOW];
    let mut cache = Cache::new(&mut memory);
    let partition = whole(&disk);
    let volume = Volume::open(&mut disk, &mut cache, &partition).unwrap();
    let file = volume
        .find(&mut disk, &mut cache, "/kernel.elf")
        .unwrap()
        .unwrap();
    let mut extents = volume.extents(&file);
    while extents.next(&mut disk, &mut cache).unwrap().is_some() {}
    // Boot sector and the first 24 of 129 sectors of the FAT, the directory, the rest of the FAT.
    let counts: Vec<usize> = disk.reads.iter().map(|&(_, count)| count).collect();
    assert_eq!(counts, [32, 32, 127], "{:?}", disk.reads);
}

#[test]
fn reads_stay_in_the_partition() {
    let mut tiny = Tiny::new(12);
    tiny.entry(0, b"FILE       ", 0, 2, 1000);
    tiny.chain(&[2, 3], &content(1, 1000));
    let volume = tiny.image();
    let sectors = (volume.len() / 512) as u64;
    let mut disk = MemoryDisk::new([vec![0; 512 * 7], volume, vec![0; 512 * 9]].concat(), 512);
    // The firmware may not know how large the disk is: the partition's end is what counts.
    disk.claimed_sectors = Some(u64::MAX);
    let partition = Partition {
        number: 1,
        first_lba: 7,
        sectors,
        signature: 0,
    };
    let mut memory = vec![0; 3 * WINDOW];
    let mut cache = Cache::new(&mut memory);
    let volume = Volume::open(&mut disk, &mut cache, &partition).unwrap();
    let file = volume.find(&mut disk, &mut cache, "FILE").unwrap().unwrap();
    let read = stream_file(&mut disk, &mut cache, &volume, &file).unwrap();
    assert!(read == content(1, 1000));
    let mut cache = Cache::new(&mut memory);
    let mut end = [0; 1];
    let mut far = Tiny::new(12);
    far.entry(0, b"FILE       ", 0, 401, 512);
    far.chain(&[401], &content(2, 512));
    disk.bytes[7 * 512..][..far.image().len()].copy_from_slice(&far.image());
    let volume = Volume::open(&mut disk, &mut cache, &partition).unwrap();
    let file = volume.find(&mut disk, &mut cache, "FILE").unwrap().unwrap();
    volume
        .read_at(&mut disk, &mut cache, &file, 511, &mut end)
        .unwrap();
    assert_eq!(end[0], content(2, 512)[511]);
    for &(lba, count) in &disk.reads {
        assert!(
            lba >= 7 && lba + count as u64 <= 7 + sectors,
            "{lba} {count}"
        );
    }
}

// --- Names -------------------------------------------------------------------------------------

/// A volume whose root directory holds these entries, the last of them a file with `content(1, 5)`.
fn directory(entries: &[[u8; 32]]) -> MemoryDisk {
    let mut tiny = Tiny::new(16);
    tiny.root[..entries.len() * 32].copy_from_slice(&entries.concat());
    tiny.chain(&[5], &content(1, 5));
    tiny.disk()
}

fn finds(entries: &[[u8; 32]], name: &str) -> bool {
    let read = read_file(&mut directory(entries), name).unwrap();
    assert!(read.is_none() || read == Some(content(1, 5)));
    read.is_some()
}

const SHORT: &[u8; 11] = b"LONGNA~1TXT";

fn with_long(long: &str, sum: u8) -> Vec<[u8; 32]> {
    let mut entries = long_entries(long, sum);
    entries.push(entry(SHORT, 0x20, 5, 5));
    entries
}

#[test]
fn long_names_match_only_themselves() {
    let sum = checksum(SHORT);
    for long in [
        "Long name.txt",
        "thirteen char",
        "exactly twenty-six letters",
        "ÄÖ\u{1F980}.x",
    ] {
        let entries = with_long(long, sum);
        assert!(finds(&entries, long), "{long}");
        assert!(finds(&entries, &long.to_ascii_uppercase()), "{long}");
        assert!(finds(&entries, "longna~1.txt"));
        assert!(!finds(&entries, &format!("{long}x")));
        assert!(!finds(&entries, &format!("x{long}")));
        let mut shorter = long.to_string();
        shorter.pop();
        assert!(!finds(&entries, &shorter), "{shorter}");
    }
    // Beyond ASCII, case counts.
    assert!(!finds(&with_long("ÄÖ.x", sum), "äö.x"));
}

#[test]
fn orphans_are_no_names() {
    let long = "a name of three parts, as it is long";
    let good = with_long(long, checksum(SHORT));
    assert_eq!(good.len(), 4);
    assert!(finds(&good, long));

    let bad_sum = with_long(long, checksum(SHORT) ^ 1);
    let mut mixed_sum = good.clone();
    mixed_sum[1][13] ^= 1;
    let mut gap = good.clone();
    gap.remove(1);
    let mut no_first = good.clone();
    no_first.remove(0);
    let mut no_last = good.clone();
    no_last.remove(2);
    let mut swapped = good.clone();
    swapped.swap(1, 2);
    let mut twice = good.clone();
    twice.insert(1, twice[1]);
    let mut deleted = good.clone();
    deleted[1][0] = 0xE5;
    let mut deleted_between = good.clone();
    deleted_between.insert(3, [0xE5; 32]);
    let mut other_between = good.clone();
    other_between.insert(3, entry(b"OTHER      ", 0x20, 0, 0));
    let mut label_between = good.clone();
    label_between.insert(3, entry(SHORT, 0x08, 0, 0));
    let mut part_zero = good.clone();
    part_zero.insert(3, part_zero[2]);
    part_zero[3][0] = 0;
    for entries in [
        bad_sum,
        mixed_sum,
        gap,
        no_first,
        no_last,
        swapped,
        twice,
        deleted,
        deleted_between,
        other_between,
        label_between,
    ] {
        assert!(!finds(&entries, long), "{entries:x?}");
        assert!(finds(&entries, "LONGNA~1.TXT"));
    }
    // 0 ends the directory, in a long name as well.
    assert!(!finds(&part_zero, "LONGNA~1.TXT"));

    // A new beginning counts, whatever came before.
    let mut restarted = good.clone();
    restarted.insert(0, good[0]);
    assert!(finds(&restarted, long));
}

#[test]
fn short_names() {
    let finds_short = |stored: &[u8; 11], name| finds(&[entry(stored, 0x20, 5, 5)], name);
    assert!(finds_short(b"KERNEL  ELF", "kernel.elf"));
    assert!(finds_short(b"KERNEL     ", "Kernel"));
    assert!(finds_short(b"EIGHTCHRTHR", "eightchr.thr"));
    for name in [
        "kernel",
        "kernel.el",
        "kernel.elfx",
        "kernel.elf.",
        "ker.nel.elf",
        ".elf",
        "kernel  .elf",
        "kernel .elf",
        "ernel.elf",
    ] {
        assert!(!finds_short(b"KERNEL  ELF", name), "{name}");
    }
    assert!(!finds_short(b"KERNEL     ", "kernel."));
    // FAT12 and FAT16 do not use the upper half of the cluster number.
    assert!(finds(
        &[entry(b"KERNEL  ELF", 0x20, 0xABCD_0005, 5)],
        "kernel.elf"
    ));
    // A volume label and a deleted file are none.
    assert!(!finds(&[entry(b"KERNEL  ELF", 0x08, 5, 5)], "kernel.elf"));
    assert!(!finds(
        &[entry(b"\xE5ERNEL  ELF", 0x20, 5, 5)],
        "kernel.elf"
    ));
    // Nor is anything behind the end.
    assert!(!finds(
        &[[0; 32], entry(b"KERNEL  ELF", 0x20, 5, 5)],
        "kernel.elf"
    ));
}

/// The names that a directory lists.
fn names(entries: &[[u8; 32]]) -> Vec<String> {
    let mut tiny = Tiny::new(16);
    tiny.entry(0, b"DIR        ", 0x10, 20, 0);
    tiny.chain(&[20, 23], &entries.concat());
    tiny.chain(&[5], &content(1, 5));
    list(&mut tiny.disk(), "dir").unwrap().0
}

#[test]
fn listed_names() {
    let sum = checksum(SHORT);
    for (long, expected) in [
        ("Long name.conf", "Long name.conf"),
        ("thirteen char", "thirteen char"),
        ("exactly twenty-six letters", "exactly twenty-six letters"),
        ("ÄÖ\u{1F980}\u{7F}.x", "?????.x"),
        (&"x".repeat(255), &"x".repeat(255)),
        // Longer than a name can be.
        (&"x".repeat(256), &"x".repeat(255)),
        (&"x".repeat(261), "LONGNA~1.TXT"),
    ] {
        assert_eq!(names(&with_long(long, sum)[..]), [expected], "{long}");
    }
    // A long name that is none, or somebody else's: the short one counts.
    assert_eq!(
        names(&with_long("Long name.txt", sum ^ 1)),
        ["LONGNA~1.TXT"]
    );
    let mut gap = with_long("a name of three parts, as it is long", sum);
    gap.remove(1);
    assert_eq!(names(&gap), ["LONGNA~1.TXT"]);

    let short = |stored: &[u8; 11], flags: u8| {
        let mut entry = entry(stored, 0x20, 5, 5);
        entry[12] = flags;
        names(&[entry]).remove(0)
    };
    assert_eq!(short(b"KERNEL  ELF", 0), "KERNEL.ELF");
    assert_eq!(short(b"KERNEL  ELF", 0x08), "kernel.ELF");
    assert_eq!(short(b"KERNEL  ELF", 0x10), "KERNEL.elf");
    assert_eq!(short(b"KERNEL  ELF", 0x18), "kernel.elf");
    assert_eq!(short(b"KERNEL     ", 0x18), "kernel");
    assert_eq!(short(b"EIGHTCHRTHR", 0), "EIGHTCHR.THR");
    assert_eq!(short(b"X       C  ", 0), "X.C");
    assert_eq!(short(b"A B     C D", 0), "A B.C D");
    assert_eq!(short(b"\x05\x84A     C  ", 0), "??A.C");

    // What is no file is not listed.
    let all = [
        entry(b"LABEL      ", 0x08, 0, 0),
        entry(b"DIRECTORY  ", 0x10, 9, 0),
        entry(b"\xE5ONE       ", 0x20, 5, 5),
        entry(b"A          ", 0x20, 5, 5),
        entry(b"B          ", 0x07, 5, 5),
        [0; 32],
        entry(b"BEHIND     ", 0x20, 5, 5),
    ];
    assert_eq!(names(&all), ["A", "B"]);
    assert_eq!(names(&[]), [""; 0]);
}

// --- Damage ------------------------------------------------------------------------------------

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
        // Every end of chain is one.
        for end in 0..8 {
            let mut tiny = three(bits);
            tiny.fat[20] = Tiny::END - end;
            assert_eq!(
                read_file(&mut tiny.disk(), "FILE"),
                Ok(Some(content(3, 1500)))
            );
        }
        let mut tiny = three(bits);
        tiny.fat[20] = 21;
        tiny.fat[21] = Tiny::END;
        assert_damaged(&tiny, FatError::ChainLong(10));
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

#[test]
fn directories_in_a_ring_end() {
    for bits in KINDS {
        let mut tiny = three(bits);
        tiny.entry(1, b"RING       ", 0x10, 30, 0);
        tiny.entry(2, b"NOWHERE    ", 0x10, 0, 0);
        // Full of entries that are none, so that the search goes on.
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

/// A disk with its reads counted from here on, and what looking for a path comes to.
fn look_for(disk: &mut MemoryDisk, path: &str) -> (Result<bool, FatError>, usize) {
    let mut memory = vec![0; 3 * WINDOW];
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
        // As a directory.
        let mut disk = tiny.disk();
        for (names, expected) in [(130, true), (131, false)] {
            let listed = list(&mut disk, &"a/".repeat(names));
            assert_eq!(listed.is_some(), expected, "{names} names");
        }
    }
}

/// What all directories on a path hold, is looked at as if it were in one of them: 60,000 deleted
/// entries, and then the directory itself once more.
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

/// Each of its clusters is anywhere: as many reads as the largest directory has clusters, and one of the
/// FAT for each, at the worst.
#[test]
fn a_directory_in_pieces() {
    let mut tiny = Tiny::new(16);
    tiny.entry(0, b"A          ", 0x10, 2, 0);
    // All clusters there are, in leaps.
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
    let mut memory = vec![0; 3 * 512];
    let mut cache = Cache::new(&mut memory);
    let partition = whole(&disk);
    let volume = Volume::open(&mut disk, &mut cache, &partition).unwrap();
    let file = volume.find(&mut disk, &mut cache, "file").unwrap().unwrap();
    let mut extents = volume.extents(&file);
    let extent = extents.next(&mut disk, &mut cache).unwrap().unwrap();
    assert_eq!((extent.file_offset, extent.length), (0, 400 * 512));
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
            offset: 0,
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
    // The rest of the FAT becomes reserved sectors, so that everything stays in its place.
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
            (DiskFailure::OutOfRange, cut as u64 / 512)
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
        // A read that fails leaves nothing behind that could be taken for the sectors.
        disk.bad = Some(disk.bytes.len() as u64 / 512 - 1);
        let mut memory = vec![0; 3 * 512];
        let mut cache = Cache::new(&mut memory);
        let partition = whole(&disk);
        let volume = Volume::open(&mut disk, &mut cache, &partition).unwrap();
        disk.bad = Some((data + (11 - 2) * 512) as u64 / 512);
        let file = volume.find(&mut disk, &mut cache, "FILE").unwrap().unwrap();
        let mut out = [0; 1500];
        for _ in 0..5 {
            let failed = volume.read_at(&mut disk, &mut cache, &file, 0, &mut out);
            assert!(matches!(failed, Err(FatError::Disk(_))));
            assert_eq!(
                volume.read_at(&mut disk, &mut cache, &file, 0, &mut out[..512]),
                Ok(512)
            );
        }
        disk.bad = None;
        assert_eq!(
            volume.read_at(&mut disk, &mut cache, &file, 0, &mut out),
            Ok(1500)
        );
        assert!(out[..] == content(3, 1500));
    }
}

#[test]
fn a_cache_without_room_for_a_sector() {
    let mut disk = three(16).disk();
    let partition = whole(&disk);
    for size in [0, 1, 3 * 511] {
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
            first_lba,
            sectors,
            signature: 0,
        };
        let mut memory = vec![0; 3 * 512];
        let opened = Volume::open(&mut disk, &mut Cache::new(&mut memory), &partition);
        assert_eq!(opened.is_ok(), first_lba == 0);
    }
    assert_eq!(disk.sector_count() * 512, disk.bytes.len() as u64);
}

/// Lists a directory as far as that goes; it has no more entries than a directory can have.
fn survive_listing(disk: &mut MemoryDisk, path: &str) -> Result<(), FatError> {
    let mut memory = vec![0; 3 * 16 * 1024];
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

    /// Whatever the damage: no panic, and an end after a reasonable number of reads.
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
