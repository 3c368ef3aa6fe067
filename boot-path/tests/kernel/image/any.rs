//! Any kernel: an accepted kernel is sound.

use boot_path::kernel::image::{
    Group, KernelError, KernelImage, PageRange, Segment, Wishes, check_file,
};
use boot_path::memory::address::{PhysAddr, VirtAddr};
use boot_path::position::FileOffset;
use proptest::prelude::*;

use crate::elf_fixture::{
    ET_DYN, ET_EXEC, Elf, PT_DYNAMIC, PT_GNU_RELRO, PT_TLS, ProgramHeader, R, W, X, note, rela,
    words,
};

use super::{HIGH, MIB, accept, executable, kernel, refuse, wish};

/// The permissions of a page, the slow way.
fn flags_of(segments: &[Segment], page: u64) -> Option<u32> {
    segments
        .iter()
        .map(|s| (s.virtual_start.as_u64(), s))
        .filter(|&(start, s)| start < page + 0x1000 && start + s.memory_size > page)
        .map(|(_, s)| s.flags)
        .reduce(|all, flags| all | flags)
}

/// What has to hold for every accepted kernel.
fn assert_sound(file: &[u8], image: &KernelImage, wishes: &Wishes) {
    let slide = image.choose_slide();
    assert_sound_segments(file, image, slide);
    let groups: Vec<_> = image.groups().collect();
    assert_sound_groups(image.segments(), &groups, slide);
    let ranges: Vec<_> = image.page_ranges(slide).collect();
    assert!(wishes.allow_writable_code() || ranges.iter().all(|r| !(r.writable && r.executable)));
    assert_sound_ranges(image, &groups, &ranges, slide);
}

/// Segments are in their order, in the file and in the address space, and the entry point is in code.
fn assert_sound_segments(file: &[u8], image: &KernelImage, slide: u64) {
    let segments = image.segments();
    assert!(!segments.is_empty());
    for pair in segments.windows(2) {
        assert!(pair[0].virtual_start + pair[0].memory_size <= pair[1].virtual_start);
    }
    for s in segments {
        assert!(s.memory_size > 0 && s.file_size <= s.memory_size);
        assert!(
            s.file_size == 0 || s.file_offset + s.file_size <= FileOffset::new(file.len() as u64)
        );
        let start = s.virtual_start.as_u64().wrapping_add(slide);
        let last = start.checked_add(s.memory_size - 1).unwrap();
        assert!(
            start >= 0x1000 && (last < 1 << 47 || start >= !0 << 47),
            "{start:#x}"
        );
        assert!(last < !0xFFF);
    }
    let in_code = |s: &&Segment| {
        s.flags & X != 0
            && (s.virtual_start..s.virtual_start + s.memory_size).contains(&image.entry())
    };
    assert!(segments.iter().any(|s| in_code(&s)));
}

/// Every segment is in exactly one group, with its pages, and the groups do not overlap.
fn assert_sound_groups(segments: &[Segment], groups: &[Group], slide: u64) {
    let mut next = 0;
    for group in groups {
        assert_eq!(group.first, next);
        next = group.end;
        assert!(group.alignment.is_power_of_two() && slide.is_multiple_of(group.alignment));
        assert_eq!(group.offset, group.virtual_start.as_u64() % group.alignment);
        for s in &segments[group.first..group.end] {
            let last = s.virtual_end().wrapping_before(1);
            assert!(group.contains(s.virtual_start) && group.contains(last));
        }
        if let Some(physical) = group.preferred_physical.map(PhysAddr::as_u64) {
            assert!(physical >= MIB && physical.is_multiple_of(4096));
            assert!(physical + group.size <= 1 << 52);
        }
    }
    assert_eq!(next, segments.len());
    for pair in groups.windows(2) {
        assert!(pair[0].virtual_start + pair[0].size + 2 * MIB <= pair[1].virtual_start);
    }
}

/// The first 64 pages between two addresses, and the last one.
fn some_pages(first: u64, last: u64) -> impl Iterator<Item = u64> {
    let pages = (0..64).map(move |i| first + i * 0x1000);
    pages.filter(move |&page| page <= last).chain([last])
}

/// The ranges are the segments' pages, with their permissions, in as few pieces as possible.
fn assert_sound_ranges(image: &KernelImage, groups: &[Group], ranges: &[PageRange], slide: u64) {
    let segments = image.segments();
    for pair in ranges.windows(2) {
        let end = pair[0].virtual_start.checked_add(pair[0].size).unwrap();
        assert!(end <= pair[1].virtual_start);
        let same = (pair[0].writable, pair[0].executable) == (pair[1].writable, pair[1].executable);
        assert!(
            end < pair[1].virtual_start || !same,
            "two pieces that are one"
        );
    }
    for range in ranges {
        assert!(
            range.size > 0 && (range.virtual_start.as_u64() | range.size).is_multiple_of(0x1000)
        );
        let start = range.virtual_start.wrapping_before(slide);
        assert_eq!(groups.iter().filter(|g| g.contains(start)).count(), 1);
        let (first, last) = (start.as_u64(), start.as_u64() + range.size - 0x1000);
        for page in some_pages(first, last) {
            let flags = flags_of(segments, page).expect("a page of no segment");
            assert_eq!(range.executable, flags & X != 0);
            assert!(image.relro().is_some() || range.writable == (flags & W != 0));
            assert!(!range.writable || flags & W != 0);
        }
    }
    // No segment is left out.
    for s in segments {
        let (first, last) = (s.first_page().as_u64(), s.page_end().as_u64() - 0x1000);
        for page in some_pages(first, last) {
            let page = page.wrapping_add(slide);
            assert!(
                ranges
                    .iter()
                    .any(|r| page.wrapping_sub(r.virtual_start.as_u64()) < r.size)
            );
        }
    }
}

/// A static PIE with everything that the loader looks at.
fn full() -> Vec<u8> {
    let mut tables = words([7, 0x2100, 8, 48, 9, 24, 36, 0x2200, 35, 16, 37, 8, 0, 0]);
    tables.resize(0x100, 0);
    tables.extend(rela(8, 0x3000, 0x10));
    tables.extend(rela(8, 0x3008, 0x20));
    tables.resize(0x200, 0);
    tables.extend(words([0x3010, 0b1011]));
    Elf::new(ET_DYN, 0x10)
        .with(ProgramHeader::load(R | X, 0, vec![0xF4; 0x1800], 0x1800))
        .with(ProgramHeader::load(R, 0x2000, tables, 0x210))
        .with(ProgramHeader::load(R | W, 0x3000, vec![2; 0x100], 0x2800))
        .with(ProgramHeader::load(R | W, 0x8100, vec![2; 0x100], 0x2800))
        .with(ProgramHeader::within_load(PT_DYNAMIC, 0x2000, 14 * 8))
        .with(ProgramHeader::within_load(PT_TLS, 0x3020, 0x18))
        .with(ProgramHeader::within_load(PT_GNU_RELRO, 0x3000, 0x1000))
        .with(wish(1, 0x4000))
        .build()
}

/// Numbers that are likely to break something.
fn number() -> impl Strategy<Value = u64> {
    let near = (
        prop::sample::select(vec![
            0,
            64,
            0x1000,
            0x3000,
            2 * MIB,
            1 << 31,
            1 << 47,
            HIGH,
            !0 << 47,
        ]),
        -2_i64..3,
    )
        .prop_map(|(number, by): (u64, i64)| number.wrapping_add_signed(by));
    prop_oneof![
        near,
        0_u64..0x1_0000,
        any::<u64>(),
        (0_u32..64).prop_map(|bit| 1 << bit)
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 1000, ..Default::default() })]

    /// A good kernel that was damaged: nothing panics, and if it is still accepted, it is sound.
    #[test]
    fn damaged(
        changes in prop::collection::vec((0_usize..700, 0_u32..4, number()), 1..6),
        tables in prop::collection::vec((0_usize..66, number()), 0..3),
        length in prop::option::weighted(0.1, 0_usize..0x5000),
    ) {
        let mut file = full();
        // The changes hit the file header and the program headers; then the dynamic section and the
        // relocations, at 0x3000.
        for (at, width, value) in changes {
            let width = 1 << width;
            let at = at / width * width;
            file[at..at + width].copy_from_slice(&value.to_le_bytes()[..width]);
        }
        for (word, value) in tables {
            let at = 0x3000 + 8 * word;
            file[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
        if let Some(length) = length {
            file.resize(length, 0);
        }
        if let Ok((image, wishes)) = check_file(&file) {
            assert_sound(&file, &image, &wishes);
        }
    }

    /// Segments anywhere and of any size, in so few pages that they often share one.
    #[test]
    fn packed(
        kind in prop::sample::select(vec![ET_EXEC, ET_DYN]),
        pieces in prop::collection::vec((0_u64..0x1800, 1_u64..0x2800, prop::sample::select(vec![R, R, R | W, R | X])), 1..12),
        relro in prop::option::of((0_u64..0xC000, 1_u64..0x4000)),
        far in 0_usize..12,
    ) {
        let mut at = HIGH;
        let mut elf = Elf::new(kind, HIGH + 1);
        elf.program_headers.push(ProgramHeader::load(R | X, HIGH, vec![0xF4; 2], 2));
        for (index, (gap, size, flags)) in pieces.into_iter().enumerate() {
            at += gap + 2 + if index == far { 3 * MIB } else { 0 };
            elf.program_headers.push(ProgramHeader::load(flags, at, vec![1], size));
            at += size;
        }
        if let Some((start, size)) = relro {
            elf.program_headers.push(ProgramHeader::within_load(PT_GNU_RELRO, HIGH + start, size));
        }
        let allowed = elf.clone().with(wish(3, 1)).build();
        let (image, wishes) = check_file(&allowed).unwrap();
        assert_sound(&allowed, &image, &wishes);
        let writable_code = image.page_ranges(0).any(|r| r.writable && r.executable);
        let refused = matches!(check_file(&elf.build()), Err(KernelError::WritableCode { .. }));
        prop_assert_eq!(refused, writable_code);
    }

    /// Anything at all as a note.
    #[test]
    fn any_note(bytes in prop::collection::vec(prop_oneof![Just(9_u8), Just(0), any::<u8>()], 0..200), at in 0_usize..50) {
        let _ = Wishes::default().parse_note(&bytes);
        let mut named = bytes;
        named.truncate(at * 4);
        named.resize(at * 4, 0);
        named.extend(note("Bootpath", 1, &words([0x5000]), 4));
        let mut wishes = Wishes::default();
        if wishes.parse_note(&named).is_ok() {
            prop_assert_eq!(wishes.stack_size, 0x5000);
        }
    }
}

#[test]
fn the_full_kernel_is_accepted() {
    let file = full();
    let (image, wishes) = check_file(&file).unwrap();
    assert_sound(&file, &image, &wishes);
    assert_eq!(wishes.stack_size, 0x4000);
    assert_eq!(image.dynamic().unwrap().start.as_u64(), 0x2000);
    assert_eq!(image.segments()[1].file_offset, FileOffset::new(0x3000));
}

/// All texts of `Display`, in one place.
#[test]
fn messages() {
    let elf = |change: fn(&mut Elf)| {
        let mut elf = executable();
        change(&mut elf);
        let error = check_file(&elf.build()).unwrap_err();
        boot_path::errors::catalogue::Report(&error).to_string()
    };
    assert_eq!(
        elf(|e| e.machine = 3),
        "error 10C: the kernel is not for x86-64: e_machine 3"
    );
    assert_eq!(
        elf(|e| e.program_headers[0].memory_size = 0x2001),
        "error 10H: two segments of the kernel overlap: segments 0 and 1 at 0xffffffff80002000"
    );
    assert_eq!(
        elf(|e| e.program_headers.clear()),
        "error 10G: the kernel has no PT_LOAD segment with bytes in memory"
    );
}

#[test]
fn what_the_loader_maps_is_taken() {
    let conflict = |address| KernelError::Conflict {
        address: VirtAddr::new(address),
    };
    let map = handoff::DEFAULT_PHYSICAL_MAP_BASE;
    refuse(&kernel(ET_EXEC, map), "11A", conflict(map));
    let last_page = map + MIB - 0x1000;
    refuse(&kernel(ET_EXEC, last_page), "11A", conflict(last_page));
    accept(&kernel(ET_EXEC, map + MIB)); // the size of memory depends on the machine
    // The page of the switch.
    refuse(&kernel(ET_EXEC, 0x8000), "11A", conflict(0x8000));
    refuse(&kernel(ET_EXEC, 0x5000), "11A", conflict(0x8000));
    accept(&kernel(ET_EXEC, 0x9000));
}
