//! ELF files made by hand, so that no test needs a compiler.

#![allow(dead_code, reason = "each test program uses some of it")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use disk_builder::image::{Built, Recipe};
use disk_builder::stages::Stages;
use disk_layout::{mbr, parts, stage2};
use tempfile::TempDir;

/// The address that the kernels are linked for.
pub const KERNEL_VMA: u64 = 0xFFFF_FFFF_8000_0000;

/// A segment: address in memory (virtual and physical), flags, bytes, and bytes of bss.
pub struct Load<'a>(pub u64, pub u32, pub &'a [u8], pub u64);

/// A 64-bit executable for x86-64. Each segment begins on a page of the file.
pub fn elf(entry: u64, segments: &[Load]) -> Vec<u8> {
    let mut file = vec![0; 64 + 56 * segments.len()];
    file[..7].copy_from_slice(b"\x7FELF\x02\x01\x01");
    let mut put = |offset: usize, bytes: &[u8]| {
        file[offset..offset + bytes.len()].copy_from_slice(bytes);
    };
    put(16, &2u16.to_le_bytes()); // ET_EXEC
    put(18, &62u16.to_le_bytes()); // EM_X86_64
    put(20, &1u32.to_le_bytes());
    put(24, &entry.to_le_bytes());
    put(32, &64u64.to_le_bytes()); // program headers
    put(52, &64u16.to_le_bytes());
    put(54, &56u16.to_le_bytes());
    put(56, &(segments.len() as u16).to_le_bytes());
    put(58, &64u16.to_le_bytes());
    for (number, Load(address, flags, bytes, bss)) in segments.iter().enumerate() {
        let offset = file.len().next_multiple_of(4096) + (*address % 4096) as usize;
        let header = 64 + 56 * number;
        let size = bytes.len() as u64;
        file[header..header + 4].copy_from_slice(&1u32.to_le_bytes()); // PT_LOAD
        file[header + 4..header + 8].copy_from_slice(&flags.to_le_bytes());
        let words = [offset as u64, *address, *address, size, size + bss, 4096];
        for (index, word) in words.iter().enumerate() {
            file[header + 8 + 8 * index..][..8].copy_from_slice(&word.to_le_bytes());
        }
        file.resize(offset, 0);
        file.extend_from_slice(bytes);
    }
    file
}

/// Bytes that do not compress and do not repeat: a linear congruential generator (Knuth's MMIX).
pub fn noise(length: usize) -> Vec<u8> {
    let mut state = 1u64;
    (0..length)
        .map(|_| {
            state = state
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (state >> 56) as u8
        })
        .collect()
}

/// A kernel with `size` bytes in an executable segment, and some data and bss.
pub fn kernel(size: usize) -> Vec<u8> {
    let data = KERNEL_VMA + (size as u64).next_multiple_of(4096);
    elf(
        KERNEL_VMA,
        &[
            Load(KERNEL_VMA, 5, &noise(size), 0),
            Load(data, 6, b"data", 10000),
        ],
    )
}

/// stage1: a jump over the BPB area and `code` behind it.
pub fn stage1(code: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0xEB, 0x58, 0x90];
    bytes.resize(mbr::BPB_AREA.end, 0);
    bytes.extend_from_slice(code);
    let base = u64::from(mbr::LOAD_ADDRESS);
    elf(base, &[Load(base, 7, &bytes, 0)])
}

/// The boot program of a CD, with `code`.
pub fn stage1_cd(code: &[u8]) -> Vec<u8> {
    let base = u64::from(mbr::LOAD_ADDRESS);
    elf(base, &[Load(base, 7, code, 0)])
}

/// stage2 without other parts: the magic and `length` bytes in all.
pub fn stage2(length: usize) -> Vec<u8> {
    let mut bytes = noise(length);
    bytes[..stage2::ENTRY_OFFSET].fill(0);
    let places = parts::TABLE_OFFSET..parts::TABLE_OFFSET + size_of::<parts::Table>();
    bytes[places].fill(0);
    bytes[..stage2::MAGIC.len()].copy_from_slice(&stage2::MAGIC);
    let base = u64::from(stage2::LOAD_ADDRESS);
    elf(
        base + stage2::ENTRY_OFFSET as u64,
        &[Load(base, 7, &bytes, 192_512)],
    )
}

/// A directory with fake stages and what else a test puts into it.
pub struct Workshop {
    directory: TempDir,
}

impl Workshop {
    pub fn new() -> Self {
        let workshop = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        workshop.file("stage1", &stage1(&[0xF4; 100]));
        workshop.file("stage1-cd", &stage1_cd(&[0xF4; 200]));
        workshop.file("stage2", &stage2(5000));
        workshop
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    pub fn stages(&self) -> Stages {
        Stages::in_directory(self.directory.path())
    }

    /// A recipe for `disk.img` with this kernel.
    pub fn recipe(&self, kernel: &[u8]) -> Recipe {
        Recipe::new(
            self.file("kernel.elf", kernel),
            self.path("disk.img"),
            self.stages(),
        )
    }

    pub fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.directory.path()).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

/// Builds an image that has to be refused, and returns the message.
pub fn refusal(recipe: &Recipe) -> String {
    let error = disk_builder::image::build(recipe).expect_err("should have been refused");
    format!("{error:#}")
}

/// Builds.
pub fn build(recipe: &Recipe) -> Built {
    disk_builder::image::build(recipe).unwrap_or_else(|error| panic!("{error:#}"))
}

/// The bytes of some sectors of an image.
pub fn sectors(image: &Path, lba: u64, count: u64) -> Vec<u8> {
    let bytes = fs::read(image).unwrap();
    bytes[lba as usize * 512..(lba + count) as usize * 512].to_vec()
}

/// What the program said when it refused something: one line, without its name. What to try about an
/// error of the loader may stand in a second one.
#[track_caller]
pub fn refusal_of_program(output: Output, arguments: &[&str]) -> String {
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {message}");
    let (first, advice) = message.split_once('\n').unwrap_or((&message, ""));
    let is_one = advice.starts_with("  ") && advice.lines().count() == 1;
    assert!(
        is_one == first.contains(": error ") && (is_one || advice.is_empty()),
        "{message}"
    );
    assert!(output.stdout.is_empty());
    let message = first.strip_prefix("disk-builder: ");
    message.expect("the program's name").to_owned()
}
