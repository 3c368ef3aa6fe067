//! What a BIOS says, and what another loader says that brings stage2 into memory.

use boot_path::entry::entry_file::PATH_KERNEL;
use boot_path::files::checksum::{CRC_32C, Tables};
use boot_path::files::integrity::path_key;
use disk_layout::stage2::{MAGIC, MAX_LENGTH};
use disk_layout::{Stage2Header, manifest};
use zerocopy::{FromZeros as _, IntoBytes as _};

use super::Add;

pub(super) fn stage2_header(add: &mut Add<'_>) {
    let mut header = Stage2Header::new_zeroed();
    header.magic = MAGIC;
    header.version = disk_layout::stage2::VERSION.into();
    let mut image = |length: u32, manifest: u32| {
        header.length = length.into();
        header.manifest = manifest.into();
        let mut image = header.as_bytes().to_vec();
        image.resize(512, 0);
        image
    };
    let good = image(512, 0);
    add("stage2_header", "good", good.clone());
    add("stage2_header", "zero-length", [0; 40].to_vec());
    add(
        "stage2_header",
        "too-long",
        image(MAX_LENGTH as u32 + 512, 0),
    );
    add("stage2_header", "short", good[..500].to_vec());
    add("stage2_header", "odd", image(0x102, 0));

    let mut with_manifest = image(512, 64);
    let entry = manifest::Entry {
        path: path_key(PATH_KERNEL, |crc, bytes| {
            Tables::new(CRC_32C).crc(crc, bytes)
        })
        .into(),
        ..manifest::Entry::new_zeroed()
    };
    let known = [
        &manifest::MAGIC[..],
        &[1, 0, manifest::VERSION as u8, 0],
        entry.as_bytes(),
    ]
    .concat();
    with_manifest[64..][..known.len()].copy_from_slice(&known);
    add("stage2_header", "manifest", with_manifest.clone());
    with_manifest[68] = 30;
    add("stage2_header", "manifest-too-long", with_manifest);
    add("stage2_header", "manifest-elsewhere", image(512, 511));
}

/// Information by both versions of Multiboot: a kernel, a module, and the loader's name.
pub(super) fn multiboot_information(add: &mut Add<'_>) {
    const BASE: u32 = crate::targets::multiboot_information::BASE;
    const TABLE: u32 = BASE + 120;
    const STRINGS: u32 = TABLE + 32;

    let mut first = [0; 120];
    let mut put = |offset: usize, value: u32| {
        first[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
    };
    put(0, 1 << 3 | 1 << 9);
    put(20, 2);
    put(24, TABLE);
    put(64, STRINGS);
    let table = [
        [0x20_0000, 0x28_0000, STRINGS + 5, 0],
        [0x5000, 0x6000, STRINGS + 14, 0],
    ];
    let table: Vec<u8> = table
        .as_flattened()
        .iter()
        .flat_map(|word: &u32| word.to_le_bytes())
        .collect();
    let strings = b"qemu\0k.elf e\tx\0m with\nwords\0";
    let first = [&[1], &first[..], &table, strings].concat();
    add("multiboot_information", "good-1", first.clone());
    add("multiboot_information", "no-strings", first[..153].to_vec());
    let mut many = first.clone();
    many[21] = 99;
    add("multiboot_information", "many", many);
    add(
        "multiboot_information",
        "magic",
        [&[3], &first[1..]].concat(),
    );

    let mut second = vec![2, 0, 0, 0, 0, 0, 0, 0, 0];
    let mut tag = |kind: u32, content: &[u8]| {
        second.extend(kind.to_le_bytes());
        second.extend((8 + content.len() as u32).to_le_bytes());
        second.extend(content);
        second.resize(1 + (second.len() - 1).next_multiple_of(8), 0);
    };
    let module = |start: u32, end: u32, string: &[u8]| {
        [&start.to_le_bytes(), &end.to_le_bytes(), string].concat()
    };
    tag(3, &module(0x20_0000, 0x28_0000, b"exit\0"));
    tag(3, &module(0x30_0000, 0x30_0001, b"\xFF\0"));
    tag(2, b"GRUB 2.06\0");
    tag(0, &[]);
    let total = second.len() as u32 - 1;
    second[1..5].copy_from_slice(&total.to_le_bytes());
    add("multiboot_information", "not-utf-8", second.clone());
    let odd = second.iter().position(|&byte| byte == 0xFF);
    second[odd.unwrap_or(0)] = b'y';
    add("multiboot_information", "good-2", second.clone());
    second[13] = 7;
    add("multiboot_information", "short-tag", second);
}

pub(super) fn vbe(add: &mut Add<'_>) {
    let words = |words: &[u16]| -> Vec<u8> { words.iter().flat_map(|w| w.to_le_bytes()).collect() };
    // The wish; how many modes; the controller, whose list is in ROM.
    let head = |wish: [u16; 3], count: u16| {
        let mut bytes = words(&wish);
        bytes.extend(words(&[count]));
        bytes.push(0);
        bytes.extend([0; 8]);
        bytes.extend(words(&[0x1234, 0xC000, 64]));
        bytes
    };
    let mode =
        |bits: u8, width: u16, height: u16| [&[0, bits][..], &words(&[width, height])].concat();
    let good = [
        head([1024, 768, 32], 3),
        mode(3, 1024, 768),
        mode(2, 800, 600),
        mode(1, 640, 480),
        [&[0, 0x10, 0x27, 0x20, 0, 0x30, 0x58, 0, 0x20][..], &[0; 10]].concat(),
        vec![0, 0, 0x18, 0x41, 0, 0],
    ];
    add("vbe", "good", good.concat());
    let endless = [head([0, 0, 0], 599), mode(3, 1024, 768).repeat(300)];
    add("vbe", "endless", endless.concat());
    let failing = [
        head([640, 480, 0], 2),
        mode(3, 640, 480),
        mode(2, 640, 480),
        vec![0xFF; 40],
    ];
    add("vbe", "failing", failing.concat());
    // More fields are changed: address, pitch, colours.
    let changed = [
        head([0, 768, 0], 2),
        [
            &[0, 0x63][..],
            &words(&[1024, 768]),
            &[40, 1, 1, 50, 0, 8, 31, 9, 9],
        ]
        .concat(),
        [
            &[0, 0x41][..],
            &words(&[1024, 768]),
            &[42, 0, 0x10, 54, 4, 4],
        ]
        .concat(),
    ];
    add("vbe", "changed", changed.concat());
}

pub(super) fn memory_map(add: &mut Add<'_>) {
    let entry = |start: u64, length: u64, kind: u32| {
        [
            &[20 << 3 | 1][..],
            &start.to_le_bytes(),
            &length.to_le_bytes(),
            &kind.to_le_bytes(),
            &[0; 4],
        ]
        .concat()
    };
    let e820 = [
        entry(0x10_0000, 0x7EE_0000, 1),
        entry(0, 0x9_FC00, 1),
        entry(0xF_0000, 0x1_0000, 2),
        entry(0x7FE_0000, 0x2_0000, 3),
        entry(0x9_FC00, 0x400, 2),
        entry(0xFFFC_0000, 0x4_0000, 2),
        entry(1 << 32, 1 << 30, 1),
    ]
    .concat();
    let end = [0, 0x7F, 2, 0xC0, 0x9F];
    // Requests, two at a fixed place, and a mark. The first one is not for whole pages.
    let requests: Vec<u8> = (0..6)
        .flat_map(|n| {
            [
                n,
                [8, 9, 1, 5, 9, 5][usize::from(n)],
                16,
                0,
                12,
                0,
                0,
                0,
                0,
                0,
                0,
                0,
                0,
                0,
            ]
        })
        .collect();
    add("memory_map", "e820", [&e820[..], &end, &requests].concat());
    let mut overlapping = e820;
    overlapping.extend(entry(0x20_0800, 0x1_0000, 5));
    overlapping.extend(entry(0x1000, u64::MAX, 4));
    add(
        "memory_map",
        "overlap",
        [&overlapping[..], &end, &requests].concat(),
    );
    let e801 = [2, 0, 0x3C, 0, 1, 0, 0, 0, 0];
    add("memory_map", "e801", [&e801[..], &end, &requests].concat());
}
