//! Kernels with what no change of a single field makes of a good one.

use boot_path::entry::protocol::LinuxEntry;
use disk_builder::Protocol;

use crate::elf_fixture::{
    ET_DYN, ET_EXEC, Elf, PT_DYNAMIC, ProgramHeader, R, W, X, note, rela, words,
};
use crate::kernels::{CODE, Kernel, bytes_of, elf, linux, own_notes, pack, physical};
use crate::support::KERNEL_VMA;

/// All of them.
pub fn all() -> Vec<Kernel> {
    let mut all = of_elf();
    all.extend(relocations());
    all.extend(of_limine());
    all.extend(of_multiboot());
    let no_64 = Kernel::new("no 64-bit entry", linux_with(0x236, &[0]));
    all.push(no_64.by(Protocol::Linux(Some(LinuxEntry::Bits64))));
    let old = linux_with(0x206, &[0, 1]);
    all.push(Kernel::new("old linux", old));
    let low = linux_with(0x234, &[0]);
    all.push(Kernel::new(
        "linux where the BIOS is",
        put(low, 0x258, &[0, 0, 1, 0]),
    ));
    all
}

fn put(mut bytes: Vec<u8>, offset: usize, new: &[u8]) -> Vec<u8> {
    bytes[offset..offset + new.len()].copy_from_slice(new);
    bytes
}

fn linux_with(offset: usize, new: &[u8]) -> Vec<u8> {
    put(linux(), offset, new)
}

fn of_elf() -> Vec<Kernel> {
    let page = |number: u64| KERNEL_VMA + 0x1000 * number;
    let many = (1..40).fold(elf(), |elf, number| {
        elf.with(ProgramHeader::load(R, page(number), vec![7], 1))
    });
    let notes = (0..40).fold(elf(), |elf, _| elf.with(ProgramHeader::note(own_notes())));
    let short = note("Bootpath", handoff::NOTE_STACK_SIZE, &[0, 0, 2, 0], 4);
    let base = KERNEL_VMA - (4 << 30);
    let map = note(
        "Bootpath",
        handoff::NOTE_PHYSICAL_MAP_BASE,
        &base.to_le_bytes(),
        4,
    );
    let at = |address: u64, notes: Vec<u8>| {
        let code = ProgramHeader::load(R | X, address, CODE.into(), 3);
        let elf = Elf::new(ET_EXEC, address).with(code);
        elf.with(ProgramHeader::note(notes)).build()
    };
    let large = Elf::new(ET_EXEC, 0x4000_0000)
        .with(ProgramHeader::load(R | X, 0x4000_0000, CODE.into(), 3))
        .with(ProgramHeader::load(R | W, 0x4000_1000, vec![7], 8 << 30))
        .with(ProgramHeader::note(own_notes()));
    let large = large.build();
    let packed = pack(&elf().build());
    let end = packed.len() - 4;
    vec![
        Kernel::new(
            "many segments",
            many.with(ProgramHeader::note(own_notes())).build(),
        ),
        Kernel::new("many notes", notes.build()),
        Kernel::new("a short note", at(KERNEL_VMA, short)),
        Kernel::new("in all memory", at(base + 0x20_0000, map)),
        Kernel::new("at address 0", at(0, own_notes())),
        Kernel::new("notes twice", at(KERNEL_VMA, own_notes().repeat(2))),
        Kernel::new("8 GiB", large),
        Kernel::new("4 GiB in a stream", put(packed.clone(), end, &[0xFF; 4])),
        Kernel::new("reserved flags of a stream", put(packed, 3, &[0xE0])),
    ]
}

/// A position-independent kernel with a relocation and with one more pair in its dynamic section.
fn relocated(kind: u32, target: u64, pair: [u64; 2]) -> Vec<u8> {
    const DYNAMIC: u64 = 0x1000;
    const TABLE: u64 = 0x1100;

    let table = rela(kind, target, 0);
    let mut tables = words([pair[0], pair[1], 7, TABLE, 8, 24, 9, 24, 0, 0]);
    let dynamic = ProgramHeader::within_load(PT_DYNAMIC, DYNAMIC, tables.len() as u64);
    tables.resize((TABLE - DYNAMIC) as usize, 0);
    tables.extend(table);
    let size = tables.len() as u64;
    Elf::new(ET_DYN, 0)
        .with(ProgramHeader::load(R | X, 0, CODE.into(), 3))
        .with(ProgramHeader::load(R, DYNAMIC, tables, size))
        .with(ProgramHeader::load(R | W, 0x2000, vec![7; 64], 0x1000))
        .with(dynamic)
        .with(ProgramHeader::note(own_notes()))
        .build()
}

fn relocations() -> Vec<Kernel> {
    const RELATIVE: u32 = 8;
    const DATA: u64 = 0x2000;
    // Tags: DT_NEEDED, DT_REL, DT_RELASZ, and one that says nothing to the loader.
    const NOTHING: [u64; 2] = [0x6FFF_FFF9, 1];

    vec![
        Kernel::new("another relocation", relocated(6, DATA, NOTHING)),
        Kernel::new(
            "a relocation of nothing",
            relocated(RELATIVE, 0x10_0000, NOTHING),
        ),
        Kernel::new("a library", relocated(RELATIVE, DATA, [1, 0])),
        Kernel::new("implicit addends", relocated(RELATIVE, DATA, [17, 0x1100])),
    ]
}

const COMMON: [u64; 2] = [0xC7B1_DD30_DF4C_8B88, 0x0A82_E883_A194_F07B];
const TAG: [u64; 2] = [0xF956_2B2D_5C95_A6C8, 0x6A7B_3849_4453_6BDC];
const STACK: [u64; 2] = [0x224E_F046_0A8E_8926, 0xE1CB_0FC2_5F46_EA3D];
const PAGING: [u64; 2] = [0x95C1_A0ED_AB09_44CB, 0xA4E5_CB38_42F7_488A];
const MODULES: [u64; 2] = [0x3E7E_2797_02BE_32AF, 0xCA1C_4F3B_D128_0CEE];
const END: [u64; 2] = [0xADC0_E053_1BB1_0D03, 0x9572_709F_3176_4C62];

fn of_limine() -> Vec<Kernel> {
    let with = |name, revision: u64, requests: &[&[u64]]| {
        let data = words([&TAG[..], &[revision], &requests.concat()].concat());
        let size = data.len() as u64;
        let data = ProgramHeader::load(R | W, KERNEL_VMA + 0x1000, data, size);
        Kernel::new(name, elf().with(data).build())
    };
    let stack = [&COMMON[..], &STACK, &[0, 0, 0x1_0000]].concat();
    let paging = [&COMMON[..], &PAGING, &[1, 0, 0, 0, 1]].concat();
    let modules = [&COMMON[..], &MODULES, &[1, 0, 33, KERNEL_VMA]].concat();
    vec![
        with("a new revision", 7, &[&stack]),
        with("a request twice", 3, &[&stack, &stack]),
        with("half a request", 3, &[&stack[..5]]),
        with("the end first", 3, &[&END, &stack, &END]),
        with("no paging mode", 3, &[&paging]),
        with("too many modules", 3, &[&modules]),
    ]
}

fn of_multiboot() -> Vec<Kernel> {
    let two = |name, architecture: u32, length: u32, tags: &[u32]| {
        const MAGIC: u32 = 0xE852_50D6;

        let length = (16 + 4 * tags.len() as u32).wrapping_add(length);
        let sum = MAGIC.wrapping_add(architecture).wrapping_add(length);
        let header = [MAGIC, architecture, length, 0_u32.wrapping_sub(sum)];
        Kernel::new(name, physical(bytes_of(&[&header[..], tags].concat())))
            .by(Protocol::Multiboot2)
    };
    let one = |name, flags: u32| {
        const MAGIC: u32 = 0x1BAD_B002;

        let sum = 0_u32.wrapping_sub(MAGIC + flags);
        let header = [MAGIC, flags, sum, 0, 0x10_0000, 0x20_0000, 1, 0];
        Kernel::new(name, physical(bytes_of(&header))).by(Protocol::Multiboot1)
    };
    vec![
        two("of MIPS", 4, 0, &[0, 8]),
        two("longer than the file", 0, 0x10_0000, &[0, 8]),
        two("shorter than itself", 0, 0_u32.wrapping_sub(8), &[0, 8]),
        two(
            "addresses of nothing",
            0,
            0,
            &[2, 24, 1, 2, 3, 4, 3, 12, 5, 0, 0, 8],
        ),
        two(
            "addresses without an entry",
            0,
            0,
            &[2, 24, 0x10_0000, 0x10_0000, 0, 0, 0, 8],
        ),
        two("an unknown request", 0, 0, &[1, 12, 99, 0, 0, 8]),
        two("a wrong console", 0, 0, &[4, 12, 0xFF, 0, 0, 8]),
        two("a console without text", 0, 0, &[4, 12, 1, 0, 0, 8]),
        two("nowhere", 0, 0, &[10, 24, 0, 0x1000, 0x1000, 0, 0, 8]),
        one("unknown flags", 0x8000),
        one("addresses that make no sense", 0x1_0000),
    ]
}
