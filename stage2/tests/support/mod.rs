//! Disks in memory and volumes to put on them.
#![allow(dead_code, reason = "each test program uses its own part")]

use std::cell::RefCell;
use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};
use std::process::{Command, Stdio};
use std::rc::Rc;

use stage2::block_device::{BlockDevice, DiskError, DiskFailure};
use stage2::fat::{Cache, FatError, File, Volume};
use stage2::partition::Partition;
use stage2::stream::{self, Range};

/// A disk in memory that counts.
pub struct MemoryDisk {
    pub bytes: Vec<u8>,
    pub sector_size: usize,
    pub max_transfer: usize,
    /// A sector that cannot be read.
    pub bad: Option<u64>,
    /// What `sector_count` says, when it is not the truth.
    pub claimed_sectors: Option<u64>,
    /// Every read: LBA and number of sectors.
    pub reads: Vec<(u64, usize)>,
}

impl MemoryDisk {
    pub fn new(mut bytes: Vec<u8>, sector_size: usize) -> Self {
        bytes.resize(bytes.len().next_multiple_of(sector_size), 0);
        Self {
            bytes,
            sector_size,
            max_transfer: 127,
            bad: None,
            claimed_sectors: None,
            reads: Vec::new(),
        }
    }

    fn sectors(&self) -> u64 {
        (self.bytes.len() / self.sector_size) as u64
    }
}

impl BlockDevice for MemoryDisk {
    fn sector_size(&self) -> usize {
        self.sector_size
    }

    fn sector_count(&self) -> u64 {
        self.claimed_sectors.unwrap_or(self.sectors())
    }

    fn max_transfer(&self) -> usize {
        self.max_transfer
    }

    fn read(&mut self, lba: u64, count: usize) -> Result<&[u8], DiskError> {
        assert!(
            (1..=self.max_transfer).contains(&count),
            "a read of {count} sectors"
        );
        self.reads.push((lba, count));
        let error = |cause| {
            Err(DiskError {
                cause,
                lba,
                drive: 0x80,
            })
        };
        let Some(end) = lba
            .checked_add(count as u64)
            .filter(|&end| end <= self.sectors())
        else {
            return error(DiskFailure::OutOfRange);
        };
        if self.bad.is_some_and(|bad| (lba..end).contains(&bad)) {
            return error(DiskFailure::Status(0x10));
        }
        Ok(&self.bytes[lba as usize * self.sector_size..end as usize * self.sector_size])
    }
}

/// The whole disk as a partition.
pub fn whole(disk: &MemoryDisk) -> Partition {
    Partition {
        number: 0,
        first_lba: 0,
        sectors: disk.sectors(),
        signature: 0,
    }
}

/// Opens the volume that fills the disk, finds the file and reads it in both ways.
pub fn read_file(disk: &mut MemoryDisk, path: &str) -> Result<Option<Vec<u8>>, FatError> {
    let mut memory = vec![0; 3 * 16 * 1024];
    let mut cache = Cache::new(&mut memory);
    let volume = Volume::open(disk, &mut cache, &whole(disk))?;
    let Some(file) = volume.find(disk, &mut cache, path)? else {
        return Ok(None);
    };
    let streamed = stream_file(disk, &mut cache, &volume, &file)?;
    let mut small = vec![0; file.size as usize + 1];
    let length = volume.read_at(disk, &mut cache, &file, 0, &mut small)?;
    small.truncate(length);
    assert!(streamed == small, "read_at and stream differ");
    Ok(Some(streamed))
}

/// Streams a whole file.
pub fn stream_file(
    disk: &mut MemoryDisk,
    cache: &mut Cache<'_>,
    volume: &Volume,
    file: &File,
) -> Result<Vec<u8>, FatError> {
    let mut bytes = vec![0; file.size as usize];
    let range = Range {
        file_offset: 0,
        length: file.size,
        destination: 0,
    };
    stream::stream(disk, cache, volume, file, &[range], &mut |at, piece| {
        bytes[at as usize..][..piece.len()].copy_from_slice(piece);
    })?;
    Ok(bytes)
}

/// Bytes that differ from file to file and from sector to sector.
pub fn content(seed: u32, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as u8
    };
    (0..length).map(|_| next()).collect()
}

/// An empty volume made by mkfs.fat.
pub fn mkfs(kib: usize, arguments: &[&str]) -> Vec<u8> {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.as_file().set_len(kib as u64 * 1024).expect("space");
    run(
        &["mkfs.fat", "/usr/sbin/mkfs.fat", "/sbin/mkfs.fat"],
        "dosfstools",
        |command| command.args(arguments).arg(file.path()),
    );
    std::fs::read(file.path()).expect("the image")
}

/// Copies a file into a volume with mtools.
pub fn mcopy(volume: &mut Vec<u8>, name: &str, bytes: &[u8]) {
    let mut image = tempfile::NamedTempFile::new().expect("a temporary file");
    image.write_all(volume).expect("space");
    let mut source = tempfile::NamedTempFile::new().expect("a temporary file");
    source.write_all(bytes).expect("space");
    run(&["mcopy"], "mtools", |command| {
        command
            .env("MTOOLS_SKIP_CHECK", "1")
            .env("LC_ALL", "C.UTF-8")
            .arg("-i")
            .arg(image.path())
            .arg(source.path())
            .arg(format!("::{name}"))
    });
    *volume = std::fs::read(image.path()).expect("the image");
}

fn run(programs: &[&str], package: &str, set: impl Fn(&mut Command) -> &mut Command) {
    for program in programs {
        let mut command = Command::new(program);
        match set(&mut command).stdout(Stdio::null()).status() {
            Ok(status) => return assert!(status.success(), "{program}: {status}"),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => panic!("{program}: {error}"),
        }
    }
    panic!("{} is missing: install the package {package}", programs[0]);
}

/// An empty volume made by `fatfs`.
pub fn fatfs_format(bytes: usize, options: fatfs::FormatVolumeOptions) -> Vec<u8> {
    let mut volume = vec![0; bytes];
    fatfs::format_volume(Cursor::new(&mut volume[..]), options).expect("fatfs formats");
    volume
}

pub type Directory<'a> = fatfs::Dir<'a, Shared>;

/// Changes a volume by `fatfs`.
pub fn fatfs_write(volume: &mut Vec<u8>, change: impl FnOnce(&Directory<'_>)) {
    let shared = Shared(Rc::new(RefCell::new(Cursor::new(std::mem::take(volume)))));
    let options = fatfs::FsOptions::new();
    let system = fatfs::FileSystem::new(shared.clone(), options).expect("fatfs mounts");
    change(&system.root_dir());
    system.unmount().expect("fatfs unmounts");
    *volume = shared.0.take().into_inner();
}

/// Writes a file by `fatfs`; its directory must be there.
pub fn put(directory: &Directory<'_>, path: &str, bytes: &[u8]) {
    let mut file = directory.create_file(path).expect("fatfs creates");
    file.write_all(bytes).expect("fatfs writes");
}

/// A volume that can be taken back from `fatfs`.
#[derive(Clone)]
pub struct Shared(Rc<RefCell<Cursor<Vec<u8>>>>);

impl Read for Shared {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.0.borrow_mut().read(out)
    }
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Shared {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.0.borrow_mut().seek(to)
    }
}

/// A volume made by hand, of sectors and clusters of 512 bytes, to be damaged at will.
pub struct Tiny {
    /// 12, 16 or 32.
    pub bits: u32,
    /// The FAT; its length says how many clusters there are. Entry 0 and 1 are filled in.
    pub fat: Vec<u32>,
    /// The root directory, one sector; in FAT32, cluster 2.
    pub root: [u8; 512],
    /// The clusters, from number 2 on.
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
        let total = 1 + fat_sectors + root_sectors + (self.data.len() / 512) as u32;
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

    pub fn disk(&self) -> MemoryDisk {
        MemoryDisk::new(self.image(), 512)
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
