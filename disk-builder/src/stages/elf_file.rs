//! ELF files of the loader's programs.

use std::path::{Path, PathBuf};
use std::{fmt, fs};

use anyhow::{Context as _, Result, ensure};
use object::elf::{FileHeader64, PT_LOAD};
use object::read::elf::{FileHeader as _, ProgramHeader as _};
use object::{Endianness, ReadCache, ReadRef};

use super::Program;
use super::source::{build_program, has_sources};
use crate::host_file;

/// An ELF file of one of the loader's programs.
#[derive(Clone, PartialEq, Eq)]
pub enum ElfFile {
    /// A file on the disk.
    File(PathBuf),
    /// One that is part of this program: its name and its bytes, without debug information.
    BuiltIn(&'static str, &'static [u8]),
}

impl ElfFile {
    /// The one that is part of this program. Without the feature `built-in-loader` none is, and it is
    /// built from its sources.
    ///
    /// # Errors
    /// Those of [`build_program`].
    pub fn of(program: &Program<'_>) -> Result<Self> {
        match built_in(program) {
            Some(file) => Ok(file),
            None => Ok(build_program(program)?.into()),
        }
    }

    /// The one that is built from its sources, with debug information, where they are there. Else the
    /// one that is part of this program.
    ///
    /// # Errors
    /// Those of [`build_program`].
    pub fn newest(program: &Program<'_>) -> Result<Self> {
        match built_in(program) {
            Some(file) if !has_sources(program) => Ok(file),
            _ => Ok(build_program(program)?.into()),
        }
    }

    /// Where it is on the disk, if it is there.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::BuiltIn(..) => None,
        }
    }

    /// All of it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(&self) -> Result<Vec<u8>> {
        match self {
            Self::File(path) => {
                let bytes = fs::read(path);
                bytes.with_context(|| format!("cannot read {}", path.display()))
            }
            Self::BuiltIn(_, bytes) => Ok(bytes.to_vec()),
        }
    }

    /// The entry point.
    pub(crate) fn entry(&self) -> Result<u32> {
        match self {
            Self::File(path) => self.entry_in(&ReadCache::new(host_file::open(path)?)),
            Self::BuiltIn(_, bytes) => self.entry_in(*bytes),
        }
    }

    fn entry_in<'a, R: ReadRef<'a>>(&self, file: R) -> Result<u32> {
        let (header, endian) = self.header(file)?;
        Ok(u32::try_from(header.e_entry(endian))?)
    }

    fn header<'a, R: ReadRef<'a>>(
        &self,
        file: R,
    ) -> Result<(&'a FileHeader64<Endianness>, Endianness)> {
        let header = FileHeader64::parse(file).and_then(|header| Ok((header, header.endian()?)));
        let header = header.with_context(|| format!("{self} is not a 64-bit ELF file"))?;
        ensure!(header.0.is_class_64(), "{self} is not a 64-bit ELF file");
        Ok(header)
    }

    /// What its segments look like in memory from `base` on, without zeros at the end that the file
    /// does not hold.
    pub(crate) fn flatten(&self, base: u32, limit: usize) -> Result<Vec<u8>> {
        self.flatten_some(base, limit, &self.segments(limit)?)
    }

    /// The same, of some of its segments.
    pub(crate) fn flatten_some(
        &self,
        base: u32,
        limit: usize,
        segments: &[(u64, Vec<u8>)],
    ) -> Result<Vec<u8>> {
        let mut flat = Vec::new();
        for (address, bytes) in segments {
            let start = address
                .checked_sub(u64::from(base))
                .with_context(|| format!("{self} has bytes at {address:#x}, below {base:#x}"))?;
            let end = usize::try_from(start)
                .ok()
                .and_then(|start| start.checked_add(bytes.len()));
            let end = end
                .filter(|&end| end <= limit)
                .with_context(|| format!("{self} does not fit: more than {limit} bytes"))?;
            flat.resize(flat.len().max(end), 0);
            flat[end - bytes.len()..end].copy_from_slice(bytes);
        }
        Ok(flat)
    }

    /// Its segments, none of more than `limit` bytes: physical addresses, and what the file holds of
    /// each.
    pub(crate) fn segments(&self, limit: usize) -> Result<Vec<(u64, Vec<u8>)>> {
        match self {
            Self::File(path) => self.segments_in(&ReadCache::new(host_file::open(path)?), limit),
            Self::BuiltIn(_, bytes) => self.segments_in(*bytes, limit),
        }
    }

    fn segments_in<'a, R: ReadRef<'a>>(
        &self,
        file: R,
        limit: usize,
    ) -> Result<Vec<(u64, Vec<u8>)>> {
        let cut = || format!("{self} is cut short");
        let (header, endian) = self.header(file)?;
        let mut segments = Vec::new();
        for segment in header.program_headers(endian, file).with_context(cut)? {
            let length = segment.p_filesz(endian);
            if segment.p_type(endian) != PT_LOAD || length == 0 {
                continue;
            }
            // No more is read than fits.
            ensure!(
                length <= limit as u64,
                "{self} does not fit: more than {limit} bytes"
            );
            let bytes = segment.data(endian, file).ok().with_context(cut)?;
            segments.push((segment.p_paddr(endian), bytes.to_vec()));
        }
        Ok(segments)
    }
}

impl<P: Into<PathBuf>> From<P> for ElfFile {
    fn from(path: P) -> Self {
        Self::File(path.into())
    }
}

impl fmt::Display for ElfFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::BuiltIn(name, _) => write!(f, "the built-in {name}"),
        }
    }
}

impl fmt::Debug for ElfFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The program that is part of this one.
#[cfg(feature = "built-in-loader")]
pub fn built_in(program: &Program<'_>) -> Option<ElfFile> {
    macro_rules! bytes {
        ($name:literal) => {
            include_bytes!(concat!(env!("OUT_DIR"), "/loader/", $name))
        };
    }
    const PROGRAMS: [(&str, &[u8]); 4] = [
        ("stage1", bytes!("stage1")),
        ("stage1-cd", bytes!("stage1-cd")),
        ("stage1-multiboot", bytes!("stage1-multiboot")),
        ("stage2", bytes!("stage2")),
    ];
    let mut programs = PROGRAMS.into_iter();
    programs
        .find(|(name, _)| *name == program.bin)
        .map(|(name, bytes)| ElfFile::BuiltIn(name, bytes))
}

/// None is part of this one.
#[cfg(not(feature = "built-in-loader"))]
pub fn built_in(_: &Program<'_>) -> Option<ElfFile> {
    None
}
