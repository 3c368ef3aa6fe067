//! Relocations are applied as the tables say, and tables that say anything else are refused.

use std::collections::BTreeSet;

use boot_path::errors::catalogue::Named;
use boot_path::kernel::image::{KernelError, KernelImage, Table, check_file};
use boot_path::kernel::relocate::{LoadedKernel, relocate};
use boot_path::memory::address::VirtAddr;
use proptest::prelude::*;

use crate::elf_fixture::{
    ET_DYN, Elf, PT_DYNAMIC, PT_INTERP, ProgramHeader, R, W, X, rela, rela_by, words,
};

const DT_NEEDED: u64 = 1;
const DT_PLTRELSZ: u64 = 2;
const DT_SYMTAB: u64 = 6;
const DT_RELA: u64 = 7;
const DT_RELASZ: u64 = 8;
const DT_RELAENT: u64 = 9;
const DT_SYMENT: u64 = 11;
const DT_REL: u64 = 17;
const DT_RELSZ: u64 = 18;
const DT_PLTREL: u64 = 20;
const DT_JMPREL: u64 = 23;
const DT_RELRSZ: u64 = 35;
const DT_RELR: u64 = 36;
const DT_RELRENT: u64 = 37;
const DT_RELACOUNT: u64 = 0x6FFF_FFF9;

const NONE: u32 = 0;
const R64: u32 = 1;
const PC32: u32 = 2;
const COPY: u32 = 5;
const GLOB_DAT: u32 = 6;
const JUMP_SLOT: u32 = 7;
const RELATIVE: u32 = 8;
const IRELATIVE: u32 = 37;

/// Where the dynamic section, the table of relocations and the data are.
const DYNAMIC: u64 = 0x1000;
const TABLE: u64 = 0x1200;
const DATA: u64 = 0x10_0000;
/// Bytes of data; as many zeroes follow.
const DATA_SIZE: u64 = 0x1000;
const DATA_END: u64 = DATA + 2 * DATA_SIZE;

/// A static PIE with a dynamic section (pairs of tag and value, DT_NULL is added) and a table.
fn kernel(dynamic: &[u64], table: &[u8]) -> Elf {
    let mut tables = words(dynamic.iter().copied().chain([0, 0]));
    let size = tables.len() as u64;
    assert!(size <= TABLE - DYNAMIC);
    tables.resize((TABLE - DYNAMIC) as usize, 0);
    tables.extend(table);
    let length = tables.len() as u64;
    let data = words((0..DATA_SIZE / 8).map(|i| 0x1000 * i + 5));
    Elf::new(ET_DYN, 0)
        .with(ProgramHeader::load(R | X, 0, vec![0xF4; 16], 16))
        .with(ProgramHeader::load(R, DYNAMIC, tables, length))
        .with(ProgramHeader::load(R | W, DATA, data, 2 * DATA_SIZE))
        .with(ProgramHeader::within_load(PT_DYNAMIC, DYNAMIC, size))
}

fn with_rela(table: &[u8]) -> Elf {
    kernel(
        &[
            DT_RELA,
            TABLE,
            DT_RELASZ,
            table.len() as u64,
            DT_RELAENT,
            24,
        ],
        table,
    )
}

fn with_relr(table: &[u64]) -> Elf {
    let table = words(table.iter().copied());
    kernel(
        &[DT_RELR, TABLE, DT_RELRSZ, table.len() as u64, DT_RELRENT, 8],
        &table,
    )
}

/// A kernel in memory.
struct Memory {
    image: KernelImage,
    segments: Vec<Vec<u8>>,
}

impl Memory {
    fn load(elf: &Elf) -> Self {
        let file = elf.build();
        let count = elf.program_headers.len();
        let image = KernelImage::parse(&file, &file[64..64 + 56 * count], file.len() as u64);
        let image = image.unwrap();
        let segments = image.segments().iter().map(|s| {
            let mut memory =
                file[s.file_offset.as_u64() as usize..][..s.file_size as usize].to_vec();
            memory.resize(s.memory_size as usize, 0);
            memory
        });
        Self {
            segments: segments.collect(),
            image,
        }
    }

    fn relocate(&mut self, slide: u64) -> Result<u64, KernelError> {
        let image = self.image.clone();
        relocate(&image, self, slide)
    }

    /// The word at an address in the data.
    fn data(&self, address: u64) -> u64 {
        let at = (address - DATA) as usize;
        u64::from_le_bytes(self.segments[2][at..at + 8].try_into().unwrap())
    }
}

impl LoadedKernel for Memory {
    fn bytes(&self, segment: usize) -> &[u8] {
        &self.segments[segment][..self.image.segments()[segment].file_size as usize]
    }
    fn memory(&mut self, segment: usize) -> Option<&mut [u8]> {
        Some(&mut self.segments[segment])
    }
}

/// Checks that the host and the relocation in memory both refuse it.
#[track_caller]
fn refuse(elf: &Elf, code: &str, error: KernelError) {
    assert_eq!(error.entry().code, code);
    assert_eq!(check_file(&elf.build()).err(), Some(error));
    assert_eq!(Memory::load(elf).relocate(0x1000), Err(error));
}

#[test]
fn nothing_to_do() {
    let mut elf = kernel(&[], &[]);
    assert_eq!(Memory::load(&elf).relocate(0x1000), Ok(0));
    elf.program_headers.pop();
    assert_eq!(Memory::load(&elf).relocate(0x1000), Ok(0));
    // Tables that are there, but empty.
    let empty = [
        DT_RELA, 0, DT_RELASZ, 0, DT_RELR, 0, DT_RELRSZ, 0, DT_REL, 0, DT_RELSZ, 0,
    ];
    assert_eq!(Memory::load(&kernel(&empty, &[])).relocate(0x1000), Ok(0));
}

#[test]
fn rela_sets() {
    let slide = 0xFFFF_FFFF_8000_0000;
    let table = [
        rela(RELATIVE, DATA, 0x10),
        rela(RELATIVE, 0x8, 0x77),
        rela(NONE, 0, 0),
        rela(RELATIVE, DATA_END - 8, DATA + 8),
        rela(RELATIVE, DATA + 21, u64::MAX),
    ]
    .concat();
    let mut memory = Memory::load(&with_rela(&table));
    assert_eq!(memory.relocate(slide), Ok(4));
    assert_eq!(memory.data(DATA), slide + 0x10);
    assert_eq!(memory.data(DATA_END - 8), slide + DATA + 8);
    assert_eq!(memory.data(DATA + 21), slide - 1);
    assert_eq!(memory.segments[0][8..], (slide + 0x77).to_le_bytes());
    assert_eq!(memory.data(DATA + 8), 0x1005);
    // The word in front of the last one keeps its zeroes.
    assert_eq!(memory.data(DATA_END - 16), 0);
}

#[test]
fn relr_adds() {
    let slide = 0xFFFF_FFFF_8000_0000;
    let first = DATA + 0x20;
    let table = [
        first,
        1 | 1 << 1 | 1 << 63,
        1 | 1 << 2,
        DATA + 0x800,
        DATA_END - 8,
    ];
    let mut memory = Memory::load(&with_relr(&table));
    let before: Vec<u64> = (0..1024).map(|i| memory.data(DATA + 8 * i)).collect();
    assert_eq!(memory.relocate(slide), Ok(6));
    // The words behind the first: 1 and 63 from the first bitmap, 63 + 2 from the second.
    let relocated: BTreeSet<u64> = [
        first,
        first + 8,
        first + 63 * 8,
        first + (63 + 2) * 8,
        DATA + 0x800,
        DATA_END - 8,
    ]
    .into();
    for (i, before) in (0..).zip(before) {
        let address = DATA + 8 * i;
        let expected = before.wrapping_add(if relocated.contains(&address) {
            slide
        } else {
            0
        });
        assert_eq!(memory.data(address), expected, "{address:#x}");
    }
}

#[test]
fn all_tables_together() {
    let mut table = rela(RELATIVE, DATA, 1);
    table.extend(rela(RELATIVE, DATA + 8, 2));
    table.extend(words([DATA + 16]));
    let dynamic = [
        DT_JMPREL,
        TABLE + 24,
        DT_PLTRELSZ,
        24,
        DT_PLTREL,
        DT_RELA,
        DT_RELA,
        TABLE,
        DT_RELASZ,
        24,
        DT_RELAENT,
        24,
        DT_RELACOUNT,
        1,
        DT_RELR,
        TABLE + 48,
        DT_RELRSZ,
        8,
        DT_RELRENT,
        8,
    ];
    let elf = kernel(&dynamic, &table);
    check_file(&elf.build()).unwrap();
    let mut memory = Memory::load(&elf);
    assert_eq!(memory.relocate(0x1000), Ok(3));
    assert_eq!(
        [DATA, DATA + 8, DATA + 16].map(|at| memory.data(at)),
        [0x1001, 0x1002, 0x3005]
    );
}

#[test]
fn what_follows_the_end_is_ignored() {
    let elf = kernel(
        &[
            DT_RELA, TABLE, DT_RELASZ, 24, DT_RELAENT, 24, 0, 0, DT_NEEDED, 1,
        ],
        &[0; 24],
    );
    assert_eq!(Memory::load(&elf).relocate(0), Ok(0));
}

#[test]
fn other_relocations() {
    for kind in [PC32, COPY, IRELATIVE, u32::MAX] {
        let table = [rela(RELATIVE, DATA, 0), rela(kind, DATA + 8, 0)].concat();
        let error = KernelError::Relocation {
            kind,
            address: VirtAddr::new(DATA + 8),
        };
        refuse(&with_rela(&table), "10M", error);
        let dynamic = [DT_JMPREL, TABLE, DT_PLTRELSZ, 48, DT_PLTREL, DT_RELA];
        refuse(&kernel(&dynamic, &table), "10M", error);
    }
    let error = KernelError::ImplicitAddends {
        address: VirtAddr::new(TABLE),
        size: 16,
    };
    let table = words([DATA, 8]);
    refuse(
        &kernel(&[DT_REL, TABLE, DT_RELSZ, 16], &table),
        "10M",
        error,
    );
    let dynamic = [DT_JMPREL, TABLE, DT_PLTRELSZ, 16, DT_PLTREL, DT_REL];
    refuse(&kernel(&dynamic, &table), "10M", error);
}

/// Binding and type of a symbol.
const GLOBAL: u8 = 1 << 4;
const WEAK: u8 = 2 << 4;
const TLS: u8 = 6;
const FUNCTION: u8 = 2;
const INDIRECT: u8 = 10;

const UNDEFINED: u16 = 0;
const ABSOLUTE: u16 = 0xFFF1;

/// A symbol by binding and type, section and value.
fn symbol(info: u8, section: u16, value: u64) -> Vec<u8> {
    words([u64::from(info) << 32 | u64::from(section) << 48, value, 0])
}

/// A kernel with a table of relocations, and with symbols behind it: those given, and 0 in front.
fn with_symbols(table: &[u8], symbols: &[Vec<u8>]) -> Elf {
    let size = table.len() as u64;
    let dynamic = [
        [DT_RELA, TABLE, DT_RELASZ, size, DT_RELAENT, 24],
        [DT_SYMTAB, TABLE + size, DT_SYMENT, 24, 0, 0],
    ];
    let symbols = symbols.concat();
    kernel(
        dynamic.as_flattened(),
        &[table, &[0; 24], &symbols[..]].concat(),
    )
}

#[test]
fn symbols_of_the_kernel_itself() {
    let slide = 0xFFFF_FFFF_8000_0000;
    let symbols = [
        symbol(GLOBAL | FUNCTION, 1, 0x10),
        symbol(GLOBAL, ABSOLUTE, 0x1234),
        symbol(WEAK, UNDEFINED, 0x55),
        symbol(WEAK, 3, DATA),
    ];
    let cases = [
        (R64, 1, 5, slide + 0x15),
        (GLOB_DAT, 1, 5, slide + 0x10),
        (JUMP_SLOT, 1, 5, slide + 0x10),
        // An absolute symbol does not move, and an undefined weak one is 0.
        (R64, 2, 5, 0x1239),
        (GLOB_DAT, 2, 5, 0x1234),
        (R64, 3, 5, 5),
        (JUMP_SLOT, 3, 5, 0),
        (GLOB_DAT, 4, 0, slide + DATA),
        (R64, 4, u64::MAX, slide + DATA - 1),
        // Symbol 0 is none.
        (R64, 0, 7, 7),
        (RELATIVE, 0, 7, slide + 7),
    ];
    // More than one batch of them, so that each kind is at each place of one.
    let many: Vec<_> = cases.iter().cycle().take(200).collect();
    let table = (0..)
        .zip(&many)
        .flat_map(|(at, &&(kind, number, addend, _))| rela_by(number, kind, DATA + 8 * at, addend));
    let elf = with_symbols(&table.collect::<Vec<_>>(), &symbols);
    check_file(&elf.build()).unwrap();
    let mut memory = Memory::load(&elf);
    assert_eq!(memory.relocate(slide), Ok(200));
    for (at, &&(kind, number, _, expected)) in (0..).zip(&many) {
        assert_eq!(memory.data(DATA + 8 * at), expected, "{kind} by {number}");
    }
    // The lazy bindings of DT_JMPREL.
    let dynamic = [
        [DT_JMPREL, TABLE, DT_PLTRELSZ, 24, DT_PLTREL, DT_RELA],
        [DT_SYMTAB, TABLE + 24, 0, 0, 0, 0],
    ];
    let table = [
        rela_by(1, JUMP_SLOT, DATA, 0),
        vec![0; 24],
        symbols[0].clone(),
    ];
    let mut memory = Memory::load(&kernel(dynamic.as_flattened(), &table.concat()));
    assert_eq!(memory.relocate(slide), Ok(1));
    assert_eq!(memory.data(DATA), slide + 0x10);
}

#[test]
fn symbols_that_are_nowhere() {
    let address = VirtAddr::new(DATA);
    for kind in [R64, GLOB_DAT, JUMP_SLOT] {
        let table = rela_by(1, kind, DATA, 0);
        let with = |info, section| with_symbols(&table, &[symbol(info, section, 0x10)]);
        let error = KernelError::Undefined { symbol: 1, address };
        for info in [GLOBAL, GLOBAL | FUNCTION, 0] {
            refuse(&with(info, UNDEFINED), "10M", error);
        }
        for (info, kind) in [(GLOBAL | TLS, TLS), (WEAK | INDIRECT, INDIRECT)] {
            let symbol = 1;
            let error = KernelError::SymbolKind {
                symbol,
                kind,
                address,
            };
            refuse(&with(info, 1), "10M", error);
        }
        // Behind the end of what the file has, as far away as a number can be; without a table.
        let not_loaded = |start| KernelError::NotLoaded {
            kind: Table::Symbols,
            address: VirtAddr::new(start),
            size: 24,
        };
        let end = TABLE + 24 + 2 * 24;
        for number in [2, u32::MAX] {
            let table = rela_by(number, kind, DATA, 0);
            let elf = with_symbols(&table, &[symbol(GLOBAL, 1, 0x10)]);
            let start = end - 2 * 24 + 24 * u64::from(number);
            refuse(&elf, "10F", not_loaded(start));
        }
        let far = rela_by(u32::MAX, kind, DATA, 0);
        refuse(
            &with_rela(&far),
            "10F",
            not_loaded(24 * u64::from(u32::MAX)),
        );
        // At the end of the address space.
        let dynamic = [
            [DT_RELA, TABLE, DT_RELASZ, 24, DT_RELAENT, 24],
            [DT_SYMTAB, !7, 0, 0, 0, 0],
        ];
        let elf = kernel(dynamic.as_flattened(), &far);
        refuse(
            &elf,
            "10F",
            not_loaded((!7_u64).wrapping_add(24 * u64::from(u32::MAX))),
        );
        let dynamic = [
            [DT_RELA, TABLE, DT_RELASZ, 24, DT_RELAENT, 24],
            [DT_SYMTAB, TABLE, DT_SYMENT, 16, 0, 0],
        ];
        let error = KernelError::TableSize {
            kind: Table::Symbols,
            size: 0,
            entry_size: 16,
        };
        refuse(&kernel(dynamic.as_flattened(), &table), "10F", error);
    }
}

/// Linkers name an interpreter by default: a kernel that needs no library boots with one.
#[test]
fn an_interpreter_is_ignored() {
    let table = rela(RELATIVE, DATA, 0x10);
    let elf = with_rela(&table).with(ProgramHeader::within_load(PT_INTERP, DYNAMIC, 9));
    check_file(&elf.build()).unwrap();
    let mut memory = Memory::load(&elf);
    assert_eq!(memory.relocate(0x1000), Ok(1));
    assert_eq!(memory.data(DATA), 0x1010);
}

#[test]
fn other_places() {
    let target = |address| KernelError::RelocationTarget {
        address: VirtAddr::new(address),
    };
    for address in [
        DATA - 8,
        DATA - 1,
        DATA_END - 7,
        DATA_END,
        9,
        0x8000,
        u64::MAX,
        u64::MAX - 7,
    ] {
        let error = target(address);
        refuse(&with_rela(&rela(RELATIVE, address, 0)), "10M", error);
        // In DT_RELR, odd numbers are bitmaps.
        if address.is_multiple_of(2) {
            refuse(&with_relr(&[address]), "10M", error);
        }
    }
    // A bitmap leads behind the end, and a bitmap has no address in front of it.
    refuse(&with_relr(&[DATA_END - 8, 3]), "10M", target(DATA_END));
    refuse(&with_relr(&[3]), "10M", target(3));
    let error = target(DATA_END + 63 * 8);
    refuse(&with_relr(&[DATA_END - 8, 1, 3]), "10M", error);
}

#[test]
fn shared_libraries() {
    refuse(
        &kernel(&[DT_NEEDED, 1], &[]),
        "10O",
        KernelError::SharedLibrary,
    );
}

#[test]
fn bad_tables() {
    let not_loaded = |kind, address, size| KernelError::NotLoaded {
        kind,
        address: VirtAddr::new(address),
        size,
    };
    // One byte too long; somewhere else; in the zeroed part of a segment; at the end of memory.
    for (address, size) in [(TABLE, 48), (0x8000, 24), (DATA + DATA_SIZE, 24), (!7, 24)] {
        let dynamic = [DT_RELA, address, DT_RELASZ, size, DT_RELAENT, 24];
        refuse(
            &kernel(&dynamic, &[0; 47]),
            "10F",
            not_loaded(Table::Rela, address, size),
        );
    }
    for size in [u64::MAX - 7, 16] {
        let dynamic = [DT_RELR, TABLE, DT_RELRSZ, size, DT_RELRENT, 8];
        refuse(
            &kernel(&dynamic, &[0; 8]),
            "10F",
            not_loaded(Table::Relr, TABLE, size),
        );
    }
    let dynamic = [DT_JMPREL, 1, DT_PLTRELSZ, 24, DT_PLTREL, DT_RELA];
    refuse(
        &kernel(&dynamic, &[]),
        "10F",
        not_loaded(Table::JumpRelocations, 1, 24),
    );
    for at in [0x8000, DATA + DATA_SIZE - 8, u64::MAX] {
        let mut elf = kernel(&[], &[]);
        elf.program_headers[3].virtual_address = at;
        refuse(&elf, "10F", not_loaded(Table::Dynamic, at, 16));
    }

    let size = |kind, size, entry_size| KernelError::TableSize {
        kind,
        size,
        entry_size,
    };
    for (bytes, entry) in [(24, 0), (48, 16), (24, 12), (25, 24), (23, 24)] {
        let dynamic = [DT_RELA, TABLE, DT_RELASZ, bytes, DT_RELAENT, entry];
        refuse(
            &kernel(&dynamic, &[0; 64]),
            "10F",
            size(Table::Rela, bytes, entry),
        );
    }
    let elf = kernel(&[DT_RELA, TABLE, DT_RELAENT, 24], &[0; 64]);
    refuse(&elf, "10F", size(Table::Rela, 0, 24));
    let elf = kernel(&[DT_RELASZ, 24, DT_RELAENT, 24], &[0; 64]);
    refuse(&elf, "10F", size(Table::Rela, 24, 24));
    let elf = kernel(&[DT_RELR, TABLE, DT_RELRSZ, 8], &[0; 64]);
    refuse(&elf, "10F", size(Table::Relr, 8, 0));
    let elf = kernel(&[DT_RELR, TABLE, DT_RELRSZ, 9, DT_RELRENT, 8], &[0; 64]);
    refuse(&elf, "10F", size(Table::Relr, 9, 8));
}

#[test]
fn a_table_that_relocates_itself() {
    // The first entry replaces a later one: no memory outside of the segments is touched.
    let mut table = rela(RELATIVE, TABLE + 200 * 24, u64::MAX - 0x1000 - 7);
    table.extend(rela(RELATIVE, DATA, 0).repeat(200));
    let address = VirtAddr::new(u64::MAX - 7);
    let error = KernelError::RelocationTarget { address };
    let mut memory = Memory::load(&with_rela(&table));
    assert_eq!(memory.relocate(0x1000), Err(error));
}

/// Packs sorted, even addresses as a linker does.
fn pack(addresses: &[u64]) -> Vec<u64> {
    let mut table = Vec::new();
    let mut rest = addresses.iter().copied().peekable();
    while let Some(address) = rest.next() {
        table.push(address);
        let mut start = address + 8;
        loop {
            let mut bitmap = 0;
            while let Some(next) = rest.next_if(|&a| a < start + 63 * 8 && (a - start) % 8 == 0) {
                bitmap |= 1 << ((next - start) / 8);
            }
            if bitmap == 0 {
                break;
            }
            table.push(bitmap << 1 | 1);
            start += 63 * 8;
        }
    }
    table
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    /// DT_RELR and DT_RELA for the same addresses come to the same.
    #[test]
    fn both_forms_agree(
        words in prop::collection::btree_set(0..2 * DATA_SIZE / 8, 0..300),
        slide in any::<u64>(),
    ) {
        let addresses: Vec<u64> = words.into_iter().map(|word| DATA + word * 8).collect();
        let mut packed = Memory::load(&with_relr(&pack(&addresses)));
        let plain = addresses.iter().flat_map(|&a| rela(RELATIVE, a, packed.data(a)));
        let mut plain = Memory::load(&with_rela(&plain.collect::<Vec<_>>()));
        prop_assert_eq!(packed.relocate(slide), Ok(addresses.len() as u64));
        prop_assert_eq!(plain.relocate(slide), Ok(addresses.len() as u64));
        prop_assert_eq!(&packed.segments[2], &plain.segments[2]);
    }
}
