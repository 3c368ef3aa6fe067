//! What a machine has written to its disk, request by request.
//!
//! The format is that of Linux's dm-log-writes (Documentation/admin-guide/device-mapper/log-writes.rst),
//! which QEMU's block driver `blklogwrites` writes.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use anyhow::{Context as _, Result, anyhow, ensure};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout};

/// Bytes of a sector of the log, and of the disk.
const SECTOR: u64 = 512;
/// "This is a log", in the first sector.
const MAGIC: u64 = 0x6A_7366_7773_6872;
/// Everything before this is on the disk.
const FLUSH: u64 = 1;
/// The bytes are not to be kept; there are none in the log.
const DISCARD: u64 = 4;

/// The log's first sector.
#[derive(FromBytes, KnownLayout, Immutable)]
#[repr(C)]
struct Head {
    magic: U64,
    version: U64,
    entries: U64,
    sector_size: U32,
}

/// The sector in front of the data of each request.
#[derive(FromBytes, KnownLayout, Immutable)]
#[repr(C)]
struct Entry {
    sector: U64,
    sectors: U64,
    flags: U64,
    data_length: U64,
}

/// A request of the machine.
#[derive(Debug, PartialEq, Eq)]
pub enum Request {
    /// Bytes for the disk.
    Write {
        /// Where they go on the disk, in bytes.
        start: u64,
        /// The bytes.
        data: Vec<u8>,
    },
    /// What was written so far has to survive the loss of power.
    Flush,
}

impl Request {
    /// Where it writes, and what.
    pub fn write(&self) -> Option<(u64, &[u8])> {
        match self {
            Self::Write { start, data } => Some((*start, data)),
            Self::Flush => None,
        }
    }
}

/// Reads the requests that touch the first `end` bytes of the disk. The bytes behind them are left out.
///
/// # Errors
/// When it is no such log.
pub fn read(log: &Path, end: u64) -> Result<Vec<Request>> {
    let file = File::open(log).with_context(|| format!("cannot open {}", log.display()))?;
    let mut log = BufReader::new(file);
    let head: Head = sector(&mut log)?;
    ensure!(
        head.magic.get() == MAGIC && u64::from(head.sector_size.get()) == SECTOR,
        "not a log of writes"
    );
    let mut requests = Vec::new();
    for _ in 0..head.entries.get() {
        let entry: Entry = sector(&mut log)?;
        let flags = entry.flags.get();
        if flags & FLUSH != 0 {
            requests.push(Request::Flush);
        }
        let start = entry.sector.get() * SECTOR;
        if flags & DISCARD != 0 {
            // FAT is not mounted with `discard`.
            ensure!(start >= end, "sectors of the boot partition are discarded");
            continue;
        }
        let length = entry.sectors.get() * SECTOR;
        let kept = length.min(end.saturating_sub(start));
        if kept > 0 {
            let mut data = vec![0; usize::try_from(kept)?];
            log.read_exact(&mut data).context("the log is cut off")?;
            requests.push(Request::Write { start, data });
        }
        log.seek_relative(i64::try_from(length - kept)?)?;
    }
    ensure!(!requests.is_empty(), "nothing was written");
    Ok(requests)
}

/// The structure at the start of the next sector.
fn sector<T: FromBytes + KnownLayout + Immutable>(log: &mut impl Read) -> Result<T> {
    let mut bytes = [0; SECTOR as usize];
    log.read_exact(&mut bytes).context("the log is cut off")?;
    let (it, _) = T::read_from_prefix(&bytes).map_err(|_| anyhow!("longer than a sector"))?;
    Ok(it)
}
