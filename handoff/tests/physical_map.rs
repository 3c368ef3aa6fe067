//! The physical map: what it covers, and pointers into it.

#![allow(unsafe_code)] // memory of this program, seen through a map

use std::mem::zeroed;
use std::ptr::NonNull;

use handoff::{BootInfo, MemoryKind, MemoryRegion};
use proptest::prelude::*;

const MIB: u64 = 1 << 20;
const BASE: u64 = handoff::DEFAULT_PHYSICAL_MAP_BASE;

const fn region(start: u64, end: u64, kind: MemoryKind) -> MemoryRegion {
    MemoryRegion {
        start,
        length: end - start,
        kind: kind as u32,
        reserved: 0,
    }
}

static MAP: [MemoryRegion; 7] = [
    region(0, 0x9_0000, MemoryKind::Usable),
    region(0xF_0000, MIB, MemoryKind::Reserved),
    region(MIB, 2 * MIB, MemoryKind::Kernel),
    region(2 * MIB, 3 * MIB, MemoryKind::Usable),
    region(3 * MIB, 4 * MIB, MemoryKind::Reserved),
    region(4 * MIB, 5 * MIB, MemoryKind::AcpiNvs),
    region(1 << 51, (1 << 51) + MIB, MemoryKind::Bad),
];

fn boot(base: u64, map: &[MemoryRegion]) -> BootInfo {
    // SAFETY: all fields are numbers or raw pointers.
    let mut boot: BootInfo = unsafe { zeroed() };
    boot.physical_map_base = base;
    (boot.memory_map, boot.memory_map_count) = (map.as_ptr(), map.len() as u64);
    boot
}

#[test]
fn it_covers_the_first_mebibyte_and_what_is_mapped() {
    let boot = boot(BASE, &MAP);
    let map = boot.physical_map();
    assert_eq!(map.base(), BASE);
    for covered in [
        0..MIB,
        0xF_FFFF..MIB,
        0..3 * MIB, // holes of the first MiB, and two adjoining regions
        MIB - 1..MIB + 1,
        4 * MIB..5 * MIB,
        7 * MIB..7 * MIB, // no addresses
    ] {
        assert!(map.covers(covered.clone()), "{covered:x?}");
    }
    for not_covered in [
        0..3 * MIB + 1,
        3 * MIB..4 * MIB,
        2 * MIB..5 * MIB,
        4 * MIB..5 * MIB + 1,
        1 << 51..(1 << 51) + 1,
        0..u64::MAX,
        u64::MAX - 1..u64::MAX,
    ] {
        assert!(!map.covers(not_covered.clone()), "{not_covered:x?}");
    }
    let reserved = [region(0x9_0000, 2 * MIB, MemoryKind::Reserved)];
    let boot = self::boot(BASE, &reserved);
    assert!(boot.physical_map().covers(0..MIB) && !boot.physical_map().covers(0..MIB + 1));
    assert!(
        !boot.physical_map().covers(0x9_0000..MIB + 1),
        "no more of it than the first MiB"
    );
}

#[test]
fn pointers_are_checked() {
    let boot = boot(BASE, &MAP);
    let map = boot.physical_map();
    let words = |address, count| {
        map.pointer::<u64>(address, count)
            .map(|it| it.addr().get() as u64)
    };
    assert_eq!(words(0x1000, 512), Some(BASE + 0x1000));
    assert_eq!(words(0x1004, 1), None, "misaligned");
    assert_eq!(words(3 * MIB - 8, 1), Some(BASE + 3 * MIB - 8));
    assert_eq!(words(3 * MIB - 8, 2), None, "the second one is not mapped");
    assert_eq!(words(3 * MIB, 1), None);
    assert_eq!(words(0, 0), Some(BASE), "none of them, but somewhere");
    assert_eq!(words(0, usize::MAX), None, "too many");
    assert_eq!(
        words(0, usize::MAX / 8 + 1),
        None,
        "as many bytes as a number can count, and 1"
    );
    assert_eq!(words(u64::MAX - 7, 1), None, "wraps around");
    assert!(
        map.pointer::<[u8; 4096]>(2 * MIB, 256).is_some(),
        "up to the end"
    );
    assert!(map.pointer::<[u8; 4096]>(2 * MIB, 257).is_none());
    assert!(map.pointer::<u8>(u64::MAX, 1).is_none());
}

#[test]
fn addresses_do_not_wrap_around() {
    let all = [region(0, u64::MAX, MemoryKind::Usable)];
    let base = 0xFFFF_FFFF_C000_0000;
    let boot = boot(base, &all);
    let map = boot.physical_map();
    let last = u64::MAX - base;
    assert!(map.pointer::<u8>(last, 1).is_some());
    assert!(map.pointer::<u8>(last, 2).is_none());
    assert!(map.pointer::<u8>(last + 1, 1).is_none());
    assert!(map.pointer::<u8>(last + 1, 0).is_none());
    // A map at address 0, which no loader makes: no pointer is null.
    let boot = self::boot(0, &all);
    assert!(boot.physical_map().pointer::<u8>(0, 1).is_none());
    let half = isize::MAX as usize;
    assert!(boot.physical_map().pointer::<u8>(1, half).is_some());
    assert!(
        boot.physical_map().pointer::<u8>(1, half + 1).is_none(),
        "no object is that large"
    );
}

#[test]
fn both_ways() {
    let boot = boot(BASE, &MAP);
    let map = boot.physical_map();
    assert_eq!(map.to_physical(BASE + 0x1234), Some(0x1234));
    assert_eq!(map.to_physical(BASE + 3 * MIB), None, "reserved");
    assert_eq!(map.to_physical(BASE - 1), None);
    assert_eq!(map.to_physical(u64::MAX), None);
    assert_eq!(
        self::boot(0, &MAP).physical_map().to_physical(u64::MAX),
        None
    );
}

#[test]
fn bytes_are_those_at_the_address() {
    // This program's memory, as if it were physical memory from 4 KiB on.
    let memory: &'static [u64] = Box::leak((0..1024).collect());
    let base = memory.as_ptr().expose_provenance() as u64 - 0x1000;
    let all = [region(0x1000, 0x3000, MemoryKind::Module)];
    let boot = boot(base, &all);
    let map = boot.physical_map();
    // SAFETY: these bytes are there, and nobody writes to them.
    unsafe {
        assert_eq!(map.bytes(0x1008..0x1010), Some(&1_u64.to_le_bytes()[..]));
        assert_eq!(map.bytes(0x1008..0x1008), Some(&[][..]));
        assert!(map.bytes(0x1010..0x10_1000).is_none());
        assert!(
            map.bytes(std::ops::Range {
                start: 0x1010,
                end: 0x1008
            })
            .is_none()
        );
        let third: NonNull<u64> = map.pointer(0x1010, 1).expect("mapped");
        assert_eq!(third.read(), 2);
    }
}

/// A sorted map of adjoining regions and holes.
fn maps() -> impl Strategy<Value = Vec<MemoryRegion>> {
    prop::collection::vec((0..3_u64, 1..4_u64, 0..12_u32), 0..12).prop_map(|pieces| {
        let mut end = MIB - 8;
        let regions = pieces.into_iter().map(|(hole, length, kind)| {
            let start = end + hole;
            end = start + length;
            MemoryRegion {
                start,
                length,
                kind,
                reserved: 0,
            }
        });
        regions.collect()
    })
}

proptest! {
    #[test]
    fn a_range_is_covered_if_each_of_its_bytes_is(map in maps(), start in 0..64_u64, length in 0..64_u64) {
        let start = MIB - 16 + start;
        let covered = |byte: &u64| {
            let mut regions = map.iter();
            *byte < MIB || regions.any(|it| (it.start..it.end()).contains(byte)
                && MemoryKind::from_number(it.kind).is_some_and(MemoryKind::is_mapped))
        };
        let all = (start..start + length).all(|byte| covered(&byte));
        let boot = boot(BASE, &map);
        prop_assert_eq!(boot.physical_map().covers(start..start + length), all);
        let pointer = boot.physical_map().pointer::<u8>(start, length as usize);
        prop_assert_eq!(pointer.map(|it| it.addr().get() as u64), all.then_some(BASE + start));
    }

    #[test]
    fn any_numbers_are_survived(regions in prop::collection::vec(any::<[u64; 3]>(), 0..8),
        base: u64, address: u64, count: usize) {
        let map: Vec<_> = regions.into_iter().map(|[start, length, kind]| {
            MemoryRegion { start, length, kind: kind as u32 % 11, reserved: 0 }
        }).collect();
        let boot = boot(base, &map);
        let map = boot.physical_map();
        if let Some(pointer) = map.pointer::<u64>(address, count) {
            prop_assert_eq!(pointer.addr().get() as u64, base + address);
            prop_assert!(map.covers(address..address + count as u64 * 8));
        }
        let _ = (map.to_physical(address), boot.region_of(address), boot.physical_to_virtual(address));
    }
}
