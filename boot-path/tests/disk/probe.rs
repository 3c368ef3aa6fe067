//! What the loader recognises that is not FAT: what other programs leave behind, as far as it
//! matters.
//!
//! The offsets and bytes were compared with what these programs write, of Debian 12 where no other
//! source is named, in images of 64 to 400 MiB: mkfs.ext2, .ext3 and .ext4 (e2fsprogs 1.47.0),
//! mkfs.xfs (xfsprogs 6.1.0), mkfs.btrfs (btrfs-progs 6.2), mkntfs (ntfs-3g 2022.10.3), mkfs.exfat
//! (exfatprogs 1.2.0), mkfs.f2fs (f2fs-tools 1.15.0), mkfs.jfs (jfsutils 1.1.15), mkreiserfs
//! (reiserfsprogs 3.6.27), mkswap and sfdisk (util-linux 2.38.1), cryptsetup luksFormat (2.6.1, LUKS 1
//! and 2), pvcreate (lvm2 2.03.16), xorriso (1.5.4), sgdisk (gdisk 1.0.9). All others, and most of
//! these once more, with the images of util-linux's tests of libblkid (tests/ts/blkid/images-fs).
//! Where a RAID's superblocks are is in the kernel's drivers/md/md.c (`super_1_load`) and md_p.h
//! (`MD_NEW_SIZE_SECTORS`).

use boot_path::disk::block_device::BlockDevice;
use boot_path::disk::fat::{Cache, FatError, View, Volume};
use boot_path::disk::partition::{self, PartitionError};
use boot_path::disk::probe::{self, Foreign};
use boot_path::errors::catalogue::Report;
use boot_path::position::Lba;
use proptest::prelude::*;

use crate::disks::{self, MemoryDisk, Tiny};

const MIB: usize = 1 << 20;
/// The LBA of the partition in these tests.
const LBA: usize = 2048;

/// What a program writes, piece by piece: offset and bytes.
type Pieces<'a> = &'a [(usize, &'a [u8])];

/// A journal; extents, 64 bits and flexible block groups; revision 1.
const EXT3: Pieces = &[
    (0x438, b"\x53\xEF\x01\x00\x01"),
    (0x44C, &[1]),
    (0x45C, &[0x3C]),
];
const EXT4: Pieces = &[
    (0x438, b"\x53\xEF\x01\x00\x01"),
    (0x44C, &[1]),
    (0x45C, &[0x3C]),
    (0x460, &[0xC2, 0x02]),
];
const LVM: Pieces = &[(512, b"LABELONE\x01"), (512 + 24, b"LVM2 001")];
const RAID_1: &[u8] = b"\xFC\x4E\x2B\xA9\x01\0\0\0";

const KNOWN: &[(Pieces, &str)] = &[
    (&[(0x438, b"\x53\xEF\x01\x00\x01"), (0x44C, &[1])], "ext2"),
    // A file system of the revision before 1995.
    (&[(0x438, b"\x53\xEF\x01\x00\x01")], "ext2"),
    (EXT3, "ext3"),
    (EXT4, "ext4"),
    (&[(0, b"XFSB\0\0\x10\0")], "XFS"),
    (&[(65_600, b"_BHRfS_M")], "btrfs"),
    (
        &[(0, b"\xEB\x52\x90NTFS    \0\x02\x08"), (510, b"\x55\xAA")],
        "NTFS",
    ),
    (&[(0, b"\xEB\x76\x90EXFAT   "), (510, b"\x55\xAA")], "exFAT"),
    (
        &[(0, b"\xEB\x58\x90-FVE-FS-\0\x02"), (510, b"\x55\xAA")],
        "BitLocker (encrypted)",
    ),
    (&[(3, b"ReFS\0\0\0\0")], "ReFS"),
    (&[(0, b"LUKS\xBA\xBE\0\x01aes")], "LUKS (encrypted)"),
    (&[(0, b"LUKS\xBA\xBE\0\x02")], "LUKS (encrypted)"),
    (LVM, "LVM"),
    (&[(0, RAID_1)], "a part of a Linux RAID"),
    (&[(4096, RAID_1)], "a part of a Linux RAID"),
    (&[(4086, b"SWAPSPACE2")], "Linux swap space"),
    (&[(4086, b"S1SUSPEND\0")], "a suspended Linux"),
    (&[(32_768, b"\x01CD001\x01")], "ISO 9660 (a CD)"),
    (&[(32_768, b"\0BEA01\x01")], "UDF"),
    (&[(1024, b"\x10\x20\xF5\xF2\x01\0")], "F2FS"),
    (&[(32_768, b"JFS1\x01")], "JFS"),
    (&[(65_588, b"ReIsEr2Fs")], "ReiserFS"),
    (&[(65_536, b"ReIsEr4")], "Reiser4"),
    (&[(1024, b"\x02\0\0\0\0\0\x34\x34")], "NILFS2"),
    (&[(65_536, b"\x01\x16\x19\x70\0\0\0\x01")], "GFS2"),
    (&[(16_404, b"\0\0\0\x07version\0")], "ZFS"),
    (&[(9564, b"\x54\x19\x01\0")], "UFS"),
    (&[(66_908, b"\x19\x01\x54\x19")], "UFS"),
    (&[(512, b"\x57\x45\x56\x82")], "a BSD disk label"),
    (&[(1024, b"H+\0\x04")], "HFS+"),
    (&[(1024, b"HX\0\x05")], "HFS+"),
    (&[(32, b"NXSB")], "APFS"),
    (&[(0, b"hsqs")], "squashfs"),
    (&[(1024, b"\xE2\xE1\xF5\xE0")], "EROFS"),
    (
        &[(4120, b"\xC6\x85\x73\xF6\x4E\x1A\x45\xCA\x82\x65")],
        "bcache",
    ),
    (
        &[(4120, b"\xC6\x85\x73\xF6\x66\xCE\x90\xA9\xD9\x6A")],
        "bcachefs",
    ),
    // An extended partition: a table with a logical partition in it.
    (
        &[
            (446, b"\0\0\0\0\x83\0\0\0\0\x08\0\0\0\x10\0\0"),
            (510, b"\x55\xAA"),
        ],
        "other partitions",
    ),
];

/// A disk with an active partition of this kind that holds these pieces, as far as it is long
/// enough.
fn disk(sector_size: usize, kind: u8, pieces: Pieces) -> MemoryDisk {
    let mut bytes = vec![0; 4 * MIB];
    let first = (LBA * 512 / sector_size) as u32;
    let count = (2 * MIB / sector_size) as u32;
    let entry = &mut bytes[446..462];
    entry[0] = 0x80;
    entry[4] = kind;
    entry[8..12].copy_from_slice(&first.to_le_bytes());
    entry[12..16].copy_from_slice(&count.to_le_bytes());
    bytes[510..512].copy_from_slice(&[0x55, 0xAA]);
    for (offset, piece) in pieces {
        bytes[LBA * 512 + offset..][..piece.len()].copy_from_slice(piece);
    }
    MemoryDisk::new(bytes, sector_size)
}

/// What the loader says of the volume in the active partition. The disk then lists these reads
/// alone.
fn opened(disk: &mut MemoryDisk) -> Result<Option<View>, FatError> {
    let mut memory = vec![0; 5 * 16 * 1024];
    let mut cache = Cache::new(&mut memory);
    let partition = partition::find(disk).unwrap();
    disk.reads.clear();
    let mut by = None;
    Volume::open_any(disk, &mut cache, &partition, &mut |_, view| by = Some(view))?;
    Ok(by)
}

#[test]
fn whatever_is_recognised_is_named() {
    for sector_size in [512, 2048, 4096] {
        for &(pieces, name) in KNOWN {
            let mut disk = disk(sector_size, 0x83, pieces);
            let error = opened(&mut disk).unwrap_err();
            let foreign = Foreign { partition: 1, name };
            assert_eq!(error, FatError::Foreign(foreign), "{sector_size}");
            // One read of the boot sector, which the cache keeps, and then one for each place.
            assert!(disk.reads.len() <= 14, "{name}: {:?}", disk.reads);
            assert!(disk.reads[1..].iter().all(|&(_, count)| count == 1));
            // All of them within the partition.
            let first = (LBA * 512 / sector_size) as u64;
            let last = first + (2 * MIB / sector_size) as u64;
            assert!(
                disk.reads
                    .iter()
                    .all(|(lba, _)| (first..last).contains(lba))
            );
        }
    }
    let mut disk = disk(512, 0x83, EXT4);
    assert_eq!(
        Report(&opened(&mut disk).unwrap_err()).to_string(),
        "error 8D: the boot partition is not FAT, but something else: partition 1 holds ext4"
    );
}

#[test]
fn a_partition_that_is_neither_active_nor_fat_is_named() {
    for &(pieces, name) in KNOWN {
        let mut disk = disk(512, 0x83, pieces);
        disk.bytes[446] = 0;
        let foreign = Foreign { partition: 1, name };
        assert_eq!(
            partition::find(&mut disk),
            Err(PartitionError::Foreign(foreign))
        );
    }
    let mut found = disk(512, 0x8E, LVM);
    found.bytes[446] = 0;
    // The first known one of several counts.
    found.bytes.copy_within(446..462, 462);
    found.bytes[462 + 8..][..4].copy_from_slice(&3072_u32.to_le_bytes());
    found.bytes.copy_within(446..462, 478);
    found.bytes[446 + 8..][..4].copy_from_slice(&2500_u32.to_le_bytes());
    assert_eq!(
        Report(&partition::find(&mut found).unwrap_err()).to_string(),
        "error 7C: there is no boot partition: partition 3 holds LVM"
    );
}

/// Without a partition table, as `mkfs.ext4 /dev/sdb` and `pvcreate /dev/sdb` leave a disk.
#[test]
fn a_disk_without_a_table_is_named() {
    for &(pieces, name) in KNOWN {
        if name == "other partitions" {
            continue;
        }
        let mut bytes = vec![0; 2 * MIB];
        for (offset, piece) in pieces {
            bytes[*offset..][..piece.len()].copy_from_slice(piece);
        }
        let foreign = Foreign { partition: 0, name };
        let found = partition::find(&mut MemoryDisk::new(bytes, 512));
        assert_eq!(found, Err(PartitionError::Foreign(foreign)));
    }
}

/// Superblocks of version 0.90 and 1.0 are at the end. In front of them there may be a mirror's FAT
/// volume, which boots.
#[test]
fn a_raid_may_be_known_by_its_end() {
    let raid = Foreign {
        partition: 1,
        name: "a part of a Linux RAID",
    };
    let (end, odd) = (2 * MIB, 2 * MIB - 5 * 512);
    for (length, place) in [
        // 0.90: `x & ~127 - 128` sectors; 1.0: `(x - 16) & ~7`.
        (end, end - 65_536),
        (end, end - 8192),
        (odd, end - 2 * 65_536),
        (odd, end - 3 * 4096),
    ] {
        let mut raw = disk(512, 0xFD, &[(place, b"\xFC\x4E\x2B\xA9")]);
        raw.bytes[458..462].copy_from_slice(&(length as u32 / 512).to_le_bytes());
        assert_eq!(
            opened(&mut raw),
            Err(FatError::Foreign(raid)),
            "{length} {place}"
        );
        // The superblock lies behind a shorter partition, so it is another one's.
        raw.bytes[458..462].copy_from_slice(&(length as u32 / 512 - 256).to_le_bytes());
        assert!(matches!(opened(&mut raw), Err(FatError::NotFat { .. })));
        // The mirror's boot sector is damaged, and its backup is not.
        let (fat, _) = disks::twofold();
        let mut mirror = disk(512, 0xFD, &[(0, &fat.bytes), (place, b"\xFC\x4E\x2B\xA9")]);
        assert_eq!(opened(&mut mirror), Ok(None));
        mirror.bytes[LBA * 512 + 510] = 0;
        assert_eq!(opened(&mut mirror), Ok(Some(View::ALL[2])));
    }
}

/// Other volumes may still show the file system that was there before.
#[test]
fn what_others_lie_in_comes_before_a_file_system() {
    let containers: [(Pieces, _); 3] = [
        (LVM, "LVM"),
        (&[(4096, RAID_1)], "a part of a Linux RAID"),
        (&[(0, b"LUKS\xBA\xBE\0\x02")], "LUKS (encrypted)"),
    ];
    for (container, name) in containers {
        let pieces = [EXT4, container].concat();
        let foreign = Foreign { partition: 1, name };
        let found = opened(&mut disk(512, 0x83, &pieces));
        assert_eq!(found, Err(FatError::Foreign(foreign)));
    }
}

/// mkfs.ext4 leaves the backup boot sector and both FATs of a FAT32 volume where they are.
#[test]
fn an_old_backup_boot_sector_is_not_believed() {
    let (fat, _) = disks::twofold();
    let mut disk = disk(512, 0x0C, &[(0, &fat.bytes)]);
    assert_eq!(opened(&mut disk), Ok(None));
    // Its first two sectors are zeroed.
    disk.bytes[LBA * 512..][..1024].fill(0);
    assert_eq!(opened(&mut disk), Ok(Some(View::ALL[2])));
    for (offset, piece) in EXT4 {
        disk.bytes[LBA * 512 + offset..][..piece.len()].copy_from_slice(piece);
    }
    let foreign = Foreign {
        partition: 1,
        name: "ext4",
    };
    assert_eq!(opened(&mut disk), Err(FatError::Foreign(foreign)));
}

#[test]
fn what_is_nothing_is_not_named() {
    let nothing: [Pieces; 4] = [
        &[],
        // Half of a signature; the magic of ext2 with a revision that does not exist.
        &[
            (0, b"XFSA"),
            (65_600, b"_BHRfS_"),
            (0x438, b"\x53\xEF"),
            (0x44C, b"\x07"),
        ],
        // A boot sector with code, and a table of nothing.
        &[
            (446, b"\x80\xFE\x55\xAA\x90\x90\x90\x90"),
            (510, b"\x55\xAA"),
        ],
        &[(510, b"\x55\xAA")],
    ];
    for pieces in nothing {
        let error = opened(&mut disk(512, 0x83, pieces));
        assert!(
            matches!(error, Err(FatError::NotFat { .. })),
            "{pieces:?} {error:?}"
        );
    }
    // A FAT volume of any kind.
    for bits in [12, 16, 32] {
        let mut disk = Tiny::new(bits).disk();
        let sectors = disk.sector_count();
        assert_eq!(probe::find(&mut disk, Lba::new(0), sectors), None);
    }
}

/// The loader does not ask twice for what cannot be read, or is not there.
#[test]
fn a_disk_that_fails_is_left_alone() {
    for bad in [LBA as u64, LBA as u64 + 2, LBA as u64 + 64] {
        let mut disk = disk(512, 0x83, &[(65_600, b"_BHRfS_M")]);
        disk.bad = Some(bad);
        assert_eq!(probe::at_start(&mut disk, Lba::new(LBA as u64), 4096), None);
        let last = disk.reads.last().copied();
        assert_eq!(last, Some((bad, 1)), "{:?}", disk.reads);
    }
    // A partition that is shorter than that.
    let mut disk = disk(512, 0x83, &[(65_600, b"_BHRfS_M")]);
    for sectors in [1, 7, 100, 128] {
        disk.reads.clear();
        assert_eq!(probe::find(&mut disk, Lba::new(LBA as u64), sectors), None);
        let end = LBA as u64 + sectors;
        assert!(
            disk.reads.iter().all(|&(lba, _)| lba < end),
            "{:?}",
            disk.reads
        );
    }
    assert_eq!(
        probe::find(&mut disk, Lba::new(LBA as u64), 129),
        Some("btrfs")
    );
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is on the disk, and however long the partition is said to be, nothing panics, there
    /// are few reads, and none outside of the partition.
    #[test]
    fn anything_may_be_there(
        first in any::<u64>(),
        sectors in any::<u64>(),
        near in 0..5000_u64,
        length in 0..5000_u64,
        shift in 0..4_u32,
        noise in proptest::collection::vec(any::<u8>(), 4096),
    ) {
        let mut disk = MemoryDisk::new(noise.repeat(64), 512 << shift);
        for (first, sectors) in [(first, sectors), (near, length), (near, sectors)] {
            disk.reads.clear();
            let _ = probe::find(&mut disk, Lba::new(first), sectors);
            prop_assert!(disk.reads.len() <= 14);
            for &(lba, count) in &disk.reads {
                prop_assert!(count == 1 && lba >= first && lba - first < sectors);
            }
        }
    }
}
