//! How `./run.sh debian` looks at a disk at each moment of a session. The session itself takes half an hour.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use disk_builder::image::{Entry, Recipe, build};
use disk_builder::inspect::inspect;
use machine_tests::debian::moments::look_at_all;
use machine_tests::debian::writes::{Request, read};
use machine_tests::image::{demo_kernel, stages};
use tempfile::TempDir;

const SECTOR: usize = 512;

/// A log as dm-log-writes has it: sector, flags and data of each request.
fn log(requests: &[(u64, u64, &[u8])]) -> Vec<u8> {
    let mut log = Vec::new();
    let head = [0x6A_7366_7773_6872, 1, requests.len() as u64, SECTOR as u64];
    log.extend(head.iter().flat_map(|number| number.to_le_bytes()));
    for (sector, flags, data) in requests {
        log.resize(log.len().next_multiple_of(SECTOR), 0);
        let discarded = flags & 4 != 0;
        let sectors = if discarded { 8 } else { data.len() / SECTOR };
        let entry = [*sector, sectors as u64, *flags, 0];
        log.extend(entry.iter().flat_map(|number| number.to_le_bytes()));
        log.resize(log.len().next_multiple_of(SECTOR), 0);
        log.extend(*data);
    }
    log.resize(log.len().next_multiple_of(SECTOR), 0);
    log
}

fn write(sector: u64, data: &[u8]) -> Request {
    Request::Write {
        start: sector * SECTOR as u64,
        data: data.to_vec(),
    }
}

#[test]
fn requests_are_read() -> Result<()> {
    let directory = TempDir::new()?;
    let path = directory.path().join("log");
    let (one, two) = ([1; SECTOR], [2; 2 * SECTOR]);
    fs::write(
        &path,
        log(&[
            (3, 0, &one),
            (0, 1, &[]),
            (20, 4, &[]),
            (9, 1, &two),
            (40, 0, &one),
        ]),
    )?;
    let expected = [
        write(3, &one),
        Request::Flush,
        // It empties the cache first. Only its first sector is in front of the end.
        Request::Flush,
        write(9, &two[..SECTOR]),
    ];
    assert_eq!(read(&path, 10 * SECTOR as u64)?, expected);

    assert!(read(&path, 22 * SECTOR as u64).is_err(), "discarded");
    let short = fs::read(&path)?;
    fs::write(&path, &short[..3 * SECTOR])?;
    assert!(read(&path, 100 * SECTOR as u64).is_err(), "cut off");
    fs::write(&path, [0; 4 * SECTOR])?;
    assert!(read(&path, 100 * SECTOR as u64).is_err(), "no log");
    Ok(())
}

/// A disk with two entries, and the file of the first one's kernel.
fn disk(directory: &Path) -> Result<PathBuf> {
    let disk = directory.join("disk.img");
    let mut recipe = Recipe::new(demo_kernel()?, &disk, stages()?);
    recipe.entries = ["a", "b"]
        .map(|name| Entry::new(name, &recipe.kernel))
        .to_vec();
    recipe.default = Some("a".to_owned());
    recipe.checksums = false;
    build(&recipe)?;
    Ok(disk)
}

/// The first sector of a file on the disk.
fn sector_of(disk: &Path, path: &str) -> Result<(u64, Vec<u8>)> {
    let inspection = inspect(disk)?;
    let file = inspection.file(path).with_context(|| path.to_owned())?;
    let sector = file.extents.first().context("an empty file")?.lba;
    let mut data = vec![0; SECTOR];
    File::open(disk)?.read_exact_at(&mut data, sector * SECTOR as u64)?;
    Ok((sector, data))
}

#[test]
fn a_moment_at_which_a_file_is_damaged_is_found() -> Result<()> {
    let directory = TempDir::new()?;
    let disk = disk(directory.path())?;
    // Behind the loader, and in no file.
    let harmless = write(1000, &[7; SECTOR]);
    let moments = look_at_all(&disk, &[harmless])?;
    assert_eq!((moments.in_order, moments.changes), (1, 0));

    // In the middle of the kernel, where its reader does not look, and only for a moment.
    let (sector, _) = sector_of(&disk, "/boot/kernels/kernel")?;
    let middle = sector + 2000;
    let mut data = [0; SECTOR];
    File::open(&disk)?.read_exact_at(&mut data, middle * SECTOR as u64)?;
    let damage = data.map(|byte| !byte);
    let before = fs::read(&disk)?;
    let result = look_at_all(
        &disk,
        &[write(middle, &damage), Request::Flush, write(middle, &data)],
    );
    let error = format!("{:#}", result.expect_err("it was damaged"));
    assert!(error.contains("after write 0 behind flush 0"), "{error}");
    assert!(error.contains("/boot/kernels/kernel is damaged"), "{error}");

    // It does not matter if the disk has both writes, or none; if it has the first one alone, it does.
    fs::write(&disk, before)?;
    let both = [write(middle, &damage), write(middle, &data)];
    assert!(look_at_all(&disk, &both).is_err());
    Ok(())
}

#[test]
fn another_entry_that_boots_is_a_change() -> Result<()> {
    let directory = TempDir::new()?;
    let disk = disk(directory.path())?;
    let (sector, data) = sector_of(&disk, "/loader/entries/a.conf")?;
    // A file of comments names nothing to boot.
    let comment = write(sector, &[b'#'; SECTOR]);
    let requests = [comment, Request::Flush, write(sector, &data)];
    let moments = look_at_all(&disk, &requests)?;
    assert_eq!((moments.in_order, moments.changes), (2, 2));
    Ok(())
}
