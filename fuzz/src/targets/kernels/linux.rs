//! A Linux kernel's setup header: where the kernel is put, and what it is told.

use boot_path::entry::protocol::{LinuxEntry, Protocol};
use boot_path::memory::address::PhysAddr;
use boot_path::memory::layout::EARLY_REACH;
use boot_path::memory::map::{MIB, MemoryKind, MemoryMap, Region};
use boot_path::ways_out::linux::image::{
    HEADER, HEADER_ROOM, Initrd, LinuxImage, PlaceError, Placed, VIDEO_NORMAL,
};

use crate::input::Input;
use crate::targets::show;

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
    let expected = multiboot(head).unwrap_or(Protocol::Linux(None));
    assert_eq!(Protocol::by_magic(head, None), expected);
    let header = SetupHeader(head);
    check_image(&image, &header, size);
    check_command_line(&image, &header, command_line);

    let mut memory = memory_with_hole(hole);
    let before = MemoryMapCopy::of(&memory);
    let Some(placed) = place(&image, &header, &mut memory, &before) else {
        return;
    };
    let initrd = place_initrd(&image, modules, &mut memory);
    check_initrd(initrd, &header, &placed, &before);
    let mut page = [0xC5; 4096];
    image.fill_header(&placed, initrd, true, VIDEO_NORMAL, &mut page);
    assert!(
        page[..HEADER]
            .iter()
            .chain(&page[header.end().max(0x26C)..])
            .all(|&byte| byte == 0xC5)
    );
}

/// A Multiboot header takes precedence: words that begin with a magic number and sum up to 0 (both
/// specifications, 3.1.1).
fn multiboot(head: &[u8]) -> Option<Protocol> {
    let kinds = [
        (Protocol::Multiboot2, 0xE852_50D6, 8, 4),
        (Protocol::Multiboot1, 0x1BAD_B002, 4, 3),
    ];
    let found = kinds.into_iter().find(|&(_, magic, alignment, count)| {
        let (words, _) = head.as_chunks();
        let words: Vec<u32> = words.iter().map(|&word| u32::from_le_bytes(word)).collect();
        let mut places = words.windows(count).step_by(alignment / 4);
        places.any(|place| {
            place[0] == magic
                && place
                    .iter()
                    .fold(0_u32, |sum, word| sum.wrapping_add(*word))
                    == 0
        })
    });
    found.map(|(protocol, ..)| protocol)
}

/// The setup header as boot.rst has it, read without the code under test.
struct SetupHeader<'a>(&'a [u8]);

impl SetupHeader<'_> {
    fn number(&self, at: usize, length: usize) -> u64 {
        let bytes = self.0.get(at..at + length).unwrap_or_default();
        bytes
            .iter()
            .rev()
            .fold(0, |n, &byte| n << 8 | u64::from(byte))
    }

    fn version(&self) -> u64 {
        self.number(0x206, 2)
    }

    /// Where it ends.
    fn end(&self) -> usize {
        0x202 + self.number(0x201, 1) as usize
    }

    /// A field that exists since this version.
    fn field(&self, since: u64, at: usize, length: usize) -> Option<u64> {
        let known = self.version() >= since && at + length <= self.end();
        known.then(|| self.number(at, length))
    }
}

/// Checks what the image says of itself.
fn check_image(image: &LinuxImage, header: &SetupHeader<'_>, size: u64) {
    assert!(header.version() >= 0x202 && header.number(0x211, 1) & 1 == 1);
    let setup_sectors = header.number(0x1F1, 1);
    let sectors = [setup_sectors, 4][usize::from(setup_sectors == 0)];
    assert_eq!(image.setup_bytes() as u64, 512 * (sectors + 1));
    assert!(image.setup_bytes() <= 0x8000 && image.setup_bytes() as u64 <= size);
    let flags = header.field(0x20C, 0x236, 2);
    let long_mode = flags.is_some_and(|flags| flags & 1 != 0);
    let wanted = Some(LinuxEntry::Bits64);
    assert_eq!(image.entry(wanted, VIDEO_NORMAL).is_ok(), long_mode);
    let other = match header.version() {
        0x207.. if header.number(0x214, 4) != 0 => LinuxEntry::Bits32,
        _ => LinuxEntry::Bits16,
    };
    let entry = if long_mode { LinuxEntry::Bits64 } else { other };
    assert_eq!(image.entry(None, VIDEO_NORMAL), Ok(entry));
    assert_eq!(image.entry(None, 3), Ok(LinuxEntry::Bits16));
}

/// A command line is refused if it is too long, and only then.
fn check_command_line(image: &LinuxImage, header: &SetupHeader<'_>, length: u64) {
    let limit = match header.version() {
        0x206.. => header.field(0x206, 0x238, 4).unwrap_or(0),
        _ => 255,
    };
    match image.check_command_line(length as usize) {
        Ok(()) => assert!(length <= limit),
        Err(error) => {
            show(&error);
            assert!(length > limit);
        }
    }
}

/// A machine with memory below and above 4 GiB, and a MiB of it reserved.
fn memory_with_hole(hole: u64) -> MemoryMap {
    let mut memory = MemoryMap::new();
    for (start, end, kind) in [
        (0, 0xA_0000, MemoryKind::Usable),
        (MIB, 3 << 30, MemoryKind::Usable),
        (4 << 30, 6 << 30, MemoryKind::Usable),
        (hole, hole + 0x10_0000, MemoryKind::Reserved),
    ] {
        let [start, end] = [start, end].map(PhysAddr::new);
        memory.add(Region { start, end, kind });
    }
    memory.finish(0x9_F000);
    memory.round_to_pages();
    memory
}

/// Places the kernel where there was nothing, and where it can run.
fn place(
    image: &LinuxImage,
    header: &SetupHeader<'_>,
    memory: &mut MemoryMap,
    before: &MemoryMapCopy,
) -> Option<Placed> {
    let placed = match image.place(memory) {
        Ok(placed) => placed,
        Err(PlaceError::Memory(error)) => {
            show(&error);
            return None;
        }
        Err(PlaceError::NotFree(error)) => {
            show(&error);
            return None;
        }
    };
    let end = placed.start + placed.length;
    assert!(placed.start.as_u64() >= MIB && end <= EARLY_REACH);
    assert!(before.is_free(placed.start, end));
    assert!(!MemoryMapCopy::of(memory).is_free(placed.start, placed.start + 1));
    if let Some(init_size) = header.field(0x20A, 0x260, 4) {
        let running = match image.relocatable() {
            true => placed.start,
            false => match header.field(0x20A, 0x258, 8) {
                Some(address) if address != 0 => PhysAddr::new(address),
                _ => PhysAddr::new(MIB),
            },
        };
        assert!(before.is_free(running, running + init_size));
    }
    Some(placed)
}

fn place_initrd(image: &LinuxImage, size: u64, memory: &mut MemoryMap) -> Initrd {
    match image.place_initrd(size, memory) {
        Ok(initrd) => initrd,
        Err(error) => {
            show(&error);
            Initrd::default()
        }
    }
}

/// The initial RAM disk lies in free memory, as low as the kernel wants it, and apart from the
/// kernel.
fn check_initrd(initrd: Initrd, header: &SetupHeader<'_>, placed: &Placed, before: &MemoryMapCopy) {
    if initrd.size == 0 {
        return;
    }
    let end = initrd.start + initrd.size;
    assert!(initrd.start.is_aligned(4096) && initrd.start.as_u64() >= MIB && end <= EARLY_REACH);
    let highest = header.field(0x203, 0x22C, 4).unwrap_or(0x37FF_FFFF);
    assert!(end.as_u64() - 1 <= highest.max(limit_of_old(header.version())));
    assert!(before.is_free(initrd.start, end));
    assert!(end <= placed.start || initrd.start >= placed.start + placed.length);
}

/// Kernels of protocols before 2.03 do not say where their RAM disk may be.
fn limit_of_old(version: u64) -> u64 {
    if version < 0x203 { 0x37FF_FFFF } else { 0 }
}

/// The memory that was free before.
struct MemoryMapCopy(Vec<Region>);

impl MemoryMapCopy {
    fn of(memory: &MemoryMap) -> Self {
        Self(memory.regions().to_vec())
    }

    fn is_free(&self, start: PhysAddr, end: PhysAddr) -> bool {
        let mut regions = self.0.iter();
        start >= end
            || regions.any(|r| r.kind == MemoryKind::Usable && r.start <= start && end <= r.end)
    }
}
