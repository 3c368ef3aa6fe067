//! Pieces of files: all bytes arrive in the right place, in few reads.

use boot_path::disk::fat::FatError;
use boot_path::disk::fat::{Cache, File, Volume};
use boot_path::disk::stream::{Range, stream};
use boot_path::memory::address::PhysAddr;
use boot_path::position::FileOffset;
use proptest::prelude::*;

use crate::disks::*;

const CLUSTER: u32 = 512;

/// A volume with one file in these clusters, and a window size for the cache.
struct Fixture {
    disk: MemoryDisk,
    memory: Vec<u8>,
    content: Vec<u8>,
}

impl Fixture {
    fn new(bits: u32, clusters: &[u32], window: usize) -> Self {
        let content = content(9, clusters.len() * CLUSTER as usize - 100);
        let mut tiny = Tiny::new(bits);
        tiny.entry(0, b"FILE       ", 0, clusters[0], content.len() as u32);
        tiny.chain(clusters, &content);
        Self {
            disk: tiny.disk(),
            memory: vec![0; 5 * window],
            content,
        }
    }

    fn open(&mut self) -> (&mut MemoryDisk, Cache<'_>, Volume, File, &[u8]) {
        let mut cache = Cache::new(&mut self.memory);
        let partition = whole(&self.disk);
        let volume = Volume::open(&mut self.disk, &mut cache, &partition).unwrap();
        let file = volume
            .find(&mut self.disk, &mut cache, "file")
            .unwrap()
            .unwrap();
        self.disk.reads.clear();
        (&mut self.disk, cache, volume, file, &self.content)
    }

    /// Streams the ranges, each to its own place, and compares. Returns the reads.
    fn check(&mut self, ranges: &[(u64, u64)]) -> Vec<(u64, usize)> {
        let (disk, mut cache, volume, file, content) = self.open();
        let ranges: Vec<Range> = (0..)
            .zip(ranges)
            .map(|(n, &(file_offset, length))| Range {
                file_offset: FileOffset::new(file_offset),
                length,
                destination: PhysAddr::new(n << 32),
            })
            .collect();
        let mut loaded = vec![Vec::new(); ranges.len()];
        stream(
            disk,
            &mut cache,
            &volume,
            &file,
            &ranges,
            &mut |destination, bytes| {
                let destination = destination.as_u64();
                let range: &mut Vec<u8> = &mut loaded[(destination >> 32) as usize];
                // Every byte once, in order.
                assert_eq!(destination & 0xFFFF_FFFF, range.len() as u64);
                assert!(!bytes.is_empty());
                range.extend_from_slice(bytes);
            },
        )
        .unwrap();
        for (range, loaded) in ranges.iter().zip(loaded) {
            let wanted = &content[range.file_offset.as_u64() as usize..][..range.length as usize];
            assert!(loaded == wanted, "{range:?}");
        }
        // The FAT sectors that were read earlier lie in front of the root directory.
        disk.reads.clone()
    }
}

/// A FAT16 with all but one of its 4,085 clusters in the file: 16 sectors of FAT, data from 18 on.
fn contiguous() -> Fixture {
    Fixture::new(16, &(2..4086).collect::<Vec<_>>(), 20 * 512)
}

const DATA: u64 = 18;

#[test]
fn contiguous_files_take_full_calls() {
    let mut fixture = contiguous();
    let size = fixture.content.len() as u64;
    let reads = fixture.check(&[(0, size)]);
    // Two sectors of the file came with the boot sector.
    let expected: Vec<(u64, usize)> = (0..33)
        .map(|n| DATA + 2 + n * 127)
        .map(|lba| (lba, 127.min(DATA + 4084 - lba) as usize))
        .collect();
    assert_eq!(reads, expected);
    assert_eq!(reads.len() as u64, (size / 512 - 2).div_ceil(127));

    fixture.disk.max_transfer = 1;
    assert!(fixture.check(&[(0, size)]).len() <= 4084 + 20);
}

#[test]
fn only_what_is_wanted_is_read() {
    let mut fixture = contiguous();
    // From the middle of sector 1000 to that of sector 1010.
    let middle = 1000 * 512 + 100;
    assert_eq!(fixture.check(&[(middle, 10 * 512)]), [(DATA + 1000, 11)]);
    // Whole sectors.
    assert_eq!(
        fixture.check(&[(1000 * 512, 10 * 512)]),
        [(DATA + 1000, 10)]
    );
    // One byte.
    assert_eq!(fixture.check(&[(middle, 1)]), [(DATA + 1000, 1)]);
    // Nothing.
    assert_eq!(fixture.check(&[]), []);
    assert_eq!(fixture.check(&[(middle, 0)]), []);
    // Bytes that lie in the cache.
    assert_eq!(fixture.check(&[(0, 1024)]), []);
}

#[test]
fn near_ranges_share_a_call_and_far_ones_do_not() {
    let mut fixture = contiguous();
    let at = 1000 * 512;
    let near = 16 * 1024 - 1;
    assert_eq!(
        fixture.check(&[(at, 512), (at + 512 + near, 512)]),
        [(DATA + 1000, 34)]
    );
    assert_eq!(
        fixture.check(&[(at, 512), (at + 512 + 16 * 1024, 512)]),
        [(DATA + 1000, 1), (DATA + 1033, 1)]
    );
    // Abutting, overlapping, one within the other, in any order, on the same bytes.
    let ranges = [
        (at + 512, 700),
        (at, 512),
        (at + 100, 2048),
        (at + 200, 5),
        (at + 200, 5),
    ];
    assert_eq!(fixture.check(&ranges), [(DATA + 1000, 5)]);
}

#[test]
fn ranges_outside_of_the_file_are_refused() {
    let mut fixture = contiguous();
    let (disk, mut cache, volume, file, content) = fixture.open();
    let size = content.len() as u64;
    for (file_offset, length) in [
        (size, 1),
        (0, size + 1),
        (u64::MAX, u64::MAX),
        (u64::MAX, 1),
    ] {
        let range = Range {
            file_offset: FileOffset::new(file_offset),
            length,
            destination: PhysAddr::new(0),
        };
        let end = file_offset.saturating_add(length);
        let result = stream(
            disk,
            &mut cache,
            &volume,
            &file,
            &[range],
            &mut |_, _| panic!(),
        );
        assert_eq!(result, Err(FatError::BehindFile { end, size }));
    }
    let nothing = Range {
        file_offset: FileOffset::new(u64::MAX),
        length: 0,
        destination: PhysAddr::new(0),
    };
    let result = stream(
        disk,
        &mut cache,
        &volume,
        &file,
        &[nothing],
        &mut |_, _| panic!(),
    );
    assert_eq!(result, Ok(()));
}

#[test]
fn the_chain_behind_the_last_range_is_not_followed() {
    let clusters: Vec<u32> = (2..4086).collect();
    let mut fixture = Fixture::new(16, &clusters, 512);
    // The FAT's last sectors cannot be read.
    fixture.disk.bad = Some(15);
    let reads = fixture.check(&[(0, 100 * 512)]);
    assert!(
        reads.iter().all(|&(lba, _)| !(3..DATA).contains(&lba)),
        "{reads:?}"
    );
}

#[test]
fn errors_of_the_disk_and_the_chain_arrive() {
    let mut fixture = contiguous();
    fixture.disk.bad = Some(DATA + 2000);
    let (disk, mut cache, volume, file, content) = fixture.open();
    let range = Range {
        file_offset: FileOffset::ZERO,
        length: content.len() as u64,
        destination: PhysAddr::new(0),
    };
    let mut good = 0;
    let result = stream(
        disk,
        &mut cache,
        &volume,
        &file,
        &[range],
        &mut |_, bytes| {
            good += bytes.len();
        },
    );
    assert!(matches!(result, Err(FatError::Disk(_))), "{result:?}");
    assert!(good < 2000 * 512);
    disk.bad = None;
    // FAT entry of cluster 4000.
    disk.bytes[512 + 8000..][..2].fill(0);
    let mut memory = vec![0; 5 * 512];
    let mut cache = Cache::new(&mut memory);
    let result = stream(disk, &mut cache, &volume, &file, &[range], &mut |_, _| {});
    assert_eq!(
        result,
        Err(FatError::Link {
            cluster: 4000,
            link: 0
        })
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn any_ranges_of_any_file(
        kind in 0..3usize,
        order in Just((3..300u32).collect::<Vec<_>>()).prop_shuffle(),
        // Sorted pieces of this length each: short ones are badly fragmented.
        piece in prop_oneof![Just(1), 2..20usize, Just(297)],
        ranges in proptest::collection::vec((0..140_000u64, 0..60_000u64), 0..8),
        shift in 9..13u32,
        max_transfer in 1..=127usize,
        window in 8..64usize,
    ) {
        let mut clusters: Vec<u32> = order;
        clusters.chunks_mut(piece).for_each(<[u32]>::sort_unstable);
        let mut fixture = Fixture::new([12, 16, 32][kind], &clusters, window * 512);
        let sector_size = 1 << shift;
        fixture.disk.sector_size = sector_size;
        let length = fixture.disk.bytes.len().next_multiple_of(sector_size);
        fixture.disk.bytes.resize(length, 0);
        fixture.disk.max_transfer = max_transfer;
        let size = fixture.content.len() as u64;
        let ranges: Vec<(u64, u64)> =
            ranges.into_iter().map(|(at, length)| (at, length.min(size - at))).collect();
        fixture.check(&ranges);
    }
}
