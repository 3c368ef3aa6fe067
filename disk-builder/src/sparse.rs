//! Writing a disk image without writing its zeros.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::mem;

/// The unit in which holes are kept: the block size of the usual host file systems, in bytes.
const BLOCK: usize = 4096;

/// The most blocks of a disk: a larger disk has larger blocks.
const MAX_BLOCKS: u64 = 1 << 26;

/// The most pages of the FATs that are kept in memory: 8 MiB. Where there are more, some are written
/// more than once.
const MAX_PAGES: usize = 2048;

/// Bytes that are written in one go: the FAT library writes cluster by cluster.
const CHUNK: usize = 256 << 10;

/// A new file that reads as zeros where nothing was written, and takes up room on the host only
/// where something else than zeros was. What was written is in the file after
/// [`flush`](Self::flush).
pub(crate) struct SparseFile {
    file: File,
    length: u64,
    /// A power of two, [`BLOCK`] or more.
    block: usize,
    /// One bit per block: something was written there.
    written: Vec<u64>,
    /// Bytes that are not in the file yet, and where they go.
    pending: Vec<u8>,
    pending_start: u64,
}

impl SparseFile {
    /// Takes a new and empty file and makes it `length` bytes long.
    pub(crate) fn new(file: File, length: u64) -> io::Result<Self> {
        file.set_len(length)?;
        let block = length.div_ceil(MAX_BLOCKS).next_power_of_two();
        let block = usize::try_from(block).map_err(io::Error::other)?.max(BLOCK);
        let words = length.div_ceil(block as u64).div_ceil(64);
        let words = usize::try_from(words).map_err(io::Error::other)?;
        Ok(Self {
            file,
            length,
            block,
            written: vec![0; words],
            pending: Vec::new(),
            pending_start: 0,
        })
    }

    /// Writes `bytes` at `offset`, except for zeros over a hole.
    pub(crate) fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if offset
            .checked_add(bytes.len() as u64)
            .is_none_or(|end| end > self.length)
        {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        // `start..position` is the run that is still to be written.
        let (mut start, mut position) = (0, 0);
        while position < bytes.len() {
            let at = offset + position as u64;
            let block = self.block as u64;
            let room = self.block - (at % block) as usize;
            let end = bytes.len().min(position + room);
            let (word, bit) = ((at / block / 64) as usize, 1 << (at / block % 64));
            if self.written[word] & bit == 0 && is_zero(&bytes[position..end]) {
                self.write_through(offset + start as u64, &bytes[start..position])?;
                start = end;
            } else {
                self.written[word] |= bit;
            }
            position = end;
        }
        self.write_through(offset + start as u64, &bytes[start..])
    }

    /// Whether something was written to the blocks that these bytes lie in; if not, they are zero.
    fn is_written(&self, offset: u64, length: usize) -> bool {
        let block = self.block as u64;
        let mut blocks = offset / block..(offset + length as u64).div_ceil(block);
        blocks.any(|block| {
            let word = self.written.get((block / 64) as usize);
            word.is_some_and(|word| word >> (block % 64) & 1 != 0)
        })
    }

    fn write_through(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        if offset != self.pending_start + self.pending.len() as u64 {
            self.flush()?;
            self.pending_start = offset;
        }
        self.pending.extend_from_slice(bytes);
        if self.pending.len() >= CHUNK {
            self.flush()?;
        }
        Ok(())
    }

    /// Writes what is still to be written.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        if !self.pending.is_empty() {
            self.file.seek(SeekFrom::Start(self.pending_start))?;
            self.file.write_all(&self.pending)?;
            self.pending_start += self.pending.len() as u64;
            self.pending.clear();
        }
        Ok(())
    }

    /// Reads `bytes.len()` bytes at `offset`.
    pub(crate) fn read_at(&mut self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.flush()?;
        self.file.seek(SeekFrom::Start(offset))?;
        self.file.read_exact(bytes)
    }
}

/// A partition of a [`SparseFile`], as the FAT library wants to see it: a stream that can seek.
///
/// The library changes a FAT four bytes at a time. The pages in front of
/// [`data_start`](Self::set_data_start) are therefore kept in memory, as far as they hold
/// something, until there are too many, or until [`finish`](Self::finish).
pub(crate) struct Partition<'a> {
    disk: &'a mut SparseFile,
    start: u64,
    length: u64,
    position: u64,
    data_start: u64,
    /// By their numbers, from the start of the partition.
    pages: Vec<Option<Box<[u8; BLOCK]>>>,
    /// How many there are.
    kept: usize,
}

impl<'a> Partition<'a> {
    /// The bytes `start .. start + length` of `disk`.
    pub(crate) fn new(disk: &'a mut SparseFile, start: u64, length: u64) -> Self {
        Self {
            disk,
            start,
            length,
            position: 0,
            data_start: u64::MAX,
            pages: Vec::new(),
            kept: 0,
        }
    }

    /// Says where (byte offset in the partition) the FATs end and the data begins; must be called
    /// before the first file is written.
    pub(crate) fn set_data_start(&mut self, offset: u64) -> io::Result<()> {
        self.data_start = offset.next_multiple_of(BLOCK as u64);
        // The root directory may have been touched already.
        self.flush_pages()
    }

    /// Writes what was kept in memory.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.flush_pages()
    }

    fn flush_pages(&mut self) -> io::Result<()> {
        self.kept = 0;
        for (number, page) in mem::take(&mut self.pages).into_iter().enumerate() {
            let Some(bytes) = page else {
                continue;
            };
            let offset = (number * BLOCK) as u64;
            let length = BLOCK.min((self.length - offset) as usize);
            self.disk.write_at(self.start + offset, &bytes[..length])?;
        }
        Ok(())
    }

    /// The page of the current position, if it is in memory.
    fn page(&mut self) -> Option<&mut [u8; BLOCK]> {
        let number = (self.position / BLOCK as u64) as usize;
        self.pages.get_mut(number)?.as_deref_mut()
    }

    /// A page as it is on the disk.
    fn read_page(&mut self) -> io::Result<Box<[u8; BLOCK]>> {
        let mut page = Box::new([0; BLOCK]);
        let offset = self.position - self.position % BLOCK as u64;
        let length = BLOCK.min((self.length - offset) as usize);
        let start = self.start + offset;
        if self.disk.is_written(start, length) {
            self.disk.read_at(start, &mut page[..length])?;
        }
        Ok(page)
    }

    /// Whether the next bytes may be something else than zero on the disk.
    fn is_written(&self, length: usize) -> bool {
        self.disk.is_written(self.start + self.position, length)
    }

    /// How many of `wanted` bytes from the current position on are in one piece: within a page of
    /// the FATs, or anywhere in the data.
    fn piece(&self, wanted: usize) -> usize {
        let left = usize::try_from(self.length - self.position).unwrap_or(usize::MAX);
        let page = BLOCK - (self.position % BLOCK as u64) as usize;
        let limit = if self.position < self.data_start {
            page
        } else {
            usize::MAX
        };
        wanted.min(left).min(limit)
    }
}

impl Read for Partition<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.piece(buffer.len());
        let buffer = &mut buffer[..count];
        if self.position >= self.data_start {
            self.disk.read_at(self.start + self.position, buffer)?;
        } else if let within = (self.position % BLOCK as u64) as usize
            && let Some(page) = self.page()
        {
            buffer.copy_from_slice(&page[within..within + count]);
        } else if self.is_written(count) {
            self.disk.read_at(self.start + self.position, buffer)?;
        } else {
            buffer.fill(0);
        }
        self.position += count as u64;
        Ok(count)
    }
}

impl Write for Partition<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let bytes = &bytes[..self.piece(bytes.len())];
        if self.position >= self.data_start {
            self.disk.write_at(self.start + self.position, bytes)?;
        } else {
            let within = (self.position % BLOCK as u64) as usize;
            if let Some(page) = self.page() {
                page[within..within + bytes.len()].copy_from_slice(bytes);
            } else if !is_zero(bytes) || self.is_written(bytes.len()) {
                let mut page = self.read_page()?;
                page[within..within + bytes.len()].copy_from_slice(bytes);
                if self.kept >= MAX_PAGES {
                    self.flush_pages()?;
                }
                let number = (self.position / BLOCK as u64) as usize;
                if self.pages.len() <= number {
                    self.pages.resize_with(number + 1, || None);
                }
                self.pages[number] = Some(page);
                self.kept += 1;
            }
        }
        self.position += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Partition<'_> {
    fn seek(&mut self, target: SeekFrom) -> io::Result<u64> {
        let position = match target {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::End(offset) => self.length.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        self.position = position
            .filter(|&position| position <= self.length)
            .ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    // Comparisons of whole blocks are fast in a build without optimisation, too.
    let zero = [0; BLOCK];
    bytes
        .chunks(BLOCK)
        .all(|chunk| *chunk == zero[..chunk.len()])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sparse(length: u64) -> SparseFile {
        SparseFile::new(tempfile::tempfile().unwrap(), length).unwrap()
    }

    #[test]
    fn zeros_are_written_only_over_something() {
        let mut disk = sparse(64 * BLOCK as u64);
        let mut bytes = vec![0; 8 * BLOCK];
        bytes[3 * BLOCK + 7] = 1;
        disk.write_at(100, &bytes).unwrap();
        assert_eq!(disk.written, [1 << 3]);

        // A second write must be able to clear what the first one left.
        disk.write_at(0, &vec![0; 9 * BLOCK]).unwrap();
        let mut back = vec![0xFF; 9 * BLOCK];
        disk.read_at(0, &mut back).unwrap();
        assert!(is_zero(&back));
        assert_eq!(disk.written, [1 << 3]);
    }

    #[test]
    fn pages_beyond_the_most_are_written_and_read_back() {
        let pages = 3 * MAX_PAGES;
        let mut disk = sparse((pages * BLOCK) as u64 + 4096);
        let mut partition = Partition::new(&mut disk, 512, (pages * BLOCK) as u64);
        let mut put = |at: usize, bytes: &[u8]| {
            partition.seek(SeekFrom::Start(at as u64)).unwrap();
            partition.write_all(bytes).unwrap();
            assert!(partition.kept <= MAX_PAGES);
        };
        // A FAT is filled a few bytes at a time, and entries of earlier pages change again.
        for page in 0..pages {
            put(page * BLOCK + page % 4000, &[1 + (page % 200) as u8; 4]);
            put(page / 2 * BLOCK + 4092, &[7; 4]);
        }
        // Zeros over something that is not in memory any more.
        put(BLOCK + 1, &[0; 4]);
        partition.finish().unwrap();

        let mut expected = vec![0; pages * BLOCK];
        for page in 0..pages {
            expected[page * BLOCK + page % 4000..][..4].fill(1 + (page % 200) as u8);
            expected[page / 2 * BLOCK + 4092..][..4].fill(7);
        }
        expected[BLOCK + 1..][..4].fill(0);
        let mut all = vec![0xFF; pages * BLOCK];
        disk.read_at(512, &mut all).unwrap();
        assert!(all == expected);
    }

    #[test]
    fn a_large_disk_takes_little_memory() {
        let mut disk = sparse(2 << 40);
        assert!(disk.written.len() <= (MAX_BLOCKS / 64) as usize);
        disk.write_at((2 << 40) - 5, &[1; 5]).unwrap();
        let mut back = [0; 6];
        disk.read_at((2 << 40) - 6, &mut back).unwrap();
        assert_eq!(back, [0, 1, 1, 1, 1, 1]);
    }

    #[test]
    fn nothing_is_written_behind_the_end() {
        let mut disk = sparse(1000);
        assert!(disk.write_at(999, &[1, 2]).is_err());
        assert!(disk.write_at(u64::MAX, &[1]).is_err());
        disk.write_at(999, &[1]).unwrap();
    }

    #[test]
    fn a_partition_keeps_its_head_in_memory_and_writes_it_at_the_end() {
        let mut disk = sparse(1 << 20);
        let mut partition = Partition::new(&mut disk, 512, 1 << 19);
        partition.write_all(&[1; 3 * BLOCK]).unwrap();
        partition.set_data_start(BLOCK as u64 + 1).unwrap();
        partition.seek(SeekFrom::Start(BLOCK as u64 - 2)).unwrap();
        partition.write_all(&[2; 4]).unwrap();
        partition.seek(SeekFrom::End(-2)).unwrap();
        assert_eq!(partition.write(&[3; 4]).unwrap(), 2);
        partition.seek(SeekFrom::Start(BLOCK as u64 - 3)).unwrap();
        let mut back = [0; 6];
        partition.read_exact(&mut back).unwrap();
        assert_eq!(back, [1, 2, 2, 2, 2, 1]);
        assert!(partition.seek(SeekFrom::Current(i64::MIN)).is_err());
        partition.finish().unwrap();

        let mut all = vec![0xFF; 1 << 20];
        disk.read_at(0, &mut all).unwrap();
        let mut expected = vec![0; 1 << 20];
        expected[512..512 + 3 * BLOCK].fill(1);
        expected[512 + BLOCK - 2..512 + BLOCK + 2].fill(2);
        expected[512 + (1 << 19) - 2..512 + (1 << 19)].fill(3);
        assert!(all == expected);
    }
}
