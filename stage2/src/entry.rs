//! Step 9: what to boot.
//!
//! **On entry**: files can be read. **This step**: reads `/boot/kernel.conf`, if there is one, and
//! finds the kernel and the modules. **On exit**: files, command line and strings are known.
#![allow(unsafe_code)]

use core::fmt;

use stage2::catalogue::{self, Entry, Named};
use stage2::entry_file::{self, EntryFileError, KernelEntry, PATH_ENTRY, PATH_KERNEL};
use stage2::fat::File;
use stage2::integrity::Expected;
use stage2::layout::ENTRY_FILE;

use crate::crc::crc32c;
use crate::faults::Failure;
use crate::files::Files;
use crate::{physical, say};

/// What is to be booted.
pub struct BootEntry {
    /// The kernel.
    pub kernel: File,
    /// Command line and modules.
    pub text: KernelEntry<'static>,
}

impl BootEntry {
    /// The checksums that the kernel must have. The builder took them by the protocol that the
    /// kernel's file names: where the entry names one, what is read may be something else.
    ///
    /// # Errors
    /// 10Q.
    pub fn expected(&self, files: &Files) -> Result<Option<Expected<'static>>, Failure> {
        match self.text.protocol() {
            None => Ok(files.manifest().own(PATH_KERNEL, &self.kernel)?),
            Some(_) => Ok(None),
        }
    }
}

/// A file that should be there.
#[derive(Clone, Copy)]
pub enum Missing {
    /// The file at [`PATH_ENTRY`], which the manifest names.
    EntryFile,
    /// The kernel, at [`PATH_KERNEL`].
    Kernel,
    /// A module, at this path.
    Module(&'static str),
}

impl Missing {
    fn path(self) -> &'static str {
        match self {
            Self::EntryFile => PATH_ENTRY,
            Self::Kernel => PATH_KERNEL,
            Self::Module(path) => path,
        }
    }
}

impl Named for Missing {
    fn entry(&self) -> &'static Entry {
        match self {
            Self::EntryFile => &catalogue::ENTRY_MISSING,
            Self::Kernel => &catalogue::ENTRY_NO_KERNEL,
            Self::Module(_) => &catalogue::ENTRY_NO_MODULE,
        }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // The sentence says it all.
            Self::EntryFile => Ok(()),
            _ => f.write_str(self.path()),
        }
    }
}

/// Reads what the user wants.
///
/// # Errors
/// 9C to 9E, 8B or 7A.
pub fn read(files: &mut Files) -> Result<KernelEntry<'static>, Failure> {
    let mut text = KernelEntry::default();
    files.attempt(None, &mut |files| {
        match files.find(PATH_ENTRY)? {
            Some(file) => text = read_entry(files, &file)?,
            None if files.manifest().entry(PATH_ENTRY).is_some() => {
                return Err(Missing::EntryFile.into());
            }
            None => {}
        }
        Ok(())
    })?;
    Ok(text)
}

/// Chooses the kernel.
///
/// # Errors
/// 9A, 8B or 7A.
pub fn choose(text: KernelEntry<'static>, files: &mut Files) -> Result<BootEntry, Failure> {
    let kernel = find(files, Missing::Kernel)?;
    say!(
        " 9 entry    ",
        PATH_KERNEL,
        ", # modules";
        text.modules().count() as u64
    );
    Ok(BootEntry { kernel, text })
}

/// Finds a file that must be there.
///
/// # Errors
/// 9A or 9B, 8B or 7A.
pub fn find(files: &mut Files, missing: Missing) -> Result<File, Failure> {
    let mut found = None;
    files.attempt(None, &mut |files| {
        found = files.find(missing.path())?;
        found.map(drop).ok_or(missing.into())
    })?;
    found.ok_or(missing.into())
}

fn read_entry(files: &mut Files, file: &File) -> Result<KernelEntry<'static>, Failure> {
    let too_long = EntryFileError {
        line: 0,
        cause: entry_file::EntryFileCause::FileTooLong,
    };
    if file.size > ENTRY_FILE.size() {
        return Err(too_long.into());
    }
    let expected = files.manifest().own(PATH_ENTRY, file)?;
    // SAFETY: the region is the entry's. When it is read a second time, nobody uses the first any more.
    let buffer = unsafe { physical::region(&ENTRY_FILE) };
    let length = files.read_at(file, 0, buffer)?;
    let bytes = buffer.get(..length).unwrap_or_default();
    if let Some(expected) = expected {
        expected.bytes(crc32c(0, bytes))?;
    }
    Ok(entry_file::parse(bytes)?)
}
