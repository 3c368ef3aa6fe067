//! The number of reads, and where they go.

use boot_path::disk::fat::{Cache, Volume};
use boot_path::disk::partition::Partition;
use boot_path::position::FileOffset;
use boot_path::position::Lba;
use fatfs::{FatType, FormatVolumeOptions};

use crate::disks::*;

use super::WINDOW;

#[test]
fn few_reads_find_a_kernel() {
    const MIB: usize = 1 << 20;
    // The root directory of FAT16 is as large as a first read, so that there is one more.
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
        let mut memory = vec![0; 5 * WINDOW];
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
            .read_at(&mut disk, &mut cache, &entry, FileOffset::ZERO, &mut text)
            .unwrap();
        assert_eq!(&text[..length], b"options exit\n");
        let mut head = [0; 4096];
        assert_eq!(
            volume.read_at(&mut disk, &mut cache, &file, FileOffset::ZERO, &mut head),
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
        // What lies in the cache was not read again. All other calls are full.
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
    let mut memory = vec![0; 5 * WINDOW];
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

/// Puts the clusters of the only file of a FAT32 volume into another order: each is as far from the
/// one before it as it can be.
fn scatter(bytes: &mut [u8], length: usize, cluster: usize) {
    const FIRST: usize = 3; // the root directory is in front of it

    let word = |at: usize| u32::from_le_bytes(*bytes[at..].first_chunk().unwrap()) as usize;
    let (reserved, fat) = (word(14) & 0xFFFF, word(36));
    let (fats, data) = (reserved * 512, (reserved + 2 * fat) * 512);
    let count = length.div_ceil(cluster);
    let place = |number: usize| match number {
        0 => FIRST,
        _ => FIRST + 1 + (number - 1) * 5003 % (count - 1),
    };
    let content = bytes[data + (FIRST - 2) * cluster..][..count * cluster].to_vec();
    for (number, content) in content.chunks(cluster).enumerate() {
        let start = data + (place(number) - 2) * cluster;
        bytes[start..start + cluster].copy_from_slice(content);
        let next = match number + 1 < count {
            true => place(number + 1) as u32,
            false => 0x0FFF_FFFF,
        };
        for copy in [0, fat * 512] {
            let at = fats + copy + 4 * place(number);
            bytes[at..at + 4].copy_from_slice(&next.to_le_bytes());
        }
    }
}

/// Where there is memory, few sectors are read again, however a file lies.
#[test]
fn a_file_in_thousands_of_pieces() {
    const MIB: usize = 1 << 20;
    const CLUSTER: usize = 1024;
    let options = FormatVolumeOptions::new()
        .fat_type(FatType::Fat32)
        .bytes_per_cluster(CLUSTER as u32);
    let mut bytes = fatfs_format(80 * MIB, options);
    let kernel = content(3, 40 * MIB);
    fatfs_write(&mut bytes, |root| put(root, "kernel.elf", &kernel));
    scatter(&mut bytes, kernel.len(), CLUSTER);
    for (memory, most) in [(Cache::MOST_BYTES, 11), (5 * WINDOW, usize::MAX)] {
        let mut disk = MemoryDisk::new(bytes.clone(), 512);
        let mut memory = vec![0; memory];
        let mut cache = Cache::new(&mut memory);
        let partition = whole(&disk);
        let volume = Volume::open(&mut disk, &mut cache, &partition).unwrap();
        let file = volume.find(&mut disk, &mut cache, "/kernel.elf");
        let file = file.unwrap().unwrap();
        assert!(stream_file(&mut disk, &mut cache, &volume, &file).unwrap() == kernel);
        let sectors: usize = disk.reads.iter().map(|&(_, count)| count).sum();
        let least = kernel.len() / 512;
        assert!(
            sectors <= least.saturating_mul(most) / 10,
            "{sectors} of {least}"
        );
    }
}

#[test]
fn reads_stay_in_the_partition() {
    let mut tiny = Tiny::new(12);
    tiny.entry(0, b"FILE       ", 0, 2, 1000);
    tiny.chain(&[2, 3], &content(1, 1000));
    let volume = tiny.image();
    let sectors = (volume.len() / 512) as u64;
    let mut disk = MemoryDisk::new([vec![0; 512 * 7], volume, vec![0; 512 * 9]].concat(), 512);
    // The firmware may not know the size of the disk: the end of the partition counts.
    disk.claimed_sectors = Some(u64::MAX);
    let partition = Partition {
        kind: 0x0C,
        number: 1,
        first_lba: Lba::new(7),
        sectors,
        signature: 0,
    };
    let mut memory = vec![0; 5 * WINDOW];
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
        .read_at(&mut disk, &mut cache, &file, FileOffset::new(511), &mut end)
        .unwrap();
    assert_eq!(end[0], content(2, 512)[511]);
    for &(lba, count) in &disk.reads {
        assert!(
            lba >= 7 && lba + count as u64 <= 7 + sectors,
            "{lba} {count}"
        );
    }
}
