//! Kernels for each protocol.

use handoff::{NOTE_FLAGS, NOTE_PHYSICAL_MAP_BASE, NOTE_STACK_SIZE};

use crate::bzimage::{
    INITRD_ADDR_MAX, JUMP, KERNEL_ALIGNMENT, LOADFLAGS, MIN_ALIGNMENT, RELOCATABLE_KERNEL,
    SETUP_SECTS, VERSION, bzimage, set,
};
use crate::elf_fixture::{
    ET_DYN, ET_EXEC, Elf, PT_DYNAMIC, PT_GNU_RELRO, PT_TLS, ProgramHeader, R, W, X, note, rela,
    rela_by, words,
};

use super::Add;

pub(super) fn linux(add: &mut Add<'_>) {
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

const HIGH: u64 = 0xFFFF_FFFF_8000_0000;

/// Three segments: code, constants, variables.
fn plain(kind: u16, base: u64) -> Elf {
    Elf::new(kind, base + 0x10)
        .with(ProgramHeader::load(R | X, base, vec![0xF4; 0x180], 0x180))
        .with(ProgramHeader::load(R, base + 0x1000, vec![1; 0x34], 0x34))
        .with(ProgramHeader::load(
            R | W,
            base + 0x2000,
            vec![2; 0x100],
            0x2800,
        ))
}

/// At addresses of all kinds.
fn placed() -> Vec<(&'static str, Elf)> {
    let mut at = plain(ET_EXEC, HIGH);
    for header in &mut at.program_headers {
        header.physical_address = header.virtual_address - HIGH + 0x10_0000;
    }
    vec![
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
        ("good-at", at),
    ]
}

/// Kernels with relocations that the loader applies, and with others.
fn relocated() -> Vec<(&'static str, Elf)> {
    let mut kernels = Vec::new();
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
    bad.program_headers[3].data[0x108] = 37;
    kernels.push(("other-relocation", bad));
    kernels.extend(relocated_by_symbol());
    let section = words([1, 1, 0, 0]);
    let size = section.len() as u64;
    let bad = plain(ET_DYN, 0)
        .with(ProgramHeader::load(R, data, section, size))
        .with(ProgramHeader::within_load(PT_DYNAMIC, data, size));
    kernels.push(("library", bad));
    let section = words([20, 17, 17, data + 0x100, 18, 24, 0, 0]);
    let size = section.len() as u64;
    let bad = plain(ET_DYN, 0)
        .with(ProgramHeader::load(R, data, section, size))
        .with(ProgramHeader::within_load(PT_DYNAMIC, data, size));
    kernels.push(("implicit-addends", bad));
    kernels
}

/// A reference to symbol 1: defined, absolute, weak, and undefined. DT_RELA, its size and that of
/// an entry, DT_SYMTAB.
fn relocated_by_symbol() -> Vec<(&'static str, Elf)> {
    let data = 0x5000;
    let mut kernels = Vec::new();
    for (name, info, section) in [
        ("good-symbol", 0x10, 1),
        ("good-absolute-symbol", 0x10, 0xFFF1),
        ("good-weak-symbol", 0x20, 0),
        ("undefined-symbol", 0x10, 0),
    ] {
        let mut bytes = words([7, data + 0x50, 8, 24, 9, 24, 6, data + 0x68, 0, 0]);
        let size = bytes.len() as u64;
        bytes.extend(rela_by(1, 1, 0x2000, 8));
        bytes.extend([0; 24]);
        bytes.extend(words([info << 32 | section << 48, 0x2010, 0]));
        let length = bytes.len() as u64;
        let kernel = plain(ET_DYN, 0)
            .with(ProgramHeader::load(R, data, bytes, length))
            .with(ProgramHeader::within_load(PT_DYNAMIC, data, size));
        kernels.push((name, kernel));
    }
    kernels
}

/// Kernels with wishes.
fn with_notes() -> Vec<(&'static str, Elf)> {
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
    vec![("good-notes", wishing)]
}

/// Kernels with other headers that make no sense.
fn refused() -> Vec<(&'static str, Elf)> {
    let mut kernels = Vec::new();
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
    bad.program_header_count = Some(u16::MAX);
    kernels.push(("too-many-headers", bad));
    kernels
}

/// All kernels, each in its file.
pub(super) fn kernels() -> Vec<(&'static str, Vec<u8>)> {
    [placed(), relocated(), with_notes(), refused()]
        .into_iter()
        .flatten()
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

/// Kernels with requests, and the inputs that make them: marker, tag, requests in several orders.
pub(super) fn limine(add: &mut Add<'_>) {
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

/// Kernels with a Multiboot header: by their ELF headers, and by the addresses in the header.
pub(super) fn multiboot(add: &mut Add<'_>) {
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
    let address_and_entry = [&address[..], &entry].concat();
    let all = [1, 16, 6, 10, 4, 12, 3, 0, 5, 20, 80, 25, 0, 0, 6, 8, 0, 8];
    let movable = [10, 24, 0x20_0000, 0x80_0000, 0x1000, 2, 0, 8];
    for (target, name, file) in [
        ("multiboot1", "good-elf64", one_elf.build()),
        ("multiboot1", "good-elf32", one_elf.build_32()),
        ("multiboot1", "good-flat", flat(one(1 << 16, &fields))),
        (
            "multiboot1",
            "good-low",
            with_low_segments(one(0, &[])).build(),
        ),
        ("multiboot1", "unknown-flag", flat(one(8, &[]))),
        ("multiboot2", "good-elf64", elf(two(&all)).build()),
        ("multiboot2", "good-elf32", elf(two(&all)).build_32()),
        ("multiboot2", "good-movable", elf(two(&movable)).build()),
        (
            "multiboot2",
            "good-low",
            with_low_segments(two(&[0, 8])).build_32(),
        ),
        ("multiboot2", "good-flat", flat(two(&address_and_entry))),
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

/// A Multiboot kernel of which one segment lies where the loader is, and one begins there and ends
/// behind it.
fn with_low_segments(mut header: Vec<u8>) -> Elf {
    header.resize(0x100, 0xF4);
    let load = |start, bytes| ProgramHeader {
        alignment: 8,
        ..ProgramHeader::load(R | W, start, bytes, 0x1000)
    };
    Elf::new(ET_EXEC, 0x10_0080)
        .with(load(0x10_0000, header))
        .with(load(0x8000, vec![0xFA; 64]))
        .with(load(0x5_FFF8, vec![2; 16]))
}

pub(super) fn elf_note(add: &mut Add<'_>) {
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
