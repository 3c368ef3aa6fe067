//! The headers of version 1 and 2.

const MAGIC_2: u32 = 0xE852_50D6;

const LENGTH_2: u32 = size_of::<Header2>() as u32;

/// The header of version 2. The test replaces the unknown tag by others.
#[repr(C, align(8))]
struct Header2 {
    magic: [u32; 4],
    /// Information request, not optional: all types that a loader on a BIOS can provide.
    request: [u32; 2],
    kinds: [u32; 14],
    /// Console flags: a console is required, and EGA text is supported.
    console: [u32; 4],
    /// Framebuffer, not optional: no depth, which is a text mode.
    framebuffer: [u32; 6],
    modules: [u32; 2],
    /// EFI boot services: meaningless on a BIOS.
    efi: [u32; 2],
    spare: [u32; 14],
    end: [u32; 2],
}

#[used]
#[unsafe(link_section = ".multiboot2")]
static HEADER_2: Header2 = Header2 {
    magic: [MAGIC_2, 0, LENGTH_2, 0_u32.wrapping_sub(MAGIC_2 + LENGTH_2)],
    request: [1, 8 + 13 * 4],
    kinds: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 13, 14, 15, 0],
    console: [4, 12, 3, 0],
    framebuffer: [5, 20, 80, 25, 0, 0],
    modules: [6, 8],
    efi: [7, 8],
    spare: [0xB007 | 1 << 16, 14 * 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    end: [0, 8],
};

const MAGIC_1: u32 = 0x1BAD_B002;

/// Modules at pages, memory information, a video mode; and a bit that may be ignored.
const FLAGS_1: u32 = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 20;

/// The header of version 1: no addresses (the test fills them in), EGA text of 80 by 25.
#[used]
#[unsafe(link_section = ".multiboot1")]
static HEADER_1: [u32; 12] = [
    MAGIC_1,
    FLAGS_1,
    0_u32.wrapping_sub(MAGIC_1 + FLAGS_1),
    0,
    0,
    0,
    0,
    0,
    1,
    80,
    25,
    0,
];
