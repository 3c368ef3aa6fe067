//! The boot information of version 1.

use core::sync::atomic::Ordering::Relaxed;

use zerocopy::FromBytes;

use crate::memory::{Uses, bytes, read, text};
use crate::memory_map::NO_MAP;
use crate::outcome::Checks;
use crate::parts::{check_disk, check_module, check_section};
use crate::report::{self, say};
use crate::screen::Framebuffer;
use crate::video::{STAY, check_framebuffer, check_vbe};

/// The boot information of version 1.
#[derive(FromBytes)]
#[repr(C)]
struct Information {
    flags: u32,
    lower: u32,
    upper: u32,
    boot_device: [u8; 4],
    command_line: u32,
    module_count: u32,
    modules: u32,
    sections: [u32; 4],
    map_length: u32,
    map: u32,
    drives: [u32; 2],
    config_table: u32,
    loader: u32,
    apm: u32,
    vbe_blocks: [u32; 2],
    vbe: [u16; 4],
    screen: [u32; 2],
    pitch: u32,
    width: u32,
    height: u32,
    bits_per_pixel: u8,
    screen_kind: u8,
    alignment: [u8; 2],
    colors: [u8; 6],
    rest: [u8; 2],
}

#[derive(FromBytes)]
#[repr(C, packed)]
struct MapEntry {
    size: u32,
    start: u64,
    length: u64,
    kind: u32,
}

/// The important words of an ELF64 or ELF32 section header: name, address, size.
fn section(start: u64, entry_size: u32) -> Option<(u32, u32, u64, u64)> {
    let [name, kind] = read::<[u32; 2]>(start)?;
    if entry_size == 64 {
        let [address, _, size] = read::<[u64; 3]>(start + 16)?;
        return Some((name, kind, address, size));
    }
    let [address, _, size] = read::<[u32; 3]>(start + 12)?;
    Some((name, kind, address.into(), size.into()))
}

/// Bits of the flags: those that are always set, …
const ALWAYS: u32 = 1 << 0 | 1 << 2 | 1 << 3 | 1 << 6 | 1 << 9;
/// … and those that may be.
const DISK: u32 = 1 << 1;
const SECTIONS: u32 = 1 << 5;
const VBE: u32 = 1 << 11;
const SCREEN: u32 = 1 << 12;
/// A kind of screen: pixels with direct colours.
const RGB: u8 = 1;

pub fn check_1(info: u64, checks: &mut Checks, uses: &mut Uses) {
    let Some(boot) = read::<Information>(info) else {
        checks.check("information", false);
        return;
    };
    say!("flags {:x}", boot.flags);
    checks.check(
        "flags",
        boot.flags & !(DISK | SECTIONS | SCREEN | VBE) == ALWAYS,
    );
    checks.check(
        "information's place",
        uses.add(info, size_of::<Information>() as u64),
    );
    let all = bytes(info, size_of::<Information>() as u64);
    report::bytes("information", all, &[]);
    check_name(&boot, checks, uses);
    let line = check_command_line(&boot, checks, uses);
    check_modules(&boot, checks, uses);
    let [part3, part2, part1, drive] = boot.boot_device;
    say!("drive {drive:x} {part1:x} {part2:x} {part3:x}");
    STAY.store(line.ends_with(" stay"), Relaxed);
    check_screen(&boot, checks, uses);
    check_sections(&boot, checks, uses);
    let unused = [boot.drives[0], boot.drives[1], boot.config_table, boot.apm];
    checks.check("unused fields", unused == [0; 4]);
    check_memory_map(&boot, checks, uses);
}

fn check_name(boot: &Information, checks: &mut Checks, uses: &mut Uses) {
    checks.check("loader's name", boot.loader != 0);
    let name = text(boot.loader.into()).unwrap_or("?");
    checks.check(
        "name's place",
        uses.add(boot.loader.into(), name.len() as u64 + 1),
    );
    say!("multiboot 1 by {name}");
}

fn check_command_line(boot: &Information, checks: &mut Checks, uses: &mut Uses) -> &'static str {
    let line = text(boot.command_line.into()).unwrap_or("?");
    check_disk(checks, boot.flags & DISK != 0, line);
    checks.check(
        "command line's place",
        uses.add(boot.command_line.into(), line.len() as u64 + 1),
    );
    say!("command line: {line}");
    line
}

fn check_modules(boot: &Information, checks: &mut Checks, uses: &mut Uses) {
    let count = u64::from(boot.module_count);
    checks.check("modules' table", uses.add(boot.modules.into(), 16 * count));
    for number in 0..count {
        let entry = read::<[u32; 4]>(u64::from(boot.modules) + 16 * number);
        let [start, end, string, zero] = entry.unwrap_or_default();
        let string_text = text(string.into()).unwrap_or("?");
        checks.check(
            "text's place",
            uses.add(string.into(), string_text.len() as u64 + 1),
        );
        checks.check("reserved", zero == 0);
        check_module(checks, uses, start.into(), end.into(), string_text);
    }
}

fn check_screen(boot: &Information, checks: &mut Checks, uses: &mut Uses) {
    if boot.flags & SCREEN == 0 {
        say!("no screen");
    } else if boot.screen_kind == RGB {
        let framebuffer = direct_color(boot);
        check_framebuffer(checks, &framebuffer);
        check_vbe_blocks(boot, &framebuffer, checks, uses);
    } else {
        check_text_mode(boot, checks);
    }
}

/// The framebuffer that the boot information describes.
fn direct_color(boot: &Information) -> Framebuffer {
    let [rp, rs, gp, gs, bp, bs] = boot.colors;
    Framebuffer {
        start: (u64::from(boot.screen[1]) << 32 | u64::from(boot.screen[0])) as *mut u8,
        pitch: boot.pitch as usize,
        width: boot.width as usize,
        height: boot.height as usize,
        bits_per_pixel: boot.bits_per_pixel.into(),
        colors: [(rp, rs), (gp, gs), (bp, bs)],
    }
}

fn check_vbe_blocks(
    boot: &Information,
    framebuffer: &Framebuffer,
    checks: &mut Checks,
    uses: &mut Uses,
) {
    checks.check("VBE", boot.flags & VBE != 0);
    let [controller, info] = boot.vbe_blocks.map(u64::from);
    checks.check("VbeInfoBlock's place", uses.add(controller, 512));
    checks.check("ModeInfoBlock's place", uses.add(info, 256));
    let [mode, interface @ ..] = boot.vbe;
    check_vbe(
        checks,
        Some(framebuffer),
        mode,
        interface,
        bytes(controller, 512),
        bytes(info, 256),
    );
}

fn check_text_mode(boot: &Information, checks: &mut Checks) {
    checks.check("no VBE", boot.flags & VBE == 0 && boot.vbe == [0; 4]);
    say!("screen {:x} {} {}", boot.screen[0], boot.width, boot.height);
    checks.check("text", boot.screen_kind == 2 && boot.screen[1] == 0);
    checks.check(
        "16 bits a character",
        boot.bits_per_pixel == 16 && boot.pitch == 2 * boot.width,
    );
    checks.check("no colours", boot.colors == [0; 6]);
}

fn check_sections(boot: &Information, checks: &mut Checks, uses: &mut Uses) {
    if boot.flags & SECTIONS == 0 {
        say!("no sections");
        return;
    }
    let [count, size, table, names] = boot.sections.map(u64::from);
    checks.check("section headers' place", uses.add(table, count * size));
    report::bytes("section headers", bytes(table, count * size), &[]);
    let size = size as u32;
    let names = section(table + names * u64::from(size), size).map_or(0, |found| found.2);
    for number in 0..count {
        let header = section(table + number * u64::from(size), size);
        let (name, kind, start, length) = header.unwrap_or_default();
        if kind != 0 {
            let name = text(names + u64::from(name)).unwrap_or("?");
            check_section(checks, uses, name, start, length);
        }
    }
}

fn check_memory_map(boot: &Information, checks: &mut Checks, uses: &mut Uses) {
    checks.check(
        "memory map's place",
        uses.add(boot.map.into(), boot.map_length.into()),
    );
    let mut map = NO_MAP;
    let (mut next, end) = (
        u64::from(boot.map),
        u64::from(boot.map) + u64::from(boot.map_length),
    );
    while let Some(entry) = read::<MapEntry>(next).filter(|_| next < end) {
        map.add(checks, uses, entry.start, entry.length, entry.kind);
        checks.check("size of an entry", entry.size == 20);
        next += u64::from(entry.size) + 4;
    }
    checks.check("length of the map", next == end);
    map.finish(checks, uses, boot.lower.into(), boot.upper.into());
}
