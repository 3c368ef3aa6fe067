//! Step 9: what to boot.
//!
//! **On entry**: files can be read. **This step**: reads `/boot/kernel.conf`, if there is one, and
//! finds the kernel and the modules. **On exit**: files, command line and strings are known.
#![allow(unsafe_code)]

use core::fmt;

use stage2::catalogue::{self, Entry, Named};
use stage2::entry_file::{self, EntryFileError, KernelEntry, PATH_ENTRY, PATH_KERNEL};
use stage2::fat::File;
use stage2::layout::ENTRY_FILE;

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

/// A file that should be there.
pub enum Missing {
    /// The kernel, at [`PATH_KERNEL`].
    Kernel,
    /// A module, at this path.
    Module(&'static str),
}

impl Named for Missing {
    fn entry(&self) -> &'static Entry {
        match self {
            Self::Kernel => &catalogue::ENTRY_NO_KERNEL,
            Self::Module(_) => &catalogue::ENTRY_NO_MODULE,
        }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kernel => PATH_KERNEL,
            Self::Module(path) => path,
        })
    }
}

/// Chooses the kernel and reads what belongs to it.
///
/// # Errors
/// 9A, 9C, 8B or 7A.
pub fn choose(files: &mut Files) -> Result<BootEntry, Failure> {
    let text = match files.find(PATH_ENTRY)? {
        Some(file) => read_entry(files, &file)?,
        None => KernelEntry::default(),
    };
    let kernel = files.find(PATH_KERNEL)?.ok_or(Missing::Kernel)?;
    say!(
        " 9 entry    ",
        PATH_KERNEL,
        ", # modules";
        text.modules().count() as u64
    );
    Ok(BootEntry { kernel, text })
}

fn read_entry(files: &mut Files, file: &File) -> Result<KernelEntry<'static>, Failure> {
    let too_long = EntryFileError {
        line: 0,
        cause: entry_file::EntryFileCause::FileTooLong,
    };
    if file.size > ENTRY_FILE.size() {
        return Err(too_long.into());
    }
    // SAFETY: called once; the region is the entry's from here on.
    let buffer = unsafe { physical::region(&ENTRY_FILE) };
    let length = files.read_at(file, 0, buffer)?;
    Ok(entry_file::parse(buffer.get(..length).unwrap_or_default())?)
}
