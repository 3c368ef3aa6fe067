//! What of a kernel's memory is zeroed.

use boot_path::kernel::image::Wishes;
use boot_path::kernel::placement::Kernel;
use boot_path::memory::address::PhysAddr;
use boot_path::memory::map::{MemoryKind, MemoryMap, Region};

use crate::elf_fixture::{ET_EXEC, Elf, ProgramHeader, R, W, X};
use crate::image::{HIGH, MIB, accept};

/// All bytes of the segments' pages that do not come from the file, and no others: bytes in front of
/// a segment, behind it, pages that two segments share, but not the pages between two segments.
#[test]
fn the_rest_of_each_segments_pages() {
    let segments: [(u64, u64, u64); 5] = [
        (0x800, 0x100, 0x100),
        // In the page in which the first one is.
        (0xA00, 0x300, 0x300),
        // With zeroes up to the third page.
        (0x4010, 0x1000, 0x2800),
        // Far away, and without bytes in the file.
        (MIB, 0, 0x1800),
        // Directly behind.
        (MIB + 0x2000, 0x1000, 0x1000),
    ];
    let elf = segments.iter().fold(
        Elf::new(ET_EXEC, HIGH + 0x800),
        |elf, &(start, file, memory)| {
            let flags = if start < 0x1000 { R | X } else { R | W };
            let bytes = vec![1; file as usize];
            elf.with(ProgramHeader::load(flags, HIGH + start, bytes, memory))
        },
    );
    let (image, _) = accept(&elf);
    let mut memory = MemoryMap::new();
    memory.add(Region {
        start: PhysAddr::new(MIB),
        end: PhysAddr::new(64 * MIB),
        kind: MemoryKind::Usable,
    });
    memory.finish(0x9_F000);
    let segments = image.segments().len();
    let mut kernel = Kernel::new(image, Wishes::default());
    kernel
        .place(Vec::with_capacity(segments), &mut memory)
        .expect("there is room");
    let base = kernel.physical_start().align_down(0x1000);
    let mut zeroed = Vec::new();
    kernel.zeroes(|start, end| {
        if start < end {
            zeroed.push((start - base, end - base));
        }
    });
    assert_eq!(
        zeroed,
        [
            (0, 0x800),
            (0x900, 0xA00),
            (0xD00, 0x1000),
            (0x4000, 0x4010),
            (0x5010, 0x7000),
            (MIB, MIB + 0x2000),
        ]
    );
}
