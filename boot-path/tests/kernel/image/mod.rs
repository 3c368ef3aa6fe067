//! Kernels good and bad: the good ones get the plan they should, the bad ones their error.

use boot_path::errors::catalogue::Named;
use boot_path::kernel::image::{Group, KernelError, KernelImage, PageRange, Wishes, check_file};

use crate::elf_fixture::{ET_EXEC, Elf, ProgramHeader, R, W, X, note};

mod accepted;
mod any;
mod foreign;
mod note;
mod refused;

pub const HIGH: u64 = 0xFFFF_FFFF_8000_0000;
pub const MIB: u64 = 1 << 20;

/// Code, constants and data, with a bss, from `base`.
fn kernel(kind: u16, base: u64) -> Elf {
    Elf::new(kind, base + 0x10)
        .with(ProgramHeader::load(R | X, base, vec![0xF4; 0x1800], 0x1800))
        .with(ProgramHeader::load(R, base + 0x2000, vec![1; 0x234], 0x234))
        .with(ProgramHeader::load(
            R | W,
            base + 0x3000,
            vec![2; 0x100],
            0x2800,
        ))
}

fn executable() -> Elf {
    kernel(ET_EXEC, HIGH)
}

fn with_at(mut elf: Elf, distance: u64) -> Elf {
    for header in &mut elf.program_headers {
        header.physical_address = header.virtual_address.wrapping_sub(distance);
    }
    elf
}

pub fn accept(elf: &Elf) -> (KernelImage, Wishes) {
    check_file(&elf.build()).unwrap()
}

fn groups(elf: &Elf) -> Vec<Group> {
    accept(elf).0.groups().collect()
}

/// Start, size and permissions.
fn pages(image: &KernelImage, slide: u64) -> Vec<(u64, u64, &'static str)> {
    let text = |r: PageRange| match (r.writable, r.executable) {
        (false, false) => "r--",
        (false, true) => "r-x",
        (true, false) => "rw-",
        (true, true) => "rwx",
    };
    image
        .page_ranges(slide)
        .map(|r| (r.virtual_start.as_u64(), r.size, text(r)))
        .collect()
}

#[track_caller]
fn refuse(elf: &Elf, code: &str, error: KernelError) {
    refuse_bytes(&elf.build(), code, error);
}

#[track_caller]
fn refuse_bytes(bytes: &[u8], code: &str, error: KernelError) {
    let found = check_file(bytes).expect_err("the kernel is accepted");
    assert_eq!(found, error);
    assert_eq!(found.entry().code, code);
}

fn wish(kind: u32, value: u64) -> ProgramHeader {
    ProgramHeader::note(note("Bootpath", kind, &value.to_le_bytes(), 4))
}
