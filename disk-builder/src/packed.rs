//! Compressed kernels and modules, unpacked by the loader's own code.
//!
//! The length that the file states is checked and never relied on: the output goes to a temporary
//! file as it comes, or nowhere.

use std::fs::File;
use std::io::{self, Seek as _, SeekFrom, Write as _};

use anyhow::{Context as _, Result};
use boot_path::files::file_bytes::FileBytes;
use boot_path::files::gzip::{self, Decompressor, GzipError, ROOM};
use boot_path::position::FileOffset;

use crate::host_file::HostFile;
use crate::sparse;

/// Up to so many bytes are kept in memory.
const IN_MEMORY: usize = 4 << 20;

/// What the loader makes of a kernel or a module: the same bytes, or what was compressed in them.
pub(crate) enum Unpacked<F> {
    /// The file itself.
    AsItIs(F),
    /// What was in it.
    InMemory(Vec<u8>),
    /// The same, in a file that has no name any more.
    InFile(HostFile),
}

impl<F: FileBytes> FileBytes for Unpacked<F> {
    fn size(&self) -> u64 {
        match self {
            Self::AsItIs(file) => file.size(),
            Self::InMemory(bytes) => bytes.len() as u64,
            Self::InFile(file) => file.size(),
        }
    }

    fn window(&mut self, offset: FileOffset) -> &[u8] {
        match self {
            Self::AsItIs(file) => file.window(offset),
            Self::InMemory(bytes) => {
                let offset = usize::try_from(offset.as_u64()).unwrap_or(usize::MAX);
                bytes.get(offset..).unwrap_or_default()
            }
            Self::InFile(file) => file.window(offset),
        }
    }
}

impl<F> Unpacked<F> {
    /// Whether every read of the unpacked bytes has succeeded.
    pub(crate) fn check(&mut self) -> Result<()> {
        match self {
            Self::InFile(file) => file.check().context("cannot read a temporary file"),
            _ => Ok(()),
        }
    }
}

/// Whether a file is compressed.
pub(crate) fn is_packed(file: &mut impl FileBytes) -> bool {
    gzip::is_gzip(file.window(FileOffset::ZERO))
}

/// Unpacks a file, if it is compressed. The inner error is the loader's.
///
/// # Errors
/// When there is no room for a temporary file.
pub(crate) fn unpacked<F: FileBytes>(mut file: F) -> Result<Result<Unpacked<F>, GzipError>> {
    if !is_packed(&mut file) {
        return Ok(Ok(Unpacked::AsItIs(file)));
    }
    let mut spool = Spool::default();
    match unpack_to(file, |piece| spool.push(piece)) {
        Ok(_) => {
            let spooled = spool.finish();
            spooled.map(Ok).context("cannot write a temporary file")
        }
        Err(error) => Ok(Err(error)),
    }
}

/// The length in bytes of what is compressed in a file.
///
/// # Errors
/// The loader's, when it cannot be unpacked.
pub(crate) fn unpacked_length(file: impl FileBytes) -> Result<u64, GzipError> {
    unpack_to(file, |_| {})
}

fn unpack_to(file: impl FileBytes, sink: impl FnMut(&[u8])) -> Result<u64, GzipError> {
    let mut room = vec![0; ROOM].into_boxed_slice();
    let Some(room) = room.first_chunk_mut() else {
        unreachable!("it has that length");
    };
    let mut decompressor = Box::<Decompressor>::default();
    gzip::unpack_pieces(file, room, &mut decompressor, crc32, sink)
}

fn crc32(crc: u32, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(crc);
    hasher.update(bytes);
    hasher.finalize()
}

/// Bytes that come one piece after the other: at first in memory, then in a file.
#[derive(Default)]
struct Spool {
    memory: Vec<u8>,
    file: Option<File>,
    length: u64,
    failure: Option<io::Error>,
}

impl Spool {
    fn push(&mut self, piece: &[u8]) {
        if self.failure.is_none()
            && let Err(error) = self.try_push(piece)
        {
            self.failure = Some(error);
        }
    }

    fn try_push(&mut self, piece: &[u8]) -> io::Result<()> {
        if self.file.is_none() && self.memory.len() + piece.len() <= IN_MEMORY {
            self.memory.extend_from_slice(piece);
            return Ok(());
        }
        let file = match &mut self.file {
            Some(file) => file,
            None => {
                let mut file = tempfile::tempfile()?;
                let memory = std::mem::take(&mut self.memory);
                file.write_all(&memory)?;
                self.length = memory.len() as u64;
                self.file.insert(file)
            }
        };
        // A small compressed file can hold gigabytes of zeros.
        if !sparse::is_zero(piece) {
            file.seek(SeekFrom::Start(self.length))?;
            file.write_all(piece)?;
        }
        self.length += piece.len() as u64;
        Ok(())
    }

    fn finish<F>(self) -> io::Result<Unpacked<F>> {
        if let Some(failure) = self.failure {
            return Err(failure);
        }
        Ok(match self.file {
            None => Unpacked::InMemory(self.memory),
            Some(file) => {
                file.set_len(self.length)?;
                Unpacked::InFile(HostFile::new(file)?)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn pack(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn what_is_large_goes_to_a_file() {
        for length in [100, IN_MEMORY, IN_MEMORY + 1, 3 * IN_MEMORY] {
            let mut bytes = vec![0; length];
            // Not zero in some places: the rest is a hole.
            for at in [0, length / 2, length - 1] {
                bytes[at] = 7;
            }
            let packed = pack(&bytes);
            let mut unpacked = unpacked(&packed).unwrap().unwrap();
            let in_file = matches!(unpacked, Unpacked::InFile(_));
            assert_eq!(in_file, length > IN_MEMORY);
            assert_eq!(unpacked.size(), length as u64);
            let mut back = Vec::new();
            unpacked.pieces(FileOffset::ZERO, u64::MAX, |piece| {
                back.extend_from_slice(piece)
            });
            assert!(back == bytes);
            unpacked.check().unwrap();
            assert_eq!(unpacked_length(&packed), Ok(length as u64));
        }
        let plain = b"plain";
        assert!(matches!(unpacked(plain), Ok(Ok(Unpacked::AsItIs(_)))));
    }
}
