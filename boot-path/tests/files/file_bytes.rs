//! A kernel's file is judged piece by piece as it is in memory.

use boot_path::entry::protocol::Protocol;
use boot_path::files::file_bytes::{FileBytes as _, WINDOW};
use boot_path::files::integrity::Sums;
use boot_path::kernel::image;
use boot_path::memory::address::VirtAddr;
use boot_path::position::FileOffset;
use boot_path::ways_out::limine;
use boot_path::ways_out::multiboot::header;
use boot_path::ways_out::multiboot::header::Version;
use boot_path::ways_out::of_file::protocol_of_file;
use boot_path::ways_out::sums::of_kernel;

use crate::elf_fixture::{
    ET_DYN, ET_EXEC, Elf, PT_DYNAMIC, ProgramHeader, R, W, X, note, rela, words,
};
use crate::narrow::Narrow;

const CODE: u64 = 0xFFFF_FFFF_8000_0000;
const DATA: u64 = CODE + 0x10_0000;

fn crc32c(crc: u32, bytes: &[u8]) -> u32 {
    boot_path::files::checksum::Tables::new(boot_path::files::checksum::CRC_32C).crc(crc, bytes)
}

/// Asks the same of the whole file and of its windows, and compares the printed answers.
macro_rules! same {
    ($bytes:ident, $file:ident => $ask:expr) => {
        let $file = $bytes;
        let whole = format!("{:?}", $ask);
        let $file = Narrow($bytes);
        assert_eq!(format!("{:?}", $ask), whole);
    };
}

/// Asks everything that can be asked about a file.
#[track_caller]
fn same_answers(bytes: &[u8]) -> Protocol {
    same!(bytes, file => image::check_file(file));
    same!(bytes, file => limine::check_file(file));
    same!(bytes, file => header::check_file(Version::One, file));
    same!(bytes, file => header::check_file(Version::Two, file));
    for sums in [
        Sums::Whole,
        Sums::Elf,
        Sums::Multiboot1,
        Sums::Multiboot2,
        Sums::Linux,
    ] {
        same!(bytes, file => of_kernel(file, sums, crc32c));
    }
    same!(bytes, file => protocol_of_file(file));
    protocol_of_file(bytes)
}

/// Bytes that do not repeat within the length of a window.
pub fn noise(length: usize) -> Vec<u8> {
    (0..length as u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 15) as u8)
        .collect()
}

#[test]
fn bytes_are_read_across_windows() {
    let bytes = noise(3 * WINDOW + 5);
    let mut file = Narrow(&bytes);
    let mut out = vec![0; WINDOW + 10];
    assert_eq!(file.read_at(FileOffset::new(100), &mut out), out.len());
    assert_eq!(out, bytes[100..][..out.len()]);
    assert_eq!(
        file.read_at(FileOffset::new(3 * WINDOW as u64), &mut out),
        5
    );
    assert_eq!(file.read_at(FileOffset::new(u64::MAX), &mut out), 0);
    for (offset, length) in [(0, 3 * WINDOW + 5), (7, 2 * WINDOW), (WINDOW, 1), (3, 0)] {
        let mut all = Vec::new();
        file.pieces(FileOffset::new(offset as u64), length as u64, |piece| {
            all.extend_from_slice(piece)
        });
        assert_eq!(all, bytes[offset..][..length]);
    }
    // A length beyond the end gives no more than there is.
    let mut count = 0;
    file.pieces(FileOffset::new(WINDOW as u64), u64::MAX, |piece| {
        count += piece.len()
    });
    assert_eq!(count, 2 * WINDOW + 5);
}

/// A kernel with these data, and another segment behind it.
fn kernel(address: u64, data: Vec<u8>) -> Elf {
    let length = data.len() as u64;
    let end = (address + length).next_multiple_of(0x1000);
    Elf::new(ET_EXEC, CODE + 16)
        .with(ProgramHeader::load(R | X, CODE, noise(0x9000), 0x9000))
        .with(ProgramHeader::load(R | W, address, data, length + 0x100))
        .with(ProgramHeader::load(R, end + 0x1000, noise(0x3000), 0x3000))
}

#[test]
fn requests_lie_across_windows() {
    const COMMON: [u64; 2] = [0xC7B1_DD30_DF4C_8B88, 0x0A82_E883_A194_F07B];
    const TAG: [u64; 2] = [0xF956_2B2D_5C95_A6C8, 0x6A7B_3849_4453_6BDC];
    const HHDM: [u64; 2] = [0x48DC_F1CB_8AD2_B852, 0x6398_4E95_9A98_244B];

    let request = words([COMMON[0], COMMON[1], HHDM[0], HHDM[1], 0, 0]);
    let tag = words([TAG[0], TAG[1], 3]);
    // The segment's own alignment shifts the words against the windows.
    for shift in [0, 1, 4, 7] {
        for distance in 0..=request.len() / 8 {
            let mut data = noise(4 * WINDOW);
            // Aligned in memory.
            let aligned = |at: usize| at - at % 8 + (8 - shift) % 8;
            let at = aligned(WINDOW - 8 * distance);
            data[at..][..request.len()].copy_from_slice(&request);
            let at = aligned(2 * WINDOW - 8 * distance);
            data[at..][..tag.len()].copy_from_slice(&tag);
            let mut elf = kernel(DATA + shift as u64, data);
            assert_eq!(same_answers(&elf.build()), Protocol::Limine);
            let found = limine::check_file(Narrow(&elf.build()));
            let (_, requests) = found.unwrap().expect("it has requests");
            assert_eq!(requests.revision, 3, "{shift} {distance}");
            assert!(requests.has(limine::Feature::Hhdm));

            // The same words, cut off by the end of the segment.
            let data = &mut elf.program_headers[1].data;
            data.truncate(aligned(2 * WINDOW - 8 * distance) + 8);
            elf.program_headers[1].file_size = Some(data.len() as u64);
            same_answers(&elf.build());
        }
    }
}

#[test]
fn tables_of_relocations_are_longer_than_a_window() {
    const RELATIVE: u32 = 8;
    const OTHER: u32 = 2;
    const TABLE: u64 = 0x10_0000;
    const DYNAMIC: u64 = 0x8000;
    const TARGET: u64 = 0x20_0000;

    let count = 3 * WINDOW / 24;
    let elf = |last| {
        let mut table = Vec::new();
        for index in 0..count as u64 {
            let kind = if index as usize == count - 1 {
                last
            } else {
                RELATIVE
            };
            table.extend(rela(kind, TARGET + 8 * index, 1));
        }
        // The entries that count come last, behind more entries than are looked at in one go.
        let mut dynamic = vec![[0x6FFF_FEF5, 0]; 200];
        dynamic.extend([[7, TABLE], [8, table.len() as u64], [9, 24], [0, 0]]);
        let dynamic = words(dynamic.into_iter().flatten());
        let length = dynamic.len() as u64;
        Elf::new(ET_DYN, 16)
            .with(ProgramHeader::load(R | X, 0, noise(0x1000), 0x1000))
            .with(ProgramHeader::load(R, DYNAMIC, dynamic, length))
            .with(ProgramHeader::within_load(PT_DYNAMIC, DYNAMIC, length))
            .with(ProgramHeader::load(
                R,
                TABLE,
                table.clone(),
                table.len() as u64,
            ))
            .with(ProgramHeader::load(R | W, TARGET, vec![], 0x10_0000))
            .with(ProgramHeader::note(note(
                "Bootpath",
                1,
                &[0, 0, 1, 0, 0, 0, 0, 0],
                4,
            )))
            .build()
    };
    assert_eq!(same_answers(&elf(RELATIVE)), Protocol::Bootpath);
    image::check_file(Narrow(&elf(RELATIVE))).unwrap();
    same_answers(&elf(OTHER));
    assert_eq!(
        image::check_file(Narrow(&elf(OTHER))).unwrap_err(),
        image::KernelError::Relocation {
            kind: OTHER,
            address: VirtAddr::new(TARGET + 8 * (count as u64 - 1))
        }
    );
}

#[test]
fn multiboot_and_linux_kernels() {
    // Multiboot 1, as a flat file: all of it is loaded at 1 MiB.
    let mut flat = noise(5 * WINDOW + 3);
    let flags = 1_u32 << 16;
    let magic = 0x1BAD_B002_u32;
    let start = 0x10_0000_u32;
    let fields = [
        magic,
        flags,
        0_u32.wrapping_sub(magic).wrapping_sub(flags),
        start + 8000,
        start,
        0,
        0,
        start,
    ];
    for (at, field) in fields.into_iter().enumerate() {
        flat[8000 + 4 * at..][..4].copy_from_slice(&field.to_le_bytes());
    }
    assert_eq!(same_answers(&flat), Protocol::Multiboot1);
    header::check_file(Version::One, Narrow(&flat)).unwrap();

    // A bzImage whose payload lies across windows.
    let mut linux = noise(4 * WINDOW);
    let mut put = |at: usize, bytes: &[u8]| linux[at..at + bytes.len()].copy_from_slice(bytes);
    put(0x1F1, &[4]); // sectors of setup code
    put(0x1FE, &[0x55, 0xAA, 0xEB, 0x66]);
    put(0x202, b"HdrS");
    put(0x206, &0x020F_u16.to_le_bytes());
    put(0x211, &[1]); // loaded high
    put(0x1F4, &4096_u32.to_le_bytes()); // paragraphs
    put(0x234, &[0]); // not relocatable
    let payload = WINDOW - 4 - 2560;
    put(0x248, &(payload as u32).to_le_bytes());
    put(0x24C, &(2 * WINDOW as u32).to_le_bytes());
    let checked = linux.clone();
    linux[WINDOW - 4..][..4].copy_from_slice(b"BZh9");
    assert_eq!(same_answers(&linux), Protocol::Linux(None));
    // The payload has its own checksum, so the sums differ if it is recognised.
    assert_ne!(
        of_kernel(Narrow(&linux), Sums::Linux, crc32c),
        of_kernel(Narrow(&checked), Sums::Linux, crc32c)
    );
    linux[WINDOW + 100] ^= 1;
    let changed = of_kernel(Narrow(&linux), Sums::Linux, crc32c);
    linux[WINDOW + 100] ^= 1;
    assert_eq!(changed, of_kernel(Narrow(&linux), Sums::Linux, crc32c));
}

#[test]
fn section_headers_are_longer_than_a_window() {
    let mut header = [0x1BAD_B002_u32, 0, 0];
    header[2] = 0_u32.wrapping_sub(header[0]);
    let mut code: Vec<u8> = header.iter().flat_map(|word| word.to_le_bytes()).collect();
    code.resize(0x1000, 0xF4);
    let load = ProgramHeader::load(R | X, 0x10_0000, code, 0x1000).at(0x10_0000);
    let mut file = Elf::new(ET_EXEC, 0x10_0000).with(load).build();
    let (offset, count) = (file.len(), 2 * WINDOW / 64);
    file.resize(offset + count * 64, 0);
    let size = file.len();
    let section = |file: &mut [u8], number: usize, end: usize| {
        let at = offset + 64 * number;
        file[at + 4] = 1; // SHT_PROGBITS
        file[at + 24..][..8].copy_from_slice(&(end as u64 - 1).to_le_bytes());
        file[at + 32..][..8].copy_from_slice(&1_u64.to_le_bytes());
    };
    file[40..48].copy_from_slice(&(offset as u64).to_le_bytes());
    file[58..60].copy_from_slice(&64_u16.to_le_bytes());
    file[60..62].copy_from_slice(&(count as u16).to_le_bytes());
    section(&mut file, count - 1, size);
    assert_eq!(same_answers(&file), Protocol::Multiboot1);
    header::check_file(Version::One, Narrow(&file)).unwrap();
    // The last one ends behind the file.
    section(&mut file, count - 1, size + 1);
    same_answers(&file);
    header::check_file(Version::One, Narrow(&file)).unwrap_err();
}
