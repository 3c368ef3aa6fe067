//! Disks: partition tables, file systems, and what the loader reads before there is a kernel.

use std::fs::{self, File};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::ops::Range;
use std::path::PathBuf;

use disk_builder::Target;
use disk_builder::image::{self, Entry, Recipe};
use disk_builder::inspect::Inspection;
use disk_layout::SECTOR_SIZE;

use crate::mutation::Generator;
use crate::support::{Workshop, kernel};

/// A place whose bytes are changed.
pub enum Place {
    /// Fields.
    Fields(Range<usize>),
    /// Lines of text.
    Text(Range<usize>),
}

/// A disk that boots, or could.
pub struct Base {
    pub name: &'static str,
    /// Its file: another one for each.
    pub image: PathBuf,
    bytes: Vec<u8>,
    pub places: Vec<Place>,
    /// Where the partition begins.
    start: usize,
}

/// Lines of entries, right ones and wrong ones.
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

impl Base {
    pub fn all(workshop: &Workshop) -> Vec<Self> {
        let one = Recipe {
            command_line: "x".repeat(400),
            size_mib: Some(3),
            ..workshop.recipe(&kernel(3000))
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
        let chain = |text: &str| Recipe {
            chain: Some(Target::parse(text).unwrap()),
            ..one.clone()
        };
        vec![
            Self::new(
                workshop,
                "FAT12",
                &Recipe {
                    checksums: false,
                    ..one.clone()
                },
            ),
            Self::new(workshop, "with checksums", &with_sums),
            Self::new(
                workshop,
                "FAT32",
                &Recipe {
                    checksums: false,
                    ..large
                },
            ),
            Self::new(
                workshop,
                "entries",
                &Recipe {
                    checksums: false,
                    ..entries
                },
            ),
            Self::new(workshop, "chain to a partition", &chain("partition=1")),
            Self::new(workshop, "chain to a logical one", &chain("partition=5")),
        ]
    }

    fn new(workshop: &Workshop, name: &'static str, recipe: &Recipe) -> Self {
        let output = workshop.path(name);
        let recipe = Recipe {
            output: output.clone(),
            ..recipe.clone()
        };
        let built = image::build(&recipe).unwrap();
        Self {
            name,
            bytes: fs::read(&output).unwrap(),
            image: output,
            places: places(&built.inspection),
            start: built.inspection.partition.unwrap().place.lba as usize * SECTOR_SIZE,
        }
    }

    /// Changes a place on the disk, for as long as something is done.
    pub fn change(&self, place: usize, generator: &mut Generator, done: impl FnOnce()) {
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
        self.put(range.start, &bytes, done);
    }

    /// Makes changes that no other one makes, each for as long as something is done.
    pub fn make_others(&self, mut done: impl FnMut()) {
        // The type of the first partition, and a second one: type, and the first sector.
        const KIND: usize = 450;
        const SECOND: usize = 466;
        const EXTENDED: u8 = 5;

        for (offset, bytes) in [
            (KIND, &[0xEE][..]),
            (self.start, b"XFSB"),
            (self.start + 11, &[0, 1]),
            (self.start + 11, &[0, 0x10]),
            (SECOND, &[EXTENDED, 0, 0, 0, 1, 0, 0, 0, 9]),
            (SECOND, &[EXTENDED, 0, 0, 0, 0, 0, 0, 9, 9]),
        ] {
            self.put(offset, bytes, &mut done);
        }
    }

    fn put(&self, offset: usize, bytes: &[u8], done: impl FnOnce()) {
        let write = |bytes: &[u8]| {
            let mut image = File::options().write(true).open(&self.image).unwrap();
            image.seek(SeekFrom::Start(offset as u64)).unwrap();
            image.write_all(bytes).unwrap();
        };
        write(bytes);
        done();
        write(&self.bytes[offset..offset + bytes.len()]);
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
fn places(inspection: &Inspection) -> Vec<Place> {
    let volume = inspection.volume.as_ref().unwrap();
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
    // Behind the FATs: the root directory, of FAT12, and the first directories.
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
