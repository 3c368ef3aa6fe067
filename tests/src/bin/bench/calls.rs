//! The rows that count calls of INT 13h, from the MBR's first instruction to the kernel's. On a real
//! disk, a call costs more than the bytes that it reads. They decide, too.
//!
//! Kernels of each protocol are counted next to the floor, which reads as many bytes as each call
//! can. Modules are counted on a volume that was used for years, where whatever is read is far from
//! what was read before.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::fs;
use std::io::Write as _;

use anyhow::Result;
use machine_tests::elf::noise;
use machine_tests::fats::Fats;
use machine_tests::image::Image;

use crate::measure::{Floor, count_calls, has_words, verdict};
use crate::rows::{Programs, Protocol};
use crate::{KIB, MIB, PAYLOADS, name};

/// The target for 64 KiB.
const SMALL: usize = 10;
/// The target for larger kernels: this many more than the floor's.
const MORE: usize = 8;
/// The target for the modules.
const FOR_MODULES: usize = 50;

/// How many modules there are, and the bytes of each.
const MODULES: usize = 32;
const MODULE: usize = 4 * KIB;

/// Size of the volume that was used for years. Its clusters have 4 KiB.
const VOLUME_MIB: u32 = 2048;
/// How many clusters there are between two files, or two pieces of a directory: not even their
/// entries in the FAT are near.
const DISTANCE: u32 = 12 * 1024;
/// How many files are in a directory before it grows: four entries of 32 bytes each, for a long name
/// and a short one.
const NAMES: usize = 40;

/// What is counted.
struct Row {
    protocol: Protocol,
    size: usize,
    has_modules: bool,
}

impl Row {
    /// All rows.
    fn all() -> impl Iterator<Item = Self> {
        let row = |size, has_modules| {
            Protocol::ALL.map(|protocol| Self {
                protocol,
                size,
                has_modules,
            })
        };
        let kernels = PAYLOADS.into_iter().flat_map(move |size| row(size, false));
        kernels.chain(row(64 * KIB, true))
    }

    /// The target, if the floor has so many calls.
    const fn limit(&self, floor: usize) -> usize {
        match self.size {
            _ if self.has_modules => FOR_MODULES,
            0..MIB => SMALL,
            _ => floor + MORE,
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = self.protocol.name();
        let size = name(self.size);
        match self.has_modules {
            true => write!(f, "calls {protocol:<10} {MODULES} modules {size:>6}"),
            false => write!(f, "calls {protocol:<21} {size:>6}"),
        }
    }
}

/// Counts the calls of the rows that have all of these words. Returns whether all have met their
/// targets, or `None`, if there is no such row.
pub fn compare(floor: &Floor, words: &[String]) -> Result<Option<bool>> {
    let rows = Row::all().filter(|row| has_words(&row.to_string(), words));
    let rows: Vec<Row> = rows.collect();
    if rows.is_empty() {
        return Ok(None);
    }
    println!("Calls of INT 13h from the MBR's first instruction to the kernel's\n");
    println!(
        "{:34} {:>8} {:>8} {:>8}",
        "kernel", "floor", "loader", "limit"
    );
    let programs = Programs::new()?;
    let mut floors = BTreeMap::new();
    let mut all_met = true;
    for row in &rows {
        let payload = noise(row.size);
        let floor = match floors.entry(row.size) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(unknown) => *unknown.insert(count_calls(floor.image(&payload)?.path())?),
        };
        let calls = count_calls(row.image(&programs, &payload)?.path())?;
        let limit = row.limit(floor);
        all_met &= calls <= limit;
        println!(
            "{:34} {floor:8} {calls:8} {limit:8} {}",
            row.to_string(),
            verdict(calls <= limit)
        );
    }
    println!();
    Ok(Some(all_met))
}

impl Row {
    /// An image with the row's kernel.
    fn image(&self, programs: &Programs, payload: &[u8]) -> Result<Image> {
        let mut kernel = tempfile::NamedTempFile::new()?;
        let file = programs.elf(self.protocol, payload, self.has_modules)?;
        kernel.write_all(&file.build())?;
        let image = Image::build(kernel.path(), |recipe, _| {
            recipe.size_mib = self.has_modules.then_some(VOLUME_MIB);
        })?;
        if self.has_modules {
            live_in(&image)?;
        }
        Ok(image)
    }
}

/// Gives an image the modules, and makes its volume look as if it had been used for years: each
/// directory has grown, and whatever is written is far from what was written before.
fn live_in(image: &Image) -> Result<()> {
    for directory in ["", "/boot"] {
        put_names(image, directory)?;
        Fats::of(image)?.spoil(DISTANCE)?;
    }
    image.mtools("mmd", ["::/boot/modules"])?;
    let mut entry = String::new();
    for number in 0..MODULES {
        Fats::of(image)?.spoil(DISTANCE)?;
        if number == MODULES / 2 {
            put_names(image, "/boot/modules")?;
        }
        let path = format!("/boot/modules/module-{number}.bin");
        image.put(&path, &noise(MODULE))?;
        entry += &format!("module {path}\n");
    }
    image.put("/boot/kernel.conf", entry.as_bytes())
}

/// Fills more than a cluster of a directory with the names of empty files.
fn put_names(image: &Image, directory: &str) -> Result<()> {
    let files = tempfile::tempdir()?;
    let mut arguments = Vec::new();
    for number in 0..NAMES {
        let name = format!("what was there before, number {number}");
        let file = files.path().join(name);
        fs::write(&file, [])?;
        arguments.push(file.into_os_string());
    }
    arguments.push(format!("::{directory}/").into());
    image.mtools("mcopy", arguments)
}
