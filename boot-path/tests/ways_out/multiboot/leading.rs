//! Segments that begin with the file's own headers.

use boot_path::memory::map::{MemoryKind, MemoryMap};

use super::elf::{MIB, kind_at, memory, physical, read};
use crate::elf_fixture::{ET_EXEC, Elf, ProgramHeader, R, X};

/// A PT_LOAD with the first bytes of the file.
fn first_bytes(address: u64, size: u64) -> ProgramHeader {
    ProgramHeader {
        offset: Some(0),
        file_size: Some(size),
        ..ProgramHeader::load(R, address, Vec::new(), size)
    }
}

/// Code at a page, and in front of it the file's headers, as linkers put them there.
fn behind_headers(page: u64, size: u64) -> Elf {
    Elf::new(ET_EXEC, page)
        .with(first_bytes(page - 0x1000, size))
        .with(ProgramHeader::load(R | X, page, vec![0xF4; 0x800], 0x2800))
}

/// Places a file's segments; start and file offset of each.
fn placed(file: &[u8], map: &mut MemoryMap) -> Result<Vec<(u64, u64)>, String> {
    let mut image = read(file).expect("a good kernel");
    let before = (map.regions().to_vec(), image.segments().to_vec());
    if let Err(error) = image.place(map) {
        assert_eq!(
            (map.regions().to_vec(), image.segments().to_vec()),
            before,
            "nothing is taken, and nothing left out"
        );
        return Err(error.to_string());
    }
    for segment in image.segments() {
        let (start, last) = (segment.start.as_u64(), segment.end().as_u64() - 1);
        for address in [start, last] {
            assert_eq!(kind_at(map, address), Some(MemoryKind::Kernel));
        }
    }
    let segments = image.segments().iter();
    let places = segments.map(|segment| (segment.start.as_u64(), segment.file_offset.as_u64()));
    Ok(places.collect())
}

#[test]
fn headers_where_no_memory_is_free() {
    let hole = 15 * MIB;
    // Below 1 MiB, and in a hole; then in free memory.
    for (page, kept) in [(MIB, false), (hole + MIB, false), (2 * MIB, true)] {
        for size in [0x40, 0xB0, 0x100, 0x1000] {
            let elf = behind_headers(page, size);
            for file in [elf.build(), elf.build_32()] {
                let mut map = memory();
                map.mark(physical(hole), physical(hole + MIB), MemoryKind::Reserved);
                let mut expected = vec![(page, 0x1000)];
                if kept {
                    expected.insert(0, (page - 0x1000, 0));
                }
                assert_eq!(placed(&file, &mut map), Ok(expected), "{page:x} {size:x}");
            }
        }
    }
    // Page 0, with code in the page behind it.
    let file = behind_headers(0x1000, 0xB0).build();
    assert_eq!(placed(&file, &mut memory()), Ok(vec![(0x1000, 0x1000)]));
}

/// Headers, code and a bss in one segment, as older linkers make them.
#[test]
fn headers_and_code_in_one_segment() {
    let merged = |first_page_of_code: u8| {
        let mut code = vec![first_page_of_code; 0x1000];
        code.extend([0xF4; 0x100]);
        let elf = Elf::new(ET_EXEC, MIB + 0x1000)
            .with(first_bytes(MIB - 0x1000, 0x2100))
            .with(ProgramHeader::note(vec![7; 40]));
        let mut file = elf.build();
        assert!(file.len() < 0x1000);
        file.resize(0x1000, 0);
        file.extend(code);
        file[64 + 40..64 + 48].copy_from_slice(&0x9000_u64.to_le_bytes()); // p_memsz
        file
    };
    // A first page of zeroes belongs to the code, too.
    for first in [0x90, 0] {
        let file = merged(first);
        assert_eq!(placed(&file, &mut memory()), Ok(vec![(MIB, 0x1000)]));
        let mut image = read(&file).expect("a good kernel");
        let contents = image.segments()[0].contents();
        image.place(&mut memory()).expect("there is room");
        assert_eq!(image.segments()[0].contents(), contents);
        assert_eq!(image.end().as_u64(), MIB + 0x8000);
    }
}

#[test]
fn contents_behind_headers_are_not_left_out() {
    let in_the_way = "segment 0, 0xff000 to 0x100000: no RAM";
    let file = behind_headers(MIB, 0x1000).build();
    for at in [64 + 2 * 56, 0x800, 0xFFF] {
        let mut file = file.clone();
        file[at] = 1;
        assert_eq!(placed(&file, &mut memory()), Err(in_the_way.into()), "{at}");
    }
    // A bss, and an entry point.
    let mut with_bss = behind_headers(MIB, 0xFF0);
    with_bss.program_headers[0].memory_size = 0x1000;
    let entered = Elf {
        entry: MIB - 0x100,
        ..behind_headers(MIB, 0x1000)
    };
    for elf in [with_bss, entered] {
        assert_eq!(placed(&elf.build(), &mut memory()), Err(in_the_way.into()));
    }
    // Bytes that do not begin with headers.
    let mut zeroes = behind_headers(MIB, 0x1000);
    zeroes.program_headers[0].offset = None;
    zeroes.program_headers[0].data = vec![0; 0x1000];
    assert_eq!(
        placed(&zeroes.build(), &mut memory()),
        Err(in_the_way.into())
    );
}
