//! Step 10: reads pieces of a file, in as few and as large reads as possible.
//!
//! Each INT 13h call has a fixed cost, so fewer calls are faster. Pieces that are close together in
//! the file are read together, every call reads as many sectors as it may, and bytes that the
//! [`Cache`] already holds are not read again. Small files are read through the cache: a window holds
//! several of them, if they were written one after the other.

use crate::disk::block_device::BlockDevice;
use crate::disk::fat::{Cache, Extent, FIRST_READ, FatError, File, Span, Volume};
use crate::memory::address::PhysAddr;
use crate::position::{DiskOffset, FileOffset};

/// Bytes of a file and their destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first byte in the file.
    pub file_offset: FileOffset,
    /// Number of bytes; with `file_offset` no more than the file has.
    pub length: u64,
    /// Where the first byte goes.
    pub destination: PhysAddr,
}

/// Ranges with fewer bytes between them are read in one go: reading those bytes costs less than a
/// call.
const GAP: u64 = 16 * 1024;

/// Reads the `ranges` of the file and hands them to `sink` in pieces, each with its destination.
/// The ranges may overlap and be in any order; the pieces come in the order of the file.
///
/// # Errors
/// [`FatError`], when the disk or the file system is damaged, or a range is not in the file. Some
/// pieces may have been delivered.
pub fn stream<D: BlockDevice + ?Sized>(
    device: &mut D,
    cache: &mut Cache<'_>,
    volume: &Volume,
    file: &File,
    ranges: &[Range],
    sink: &mut impl FnMut(PhysAddr, &[u8]),
) -> Result<(), FatError> {
    let mut end = FileOffset::ZERO;
    for range in ranges.iter().filter(|range| range.length != 0) {
        end = end.max(range.file_offset.saturating_add(range.length));
    }
    if end.as_u64() > file.size {
        return Err(FatError::BehindFile {
            end: end.as_u64(),
            size: file.size,
        });
    }

    let mut extents = volume.extents(file).until(end);
    let mut extent = Extent {
        file_offset: FileOffset::ZERO,
        disk_offset: DiskOffset::ZERO,
        length: 0,
    };
    let mut run = next_run(ranges, FileOffset::ZERO);
    while let Some((mut position, run_end)) = run {
        while position < run_end {
            // The extents cover the file up to `end` without a gap, or the walk fails.
            while position - extent.file_offset >= extent.length {
                let Some(next) = extents.next(device, cache)? else {
                    return Err(FatError::BehindFile {
                        end: end.as_u64(),
                        size: file.size,
                    });
                };
                extent = next;
            }
            let skip = position - extent.file_offset;
            let length = (run_end - position).min(extent.length - skip);
            let start = extent.disk_offset + skip;

            let bytes = if file.size <= FIRST_READ {
                let purpose = volume.purpose(file, &extent, skip);
                let bytes = cache.bytes(device, start, volume.end(), purpose)?;
                bytes.get(..length as usize).unwrap_or(bytes)
            } else {
                piece(device, cache, start, length)?
            };
            deliver(ranges, position, bytes, sink);
            position += bytes.len() as u64;
        }
        run = next_run(ranges, run_end);
    }
    Ok(())
}

/// The bytes from `start` of the disk on: at least one, at most `length`, and as many as the cache
/// holds or one call reads.
fn piece<'a, D: BlockDevice + ?Sized>(
    device: &'a mut D,
    cache: &'a Cache<'_>,
    start: DiskOffset,
    length: u64,
) -> Result<&'a [u8], FatError> {
    let sector_size = device.sector_size();
    let bytes = match cache.peek(start) {
        Some(bytes) => bytes,
        None => {
            let end = cache.gap_end(start, start + length);
            let span = Span::new(sector_size, start, end);
            let count = span.sectors(device);
            let bytes = device.read(span.lba, count)?;
            bytes.get(span.skip..).unwrap_or_default()
        }
    };
    // Empty only if the device breaks its contract: a call reads at least the sector of `start`.
    match bytes.get(..length as usize).unwrap_or(bytes) {
        [] => Err(FatError::SectorSize(sector_size)),
        bytes => Ok(bytes),
    }
}

/// The next requested bytes from `position` on, including gaps too small to be worth a call of
/// their own: start and end in the file.
fn next_run(ranges: &[Range], position: FileOffset) -> Option<(FileOffset, FileOffset)> {
    let wanted = |range: &&Range| range.length != 0 && range.file_offset + range.length > position;
    let start = ranges
        .iter()
        .filter(wanted)
        .map(|range| range.file_offset)
        .min()?;
    let mut end = start;
    loop {
        let reach = end.saturating_add(GAP);
        let near = ranges
            .iter()
            .filter(wanted)
            .filter(|range| range.file_offset < reach && range.file_offset + range.length > end);
        match near.map(|range| range.file_offset + range.length).max() {
            Some(further) => end = further,
            None => return Some((start, end)),
        }
    }
}

/// Hands the bytes at `position` of the file to every range that contains some of them.
fn deliver(
    ranges: &[Range],
    position: FileOffset,
    bytes: &[u8],
    sink: &mut impl FnMut(PhysAddr, &[u8]),
) {
    let end = position + bytes.len() as u64;
    for range in ranges {
        let from = range.file_offset.max(position);
        let to = (range.file_offset + range.length).min(end);
        if from < to {
            let piece = bytes.get((from - position) as usize..(to - position) as usize);
            sink(
                range.destination.wrapping_add(from - range.file_offset),
                piece.unwrap_or_default(),
            );
        }
    }
}
