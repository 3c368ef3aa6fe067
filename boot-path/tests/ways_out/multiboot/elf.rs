//! Kernels that go to physical addresses: what the headers say, where a kernel is put, and what is
//! in its way.

use boot_path::errors::catalogue::Named;
use boot_path::errors::text::copy;
use boot_path::kernel::image::{KernelError, MAX_PROGRAM_HEADERS};
use boot_path::memory::address::PhysAddr;
use boot_path::memory::map::{MemoryKind, MemoryMap, Region};
use boot_path::position::FileOffset;
use boot_path::ways_out::multiboot::elf::{
    self, Limits, MemoryConflict, PhysicalImage, Preference, SectionTable, Segment, place_sections,
    unloaded_sections,
};
use boot_path::ways_out::multiboot::header::MultibootError;
use proptest::prelude::*;

use crate::elf_fixture::{ET_EXEC, Elf, PT_NOTE, ProgramHeader, R, W, X};

pub(super) const MIB: u64 = 1 << 20;
const HIGH: u64 = 0xC000_0000;

pub(super) const fn physical(address: u64) -> PhysAddr {
    PhysAddr::new(address)
}

/// Code and data with a bss, linked to the higher half (or not) and loaded at 1 MiB.
fn kernel(distance: u64) -> Elf {
    Elf::new(ET_EXEC, distance + MIB + 0x10)
        .with(ProgramHeader::load(R | X, distance + MIB, vec![0xF4; 0x1800], 0x1800).at(MIB))
        .with(
            ProgramHeader::load(R | W, distance + MIB + 0x2800, vec![2; 0x100], 0x5000)
                .at(MIB + 0x2800),
        )
        .with(ProgramHeader::note(vec![1; 16]))
}

pub(super) fn read(file: &[u8]) -> Result<PhysicalImage, MultibootError> {
    let mut image = PhysicalImage::default();
    let list = |count| Ok(Vec::with_capacity(count));
    elf::read(&mut image, file.len() as u64, list, |offset, out| {
        let rest = usize::try_from(offset.as_u64())
            .ok()
            .and_then(|at| file.get(at..));
        Ok::<_, MultibootError>(copy(rest.unwrap_or_default(), out))
    })?;
    Ok(image)
}

#[track_caller]
fn refuse(file: &[u8], error: impl Into<MultibootError>) {
    assert_eq!(read(file), Err(error.into()));
}

/// RAM from 4 KiB to 640 KiB and from 1 MiB to 64 MiB, of which the loader has its part.
pub(super) fn memory() -> MemoryMap {
    let mut map = MemoryMap::new();
    for (start, end) in [(0, 0xA_0000), (MIB, 64 * MIB)] {
        map.add(Region {
            start: physical(start),
            end: physical(end),
            kind: MemoryKind::Usable,
        });
    }
    map.finish(0xA_0000);
    map.mark(
        physical(0x1000),
        physical(0x8_0000),
        MemoryKind::Reclaimable,
    );
    map
}

pub(super) fn kind_at(map: &MemoryMap, address: u64) -> Option<MemoryKind> {
    let mut regions = map.regions().iter();
    let region =
        regions.find(|region| (region.start.as_u64()..region.end.as_u64()).contains(&address))?;
    Some(region.kind)
}

#[test]
fn both_classes_say_the_same() {
    for distance in [0, HIGH] {
        let elf = kernel(distance);
        for (file, is_64_bit) in [(elf.build(), true), (elf.build_32(), false)] {
            let image = read(&file).expect("a good kernel");
            assert_eq!(image.is_64_bit(), is_64_bit);
            assert_eq!(image.entry().as_u64(), MIB + 0x10);
            assert_eq!(image.start().as_u64(), MIB);
            assert_eq!(image.end().as_u64(), MIB + 0x7800);
            assert_eq!(image.file_bytes(), 0x1900);
            assert_eq!(image.sections(), None);
            let [code, data] = image.segments() else {
                panic!("{:?}", image.segments());
            };
            assert_eq!(
                (code.start.as_u64(), code.memory_size, code.number),
                (MIB, 0x1800, 0)
            );
            assert_eq!((data.start.as_u64(), data.file_size), (MIB + 0x2800, 0x100));
            let at = data.file_offset.as_u64() as usize;
            assert_eq!(file[at..at + 0x100], [2; 0x100]);

            let reads: Vec<_> = image.reads().collect();
            assert_eq!(reads[0].destination.as_u64(), MIB);
            assert_eq!(reads[0].length, 0x1800);
            assert_eq!(reads[1].file_offset, data.file_offset);
            assert_eq!(reads.len(), 2);
            let mut zeroes = Vec::new();
            image.zeroes(|start, end| zeroes.push((start.as_u64(), end.as_u64())));
            let bss = (MIB + 0x2900, MIB + 0x7800);
            assert_eq!(zeroes, [(MIB + 0x1800, MIB + 0x1800), bss]);
        }
    }
}

/// The offset of a segment without bytes in the file says nothing, and may be behind its end.
#[test]
fn a_segment_without_bytes() {
    const SECOND: usize = 64 + 56;
    let mut file = kernel(0).build();
    file[SECOND + 8..SECOND + 16].fill(0x7F);
    file[SECOND + 32..SECOND + 40].fill(0);
    let image = read(&file).expect("a good kernel");
    assert_eq!(image.file_bytes(), 0x1800);
    assert_eq!(image.end(), physical(MIB + 0x7800));
}

#[test]
fn an_elf64_with_a_64_bit_entry_point() {
    let image = read(&kernel(0xFFFF_FFFF_8000_0000).build()).expect("a good kernel");
    assert_eq!(image.entry().as_u64(), MIB + 0x10);
}

/// As the linker scripts of some higher-half kernels have it: `ENTRY(_start - KERNEL_VMA)`.
#[test]
fn the_entry_point_may_be_physical() {
    let mut elf = kernel(HIGH);
    elf.entry = MIB + 0x20;
    assert_eq!(
        read(&elf.build()).map(|image| image.entry().as_u64()),
        Ok(MIB + 0x20)
    );
    let mut image = read(&elf.build_32()).expect("a good kernel");
    assert_eq!(image.enter_at(physical(MIB + 0x7000)), Ok(()));
    assert_eq!(image.entry().as_u64(), MIB + 0x7000);
    let outside = KernelError::Entry {
        entry: MIB + 0x2000,
    };
    assert_eq!(image.enter_at(physical(MIB + 0x2000)), Err(outside));
    elf.entry = 0x1234;
    refuse(&elf.build(), KernelError::Entry { entry: 0x1234 });
}

#[test]
fn what_is_no_kernel() {
    let elf = kernel(0);
    refuse(b"", KernelError::NotElf);
    refuse(&[0; 100], KernelError::NotElf);
    let truncated = |needed, present| KernelError::Truncated { needed, present };
    refuse(&elf.build()[..40], truncated(52, 40));
    refuse(&elf.build()[..60], truncated(64, 60));
    refuse(&elf.build()[..100], truncated(64 + 3 * 56, 100));
    refuse(&elf.build_32()[..100], truncated(52 + 3 * 32, 100));
    let file = elf.build();
    let length = file.len() as u64;
    let offset = read(&file).expect("a good kernel").segments()[1].file_offset;
    let cut = &file[..offset.as_u64() as usize + 0x80];
    refuse(cut, truncated((offset + 0x100).as_u64(), cut.len() as u64));
    assert!(length > (offset + 0x100).as_u64());
}

#[test]
fn headers_that_make_no_sense() {
    let change = |change: fn(&mut Elf)| {
        let mut elf = kernel(0);
        change(&mut elf);
        elf.build()
    };
    refuse(
        &change(|elf| elf.class = 3),
        KernelError::Class {
            class: 3,
            encoding: 1,
        },
    );
    refuse(
        &change(|elf| elf.encoding = 2),
        KernelError::Class {
            class: 2,
            encoding: 2,
        },
    );
    refuse(
        &change(|elf| elf.machine = 40),
        KernelError::Machine { machine: 40 },
    );
    refuse(&change(|elf| elf.kind = 1), KernelError::Type { kind: 1 });
    refuse(
        &change(|elf| elf.version = 2),
        KernelError::Version { version: 2 },
    );
    refuse(
        &change(|elf| elf.program_header_size = 32),
        KernelError::HeaderSize { size: 32 },
    );
    refuse(
        &change(|elf| elf.program_header_count = Some(0)),
        KernelError::NoLoad,
    );
    refuse(
        &change(|elf| elf.program_headers.truncate(0)),
        KernelError::NoLoad,
    );
    refuse(
        &change(|elf| {
            for header in &mut elf.program_headers {
                header.kind = PT_NOTE;
            }
        }),
        KernelError::NoLoad,
    );
    refuse(
        &change(|elf| elf.program_headers[1].memory_size = 0xFF),
        KernelError::Sizes {
            segment: 1,
            file_size: 0x100,
            memory_size: 0xFF,
        },
    );
}

#[test]
fn too_many_headers() {
    let count = MAX_PROGRAM_HEADERS as u16 + 1;
    let mut many = kernel(0);
    many.program_header_count = Some(count);
    refuse(&many.build(), KernelError::TooManyHeaders { count });
}

#[test]
fn segments_that_overlap() {
    for (start, address) in [
        (MIB + 0x17FF, MIB + 0x17FF),
        (MIB - 0x4FFF, MIB),
        (MIB, MIB),
        (MIB - 0x1000, MIB),
    ] {
        let mut elf = kernel(0);
        elf.program_headers[1].physical_address = start;
        for file in [elf.build(), elf.build_32()] {
            refuse(
                &file,
                KernelError::Overlap {
                    first: 0,
                    second: 1,
                    address,
                },
            );
        }
    }
    // Segments side by side, in any order.
    for start in [MIB + 0x1800, MIB - 0x5000] {
        let mut elf = kernel(0);
        elf.program_headers[1].physical_address = start;
        let image = read(&elf.build()).expect("they do not overlap");
        assert!(image.segments().is_sorted_by_key(|segment| segment.start));
    }
}

/// Whatever is between them, and wherever they are in the file.
#[test]
fn any_number_of_segments() {
    const COUNT: u64 = 1000;
    let start = |i: u64| MIB + 0x1000 * i;
    let of = |i: u64| {
        let flags = [R | X, R | W][i as usize % 2];
        ProgramHeader::load(flags, start(i), vec![i as u8; 0x10], 0x10 + i % 3)
    };
    let rising = (0..COUNT).fold(Elf::new(ET_EXEC, MIB), |elf, i| elf.with(of(i)));
    let falling = (0..COUNT)
        .rev()
        .fold(Elf::new(ET_EXEC, MIB), |elf, i| elf.with(of(i)));
    for file in [rising.build(), rising.build_32(), falling.build()] {
        let image = read(&file).expect("there is room for all");
        assert_eq!(image.segments().len(), COUNT as usize);
        for (i, segment) in (0..).zip(image.segments()) {
            assert_eq!(segment.start, physical(start(i)));
            assert_eq!(
                (segment.file_size, segment.memory_size),
                (0x10, 0x10 + i % 3)
            );
            let at = segment.file_offset.as_u64() as usize;
            assert_eq!(file[at..at + 0x10], [i as u8; 0x10], "{i}");
        }
    }
}

/// So many regions that the memory map has no room for each: what is between them is taken, too, and
/// what is behind them stays free.
#[test]
fn scattered_segments() {
    let start = |i: u64| MIB + 0x8000 * i;
    let elf = (0..1500).fold(Elf::new(ET_EXEC, MIB), |elf, i| {
        elf.with(ProgramHeader::load(R | X, start(i), vec![i as u8; 16], 16))
    });
    let mut image = read(&elf.build()).expect("there is room for all");
    let mut map = memory();
    assert_eq!(image.place(&mut map), Ok(()));
    for segment in image.segments() {
        assert!(!map.is_free(segment.start, segment.end()));
    }
    assert!(map.is_free(physical(start(1499) + 0x1000), physical(64 * MIB)));

    // Few are apart as they are.
    let two = kernel(0).with(ProgramHeader::load(R, 8 * MIB, vec![1; 16], 16));
    let mut map = memory();
    assert_eq!(read(&two.build()).expect("three").place(&mut map), Ok(()));
    assert!(map.is_free(physical(2 * MIB), physical(8 * MIB)));
}

#[test]
fn beyond_4_gib() {
    let mut elf = kernel(0);
    for (start, good) in [
        ((4 << 30) - 0x5000, true),
        ((4 << 30) - 0x4FFF, false),
        (u64::MAX - 0x10, false),
    ] {
        elf.program_headers[1].physical_address = start;
        if good {
            assert!(read(&elf.build()).is_ok());
            continue;
        }
        let error = MemoryConflict::Beyond {
            segment: 1,
            start: physical(start),
            size: 0x5000,
        };
        refuse(&elf.build(), error);
        assert_eq!(error.entry().code, "10U");
    }
}

#[test]
fn memory_is_taken_where_it_is_free() {
    let mut image = read(&kernel(HIGH).build()).expect("a good kernel");
    let mut map = memory();
    assert_eq!(image.place(&mut map), Ok(()));
    for (address, kind) in [
        (MIB, MemoryKind::Kernel),
        (MIB + 0x1FFF, MemoryKind::Kernel),
        (MIB + 0x2000, MemoryKind::Kernel),
        (MIB + 0x7FFF, MemoryKind::Kernel),
        (MIB + 0x8000, MemoryKind::Usable),
    ] {
        assert_eq!(kind_at(&map, address), Some(kind), "{address:x}");
    }
    // A kernel that was not booted after all has left its name where the loader is. The next one
    // may go there, too, when the loader is left.
    let mut next = read(&kernel(HIGH).build()).expect("a good kernel");
    assert_eq!(next.place(&mut map), Ok(()));
    let waits = |segment: &Segment| segment.waiting.is_some();
    assert!(next.segments().iter().all(waits));
    assert!(!image.segments().iter().any(waits));
}

#[test]
fn who_is_in_the_way_is_named() {
    let at = |start: u64| {
        let mut elf = kernel(0);
        elf.program_headers[1].physical_address = start;
        let mut image = read(&elf.build()).expect("a good kernel");
        let mut map = memory();
        for (mib, kind) in [
            (20, MemoryKind::Module),
            (22, MemoryKind::AcpiNvs),
            (24, MemoryKind::Bad),
            (26, MemoryKind::Framebuffer),
        ] {
            map.mark(physical(mib * MIB), physical((mib + 1) * MIB), kind);
        }
        let before = map.regions().to_vec();
        let result = image.place(&mut map).map_err(|error| error.to_string());
        if result.is_err() {
            assert_eq!(map.regions(), before, "nothing is taken");
        }
        result.err().unwrap_or_default()
    };
    for (start, text) in [
        (0x8_0000, ""),
        (0x9_B000, ""),
        (30 * MIB, ""),
        (0x500, ""),
        (0x7_B001, ""),
        (0x4FF, "0x4ff to 0x54ff: 0x0 to 0x500 is reserved"),
        (0, "0x0 to 0x5000: 0x0 to 0x500 is reserved"),
        (0x9_C000, "0x9c000 to 0xa1000: no RAM"),
        (
            20 * MIB - 1,
            "0x13fffff to 0x1404fff: 0x1400000 to 0x1500000 is a module's",
        ),
        (
            22 * MIB,
            "0x1600000 to 0x1605000: 0x1600000 to 0x1700000 is ACPI's",
        ),
        (
            24 * MIB,
            "0x1800000 to 0x1805000: 0x1800000 to 0x1900000 is faulty",
        ),
        (
            26 * MIB,
            "0x1a00000 to 0x1a05000: 0x1a00000 to 0x1b00000 is the screen's",
        ),
        (64 * MIB - 0x4000, "0x3ffc000 to 0x4001000: no RAM"),
        (1 << 30, "0x40000000 to 0x40005000: no RAM"),
    ] {
        let found = at(start);
        let found = found.strip_prefix("segment 1, ").unwrap_or(&found);
        assert_eq!(found, text);
    }
}

pub fn limits(min: u64, max: u64, align: u64, preference: Preference) -> Limits {
    Limits {
        min: physical(min),
        max: physical(max),
        align,
        preference,
    }
}

#[test]
fn kernels_that_can_be_moved() {
    use Preference::*;

    // The size of the kernel is 0x7800.
    let all = 0xFFFF_FFFF;
    for (limits, expected) in [
        (limits(0, all, 1, None), Some(MIB)),
        (limits(0, all, 2 * MIB, None), Some(2 * MIB)),
        (limits(MIB + 1, all, 1, None), Some(MIB + 0x1000)),
        (limits(0, MIB + 0x7800, 1, None), Some(MIB)),
        (limits(0, MIB + 0x77FF, 1, None), Option::None),
        (limits(0, all, 1, Lowest), Some(0x8_0000)),
        (limits(0x9_0000, all, 0x1_0000, Lowest), Some(0x9_0000)),
        (limits(0x9_9000, all, 1, Lowest), Some(MIB)),
        (limits(0, all, 1, Highest), Some(64 * MIB - 0x8000)),
        (limits(0, all, MIB, Highest), Some(63 * MIB)),
        (limits(0, 32 * MIB + 0x7800, 16, Highest), Some(32 * MIB)),
        (limits(64 * MIB, all, 1, Highest), Option::None),
        (limits(64 * MIB, all, 1, Lowest), Option::None),
        (limits(8 * MIB, 8 * MIB, 1, None), Option::None),
    ] {
        let mut image = read(&kernel(HIGH).build()).expect("a good kernel");
        let (mut map, before) = (memory(), image.clone());
        let free = map.usable();
        let result = image.place_within(&limits, &mut map);
        let Some(base) = expected else {
            let error = result.expect_err("no room");
            assert_eq!((error.entry().code, &image), ("10U", &before));
            assert_eq!(map.usable(), free);
            continue;
        };
        assert_eq!(result, Ok(physical(base)), "{limits:x?}");
        assert_eq!(image.start().as_u64(), base);
        assert_eq!(image.entry().as_u64(), base + 0x10);
        assert_eq!(image.segments()[1].start.as_u64(), base + 0x2800);
        assert_eq!(map.usable(), free - 0x8000);
        assert_eq!(kind_at(&map, base), Some(MemoryKind::Kernel));
        assert_eq!(kind_at(&map, base + 0x7FFF), Some(MemoryKind::Kernel));
    }
    let error = MemoryConflict::NoRoom {
        size: 0x7800,
        min: physical(1),
        max: physical(2),
        largest: 0,
    };
    assert_eq!(
        error.to_string(),
        "0x7800 bytes between 0x1 and 0x2, free in one piece: 0x0"
    );
}

/// Name, kind, address, offset and size of a section.
fn section(is_64_bit: bool, kind: u32, address: u64, offset: u64, size: u64) -> Vec<u8> {
    let mut bytes = [7_u32, kind].map(u32::to_le_bytes).concat();
    for word in [0, address, offset, size] {
        if is_64_bit {
            bytes.extend(word.to_le_bytes());
        } else {
            bytes.extend((word as u32).to_le_bytes());
        }
    }
    bytes.resize(if is_64_bit { 64 } else { 40 }, 0xEE);
    bytes
}

fn within(start: u64, end: u64) -> Result<Option<(FileOffset, FileOffset)>, KernelError> {
    Ok(Some((FileOffset::new(start), FileOffset::new(end))))
}

#[test]
fn sections_that_are_not_loaded_yet() {
    const NULL: u32 = 0;
    const PROGBITS: u32 = 1;
    const SYMTAB: u32 = 2;
    const STRTAB: u32 = 3;
    const NOBITS: u32 = 8;

    for is_64_bit in [false, true] {
        let headers = |address| {
            [
                section(is_64_bit, NULL, 0, 0, 0),
                section(is_64_bit, PROGBITS, MIB, 0x1000, 0x100),
                section(is_64_bit, NOBITS, 0, 0x10, 0x1_0000),
                section(is_64_bit, SYMTAB, address, 0x2010, 0x30),
                section(is_64_bit, PROGBITS, 0, 0x10, 0),
                section(is_64_bit, STRTAB, address - 8, 0x2008, 5),
            ]
            .concat()
        };
        let entry_size = if is_64_bit { 64 } else { 40 };
        let mut table = headers(0x8);
        // One section has no address, because 8 - 8 is 0.
        let span = unloaded_sections(&table, entry_size, 0x3000);
        assert_eq!(span, within(0x2008, 0x200D));
        place_sections(
            &mut table,
            entry_size,
            FileOffset::new(0x2008),
            PhysAddr::new(0x5008),
        );
        let mut expected = headers(0x8);
        let at = 5 * usize::from(entry_size) + if is_64_bit { 16 } else { 12 };
        expected[at..at + 2].copy_from_slice(&[0x08, 0x50]);
        assert_eq!(table, expected);

        let both = [
            section(is_64_bit, SYMTAB, 0, 0x2010, 0x30),
            section(is_64_bit, STRTAB, 0, 0x2008, 5),
        ]
        .concat();
        let span = unloaded_sections(&both, entry_size, 0x2040);
        assert_eq!(span, within(0x2008, 0x2040));
        let error = KernelError::Truncated {
            needed: 0x2040,
            present: 0x203F,
        };
        assert_eq!(unloaded_sections(&both, entry_size, 0x203F), Err(error));
        assert_eq!(unloaded_sections(&[], entry_size, 0), Ok(None));
    }
    assert_eq!(unloaded_sections(&[1; 100], 0, 0), Ok(None));
}

#[test]
fn where_the_section_headers_are() {
    const OFFSET: usize = 40; // e_shoff
    const COUNTS: usize = 58; // e_shentsize, e_shnum, e_shstrndx

    let mut file = kernel(0).build();
    let offset = file.len() as u64;
    file[OFFSET..OFFSET + 8].copy_from_slice(&offset.to_le_bytes());
    file[COUNTS..]
        .split_at_mut(6)
        .0
        .copy_from_slice(&[64, 0, 3, 0, 2, 0]);
    let error = KernelError::Truncated {
        needed: offset + 3 * 64,
        present: offset,
    };
    refuse(&file, error);
    file.resize(file.len() + 3 * 64, 0);
    let table = SectionTable {
        offset: FileOffset::new(offset),
        entry_size: 64,
        count: 3,
        names: 2,
    };
    assert_eq!(read(&file).map(|image| image.sections()), Ok(Some(table)));
    file[COUNTS] = 40;
    refuse(&file, KernelError::HeaderSize { size: 40 });
}

proptest! {
    /// Whatever is in the headers, the result is an error, or an image that keeps its promises.
    #[test]
    fn any_bytes_in_the_headers(
        is_64_bit: bool,
        changes in proptest::collection::vec((0_usize..300, any::<u8>()), 0..6),
        length in 0_usize..0x4000,
    ) {
        let elf = kernel(HIGH);
        let mut file = if is_64_bit { elf.build() } else { elf.build_32() };
        for (at, byte) in changes {
            file[at] = byte;
        }
        file.truncate(length.max(300));
        if let Ok(image) = read(&file) {
            prop_assert!(!image.segments().is_empty());
            let inside = |at| image.segments().iter().any(|s| (s.start..s.end()).contains(&at));
            prop_assert!(inside(image.entry()));
            for pair in image.segments().windows(2) {
                prop_assert!(pair[0].end() <= pair[1].start);
            }
            for segment in image.segments() {
                prop_assert!(segment.file_size <= segment.memory_size);
                prop_assert!(segment.end().as_u64() <= 4 << 30);
                prop_assert!(segment.file_offset + segment.file_size <= FileOffset::new(file.len() as u64));
            }
        }
    }

    /// Only free memory is taken, and all that the kernel needs.
    #[test]
    fn placing(
        starts in proptest::collection::vec((0_u64..0x110, 0_u64..4096, 1_u64..0x3000), 1..5),
        marks in proptest::collection::vec((0_u64..0x110, 1_u64..0x10), 0..4),
    ) {
        let elf = starts.iter().fold(Elf::new(ET_EXEC, 0), |elf, &(page, offset, size)| {
            let start = page * 4096 + offset;
            elf.with(ProgramHeader::load(R, start, vec![1], size))
        });
        let entry = elf.program_headers[0].virtual_address;
        let elf = Elf { entry, ..elf };
        let Ok(mut image) = read(&elf.build()) else {
            return Ok(());
        };
        let mut map = memory();
        for (page, count) in marks {
            map.mark(physical(page * 4096), physical((page + count) * 4096), MemoryKind::Bad);
        }
        let segments = image.segments().to_vec();
        let pages = || segments.iter().flat_map(|segment| {
            let (start, end) = (segment.start.as_u64(), segment.end().as_u64());
            (start / 4096..end.div_ceil(4096)).map(|page| page * 4096)
        });
        let is_ram = |kind| matches!(kind, Some(MemoryKind::Usable | MemoryKind::Reclaimable));
        let free = image.start().as_u64() >= 0x500 && pages().all(|page| is_ram(kind_at(&map, page)));
        let before = map.regions().to_vec();
        prop_assert_eq!(image.place(&mut map).is_ok(), free);
        if free {
            prop_assert!(pages().all(|page| kind_at(&map, page) == Some(MemoryKind::Kernel)));
        } else {
            prop_assert_eq!(map.regions(), before);
        }
    }
}
