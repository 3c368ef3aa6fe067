//! Disks in memory and volumes to put on them.
#![allow(dead_code, reason = "each test program uses its own part")]

pub mod tiny;

use boot_path::position::FileOffset;
use std::cell::RefCell;
use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};
use std::process::{Command, Stdio};
use std::rc::Rc;

use boot_path::disk::block_device::{BlockDevice, DiskError, DiskFailure};
use boot_path::disk::fat::{Cache, FatError, File, Volume};
use boot_path::disk::partition::Partition;
use boot_path::disk::stream::{self, Range};
use boot_path::memory::address::PhysAddr;
use boot_path::position::Lba;

#[allow(unused_imports, reason = "each test program uses its own part")]
pub use tiny::{Tiny, checksum, entry, long_entries};

/// A disk in memory that counts its reads.
pub struct MemoryDisk {
    pub bytes: Vec<u8>,
    pub sector_size: usize,
    pub max_transfer: usize,
    /// A sector that cannot be read.
    pub bad: Option<u64>,
    /// What `sector_count` returns, if not the truth.
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

    fn read(&mut self, lba: Lba, count: usize) -> Result<&[u8], DiskError> {
        assert!(
            (1..=self.max_transfer).contains(&count),
            "a read of {count} sectors"
        );
        self.reads.push((lba.as_u64(), count));
        let error = |cause| {
            Err(DiskError {
                cause,
                lba,
                drive: 0x80,
            })
        };
        let end = lba.checked_add(count as u64);
        let Some(end) = end.filter(|&end| end <= Lba::new(self.sectors())) else {
            return error(DiskFailure::OutOfRange);
        };
        if self
            .bad
            .is_some_and(|bad| (lba..end).contains(&Lba::new(bad)))
        {
            return error(DiskFailure::Status(0x10));
        }
        let [start, end] = [lba, end].map(|lba| lba.start(self.sector_size).as_u64() as usize);
        Ok(&self.bytes[start..end])
    }
}

/// The whole disk as a partition.
pub fn whole(disk: &MemoryDisk) -> Partition {
    Partition {
        number: 0,
        kind: 0,
        first_lba: Lba::ZERO,
        sectors: disk.sectors(),
        signature: 0,
    }
}

/// A FAT32 volume with two FATs and a backup boot sector: /FILE in clusters 10, 11 and 20.
pub fn twofold() -> (MemoryDisk, Vec<u8>) {
    let content: Vec<u8> = (0..1500u32).map(|n| (n * 7 + n / 256) as u8).collect();
    let mut tiny = Tiny::new(32);
    tiny.entry(0, b"FILE       ", 0, 10, content.len() as u32);
    tiny.chain(&[10, 11, 20], &content);
    let image = tiny.image();
    let fat = usize::from(u16::from_le_bytes([image[36], image[37]])) * 512;
    let mut boot = image[..512].to_vec();
    boot[14] = 8; // reserved sectors
    boot[16] = 2; // FATs
    let total = u32::from_le_bytes(*boot[32..].first_chunk().unwrap());
    let total = total + 7 + fat as u32 / 512;
    boot[32..36].copy_from_slice(&total.to_le_bytes());
    let mut bytes = [&boot[..], &[0; 7 * 512]].concat();
    bytes[6 * 512..7 * 512].copy_from_slice(&boot);
    for _ in 0..2 {
        bytes.extend_from_slice(&image[512..512 + fat]);
    }
    bytes.extend_from_slice(&image[512 + fat..]);
    (MemoryDisk::new(bytes, 512), content)
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
    let length = volume.read_at(disk, &mut cache, &file, FileOffset::ZERO, &mut small)?;
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
        file_offset: FileOffset::ZERO,
        length: file.size,
        destination: PhysAddr::new(0),
    };
    stream::stream(disk, cache, volume, file, &[range], &mut |at, piece| {
        bytes[at.as_u64() as usize..][..piece.len()].copy_from_slice(piece);
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

impl Tiny {
    pub fn disk(&self) -> MemoryDisk {
        MemoryDisk::new(self.image(), 512)
    }
}
