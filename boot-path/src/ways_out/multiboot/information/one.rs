//! The information of version 1: a structure, and the data that it points to.

use core::mem::offset_of;

use bit_field::BitField as _;
use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, FromZeros as _, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::memory::map::Region;
use crate::ways_out::multiboot::information::writer::Writer;
use crate::ways_out::multiboot::information::{
    ALIGNMENT, Framebuffer, Information, MODULE_BYTES, Screen, Vbe, basic_memory, ends, take_region,
};

/// Bytes of a region in the memory map: start, length, type. This number precedes each region.
const MEMORY_ENTRY_BYTES_1: u32 = 20;

/// The structure of version 1.
#[derive(FromBytes, KnownLayout, IntoBytes, Immutable, Unaligned)]
#[repr(C)]
struct Information1 {
    flags: U32,
    memory: [U32; 2],
    boot_device: [u8; 4],
    command_line: U32,
    module_count: U32,
    modules: U32,
    section_count: U32,
    section_size: U32,
    sections: U32,
    section_names: U32,
    memory_map_length: U32,
    memory_map: U32,
    drives: [U32; 2],
    config_table: U32,
    loader: U32,
    apm: U32,
    /// Addresses of VbeInfoBlock and ModeInfoBlock.
    vbe_blocks: [U32; 2],
    vbe: Vbe,
    framebuffer: Framebuffer,
    /// In the specification's C header, what follows is a union that contains 32-bit fields. The
    /// table in its text does not have these two bytes, but kernels are compiled with the header.
    alignment: [u8; 2],
    color_info: [u8; 6],
    /// The end of the union.
    rest: [u8; 2],
}

const _: () = assert!(offset_of!(Information1, color_info) == 112);
const _: () = assert!(size_of::<Information1>() == 120);

/// Bits of the flags of version 1.
mod flag {
    pub const MEMORY: usize = 0;
    pub const BOOT_DEVICE: usize = 1;
    pub const COMMAND_LINE: usize = 2;
    pub const MODULES: usize = 3;
    pub const SECTIONS: usize = 5;
    pub const MEMORY_MAP: usize = 6;
    pub const LOADER: usize = 9;
    pub const APM: usize = 10;
    pub const VBE: usize = 11;
    pub const FRAMEBUFFER: usize = 12;
}

/// Writes the information of version 1 to `bytes`, which lie at the physical address `base`, a
/// multiple of 8. Returns its length. `None`: the information does not fit.
pub fn multiboot1(info: &Information<'_>, bytes: &mut [u8], base: u32) -> Option<usize> {
    let mut out = Writer::new(bytes, base);
    let mut head = Information1::new_zeroed();
    let mut flags = 0_u32;
    out.room(size_of::<Information1>());

    flags.set_bit(flag::MEMORY, true);
    head.memory = basic_memory(info.memory).map(U32::new);
    if let Some(drive) = info.drive {
        flags.set_bit(flag::BOOT_DEVICE, true);
        let partition = info.partition.checked_sub(1).unwrap_or(0xFF);
        head.boot_device = [0xFF, 0xFF, partition, drive];
    }

    flags.set_bit(flag::COMMAND_LINE, true);
    head.command_line = out.address().into();
    out.command_line(info.entry);
    flags.set_bit(flag::LOADER, true);
    head.loader = out.address().into();
    out.text(info.loader);

    flags.set_bit(flag::MODULES, true);
    put_modules(&mut out, info, &mut head);
    if let Some(sections) = info.sections {
        flags.set_bit(flag::SECTIONS, true);
        let [count, size, names] = sections.numbers().map(U32::new);
        (head.section_count, head.section_size, head.section_names) = (count, size, names);
        out.align(ALIGNMENT);
        head.sections = out.address().into();
        out.put(sections.headers);
    }
    flags.set_bit(flag::MEMORY_MAP, true);
    put_memory_map(&mut out, info.memory, &mut head);
    if let Some(apm) = info.apm {
        flags.set_bit(flag::APM, true);
        out.align(ALIGNMENT);
        head.apm = out.address().into();
        out.put(apm.as_bytes());
    }
    if let Some(screen) = &info.screen {
        flags.set_bit(flag::FRAMEBUFFER, true);
        flags.set_bit(flag::VBE, matches!(screen, Screen::Graphics { .. }));
        put_screen(&mut out, screen, &mut head);
    }
    head.flags = flags.into();
    out.put_at(0, head.as_bytes());
    out.finish()
}

fn put_modules(out: &mut Writer<'_>, info: &Information<'_>, head: &mut Information1) {
    let count = info.modules.len().min(info.entry.modules().count());
    head.module_count = (count as u32).into();
    out.align(ALIGNMENT);
    head.modules = out.address().into();
    let table = out.length;
    out.room(count * MODULE_BYTES);
    for (index, (module, loaded)) in info.entry.modules().zip(info.modules).enumerate() {
        let text = out.address();
        out.path_and_text(module.path, module.string);
        let [start, end] = ends(loaded);
        let words = [start, end, text].map(U32::new);
        out.put_at(table + index * MODULE_BYTES, words.as_bytes());
    }
}

fn put_memory_map(out: &mut Writer<'_>, mut memory: &[Region], head: &mut Information1) {
    out.align(ALIGNMENT);
    head.memory_map = out.address().into();
    let start = out.length;
    while let Some((start, end, kind)) = take_region(&mut memory) {
        // The size precedes the region.
        out.word(MEMORY_ENTRY_BYTES_1);
        out.quadword(start);
        out.quadword(end - start);
        out.word(kind);
    }
    head.memory_map_length = (out.length.saturating_sub(start) as u32).into();
}

fn put_screen(out: &mut Writer<'_>, screen: &Screen<'_>, head: &mut Information1) {
    (head.framebuffer, head.color_info) = Framebuffer::of(screen);
    if let Screen::Graphics {
        mode,
        controller,
        info,
        interface,
    } = screen
    {
        head.vbe = Vbe::of(mode, *interface);
        for (address, block) in head.vbe_blocks.iter_mut().zip([controller, info]) {
            out.align(ALIGNMENT);
            *address = out.address().into();
            out.put(block);
        }
    }
}
