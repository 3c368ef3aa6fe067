//! The memory map of the protocol, and its direct map.

use boot_path::memory::address::{PhysAddr, VirtAddr};
use boot_path::memory::map::{MemoryKind, Region};
use boot_path::ways_out::limine::{Entry, FirmwarePages, HHDM, entries, hhdm};
use proptest::prelude::*;

use super::{GIB4, PAGE, config};

fn kind() -> impl Strategy<Value = MemoryKind> {
    prop::sample::select(vec![
        MemoryKind::Usable,
        MemoryKind::Reclaimable,
        MemoryKind::Kernel,
        MemoryKind::Module,
        MemoryKind::AcpiReclaimable,
        MemoryKind::AcpiNvs,
        MemoryKind::Framebuffer,
        MemoryKind::Reserved,
        MemoryKind::Bad,
    ])
}

/// Regions of a few pages each, with holes, around 4 GiB.
fn memory() -> impl Strategy<Value = Vec<Region>> {
    let piece = (0..3_u64, 1..4_u64, kind());
    prop::collection::vec(piece, 0..12).prop_map(|pieces| {
        let mut position = GIB4 - 10 * PAGE;
        let region = |(hole, length, kind)| {
            let start = position + hole * PAGE;
            position = start + length * PAGE;
            Region {
                start: PhysAddr::new(start),
                end: PhysAddr::new(position),
                kind,
            }
        };
        pieces.into_iter().map(region).collect()
    })
}

fn firmware() -> impl Strategy<Value = Vec<(u64, u64)>> {
    let place = (GIB4 - 12 * PAGE..GIB4 + 20 * PAGE, 0..3 * PAGE);
    prop::collection::vec(place, 0..5)
}

/// The kind of a page by the map, found in another way; none if the map does not contain it.
fn kind_of_page(regions: &[Region], places: &[(u64, u64)], page: u64) -> Option<u64> {
    let mut regions = regions.iter();
    let region = regions.find(|r| (r.start.as_u64()..r.end.as_u64()).contains(&page));
    let table = places
        .iter()
        .any(|&(start, length)| start < page + PAGE && start + length > page && length > 0);
    match region.map(|region| region.kind) {
        None | Some(MemoryKind::Reserved) if table => Some(8),
        None => None,
        Some(MemoryKind::Usable) => Some(0),
        Some(MemoryKind::Reserved) => Some(1),
        Some(MemoryKind::Framebuffer) => Some(7),
        Some(MemoryKind::AcpiReclaimable) => Some(2),
        Some(MemoryKind::AcpiNvs) => Some(3),
        Some(MemoryKind::Bad) => Some(4),
        Some(MemoryKind::Reclaimable) => Some(5),
        Some(MemoryKind::Kernel | MemoryKind::Module) => Some(6),
    }
}

proptest! {
    #![proptest_config(config(512))]

    #[test]
    fn the_memory_map_and_the_direct_map_are_right(
        regions in memory(),
        places in firmware(),
        revision in 0..7_u64,
    ) {
        let mut firmware = FirmwarePages::default();
        for &(start, length) in &places {
            firmware.add(start, length);
        }
        let found: Vec<Entry> = entries(&regions, &firmware).collect();
        for pair in found.windows(2) {
            let end = pair[0].base + pair[0].length;
            prop_assert!(end < pair[1].base || end == pair[1].base && pair[0].kind != pair[1].kind);
        }
        let maps: Vec<_> = hhdm(&regions, &firmware, revision, HHDM).collect();
        for pair in maps.windows(2) {
            let end = pair[0].physical_start + pair[0].size;
            let touch = end == pair[1].physical_start;
            prop_assert!(end < pair[1].physical_start || touch && pair[0].write_combining != pair[1].write_combining);
        }
        let identity: Vec<_> = hhdm(&regions, &firmware, revision, VirtAddr::new(0)).collect();

        // The same, page by page, in another way.
        for page in (GIB4 - 14 * PAGE..GIB4 + 60 * PAGE).step_by(PAGE as usize) {
            let expected = kind_of_page(&regions, &places, page);
            let entry = found.iter().find(|e| e.base <= page && page < e.base + e.length);
            prop_assert_eq!(entry.map(|entry| entry.kind), expected);
            let wanted = page < GIB4 && revision < 3 || match expected {
                Some(0 | 5 | 6 | 7) => true,
                Some(2 | 3) => revision != 3,
                Some(8) => revision == 0 || revision > 3,
                Some(1 | 4) => revision == 0,
                _ => false,
            };
            for (maps, base) in [(&maps, HHDM.as_u64()), (&identity, 0)] {
                let mapping = maps.iter().find(|m| {
                    let start = m.physical_start.as_u64();
                    start <= page && page < start + m.size
                });
                prop_assert_eq!(mapping.is_some(), wanted, "{:x}, revision {}", page, revision);
                if let Some(mapping) = mapping {
                    prop_assert!(mapping.writable && mapping.executable);
                    prop_assert_eq!(mapping.write_combining, expected == Some(7));
                    prop_assert_eq!(mapping.virtual_start.as_u64(), base + mapping.physical_start.as_u64());
                }
            }
        }
        if revision < 3 {
            prop_assert_eq!(maps[0].physical_start.as_u64(), 0);
            prop_assert_eq!(identity[0].physical_start.as_u64(), PAGE);
        }
    }
}
