//! Where the kernel goes, and its page tables.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;

use boot_path::kernel::image::Wishes;
use boot_path::kernel::placement::Kernel;
use boot_path::memory::address::PhysAddr;
use boot_path::memory::map::{MemoryKind, MemoryMap, Region};
use boot_path::paging::page_tables::{Capabilities, TablePages};
use boot_path::ways_out::limine::FirmwarePages;
use boot_path::ways_out::limine::address_space;

use crate::elf_fixture::{Elf, PT_GNU_RELRO, ProgramHeader, R, W};

use crate::mmu::{self, Page};

use super::{BASE, CODE, DATA, GIB4, HHDM, Loaded, elf, tag};

type Shared = Rc<RefCell<BTreeMap<u64, [u64; 512]>>>;
struct Tables(Shared);

impl TablePages for Tables {
    fn clear(&mut self, table: PhysAddr) {
        assert!(
            self.0
                .borrow_mut()
                .insert(table.as_u64(), [0; 512])
                .is_none()
        );
    }
    fn read(&self, table: PhysAddr, index: usize) -> u64 {
        self.0.borrow()[&table.as_u64()][index]
    }
    fn write(&mut self, table: PhysAddr, index: usize, value: u64) {
        self.0.borrow_mut().get_mut(&table.as_u64()).unwrap()[index] = value;
    }
}

fn machine() -> MemoryMap {
    let mut memory = MemoryMap::new();
    let mut add = |start, end, kind| {
        memory.add(Region {
            start: PhysAddr::new(start),
            end: PhysAddr::new(end),
            kind,
        });
    };
    add(0, 0x9_F000, MemoryKind::Usable);
    add(0x10_0000, 64 << 20, MemoryKind::Usable);
    add(0xFFFC_0000, GIB4, MemoryKind::Reserved);
    add(GIB4, 5 << 30, MemoryKind::Usable);
    memory.finish(0x9_F000);
    memory.round_to_pages();
    memory
}

/// Segments that lie far from each other, and RELRO.
fn far_apart() -> Elf {
    elf(&tag(3))
        .with(ProgramHeader::load(
            R | W,
            BASE + 0x80_0000,
            vec![1; 0x2000],
            0x3000,
        ))
        .with(ProgramHeader::within_load(
            PT_GNU_RELRO,
            BASE + 0x80_0000,
            0x2000,
        ))
}

#[test]
fn the_kernel_becomes_one_piece() {
    let mut memory = machine();
    let mut kernel = Kernel::new(Loaded::new(&far_apart()).image, Wishes::default());
    let room = Vec::with_capacity(kernel.image.segments().len());
    kernel.place(room, &mut memory).unwrap();
    let old: Vec<_> = kernel.segments().map(|(_, address)| address).collect();
    assert_ne!(old[2] - old[0], 0x80_0000, "they are apart");
    let (start, size) = kernel.place_as_one(&mut memory).unwrap().unwrap();
    let copied: Vec<_> = kernel.moves(start).collect();
    kernel.moved(start, &mut memory);
    let new: Vec<_> = kernel.segments().map(|(_, address)| address).collect();
    assert_eq!([new[1] - new[0], new[2] - new[0]], [0x1000, 0x80_0000]);
    assert_eq!((start, size), (new[0], 0x80_3000));
    assert_eq!(copied, [(old[0], new[0], 0x2000), (old[2], new[2], 0x3000)]);
    let kind = |address| {
        memory
            .regions()
            .iter()
            .find(|r| r.start <= address && address < r.end)
            .unwrap()
            .kind
    };
    assert_eq!([kind(old[0]), kind(old[2])], [MemoryKind::Usable; 2]);
    assert_eq!(
        [kind(new[0]), kind(new[0] + 0x80_2FFF)],
        [MemoryKind::Kernel; 2]
    );

    // A kernel in one piece stays where it is.
    let mut kernel = Kernel::new(Loaded::new(&elf(&[])).image, Wishes::default());
    let room = Vec::with_capacity(kernel.image.segments().len());
    kernel.place(room, &mut memory).unwrap();
    assert_eq!(kernel.place_as_one(&mut memory).unwrap(), None);
}

/// Three MiB and a page.
const FRAMEBUFFER: Range<u64> = 0xFD00_0000..0xFD30_1000;

/// Builds page tables: where the kernel is, and all pages.
fn build(revision: u64, five_levels: bool) -> (u64, Vec<Page>) {
    let mut memory = machine();
    let [start, end] = [FRAMEBUFFER.start, FRAMEBUFFER.end].map(PhysAddr::new);
    memory.mark(start, end, MemoryKind::Framebuffer);
    let mut image = Loaded::new(&far_apart()).image;
    image.forget_relro();
    let mut kernel = Kernel::new(image, Wishes::default());
    let room = Vec::with_capacity(kernel.image.segments().len());
    kernel.place(room, &mut memory).unwrap();
    let (start, _) = kernel.place_as_one(&mut memory).unwrap().unwrap();
    kernel.moved(start, &mut memory);
    let cpu = Capabilities {
        nx: true,
        gib_pages: true,
    };
    let tables = Shared::default();
    let root = address_space::build(
        &kernel,
        &mut memory,
        Tables(tables.clone()),
        cpu,
        &FirmwarePages::default(),
        revision,
        five_levels,
    );
    let mut root = root.unwrap().as_u64();
    let tables = tables.borrow();
    if five_levels {
        root = lower_root(&tables[&root], revision);
    }
    let pages = mmu::all_pages(&|table| tables[&table].to_vec(), root, cpu);
    (kernel.physical_start().as_u64(), pages)
}

/// The table of level 4 that a table of level 5 leads to. It is the same at both ends; the lower
/// end has it only with an identity map.
fn lower_root(top: &[u64; 512], revision: u64) -> u64 {
    let used: Vec<_> = (0..512).filter(|&index| top[index] != 0).collect();
    assert_eq!(
        used,
        if revision == 0 {
            vec![0, 511]
        } else {
            vec![511]
        }
    );
    assert!(
        used.iter()
            .all(|&index| top[index] == top[511] && top[index] & 0xFFF == 3)
    );
    top[511] & !0xFFF
}

/// Where an address leads, and whether it is writable and executable.
fn find(pages: &[Page], address: u64) -> Option<(u64, bool, bool)> {
    let page = pages
        .iter()
        .find(|p| p.virtual_start <= address && address - p.virtual_start < p.size)?;
    Some((
        page.physical_start + (address - page.virtual_start),
        page.writable,
        page.executable,
    ))
}

#[test]
fn the_page_tables_are_right() {
    for (revision, five_levels) in [(0, false), (0, true), (1, false), (3, false), (6, true)] {
        let (start, pages) = build(revision, five_levels);
        check_kernel(&pages, start);
        check_direct_map(&pages, revision);
        check_framebuffer(&pages, revision);
        let gib = pages.iter().any(|page| page.size == 1 << 30);
        assert_eq!(gib, revision > 2);
        assert!(pages.iter().all(|page| !page.global));
    }
}

fn check_kernel(pages: &[Page], start: u64) {
    let find = |address| find(pages, address);
    assert_eq!(find(CODE), Some((start, false, true)));
    assert_eq!(find(DATA), Some((start + 0x1000, true, false)));
    // PF_W alone decides whether it is writable.
    assert_eq!(
        find(BASE + 0x80_0000),
        Some((start + 0x80_0000, true, false))
    );
    assert_eq!(find(BASE + 0x2000), None);
}

fn check_direct_map(pages: &[Page], revision: u64) {
    let find = |address| find(pages, address);
    for address in [
        0_u64,
        0x1000,
        0x9_F000,
        0x10_0000,
        64 << 20,
        GIB4 - 1,
        GIB4,
        (5 << 30) - 1,
        5 << 30,
    ] {
        let wanted = match revision {
            0..3 => address < 5 << 30,
            _ => matches!(address, 0x1000 | 0x10_0000 | GIB4 | 0x1_3FFF_FFFF),
        };
        assert_eq!(
            find(HHDM + address),
            wanted.then_some((address, true, true)),
            "{address:x}"
        );
        let identity = revision == 0 && wanted && address > 0;
        assert_eq!(
            find(address),
            identity.then_some((address, true, true)),
            "{address:x}"
        );
    }
}

fn check_framebuffer(pages: &[Page], revision: u64) {
    for base in [HHDM, 0] {
        let (start, end) = (base + FRAMEBUFFER.start, base + FRAMEBUFFER.end);
        let combined = pages
            .iter()
            .filter(|page| page.write_combining && page.virtual_start >> 63 == base >> 63);
        let (mut size, mut largest) = (0, 0);
        for page in combined {
            assert_eq!(page.physical_start, page.virtual_start - base);
            assert!(start <= page.virtual_start && page.virtual_start + page.size <= end);
            size += page.size;
            largest = largest.max(page.size);
        }
        let wanted = if base == 0 && revision > 0 {
            (0, 0)
        } else {
            (end - start, 2 << 20)
        };
        assert_eq!((size, largest), wanted, "revision {revision}");
    }
}
