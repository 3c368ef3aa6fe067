//! Segments that go where the loader is: their bytes wait in other memory.

use boot_path::memory::map::MemoryKind;
use boot_path::ways_out::multiboot::elf::Preference;

use super::elf::{MIB, kind_at, limits, memory, physical, read};
use crate::elf_fixture::{ET_EXEC, Elf, ProgramHeader, R, X};

/// A kernel with a segment at each of these addresses, 1900h bytes in memory.
fn kernel(starts: &[u64]) -> Vec<u8> {
    let elf = Elf::new(ET_EXEC, starts[0]);
    let load = |start: &u64| ProgramHeader::load(R | X, *start, vec![0xF4; 0x800], 0x1900);
    starts.iter().map(load).fold(elf, Elf::with).build()
}

/// What goes where the loader is, or where it keeps something, waits in other memory.
#[test]
fn bytes_wait_for_the_end_of_the_loader() {
    const STARTS: [u64; 7] = [
        0x500,
        0x8000,
        0x7_FFFF,
        0x8_2000,
        MIB,
        40 * MIB - 1,
        50 * MIB,
    ];
    let mut image = read(&kernel(&STARTS)).expect("a good kernel");
    let mut map = memory();
    let kept = physical(40 * MIB)..physical(41 * MIB);
    map.mark(kept.start, kept.end, MemoryKind::Reclaimable);
    let before = map.usable();
    assert_eq!(image.place(&mut map), Ok(()));
    let reads = image.reads();
    let places: Vec<u64> = reads.map(|read| read.destination.as_u64()).collect();
    let top = 64 * MIB - 0x1000;
    let waiting = [top, top - 0x1000, top - 0x2000, top - 0x3000];
    assert_eq!(places[..3], waiting[..3]);
    assert_eq!(places[3..5], STARTS[3..5]);
    assert_eq!(places[5..], [waiting[3], STARTS[6]]);
    let segments = image.segments().iter();
    let waits: Vec<bool> = segments.map(|segment| segment.waiting.is_some()).collect();
    assert_eq!(waits, [true, true, true, false, false, true, false]);
    // The places are taken, and those where the bytes wait: 0x80000, 0x82000, MIB, 40 and 50 MIB.
    for (start, place) in STARTS.iter().zip(&places) {
        for address in [*start, start + 0x18FF] {
            let kind = kind_at(&map, address);
            assert_eq!(kind, Some(MemoryKind::Kernel), "{address:x}");
        }
        let waits = kind_at(&map, *place) == Some(MemoryKind::Reclaimable);
        assert_eq!(waits, place != start, "{place:x}");
    }
    assert_eq!(before - map.usable(), 0x2000 * 4 + 0x1000 + 0x1000 * 4);
    // Only what has its place already is zeroed there.
    let mut zeroed = Vec::new();
    image.zeroes(|start, end| zeroed.push((start.as_u64(), end - start)));
    let zeroes = [STARTS[3], MIB, STARTS[6]].map(|start| (start + 0x800, 0x1100));
    assert_eq!(zeroed, zeroes);

    // What was kept there is freed when the kernel is loaded; the kernel stays.
    map.mark(kept.start, kept.end, MemoryKind::Usable);
    image.claim(&mut map);
    assert_eq!(kind_at(&map, 40 * MIB), Some(MemoryKind::Kernel));
    assert_eq!(kind_at(&map, 40 * MIB + 0x2000), Some(MemoryKind::Usable));
}

#[test]
fn no_memory_to_wait_in() {
    let mut full = memory();
    full.mark(physical(MIB), physical(64 * MIB), MemoryKind::Module);
    let mut image = read(&kernel(&[0x8000])).expect("a good kernel");
    assert_eq!(
        image.place(&mut full).map_err(|error| error.to_string()),
        Err("segment 0, 0x8000 to 0x9900: 0x500 to 0x60000 is the loader's".into())
    );
}

/// A kernel that can be moved, but not away from the loader.
#[test]
fn a_relocatable_kernel_may_stay() {
    let mut image = read(&kernel(&[0x2_0000])).expect("a good kernel");
    let limits = limits(0x1_0000, 0x3_0000, 0x1_0000, Preference::Lowest);
    assert_eq!(
        image.place_within(&limits, &mut memory()),
        Ok(physical(0x2_0000))
    );
    assert!(image.segments()[0].waiting.is_some());
}

/// A segment that waits, in front of one that has no place.
#[test]
fn nothing_changes_before_an_error() {
    let mut image = read(&kernel(&[0x8000, 1 << 30])).expect("a good kernel");
    let (mut map, before) = (memory(), image.clone());
    assert!(image.place(&mut map).is_err());
    assert_eq!(image, before);
    assert_eq!(map.regions(), memory().regions());
}
