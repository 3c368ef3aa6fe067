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
const FIRST_READ: usize = 16 * 1024;

/// A few large pieces of the disk in memory; a new one replaces the least recently used one.
///
/// The first read at a place takes `FIRST_READ` bytes: the boot sector comes with the first FAT
/// sectors, the root directory with the clusters that were written next. When reading continues
/// behind a window, as in the FAT of a large file, the next window is filled completely.
///
/// After many misses, each window is filled completely, from a multiple of its size on: then a file
/// whose clusters lie in any order is being read, and all parts of the FAT are needed again and again.
pub struct Cache<'b> {
    /// Those behind the first few have no memory, if there is little.
    windows: [Window<'b>; MOST_WINDOWS],
    /// The window that was used last: mostly, it is the next one, too.
    last: usize,
    /// Counts accesses; each window records the time of its last one.
    clock: u32,
    /// Counts misses.
    misses: u32,
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
            misses: 0,
        }
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
    /// sector of `offset` to that of `end` at most.
    pub(super) fn bytes<D: BlockDevice + ?Sized>(
        &mut self,
        device: &mut D,
        offset: DiskOffset,
        end: DiskOffset,
    ) -> Result<&[u8], FatError> {
        let (index, skip) = match self.locate(offset) {
            Some(hit) => hit,
            None => self.fill(device, offset, end)?,
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
    ) -> Result<(usize, usize), FatError> {
        let sector_size = device.sector_size();
        let span = Span::new(sector_size, offset, end);
        let goes_on = self
            .windows
            .iter()
            .any(|window| window.length != 0 && window.start + window.length as u64 == span.start);
        let windows = self.windows.iter_mut().enumerate();
        let windows = windows.filter(|(_, window)| !window.memory.is_empty());
        let oldest = windows.min_by_key(|(_, window)| window.used);
        let Some((index, window)) = oldest else {
            return Err(FatError::SectorSize(sector_size));
        };
        let room = window.memory.len();
        self.misses = self.misses.saturating_add(1);
        let whole = (room >> span.shift).min(device.max_transfer());
        if self.misses > MOST_WINDOWS as u32
            && let Some(skip) = window.fill_around(device, &span, whole)
        {
            return Ok((index, skip));
        }
        let wanted = if goes_on {
            room
        } else {
            room.min(FIRST_READ.max(sector_size))
        };
        let count = span.sectors(device).min(wanted >> span.shift);
        if count == 0 || sector_size < disk_layout::SECTOR_SIZE {
            return Err(FatError::SectorSize(sector_size));
        }
        let bytes = device.read(span.lba, count)?;
        window.start = span.start;
        window.length = copy(bytes, window.memory);
        Ok((index, span.skip))
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
