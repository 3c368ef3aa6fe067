//! The differences between a broken image and the good one.

use std::fmt;
use std::fs::File;
use std::io::Read as _;

use anyhow::{Result, ensure};
use disk_builder::inspect::Inspection;

use super::places::SECTOR;
use crate::image::Image;

/// Bytes that differ from the good image's.
pub struct Difference {
    /// Offset in the image.
    offset: u64,
    /// What lies there, and how far into it: `/boot/kernel.elf + 12h`.
    place: String,
    good: Vec<u8>,
    broken: Vec<u8>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MOST: usize = 8;

        let bytes = |bytes: &[u8]| {
            let mut text: Vec<_> = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
            if text.len() > MOST {
                text.truncate(MOST);
                text.push("…".into());
            }
            text.join(" ")
        };
        let (lba, offset) = (self.offset / SECTOR, self.offset % SECTOR);
        write!(
            f,
            "{} (LBA {lba} + {offset:X}h): {} → {}",
            self.place,
            bytes(&self.good),
            bytes(&self.broken)
        )
    }
}

/// The runs of bytes in which two images of the same length differ.
pub(super) fn differences(
    good: &Image,
    broken: &Image,
    inspection: &Inspection,
) -> Result<Vec<Difference>> {
    const BLOCK: u64 = 1 << 20;

    let (mut good, mut broken) = (File::open(good.path())?, File::open(broken.path())?);
    let mut runs: Vec<Difference> = Vec::new();
    let mut start = 0;
    loop {
        let (mut one, mut other) = (Vec::new(), Vec::new());
        good.by_ref().take(BLOCK).read_to_end(&mut one)?;
        broken.by_ref().take(BLOCK).read_to_end(&mut other)?;
        ensure!(one.len() == other.len(), "the images differ in length");
        if one.is_empty() {
            return Ok(runs);
        }
        // Most blocks are equal, which this finds out quickly.
        let length = if one == other { 0 } else { one.len() };
        let pairs = one.iter().zip(&other).take(length);
        for (offset, (&a, &b)) in (start..).zip(pairs).filter(|(_, (a, b))| a != b) {
            match runs.last_mut() {
                Some(last) if offset == last.offset + last.good.len() as u64 => {
                    last.good.push(a);
                    last.broken.push(b);
                }
                _ => runs.push(Difference {
                    offset,
                    place: place_of(offset, inspection),
                    good: vec![a],
                    broken: vec![b],
                }),
            }
        }
        start += one.len() as u64;
    }
}

/// What lies at an offset of a good image.
fn place_of(offset: u64, inspection: &Inspection) -> String {
    let lba = offset / SECTOR;
    let within = |name: &str, start: u64, sectors: u64| {
        (start..start + sectors)
            .contains(&lba)
            .then(|| format!("{name} + {:X}h", offset - start * SECTOR))
    };
    let stage2 = inspection.stage2.as_ref();
    let volume = inspection.volume.as_ref();
    let file = || {
        inspection.files.iter().find_map(|file| {
            // Files of good images lie in one piece.
            let extent = file.extents.first()?;
            within(&file.path, extent.lba, extent.sectors)
        })
    };
    within("MBR", 0, 1)
        .or_else(|| stage2.and_then(|it| within("stage2", it.place.lba, it.place.sectors)))
        .or_else(file)
        .or_else(|| {
            let volume = volume?;
            let parts = [
                ("boot sector", volume.reserved),
                ("FAT", volume.fats),
                ("clusters", volume.data),
            ];
            parts
                .iter()
                .find_map(|(name, place)| within(name, place.lba, place.sectors))
        })
        .unwrap_or_else(|| "free".into())
}
