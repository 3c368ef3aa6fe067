//! Disks: partition tables, file systems, and what the loader reads before it reads a kernel.

use std::fs;
use std::ops::Range;
use std::path::Path;

use anyhow::{Context as _, Result};
use disk_builder::Target;
use disk_builder::image::{self, Entry, Recipe};
use disk_builder::inspect::{Inspection, Volume};
use disk_builder::stages::Stages;
use disk_layout::SECTOR_SIZE;

use super::kernels::{KERNEL_VMA, code, own_notes};
use super::mutation::Generator;
use crate::elf::{ET_EXEC, Elf, ProgramHeader, R, W, X, noise};

/// A place whose bytes are changed.
enum Place {
    /// Fields.
    Fields(Range<usize>),
    /// Lines of text.
    Text(Range<usize>),
}

/// The change of a disk: bytes from an offset on, and perhaps its length.
#[derive(Clone, Default)]
pub(super) struct Change {
    pub bytes: Vec<(usize, Vec<u8>)>,
    pub length: Option<usize>,
}

/// A disk that boots, or could.
pub(super) struct Base {
    pub name: &'static str,
    pub bytes: Vec<u8>,
    inspection: Inspection,
    places: Vec<Place>,
}

/// Lines of entries, valid and invalid ones.
const LINES: [&str; 22] = [
    "kernel /boot/kernel.elf",
    "kernel /none",
    "kernel",
    "linux boot/kernel.elf",
    "initrd /none",
    "module /boot/kernel.elf text",
    "module",
    "options more words",
    "protocol multiboot2",
    "protocol bootpath",
    "protocol limine",
    "protocol none",
    "architecture x64",
    "architecture aa64",
    "chain partition=1",
    "chain partition=9",
    "chain drive=80h",
    "chain nothing",
    "default entry*",
    "timeout x",
    "console x",
    "# nothing",
];

/// A kernel of several clusters.
fn kernel() -> Vec<u8> {
    let text = [code(), noise(3000)].concat();
    let data = ProgramHeader::load(R | W, KERNEL_VMA + 0x1000, b"data".into(), 10_000);
    Elf::new(ET_EXEC, KERNEL_VMA)
        .with(ProgramHeader::filled(R | X, KERNEL_VMA, text))
        .with(data)
        .with(ProgramHeader::note(own_notes()))
        .build()
}

pub(super) const FAT12: &str = "FAT12";
pub(super) const FAT32: &str = "FAT32";
pub(super) const WITH_CHECKSUMS: &str = "with checksums";
pub(super) const ENTRIES: &str = "entries";
const CHAIN: &str = "chain to a partition";
pub(super) const LOGICAL: &str = "chain to a logical one";

impl Base {
    /// All of them, made in a directory.
    pub(super) fn all(stages: &Stages, directory: &Path) -> Result<Vec<Self>> {
        let file = directory.join("kernel.elf");
        fs::write(&file, kernel())?;
        let one = Recipe {
            command_line: "x".repeat(400),
            size_mib: Some(3),
            checksums: false,
            ..Recipe::new(&file, directory.join("base.img"), stages.clone())
        };
        let with_sums = Recipe {
            checksums: true,
            ..one.clone()
        };
        let large = Recipe {
            size_mib: Some(40),
            ..one.clone()
        };
        let entries = Recipe {
            entries: ["one", "two"]
                .map(|name| Entry {
                    title: Some("x".repeat(300)),
                    ..Entry::new(name, &one.kernel)
                })
                .into(),
            ..one.clone()
        };
        let chain = |text: &str| -> Result<Recipe> {
            Ok(Recipe {
                chain: Some(Target::parse(text).context("no target")?),
                ..with_sums.clone()
            })
        };
        [
            (FAT12, &one),
            (WITH_CHECKSUMS, &with_sums),
            (FAT32, &large),
            (ENTRIES, &entries),
            (CHAIN, &chain("partition=1")?),
            (LOGICAL, &chain("partition=5")?),
        ]
        .into_iter()
        .map(|(name, recipe)| Self::new(name, recipe))
        .collect()
    }

    fn new(name: &'static str, recipe: &Recipe) -> Result<Self> {
        let inspection = image::build(recipe)?.inspection;
        let volume = inspection.volume.as_ref().context("no file system")?;
        Ok(Self {
            name,
            bytes: fs::read(&recipe.output)?,
            places: places(&inspection, volume),
            inspection,
        })
    }

    /// How many places there are.
    pub(super) fn places(&self) -> usize {
        self.places.len()
    }

    /// A change in one of the places.
    pub(super) fn changed(&self, place: usize, generator: &mut Generator) -> Change {
        let (Place::Fields(range) | Place::Text(range)) = &self.places[place];
        let mut bytes = self.bytes[range.clone()].to_vec();
        match &self.places[place] {
            Place::Fields(_) => {
                for _ in 0..=generator.below(2) {
                    generator.change(&mut bytes);
                }
            }
            Place::Text(_) => bytes = text(bytes.len(), generator),
        }
        Change {
            bytes: vec![(range.start, bytes)],
            length: None,
        }
    }

    /// All bytes of the disk, after a change.
    pub(super) fn with(&self, change: &Change) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        for (offset, new) in &change.bytes {
            bytes[*offset..offset + new.len()].copy_from_slice(new);
        }
        bytes.truncate(change.length.unwrap_or(bytes.len()));
        bytes
    }

    fn volume(&self) -> Result<&Volume> {
        let volume = self.inspection.volume.as_ref();
        volume.context("no file system")
    }

    /// Offset of the file system.
    pub(super) fn start(&self) -> Result<usize> {
        Ok(self.volume()?.reserved.lba as usize * SECTOR_SIZE)
    }

    /// The bytes of a file, as a range.
    pub(super) fn file(&self, path: &str) -> Result<Range<usize>> {
        let file = self.inspection.file(path);
        let file = file.with_context(|| format!("no {path} on the disk"))?;
        let extent = file.extents.first().context("an empty file")?;
        let start = extent.lba as usize * SECTOR_SIZE;
        Ok(start..start + file.size as usize)
    }

    /// A file's first cluster.
    pub(super) fn cluster(&self, path: &str) -> Result<usize> {
        let volume = self.volume()?;
        let data = volume.data.lba as usize * SECTOR_SIZE;
        Ok(2 + (self.file(path)?.start - data) / volume.cluster as usize)
    }

    /// Offset of a file's entry in its directory.
    pub(super) fn directory_entry(&self, path: &str) -> Result<usize> {
        const ENTRY: usize = 32;

        let volume = self.volume()?;
        let (file, cluster) = (self.file(path)?, self.cluster(path)? as u32);
        let start = (volume.fats.lba + volume.fats.sectors) as usize * SECTOR_SIZE;
        let entries = self.bytes[start..file.start].chunks_exact(ENTRY);
        let place = entries.enumerate().find(|(_, entry)| {
            let number = |at: usize| u16::from_le_bytes([entry[at], entry[at + 1]]);
            let found = u32::from(number(20)) << 16 | u32::from(number(26));
            let size = u32::from(number(30)) << 16 | u32::from(number(28));
            (found, size as usize) == (cluster, file.len())
        });
        let (index, _) = place.with_context(|| format!("no entry of {path}"))?;
        Ok(start + ENTRY * index)
    }

    /// Offsets of both FATs.
    pub(super) fn fats(&self) -> Result<[usize; 2]> {
        let fats = self.volume()?.fats;
        Ok([fats.lba, fats.lba + fats.sectors / 2].map(|lba| lba as usize * SECTOR_SIZE))
    }
}

/// A text of this length.
fn text(length: usize, generator: &mut Generator) -> Vec<u8> {
    let lines = (0..1 + generator.below(4)).map(|_| *generator.one_of(&LINES));
    let mut text = lines.collect::<Vec<_>>().join("\n");
    match generator.below(8) {
        0 => text.push_str("\n\0"),
        1 => text.push_str(&"\nmodule a".repeat(34)),
        _ => {}
    }
    let mut text = text.into_bytes();
    if generator.below(8) == 0 {
        text[0] = 0xFF;
    }
    text.resize(length, b'\n');
    text
}

/// Partition table, boot sector, file allocation tables, directories, texts, the start of the kernel.
fn places(inspection: &Inspection, volume: &Volume) -> Vec<Place> {
    let sectors = |lba: u64, count: usize| {
        let start = lba as usize * SECTOR_SIZE;
        start..start + count * SECTOR_SIZE
    };
    let start = sectors(volume.reserved.lba, 1).start;
    let texts = inspection
        .files
        .iter()
        .filter(|file| file.path.ends_with(".conf"));
    let texts = texts.map(|file| {
        let start = file.extents[0].lba as usize * SECTOR_SIZE;
        Place::Text(start..start + file.size as usize)
    });
    // Behind the FATs: the root directory of FAT12, and the first directories.
    let directories = volume.fats.lba + volume.fats.sectors;
    [
        Place::Fields(446..512),
        Place::Fields(start + 11..start + 90),
        Place::Fields(start + 510..start + 512),
        Place::Fields(sectors(volume.fats.lba, 1)),
        Place::Fields(sectors(directories, 1)),
        Place::Fields(sectors(volume.data.lba, 4)),
    ]
    .into_iter()
    .chain(texts)
    .collect()
}
