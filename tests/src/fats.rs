//! The two FATs of an image, entry by entry: tests damage one of them, or make them disagree.

use std::ops::Range;

use anyhow::{Context as _, Result, ensure};
use disk_layout::SECTOR_SIZE;

use crate::image::Image;

/// The first cluster.
const FIRST: u32 = 2;
/// The value that ends a chain.
const END: u32 = 0x0FFF_FFFF;
/// The value that marks a bad cluster.
const BAD: u32 = 0x0FFF_FFF7;
/// Bytes of an entry.
const ENTRY: u64 = 4;
/// Bytes of a directory entry.
pub const DIRECTORY_ENTRY: usize = 32;
/// First byte of a deleted directory entry.
const DELETED: u8 = 0xE5;

/// One of the FATs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fat {
    /// The one that is normally read.
    First,
    /// Its copy.
    Second,
}

/// Both, for what they agree on.
pub const BOTH: [Fat; 2] = [Fat::First, Fat::Second];

/// The FATs of a FAT32 volume in an image. mtools must have done all its work before this.
pub struct Fats<'a> {
    image: &'a Image,
    /// Byte offsets in the image.
    fats: [u64; 2],
    data: u64,
    /// Bytes of a cluster.
    cluster: u64,
    /// Unused clusters at the end of the volume.
    free: Range<u32>,
}

impl<'a> Fats<'a> {
    /// The FATs of this image, which must not be damaged yet.
    ///
    /// # Errors
    /// When there is no FAT32 volume in it with two FATs.
    pub fn of(image: &'a Image) -> Result<Self> {
        let volume = image.inspect()?.volume.context("no file system")?;
        ensure!(volume.fat_bits == 32, "{volume:?}");
        let [start, half] =
            [volume.fats.lba, volume.fats.sectors / 2].map(|lba| lba * SECTOR_SIZE as u64);
        let mut fats = Self {
            image,
            fats: [start, start + half],
            data: volume.data.lba * SECTOR_SIZE as u64,
            cluster: volume.cluster.into(),
            free: FIRST..FIRST + volume.clusters,
        };
        let entries = image.read(start, (u64::from(fats.free.end) * ENTRY) as usize)?;
        let copy = image.read(fats.fats[1], entries.len())?;
        ensure!(entries == copy, "the FATs disagree already");
        let mut entries = entries.as_chunks().0.iter();
        let used = entries.rposition(|entry| u32::from_le_bytes(*entry) != 0);
        fats.free.start = used.context("an empty FAT")? as u32 + 1;
        Ok(fats)
    }

    /// The clusters of a file or a directory, as mtools see them.
    ///
    /// # Errors
    /// When there is nothing at this path.
    pub fn chain(&self, path: &str) -> Result<Vec<u32>> {
        let said = self.image.ask_mtools("mshowfat", [format!("::{path}")])?;
        let mut clusters = Vec::new();
        // "::/path <5-1784> <1790>"
        for piece in said.split('<').skip(1) {
            let piece = piece.split('>').next().unwrap_or_default();
            let (first, last) = piece.split_once('-').unwrap_or((piece, piece));
            clusters.extend(first.parse::<u32>()?..=last.parse()?);
        }
        ensure!(!clusters.is_empty(), "no {path}: mshowfat says {said:?}");
        Ok(clusters)
    }

    /// An unused cluster at the end of the volume.
    ///
    /// # Errors
    /// When there is none.
    pub fn take(&mut self) -> Result<u32> {
        let taken = self.take_many(1)?;
        Ok(taken.start)
    }

    /// So many unused clusters, side by side.
    ///
    /// # Errors
    /// When there are not so many.
    pub fn take_many(&mut self, count: u32) -> Result<Range<u32>> {
        let start = self.free.end.checked_sub(count);
        let start = start.filter(|start| *start >= self.free.start);
        let taken = start.context("the volume is full")?..self.free.end;
        self.free.end = taken.start;
        Ok(taken)
    }

    /// Marks so many clusters behind the last used one as bad: what is written next is far from what
    /// was written before.
    ///
    /// # Errors
    /// When there are not so many, or the image cannot be written.
    pub fn spoil(&mut self, count: u32) -> Result<()> {
        let start = self.free.start;
        ensure!(count <= self.free.end - start, "the volume is full");
        let marks = BAD.to_le_bytes().repeat(count as usize);
        for fat in self.fats {
            self.image.write(fat + u64::from(start) * ENTRY, &marks)?;
        }
        self.free.start += count;
        Ok(())
    }

    /// Links `cluster` to `next` in these FATs.
    ///
    /// # Errors
    /// When the image cannot be written.
    pub fn link(&self, fats: &[Fat], cluster: u32, next: u32) -> Result<()> {
        for fat in fats {
            let entry = self.fats[*fat as usize] + u64::from(cluster) * ENTRY;
            self.image.write(entry, &next.to_le_bytes())?;
        }
        Ok(())
    }

    /// Makes these clusters a chain, with an end, in these FATs.
    ///
    /// # Errors
    /// When the image cannot be written.
    pub fn chain_up(&self, fats: &[Fat], clusters: &[u32]) -> Result<()> {
        let next = clusters.iter().skip(1).copied().chain([END]);
        for (cluster, next) in clusters.iter().zip(next) {
            self.link(fats, *cluster, next)?;
        }
        Ok(())
    }

    /// The bytes of a cluster.
    ///
    /// # Errors
    /// When the image ends before the cluster.
    pub fn read(&self, cluster: u32) -> Result<Vec<u8>> {
        self.image.read(self.place(cluster), self.cluster as usize)
    }

    /// Fills a cluster with these bytes, and with zeros behind them.
    ///
    /// # Errors
    /// When there are too many of them, or the image cannot be written.
    pub fn write(&self, cluster: u32, bytes: &[u8]) -> Result<()> {
        ensure!(bytes.len() <= self.cluster as usize, "more than a cluster");
        let mut bytes = bytes.to_vec();
        bytes.resize(self.cluster as usize, 0);
        self.image.write(self.place(cluster), &bytes)
    }

    /// Bytes of a cluster.
    pub fn cluster(&self) -> usize {
        self.cluster as usize
    }

    fn place(&self, cluster: u32) -> u64 {
        self.data + u64::from(cluster - FIRST) * self.cluster
    }

    /// Gives a file these bytes by the second FAT. Where they differ, they are in another cluster.
    ///
    /// # Errors
    /// When the bytes need more or fewer clusters, or differ in the first cluster, which no FAT
    /// determines.
    pub fn second_view(&mut self, path: &str, bytes: &[u8]) -> Result<()> {
        let mut chain = self.chain(path)?;
        let pieces = bytes.chunks(self.cluster());
        ensure!(pieces.len() == chain.len(), "another number of clusters");
        for (number, (cluster, piece)) in chain.iter_mut().zip(pieces).enumerate() {
            if !self.read(*cluster)?.starts_with(piece) {
                ensure!(number > 0, "the first cluster is another");
                *cluster = self.take()?;
                self.write(*cluster, piece)?;
                self.chain_up(&BOTH, &[*cluster])?;
            }
        }
        self.chain_up(&[Fat::Second], &chain)
    }

    /// Gives a directory of one cluster a second cluster, a different one in each FAT, which holds
    /// the entries as `change` leaves them for that FAT. The first cluster becomes empty.
    ///
    /// # Errors
    /// When it has more than one cluster, or the image cannot be written.
    pub fn split_directory(
        &mut self,
        path: &str,
        change: impl Fn(Fat, &mut Vec<[u8; DIRECTORY_ENTRY]>) -> Result<()>,
    ) -> Result<()> {
        /// `.` and `..`, which come first.
        const DOTS: usize = 2;

        let [cluster] = self.chain(path)?[..] else {
            anyhow::bail!("{path} has more than one cluster");
        };
        let bytes = self.read(cluster)?;
        let mut entries = bytes.as_chunks::<DIRECTORY_ENTRY>().0.to_vec();
        let files = entries.split_off(DOTS);
        let mut nothing = [0; DIRECTORY_ENTRY];
        nothing[0] = DELETED;
        entries.resize(bytes.len() / DIRECTORY_ENTRY, nothing);
        self.write(cluster, entries.as_flattened())?;
        for fat in BOTH {
            let mut files = files.clone();
            change(fat, &mut files)?;
            let second = self.take()?;
            self.write(second, files.as_flattened())?;
            self.chain_up(&BOTH, &[second])?;
            self.link(&[fat], cluster, second)?;
        }
        Ok(())
    }
}

/// The short entry of a file among the entries of a directory, by its 8.3 name, padded with spaces.
///
/// # Errors
/// When there is none.
pub fn entry_of<'a>(
    entries: &'a mut [[u8; DIRECTORY_ENTRY]],
    name: &[u8; 11],
) -> Result<&'a mut [u8; DIRECTORY_ENTRY]> {
    let mut entries = entries.iter_mut();
    let entry = entries.find(|entry| entry.starts_with(name));
    entry.with_context(|| format!("no {} in the directory", String::from_utf8_lossy(name)))
}

/// Changes the size in a directory entry.
pub fn resize(entry: &mut [u8; DIRECTORY_ENTRY], size: u32) {
    const SIZE: usize = 28;
    entry[SIZE..].copy_from_slice(&size.to_le_bytes());
}
