//! Multiboot kernels that go to where the loader is: in part, or to all of it. Each kernel adds up
//! its bytes at its first instructions, and compares the sum.

use std::fs;

use anyhow::{Result, ensure};
use disk_builder::image::Recipe;
use disk_builder::run::{EXIT_OKAY, EXIT_PORT};
use machine_tests::elf::noise;
use machine_tests::image::Image;
use machine_tests::machine::Machine;

#[path = "../src/elf_fixture.rs"]
#[allow(dead_code, reason = "other tests use more of it")]
mod elf_fixture;

use elf_fixture::{ET_EXEC, Elf, ProgramHeader, R, W, X};

/// A version's header, padded with zeroes, and the value in EAX.
fn header(version: u32) -> (Vec<u32>, u32) {
    let sum = |words: &[u32]| 0_u32.wrapping_sub(words.iter().sum());
    match version {
        1 => (
            vec![0x1BAD_B002, 0, sum(&[0x1BAD_B002]), 0, 0, 0],
            0x2BAD_B002,
        ),
        _ => {
            let length = 24;
            let sum = 0_u32.wrapping_sub(0xE852_50D6 + length);
            (vec![0xE852_50D6, 0, length, sum, 0, 8], 0x36D7_6289)
        }
    }
}

/// Bytes of [`code`]'s instructions, behind the header.
const CODE: usize = 68;

/// The kernel's first piece: header, instructions, and the table of what to add up.
///
/// The instructions call, load a segment by the loader's GDT, compare EAX, add up, and end QEMU.
fn code(version: u32, address: u32, table: &[u32]) -> Vec<u8> {
    let (header, magic) = header(version);
    let mut code: Vec<u8> = header.into_iter().flat_map(u32::to_le_bytes).collect();
    let start = code.len();
    let table_address = (address + start as u32 + CODE as u32).to_le_bytes();
    code.extend([0xE8, 0, 0, 0, 0, 0x5F]); // call; pop edi
    code.extend([0x8C, 0xD9, 0x8E, 0xC1]); // mov ecx, ds; mov es, ecx
    code.push(0x3D); // cmp eax, …
    code.extend(magic.to_le_bytes());
    code.extend([0x75, 39]); // jne failed
    code.push(0xBE); // mov esi, …
    code.extend(table_address);
    code.extend([0x31, 0xD2]); // xor edx, edx
    code.extend([0x8B, 0x3E, 0x8B, 0x4E, 4]); // next: mov edi, [esi]; mov ecx, [esi + 4]
    code.extend([0xE3, 17]); // jecxz compare
    code.extend([0x0F, 0xB6, 0x07]); // again: movzx eax, byte ptr [edi]
    code.extend([0x01, 0xC2, 0xD1, 0xC2, 0x47]); // add edx, eax; rol edx, 1; inc edi
    code.extend([0x49, 0x75, 0xF5]); // dec ecx; jnz again
    code.extend([0x83, 0xC6, 8]); // add esi, 8
    code.extend([0xEB, 0xE9, 0x90]); // jmp next; nop
    code.extend([0x39, 0xFA, 0x75, 4]); // compare: cmp edx, edi; jne failed
    code.extend([0xB0, EXIT_OKAY, 0xEB, 2]); // mov al, …; jmp end
    code.extend([0xB0, EXIT_OKAY + 1]); // failed: mov al, …
    code.push(0xBA); // end: mov edx, …
    code.extend(u32::from(EXIT_PORT).to_le_bytes());
    code.extend([0xEE, 0xF4, 0xEB, 0xFD]); // out dx, al; hlt; jmp
    code.resize(start + CODE, 0x90);
    code.extend(table.iter().flat_map(|word| word.to_le_bytes()));
    code
}

/// A kernel whose code is at an address, with pieces of these bytes in the file and in memory.
fn kernel(version: u32, code_at: u32, pieces: &[(u32, usize, usize)]) -> Elf {
    let contents: Vec<Vec<u8>> = pieces.iter().map(|&(_, size, _)| noise(size)).collect();
    let mut sum = 0_u32;
    let mut table = Vec::new();
    for (&(start, _, memory), bytes) in pieces.iter().zip(&contents) {
        table.extend([start, memory as u32]);
        let zeroes = vec![0; memory - bytes.len()];
        for byte in bytes.iter().chain(&zeroes) {
            sum = sum.wrapping_add((*byte).into()).rotate_left(1);
        }
    }
    table.extend([sum, 0]);
    let code = code(version, code_at, &table);
    let length = code.len() as u64;
    let entry = code_at + header(version).0.len() as u32 * 4;
    let elf = Elf::new(ET_EXEC, entry.into()).with(ProgramHeader::load(
        R | X,
        code_at.into(),
        code,
        length,
    ));
    pieces
        .iter()
        .zip(contents)
        .fold(elf, |elf, (piece, bytes)| {
            let load = ProgramHeader::load(R | W, piece.0.into(), bytes, piece.2 as u64);
            elf.with(load)
        })
}

fn image(kernel: &[u8], change: impl FnOnce(&mut Recipe)) -> Result<Image> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("kernel");
    fs::write(&path, kernel)?;
    Image::build(&path, |recipe, _| change(recipe))
}

/// Pieces where the loader is: where some BIOSes keep data, the stage1, the switch page (with zeroes
/// behind it), the 64-bit code and its stack, and what was allocated behind the loader.
const PIECES: [(u32, usize, usize); 6] = [
    (0x600, 0x200, 0x200),
    (0x7C00, 0x200, 0x200),
    (0x8000, 0x321, 0x1000),
    (0xA123, 0x6000, 0x6000),
    (0x4_4FFF, 2, 0x3000),
    (0x6_0000, 0x1_8000, 0x2_4000),
];

#[test]
fn pieces() -> Result<()> {
    for version in [1, 2] {
        let elf = kernel(version, 0x10_0000, &PIECES);
        for file in [elf.build(), elf.build_32()] {
            let image = image(&file, |_| {})?;
            let mut running = Machine::new(&image.path()).start()?;
            running.okay()?;
        }
    }
    Ok(())
}

/// From the first byte behind the BIOS's data to the EBDA: stack and information go above 1 MiB.
#[test]
fn all_of_low_memory() -> Result<()> {
    let first = 0x1000 - 0x500;
    for (version, end) in [(1, 0x6_0000), (2, 0x6_0000), (1, 0x9_FC00), (2, 0x9_FC00)] {
        let behind = (0x2000, 0x3_0000, end - 0x2000);
        let elf = kernel(version, 0x1000, &[(0x500, first, first), behind]);
        let image = image(&elf.build_32(), |_| {})?;
        let mut running = Machine::new(&image.path()).start()?;
        let transcript = running.okay()?;
        ensure!(
            transcript.contains("12 handoff  to 1018h, "),
            "{transcript}"
        );
    }
    Ok(())
}

/// What is not RAM, and what the BIOS still needs.
#[test]
fn refused() -> Result<()> {
    for (piece, fact) in [
        (
            (0x400, 16, 16),
            "segment 1, 0x400 to 0x410: 0x0 to 0x500 is reserved",
        ),
        (
            (0x4FF, 1, 0x100),
            "segment 1, 0x4ff to 0x5ff: 0x0 to 0x500 is reserved",
        ),
        (
            (0x9_F000, 16, 0xC01),
            "segment 1, 0x9f000 to 0x9fc01: 0x9fc00 to 0xa0000 is reserved",
        ),
        ((0xC_0000, 16, 16), "segment 1, 0xc0000 to 0xc0010: no RAM"),
    ] {
        let file = kernel(2, 0x10_0000, &[piece]).build();
        let image = image(&file, |recipe| recipe.unchecked = true)?;
        let mut running = Machine::new(&image.path()).start()?;
        let transcript = running.wait_for("press a key to reboot")?;
        let error = format!("error 10U: the memory that the kernel wants is not free: {fact}");
        ensure!(transcript.contains(&error), "no {error:?} in\n{transcript}");
    }
    Ok(())
}
