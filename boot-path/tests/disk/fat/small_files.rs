//! Many small files, on a volume that was used for years and on a new one: how many reads they take.

use boot_path::disk::fat::{Cache, Volume};
use boot_path::position::FileOffset;
use fatfs::{FatType, FormatVolumeOptions};

use crate::disks::*;

const MIB: usize = 1 << 20;
/// How many files there are, and the bytes of each.
const FILES: u32 = 32;
const LENGTH: usize = 4096;

fn format(mib: usize, cluster: u32) -> Vec<u8> {
    let options = FormatVolumeOptions::new()
        .fat_type(FatType::Fat32)
        .bytes_per_cluster(cluster);
    fatfs_format(mib * MIB, options)
}

/// Marks clusters behind the last used one as bad, so that the next file is far from the last one.
fn spoil(volume: &mut [u8], clusters: usize) {
    const BAD: u32 = 0x0FFF_FFF7;

    let word = |at: usize| u32::from_le_bytes(*volume[at..].first_chunk().unwrap()) as usize;
    let (reserved, length) = (word(14) & 0xFFFF, word(36));
    let fats = [reserved, reserved + length].map(|sector| sector * 512);
    let clusters_in_all = (word(32) - reserved - 2 * length) / usize::from(volume[13]);
    let entries = &volume[fats[0]..].as_chunks::<4>().0[..2 + clusters_in_all];
    let last = entries.iter().rposition(|entry| *entry != [0; 4]).unwrap();
    for fat in fats {
        let marks = &mut volume[fat + 4 * (last + 1)..][..4 * clusters];
        marks.copy_from_slice(&BAD.to_le_bytes().repeat(clusters));
    }
}

fn path(number: u32) -> String {
    format!("boot/modules/module {number}")
}

/// Finds the files and reads them, as modules are read: first the head, then everything. Returns how
/// many sectors each read took.
fn read_all(volume: Vec<u8>) -> Vec<usize> {
    let mut disk = MemoryDisk::new(volume, 512);
    let mut memory = vec![0; Cache::MOST_BYTES];
    let mut cache = Cache::new(&mut memory);
    let partition = whole(&disk);
    let volume = Volume::open(&mut disk, &mut cache, &partition).unwrap();
    for number in 0..FILES {
        let file = volume.find(&mut disk, &mut cache, &path(number));
        let file = file.unwrap().unwrap();
        let mut head = [0; 2];
        let length = volume.read_at(&mut disk, &mut cache, &file, FileOffset::ZERO, &mut head);
        assert_eq!(length, Ok(2));
        let read = stream_file(&mut disk, &mut cache, &volume, &file).unwrap();
        assert!(read == content(number, LENGTH) && read.starts_with(&head));
    }
    disk.reads.iter().map(|&(_, count)| count).collect()
}

/// Root directory, `/boot`, the modules' directory and the files are all far from each other, and so
/// are their entries in the FAT.
fn lived_in(mib: usize, cluster: u32, distance: usize) -> Vec<u8> {
    let mut volume = format(mib, cluster);
    let fill = |directory: &Directory<'_>| {
        for number in 0..cluster / 64 {
            put(directory, &format!("what was there before, {number}"), b"");
        }
    };
    fatfs_write(&mut volume, fill);
    spoil(&mut volume, distance);
    fatfs_write(&mut volume, |root| fill(&root.create_dir("boot").unwrap()));
    spoil(&mut volume, distance);
    fatfs_write(&mut volume, |root| {
        root.create_dir("boot/modules").unwrap();
    });
    for number in 0..FILES {
        spoil(&mut volume, distance);
        fatfs_write(&mut volume, |root| {
            put(root, &path(number), &content(number, LENGTH))
        });
    }
    volume
}

/// Each file takes one read, of no more than its own bytes. A file in a single cluster needs no FAT.
#[test]
fn modules_of_one_cluster_on_a_volume_that_was_used_for_years() {
    let reads = read_all(lived_in(300, 4096, 2000));
    assert!(reads.len() <= 32 + 5, "{}: {reads:?}", reads.len());
    let of_files = reads.iter().filter(|&&count| count == LENGTH / 512);
    assert_eq!(of_files.count(), 32, "{reads:?}");
}

/// Larger pieces of the FAT are read once it is clear that all of it is needed.
#[test]
fn modules_of_several_clusters_on_a_volume_that_was_used_for_years() {
    let reads = read_all(lived_in(320, 1024, 8300));
    assert!(reads.len() <= 32 + 28, "{}: {reads:?}", reads.len());
}

/// A window holds several of them, whether or not there is a little between them.
#[test]
fn modules_that_were_written_one_after_the_other() {
    for between in [0, 5000] {
        let mut volume = format(300, 4096);
        fatfs_write(&mut volume, |root| {
            root.create_dir("boot").unwrap();
            root.create_dir("boot/modules").unwrap();
            for number in 0..FILES {
                put(root, &path(number), &content(number, LENGTH));
                put(root, &format!("other {number}"), &content(99, between));
            }
        });
        let reads = read_all(volume);
        let least = (FILES as usize * (LENGTH + between.next_multiple_of(4096))).div_ceil(1 << 16);
        assert!(reads.len() <= least + 4, "{}: {reads:?}", reads.len());
    }
}

/// What is at the end of a file is read with what is in front of it, which saves a read of the rest.
#[test]
fn a_kernel_whose_notes_are_at_its_end() {
    let mut volume = format(80, 1024);
    let kernel = content(1, 4 * MIB + 5000);
    fatfs_write(&mut volume, |root| put(root, "kernel.elf", &kernel));
    let reads = |looks_at_the_end: bool| {
        let mut disk = MemoryDisk::new(volume.clone(), 512);
        let mut memory = vec![0; Cache::MOST_BYTES];
        let mut cache = Cache::new(&mut memory);
        let partition = whole(&disk);
        let volume = Volume::open(&mut disk, &mut cache, &partition).unwrap();
        let file = volume.find(&mut disk, &mut cache, "/kernel.elf");
        let file = file.unwrap().unwrap();
        let mut note = [0; 40];
        for offset in [0, file.size - 40] {
            if offset == 0 || looks_at_the_end {
                let offset = FileOffset::new(offset);
                let length = volume.read_at(&mut disk, &mut cache, &file, offset, &mut note);
                assert_eq!(length, Ok(40));
            }
        }
        assert!(!looks_at_the_end || note == kernel[kernel.len() - 40..]);
        assert!(stream_file(&mut disk, &mut cache, &volume, &file).unwrap() == kernel);
        let mut sectors: Vec<_> = disk
            .reads
            .iter()
            .flat_map(|&(lba, n)| lba..lba + n as u64)
            .collect();
        let all = sectors.len();
        sectors.sort_unstable();
        sectors.dedup();
        assert_eq!(sectors.len(), all, "some are read twice: {:?}", disk.reads);
        disk.reads.len()
    };
    assert_eq!(reads(true), reads(false));
}

/// On a machine with little memory, and with large sectors, the windows are small: whatever is read
/// at the end of a file, the bytes that were asked for are among it.
#[test]
fn the_end_of_a_file_in_windows_of_any_size() {
    let mut volume = format(80, 1024);
    let kernel = content(1, 300_000);
    fatfs_write(&mut volume, |root| put(root, "kernel.elf", &kernel));
    for windows in [512, 1024, 4096, 16 * 1024, 26_214, 40_000, 64 * 1024] {
        for behind in [1, 40, 700, 5000, 16_000, 17_000, 33_000] {
            let mut disk = MemoryDisk::new(volume.clone(), 512);
            let mut memory = vec![0; 5 * windows];
            let mut cache = Cache::new(&mut memory);
            let partition = whole(&disk);
            let volume = Volume::open(&mut disk, &mut cache, &partition).unwrap();
            let file = volume.find(&mut disk, &mut cache, "/kernel.elf");
            let file = file.unwrap().unwrap();
            let mut found = vec![0; behind];
            let offset = FileOffset::new(file.size - behind as u64);
            let length = volume.read_at(&mut disk, &mut cache, &file, offset, &mut found);
            assert_eq!(length, Ok(behind), "windows of {windows}");
            assert!(kernel.ends_with(&found), "windows of {windows}");
        }
    }
}
