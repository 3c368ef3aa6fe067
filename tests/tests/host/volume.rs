//! The FAT volume of an image, entry by entry, read by the specification alone.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};

/// Bytes of a sector.
pub const SECTOR: usize = 512;
/// The first cluster.
const FIRST: u32 = 2;
const DIRECTORY_ENTRY: usize = 32;

/// Where everything is in a volume; offsets are in the image, in bytes.
#[derive(Clone, Debug)]
pub struct Volume {
    start: usize,
    /// Bits of an entry.
    pub bits: u32,
    fats: [usize; 2],
    fat_bytes: usize,
    /// The root directory of FAT12 and FAT16.
    fixed_root: (usize, usize),
    root_cluster: u32,
    data: usize,
    cluster: usize,
    /// The cluster behind the last one.
    end: u32,
}

fn u16_at(bytes: &[u8], at: usize) -> usize {
    u16::from_le_bytes([bytes[at], bytes[at + 1]]).into()
}

fn u32_at(bytes: &[u8], at: usize) -> usize {
    u16_at(bytes, at) | u16_at(bytes, at + 2) << 16
}

impl Volume {
    /// The volume that begins at this sector of an image.
    pub fn of(image: &[u8], lba: usize) -> Result<Self> {
        let start = lba * SECTOR;
        let boot = &image[start..start + SECTOR];
        ensure!(
            u16_at(boot, 11) == SECTOR && boot[16] == 2,
            "another volume"
        );
        let cluster = usize::from(boot[13]) * SECTOR;
        let or = |small: usize, large: usize| if small == 0 { large } else { small };
        let fat_bytes = or(u16_at(boot, 22), u32_at(boot, 36)) * SECTOR;
        let fat = start + u16_at(boot, 14) * SECTOR;
        let root = fat + 2 * fat_bytes;
        let data = root + u16_at(boot, 17) * DIRECTORY_ENTRY;
        let length = or(u16_at(boot, 19), u32_at(boot, 32)) * SECTOR;
        let clusters = (start + length - data) / cluster;
        let bits = match clusters {
            0..4085 => 12,
            4085..65525 => 16,
            _ => 32,
        };
        Ok(Self {
            start,
            bits,
            fats: [fat, fat + fat_bytes],
            fat_bytes,
            fixed_root: (root, data - root),
            root_cluster: if bits == 32 {
                u32_at(boot, 44) as u32
            } else {
                0
            },
            data,
            cluster,
            end: FIRST + clusters as u32,
        })
    }

    /// Offset and length of the first FAT.
    pub fn first_fat(&self) -> (usize, usize) {
        (self.fats[0], self.fat_bytes)
    }

    fn place(&self, fat: usize, cluster: u32) -> usize {
        self.fats[fat] + cluster as usize * self.bits as usize / 8
    }

    /// The bytes that hold an entry, up to four, and a mask of the bits that belong to it.
    fn mask(&self, cluster: u32) -> (u32, u32) {
        match self.bits {
            12 => (0xFFF, cluster % 2 * 4),
            16 => (0xFFFF, 0),
            _ => (0x0FFF_FFFF, 0),
        }
    }

    /// An entry of the first FAT.
    pub fn entry(&self, image: &[u8], cluster: u32) -> u32 {
        let (mask, shift) = self.mask(cluster);
        u32_at(image, self.place(0, cluster)) as u32 >> shift & mask
    }

    /// Writes an entry of one FAT.
    pub fn set_entry(&self, image: &mut [u8], fat: usize, cluster: u32, value: u32) {
        let (mask, shift) = self.mask(cluster);
        let at = self.place(fat, cluster);
        let others = u32_at(image, at) as u32 & !(mask << shift);
        let word = others | (value & mask) << shift;
        image[at..at + 4].copy_from_slice(&word.to_le_bytes());
    }

    /// The value that ends a chain.
    pub fn end_of_chain(&self) -> u32 {
        self.mask(0).0
    }

    /// The clusters that are in use.
    pub fn used(&self, image: &[u8]) -> Vec<u32> {
        let clusters = FIRST..self.end;
        clusters.filter(|&it| self.entry(image, it) != 0).collect()
    }

    /// For each cluster, another one with as many clusters behind it in its chain: a chain keeps
    /// its length if it is linked to that one.
    pub fn twins(&self, image: &[u8]) -> BTreeMap<u32, u32> {
        let mut by_length: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
        for cluster in self.used(image) {
            let length = self.chain(image, cluster).len();
            by_length.entry(length).or_default().push(cluster);
        }
        let twins = by_length.values().filter(|clusters| clusters.len() > 1);
        twins
            .flat_map(|clusters| {
                let next = clusters.iter().cycle().skip(1);
                clusters.iter().copied().zip(next.copied())
            })
            .collect()
    }

    fn bytes_of(&self, cluster: u32) -> std::ops::Range<usize> {
        let start = self.data + (cluster - FIRST) as usize * self.cluster;
        start..start + self.cluster
    }

    fn chain(&self, image: &[u8], first: u32) -> Vec<u32> {
        let cluster = |it: u32| Some(it).filter(|it| (FIRST..self.end).contains(it));
        let next = |&it: &u32| cluster(self.entry(image, it));
        std::iter::successors(cluster(first), next).collect()
    }

    /// The pieces of all directories: offset and length of each.
    pub fn directories(&self, image: &[u8]) -> Vec<(usize, usize)> {
        let mut pieces = Vec::new();
        let mut open = Vec::new();
        match self.bits {
            32 => open.push(self.root_cluster),
            _ => {
                pieces.push(self.fixed_root);
                open.extend(self.below(image, self.fixed_root));
            }
        }
        while let Some(first) = open.pop() {
            for cluster in self.chain(image, first) {
                let piece = (self.bytes_of(cluster).start, self.cluster);
                pieces.push(piece);
                open.extend(self.below(image, piece));
            }
        }
        pieces
    }

    /// The first clusters of the directories that are named in a piece of a directory.
    fn below(&self, image: &[u8], piece: (usize, usize)) -> Vec<u32> {
        let entries = entries(image, piece).into_iter();
        entries
            .filter(|&at| image[at + 11] & 0x10 != 0 && image[at] != b'.')
            .map(|at| first_cluster(image, at))
            .collect()
    }

    /// Moves all clusters to random places, with free ones in between: no two clusters of a chain
    /// are neighbours, and their entries are in many sectors of the FAT.
    pub fn scatter(&mut self, image: &mut [u8]) -> Result<()> {
        let used = self.used(image);
        let free = (self.end - FIRST) as usize;
        let stride = (free / (used.len() + 1)).min(7);
        ensure!(
            stride > 1,
            "the volume is too full: {} of {free}",
            used.len()
        );
        // Multiplying by a number that is coprime to the number of clusters shuffles them.
        let count = used.len();
        let factor = (count / 2..).find(|factor| gcd(*factor, count) == 1);
        let factor = factor.context("there is always one")?;
        let place = |index: usize| FIRST + (index * factor % count * stride) as u32 + 1;
        let moved: BTreeMap<u32, u32> = (used.iter().enumerate())
            .map(|(index, &cluster)| (cluster, place(index)))
            .collect();
        for piece in self.directories(image) {
            for at in entries(image, piece) {
                if let Some(&to) = moved.get(&first_cluster(image, at)) {
                    image[at + 26..at + 28].copy_from_slice(&(to as u16).to_le_bytes());
                    image[at + 20..at + 22].copy_from_slice(&((to >> 16) as u16).to_le_bytes());
                }
            }
        }
        let old: Vec<_> = (used.iter())
            .map(|&it| (it, self.entry(image, it), image[self.bytes_of(it)].to_vec()))
            .collect();
        for &cluster in &used {
            image[self.bytes_of(cluster)].fill(0);
            self.set_entry(image, 0, cluster, 0);
            self.set_entry(image, 1, cluster, 0);
        }
        for (cluster, link, bytes) in old {
            let to = moved[&cluster];
            image[self.bytes_of(to)].copy_from_slice(&bytes);
            let link = moved.get(&link).copied().unwrap_or(link);
            self.set_entry(image, 0, to, link);
            self.set_entry(image, 1, to, link);
        }
        if self.bits == 32 {
            self.root_cluster = moved[&self.root_cluster];
            for boot in [self.start, self.start + 6 * SECTOR] {
                image[boot + 44..boot + 48].copy_from_slice(&self.root_cluster.to_le_bytes());
            }
        }
        Ok(())
    }
}

fn gcd(one: usize, other: usize) -> usize {
    if other == 0 {
        one
    } else {
        gcd(other, one % other)
    }
}

/// Where the entries of files and directories are in a piece of a directory.
fn entries(image: &[u8], (start, length): (usize, usize)) -> Vec<usize> {
    let all = (start..start + length).step_by(DIRECTORY_ENTRY);
    all.take_while(|&at| image[at] != 0)
        .filter(|&at| image[at] != 0xE5 && image[at + 11] & 0x08 == 0)
        .collect()
}

fn first_cluster(image: &[u8], at: usize) -> u32 {
    (u16_at(image, at + 26) | u16_at(image, at + 20) << 16) as u32
}
