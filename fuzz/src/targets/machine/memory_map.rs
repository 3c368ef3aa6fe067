//! What firmware reports, in any order; then the map that results, and what is taken from it.

use boot_path::memory::address::PhysAddr;
use boot_path::memory::layout::PAGE_SIZE;
use boot_path::memory::map::{
    CAPACITY, MIB, MemoryKind, MemoryMap, PHYSICAL_END, Region, Request, e820_region,
    low_memory_end,
};

use crate::input::Input;
use crate::targets::show;

/// A map with fewer regions than this always has room.
const ROOM: usize = 150;

const KINDS: [MemoryKind; 9] = [
    MemoryKind::Usable,
    MemoryKind::Reclaimable,
    MemoryKind::Kernel,
    MemoryKind::Module,
    MemoryKind::AcpiReclaimable,
    MemoryKind::AcpiNvs,
    MemoryKind::Framebuffer,
    MemoryKind::Reserved,
    MemoryKind::Bad,
];

/// The input: reports, until a 0 begins one; then marks and requests.
pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let mut map = MemoryMap::new();
    let mut reported = Vec::new();
    report(&mut input, &mut map, &mut reported);
    let roomy = reported.len() < ROOM;
    check_kinds(&map, &reported, roomy, |address| {
        most_restrictive(&reported, address)
    });

    let low_end = low_memory_end(input.u16(), input.u16());
    assert!((0x2_0000..=0xA_0000).contains(&low_end));
    map.finish(low_end);
    check_form(&map, 1);
    let low = PhysAddr::new(low_end)..PhysAddr::new(MIB);
    check_kinds(&map, &reported, roomy, |address| {
        let is_free = |kind: &MemoryKind| *kind == MemoryKind::Usable && low.contains(&address);
        let kind = most_restrictive(&reported, address)?;
        Some(if is_free(&kind) {
            MemoryKind::Reserved
        } else {
            kind
        })
    });
    // Rounding belongs behind what is done with the map, but pages are easier to check.
    map.round_to_pages();
    for edges in [[0, PAGE_SIZE], [low_end, MIB]] {
        let [start, end] = edges.map(PhysAddr::new);
        let kind = MemoryKind::Reserved;
        reported.push(Region { start, end, kind });
    }
    check_form(&map, PAGE_SIZE);
    check_kinds(&map, &reported, roomy, |address| {
        page_kind(&reported, address.align_down(PAGE_SIZE))
    });
    use_it(&mut input, &mut map);
}

/// At each border in the reports and in the map, the kind is the expected one. If the map was too
/// full to hold everything, at least all that is free was reported as free.
fn check_kinds(
    map: &MemoryMap,
    reported: &[Region],
    roomy: bool,
    expected: impl Fn(PhysAddr) -> Option<MemoryKind>,
) {
    for address in borders(&[reported, map.regions()]) {
        let expected = expected(address);
        let found = kind_at(map.regions(), address);
        if roomy {
            assert_eq!(found, expected, "{address:x?}");
        } else if found == Some(MemoryKind::Usable) {
            assert_eq!(
                expected, found,
                "{address:x?}: free, but not reported as such"
            );
        }
    }
}

/// Adds what a firmware might say.
fn report(input: &mut Input<'_>, map: &mut MemoryMap, reported: &mut Vec<Region>) {
    loop {
        let action = input.u8();
        let region = match action & 7 {
            0 => return,
            // As E820 gives it, with any bytes.
            1 => {
                let mut entry = [0; 24];
                let bytes = input.bytes(24);
                entry[..bytes.len()].copy_from_slice(bytes);
                let size = u32::from(action >> 3);
                match e820_region(&entry, size) {
                    Some(region) => region,
                    None => continue,
                }
            }
            2 => {
                let (ax, bx, cx, dx) = (input.u16(), input.u16(), input.u16(), input.u16());
                let before = map.regions().to_vec();
                map.add_e801(ax, bx, cx, dx);
                // The unit tests check this arithmetic. Here, its result is one more report.
                reported.extend(
                    map.regions()
                        .iter()
                        .filter(|region| !before.contains(region)),
                );
                check_form(map, 1);
                continue;
            }
            3 => {
                let start = PhysAddr::new(u64::from(input.u16()) * 0x800);
                let end = start + u64::from(input.u8()) * 0x400;
                let kind = input.choose(&KINDS);
                Region { start, end, kind }
            }
            _ => {
                let [start, end] = [input.border(), input.border()].map(PhysAddr::new);
                let kind = input.choose(&KINDS);
                Region { start, end, kind }
            }
        };
        map.add(region);
        check_form(map, 1);
        let end = region.end.min(PHYSICAL_END);
        if region.start < end {
            reported.push(Region { end, ..region });
        }
    }
}

/// Marks and allocates.
fn use_it(input: &mut Input<'_>, map: &mut MemoryMap) {
    while !input.is_empty() {
        let before = map.regions().to_vec();
        let kind = KINDS[1 + usize::from(input.u8()) % (KINDS.len() - 1)];
        let action = input.u8();
        let size = match action & 3 {
            0 => u64::from(input.u16()),
            1 => u64::from(input.u16()) << 12,
            2 => input.border(),
            _ => u64::from(input.u8()) << 30,
        };
        let changed = match action >> 2 & 3 {
            0 => mark(map, PhysAddr::new(input.border()), size, kind),
            1 => allocate_at(map, PhysAddr::new(input.border()), size, kind),
            _ => allocate(map, &request(action, size, kind, input)),
        };
        check_form(map, PAGE_SIZE);
        check_change(map, &before, changed, kind);
    }
}

/// Whether the regions that a change may add have room.
fn is_roomy(regions: &[Region]) -> bool {
    regions.len() < CAPACITY - 2
}

/// First byte, and the one behind the last.
type Range = (PhysAddr, PhysAddr);

/// Marks a range. Returns the part that changes.
fn mark(map: &mut MemoryMap, start: PhysAddr, size: u64, kind: MemoryKind) -> Option<Range> {
    let end = start.saturating_add(size);
    map.mark(start, end, kind);
    let end = end.min(PHYSICAL_END);
    (start < end).then_some((start, end))
}

/// Takes a range if it is free, and only then. Returns the part that changes.
fn allocate_at(map: &mut MemoryMap, start: PhysAddr, size: u64, kind: MemoryKind) -> Option<Range> {
    let before = map.regions().to_vec();
    let taken = map.allocate_at(start, size, kind);
    let end = start.saturating_add(size.max(1));
    let inside = |r: &Region| r.start <= start && end <= r.end && end > start;
    let usable = |r: &Region| r.kind == MemoryKind::Usable;
    let free = before.iter().any(|region| usable(region) && inside(region));
    assert!(taken == free || !taken && !is_roomy(&before));
    taken.then_some((start, end))
}

/// A request for memory.
fn request(action: u8, size: u64, kind: MemoryKind, input: &mut Input<'_>) -> Request {
    let align = 1u64 << (input.u8() % 32);
    Request {
        size,
        align,
        offset: input.u64() & (align - 1),
        min: PhysAddr::new(match action & 16 {
            0 => MIB,
            _ => input.border(),
        }),
        max: PhysAddr::new(match action & 32 {
            0 => 4 << 30,
            _ => input.border(),
        }),
        kind,
    }
}

/// Takes what a request asks for. Returns the part that changes. A refused request changes nothing.
fn allocate(map: &mut MemoryMap, request: &Request) -> Option<Range> {
    let before = map.regions().to_vec();
    let size = request.size.max(1);
    match map.allocate(request) {
        Ok(start) => {
            let end = start + size;
            assert!(request.min <= start && end <= request.max);
            assert_eq!(start.as_u64() & (request.align - 1), request.offset);
            assert!(pages(start, end).all(|page| is_free(&before, page)));
            Some((start, end))
        }
        Err(error) => {
            show(&error);
            assert_eq!(map.regions(), before);
            assert_eq!(error.needed, size);
            // With the loosest alignment, only size counts.
            assert!(request.align > 1 || !is_roomy(&before) || error.largest < error.needed);
            None
        }
    }
}

/// The pages that have changed are of this kind. All others keep theirs.
fn check_change(map: &MemoryMap, before: &[Region], changed: Option<Range>, kind: MemoryKind) {
    let changed = changed.map(|(start, end)| {
        let end = end + (PAGE_SIZE - 1);
        (start.align_down(PAGE_SIZE), end.align_down(PAGE_SIZE))
    });
    for address in borders(&[before, map.regions()]) {
        let inside = changed.is_some_and(|(start, end)| (start..end).contains(&address));
        let expected = if inside {
            Some(kind)
        } else {
            kind_at(before, address)
        };
        let found = kind_at(map.regions(), address);
        assert!(
            found == expected || !is_roomy(before),
            "{address:x}: {found:?}, {expected:?}"
        );
    }
}

/// Sorted, nothing empty, no overlap, and no two neighbours that could be one.
fn check_form(map: &MemoryMap, unit: u64) {
    let regions = map.regions();
    assert!(regions.len() <= CAPACITY);
    for region in regions {
        assert!(region.start < region.end && region.end <= PHYSICAL_END);
        assert!(region.start.is_aligned(unit) && region.end.is_aligned(unit));
    }
    for pair in regions.windows(2) {
        assert!(pair[0].end <= pair[1].start);
        assert!(pair[0].end < pair[1].start || pair[0].kind != pair[1].kind || unit == 1);
    }
    // Whole pages can be used, but not page 0.
    let usable = regions.iter().filter(|r| r.kind == MemoryKind::Usable);
    let pages = usable.map(|r| {
        let start = r.start.align_up(PAGE_SIZE).max(PhysAddr::new(PAGE_SIZE));
        r.end.align_down(PAGE_SIZE).saturating_sub(start)
    });
    assert_eq!(map.usable(), pages.sum::<u64>());
}

/// The addresses at which something may begin to be different, and those just before them.
fn borders(maps: &[&[Region]]) -> Vec<PhysAddr> {
    let regions = maps.iter().flat_map(|regions| regions.iter());
    let mut borders: Vec<_> = regions
        .flat_map(|region| [region.start, region.end])
        .flat_map(|edge| {
            let page = edge.align_down(PAGE_SIZE);
            let before = |address: PhysAddr| address.checked_before(1).unwrap_or(address);
            [edge, before(edge), page, page + PAGE_SIZE, before(page)]
        })
        .filter(|&address| address < PHYSICAL_END)
        .collect();
    borders.sort_unstable();
    borders.dedup();
    borders
}

fn kind_at(regions: &[Region], address: PhysAddr) -> Option<MemoryKind> {
    let region = regions.iter().find(|r| (r.start..r.end).contains(&address));
    region.map(|region| region.kind)
}

fn most_restrictive(reported: &[Region], address: PhysAddr) -> Option<MemoryKind> {
    let there = reported
        .iter()
        .filter(|r| (r.start..r.end).contains(&address));
    there.map(|region| region.kind).max()
}

/// The kind of a whole page: the most restrictive one in it, but free only if all of it is free.
fn page_kind(reported: &[Region], page: PhysAddr) -> Option<MemoryKind> {
    let end = page + PAGE_SIZE;
    let inside = reported.iter().filter(|r| r.start < end && page < r.end);
    let kind = inside.clone().map(|region| region.kind).max()?;
    if kind != MemoryKind::Usable {
        return Some(kind);
    }
    let mut covered = page;
    while let Some(next) = inside
        .clone()
        .filter(|r| r.start <= covered && covered < r.end)
        .map(|r| r.end)
        .max()
    {
        covered = next;
    }
    (covered >= end).then_some(kind)
}

/// A few pages of a range: the first, the last and those at its middle.
fn pages(start: PhysAddr, end: PhysAddr) -> impl Iterator<Item = PhysAddr> {
    let last = end.max(start + 1).wrapping_before(1);
    [start, start + (last - start) / 2, last]
        .into_iter()
        .map(|address| address.align_down(PAGE_SIZE))
}

fn is_free(regions: &[Region], page: PhysAddr) -> bool {
    kind_at(regions, page) == Some(MemoryKind::Usable)
}
