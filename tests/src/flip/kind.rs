//! The kernels, a kind for each protocol, and the images that boot them.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use disk_builder::image::{Module, Recipe};
use disk_builder::{Protocol, Target};
use disk_layout::parts::Part;
use disk_layout::{PartitionEntry, SECTOR_SIZE, mbr};
use zerocopy::IntoBytes as _;

use crate::elf::{ProgramHeader, R, W, noise, note, objcopy};
use crate::image::{Image, test_program, test_program_file};
use crate::kernels::{gzip, replace};
use crate::linux::check_kernel_with_payload;

/// A kernel for a protocol, and what belongs to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "`title` says it")]
pub enum Kind {
    Bootpath,
    Limine,
    Multiboot1,
    Multiboot2,
    Linux,
    Chain,
}

/// The first word of a Multiboot 2 header.
pub(super) const MULTIBOOT2_MAGIC: u32 = 0xE852_50D6;
/// The first word of a Multiboot 1 header.
pub(super) const MULTIBOOT1_MAGIC: u32 = 0x1BAD_B002;

/// Bytes of a kernel's file to which nothing refers: they stand for debug information.
const TRAILING: usize = 50_000;

impl Kind {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Bootpath,
        Self::Limine,
        Self::Multiboot1,
        Self::Multiboot2,
        Self::Linux,
        Self::Chain,
    ];

    /// The word for it on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bootpath => "bootpath",
            Self::Limine => "limine",
            Self::Multiboot1 => "multiboot1",
            Self::Multiboot2 => "multiboot2",
            Self::Linux => "linux",
            Self::Chain => "chain",
        }
    }

    /// The part of stage2 that boots it, if the first one does not.
    pub fn part(self) -> Option<Part> {
        Some(match self {
            Self::Bootpath => return None,
            Self::Limine => Part::Limine,
            Self::Multiboot1 | Self::Multiboot2 => Part::Multiboot,
            Self::Linux => Part::Linux,
            Self::Chain => Part::Chain,
        })
    }

    /// The kind with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Its name on the page.
    pub fn title(self) -> &'static str {
        match self {
            Self::Bootpath => "Bootpath's own protocol",
            Self::Limine => "Limine",
            Self::Multiboot1 => "Multiboot 1",
            Self::Multiboot2 => "Multiboot 2",
            Self::Linux => "Linux",
            Self::Chain => "Another boot sector",
        }
    }

    /// What is booted.
    pub fn description(self) -> &'static str {
        match self {
            Self::Bootpath => {
                "An ELF64 kernel of three segments, a module, and one that is compressed."
            }
            Self::Limine => {
                "An ELF64 kernel that is handed its own file too; a module that it asks for itself, and one \
                 of `kernel.conf`."
            }
            Self::Multiboot1 => {
                "An ELF64 kernel that is compressed, a module, and one that is compressed."
            }
            Self::Multiboot2 => {
                "An ELF64 kernel with symbols, which has a header of Multiboot 1 as well; a module, and one \
                 that is compressed."
            }
            Self::Linux => {
                "A bzImage that is entered in long mode, with a payload that it checks itself, and two \
                 initrds."
            }
            Self::Chain => "The boot sector of a second partition.",
        }
    }

    /// Whether the kernel's file is a gzip file.
    pub(super) fn is_packed(self) -> bool {
        self == Self::Multiboot1
    }

    /// The modules: their names and lengths.
    fn modules(self) -> [(&'static str, usize); 2] {
        match self {
            Self::Bootpath | Self::Multiboot1 | Self::Multiboot2 => {
                [("first", 3_001), ("second.gz", 40_000)]
            }
            Self::Limine => [("inner.bin", 3_001), ("second", 40_000)],
            Self::Linux => [("first", 3_001), ("second", 40_000)],
            Self::Chain => [("", 0); 2],
        }
    }

    /// Builds an image, with checksums or without.
    pub(super) fn image(self, checksums: bool) -> Result<Image> {
        let directory = tempfile::tempdir()?;
        let kernel = directory.path().join("kernel");
        fs::write(&kernel, self.kernel()?)?;
        let modules = self.write_modules(directory.path())?;
        let change = |recipe: &mut Recipe, _: &Path| {
            recipe.checksums = checksums;
            recipe.command_line = self.command_line().into();
            recipe.modules = modules;
            match self {
                Self::Linux => recipe.protocol = Protocol::from_name("linux64"),
                Self::Chain => {
                    recipe.chain = Some(Target {
                        drive: None,
                        partition: 2,
                    });
                }
                _ => {}
            }
        };
        let image = Image::build(&kernel, change)?;
        if self == Self::Chain {
            add_partition(&image)?;
        }
        Ok(image)
    }

    fn command_line(self) -> &'static str {
        match self {
            Self::Linux => "entry=64  two words, and an umlaut: ü",
            _ => "one  two, and an umlaut: ü",
        }
    }

    fn write_modules(self, directory: &Path) -> Result<Vec<Module>> {
        let mut modules = Vec::new();
        for (name, length) in self.modules().into_iter().filter(|(_, length)| *length > 0) {
            let mut bytes = noise(length);
            if name.ends_with(".gz") {
                bytes = gzip(&bytes)?;
            }
            let file = directory.join(name);
            fs::write(&file, bytes)?;
            let string = match self {
                Self::Linux => String::new(),
                _ => format!("the module {name}"),
            };
            modules.push(Module { file, string });
        }
        Ok(modules)
    }

    /// The kernel's file. A boot sector needs none, but the builder wants one all the same.
    fn kernel(self) -> Result<Vec<u8>> {
        let mut file = match self {
            Self::Bootpath => witness()?,
            Self::Limine => test_program("limine-kernel")?.build(),
            Self::Multiboot1 => {
                // The header of version 2 is removed, for which the loader looks first.
                let mut file = multiboot()?;
                replace(&mut file, &MULTIBOOT2_MAGIC.to_le_bytes(), &[0; 4])?;
                file
            }
            Self::Multiboot2 => multiboot()?,
            Self::Linux => {
                // An xz file with checksums begins like this, so the loader has no checksum of it.
                let mut payload = noise(30_000);
                payload[..8].copy_from_slice(b"\xFD7zXZ\0\0\x01");
                return check_kernel_with_payload(payload);
            }
            Self::Chain => return Ok(Vec::new()),
        };
        file.extend(noise(TRAILING));
        match self.is_packed() {
            true => gzip(&file),
            false => Ok(file),
        }
    }
}

/// The kernel for the loader's own protocol, with data segments and a note.
fn witness() -> Result<Vec<u8>> {
    const MIB: u64 = 1 << 20;
    const BASE: u64 = 0xFFFF_FFFF_8000_0000;

    let mut kernel = test_program("witness")?;
    for (flags, address, data, bss) in [
        (R, BASE + 2 * MIB, noise(60_000), 0),
        (R | W, BASE + 2 * MIB + 0x1_0000, noise(9_000), 20_000),
    ] {
        let memory = data.len() as u64 + bss;
        kernel = kernel.with(ProgramHeader::load(flags, address, data, memory));
    }
    let size = (64_u64 << 10).to_le_bytes();
    let stack_size = note("Bootpath", handoff::NOTE_STACK_SIZE, &size, 4);
    Ok(kernel.with(ProgramHeader::note(stack_size)).build())
}

/// The kernel with headers of both versions, with its symbols but without debug information.
fn multiboot() -> Result<Vec<u8>> {
    let file = fs::read(test_program_file("multiboot-kernel")?)?;
    objcopy(&file, &["--strip-debug"])
}

/// Puts a second partition behind the first one; its boot sector says how it was started.
fn add_partition(image: &Image) -> Result<()> {
    const SECTORS: u32 = 2048;
    const FAT_LBA: u8 = 0x0C;

    let first = image.inspect()?.partition.context("no partition")?.place;
    let start = u32::try_from(first.lba + first.sectors)?.next_multiple_of(SECTORS);
    let bytes = |sectors: u32| u64::from(sectors) * SECTOR_SIZE as u64;
    image.resize(bytes(start + SECTORS))?;
    let entry = PartitionEntry {
        status: 0,
        first_chs: [0; 3],
        kind: FAT_LBA,
        last_chs: [0; 3],
        first_lba: start.into(),
        sectors: SECTORS.into(),
    };
    let second = mbr::PARTITION_TABLE_OFFSET + size_of::<PartitionEntry>();
    image.write(second as u64, entry.as_bytes())?;
    let mut sector = test_program("boot-check")?.flat().to_vec();
    sector.resize(SECTOR_SIZE - 2, 0);
    sector.extend([0x55, 0xAA]);
    image.write(bytes(start), &sector)
}
