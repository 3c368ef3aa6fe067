//! If the contents of a file or a directory are wrong, the loader does not look for others.

use std::fs;

use anyhow::{Context as _, Result};
use machine_tests::elf::{ET_EXEC, Elf, MULTIBOOT2_MAGIC, ProgramHeader, R, X, noise, note};
use machine_tests::fats::{Fat, Fats, entry_of};
use machine_tests::image::small_kernel;
use machine_tests::kernels::gzip;
use machine_tests::samples::Sample;

use crate::{CONFIGURATION, KERNEL, each};

/// A kernel that ends with a note, which wants all physical memory at this address.
fn with_note(base: u64) -> Vec<u8> {
    const ELSEWHERE: u64 = 0xFFFF_FFFF_8020_0000;

    let base = base.to_le_bytes();
    let wish = note("Bootpath", handoff::NOTE_PHYSICAL_MAP_BASE, &base, 4);
    Elf::halting()
        .with(ProgramHeader::filled(R, ELSEWHERE, noise(5000)))
        .with(ProgramHeader::note(wish))
        .build()
}

/// A kernel for Multiboot 2 that ends with its program headers, which say that it was linked for
/// this address.
fn with_last_headers(address: u64) -> Vec<u8> {
    const ENTRY: u64 = 0x10_0000;
    const TABLE: usize = 32; // e_phoff
    const HEADERS: std::ops::Range<usize> = 64..64 + 56;

    let mut file = Elf::new(ET_EXEC, ENTRY)
        .with(ProgramHeader::filled(R | X, address, noise(5000)))
        .build();
    // The header has no entry address.
    let checksum = 0_u32.wrapping_sub(MULTIBOOT2_MAGIC + 24);
    let header = [MULTIBOOT2_MAGIC, 0, 24, checksum, 0, 8];
    for (place, word) in file[0x800..].chunks_mut(4).zip(header) {
        place.copy_from_slice(&word.to_le_bytes());
    }
    let table = file.len().next_multiple_of(512);
    file[TABLE..TABLE + 8].copy_from_slice(&(table as u64).to_le_bytes());
    let headers = file[HEADERS].to_vec();
    // Both FATs lead to the same first cluster.
    file[HEADERS].fill(0);
    file.resize(table, 0);
    file.extend(headers);
    file
}

/// The second FAT leads to other bytes, which make sense. Without checksums nobody knows which
/// bytes are right, so the first FAT counts: the error is that of its bytes.
#[test]
fn what_a_file_says_is_not_looked_for_elsewhere() -> Result<()> {
    let kernel = gzip(&fs::read(small_kernel()?.path())?)?;
    let mut wrong_sum = kernel.clone();
    let sum = wrong_sum.len() - 8;
    wrong_sum[sum] ^= 1;
    let configuration =
        |last: &str| format!("options exit\n{}{last}\n", "# a comment\n".repeat(100)).into_bytes();
    let halting = Elf::halting().build();
    let rows = [
        (
            "a note",
            with_note(0x1234),
            configuration(""),
            (KERNEL, with_note(0xFFFF_9000_0000_0000)),
            "10N: the kernel's note asks for something impossible: type 2, value 0x1234",
        ),
        (
            "a checksum of gzip",
            wrong_sum,
            configuration(""),
            (KERNEL, kernel),
            "8C: a compressed file cannot be unpacked: CRC-32 ",
        ),
        (
            "program headers",
            with_last_headers(0x20_0000),
            configuration(""),
            (KERNEL, with_last_headers(0x10_0000)),
            "10J: the kernel's entry point is not in an executable segment: e_entry 0x100000",
        ),
        (
            "a configuration",
            halting,
            configuration("chain disk2"),
            (CONFIGURATION, configuration("#hain disk2")),
            "9C: /boot/kernel.conf cannot be read: line 102: chain takes drive=80h, partition=1 or both",
        ),
    ];
    each(rows, |(name, kernel, text, (path, other), error)| {
        let sample = Sample::build(&kernel, &[], Vec::new(), |recipe| {
            recipe.unchecked = true;
            recipe.checksums = false;
        })?;
        sample.image.put(CONFIGURATION, &text)?;
        let mut fats = Fats::of(&sample.image)?;
        fats.second_view(path, &other).context(name)?;
        sample.fails(error).context(name)
    })
}

/// An image whose directory has no kernel by the first FAT.
fn without_kernel_by_the_first_fat(checksums: bool) -> Result<Sample> {
    let kernel = fs::read(small_kernel()?.path())?;
    let says = vec!["command line: exit\r\n".into()];
    let sample = Sample::build(&kernel, &[], says, |recipe| {
        recipe.command_line = "exit".into();
        recipe.checksums = checksums;
    })?;
    Fats::of(&sample.image)?.split_directory("/boot", |fat, entries| {
        let name = entry_of(entries, b"KERNEL  ELF")?;
        if fat == Fat::First {
            name[0] = b'X';
        }
        Ok(())
    })?;
    Ok(sample)
}

#[test]
fn what_has_a_checksum_is_known_to_be_there() -> Result<()> {
    let change = format!("the second FAT, because of 9A: {KERNEL}");
    without_kernel_by_the_first_fat(true)?.boots(Some(&change))
}

#[test]
fn what_a_directory_says_is_not_looked_for_elsewhere() -> Result<()> {
    let error = format!("9A: there is no kernel in the boot partition: {KERNEL}");
    without_kernel_by_the_first_fat(false)?.fails(&error)
}
