//! The page tables as the CPU sees them: a software MMU (`support/mmu.rs`) reads what the code under
//! test has written.

use std::cell::Cell;

use boot_path::errors::catalogue::Report;
use boot_path::memory::address::{PhysAddr, VirtAddr};
use boot_path::memory::map::{MemoryKind, OutOfMemory, Region};
use boot_path::paging::page_tables::{
    Capabilities, Mapping, PageTables, PagingError, TableMemory, TablePages, physical_map,
};
use proptest::prelude::*;

use crate::mmu::{self, Page};

const KIB4: u64 = 0x1000;
const MIB2: u64 = 0x20_0000;
const GIB1: u64 = 0x4000_0000;
const LARGEST: u64 = 1 << 52;

/// A failure shows its smallest input; nothing is kept in a file.
fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// Tables lie high, so that no bit of their addresses may get lost.
const FIRST_TABLE: u64 = 0xA_BCDE_F123_4000;

#[derive(Debug)]
struct Tables {
    tables: Vec<[u64; 512]>,
    limit: usize,
    reads: Cell<usize>,
    writes: usize,
}

impl Tables {
    fn new(limit: usize) -> Self {
        Tables {
            tables: Vec::new(),
            limit,
            reads: Cell::new(0),
            writes: 0,
        }
    }

    fn index(table: u64) -> usize {
        assert_eq!(table % 4096, 0);
        ((table - FIRST_TABLE) / 4096) as usize
    }
}

const NO_MEMORY: OutOfMemory = OutOfMemory {
    needed: 4096,
    largest: 0,
    present: 1 << 20,
};

impl TableMemory for Tables {
    type Pages = Self;

    fn allocate(&mut self) -> Result<PhysAddr, PagingError> {
        if self.tables.len() == self.limit {
            return Err(NO_MEMORY.into());
        }
        self.tables.push([0; 512]);
        Ok(PhysAddr::new(
            FIRST_TABLE + (self.tables.len() as u64 - 1) * 4096,
        ))
    }

    fn pages(&mut self) -> &mut Self {
        self
    }
}

impl TablePages for Tables {
    fn clear(&mut self, table: PhysAddr) {
        self.tables[Tables::index(table.as_u64())] = [0; 512];
    }

    fn read(&self, table: PhysAddr, index: usize) -> u64 {
        self.reads.set(self.reads.get() + 1);
        self.tables[Tables::index(table.as_u64())][index]
    }

    fn write(&mut self, table: PhysAddr, index: usize, value: u64) {
        self.writes += 1;
        self.tables[Tables::index(table.as_u64())][index] = value;
    }
}

/// All pages that a CPU finds in the tables.
fn all_pages(tables: &Tables, root: PhysAddr, cpu: Capabilities) -> Vec<Page> {
    mmu::all_pages(
        &|table| tables.tables[Tables::index(table)].to_vec(),
        root.as_u64(),
        cpu,
    )
}

/// Whether a mapping covers an address.
fn is_in(address: u64, mapping: &Mapping) -> bool {
    address.wrapping_sub(mapping.virtual_start.as_u64()) < mapping.size
}

/// Checks that all that was asked for is mapped, nothing else is, and the pages are as large as
/// possible.
fn check(pages: &[Page], mappings: &[Mapping], cpu: Capabilities, global: bool) {
    let mut left: u64 = mappings.iter().map(|m| m.size).sum();
    for page in pages {
        let mapping = mappings
            .iter()
            .find(|m| is_in(page.virtual_start, m))
            .unwrap_or_else(|| panic!("nobody asked for {page:x?}"));
        let virtual_start = mapping.virtual_start.as_u64();
        let physical_start = mapping.physical_start.as_u64();
        let offset = page.virtual_start - virtual_start;
        assert!(
            mapping.size - offset >= page.size,
            "{page:x?} is larger than {mapping:x?}"
        );
        assert_eq!(page.physical_start, physical_start + offset);
        assert_eq!(page.writable, mapping.writable);
        assert_eq!(page.executable, mapping.executable || !cpu.nx);
        assert_eq!(page.write_combining, mapping.write_combining);
        assert_eq!(page.global, global && page.virtual_start >> 63 == 1);
        assert!(
            page.size == KIB4 || page.physical_start >= MIB2,
            "large, over the MTRRs"
        );
        left -= page.size;

        // Would the next larger page around it have been possible?
        for larger in [MIB2, GIB1] {
            if larger <= page.size || larger == GIB1 && !cpu.gib_pages {
                continue;
            }
            let start = page.virtual_start & !(larger - 1);
            let possible = start >= virtual_start
                && start - virtual_start + larger <= mapping.size
                && (physical_start + (start - virtual_start)) % larger == 0
                && physical_start + (start - virtual_start) >= MIB2;
            assert!(!possible, "{page:x?} of {mapping:x?} could be larger");
        }
    }
    assert_eq!(left, 0, "not all is mapped");
    for pair in pages.windows(2) {
        assert!(pair[0].virtual_start + (pair[0].size - 1) < pair[1].virtual_start);
    }
}

fn overlaps(a: &Mapping, b: &Mapping) -> bool {
    a.virtual_start.max(b.virtual_start)
        <= (a.virtual_start + (a.size - 1)).min(b.virtual_start + (b.size - 1))
}

/// Mappings near each other, so that they share tables and sometimes meet.
fn mapping() -> impl Strategy<Value = Mapping> {
    let bases = [
        0,
        0x40_0000,
        0x7F_C000_0000,
        0x7FFE_0000_0000,
        0xFFFF_8000_0000_0000,
        0xFFFF_FF7F_C000_0000,
        0xFFFF_FFFE_8000_0000,
    ];
    let step = prop_oneof![Just(KIB4), Just(MIB2), Just(GIB1)];
    (
        proptest::sample::select(bases.to_vec()),
        (step.clone(), 0..6_u64),
        (step.clone(), 0..6_u64),
        prop_oneof![
            3 => 1..1500 * KIB4,
            2 => (0..4_u64, 0..4_u64, 0..4_u64).prop_map(|(a, b, c)| a * KIB4 + b * MIB2 + c * GIB1),
        ],
        0..3_u8,
        any::<(bool, bool)>(),
    )
        .prop_map(|(base, (step, steps), (physical_step, physical), size, rights, (high, write_combining))| {
            let virtual_start = base + steps * step;
            let mut physical_start = physical * physical_step + if high { 1 << 40 } else { 0 };
            let mut size = (size.max(1) + KIB4 - 1) & !(KIB4 - 1);
            // Millions of small pages test no more than thousands.
            if size > 8 * MIB2 && (virtual_start ^ physical_start) % MIB2 != 0 {
                physical_start = (physical_start & !(MIB2 - 1)) | (virtual_start % MIB2);
            }
            // Up to the end of its half; another test covers the very last page.
            let half_end = if virtual_start >> 63 == 0 { 1 << 47 } else { 0_u64.wrapping_sub(KIB4) };
            size = size.min(half_end - virtual_start);
            Mapping {
                virtual_start: VirtAddr::new(virtual_start),
                physical_start: PhysAddr::new(physical_start),
                size,
                writable: rights == 1,
                executable: rights == 2,
                write_combining,
            }
        })
}

fn capabilities() -> impl Strategy<Value = Capabilities> {
    (any::<bool>(), any::<bool>()).prop_map(|(nx, gib_pages)| Capabilities { nx, gib_pages })
}

proptest! {
    #![proptest_config(config(200))]

    #[test]
    fn exactly_what_was_asked_for_is_mapped(
        wanted in proptest::collection::vec(mapping(), 1..10),
        cpu in capabilities(),
        global in any::<bool>(),
    ) {
        let mut tables = PageTables::new(Tables::new(usize::MAX), cpu).unwrap();
        tables.set_global(global);
        let mut mapped: Vec<Mapping> = Vec::new();
        for mapping in wanted {
            if mapped.iter().any(|other| overlaps(other, &mapping)) {
                continue;
            }
            tables.map(&mapping).unwrap();
            mapped.push(mapping);
        }
        let root = tables.root();
        check(&all_pages(&tables.into_memory(), root, cpu), &mapped, cpu, global);
    }

    #[test]
    fn an_overlap_is_refused(
        first in mapping(),
        second in mapping(),
        place in any::<prop::sample::Index>(),
        cpu in capabilities(),
    ) {
        // Begin the second one somewhere in the first one, or the first one in the second one.
        let pages = (first.size / KIB4) as usize;
        let inside = first.virtual_start.as_u64() + place.index(pages) as u64 * KIB4;
        let half_end = if inside >> 63 == 0 { 1 << 47 } else { 0_u64.wrapping_sub(KIB4) };
        let second = Mapping { virtual_start: VirtAddr::new(inside), size: second.size.min(half_end - inside).min(GIB1 / 8), ..second };
        for (one, other) in [(first, second), (second, first)] {
            let mut tables = PageTables::new(Tables::new(usize::MAX), cpu).unwrap();
            tables.map(&one).unwrap();
            let Err(PagingError::Conflict(address)) = tables.map(&other) else {
                panic!("mapped twice: {one:x?} {other:x?}");
            };
            prop_assert!(is_in(address.as_u64(), &other));
            // The earlier mappings are still there.
            let root = tables.root();
            let pages = all_pages(&tables.into_memory(), root, cpu);
            for page in pages.iter().filter(|p| is_in(p.virtual_start, &one)) {
                let offset = page.virtual_start - one.virtual_start.as_u64();
                prop_assert_eq!(page.physical_start, one.physical_start.as_u64() + offset);
            }
        }
    }

    #[test]
    fn no_mapping_makes_it_panic(
        virtual_start in any::<u64>(), physical_start in any::<u64>(), size in any::<u64>(),
        bits in 0..60_u32, aligned in any::<bool>(), rights in 0..4_u8, limit in 1..40_usize,
    ) {
        let mask = if aligned { !(KIB4 - 1) } else { u64::MAX };
        let mapping = Mapping {
            virtual_start: VirtAddr::new(((virtual_start << 16) as i64 >> 16) as u64 & mask),
            physical_start: PhysAddr::new(physical_start & mask & (LARGEST - 1)),
            size: (size >> bits) & mask,
            writable: rights & 1 != 0,
            executable: rights & 2 != 0,
            write_combining: false,
        };
        let cpu = Capabilities { nx: true, gib_pages: true };
        let mut tables = PageTables::new(Tables::new(limit), cpu).unwrap();
        if tables.map(&mapping).is_ok() {
            let root = tables.root();
            check(&all_pages(&tables.into_memory(), root, cpu), &[mapping], cpu, false);
        }
    }

    #[test]
    fn the_physical_map_shows_all_ram(
        seeds in proptest::collection::vec((0..3000_u64, 1..3000_u64, 1..10_u32), 0..20),
        cpu in capabilities(),
    ) {
        let kinds = [
            MemoryKind::Usable, MemoryKind::Reclaimable, MemoryKind::Kernel, MemoryKind::Module,
            MemoryKind::AcpiReclaimable, MemoryKind::AcpiNvs, MemoryKind::Framebuffer,
            MemoryKind::Reserved, MemoryKind::Bad,
        ];
        let base = 0xFFFF_8000_0000_0000;
        let mut regions = Vec::new();
        let mut address = 0;
        for (gap, size, kind) in seeds {
            // Every second one touches the one before it.
            let start = address + if gap % 2 == 0 { 0 } else { gap * KIB4 };
            address = start + size * KIB4;
            regions.push(Region { start: PhysAddr::new(start), end: PhysAddr::new(address), kind: kinds[kind as usize - 1] });
        }
        let mappings: Vec<Mapping> = physical_map(&regions, VirtAddr::new(base)).collect();
        let is_ram = |page: u64| {
            page < 1 << 20
                || regions.iter().any(|r| {
                    (r.start.as_u64()..r.end.as_u64()).contains(&page)
                        && !matches!(r.kind, MemoryKind::Reserved | MemoryKind::Bad)
                })
        };
        for mapping in &mappings {
            prop_assert!(mapping.writable && !mapping.executable);
            prop_assert_eq!(mapping.virtual_start.as_u64(), base + mapping.physical_start.as_u64());
        }
        for pair in mappings.windows(2) {
            prop_assert!(pair[0].physical_start + pair[0].size < pair[1].physical_start, "not merged");
        }
        for page in (0..address.max(1 << 20) + 2 * KIB4).step_by(KIB4 as usize) {
            let mapped = mappings.iter().any(|m| page.wrapping_sub(m.physical_start.as_u64()) < m.size);
            prop_assert_eq!(mapped, is_ram(page), "page {:x}", page);
        }
        let mut tables = PageTables::new(Tables::new(usize::MAX), cpu).unwrap();
        for mapping in &mappings {
            tables.map(mapping).unwrap();
        }
        let root = tables.root();
        check(&all_pages(&tables.into_memory(), root, cpu), &mappings, cpu, false);
    }
}

const FULL: Capabilities = Capabilities {
    nx: true,
    gib_pages: true,
};

fn unaligned(address: u64) -> PagingError {
    PagingError::Unaligned(VirtAddr::new(address))
}

fn out_of_range(address: u64) -> PagingError {
    PagingError::OutOfRange(VirtAddr::new(address))
}

fn writable_code(address: u64) -> PagingError {
    PagingError::WritableCode(VirtAddr::new(address))
}

fn data(virtual_start: u64, physical_start: u64, size: u64) -> Mapping {
    Mapping {
        virtual_start: VirtAddr::new(virtual_start),
        physical_start: PhysAddr::new(physical_start),
        size,
        writable: true,
        executable: false,
        write_combining: false,
    }
}

#[test]
fn refusals() {
    let mut tables = PageTables::new(Tables::new(usize::MAX), FULL).unwrap();
    let mut refused = |mapping: Mapping| tables.map(&mapping).unwrap_err();
    let top = 0_u64.wrapping_sub(KIB4);
    assert_eq!(refused(data(1, 0, KIB4)), unaligned(1));
    assert_eq!(refused(data(0, 0x800, KIB4)), unaligned(0));
    assert_eq!(refused(data(KIB4, 0, 5)), unaligned(KIB4));
    assert_eq!(refused(data(1 << 47, 0, KIB4)), out_of_range(1 << 47));
    let below = (1 << 47) - KIB4;
    assert_eq!(refused(data(below, 0, 2 * KIB4)), out_of_range(below));
    let hole_end = 0xFFFF_7FFF_FFFF_F000;
    assert_eq!(refused(data(hole_end, 0, 2 * KIB4)), out_of_range(hole_end));
    // Both ends are canonical, but not what is between.
    assert_eq!(refused(data(0, 0, top)), out_of_range(0));
    assert_eq!(refused(data(top, 0, 2 * KIB4)), out_of_range(top));
    assert_eq!(refused(data(0, LARGEST, KIB4)), out_of_range(0));
    assert_eq!(refused(data(0, LARGEST - KIB4, 2 * KIB4)), out_of_range(0));
    assert_eq!(refused(data(0, top, KIB4)), out_of_range(0));
    let both = Mapping {
        executable: true,
        ..data(0x5000, 0, KIB4)
    };
    assert_eq!(refused(both), writable_code(0x5000));
    assert_eq!(tables.map(&data(0, 0, 0)), Ok(()));
    let root = tables.root();
    tables.set_writable_code(true);
    assert_eq!(tables.map(&both), Ok(()));
    assert_eq!(tables.map(&data(top, LARGEST - KIB4, KIB4)), Ok(()));
    assert_eq!(tables.map(&data(below, 0, KIB4)), Ok(()));
    let pages = all_pages(&tables.into_memory(), root, FULL);
    check(
        &pages,
        &[both, data(below, 0, KIB4), data(top, LARGEST - KIB4, KIB4)],
        FULL,
        false,
    );
}

#[test]
fn a_physical_map_that_does_not_fit_is_refused() {
    let base = VirtAddr::new(0xFFFF_FFFF_C000_0000);
    for end in [GIB1 + KIB4, 3 * GIB1] {
        for start in [0, 512 * KIB4, GIB1, end - KIB4] {
            let region = [Region {
                start: PhysAddr::new(start),
                end: PhysAddr::new(end),
                kind: MemoryKind::Usable,
            }];
            let mut tables = PageTables::new(Tables::new(usize::MAX), FULL).unwrap();
            let mut result = physical_map(&region, base).map(|mapping| tables.map(&mapping));
            assert!(result.any(|result| result.is_err()), "{region:x?}");
        }
    }
    let fits = [Region {
        start: PhysAddr::new(0),
        end: PhysAddr::new(GIB1),
        kind: MemoryKind::Usable,
    }];
    let mut tables = PageTables::new(Tables::new(usize::MAX), FULL).unwrap();
    assert!(physical_map(&fits, base).all(|mapping| tables.map(&mapping).is_ok()));
}

#[test]
fn tables_may_run_out() {
    assert_eq!(
        PageTables::new(Tables::new(0), FULL).err(),
        Some(NO_MEMORY.into())
    );
    for limit in 1..4 {
        let mut tables = PageTables::new(Tables::new(limit), FULL).unwrap();
        assert_eq!(
            tables.map(&data(0, 0, KIB4)),
            Err(PagingError::OutOfMemory(NO_MEMORY))
        );
    }
    let mut tables = PageTables::new(Tables::new(4), FULL).unwrap();
    assert_eq!(tables.map(&data(0, 0, KIB4)), Ok(()));
}

/// 64 MiB in small pages: one read and one write for each, no walk from the top.
#[test]
fn small_pages_are_cheap() {
    let mut tables = PageTables::new(Tables::new(usize::MAX), FULL).unwrap();
    tables
        .map(&data(0xFFFF_FFFF_8000_0000, KIB4, 64 << 20))
        .unwrap();
    let memory = tables.into_memory();
    let (pages, links) = (16384, 1 + 1 + 32);
    assert_eq!(memory.writes, pages + links);
    assert!(memory.reads.get() <= pages + links);
    assert_eq!(memory.tables.len(), 1 + links);
}

#[test]
fn failures_have_names() {
    let shown = |error: PagingError| Report(&error).to_string();
    assert_eq!(
        shown(PagingError::Conflict(VirtAddr::new(0xFFFF_8000_0000_1000))),
        "error 11A: two things would be mapped at the same address: \
         virtual address 0xffff800000001000"
    );
    assert!(shown(out_of_range(0)).starts_with("error 11B: "));
    assert!(shown(unaligned(0)).starts_with("error 11B: "));
    assert!(shown(writable_code(0)).starts_with("error 10K: "));
    assert!(shown(NO_MEMORY.into()).starts_with("error 6B: there is too little memory: 4 KiB"));
}
