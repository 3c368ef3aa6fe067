//! A FAT volume: files are found, and two ways of reading them agree.

mod made;
mod model;

use boot_path::disk::fat::{Cache, FatError, File, View, Volume};
use boot_path::disk::partition::Partition;
use boot_path::disk::stream::{self, Range};
use boot_path::memory::address::PhysAddr;
use boot_path::position::FileOffset;
use boot_path::position::Lba;

use crate::disk::SparseDisk;
use crate::input::Input;
use crate::targets::show;
use crate::tiny::Tiny;
use made::make;

/// A file is not read beyond this offset.
const MOST: u64 = 256 * 1024;

const PATHS: [&str; 5] = [
    "/boot/kernel.conf",
    "boot/kernel.elf",
    "//A",
    "KERNEL.ELF",
    "dir/dir/a long name.text",
];

/// The disk that the volume is on.
struct Shape {
    sector_size: usize,
    max_transfer: usize,
    /// Bytes of the cache.
    cache: usize,
    first_lba: u64,
    sectors: u64,
}

impl Shape {
    fn of(how: u8, input: &mut Input<'_>) -> Self {
        let sector_size = input.choose(&[512, 512, 512, 1024, 2048, 4096, 65536]);
        Self {
            // Volumes that the input makes have sectors of this size.
            sector_size: if how & 1 == 0 { sector_size } else { 512 },
            max_transfer: usize::from(input.u8() % 127) + 1,
            cache: [1, 2, 16, 64][usize::from(how >> 1 & 3)] * 5 * 4096,
            first_lba: if how & 8 == 0 {
                0
            } else {
                u64::from(input.u8())
            },
            sectors: match how >> 4 & 3 {
                0 => 1 << 20,
                1 => u64::from(input.u32()),
                2 => 1 << 32,
                _ => u64::MAX,
            },
        }
    }
}

/// The input: the kind of disk, then the volume's bytes. If the first byte is odd, a FAT and a root
/// directory to make a volume of.
pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let how = input.u8();
    let shape = Shape::of(how, &mut input);
    let tiny;
    let (volume, made) = if how & 1 == 0 {
        (input.rest(), None)
    } else {
        let made = make(&mut input);
        tiny = made.image();
        (&tiny[..], Some(made))
    };
    let mut image = vec![0; shape.first_lba as usize * shape.sector_size];
    image.extend_from_slice(volume);
    let (sectors, max_transfer) = (shape.sectors, shape.max_transfer);
    let mut disk = SparseDisk::new(&image, shape.sector_size, sectors, max_transfer);
    let mut memory = vec![0; shape.cache.max(5 * shape.sector_size)];
    let mut cache = Cache::new(&mut memory);
    let partition = Partition {
        kind: 0x0C,
        number: 1,
        first_lba: Lba::new(shape.first_lba),
        sectors: shape.sectors.saturating_sub(shape.first_lba),
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
    // More names than any path has. A directory that contains itself has one for each.
    let _ = look_for(&mut disk, &mut cache, &volume, &"dir/".repeat(300));
    let _ = look_for(&mut disk, &mut cache, &volume, &"a/".repeat(100));
    for path in PATHS {
        if let Err(error) = check_path(&mut disk, &mut cache, &volume, path, made.as_ref()) {
            show(&error);
        }
    }
}

/// If a file is found, it has the bytes that the model finds.
fn check_path(
    disk: &mut SparseDisk<'_>,
    cache: &mut Cache<'_>,
    volume: &Volume,
    path: &str,
    made: Option<&Tiny>,
) -> Result<(), FatError> {
    let Some(file) = look_for(disk, cache, volume, path)? else {
        return Ok(());
    };
    let content = check(disk, cache, volume, &file)?;
    if let Some(made) = made {
        let expected = model::read(made, path).expect("it was found");
        assert!(content == expected[..content.len()], "{path}");
    }
    Ok(())
}

/// Opens a volume by the usual view. If that fails, by any view, to check that the search ends.
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

/// Looks for a file. This takes no more reads than the clusters of the largest directory need: one
/// for each, and two of the FAT.
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

/// If a file lies in the same places by another view of the volume, it has the same bytes.
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
            let length = volume
                .read_at(disk, cache, &file, FileOffset::ZERO, &mut bytes)
                .ok()?;
            Some((length, bytes))
        };
        let (one, another) = (read(volume), read(other));
        // Where the disk ends depends on what is in the cache.
        assert!(one == another || one.is_none() || another.is_none());
    }
}

/// Lists a directory: the list ends, names are ASCII, and looking for one of them ends as well.
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

/// Reads the file (or its beginning) in two ways, and checks where it lies.
fn check(
    disk: &mut SparseDisk<'_>,
    cache: &mut Cache<'_>,
    volume: &Volume,
    file: &File,
) -> Result<Vec<u8>, FatError> {
    let length = file.size.min(MOST);
    let mut streamed = vec![0xEE; length as usize];
    let half = Range {
        file_offset: FileOffset::new(length / 2),
        length: length - length / 2,
        destination: PhysAddr::new(length / 2),
    };
    let first = Range {
        file_offset: FileOffset::ZERO,
        length: half.file_offset.as_u64(),
        destination: PhysAddr::new(0),
    };
    // The ranges are out of order, and one is empty and lies nowhere.
    let nowhere = Range {
        file_offset: FileOffset::new(u64::MAX),
        length: 0,
        destination: PhysAddr::new(0),
    };
    let mut count = 0;
    let ranges = [half, nowhere, first];
    let result = stream::stream(disk, cache, volume, file, &ranges, &mut |at, bytes| {
        streamed[at.as_u64() as usize..][..bytes.len()].copy_from_slice(bytes);
        count += bytes.len() as u64;
    });
    let mut read = vec![0xEE; length as usize];
    let same = volume.read_at(disk, cache, file, FileOffset::ZERO, &mut read);
    // The disk may end in between. But if one of the two ways reaches the end, so does the other.
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
    check_end(disk, cache, volume, file);
    check_extents(disk, cache, volume, file)?;
    Ok(read)
}

/// There is nothing behind the end of a file.
fn check_end(disk: &mut SparseDisk<'_>, cache: &mut Cache<'_>, volume: &Volume, file: &File) {
    let behind = Range {
        file_offset: FileOffset::new(file.size),
        length: 1,
        destination: PhysAddr::new(0),
    };
    let refused = stream::stream(disk, cache, volume, file, &[behind], &mut |_, _| {
        panic!("bytes behind the end");
    });
    assert!(matches!(refused, Err(FatError::BehindFile { .. })));
}

/// The places of a file have no gap between them.
fn check_extents(
    disk: &mut SparseDisk<'_>,
    cache: &mut Cache<'_>,
    volume: &Volume,
    file: &File,
) -> Result<(), FatError> {
    let mut extents = volume.extents(file).until(FileOffset::new(MOST));
    let mut end = 0;
    while let Some(extent) = extents.next(disk, cache)? {
        assert_eq!(extent.file_offset, FileOffset::new(end), "a gap");
        assert!(extent.length > 0 && extent.disk_offset.as_u64() % 512 == 0);
        end += extent.length;
    }
    assert!(end >= file.size.min(MOST) && end <= file.size);
    Ok(())
}
