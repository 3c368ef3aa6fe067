//! The disk as it would be if the power had failed at any moment of a session, and what the loader says
//! about it.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use disk_builder::inspect::{FileInfo, Inspection, inspect};
use disk_layout::SECTOR_SIZE;

use super::writes::Request;
use crate::flip::Random;

/// A disk with a cache of its own writes in any order between two flushes. So many orders are tried for
/// each such time.
const ORDERS: usize = 8;
/// A request may be cut off as well. So it is carried out in so many pieces, of whole sectors.
const PIECES: usize = 16;
/// Where the orders begin: they are the same each time.
const SEED: u64 = 12;

/// The moments that were looked at.
#[derive(Debug, Default)]
pub struct Moments {
    /// One behind each piece of a request that changed the boot partition.
    pub in_order: usize,
    /// In other orders.
    pub in_other_orders: usize,
    /// How often the default entry changed from one moment in order to the next.
    pub changes: usize,
}

/// Carries out the requests on the disk, which becomes what it was at the end of the session, and looks at
/// it at every moment: its default entry has to boot, with all of its files as they should be.
///
/// # Errors
/// When there is a moment at which nothing boots, or damaged files would.
pub fn look_at_all(disk: &Path, requests: &[Request]) -> Result<Moments> {
    let file = OpenOptions::new().read(true).write(true).open(disk)?;
    let watch = Watch::new(disk, &file, requests)?;
    let mut random = Random::new(SEED);
    let mut moments = Moments::default();
    let mut default = watch.default_entry()?;
    for (number, between) in requests.split(|it| *it == Request::Flush).enumerate() {
        let writes = between.iter().filter_map(Request::write);
        let writes: Vec<_> = writes.flat_map(pieces).collect();
        if writes.len() > 1 {
            for _ in 0..ORDERS {
                let some = writes.iter().filter(|_| random.below(2) == 0);
                let undo = apply(&file, some.copied())?;
                watch
                    .default_entry()
                    .with_context(|| format!("some of the writes behind flush {number} alone"))?;
                apply(
                    &file,
                    undo.iter().rev().map(|(start, data)| (*start, &data[..])),
                )?;
                moments.in_other_orders += 1;
            }
        }
        for (index, write) in writes.iter().enumerate() {
            apply(&file, [*write])?;
            let now = watch
                .default_entry()
                .with_context(|| format!("after write {index} behind flush {number}"))?;
            moments.in_order += 1;
            moments.changes += usize::from(now != default);
            default = now;
        }
    }
    Ok(moments)
}

/// The pieces of a write.
fn pieces((start, data): (u64, &[u8])) -> impl Iterator<Item = (u64, &[u8])> {
    let length = data.len().div_ceil(PIECES).next_multiple_of(SECTOR_SIZE);
    let starts = (start..).step_by(length);
    starts.zip(data.chunks(length))
}

/// Writes to the disk, and returns what was there before.
fn apply<'a>(
    file: &File,
    writes: impl IntoIterator<Item = (u64, &'a [u8])>,
) -> Result<Vec<(u64, Vec<u8>)>> {
    let mut before = Vec::new();
    for (start, data) in writes {
        let mut old = vec![0; data.len()];
        file.read_exact_at(&mut old, start)?;
        file.write_all_at(data, start)?;
        before.push((start, old));
    }
    Ok(before)
}

/// A disk, and what its files should be.
struct Watch<'a> {
    disk: &'a Path,
    file: &'a File,
    sums: BTreeMap<String, u32>,
}

impl<'a> Watch<'a> {
    /// The files are those of the disk before the requests and after them. Two that differ have different
    /// names.
    fn new(disk: &'a Path, file: &'a File, requests: &[Request]) -> Result<Self> {
        let sums = BTreeMap::new();
        let mut watch = Self { disk, file, sums };
        watch.learn().context("before the session")?;
        let undo = apply(file, requests.iter().filter_map(Request::write))?;
        watch.learn().context("after the session")?;
        apply(
            file,
            undo.iter().rev().map(|(start, data)| (*start, &data[..])),
        )?;
        Ok(watch)
    }

    fn learn(&mut self) -> Result<()> {
        for info in self.inspect()?.files {
            let sum = self.sum(&info)?;
            let known = *self.sums.entry(info.path.clone()).or_insert(sum);
            ensure!(known == sum, "{} has been written to", info.path);
        }
        Ok(())
    }

    fn inspect(&self) -> Result<Inspection> {
        let inspection = inspect(self.disk)?;
        inspection.verify()?;
        Ok(inspection)
    }

    /// The name of the entry that is booted.
    fn default_entry(&self) -> Result<String> {
        let inspection = self.inspect()?;
        let entry = inspection.entries.iter().find(|entry| entry.is_default);
        let entry = entry.context("no entry")?;
        let kernel = entry.kernel.iter();
        for path in kernel.chain(&entry.modules) {
            let info = inspection.file(path);
            let info = info.with_context(|| format!("{path} is not there"))?;
            let known = self.sums.get(path);
            ensure!(known == Some(&self.sum(info)?), "{path} is damaged");
        }
        Ok(entry.name.clone())
    }

    fn sum(&self, info: &FileInfo) -> Result<u32> {
        let listed = info.extents.len() as u64;
        ensure!(
            info.pieces == listed,
            "{} is in {} pieces",
            info.path,
            info.pieces
        );
        let mut sum = 0;
        let mut rest = info.size;
        for extent in &info.extents {
            let length = rest.min(extent.sectors * SECTOR_SIZE as u64);
            let mut data = vec![0; usize::try_from(length)?];
            self.file
                .read_exact_at(&mut data, extent.lba * SECTOR_SIZE as u64)?;
            sum = crc32c::crc32c_append(sum, &data);
            rest -= length;
        }
        ensure!(rest == 0, "{} ends too early", info.path);
        Ok(sum)
    }
}
