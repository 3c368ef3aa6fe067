//! Where fuzzing begins: inputs made by hand, good ones and bad ones, for each target.

use boot_path::entry::entry_file::PATH_KERNEL;
use boot_path::files::checksum::{CRC_32C, Tables};
use boot_path::files::integrity::path_key;
use disk_layout::stage2::{MAGIC, MAX_LENGTH};
use disk_layout::{Stage2Header, manifest};
use handoff::{NOTE_FLAGS, NOTE_PHYSICAL_MAP_BASE, NOTE_STACK_SIZE};
use zerocopy::{FromZeros as _, IntoBytes as _};

use crate::bzimage::{
    INITRD_ADDR_MAX, JUMP, KERNEL_ALIGNMENT, LOADFLAGS, MIN_ALIGNMENT, RELOCATABLE_KERNEL,
    SETUP_SECTS, VERSION, bzimage, set,
};
use crate::elf_fixture::{
    ET_DYN, ET_EXEC, Elf, PT_DYNAMIC, PT_GNU_RELRO, PT_INTERP, PT_TLS, ProgramHeader, R, W, X,
    note, rela, words,
};
use crate::tiny::{Tiny, checksum, entry, long_entries};

/// An input.
#[derive(Clone, Debug)]
pub struct Seed {
    /// The target that it is for.
    pub target: &'static str,
    /// What is in it. Those that begin with `good` are accepted.
    pub name: String,
    /// The input.
    pub bytes: Vec<u8>,
}

/// All of them.
pub fn all() -> Vec<Seed> {
    let mut seeds = Vec::new();
    let mut add = |target, name: &str, bytes: Vec<u8>| {
        let name = name.to_owned();
        seeds.push(Seed {
            target,
            name,
            bytes,
        });
    };
    mbr(&mut add);
    fat(&mut add);
    for (name, file) in kernels() {
        add("elf", name, [vec![0], file].concat());
    }
    elf_note(&mut add);
    memory_map(&mut add);
    command_line(&mut add);
    entries(&mut add);
    multiboot(&mut add);
    linux(&mut add);
    chain(&mut add);
    limine(&mut add);
    vbe(&mut add);
    multiboot_information(&mut add);
    gzip(&mut add);
    boot_path(&mut add);
    for target in [
        "fat",
        "elf",
        "elf_note",
        "memory_map",
        "multiboot1",
        "multiboot2",
        "limine",
        "vbe",
        "boot_path",
    ] {
        // Noise, for those that make something of any bytes.
        for seed in 0..6 {
            let mut bytes = noise(seed, 100 + 40 * seed as usize);
            match target {
                "boot_path" => bytes[0] &= 0x31,
                _ => bytes[0] |= 1,
            }
            add(target, &format!("noise-{seed}"), bytes);
        }
    }
    stage2_header(&mut add);
    seeds
}

type Add<'a> = dyn FnMut(&'static str, &str, Vec<u8>) + 'a;

fn stage2_header(add: &mut Add<'_>) {
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
    let known = [&manifest::MAGIC[..], &[1, 0, 0, 0], entry.as_bytes()].concat();
    with_manifest[64..][..known.len()].copy_from_slice(&known);
    add("stage2_header", "manifest", with_manifest.clone());
    with_manifest[68] = 30;
    add("stage2_header", "manifest-too-long", with_manifest);
    add("stage2_header", "manifest-elsewhere", image(512, 511));
}

/// `abcabc`, as `gzip -n` packs it, and the same in a block that is not compressed; both without the
/// first three bytes.
fn gzip(add: &mut Add<'_>) {
    let header = [0, 0, 0, 0, 0, 2, 3];
    let trailer = [0x4C, 0x99, 0x6E, 0x72, 6, 0, 0, 0];
    let packed = [0x4B, 0x4C, 0x4A, 0x4E, 0x4C, 0x4A, 6, 0];
    let stored = [&[1, 6, 0, 0xF9, 0xFF][..], b"abcabc"].concat();
    let file = |flags: u8, fields: &[u8], data: &[u8], trailer: &[u8]| {
        [&[flags], &header[1..], fields, data, trailer].concat()
    };
    add("gzip", "good", file(0, &[], &packed, &trailer));
    add("gzip", "good-stored", file(0, &[], &stored, &trailer));
    let fields = b"\x02\0xxname\0comment\0\0\0";
    add("gzip", "good-fields", file(0x1E, fields, &packed, &trailer));
    add("gzip", "reserved-flag", file(0x80, &[], &packed, &trailer));
    add(
        "gzip",
        "name-without-end",
        file(8, b"name", &[1; 4], &trailer),
    );
    add("gzip", "bad-block", file(0, &[], &[7, 0], &trailer));
    add("gzip", "cut", file(0, &[], &packed[..4], &trailer));
    add(
        "gzip",
        "twice",
        file(0, &[], &[packed, packed].concat(), &trailer),
    );
    let wrong = |at: usize| {
        let mut trailer = trailer;
        trailer[at] ^= 1;
        file(0, &[], &packed, &trailer)
    };
    add("gzip", "checksum", wrong(0));
    add("gzip", "length", wrong(4));
    // Codes of variable length: 1240 bytes of one sentence, then numbers.
    let dynamic = [
        0, 0, 0, 0, 0, 2, 3, 0xED, 0xCE, 0xAB, 0x11, 3, 0x31, 0xC, 0x84, 0x61, 0xFE, 0x57, 0x71, 5,
    ];
    add("gzip", "dynamic-cut", [&dynamic[..], &trailer].concat());
}

/// By both versions: a kernel, a module, and the loader's name.
fn multiboot_information(add: &mut Add<'_>) {
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

fn noise(seed: u32, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9) ^ 0x5555_5555;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 8) as u8
    };
    (0..length).map(|_| next()).collect()
}

/// An MBR with entries: status, type, first sector, number of sectors.
fn table(entries: &[(u8, u8, u32, u32)]) -> Vec<u8> {
    let mut sector = vec![0; 512];
    for (place, &(status, kind, first, count)) in sector[446..510].chunks_mut(16).zip(entries) {
        (place[0], place[4]) = (status, kind);
        place[8..12].copy_from_slice(&first.to_le_bytes());
        place[12..16].copy_from_slice(&count.to_le_bytes());
    }
    sector[510..].copy_from_slice(&[0x55, 0xAA]);
    sector
}

fn linux(add: &mut Add<'_>) {
    let mut one = |name: &str, numbers: [u64; 4], changes: &[(usize, &[u8])]| {
        let mut file = bzimage(0);
        for (offset, bytes) in changes {
            set(&mut file, *offset, bytes);
        }
        file.truncate(0x290);
        file.drain(..SETUP_SECTS);
        let numbers = numbers.map(u64::to_le_bytes);
        add("linux", name, [numbers.as_flattened(), &file].concat());
    };
    let usual = [9_000_000, 5_000_000, 0, 100];
    one("good", usual, &[]);
    one("good-hole", [9_000_000, 5_000_000, 0x1100, 100], &[]);
    one("good-not-relocatable", usual, &[(RELOCATABLE_KERNEL, &[0])]);
    one(
        "good-old",
        usual,
        &[(VERSION, &[2, 2]), (JUMP + 1, &[0x2A])],
    );
    one("good-highest", usual, &[(INITRD_ADDR_MAX, &[0xFF; 4])]);
    one(
        "good-low-alignment",
        usual,
        &[(KERNEL_ALIGNMENT, &[0, 0, 0, 1]), (MIN_ALIGNMENT, &[13])],
    );
    one("good-no-sectors", usual, &[(SETUP_SECTS, &[0])]);
    one(
        "not-free",
        [9_000_000, 0, 0x100, 0],
        &[(RELOCATABLE_KERNEL, &[0])],
    );
    one("too-large", [u64::MAX, u64::MAX, 0, 0], &[]);
    one("long-command-line", [9_000_000, 0, 0, 2048], &[]);
    one("zimage", usual, &[(LOADFLAGS, &[0])]);
    one("too-old", usual, &[(VERSION, &[1, 2])]);
    one("jump-back", usual, &[(JUMP + 1, &[0x80])]);
    one("short", [100, 0, 0, 0], &[]);
    one("good-cut-field", usual, &[(JUMP + 1, &[0x38])]);
    one("no-alignment", usual, &[(KERNEL_ALIGNMENT, &[0; 4])]);
}

fn vbe(add: &mut Add<'_>) {
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

fn chain(add: &mut Add<'_>) {
    let mut one = |name: &str, number: u64, sectors: &[Vec<u8>]| {
        add(
            "chain",
            name,
            [&number.to_le_bytes()[..], &sectors.concat()].concat(),
        );
    };
    let primary = table(&[(0x80, 0x0C, 2048, 9000), (0, 5, 1, 9000)]);
    let first = table(&[(0, 0x83, 3, 10), (0, 5, 1, 10)]);
    let last = table(&[(0, 0x83, 4, 10)]);
    one("good-primary", 1, std::slice::from_ref(&primary));
    one("good-logical", 6, &[primary.clone(), first.clone(), last]);
    one("empty", 3, std::slice::from_ref(&primary));
    one("ring", 255, &[primary, first]);
    add("chain", "text", b"partition=2 drive=81h".to_vec());
}

fn mbr(add: &mut Add<'_>) {
    let mut put = |name, sectors: u64, sector: Vec<u8>| {
        add("mbr", name, [&sectors.to_le_bytes()[..], &sector].concat());
    };
    let one = table(&[(0x80, 0x0C, 2048, 100_000)]);
    put("good-active", 200_000, one.clone());
    put("good-unknown-size", 0, one.clone());
    put("behind-end", 2048, one.clone());
    put("short", 200_000, one[..511].to_vec());
    put(
        "second",
        200_000,
        table(&[(0, 0x83, 1, 9), (0x80, 0x83, 9, 9)]),
    );
    put(
        "inactive",
        200_000,
        table(&[(0, 0x07, 1, 9), (0, 0x16, 9, 9)]),
    );
    put("empty", 200_000, table(&[]));
    let floppy = Tiny::new(12).image();
    put("superfloppy", 2880, floppy[..512].to_vec());
    put("superfloppy-code", 2880, {
        let mut sector = floppy[..512].to_vec();
        sector[446..500].fill(0x90);
        sector
    });
}

/// A volume with `/boot/kernel.conf` and `/A`.
fn small_volume(bits: u32) -> Tiny {
    let mut tiny = Tiny::new(bits);
    tiny.data.truncate(12 * 512);
    tiny.entry(0, b"BOOT       ", 0x10, 3, 0);
    tiny.entry(1, b"A          ", 0x20, 8, 1200);
    let mut directory = long_entries("kernel.conf", checksum(b"KERNEL~1CON"));
    directory.push(entry(b"KERNEL~1CON", 0x20, 5, 700));
    tiny.chain(&[3], &directory.concat());
    tiny.chain(&[5, 7], &[b'#'; 700]);
    tiny.chain(&[8, 9, 6], &noise(1, 1200));
    tiny
}

/// Without the zeros at the end, which the target's disk has anyway.
fn trimmed(mut image: Vec<u8>) -> Vec<u8> {
    let end = image.iter().rposition(|&byte| byte != 0);
    image.truncate(end.map_or(0, |last| last + 1));
    image
}

fn fat(add: &mut Add<'_>) {
    // 512-byte sectors, 127 a read, large windows, at LBA 0.
    let head = [0x06, 0, 126];
    let mut put = |name, tiny: &Tiny| {
        add("fat", name, [&head[..], &trimmed(tiny.image())].concat());
    };
    put("good-12", &small_volume(12));
    put("good-32", &small_volume(32));
    let mut bad = small_volume(12);
    bad.fat[6] = 8;
    put("ring", &bad);
    let mut bad = small_volume(12);
    bad.fat[3] = 3;
    bad.data[512..1024].fill(0xE5);
    put("directory-ring", &bad);
    let mut bad = small_volume(32);
    bad.fat[5] = 0;
    put("free-link", &bad);
    let mut bad = small_volume(12);
    bad.entry(1, b"A          ", 0x20, 8, u32::MAX);
    put("huge-file", &bad);
}

/// Kernels, each in its file.
fn kernels() -> Vec<(&'static str, Vec<u8>)> {
    const HIGH: u64 = 0xFFFF_FFFF_8000_0000;
    let plain = |kind, base: u64| {
        Elf::new(kind, base + 0x10)
            .with(ProgramHeader::load(R | X, base, vec![0xF4; 0x180], 0x180))
            .with(ProgramHeader::load(R, base + 0x1000, vec![1; 0x34], 0x34))
            .with(ProgramHeader::load(
                R | W,
                base + 0x2000,
                vec![2; 0x100],
                0x2800,
            ))
    };
    let mut kernels = vec![
        ("good-higher-half", plain(ET_EXEC, HIGH)),
        ("good-lower-half", plain(ET_EXEC, 0x20_0000)),
        ("good-pie", plain(ET_DYN, 0)),
        // Its last page is the last one below the part of the address space that the stack gets.
        (
            "good-below-the-stack",
            plain(ET_EXEC, 0xFFFF_FF7F_FFFF_B000),
        ),
        (
            "good-two-groups",
            plain(ET_EXEC, HIGH).with(ProgramHeader::load(
                R | W,
                HIGH + 0x80_0000,
                vec![3; 0x50],
                0x1050,
            )),
        ),
        ("page-zero", plain(ET_EXEC, 0)),
        ("in-the-physical-map", plain(ET_EXEC, 0xFFFF_8000_0000_0000)),
        ("not-canonical", plain(ET_EXEC, 0x8000_0000_0000)),
    ];
    let mut at = plain(ET_EXEC, HIGH);
    for header in &mut at.program_headers {
        header.physical_address = header.virtual_address - HIGH + 0x10_0000;
    }
    kernels.push(("good-at", at));

    let data = 0x5000;
    let section = words([
        7,
        data + 0x100,
        8,
        48,
        9,
        24,
        36,
        data + 0x130,
        35,
        24,
        37,
        8,
        0,
        0,
    ]);
    let size = section.len() as u64;
    let mut bytes = section;
    bytes.resize(0x100, 0);
    bytes.extend(rela(8, 0x2000, 0x10));
    bytes.extend(rela(8, 0x2044, 0x1000));
    bytes.extend(words([0x2010, 0x1_8001, 0x1_0003]));
    let memory_size = bytes.len() as u64 + 0x40;
    let relocated = plain(ET_DYN, 0)
        .with(ProgramHeader::load(R | W, data, bytes, memory_size))
        .with(ProgramHeader::within_load(PT_DYNAMIC, data, size))
        .with(ProgramHeader::within_load(PT_GNU_RELRO, data, 0x1000))
        .with(ProgramHeader::within_load(PT_TLS, 0x2000, 0x20));
    kernels.push(("good-relocations", relocated.clone()));
    let mut bad = relocated;
    bad.program_headers[3].data[0x108] = 1;
    kernels.push(("other-relocation", bad));
    let section = words([20, 17, 17, data + 0x100, 18, 24, 0, 0]);
    let size = section.len() as u64;
    let bad = plain(ET_DYN, 0)
        .with(ProgramHeader::load(R, data, section, size))
        .with(ProgramHeader::within_load(PT_DYNAMIC, data, size));
    kernels.push(("implicit-addends", bad));

    let wish = [
        note("Bootpath", NOTE_STACK_SIZE, &0x8000u64.to_le_bytes(), 4),
        note(
            "Bootpath",
            NOTE_PHYSICAL_MAP_BASE,
            &0xFFFF_9000_0000_0000u64.to_le_bytes(),
            4,
        ),
    ];
    let wishing = plain(ET_EXEC, HIGH).with(ProgramHeader::note(wish.concat()));
    kernels.push(("good-notes", wishing));
    kernels.push((
        "interpreter",
        plain(ET_DYN, 0).with(ProgramHeader::within_load(PT_INTERP, 0x1000, 9)),
    ));
    let mut bad = plain(ET_EXEC, HIGH);
    bad.program_headers[1].virtual_address -= 0xF00;
    kernels.push(("overlap", bad));
    let mut bad = plain(ET_EXEC, HIGH);
    bad.program_headers[2].flags |= X;
    kernels.push(("writable-code", bad));
    let mut bad = plain(ET_EXEC, HIGH);
    bad.program_headers[2].memory_size = u64::MAX;
    kernels.push(("wraps", bad));
    let mut bad = plain(ET_EXEC, HIGH);
    bad.class = 1;
    kernels.push(("32-bit", bad));
    let mut bad = plain(ET_EXEC, HIGH);
    bad.program_header_count = Some(65);
    kernels.push(("too-many-headers", bad));
    kernels
        .into_iter()
        .map(|(name, mut elf)| {
            // Alignment within a page costs bytes in the file.
            elf.trailing_bytes = 8;
            for header in &mut elf.program_headers {
                header.alignment = header.alignment.min(16);
            }
            (name, elf.build())
        })
        .collect()
}

/// Kernels with a Multiboot header: by their ELF headers, and by the addresses in the header.
/// Kernels with requests, and what makes them: marker, tag, requests in several orders.
fn limine(add: &mut Add<'_>) {
    const HIGH: u64 = 0xFFFF_FFFF_8000_0000;
    let request = |name: [u64; 2], rest: &[u64]| {
        let head = [
            0xC7B1_DD30_DF4C_8B88,
            0x0A82_E883_A194_F07B,
            name[0],
            name[1],
            0,
            0,
        ];
        [&head, rest].concat()
    };
    let tag = |revision| vec![0xF956_2B2D_5C95_A6C8, 0x6A7B_3849_4453_6BDC, revision];
    let map = request([0x67CF_3D9D_378A_806F, 0xE304_ACDF_C50C_3C62], &[]);
    let stack = request([0x224E_F046_0A8E_8926, 0xE1CB_0FC2_5F46_EA3D], &[1 << 20]);
    let load = |flags, start, bytes: Vec<u8>| ProgramHeader {
        alignment: 8, // small files
        ..ProgramHeader::load(flags, start, bytes.clone(), bytes.len() as u64)
    };
    let file = |data: &[&[u64]]| {
        Elf::new(ET_EXEC, HIGH)
            .with(load(R | X, HIGH, vec![0xF4; 64]))
            .with(load(R | W, HIGH + 0x1000, words(data.concat())))
            .build()
    };
    let mut put = |name, bytes: Vec<u8>| add("limine", name, [vec![0], bytes].concat());
    put("good", file(&[&tag(3), &map, &stack]));
    put("good-no-tag", file(&[&map]));
    put("twice", file(&[&tag(3), &map, &map]));
    put("revision-7", file(&[&tag(7)]));
    put("cut", file(&[&map[..5]]));
    put("none", file(&[&[1, 2, 3]]));
    // Start marker, tag, requests, end marker: see `targets::limine::make`.
    let order = [
        0x80, 0x82, 3, 0x85, 4, 0, 0x85, 9, 1, 0xC7, 3, 1, 5, 0x81, 0x85, 4, 0,
    ];
    add("limine", "markers", [&[1, 0, 0][..], &order].concat());
    let modules = [0x87, 12, 1, 0x80 | 4, 0x84, 9, 0x84, 10, 0x84, 11, 0x84, 12];
    add("limine", "modules", [&[1, 1, 8][..], &modules].concat());
}

fn multiboot(add: &mut Add<'_>) {
    let bytes =
        |words: &[u32]| -> Vec<u8> { words.iter().flat_map(|word| word.to_le_bytes()).collect() };
    let one = |flags: u32, rest: &[u32]| {
        let sum = 0x1BAD_B002_u32.wrapping_add(flags);
        let head = [0x1BAD_B002, flags, sum.wrapping_neg()];
        bytes(&[&head, rest].concat())
    };
    let two = |tags: &[u32]| {
        let length = 16 + 4 * tags.len() as u32;
        let sum = 0xE852_50D6_u32.wrapping_add(length);
        let head = [0xE852_50D6, 0, length, sum.wrapping_neg()];
        bytes(&[&head, tags].concat())
    };
    let elf = |mut header: Vec<u8>| {
        header.resize(0x200, 0xF4);
        Elf::new(ET_EXEC, 0x10_0100)
            .with(ProgramHeader::load(R | X, 0x10_0000, header, 0x1000))
            .with(ProgramHeader::load(R | W, 0x10_2000, vec![1; 64], 0x3000))
    };
    let flat = |header: Vec<u8>| [header, vec![0xF4; 64]].concat();
    let fields = [0x10_0000, 0x10_0000, 0, 0x10_1000, 0x10_0030];
    let one_elf = elf(one(7, &[0, 0, 0, 0, 0, 1, 80, 25, 0]));
    let entry = [3, 12, 0x10_0030, 0, 0, 8];
    let address = [2, 24, 0x10_0000, u32::MAX, 0, 0x10_1000];
    let all = [1, 16, 6, 10, 4, 12, 3, 0, 5, 20, 80, 25, 0, 0, 6, 8, 0, 8];
    let movable = [10, 24, 0x20_0000, 0x80_0000, 0x1000, 2, 0, 8];
    for (target, name, file) in [
        ("multiboot1", "good-elf64", one_elf.build()),
        ("multiboot1", "good-elf32", one_elf.build_32()),
        ("multiboot1", "good-flat", flat(one(1 << 16, &fields))),
        ("multiboot1", "unknown-flag", flat(one(8, &[]))),
        ("multiboot2", "good-elf64", elf(two(&all)).build()),
        ("multiboot2", "good-elf32", elf(two(&all)).build_32()),
        ("multiboot2", "good-movable", elf(two(&movable)).build()),
        (
            "multiboot2",
            "good-flat",
            flat(two(&[&address[..], &entry].concat())),
        ),
        (
            "multiboot2",
            "no-entry",
            flat(two(&[&address[..], &[0, 8]].concat())),
        ),
        ("multiboot2", "unknown-tag", flat(two(&[99, 8, 0, 8]))),
        ("multiboot2", "no-end", flat(two(&[6, 8]))),
    ] {
        add(target, name, [vec![0], file].concat());
    }
}

fn elf_note(add: &mut Add<'_>) {
    let mut put = |name, bytes: Vec<u8>| add("elf_note", name, [vec![0], bytes].concat());
    let stack = |value: u64| note("Bootpath", NOTE_STACK_SIZE, &value.to_le_bytes(), 4);
    put("good", stack(0x8001));
    put(
        "after-another",
        [note("GNU", 3, &[7; 20], 4), stack(0x8000)].concat(),
    );
    put("too-small", stack(1));
    put(
        "unknown-flag",
        note("Bootpath", NOTE_FLAGS, &4u64.to_le_bytes(), 4),
    );
    put("cut", stack(0x8000)[..28].to_vec());
    put("length", note("Bootpath", NOTE_STACK_SIZE, &[1; 4], 4));
}

fn memory_map(add: &mut Add<'_>) {
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
    // Requests, two at a place, and a mark; the first one is not for whole pages.
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

fn command_line(add: &mut Add<'_>) {
    let mut put = |name, text: &str| add("command_line", name, text.as_bytes().to_vec());
    put(
        "good",
        "# a comment\ntitle Mine\noptions one two\r\n\toptions \tthree \nmodule /a.bin\nmodule\t/b  text of b\n",
    );
    put("mark", "\u{FEFF}options x");
    put("no-path", "options\nmodule \t\r\n");
    put("nul", "options a\0b\n");
    put("returns", "options a\r\r\n\r\noptions b\r");
    put("modules", &"module m\n".repeat(33));
    put("long-line", &format!("options {}", "x".repeat(4090)));
    add("command_line", "not-utf-8", b"options \xFF\n".to_vec());
}

fn entries(add: &mut Add<'_>) {
    let mut put = |name, conf: &str, files: &[(&str, &str)]| {
        let files = files.iter();
        let files: String = files
            .map(|(name, text)| format!("\u{1C}{name}\n{text}"))
            .collect();
        add("entries", name, format!("{conf}{files}").into_bytes());
    };
    put(
        "good",
        "timeout 5\ndefault b*\n",
        &[
            ("a.conf", "title A\nlinux /a\nsort-key k\nversion 6.10\n"),
            (
                "b+3-1.conf",
                "kernel /b\nsort-key k\nversion 6.9\nmachine-id 0f\n",
            ),
            ("c+0-3.conf", "chain drive=81h\n"),
            ("B.CONF", "linux /b\narchitecture aa64\n"),
        ],
    );
    put(
        "left-out",
        "timeout never\ndefault ?[a-c]\\d\n",
        &[
            ("a.conf", "title A\nmodule\n"),
            ("b.conf", "title B\n"),
            ("c.conf", "linux /a\nchain partition=1\n"),
            ("d.conf", "linux /a\nprotocol none\n"),
            (".e.conf", "linux /a\n"),
        ],
    );
    let name = |n: usize| format!("1.{n}~rc{n}.conf");
    let names: Vec<_> = (0..66).map(name).collect();
    let many: Vec<_> = names
        .iter()
        .map(|name| (name.as_str(), "linux l"))
        .collect();
    put("many", "default @saved", &many);
}

fn boot_path(add: &mut Add<'_>) {
    let config = b"options quiet\nmodule /boot/module text\n";
    // A machine of 64 MiB, NX and 1 GiB pages, sectors of 512 bytes.
    let machine = |cpu: u8| [0, 0, cpu];
    let disk = |how: u8, layout: u8| {
        let mut head = vec![how, layout, config.len() as u8];
        head.extend(config);
        head.extend(4096u16.to_le_bytes()); // the module: whole pages
        head
    };
    for (name, file) in kernels() {
        // FAT32, contiguous, in an active partition.
        let bytes = [&machine(0)[..], &disk(5, 0xC0), &file].concat();
        add("boot_path", name, bytes);
    }
    let files = kernels();
    let file = &files
        .iter()
        .find(|(name, _)| *name == "good-relocations")
        .expect("there")
        .1;
    for (name, cpu, layout) in [
        ("good-fat12-reversed", 0x03, 0xC5),
        ("good-fat16-spread", 0x48, 0xCA),
        ("good-superfloppy", 0x0C, 0x0C),
        ("good-one-sector-a-read", 0x50, 0xC9),
    ] {
        add(
            "boot_path",
            name,
            [&machine(cpu)[..], &disk(5, layout), file].concat(),
        );
    }
    let entry = |text: &str| {
        let mut head = vec![0x25, 0xC0, text.len() as u8];
        head.extend(text.as_bytes());
        head.extend(100u16.to_le_bytes());
        [&machine(0)[..], &head, file].concat()
    };
    let good = "options quiet\nkernel boot/kernel.elf\ninitrd /boot/module\n";
    add("boot_path", "good-entry", entry(good));
    add("boot_path", "entry-without-kernel", entry("title t\n"));
    let named = |wanted: &str| {
        let mut files = files.iter().filter(|(name, _)| *name == wanted);
        files.next().expect("there").1.clone()
    };
    // 8 KiB at 1 MiB are reserved, where this one wants to be.
    let hole = [2, 0, 0, 1, 0, 0, 16, 0, 0];
    let at = named("good-at");
    add(
        "boot_path",
        "good-at-not-free",
        [&hole[..], &disk(5, 0xC0), &at].concat(),
    );
    // There is room for it, but above 4 GiB.
    let mut huge = named("good-higher-half");
    let third = 64 + 2 * 56 + 40; // p_memsz
    huge[third..third + 8].copy_from_slice(&0x2000_0000u64.to_le_bytes());
    add(
        "boot_path",
        "above-4-gib",
        [&[1, 0, 0][..], &disk(5, 0xC0), &huge].concat(),
    );
    let damage = |place: u8, offset: u16, value: u32| {
        let mut bytes = [&machine(0)[..], &disk(0x0D, 0xC0)].concat();
        bytes.push(place);
        bytes.extend(offset.to_le_bytes());
        bytes.push(3);
        bytes.extend(value.to_le_bytes());
        bytes.extend(file);
        bytes
    };
    add("boot_path", "damaged-mbr", damage(0, 510, 0));
    add("boot_path", "damaged-boot-sector", damage(1, 11, 3));
    add("boot_path", "damaged-fat", damage(3, 12, 0xFFFF));
    let volume = trimmed(small_volume(12).image());
    add(
        "boot_path",
        "raw",
        [&machine(0)[..], &[0], &volume].concat(),
    );
}
