//! Kernels with a Multiboot header: header, ELF headers or addresses, sections, place in memory.

use boot_path::memory::address::PhysAddr;
use boot_path::memory::layout::{EARLY_REACH, PAGE_SIZE};
use boot_path::memory::map::{MIB, MemoryKind, MemoryMap, Region};
use boot_path::position::FileOffset;
use boot_path::ways_out::multiboot::elf::{MemoryConflict, PhysicalImage, Preference};
use boot_path::ways_out::multiboot::header::{Header, Version, check_file};

use crate::elf_fixture::{ET_EXEC, Elf, PT_LOAD, ProgramHeader};
use crate::input::Input;
use crate::targets::show;

/// The input: a file; or, when the first byte is odd, what to make one of.
pub fn run(version: Version, bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let made;
    let file = if input.u8() & 1 == 0 {
        input.rest()
    } else {
        made = make(version, &mut input);
        &made
    };
    let parsed = Header::parse(version, file);
    if let Ok(header) = &parsed {
        check_header(header);
    }
    match check_file(version, file) {
        Ok((header, image)) => {
            assert_eq!(parsed, Ok(header));
            check_image(&image, file.len() as u64);
            place(&header, image);
        }
        Err(error) => {
            show(&error);
        }
    }
}

/// A file with a header whose sum is right, in a good or a strange ELF file or in none.
fn make(version: Version, input: &mut Input<'_>) -> Vec<u8> {
    let kind = input.u8();
    let header = make_header(version, input);
    if kind & 3 == 0 {
        return [&header, input.rest()].concat();
    }
    let mut start = || match input.u8() & 3 {
        0 => input.border(),
        1 => u64::from(input.u16()) << 8,
        _ => MIB + (u64::from(input.u16()) << 4),
    };
    let distance = if kind & 4 == 0 {
        0
    } else {
        0xFFFF_FFFF_8000_0000
    };
    let first = start();
    let mut elf = Elf::new(ET_EXEC, first.wrapping_add(distance));
    for number in 0..u64::from(kind >> 4 & 7) + 1 {
        let address = if number == 0 { first } else { start() };
        let data = if number == 0 {
            header.clone()
        } else {
            vec![0xF4; 64 << number]
        };
        elf = elf.with(ProgramHeader {
            kind: PT_LOAD,
            virtual_address: address.wrapping_add(distance),
            physical_address: address,
            memory_size: data.len() as u64 + (number << 9),
            alignment: 8,
            data,
            ..ProgramHeader::default()
        });
    }
    if kind & 8 == 0 {
        elf.build()
    } else {
        elf.build_32()
    }
}

/// A header whose sum is right.
fn make_header(version: Version, input: &mut Input<'_>) -> Vec<u8> {
    let count = usize::from(input.u8() % 32);
    let mut words = match version {
        Version::One => vec![0x1BAD_B002, input.u32() & 0x0001_0007, 0],
        Version::Two => vec![0xE852_50D6, 0, 0, 0],
    };
    for _ in 0..count {
        words.push(match input.u8() {
            0x80 => input.u32(),
            0x81 => MIB as u32 + u32::from(input.u16()),
            0x82 => u32::from(input.u8()) | 1 << 16,
            small => small.into(),
        });
    }
    if version == Version::Two {
        words.extend([0, 8]);
        words[2] = 4 * words.len() as u32;
    }
    let last = if version == Version::One { 2 } else { 3 };
    words[last] = 0;
    let sum = words[..last].iter().fold(0, |a: u32, b| a.wrapping_add(*b));
    words[last] = sum.wrapping_neg();
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn check_header(header: &Header) {
    assert_eq!(header.offset.as_u64() % 4, 0);
    if let Some(addresses) = header.addresses {
        assert!(header.entry.is_some());
        assert!(addresses.file_offset <= header.offset);
        let mut before = addresses.start;
        for end in [addresses.file_end, addresses.end].into_iter().flatten() {
            assert!(before <= end);
            before = end;
        }
    }
    if let Some(limits) = header.limits {
        assert!(limits.align.is_power_of_two() && limits.min <= limits.max);
    }
}

fn check_image(image: &PhysicalImage, file_size: u64) {
    let segments = image.segments();
    assert!(!segments.is_empty());
    assert!(
        segments
            .iter()
            .any(|segment| (segment.start..segment.end()).contains(&image.entry()))
    );
    for pair in segments.windows(2) {
        assert!(pair[0].end() <= pair[1].start);
    }
    for segment in segments {
        assert!(segment.memory_size > 0 && segment.file_size <= segment.memory_size);
        assert!(segment.unneeded <= segment.file_size);
        let contents = segment.contents();
        assert!(
            contents.memory_size == 0
                || contents.start.is_aligned(PAGE_SIZE)
                || segment.unneeded == 0
        );
        assert!(!(segment.start..contents.start).contains(&image.entry()));
        assert!(
            segment.file_size == 0
                || segment.file_offset + segment.file_size <= FileOffset::new(file_size)
        );
        assert!(segment.end() <= EARLY_REACH);
    }
}

/// A machine with 64 MiB, of which the loader has its part.
fn memory() -> MemoryMap {
    let mut memory = MemoryMap::new();
    for edges in [[0, 0xA_0000], [MIB, 64 * MIB]] {
        let [start, end] = edges.map(PhysAddr::new);
        memory.add(Region {
            start,
            end,
            kind: MemoryKind::Usable,
        });
    }
    memory.finish(0xA_0000);
    let [start, end] = [PAGE_SIZE, 0x6_0000].map(PhysAddr::new);
    memory.mark(start, end, MemoryKind::Reclaimable);
    memory
}

/// Nothing has changed. But if bytes find no room to wait, their places are taken already: the error
/// names the loader, unless a relocatable kernel was to stay where it is.
fn check_refused(
    header: &Header,
    image: &PhysicalImage,
    error: &MemoryConflict,
    linked: PhysAddr,
    after: &MemoryMap,
) {
    let names_loader = matches!(error, MemoryConflict::Taken { by: Some(region), .. }
        if region.kind == MemoryKind::Reclaimable);
    let bytes: u64 = image.segments().iter().map(|it| it.memory_size).sum();
    let is_small = bytes < 16 * MIB && image.file_bytes() < MIB;
    assert!(!(names_loader && is_small), "there is room to wait");
    if is_small || !names_loader && header.limits.is_none() {
        assert_eq!(after.regions(), memory().regions());
        assert_eq!(image.start(), linked);
    }
}

/// Only free memory is taken, or the loader's, and the kernel lies in it.
fn place(header: &Header, mut image: PhysicalImage) {
    let (mut memory, before) = (memory(), memory());
    let linked = (image.start(), image.entry());
    let result = match header.limits {
        None => image.place(&mut memory).map(|()| image.start()),
        Some(limits) => image.place_within(&limits, &mut memory).inspect(|&base| {
            assert!(limits.min <= base && image.end() <= limits.max);
            let stays = limits.preference == Preference::None && base == linked.0;
            assert!(stays || base.as_u64() % limits.align == 0);
        }),
    };
    let base = match result {
        Ok(base) => base,
        Err(error) => {
            show(&error);
            check_refused(header, &image, &error, linked.0, &memory);
            assert_eq!(image.entry(), linked.1);
            return;
        }
    };
    assert_eq!(base, image.start());
    if header.limits.is_none() {
        // Nothing has moved, but the file's own headers may have been left out.
        assert!(linked.0 <= base && base <= linked.1 && image.entry() == linked.1);
    } else {
        assert_eq!(image.entry() - base, linked.1 - linked.0);
    }
    let is = |memory: &MemoryMap, start: PhysAddr, end: PhysAddr, kind| {
        let mut regions = memory.regions().iter();
        regions.any(|r| r.start <= start && end <= r.end && r.kind == kind)
    };
    let loader = PhysAddr::new(0x6_0000);
    for segment in image.segments() {
        let (start, end) = (segment.start, segment.end());
        assert!(start.as_u64() >= 0x500);
        // Where the loader is, the bytes go last; until then they wait elsewhere.
        assert_eq!(segment.waiting.is_some(), start < loader, "{start:x}");
        let rest = start.max(loader);
        assert!(
            end <= rest || is(&before, rest, end, MemoryKind::Usable),
            "{start:x}"
        );
        assert!(is(&memory, start, end, MemoryKind::Kernel), "{start:x}");
        if segment.waiting.is_some() {
            let (from, to) = (segment.loaded_at(), segment.loaded_at() + segment.file_size);
            assert!(is(&before, from, to, MemoryKind::Usable), "{from:x}");
            assert!(
                from == to || is(&memory, from, to, MemoryKind::Reclaimable),
                "{from:x}"
            );
        }
    }
    image.zeroes(|start, end| assert!(start <= end && end <= image.end()));
}
