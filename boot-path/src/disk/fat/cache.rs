//! Pieces of the disk that stay in memory.

use crate::disk::block_device::BlockDevice;
use crate::disk::fat::error::FatError;
use crate::errors::text::copy;
use crate::position::{DiskOffset, Lba};

/// The least number of windows. A kernel that is inspected before it is loaded uses all of them: two
/// for the FAT of 8,192 clusters, two for the 32 KiB of its head, and one for its section headers.
/// With fewer, some of these would be read again.
const WINDOWS: usize = 5;

/// The largest number. On a volume that people have used for years, the root directory, those on the
/// way, the FAT of each file and the files themselves are all in other places.
const MOST_WINDOWS: usize = 32;

/// Bytes of a window, where there is memory for more than [`WINDOWS`] of them.
const WINDOW: usize = 64 * 1024;

/// Bytes that the first read at a place takes. The next bytes to be read are usually near, and slow
/// disks (1 MB/s and less) should not read much that nobody asked for.
pub(crate) const FIRST_READ: u64 = 16 * 1024;

/// Bytes that a read at the end of a file takes, with those in front of it: these will be read, too,
/// if it is a kernel whose notes or sections are at its end. A disk with 1 MB/s takes 32 ms for them.
const LAST_READ: u64 = 32 * 1024;

/// From so many bytes on, a file is large: a disk with 1 MB/s takes four seconds for it, and nobody
/// feels the 96 ms more that two whole windows take.
pub(crate) const LARGE_FILE: u64 = 4 * 1024 * 1024;

/// Reads at places in the FAT, far from each other, that take no more than the first read anywhere. A
/// directory and a kernel need as many. After more, what is read lies all over the volume.
const APART: u32 = 2;

/// A few large pieces of the disk in memory; a new one replaces the least recently used one.
///
/// The first read at a place takes `FIRST_READ` bytes: the boot sector comes with the first FAT
/// sectors, the root directory with the clusters that were written next. In a file, it ends with the
/// file. When reading continues behind a window, as in the FAT of a large file or in small files that
/// were written one after the other, the next window is filled completely.
///
/// After a few misses in the FAT, windows of it are filled completely, from a multiple of their size
/// on: all parts of it will be needed, and if a file's clusters lie in any order, again and again.
pub struct Cache<'b> {
    /// Those behind the first few have no memory, if there is little.
    windows: [Window<'b>; MOST_WINDOWS],
    /// The window that was used last: mostly, it is the next one, too.
    last: usize,
    /// Counts accesses; each window records the time of its last one.
    clock: u32,
    /// How many of the next misses, except in files, fill a window completely.
    whole: u8,
    /// Counts misses in the FAT that did not continue behind a window.
    apart: u32,
}

/// What bytes of the disk are read for.
#[derive(Clone, Copy)]
pub(crate) enum Purpose {
    /// A boot sector or a directory.
    Volume,
    /// The FAT.
    Table,
    /// A file's bytes.
    File {
        /// How many bytes in front of them lie in front of them in the file, too.
        before: u64,
        /// How many bytes there are up to the end of the file's last cluster.
        left: u64,
    },
}

struct Window<'b> {
    memory: &'b mut [u8],
    start: DiskOffset,
    /// Bytes that are valid.
    length: usize,
    used: u32,
}

impl<'b> Cache<'b> {
    /// Bytes of memory beyond which no more windows are made.
    pub const MOST_BYTES: usize = MOST_WINDOWS * WINDOW;

    /// A cache of five windows that share `buffer`, or of more if it has more than 5 × 64 KiB. Each
    /// must hold at least one logical sector; more than [`Self::MOST_BYTES`] do not help.
    pub fn new(buffer: &'b mut [u8]) -> Self {
        let count = (buffer.len() / WINDOW).clamp(WINDOWS, MOST_WINDOWS);
        let size = buffer.len() / count;
        let mut rest = buffer;
        let mut windows = [(); MOST_WINDOWS].map(|()| Window {
            memory: &mut [],
            start: DiskOffset::ZERO,
            length: 0,
            used: 0,
        });
        for window in windows.iter_mut().take(count) {
            (window.memory, rest) = core::mem::take(&mut rest)
                .split_at_mut_checked(size)
                .unwrap_or_default();
        }
        Self {
            windows,
            last: 0,
            clock: 0,
            whole: 0,
            apart: 0,
        }
    }

    /// A [large file](LARGE_FILE) will be read: the boot sector is read with more of the FAT, which that
    /// file needs, and the root directory with more of what was written next.
    pub(crate) fn expect_large_file(&mut self) {
        self.whole = 2;
    }

    /// The bytes from `offset` of the disk on, as far as they are in memory.
    pub(crate) fn peek(&self, offset: DiskOffset) -> Option<&[u8]> {
        let (index, skip) = self.locate(offset)?;
        let window = self.windows.get(index)?;
        window.memory.get(skip..window.length)
    }

    /// Where cached bytes begin again behind `offset`, which is not cached itself; at most `end`.
    pub(crate) fn gap_end(&self, offset: DiskOffset, end: DiskOffset) -> DiskOffset {
        let windows = self.windows.iter().filter(|window| window.length != 0);
        let starts = windows.map(|window| window.start);
        let next = starts.filter(|&start| start > offset).min();
        next.map_or(end, |start| start.min(end))
    }

    /// The bytes from `offset` of the disk on, at least one. A miss reads one window, from the
    /// sector of `offset`, or one in front of it, to that of `end` at most.
    pub(crate) fn bytes<D: BlockDevice + ?Sized>(
        &mut self,
        device: &mut D,
        offset: DiskOffset,
        end: DiskOffset,
        purpose: Purpose,
    ) -> Result<&[u8], FatError> {
        let (index, skip) = match self.locate(offset) {
            Some(hit) => hit,
            None => self.fill(device, offset, end, purpose)?,
        };
        self.clock = self.clock.wrapping_add(1);
        self.last = index;
        let bytes = self.windows.get_mut(index).and_then(|window| {
            window.used = self.clock;
            window.memory.get(skip..window.length)
        });
        // The window holds the bytes, or it would have no index.
        bytes.ok_or(FatError::SectorSize(device.sector_size()))
    }

    /// The window that holds `offset`, and the position in it.
    fn locate(&self, offset: DiskOffset) -> Option<(usize, usize)> {
        let skip_in = |window: &Window<'_>| {
            let skip = offset.as_u64().wrapping_sub(window.start.as_u64());
            (skip < window.length as u64).then_some(skip as usize)
        };
        if let Some(skip) = self.windows.get(self.last).and_then(skip_in) {
            return Some((self.last, skip));
        }
        let mut windows = self.windows.iter().enumerate();
        windows.find_map(|(index, window)| Some((index, skip_in(window)?)))
    }

    fn fill<D: BlockDevice + ?Sized>(
        &mut self,
        device: &mut D,
        offset: DiskOffset,
        end: DiskOffset,
        purpose: Purpose,
    ) -> Result<(usize, usize), FatError> {
        let sector_size = device.sector_size();
        let (start, reach) = self.choose(sector_size, offset, purpose);
        let span = Span::new(sector_size, start, end.min(reach));
        let windows = self.windows.iter_mut().enumerate();
        let windows = windows.filter(|(_, window)| !window.memory.is_empty());
        let oldest = windows.min_by_key(|(_, window)| window.used);
        let Some((index, window)) = oldest else {
            return Err(FatError::SectorSize(sector_size));
        };
        let room = window.memory.len() >> span.shift;
        if self.apart > APART
            && matches!(purpose, Purpose::Table)
            && let whole = room.min(device.max_transfer())
            && let Some(skip) = window.fill_around(device, &span, whole)
        {
            return Ok((index, skip));
        }
        let count = span.sectors(device).min(room);
        if count == 0 || sector_size < disk_layout::SECTOR_SIZE {
            return Err(FatError::SectorSize(sector_size));
        }
        let bytes = device.read(span.lba, count)?;
        window.start = span.start;
        window.length = copy(bytes, window.memory);
        let skip = (offset - window.start) as usize;
        Ok((index, skip))
    }

    /// Where a read begins that has to include `offset`, and where it ends at the latest.
    fn choose(
        &mut self,
        sector_size: usize,
        offset: DiskOffset,
        purpose: Purpose,
    ) -> (DiskOffset, DiskOffset) {
        let windows = self.windows.iter().filter(|window| window.length != 0);
        let ends = windows.map(|window| window.start + window.length as u64);
        let behind = ends.filter(|&end| end <= offset).max();
        if behind.is_some_and(|end| offset - end < FIRST_READ) {
            return (offset, DiskOffset::new(u64::MAX));
        }
        let reach = offset
            .sector(sector_size)
            .start(sector_size)
            .saturating_add(FIRST_READ);
        match purpose {
            Purpose::File { before, left } if left < FIRST_READ => {
                // All of it has to fit into a window, whose first and last sectors may be partly used.
                let room = self.windows.first().map_or(0, |window| window.memory.len());
                let most = LAST_READ.min(room.saturating_sub(2 * sector_size) as u64);
                let back = before.min(most.saturating_sub(left));
                let back = behind.map_or(back, |end| back.min(offset - end));
                let start = DiskOffset::new(offset.as_u64() - back);
                (start, offset + left)
            }
            Purpose::Table => {
                self.apart = self.apart.saturating_add(1);
                (offset, reach)
            }
            Purpose::Volume if self.whole > 0 => {
                self.whole -= 1;
                (offset, DiskOffset::new(u64::MAX))
            }
            _ => (offset, reach),
        }
    }
}

impl Window<'_> {
    /// Reads the `whole` sectors that the span's first one is among. Returns where the span's first
    /// byte is. `None`: they cannot be read up to there.
    fn fill_around<D: BlockDevice + ?Sized>(
        &mut self,
        device: &mut D,
        span: &Span,
        whole: usize,
    ) -> Option<usize> {
        let lba = span.lba.as_u64();
        let back = lba.checked_rem(whole as u64)?;
        let first = Lba::new(lba - back);
        let left = device.sector_count().saturating_sub(first.as_u64());
        let count = usize::try_from(left).map_or(whole, |left| left.min(whole));
        self.length = 0;
        let bytes = device.read(first, count).ok()?;
        let back = back << span.shift;
        self.start = DiskOffset::new(span.start.as_u64() - back);
        self.length = copy(bytes, self.memory);
        let skip = back as usize + span.skip;
        (skip < self.length).then_some(skip)
    }
}

/// A range of bytes on the disk, as whole logical sectors.
pub(crate) struct Span {
    /// The binary logarithm of the sector size.
    pub shift: u32,
    /// Where the first sector begins.
    start: DiskOffset,
    /// The first sector.
    pub lba: Lba,
    /// Bytes in that sector in front of the first byte of the span.
    pub skip: usize,
    /// The last sector.
    last: Lba,
}

impl Span {
    /// The sectors that hold the bytes `start..end`, and always that of `start`.
    pub fn new(sector_size: usize, start: DiskOffset, end: DiskOffset) -> Self {
        let shift = sector_size.trailing_zeros() & 31;
        let skip = start.as_u64() & ((1 << shift) - 1);
        let length = end.saturating_sub(start).max(1);
        Self {
            shift,
            start: DiskOffset::new(start.as_u64() - skip),
            lba: start.sector(sector_size),
            skip: skip as usize,
            last: (start + (length - 1)).sector(sector_size),
        }
    }

    /// The number of these sectors that one call can read; at least 1. The device has to refuse a
    /// sector behind the end of the disk.
    pub fn sectors<D: BlockDevice + ?Sized>(&self, device: &D) -> usize {
        let end = (self.last + 1).min(Lba::new(device.sector_count()));
        let count = end.saturating_sub(self.lba).max(1);
        count.min(device.max_transfer() as u64) as usize
    }
}
