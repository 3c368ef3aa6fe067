//! Reads files of the host piece by piece, whatever their length, and skips the holes of sparse
//! files.

use std::fmt;
use std::fs::{self, File, FileType, OpenOptions};
use std::io::{self, Seek as _, SeekFrom};
use std::ops::Range;
use std::path::Path;
use std::rc::Rc;

use anyhow::{Context as _, Result, ensure};
use boot_path::files::file_bytes::{FileBytes, WINDOW};
use boot_path::position::FileOffset;

use crate::progress::{self, Progress};

/// What a path may lead to, and what a user calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Directory,
    Pipe,
    Socket,
    CharacterDevice,
    BlockDevice,
    Unknown,
}

impl Kind {
    pub(crate) fn of(kind: FileType) -> Self {
        #[cfg(unix)]
        {
            use std::os::unix::fs::FileTypeExt as _;
            let special = [
                (kind.is_fifo(), Self::Pipe),
                (kind.is_socket(), Self::Socket),
                (kind.is_char_device(), Self::CharacterDevice),
                (kind.is_block_device(), Self::BlockDevice),
            ];
            if let Some((_, special)) = special.into_iter().find(|(is_it, _)| *is_it) {
                return special;
            }
        }
        match kind {
            kind if kind.is_file() => Self::File,
            kind if kind.is_dir() => Self::Directory,
            _ => Self::Unknown,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::File => "a regular file",
            Self::Directory => "a directory",
            Self::Pipe => "a pipe",
            Self::Socket => "a socket",
            Self::CharacterDevice => "a character device",
            Self::BlockDevice => "a block device",
            Self::Unknown => "of an unknown kind",
        })
    }
}

/// Opens a regular file. Refuses anything else under this name at once, because reading it could
/// block for ever.
pub(crate) fn open(path: &Path) -> Result<File> {
    open_one_of(path, &[Kind::File])
}

/// Opens a disk: an image, or a device.
pub(crate) fn open_disk(path: &Path) -> Result<File> {
    open_one_of(path, &[Kind::File, Kind::BlockDevice])
}

/// Opens a file that is read once, to its end: a pipe will do.
///
/// # Errors
/// When it cannot be opened, or is a directory.
pub fn open_stream(path: &Path) -> Result<File> {
    let name = path.display();
    let file = File::open(path).with_context(|| format!("cannot open {name}"))?;
    let kind = Kind::of(file.metadata()?.file_type());
    ensure!(kind != Kind::Directory, "{name} is {kind}, not a file");
    Ok(file)
}

fn open_one_of(path: &Path, kinds: &[Kind]) -> Result<File> {
    let name = path.display();
    let cannot = || format!("cannot open {name}");
    // Opening alone may have an effect, for example on a device.
    let refuse = |kind: Kind| {
        ensure!(kinds.contains(&kind), "{name} is {kind}, not a file");
        Ok(())
    };
    let data = fs::metadata(path).with_context(cannot)?;
    refuse(Kind::of(data.file_type()))?;
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        // In case it has become a pipe meanwhile.
        options.custom_flags(rustix::fs::OFlags::NONBLOCK.bits() as i32);
    }
    let file = options.open(path).with_context(cannot)?;
    refuse(Kind::of(file.metadata()?.file_type()))?;
    Ok(file)
}

/// Zeros, which stand for the bytes of a hole.
static ZEROS: [u8; 2 * WINDOW] = [0; 2 * WINDOW];

/// Reads a file at any offset. Holes are zero and are never read.
pub(crate) struct Sparse {
    file: File,
    /// The last hole that was looked up, and the last range with data.
    hole: Range<u64>,
    data: Range<u64>,
}

impl Sparse {
    pub(crate) fn new(file: File) -> Self {
        Self {
            file,
            hole: 0..0,
            data: 0..0,
        }
    }

    /// Length of the file in bytes, found by seeking: the metadata of a device has none.
    pub(crate) fn length(&self) -> io::Result<u64> {
        (&self.file).seek(SeekFrom::End(0))
    }

    /// How many bytes from `offset` on lie in a hole: they are zero, and need not be read.
    fn hole_at(&mut self, offset: u64) -> u64 {
        if !self.hole.contains(&offset) && !self.data.contains(&offset) {
            self.look_at(offset);
        }
        match self.hole.contains(&offset) {
            true => self.hole.end - offset,
            false => 0,
        }
    }

    /// Looks up whether there is a hole at `offset`. If the system cannot tell, there is none.
    #[cfg(any(target_os = "linux", target_os = "macos", target_os = "freebsd"))]
    fn look_at(&mut self, offset: u64) {
        use rustix::fs::{SeekFrom, seek};
        match seek(&self.file, SeekFrom::Data(offset)) {
            Ok(data) if data > offset => self.hole = offset..data,
            // No more data up to the end.
            Err(rustix::io::Errno::NXIO) => {
                self.hole = offset..self.length().unwrap_or(offset);
            }
            Ok(_) => {
                let hole = seek(&self.file, SeekFrom::Hole(offset));
                self.data = offset..hole.unwrap_or(u64::MAX).max(offset + 1);
            }
            Err(_) => self.data = offset..u64::MAX,
        }
    }

    #[cfg(not(any(target_os = "linux", target_os = "macos", target_os = "freebsd")))]
    fn look_at(&mut self, offset: u64) {
        self.data = offset..u64::MAX;
    }

    /// Reads all of `bytes`.
    pub(crate) fn read_exact_at(&mut self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        if bytes.len() as u64 <= self.hole_at(offset) {
            bytes.fill(0);
            return Ok(());
        }
        #[cfg(unix)]
        {
            use std::os::unix::fs::FileExt as _;
            self.file.read_exact_at(bytes, offset)
        }
        #[cfg(not(unix))]
        {
            use std::io::Read as _;
            (&self.file).seek(SeekFrom::Start(offset))?;
            (&self.file).read_exact(bytes)
        }
    }
}

/// Bytes that are read in one go.
const CHUNK: u64 = 256 << 10;

/// A file of the host, as bytes for the loader's parsers.
pub(crate) struct HostFile {
    sparse: Sparse,
    size: u64,
    /// What was read last, and from where.
    buffer: Vec<u8>,
    start: FileOffset,
    failure: Option<io::Error>,
    /// Is told of each byte that is read.
    progress: Rc<dyn Progress>,
}

impl HostFile {
    pub(crate) fn new(file: File) -> io::Result<Self> {
        let sparse = Sparse::new(file);
        Ok(Self {
            size: sparse.length()?,
            sparse,
            buffer: Vec::new(),
            start: FileOffset::ZERO,
            failure: None,
            progress: progress::silent(),
        })
    }

    /// The same, and `progress` is told of each byte that is read.
    pub(crate) fn watched(self, progress: &Rc<dyn Progress>) -> Self {
        Self {
            progress: Rc::clone(progress),
            ..self
        }
    }

    /// Whether every read so far has succeeded. Call it before using what the parsers found.
    pub(crate) fn check(&mut self) -> io::Result<()> {
        self.failure.take().map_or(Ok(()), Err)
    }
}

impl FileBytes for HostFile {
    fn size(&self) -> u64 {
        self.size
    }

    fn window(&mut self, offset: FileOffset) -> &[u8] {
        let left = self.size.saturating_sub(offset.as_u64());
        let least = left.min(WINDOW as u64);
        let hole = self.sparse.hole_at(offset.as_u64()).min(left);
        if hole >= least {
            let zeros = &ZEROS[..hole.min(ZEROS.len() as u64) as usize];
            self.progress.advance(zeros.len() as u64);
            return zeros;
        }
        let end = self.start + self.buffer.len() as u64;
        if offset < self.start || offset + least > end {
            self.buffer.resize(left.min(CHUNK) as usize, 0);
            self.start = offset;
            if let Err(error) = self.sparse.read_exact_at(offset.as_u64(), &mut self.buffer) {
                self.failure.get_or_insert(error);
                self.buffer.clear();
            }
            self.progress.advance(self.buffer.len() as u64);
        }
        &self.buffer[(offset - self.start).min(self.buffer.len() as u64) as usize..]
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn windows_of_a_file_with_holes() {
        const MIB: u64 = 1 << 20;
        let mut file = tempfile::tempfile().unwrap();
        file.set_len(5 * MIB + 3).unwrap();
        for at in [0, MIB - 2, 3 * MIB + 7, 5 * MIB + 2] {
            file.seek(SeekFrom::Start(at)).unwrap();
            file.write_all(&[1 + (at % 7) as u8]).unwrap();
        }
        let mut all = vec![0; 5 * MIB as usize + 3];
        std::os::unix::fs::FileExt::read_exact_at(&file, &mut all, 0).unwrap();

        let mut file = HostFile::new(file).unwrap();
        assert_eq!(file.size(), all.len() as u64);
        let steps = [1, 4095, 32_768, 100_000, MIB as usize];
        for step in steps {
            for offset in (0..all.len()).step_by(step.max(1000)) {
                let window = file.window(FileOffset::new(offset as u64));
                assert!(window.len() >= WINDOW.min(all.len() - offset), "{offset}");
                assert!(window == &all[offset..][..window.len()], "{offset}");
            }
            // Backwards, too.
            for offset in (0..all.len()).step_by(step.max(1000)).rev() {
                let window = file.window(FileOffset::new(offset as u64));
                assert!(window == &all[offset..][..window.len()], "{offset}");
            }
        }
        assert!(file.window(FileOffset::new(all.len() as u64)).is_empty());
        assert!(file.window(FileOffset::new(u64::MAX)).is_empty());
        file.check().unwrap();
    }

    #[test]
    fn what_is_gone_meanwhile_is_an_error() {
        let file = tempfile::tempfile().unwrap();
        (&file).write_all(&[7; 100_000]).unwrap();
        let mut host = HostFile::new(file.try_clone().unwrap()).unwrap();
        file.set_len(50_000).unwrap();
        assert!(host.window(FileOffset::ZERO).is_empty());
        assert!(host.check().is_err());
    }
}
