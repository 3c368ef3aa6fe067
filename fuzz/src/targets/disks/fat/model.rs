//! A reader that follows the specification and has no cache.

use super::MOST;
use crate::tiny::{Tiny, checksum, long_entries};

/// The naive reader: the file's chain, cluster by cluster.
pub(super) fn read(tiny: &Tiny, path: &str) -> Option<Vec<u8>> {
    let mut names = path.split('/').filter(|name| !name.is_empty()).peekable();
    let mut entries = tiny.root.to_vec();
    if tiny.bits == 32 {
        // Cluster 2 holds the root directory, which may continue in others.
        entries.extend(chain(tiny, tiny.fat[2]));
    }
    while let Some(name) = names.next() {
        let entry = find(&entries, name)?;
        let low = u32::from(u16::from_le_bytes([entry[26], entry[27]]));
        let high = u32::from(u16::from_le_bytes([entry[20], entry[21]]));
        let cluster = if tiny.bits == 32 {
            high << 16 | low
        } else {
            low
        };
        entries = chain(tiny, cluster);
        if names.peek().is_none() {
            let size = u32::from_le_bytes(entry[28..32].try_into().expect("four"));
            entries.resize(size as usize, 0xEE);
        }
    }
    Some(entries)
}

/// The bytes of a chain, up to the first link that leads nowhere.
fn chain(tiny: &Tiny, mut cluster: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    while (2..tiny.fat.len() as u32).contains(&cluster) && bytes.len() as u64 <= MOST + 512 {
        let index = (cluster as usize - 2) * 512;
        let mut piece = tiny.data.get(index..index + 512).unwrap_or(&[0; 512]);
        if cluster == 2 && tiny.bits == 32 {
            piece = &tiny.root;
        }
        bytes.extend_from_slice(piece);
        cluster = tiny.fat[cluster as usize]
            & match tiny.bits {
                12 => 0xFFF,
                16 => 0xFFFF,
                _ => 0x0FFF_FFFF,
            };
    }
    bytes
}

/// The directory entry with this name. A long name counts only if all of its parts precede the
/// entry.
fn find(directory: &[u8], name: &str) -> Option<[u8; 32]> {
    let entries: Vec<[u8; 32]> = directory.as_chunks().0.to_vec();
    let (stem, extension) = name.split_once('.').unwrap_or((name, ""));
    let short = format!("{:8}{extension:3}", stem).to_ascii_uppercase();
    for (index, entry) in entries.iter().enumerate() {
        match entry[0] {
            0 => return None,
            0xE5 => continue,
            _ if entry[11] & 0x08 != 0 => continue,
            _ => {}
        }
        let short_name: [u8; 11] = entry[..11].try_into().expect("eleven");
        let parts = long_entries(name, checksum(&short_name));
        let before = &entries[..index];
        let is_long = parts.len() <= before.len()
            && before[before.len() - parts.len()..]
                .iter()
                .zip(&parts)
                .all(|(a, b)| is_same_part(a, b));
        if is_long || short.len() == 11 && short.as_bytes() == short_name {
            return Some(*entry);
        }
    }
    None
}

/// Whether two parts of a long name are the same up to the end of the name. The case of letters
/// does not count.
fn is_same_part(a: &[u8; 32], b: &[u8; 32]) -> bool {
    let places = (1..11).chain(14..26).chain(28..32);
    let units = |entry: &[u8; 32]| -> Vec<u16> {
        let bytes: Vec<u8> = places.clone().map(|at| entry[at]).collect();
        let units = bytes
            .as_chunks::<2>()
            .0
            .iter()
            .map(|&unit| u16::from_le_bytes(unit));
        let fold = |unit: u16| match u8::try_from(unit) {
            Ok(byte) => u16::from(byte.to_ascii_uppercase()),
            Err(_) => unit,
        };
        units.map(fold).take_while(|&unit| unit != 0).collect()
    };
    a[11] & 0x3F == 0x0F && a[0] == b[0] && a[13] == b[13] && units(a) == units(b)
}
