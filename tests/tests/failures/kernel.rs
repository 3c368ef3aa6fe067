//! Kernels that are refused.

use anyhow::Result;
use machine_tests::elf::{ET_DYN, Elf, PT_DYNAMIC, ProgramHeader, R, W, X, noise, rela, words};
use machine_tests::image::Image;
use machine_tests::machine::Machine;

use crate::{ELSEWHERE, refused, refused_if};

#[test]
fn the_kernel_is_empty() -> Result<()> {
    refused(b"", "10A", &[])
}

#[test]
fn the_kernel_is_truncated() -> Result<()> {
    let kernel = Elf::halting().with(ProgramHeader::filled(R, ELSEWHERE, noise(10_000)));
    let mut bytes = kernel.build();
    bytes.truncate(bytes.len() - 1);
    refused(&bytes, "10E", &[])
}

#[test]
fn a_segment_is_not_canonical() -> Result<()> {
    refused_if(
        |kernel| {
            let load = ProgramHeader::filled(R, 0x1234_0000_0000_0000, vec![1]);
            kernel.program_headers.push(load);
        },
        "10I",
    )
}

#[test]
fn the_entry_point_is_not_executable() -> Result<()> {
    refused_if(|kernel| kernel.program_headers[0].flags = R, "10J")
}

/// A kernel that runs anywhere, with one relocation.
fn relocated_kernel(kind: u32) -> Elf {
    const DYNAMIC: u64 = 0x1000;
    const TABLE: u64 = 0x1100;
    const DATA: u64 = 0x2000;
    // Tags of the dynamic section.
    const RELA: u64 = 7;
    const RELA_SIZE: u64 = 8;
    const RELA_ENTRY: u64 = 9;

    let table = rela(kind, DATA, 0);
    let size = table.len() as u64;
    let mut tables = words([RELA, TABLE, RELA_SIZE, size, RELA_ENTRY, size, 0, 0]);
    let dynamic = ProgramHeader::within_load(PT_DYNAMIC, DYNAMIC, tables.len() as u64);
    tables.resize((TABLE - DYNAMIC) as usize, 0);
    tables.extend(table);
    let code = Elf::halting().flat().to_vec();
    Elf::new(ET_DYN, 0)
        .with(ProgramHeader::filled(R | X, 0, code))
        .with(ProgramHeader::filled(R, DYNAMIC, tables))
        .with(ProgramHeader::filled(R | W, DATA, vec![0; 8]))
        .with(dynamic)
}

#[test]
fn the_kernel_needs_another_relocation() -> Result<()> {
    const RELATIVE: u32 = 8;
    const PC32: u32 = 2;
    const IRELATIVE: u32 = 37;

    for kind in [PC32, IRELATIVE] {
        let fact = format!("type {kind} ");
        refused(&relocated_kernel(kind).build(), "10M", &[&fact])?;
    }
    // With another type of relocation, the kernel boots.
    let image = Image::with_kernel(&relocated_kernel(RELATIVE).build())?;
    let mut machine = Machine::new(&image.path()).start()?;
    machine.wait_for("12 handoff").map(drop)
}
