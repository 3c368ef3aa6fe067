//! Kernels: their ELF files, and how they are put into memory.

#[path = "../../../tests/src/elf_fixture.rs"]
#[allow(dead_code, reason = "each test program uses its own part")]
mod elf_fixture;

mod image;
mod placement;
mod relocate;
