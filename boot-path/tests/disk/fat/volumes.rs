//! Whole volumes, of mkfs.fat, mtools and `fatfs`: everything is found and read.

use boot_path::position::FileOffset;
use std::io::Write as _;

use boot_path::disk::fat::{Cache, Extent, Volume};
use fatfs::{FatType, FormatVolumeOptions};

use crate::disks::*;

use super::{WINDOW, list};

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
        // Removed files leave deleted entries and holes for later ones.
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
        // Two files that are written in turns interleave.
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

/// Finds and reads everything, on disks with each sector size.
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
        // In the root directory, every other one of the removed files is left.
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
    let mut memory = vec![0; 5 * WINDOW];
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
        assert_eq!(file_offset, FileOffset::new(at));
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
