//! Fuzz targets: what must hold whatever bytes the loader reads.
//!
//! Each target is a function in [`targets`] that takes any bytes and panics where a promise is
//! broken. `fuzz_targets/` has a program for each. With `cfg(fuzzing)` (`./run.sh fuzz`,
//! `cargo fuzz run NAME`) the program is libFuzzer's; otherwise it runs the files that it is given.
//! The test `corpus` runs all of `corpus/`. `docs/fuzzing.md` says how to use all that.

pub mod disk;
pub mod input;
pub mod kernels;
pub mod promises;
pub mod seeds;
pub mod targets;
pub mod whole_disk;

#[path = "../../tests/src/elf_fixture.rs"]
#[allow(dead_code, reason = "each program uses its own part")]
pub mod elf_fixture;
#[path = "../../boot-path/tests/support/mmu.rs"]
pub mod mmu;
#[path = "../../boot-path/tests/support/bzimage.rs"]
#[allow(dead_code, reason = "each program uses its own part")]
pub mod bzimage;
#[path = "../../boot-path/tests/support/tiny.rs"]
pub mod tiny;

#[cfg(fuzzing)]
pub use libfuzzer_sys;

use std::process::ExitCode;

/// A fuzz target.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// The name of its program, its corpus and its module.
    pub name: &'static str,
    /// Takes any bytes; panics where a promise is broken.
    pub run: fn(&[u8]),
}

macro_rules! all {
    ($($name:ident)*) => {
        &[$(Target { name: stringify!($name), run: targets::$name::run }),*]
    };
}

/// All of them.
pub const TARGETS: &[Target] = all!(mbr fat elf elf_note gzip memory_map stage2_header command_line entries multiboot_information multiboot1 multiboot2 linux chain limine vbe boot_path);

/// The program of a target.
#[cfg(fuzzing)]
#[macro_export]
macro_rules! target {
    ($name:ident) => {
        $crate::libfuzzer_sys::fuzz_target!(|bytes: &[u8]| $crate::targets::$name::run(bytes));
    };
}

/// The program of a target.
#[cfg(not(fuzzing))]
#[macro_export]
macro_rules! target {
    ($name:ident) => {
        fn main() -> std::process::ExitCode {
            $crate::replay($crate::targets::$name::run)
        }
    };
}

/// Runs a target with each of the files in the command line.
pub fn replay(run: fn(&[u8])) -> ExitCode {
    let files: Vec<_> = std::env::args_os().skip(1).collect();
    if files.is_empty() {
        eprintln!("give files with inputs; to fuzz: ./run.sh fuzz");
        return ExitCode::from(2);
    }
    for file in files {
        match std::fs::read(&file) {
            Ok(bytes) => run(&bytes),
            Err(error) => {
                eprintln!("{}: {error}", file.display());
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}
