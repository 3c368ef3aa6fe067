//! The loader that is part of `disk-builder`.
#![cfg(feature = "built-in-loader")]

#[path = "support/package.rs"]
mod package;

use std::fs;

use disk_builder::stages::{self, ElfFile, LOADER, STAGE2, build_program};
use object::read::elf::{FileHeader as _, ProgramHeader as _};
use object::{Endianness, elf};
use package::{TARGET, is_installed};

/// Addresses and bytes of what is loaded.
fn loaded(file: &[u8]) -> Vec<(u64, &[u8])> {
    let header = elf::FileHeader64::<Endianness>::parse(file).unwrap();
    let endian = header.endian().unwrap();
    let segments = header.program_headers(endian, file).unwrap().iter();
    segments
        .filter(|segment| segment.p_type(endian) == elf::PT_LOAD)
        .map(|segment| (segment.p_paddr(endian), segment.data(endian, file).unwrap()))
        .collect()
}

/// It has the bytes that its sources have in any other build, and no debug information.
#[test]
fn is_the_one_that_the_sources_make() {
    for program in LOADER {
        let ElfFile::BuiltIn(name, built_in) = ElfFile::of(&program).unwrap() else {
            panic!("{program:?} is not built in");
        };
        assert_eq!(name, program.bin);
        let built = fs::read(build_program(&program).unwrap()).unwrap();
        assert!(!loaded(built_in).is_empty());
        assert_eq!(loaded(built_in), loaded(&built), "{name}");
        assert!(
            built_in.len() < built.len() / 2 || built.len() < 20_000,
            "{name}"
        );
    }
}

/// The libraries for the target of hosts that are not x86-64 Linux are larger than Linux's.
#[test]
fn its_stage2_has_room_on_every_host() {
    if !is_installed(TARGET) {
        eprintln!("skipped: rustup target add {TARGET}");
        return;
    }
    stages::build_program_for(TARGET, &STAGE2).unwrap();
}
