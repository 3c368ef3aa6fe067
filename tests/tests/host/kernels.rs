//! A kernel for each protocol: only headers, and bytes to load.

use fuzz::bzimage;
use fuzz::elf_fixture::{ET_EXEC, Elf, ProgramHeader, R, W, X, note, words};
use machine_tests::elf::noise;

/// The address that 64-bit kernels are linked for.
const HIGH: u64 = 0xFFFF_FFFF_8000_0000;
/// The address of kernels that run without paging.
const LOW: u64 = 0x20_0000;

/// Bytes that occur in no other file.
pub fn content(number: u8, length: usize) -> Vec<u8> {
    noise(length).iter().map(|byte| byte ^ number).collect()
}

fn load(flags: u32, start: u64, bytes: Vec<u8>) -> ProgramHeader {
    let size = bytes.len() as u64;
    ProgramHeader {
        alignment: 16, // within a page it costs bytes in the file
        ..ProgramHeader::load(flags, start, bytes, size + 100)
    }
}

/// For the loader's own protocol, with so many bytes of code.
pub fn bootpath(size: usize) -> Vec<u8> {
    let wish = 0x4000_u64.to_le_bytes();
    let wish = note("Bootpath", handoff::NOTE_STACK_SIZE, &wish, 4);
    let data = HIGH + (size as u64).next_multiple_of(4096) + 4096;
    Elf::new(ET_EXEC, HIGH + 0x10)
        .with(load(R | X, HIGH, content(0, size)))
        .with(load(R | W, data, content(1, 1300)))
        .with(ProgramHeader::note(wish))
        .build()
}

/// For Limine. It wants its whole file, which has more than its segments, and modules, one of which
/// it names itself.
pub fn limine(size: usize) -> Vec<u8> {
    limine_with(size, true)
}

/// The same; `file`: whether the kernel wants its whole file.
pub fn limine_with(size: usize, file: bool) -> Vec<u8> {
    const COMMON: [u64; 2] = [0xC7B1_DD30_DF4C_8B88, 0x0A82_E883_A194_F07B];
    const TAG: [u64; 3] = [0xF956_2B2D_5C95_A6C8, 0x6A7B_3849_4453_6BDC, 3];
    const FILE: [u64; 2] = [0xAD97_E90E_83F1_ED67, 0x31EB_5D1C_5FF2_3B69];
    const MODULES: [u64; 2] = [0x3E7E_2797_02BE_32AF, 0xCA1C_4F3B_D128_0CEE];
    const MEMORY_MAP: [u64; 2] = [0x67CF_3D9D_378A_806F, 0xE304_ACDF_C50C_3C62];
    let data = HIGH + (size as u64).next_multiple_of(4096) + 4096;
    let request = |id: [u64; 2]| [COMMON, id, [0, 0]].concat();
    // One module: path, string, flags.
    let tables = data + 0x200;
    let mut requests = words(
        [
            TAG.to_vec(),
            request(MEMORY_MAP),
            if file { request(FILE) } else { Vec::new() },
            // Revision 1: number of modules, and a table of addresses.
            [COMMON, MODULES, [1, 0]].concat(),
            vec![1, tables],
        ]
        .concat(),
    );
    requests.resize(0x200, 0);
    let (module, path, string) = (tables + 8, tables + 0x40, tables + 0x80);
    requests.extend(words([module, path, string, 0]));
    requests.resize(0x240, 0);
    requests.extend(b"modules/inner\0");
    requests.resize(0x280, 0);
    requests.extend(b"the inner one\0");
    let mut elf = Elf::new(ET_EXEC, HIGH + 0x10)
        .with(load(R | X, HIGH, content(0, size)))
        .with(load(R | W, data, requests));
    elf.trailing_bytes = 2000;
    elf.build()
}

fn bytes(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// For Multiboot, by its ELF headers, with sections that the segments do not contain.
fn multiboot(mut header: Vec<u8>, size: usize) -> Vec<u8> {
    header.extend(content(0, size));
    let data = LOW + (header.len() as u64).next_multiple_of(4096) + 4096;
    let file = Elf::new(ET_EXEC, LOW + 0x100)
        .with(load(R | X, LOW, header))
        .with(load(R | W, data, content(1, 900)))
        .build();
    with_sections(file)
}

/// Adds to an ELF64 file two sections and their headers, some clusters in all.
fn with_sections(mut file: Vec<u8>) -> Vec<u8> {
    const SYMBOLS: u32 = 2;
    const STRINGS: u32 = 3;
    let mut headers = vec![0; 64];
    for (kind, length) in [(SYMBOLS, 1500), (STRINGS, 700)] {
        let offset = file.len() as u64;
        file.extend(content(kind as u8, length));
        headers.extend([0, kind].map(u32::to_le_bytes).as_flattened());
        headers.extend(words([0, 0, offset, length as u64, 0, 1, 0]));
    }
    let offset = file.len() as u64;
    file.extend(&headers);
    file[0x28..0x30].copy_from_slice(&offset.to_le_bytes());
    file[0x3A..0x40].copy_from_slice([64, 3, 2].map(u16::to_le_bytes).as_flattened());
    file
}

/// For Multiboot 1.
pub fn multiboot1(size: usize) -> Vec<u8> {
    const MAGIC: u32 = 0x1BAD_B002;
    multiboot(bytes(&[MAGIC, 3, 0_u32.wrapping_sub(MAGIC + 3)]), size)
}

/// For Multiboot 2.
pub fn multiboot2(size: usize) -> Vec<u8> {
    const MAGIC: u32 = 0xE852_50D6;
    let header = [MAGIC, 0, 24, 0_u32.wrapping_sub(MAGIC + 24), 0, 8];
    multiboot(bytes(&header), size)
}

/// For Linux.
pub fn linux(size: usize) -> Vec<u8> {
    let mut file = bzimage::bzimage(size);
    let start = file.len() - size;
    file[start..].copy_from_slice(&content(0, size));
    let room = (size as u32).next_multiple_of(4096) + 4096;
    bzimage::set(&mut file, bzimage::INIT_SIZE, &room.to_le_bytes());
    file
}
