//! A Linux kernel's setup header: where it is put, and what it is told.

use boot_path::entry::protocol::{LinuxEntry, Protocol};
use boot_path::memory::layout::EARLY_REACH;
use boot_path::memory::map::{MIB, MemoryKind, MemoryMap, Region};
use boot_path::ways_out::linux::image::{HEADER, HEADER_ROOM, Initrd, LinuxImage, PlaceError};

use super::show;
use crate::input::Input;

/// The input: the file's size (8 bytes), bytes of initial RAM disk (8), a page where a hole in memory
/// begins (8), length of the command line (8), and the file from its setup header on.
pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let (size, modules) = (input.u64(), input.u64());
    let (hole, command_line) = ((input.u64() % (8 << 18)) << 12, input.u64() % 20_000);
    let file = input.rest();
    // A file that is shorter than this is refused for its size alone.
    let mut head = [0; HEADER_ROOM];
    let length = file.len().min(HEADER_ROOM - HEADER);
    head[HEADER..][..length].copy_from_slice(&file[..length]);
    let head = &head[..];

    let image = match LinuxImage::read(head, size) {
        Ok(image) => image,
        Err(error) => {
            show(&error);
            return;
        }
    };
    // Written from boot.rst, not from the code under test.
    let number = |at: usize, length: usize| -> u64 {
        let bytes = head.get(at..at + length).unwrap_or_default();
        bytes
            .iter()
            .rev()
            .fold(0, |n, &byte| n << 8 | u64::from(byte))
    };
    let end = 0x202 + number(0x201, 1) as usize;
    let field = |since: u64, at: usize, length: usize| {
        let known = number(0x206, 2) >= since && at + length <= end;
        known.then(|| number(at, length))
    };
    assert_eq!(Protocol::by_magic(head), Protocol::Linux(None));
    assert!(number(0x206, 2) >= 0x202 && number(0x211, 1) & 1 == 1);
    let sectors = [number(0x1F1, 1), 4][usize::from(number(0x1F1, 1) == 0)];
    assert_eq!(image.setup_bytes() as u64, 512 * (sectors + 1));
    assert!(image.setup_bytes() <= 0x8000 && image.setup_bytes() as u64 <= size);

    let limit = match number(0x206, 2) {
        0x206.. => field(0x206, 0x238, 4).unwrap_or(0),
        _ => 255,
    };
    match image.check_command_line(command_line as usize) {
        Ok(()) => assert!(command_line <= limit),
        Err(error) => {
            show(&error);
            assert!(command_line > limit);
        }
    }
    let long_mode = field(0x20C, 0x236, 2).is_some_and(|flags| flags & 1 != 0);
    assert_eq!(image.entry(Some(LinuxEntry::Bits64)).is_ok(), long_mode);
    assert!(image.entry(None).is_ok());

    let mut memory = MemoryMap::new();
    for (start, end, kind) in [
        (0, 0xA_0000, MemoryKind::Usable),
        (MIB, 3 << 30, MemoryKind::Usable),
        (4 << 30, 6 << 30, MemoryKind::Usable),
        (hole, hole + 0x10_0000, MemoryKind::Reserved),
    ] {
        memory.add(Region { start, end, kind });
    }
    memory.finish(0x9_F000);
    let free = |memory: &MemoryMap, start: u64, end: u64| {
        let mut regions = memory.regions().iter();
        regions.any(|r| r.kind == MemoryKind::Usable && r.start <= start && end <= r.end)
    };
    let before = MemoryMapCopy::of(&memory);
    let placed = match image.place(&mut memory) {
        Ok(placed) => placed,
        Err(PlaceError::Memory(error)) => {
            show(&error);
            return;
        }
        Err(PlaceError::NotFree(error)) => {
            show(&error);
            return;
        }
    };
    let kernel_end = placed.start + placed.length;
    assert!(placed.start >= MIB && kernel_end <= EARLY_REACH);
    assert!(before.is_free(placed.start, kernel_end));
    assert!(!free(&memory, placed.start, placed.start + 1));
    if let Some(init_size) = field(0x20A, 0x260, 4) {
        let running = match image.relocatable() {
            true => placed.start,
            false => match field(0x20A, 0x258, 8) {
                Some(address) if address != 0 => address,
                _ => MIB,
            },
        };
        assert!(before.is_free(running, running + init_size));
    }
    let initrd = match image.place_initrd(modules, &mut memory) {
        Ok(initrd) => initrd,
        Err(error) => {
            show(&error);
            Initrd::default()
        }
    };
    if initrd.size != 0 {
        let end = initrd.start + initrd.size;
        assert!(initrd.start.is_multiple_of(4096) && initrd.start >= MIB && end <= EARLY_REACH);
        assert!(
            end - 1
                <= field(0x203, 0x22C, 4)
                    .unwrap_or(0x37FF_FFFF)
                    .max(limit_of_old(number(0x206, 2)))
        );
        assert!(before.is_free(initrd.start, end));
        assert!(end <= placed.start || initrd.start >= kernel_end);
    }
    let mut page = [0xC5; 4096];
    image.fill_header(&placed, initrd, true, &mut page);
    assert!(
        page[..HEADER]
            .iter()
            .chain(&page[end.max(0x26C)..])
            .all(|&byte| byte == 0xC5)
    );
}

/// Kernels before 2.03 do not say where their RAM disk may be.
fn limit_of_old(version: u64) -> u64 {
    if version < 0x203 { 0x37FF_FFFF } else { 0 }
}

/// What was free before.
struct MemoryMapCopy(Vec<Region>);

impl MemoryMapCopy {
    fn of(memory: &MemoryMap) -> Self {
        Self(memory.regions().to_vec())
    }

    fn is_free(&self, start: u64, end: u64) -> bool {
        let mut regions = self.0.iter();
        start >= end
            || regions.any(|r| r.kind == MemoryKind::Usable && r.start <= start && end <= r.end)
    }
}
