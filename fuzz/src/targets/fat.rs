//! A FAT volume: its files are found, and the two ways of reading them agree.

use boot_path::disk::fat::{Cache, FatError, File, View, Volume};
use boot_path::disk::partition::Partition;
use boot_path::disk::stream::{self, Range};

use super::show;
use crate::disk::SparseDisk;
use crate::input::Input;
use crate::tiny::{Tiny, checksum, long_entries};

/// More than this of a file is not looked at.
const MOST: u64 = 256 * 1024;

const PATHS: [&str; 5] = [
    "/boot/kernel.conf",
    "boot/kernel.elf",
    "//A",
    "KERNEL.ELF",
    "dir/dir/a long name.text",
];

/// The input: what disk it is, then the volume's bytes; or, when the first byte is odd, a FAT and a
/// root directory to make a volume of.
pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let how = input.u8();
    let mut sector_size = input.choose(&[512, 512, 512, 1024, 2048, 4096, 65536]);
    let max_transfer = usize::from(input.u8() % 127) + 1;
    let windows = [1, 2, 16, 64][usize::from(how >> 1 & 3)] * 5 * 4096;
    let first_lba = if how & 8 == 0 {
        0
    } else {
        u64::from(input.u8())
    };
    let sectors = match how >> 4 & 3 {
        0 => 1 << 20,
        1 => u64::from(input.u32()),
        2 => 1 << 32,
        _ => u64::MAX,
    };
    let tiny;
    let (volume, made) = if how & 1 == 0 {
        (input.rest(), None)
    } else {
        sector_size = 512;
        let made = make(&mut input);
        tiny = made.image();
        (&tiny[..], Some(made))
    };
    let mut image = vec![0; first_lba as usize * sector_size];
    image.extend_from_slice(volume);
    let mut disk = SparseDisk::new(&image, sector_size, sectors, max_transfer);
    let mut memory = vec![0; windows.max(5 * sector_size)];
    let mut cache = Cache::new(&mut memory);
    let partition = Partition {
        number: 1,
        first_lba,
        sectors: sectors.saturating_sub(first_lba),
        signature: 0,
    };
    let Some(volume) = open(&mut disk, &mut cache, &partition) else {
        return;
    };
    for view in View::ALL {
        if let Ok(other) = Volume::open_view(&mut disk, &mut cache, &partition, view) {
            look_by(&mut disk, &mut cache, &volume, &other);
        }
    }
    for path in ["/", "boot", "/dir/dir"] {
        list(&mut disk, &mut cache, &volume, path);
    }
    // More names than any path has; where a directory contains itself, there is one for each.
    let _ = look_for(&mut disk, &mut cache, &volume, &"dir/".repeat(300));
    let _ = look_for(&mut disk, &mut cache, &volume, &"a/".repeat(100));
    for path in PATHS {
        let file = match look_for(&mut disk, &mut cache, &volume, path) {
            Ok(Some(file)) => file,
            Ok(None) => continue,
            Err(error) => {
                show(&error);
                continue;
            }
        };
        match check(&mut disk, &mut cache, &volume, &file) {
            Ok(content) => {
                if let Some(made) = &made {
                    let expected = read(made, path).expect("it was found");
                    assert!(content == expected[..content.len()], "{path}");
                }
            }
            Err(error) => {
                show(&error);
            }
        }
    }
}

/// Opens a volume by the usual view; where that fails, by any, to see that it ends.
fn open(disk: &mut SparseDisk<'_>, cache: &mut Cache<'_>, partition: &Partition) -> Option<Volume> {
    let error = match Volume::open(disk, cache, partition) {
        Ok(volume) => return Some(volume),
        Err(error) => error,
    };
    show(&error);
    let changed = &mut |error: &FatError, _| {
        show(error);
    };
    if let Err(error) = Volume::open_any(disk, cache, partition, changed) {
        show(&error);
    }
    None
}

/// Looks for a file, by no more reads than the clusters of the largest directory need: one for each, and
/// two of the FAT.
fn look_for(
    disk: &mut SparseDisk<'_>,
    cache: &mut Cache<'_>,
    volume: &Volume,
    path: &str,
) -> Result<Option<File>, FatError> {
    const LARGEST: u64 = 65_536 * 32 / 512;
    const NAMES: u64 = 130;

    let before = disk.reads;
    let found = volume.find(disk, cache, path);
    let reads = disk.reads - before;
    assert!(reads <= 3 * (LARGEST + NAMES), "{reads} reads");
    found
}

/// A file that lies in the same places by another view of the volume has the same bytes.
fn look_by(disk: &mut SparseDisk<'_>, cache: &mut Cache<'_>, volume: &Volume, other: &Volume) {
    for path in PATHS {
        let Ok(Some(file)) = other.find(disk, cache, path) else {
            continue;
        };
        if file.size > MOST || !volume.same_places(other, disk, cache, &file) {
            continue;
        }
        let mut read = |volume: &Volume| {
            let mut bytes = vec![0; file.size as usize];
            let length = volume.read_at(disk, cache, &file, 0, &mut bytes).ok()?;
            Some((length, bytes))
        };
        let (one, another) = (read(volume), read(other));
        // Where the disk ends, depends on what is in the cache.
        assert!(one == another || one.is_none() || another.is_none());
    }
}

/// Lists a directory: there is an end, names are ASCII, and looking for one ends as well.
fn list(disk: &mut SparseDisk<'_>, cache: &mut Cache<'_>, volume: &Volume, path: &str) {
    let Ok(Some(mut directory)) = volume.directory(disk, cache, path) else {
        return;
    };
    for count in 0.. {
        assert!(count <= 65_536, "a directory without end");
        let listed = match directory.next(disk, cache) {
            Ok(Some(listed)) => listed,
            Ok(None) => return,
            Err(error) => {
                show(&error);
                return;
            }
        };
        let name = listed.name.as_str();
        assert!(name.bytes().all(|byte| matches!(byte, b' '..=b'~')));
        if count < 20 {
            let _ = volume.find(disk, cache, &format!("{path}/{name}"));
        }
    }
}

/// Reads the file (or its beginning) in two ways, and looks at where it lies.
fn check(
    disk: &mut SparseDisk<'_>,
    cache: &mut Cache<'_>,
    volume: &Volume,
    file: &File,
) -> Result<Vec<u8>, FatError> {
    let length = file.size.min(MOST);
    let mut streamed = vec![0xEE; length as usize];
    let half = Range {
        file_offset: length / 2,
        length: length - length / 2,
        destination: length / 2,
    };
    let first = Range {
        file_offset: 0,
        length: half.file_offset,
        destination: 0,
    };
    // Out of order, with an empty one that is nowhere.
    let nowhere = Range {
        file_offset: u64::MAX,
        length: 0,
        destination: 0,
    };
    let mut count = 0;
    let ranges = [half, nowhere, first];
    let result = stream::stream(disk, cache, volume, file, &ranges, &mut |at, bytes| {
        streamed[at as usize..][..bytes.len()].copy_from_slice(bytes);
        count += bytes.len() as u64;
    });
    let mut read = vec![0xEE; length as usize];
    let same = volume.read_at(disk, cache, file, 0, &mut read);
    // The disk may end in between, but where one of them gets to the end, so does the other.
    match (result, same) {
        (Ok(()), Ok(same)) => {
            assert_eq!((count, same as u64), (length, length));
            assert!(read == streamed, "read_at and stream differ");
        }
        (Err(error), _) | (_, Err(error)) => {
            assert!(result.is_err() && same.is_err(), "{result:?}, {same:?}");
            return Err(error);
        }
    }
    let behind = Range {
        file_offset: file.size,
        length: 1,
        destination: 0,
    };
    let refused = stream::stream(disk, cache, volume, file, &[behind], &mut |_, _| {
        panic!("bytes behind the end");
    });
    assert!(matches!(refused, Err(FatError::BehindFile { .. })));

    let mut extents = volume.extents(file).until(MOST);
    let mut end = 0;
    while let Some(extent) = extents.next(disk, cache)? {
        assert_eq!(extent.file_offset, end, "a gap");
        assert!(extent.length > 0 && extent.disk_offset % 512 == 0);
        end += extent.length;
    }
    assert!(end >= length && end <= file.size);
    Ok(read)
}

/// A volume with directories and a FAT that the input makes, both of which may be nonsense.
fn make(input: &mut Input<'_>) -> Tiny {
    let mut tiny = Tiny::new(input.choose(&[12, 16, 32]));
    tiny.data.truncate(64 * 512);
    let last = tiny.fat.len() as u32 - 1;
    let small = move |input: &mut Input<'_>| match input.u8() {
        value @ 0..=0xEF => u32::from(value) % 70,
        0xF0 => last,
        0xF1 => last + 1,
        0xF2 => input.u32(),
        _ => Tiny::END,
    };
    let mut root = 0;
    while !input.is_empty() {
        match input.u8() % 4 {
            // A short piece of the FAT.
            0 => {
                let mut at = small(input);
                for _ in 0..input.u8() % 8 {
                    let link = small(input);
                    if (2..=last).contains(&at) {
                        tiny.fat[at as usize] = link;
                    }
                    at = link;
                }
            }
            1 => {
                let (first, count) = (small(input), input.u8() % 16);
                for at in first..first.saturating_add(count.into()) {
                    if (2..=last).contains(&at) {
                        tiny.fat[at as usize] = at + 1;
                    }
                }
            }
            // An entry of a directory.
            2 => {
                let name = input.choose(&[
                    b"BOOT       ",
                    b"KERNEL  ELF",
                    b"KERNEL~1CON",
                    b"A          ",
                    b"DIR        ",
                    b"ALONGN~1TEX",
                    b"\xE5ERNEL  ELF",
                ]);
                let long = input.choose(&["", "", "kernel.conf", "a long name.text"]);
                let attributes = input.choose(&[0x20, 0x10, 0x00, 0x08, 0x0F]);
                let cluster = small(input);
                let size = match input.u8() % 4 {
                    0 => input.u32(),
                    1 => u32::from(input.u16()),
                    n => u32::from(input.u8()) * 32 * u32::from(n),
                };
                let mut entries = Vec::new();
                if !long.is_empty() {
                    entries = long_entries(long, checksum(name) ^ (input.u8() >> 7));
                }
                entries.push(crate::tiny::entry(name, attributes, cluster, size));
                let directory = small(input);
                for entry in entries {
                    let place = match directory {
                        2..66 => tiny.data.get_mut((directory as usize - 2) * 512..),
                        _ => Some(&mut tiny.root[..]),
                    };
                    let free = place.and_then(|bytes| {
                        let bytes = &mut bytes[..512];
                        bytes.chunks_mut(32).find(|entry| entry[0] == 0)
                    });
                    if let Some(free) = free {
                        free.copy_from_slice(&entry);
                    }
                    root += 1;
                }
            }
            // Any bytes.
            _ => {
                let at = usize::from(input.u16()) % tiny.data.len();
                let bytes = input.bytes(usize::from(at as u8 % 32));
                let room = &mut tiny.data[at..];
                let length = bytes.len().min(room.len());
                room[..length].copy_from_slice(&bytes[..length]);
            }
        }
        if root > 1000 {
            break;
        }
    }
    tiny
}

/// The naive reader: the file's chain, cluster by cluster.
fn read(tiny: &Tiny, path: &str) -> Option<Vec<u8>> {
    let mut names = path.split('/').filter(|name| !name.is_empty()).peekable();
    let mut entries = tiny.root.to_vec();
    if tiny.bits == 32 {
        // Cluster 2 holds the root directory, and may go on behind it.
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

/// The bytes of a chain, as far as it leads somewhere.
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

/// The entry of a name, the one of a long name only with all of its parts in front of it.
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

/// Whether two parts of a long name say the same, up to the end of the name and but for the case of
/// letters.
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
