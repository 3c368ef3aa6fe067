//! Kernels by each protocol, and what they are told.

#[path = "../support/bzimage.rs"]
#[allow(dead_code, reason = "each test program uses its own part")]
mod bzimage;
#[path = "../../../tests/src/elf_fixture.rs"]
#[allow(dead_code, reason = "each test program uses its own part")]
mod elf_fixture;
#[path = "../support/mmu.rs"]
mod mmu;

mod boot_sector;
mod limine;
mod linux;
mod multiboot;
