//! FAT volumes made by hand, entry by entry, good ones and bad ones.
#![allow(dead_code, reason = "each program uses its own part")]

/// A volume made by hand, of sectors and clusters of 512 bytes, to be damaged at will.
pub struct Tiny {
    /// 12, 16 or 32.
    pub bits: u32,
    /// The FAT; its length says how many clusters there are. Entry 0 and 1 are filled in.
    pub fat: Vec<u32>,
    /// The root directory, one sector; in FAT32, cluster 2.
    pub root: [u8; 512],
    /// The clusters, from number 2 on; those at the end that are zero may be left out.
    pub data: Vec<u8>,
}

impl Tiny {
    /// The end of a chain, in each kind of FAT.
    pub const END: u32 = 0x0FFF_FFFF;

    pub fn new(bits: u32) -> Self {
        let clusters = if bits == 16 { 4085 } else { 400 };
        let mut fat = vec![0; clusters + 2];
        if bits == 32 {
            fat[2] = Self::END;
        }
        Self {
            bits,
            fat,
            root: [0; 512],
            data: vec![0; clusters * 512],
        }
    }

    /// Adds a short entry to the root directory.
    pub fn entry(&mut self, at: usize, name: &[u8; 11], attributes: u8, cluster: u32, size: u32) {
        self.root[at * 32..][..32].copy_from_slice(&entry(name, attributes, cluster, size));
    }

    /// Writes the chain of the clusters to the FAT and the bytes to the clusters.
    pub fn chain(&mut self, clusters: &[u32], bytes: &[u8]) {
        for pair in clusters.windows(2) {
            self.fat[pair[0] as usize] = pair[1];
        }
        if let Some(&last) = clusters.last() {
            self.fat[last as usize] = Self::END;
        }
        for (&cluster, piece) in clusters.iter().zip(bytes.chunks(512)) {
            self.data[(cluster as usize - 2) * 512..][..piece.len()].copy_from_slice(piece);
        }
    }

    pub fn image(&self) -> Vec<u8> {
        let mut fat = vec![0; (self.fat.len() * self.bits as usize).div_ceil(8)];
        let mut links = self.fat.clone();
        (links[0], links[1]) = (0x0FFF_FFF8, Self::END);
        for (index, link) in links.into_iter().enumerate() {
            match self.bits {
                12 => {
                    let link = if index % 2 == 0 {
                        link & 0xFFF
                    } else {
                        link << 4
                    };
                    let at = index * 3 / 2;
                    fat[at] |= link as u8;
                    fat[at + 1] |= (link >> 8) as u8;
                }
                16 => fat[index * 2..][..2].copy_from_slice(&(link as u16).to_le_bytes()),
                // The upper four bits mean nothing.
                _ => fat[index * 4..][..4].copy_from_slice(&(link | 0xA000_0000).to_le_bytes()),
            }
        }
        fat.resize(fat.len().next_multiple_of(512), 0);
        let mut boot = vec![0; 512];
        let mut set = |at: usize, bytes: &[u8]| boot[at..][..bytes.len()].copy_from_slice(bytes);
        set(0, &[0xEB, 0x3C, 0x90]);
        set(11, &512u16.to_le_bytes());
        set(13, &[1]); // sectors per cluster
        set(14, &1u16.to_le_bytes()); // reserved sectors
        set(16, &[1]); // FATs
        set(21, &[0xF8]); // media
        let fat_sectors = (fat.len() / 512) as u32;
        let root_sectors = u32::from(self.bits != 32);
        let total = 1 + fat_sectors + root_sectors + (self.fat.len() - 2) as u32;
        set(32, &total.to_le_bytes());
        if self.bits == 32 {
            set(36, &fat_sectors.to_le_bytes());
            set(44, &2u32.to_le_bytes()); // root directory
        } else {
            set(17, &16u16.to_le_bytes()); // root entries
            set(22, &(fat_sectors as u16).to_le_bytes());
        }
        set(510, &[0x55, 0xAA]);
        let mut data = self.data.clone();
        let mut root = self.root.to_vec();
        if self.bits == 32 {
            data[..512].copy_from_slice(&root);
            root.clear();
        }
        [boot, fat, root, data].concat()
    }
}

/// A short directory entry.
pub fn entry(name: &[u8; 11], attributes: u8, cluster: u32, size: u32) -> [u8; 32] {
    let mut entry = [0; 32];
    entry[..11].copy_from_slice(name);
    entry[11] = attributes;
    entry[20..22].copy_from_slice(&((cluster >> 16) as u16).to_le_bytes());
    entry[26..28].copy_from_slice(&(cluster as u16).to_le_bytes());
    entry[28..32].copy_from_slice(&size.to_le_bytes());
    entry
}

/// The checksum of a short name, as the specification computes it.
pub fn checksum(name: &[u8; 11]) -> u8 {
    name.iter().fold(0u8, |sum, &byte| {
        (if sum & 1 == 1 { 0x80u8 } else { 0 })
            .wrapping_add(sum >> 1)
            .wrapping_add(byte)
    })
}

/// The directory entries of a long name, in the order of the disk.
pub fn long_entries(long: &str, checksum: u8) -> Vec<[u8; 32]> {
    let mut units: Vec<u16> = long.encode_utf16().collect();
    if !units.len().is_multiple_of(13) {
        units.push(0);
        units.resize(units.len().next_multiple_of(13), 0xFFFF);
    }
    let parts: Vec<&[u16]> = units.chunks(13).collect();
    let places = (1..11)
        .step_by(2)
        .chain((14..26).step_by(2))
        .chain((28..32).step_by(2));
    parts
        .iter()
        .enumerate()
        .rev()
        .map(|(index, part)| {
            let number = index + 1;
            let mut entry = [0; 32];
            entry[0] = number as u8 | if number == parts.len() { 0x40 } else { 0 };
            entry[11] = 0x0F;
            entry[13] = checksum;
            for (at, unit) in places.clone().zip(part.iter()) {
                entry[at..at + 2].copy_from_slice(&unit.to_le_bytes());
            }
            entry
        })
        .collect()
}
