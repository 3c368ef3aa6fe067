//! The memory map against a model that looks at one page at a time.

use std::ops::Range;

use boot_path::memory::address::PhysAddr;
use boot_path::memory::layout;
use boot_path::memory::map::{
    CAPACITY, MIB, MemoryKind, MemoryMap, PHYSICAL_END, Region, Request, e820_region,
};
use handoff::MemoryRegion;
use proptest::prelude::*;

use MemoryKind::*;

const KINDS: [MemoryKind; 9] = [
    Usable,
    Reclaimable,
    Kernel,
    Module,
    AcpiReclaimable,
    AcpiNvs,
    Framebuffer,
    Reserved,
    Bad,
];

const PAGE: u64 = 4096;
/// The addresses that are looked at page by page: around 1 MiB.
const WINDOW: Range<u64> = 0x8_0000..0x1A_0000;
const WINDOW_PAGES: u64 = (WINDOW.end - WINDOW.start) / PAGE;

/// A failure shows its smallest input; nothing is kept in a file.
fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

pub(crate) const fn physical(address: u64) -> PhysAddr {
    PhysAddr::new(address)
}

pub(crate) fn region(start: u64, end: u64, kind: MemoryKind) -> Region {
    Region {
        start: physical(start),
        end: physical(end),
        kind,
    }
}

/// Its addresses, as numbers.
fn range(region: &Region) -> Range<u64> {
    region.start.as_u64()..region.end.as_u64()
}

/// The map as it is while memory is allocated.
fn finished(reported: &[Region], low_end: u64) -> MemoryMap {
    let mut map = MemoryMap::new();
    for &region in reported {
        map.add(region);
        check_order(&map);
    }
    map.finish(low_end);
    check_order(&map);
    map
}

/// The map as most kernels see it.
pub(crate) fn built(reported: &[Region], low_end: u64) -> MemoryMap {
    let mut map = finished(reported, low_end);
    round(&mut map);
    map
}

fn round(map: &mut MemoryMap) {
    map.round_to_pages();
    check_order(map);
    for region in map.regions() {
        assert_eq!(
            (region.start.as_u64() % PAGE, region.end.as_u64() % PAGE),
            (0, 0),
            "{region:x?}"
        );
    }
}

fn check_order(map: &MemoryMap) {
    assert!(map.regions().len() <= CAPACITY);
    for region in map.regions() {
        assert!(
            region.start < region.end && region.end <= PHYSICAL_END,
            "{region:x?}"
        );
    }
    for pair in map.regions().windows(2) {
        assert!(pair[0].end <= pair[1].start, "overlap: {pair:x?}");
        let touch = pair[0].end == pair[1].start;
        assert!(
            !touch || pair[0].kind != pair[1].kind,
            "not merged: {pair:x?}"
        );
    }
}

fn kind_at(map: &MemoryMap, address: u64) -> Option<MemoryKind> {
    let mut found = map.regions().iter().filter(|r| range(r).contains(&address));
    let kind = found.next().map(|r| r.kind);
    assert!(found.next().is_none());
    kind
}

/// The kind of a page, by the rules: the most restrictive kind of all regions that touch it, and
/// free only if free memory covers all of it.
fn model(reported: &[Region], low_end: u64, page: u64) -> Option<MemoryKind> {
    let fixed = [region(0, PAGE, Reserved), region(low_end, MIB, Reserved)];
    let inside = |r: &&Region| range(r).start.max(page) < range(r).end.min(page + PAGE);
    let all: Vec<&Region> = reported.iter().chain(&fixed).filter(inside).collect();
    if let Some(kind) = all
        .iter()
        .map(|r| r.kind)
        .filter(|&kind| kind != Usable)
        .max()
    {
        return Some(kind);
    }
    let mut covered = page;
    while let Some(next) = all.iter().find(|r| range(r).contains(&covered)) {
        covered = range(next).end;
        if covered >= page + PAGE {
            return Some(Usable);
        }
    }
    None
}

/// Regions of any size in the pages around 1 MiB, with edges every 512 bytes.
fn crowded(count: usize) -> impl Strategy<Value = Vec<Region>> {
    let sizes = prop_oneof![0..12_u64, 0..100_u64, 0..1024_u64];
    let one = (0..1024_u64, sizes, proptest::sample::select(&KINDS[..])).prop_map(
        |(start, size, kind)| {
            let start = 0x9_0000 + start * 512;
            region(start, start + size * 512, kind)
        },
    );
    // Most of a map is free memory.
    let free = (0..1024_u64, 0..1024_u64).prop_map(|(start, size)| {
        let start = 0x9_0000 + start * 512;
        region(start, start + size * 512, Usable)
    });
    proptest::collection::vec(prop_oneof![one, free], 0..count)
}

/// Regions anywhere, wrapping lengths and empty ones included, as E820 may return them.
fn wild(count: usize) -> impl Strategy<Value = Vec<Region>> {
    let edge = prop_oneof![
        any::<u64>(),
        0..PHYSICAL_END.as_u64(),
        0..16 * MIB,
        Just(u64::MAX),
        Just(0)
    ];
    let one = (edge.clone(), edge, 0..8_u32, 19..26_u32, any::<bool>()).prop_filter_map(
        "ignored",
        |(base, length, kind, size, enabled)| {
            let mut bytes = [0; 24];
            bytes[..8].copy_from_slice(&base.to_le_bytes());
            bytes[8..16].copy_from_slice(&length.to_le_bytes());
            bytes[16..20].copy_from_slice(&kind.to_le_bytes());
            bytes[20] = enabled.into();
            e820_region(&bytes, size)
        },
    );
    proptest::collection::vec(one, 0..count)
}

proptest! {
    #![proptest_config(config(300))]

    #[test]
    fn most_restrictive_kind_wins(reported in crowded(24), low_end in 0x9_0000..0xA_0001_u64) {
        let map = built(&reported, low_end);
        for page in WINDOW.step_by(PAGE as usize) {
            let expected = model(&reported, low_end, page);
            prop_assert_eq!(kind_at(&map, page), expected, "page {:x}", page);
        }
    }

    /// What is reported stays as it is, to the byte, as long as nobody rounds it.
    #[test]
    fn every_byte_has_the_most_restrictive_kind(
        reported in crowded(24),
        low_end in 0x9_0000..0xA_0001_u64,
    ) {
        let map = finished(&reported, low_end);
        let edges = reported.iter().map(range).flat_map(|r| [r.start, r.end, low_end, MIB]);
        for address in edges.flat_map(|edge| [edge.saturating_sub(1), edge]) {
            let there = reported.iter().filter(|r| range(r).contains(&address));
            let expected = there.map(|r| r.kind).max().map(|kind| match kind {
                Usable if (low_end..MIB).contains(&address) => Reserved,
                kind => kind,
            });
            prop_assert_eq!(kind_at(&map, address), expected, "{:x}", address);
        }
    }

    #[test]
    fn the_order_of_reports_does_not_matter(reported in crowded(24), seed in any::<u64>()) {
        let mut shuffled = reported.clone();
        shuffled.sort_by_key(|r| (r.start.as_u64() ^ r.end.as_u64() << 7 ^ seed).wrapping_mul(seed | 1));
        let (one, other) = (built(&reported, 0xA_0000), built(&shuffled, 0xA_0000));
        prop_assert_eq!(one.regions(), other.regions());
    }

    #[test]
    fn anything_may_be_reported(reported in wild(200)) {
        let map = built(&reported, 0x9_F000);
        let edges = reported.iter().map(range).flat_map(|r| [r.start, r.end.saturating_sub(1)]);
        for edge in edges.chain([0, MIB]) {
            for page in [edge.saturating_sub(PAGE), edge, edge.saturating_add(PAGE)] {
                let page = page & !(PAGE - 1);
                if page < PHYSICAL_END.as_u64() {
                    prop_assert_eq!(kind_at(&map, page), model(&reported, 0x9_F000, page), "{:x}", page);
                }
            }
        }
    }

}

proptest! {
    #![proptest_config(config(30))]

    /// Far more regions than fit: no page may end up freer than it was reported. (Bad may become
    /// reserved: neither may be touched.)
    #[test]
    fn a_full_map_loses_free_memory_only(
        seeds in proptest::collection::vec((0..6000_u64, 1..3_u64, 0..9_usize), 600..2500),
    ) {
        let reported: Vec<Region> = seeds
            .iter()
            .map(|&(start, size, kind)| {
                let start = MIB + start * PAGE;
                // Half of all memory is free.
                region(start, start + size * PAGE, if start & PAGE == 0 { Usable } else { KINDS[kind] })
            })
            .collect();
        let mut map = MemoryMap::new();
        reported.iter().for_each(|&r| map.add(r));
        map.finish(0xA_0000);
        map.round_to_pages();
        check_order(&map);
        prop_assert!(map.regions().len() > 300);
        for region in map.regions() {
            for page in range(region).step_by(PAGE as usize) {
                let expected = model(&reported, 0xA_0000, page);
                let expected = expected.map(|kind| kind.min(Reserved));
                prop_assert!(Some(region.kind) >= expected, "{:x?}: {:?}", region, expected);
            }
        }
        // The map keeps room for the loader's own regions.
        for index in 0..32 {
            if let Some(free) = map.regions().iter().filter(|r| r.kind == Usable).nth(index).copied() {
                prop_assert!(map.allocate_at(free.start, 1, Module));
            }
        }
    }
}

/// The pages of the window, one kind each.
fn pages(map: &MemoryMap) -> Vec<Option<MemoryKind>> {
    WINDOW
        .step_by(PAGE as usize)
        .map(|page| kind_at(map, page))
        .collect()
}

#[derive(Clone, Debug)]
enum Action {
    /// `true`: from the top.
    Allocate(bool, Request),
    At(u64, u64, MemoryKind),
    Mark(u64, u64, MemoryKind),
}

fn action() -> impl Strategy<Value = Action> {
    let address = || WINDOW;
    let kind = || proptest::sample::select(&KINDS[1..7]);
    let size = || prop_oneof![0..3 * PAGE, 0..40 * PAGE];
    let bounds = prop_oneof![
        Just((0, u64::MAX)),
        (address(), address()).prop_map(|(a, b)| (a.min(b), a.max(b)))
    ];
    prop_oneof![
        3 => (any::<bool>(), size(), 4..18_u32, any::<u64>(), bounds, kind()).prop_map(|(highest, size, align, offset, (min, max), kind)| {
            let align = 1 << align;
            Action::Allocate(highest, Request { size, align, offset: offset % align, min: physical(min), max: physical(max), kind })
        }),
        1 => (address(), size(), kind()).prop_map(|(start, size, kind)| Action::At(start, size, kind)),
        1 => (address(), size(), kind()).prop_map(|(start, size, kind)| Action::Mark(start, start + size, kind)),
    ]
}

/// The addresses that fit, found by trying them all.
fn fitting(before: &[Option<MemoryKind>], request: &Request) -> impl Iterator<Item = u64> {
    let first = (WINDOW.start / request.align * request.align) + request.offset;
    (first..WINDOW.end)
        .step_by(request.align as usize)
        .filter(|&start| {
            start >= request.min.as_u64()
                && start
                    .checked_add(request.size.max(1))
                    .is_some_and(|end| end <= request.max.as_u64())
                && is_free(before, start, request.size)
        })
}

fn touched(start: u64, size: u64) -> Option<Range<usize>> {
    let first = start.checked_sub(WINDOW.start)? / PAGE;
    let last = (start + size - 1 - WINDOW.start) / PAGE;
    (last < WINDOW_PAGES).then_some(first as usize..last as usize + 1)
}

fn is_free(before: &[Option<MemoryKind>], start: u64, size: u64) -> bool {
    touched(start, size.max(1))
        .is_some_and(|range| before[range].iter().all(|&kind| kind == Some(Usable)))
}

proptest! {
    #![proptest_config(config(150))]

    #[test]
    fn memory_is_taken_where_it_is_free(
        reported in crowded(10),
        actions in proptest::collection::vec(action(), 1..16),
    ) {
        let mut map = built(&reported, 0xA_0000);
        for action in actions {
            let mut expected = pages(&map);
            let (start, size, kind) = match action {
                Action::Allocate(highest, request) => {
                    let (wanted, got) = if highest {
                        let highest = fitting(&expected, &request).last();
                        (highest, map.allocate_highest(&request))
                    } else {
                        let lowest = fitting(&expected, &request).next();
                        (lowest, map.allocate(&request))
                    };
                    let got = got.map(PhysAddr::as_u64);
                    prop_assert_eq!(got.ok(), wanted, "{:x?}", request);
                    match got {
                        Ok(start) => {
                            prop_assert_eq!(start % request.align, request.offset);
                            (start, request.size.max(1), request.kind)
                        }
                        Err(error) => {
                            prop_assert_eq!(error.needed, request.size.max(1));
                            (WINDOW.start, 0, Bad)
                        }
                    }
                }
                Action::At(start, size, kind) => {
                    let free = is_free(&expected, start, size);
                    prop_assert_eq!(map.allocate_at(physical(start), size, kind), free);
                    (start, if free { size.max(1) } else { 0 }, kind)
                }
                Action::Mark(start, end, kind) => {
                    map.mark(physical(start), physical(end), kind);
                    (start, end - start, kind)
                }
            };
            if size > 0 {
                let last = ((start + size - 1 - WINDOW.start) / PAGE).min(WINDOW_PAGES - 1) as usize;
                let first = ((start - WINDOW.start) / PAGE) as usize;
                expected[first..=last].fill(Some(kind));
            }
            check_order(&map);
            prop_assert_eq!(pages(&map), expected);
            let free = map.regions().iter().filter(|r| r.kind == Usable);
            prop_assert_eq!(map.usable(), free.map(|r| r.end - r.start).sum::<u64>());
        }
    }

    /// Rounding early or late makes no difference to what is done with RAM.
    #[test]
    fn a_map_is_rounded_at_any_time(
        reported in crowded(10),
        actions in proptest::collection::vec(action(), 1..16),
    ) {
        let mut rounded = built(&reported, WINDOW.start);
        let mut exact = finished(&reported, WINDOW.start);
        for action in actions {
            // Nothing is marked below 1 MiB where there is no RAM.
            if matches!(action, Action::Mark(start, ..) if start < MIB) {
                continue;
            }
            let answers = [&mut rounded, &mut exact].map(|map| {
                let answer = match action {
                    Action::Allocate(true, request) => map.allocate_highest(&request).ok(),
                    Action::Allocate(false, request) => map.allocate(&request).ok(),
                    Action::At(start, size, kind) => {
                        let start = physical(start);
                        map.allocate_at(start, size, kind).then_some(start)
                    }
                    Action::Mark(start, end, kind) => {
                        map.mark(physical(start), physical(end), kind);
                        None
                    }
                };
                check_order(map);
                answer
            });
            prop_assert_eq!(answers[0], answers[1]);
            prop_assert_eq!(rounded.usable(), exact.usable());
        }
        round(&mut exact);
        prop_assert_eq!(exact.regions(), rounded.regions());
    }
}

proptest! {
    #![proptest_config(config(1000))]

    /// A claimed page keeps a more restrictive kind. A page that nobody reported stays out of the
    /// map.
    #[test]
    fn a_claim_frees_nothing(
        reported in crowded(10),
        start in 0..WINDOW_PAGES,
        count in 0..WINDOW_PAGES,
        kind in proptest::sample::select(&KINDS[1..]),
    ) {
        let mut map = built(&reported, 0xA_0000);
        let before = pages(&map);
        let end = (start + count).min(WINDOW_PAGES);
        // The range may begin anywhere in the first page and end anywhere in the last one.
        let (from, to) = (WINDOW.start + start * PAGE + 17, WINDOW.start + end * PAGE - 17);
        map.claim(physical(from), physical(to), kind);
        check_order(&map);
        for (page, (after, before)) in (0..).zip(pages(&map).into_iter().zip(before)) {
            let claimed = (start..end).contains(&page);
            let expected = if claimed { before.map(|old| old.max(kind)) } else { before };
            prop_assert_eq!(after, expected, "page {}", page);
        }

        // As the loader claims its memory: before the map is rounded.
        let (mut early, mut late) = (built(&reported, 0xA_0000), finished(&reported, 0xA_0000));
        early.claim(physical(from), physical(to), Reclaimable);
        late.claim(physical(from), physical(to), Reclaimable);
        check_order(&late);
        round(&mut late);
        prop_assert_eq!(late.regions(), early.regions());
    }
}

/// The firmware does not report the memory that the loader is in as free.
#[test]
fn the_loaders_memory_is_not_given_away() {
    let (start, end) = (layout::START, layout::END);
    let claimed = |reported: &[Region]| {
        let mut map = built(reported, 0x9_FC00);
        map.claim(physical(start), physical(end), Reclaimable);
        check_order(&map);
        map.regions().to_vec()
    };
    let above = region(MIB, 2 * MIB, Usable);
    // All of it is reserved.
    assert_eq!(
        claimed(&[region(0, 0x9_FC00, Reserved), above]),
        [region(0, MIB, Reserved), above]
    );
    // A piece of it, and a page that is faulty.
    assert_eq!(
        claimed(&[
            region(0, 0x9_FC00, Usable),
            region(0x2_0800, 0x2_1800, Reserved),
            region(0x3_0000, 0x3_1000, Bad),
            above
        ]),
        [
            region(0, start, Reserved),
            region(start, 0x2_0000, Reclaimable),
            region(0x2_0000, 0x2_2000, Reserved),
            region(0x2_2000, 0x3_0000, Reclaimable),
            region(0x3_0000, 0x3_1000, Bad),
            region(0x3_1000, end, Reclaimable),
            region(end, 0x9_F000, Usable),
            region(0x9_F000, MIB, Reserved),
            above
        ]
    );
    // It is not reported at all.
    assert_eq!(
        claimed(&[above]),
        [
            region(0, PAGE, Reserved),
            region(0x9_F000, MIB, Reserved),
            above
        ]
    );
}

#[test]
fn a_typical_map() {
    let reported = [
        region(0, 0x9_FC00, Usable),
        region(0x9_FC00, 0xA_0000, Reserved),
        region(0xF_0000, MIB, Reserved),
        region(MIB, 0x7FE_0000, Usable),
        region(0x7FE_0000, 0x800_0000, Reserved),
        region(0xFFFC_0000, 0x1_0000_0000, Reserved),
    ];
    assert_eq!(finished(&reported, 0x9_FC00).regions(), reported);
    let map = built(&reported, 0x9_FC00);
    let expected = [
        region(0, PAGE, Reserved),
        region(PAGE, 0x9_F000, Usable),
        region(0x9_F000, MIB, Reserved),
        region(MIB, 0x7FE_0000, Usable),
        region(0x7FE_0000, 0x800_0000, Reserved),
        region(0xFFFC_0000, 0x1_0000_0000, Reserved),
    ];
    assert_eq!(map.regions(), expected);
    let reserved = MemoryRegion {
        start: 0x9_F000,
        length: 0x6_1000,
        kind: 8,
        reserved: 0,
    };
    assert_eq!(MemoryRegion::from(expected[2]), reserved);
}

/// The BIOS calls all of it free: page 0 is not given out, nor is a page that is partly free.
#[test]
fn whole_pages_are_given_out() {
    let reported = [
        region(0, 0xA_0000, Usable),
        region(MIB, MIB + 3 * PAGE / 2, Usable),
    ];
    let mut map = finished(&reported, 0x9_FC00);
    let low = region(0, 0x9_FC00, Usable);
    let ebda = region(0x9_FC00, 0xA_0000, Reserved);
    assert_eq!(map.regions(), [low, ebda, reported[1]]);
    assert_eq!(map.usable(), 0x9_E000 + PAGE);
    let request = Request {
        size: PAGE,
        align: 1,
        offset: 0,
        min: physical(0),
        max: physical(u64::MAX),
        kind: Kernel,
    };
    assert_eq!(map.allocate(&request), Ok(physical(PAGE)));
    assert_eq!(map.allocate_highest(&request), Ok(physical(MIB)));
    assert_eq!(map.allocate_highest(&request), Ok(physical(0x9_E000)));
    assert!(!map.allocate_at(physical(0), PAGE, Kernel));
    assert!(!map.allocate_at(physical(0x9_F000), 16, Kernel));
    assert_eq!(kind_at(&map, 0x9_FBFF), Some(Usable));
}

#[test]
fn a_map_without_room_is_restricted_not_freed() {
    // Every second page is reported, so that no two merge.
    let mut map = MemoryMap::new();
    for index in 0..CAPACITY as u64 {
        map.add(region(
            MIB + 2 * index * PAGE,
            MIB + (2 * index + 1) * PAGE,
            Usable,
        ));
    }
    let (kept, last) = (map.regions().len(), range(map.regions().last().unwrap()));
    assert!(kept < CAPACITY);
    // A report within a free region makes all of it reserved.
    map.add(region(last.start + 512, last.start + 1024, AcpiReclaimable));
    assert_eq!(
        map.regions().last(),
        Some(&region(last.start, last.end, Reserved))
    );
    // A report in a gap is lost, and free memory cannot come in its place.
    map.add(region(last.end + PAGE, last.end + 2 * PAGE, Bad));
    map.add(region(0, PHYSICAL_END.as_u64(), Usable));
    assert_eq!(map.regions().len(), kept);
    assert!(map.regions().iter().all(|r| r.end - r.start == PAGE));
    // The loader's own allocations go on until there is no room at all, and then fail by name.
    let mut taken = 0;
    let third = |start| Request {
        size: 1,
        align: 1,
        offset: 0,
        min: physical(start),
        max: physical(u64::MAX),
        kind: Kernel,
    };
    map.add(region(MIB, MIB + PAGE * 4 * CAPACITY as u64, Reserved));
    assert_eq!(map.regions().len(), 1);
    let mut map = MemoryMap::new();
    map.add(region(0, PHYSICAL_END.as_u64(), Usable));
    while map.allocate(&third(MIB + 2 * taken * PAGE)).is_ok() {
        taken += 1;
        assert!(taken < CAPACITY as u64);
        check_order(&map);
    }
    assert_eq!(taken, (CAPACITY as u64 - 1) / 2);
    let end = range(map.regions().last().unwrap()).end;
    map.mark(physical(end - 2 * PAGE), physical(end - PAGE), Kernel);
    assert_eq!(kind_at(&map, end - PAGE), Some(Kernel));
    check_order(&map);
}
