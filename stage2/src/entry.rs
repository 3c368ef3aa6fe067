//! Step 9: what to boot.
//!
//! **On entry**: files can be read. **This step**: reads the entries and chooses one; where there is
//! none, reads `/boot/kernel.conf`, if that is there. Finds the kernel. **On exit**: the kernel's file
//! or what is to be started instead, the command line, modules and their strings are known.
#![allow(unsafe_code)]

use core::fmt;

use boot_path::entry::entries::{self, Entries, LoaderConf, Warning};
use boot_path::entry::entry_file::{
    self, EntryFileCause, EntryFileError, KernelEntry, MAX_FILE, PATH_ENTRY, PATH_KERNEL,
};
use boot_path::entry::protocol::Protocol;
use boot_path::errors::catalogue::{self, Entry, Named};
use boot_path::errors::text::{copy, facts, utf8};
use boot_path::files::integrity::{Expected, Role, Sums};
use boot_path::kernel::placement::allocate_high;
use boot_path::memory::layout::ENTRY_FILE;
use boot_path::memory::map::MemoryMap;
use boot_path::ways_out::boot_sector::Target;

use crate::files::{File, Files};
use crate::machine::console;
use crate::machine::crc::crc32c;
use crate::machine::faults::Failure;
use crate::machine::global::Global;
use crate::machine::physical;

/// What the loader goes to.
pub enum Chosen {
    /// A kernel.
    Kernel(BootEntry),
    /// Another boot sector.
    Chain(Target),
}

/// A kernel that is to be booted.
pub struct BootEntry {
    /// Its path.
    pub path: &'static str,
    /// The file there.
    pub kernel: File,
    /// The protocol to boot it by; `None`: what the file itself looks like.
    pub protocol: Option<Protocol>,
    /// Command line and modules.
    pub text: KernelEntry<'static>,
}

impl BootEntry {
    /// The checksums that the kernel must have.
    ///
    /// # Errors
    /// 10Q.
    pub fn expected(
        &self,
        files: &Files,
        sums: Sums,
    ) -> Result<Option<Expected<'static>>, Failure> {
        files.expected(Role::Kernel, sums, self.path, &self.kernel)
    }
}

/// A file that should be there.
#[derive(Clone, Copy)]
pub enum Missing {
    /// A file for people, at this path, which the manifest names.
    Text(&'static str),
    /// The kernel, at this path.
    Kernel(&'static str),
    /// A module, at this path.
    Module(&'static str),
}

impl Missing {
    fn path(self) -> &'static str {
        match self {
            Self::Text(path) | Self::Kernel(path) | Self::Module(path) => path,
        }
    }
}

impl Named for Missing {
    fn entry(&self) -> &'static Entry {
        match self {
            Self::Text(_) => &catalogue::ENTRY_MISSING,
            Self::Kernel(_) => &catalogue::ENTRY_NO_KERNEL,
            Self::Module(_) => &catalogue::ENTRY_NO_MODULE,
        }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.path())
    }
}

/// All entries: too many KiB for the stack.
static ENTRIES: Global<Entries<'static>> = Global::new(Entries::new());

/// Chooses what to boot and finds it.
///
/// # Errors
/// 9A, 9C to 9F, 8B, 7A or 6B.
pub fn choose(files: &mut Files, memory: &mut MemoryMap) -> Result<Chosen, Failure> {
    let text = match files.brought() {
        Some(brought) => brought.entry,
        None => ENTRIES.with(|entries| choose_text(entries, files, memory))?,
    };
    if let Some(target) = text.chain() {
        return Ok(Chosen::Chain(target));
    }
    let path = text.kernel().unwrap_or(PATH_KERNEL);
    let kernel = find(files, Missing::Kernel(path))?;
    let modules = text.modules().count() as u64;
    print(&["entry    ", path], ", # modules", &[modules]);
    Ok(Chosen::Kernel(BootEntry {
        path,
        kernel,
        protocol: text.protocol(),
        text,
    }))
}

/// Reads the entries and chooses one, or reads `kernel.conf`.
fn choose_text(
    entries: &mut Entries<'static>,
    files: &mut Files,
    memory: &mut MemoryMap,
) -> Result<KernelEntry<'static>, Failure> {
    files.attempt(None, &mut |files| read_entries(entries, files, memory))?;
    let mut text = KernelEntry::default();
    files.attempt(None, &mut |files| {
        text = if entries.is_empty() {
            read_configuration(files)?
        } else {
            choose_entry(files, entries)?
        };
        Ok(())
    })?;
    Ok(text)
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

/// Reads `/boot/kernel.conf`, which may be missing.
fn read_configuration(files: &mut Files) -> Result<KernelEntry<'static>, Failure> {
    match find_text(files, PATH_ENTRY)? {
        Some(file) => Ok(entry_file::parse(read(
            files,
            PATH_ENTRY,
            &file,
            buffer(),
        )??)?),
        None => Ok(KernelEntry::default()),
    }
}

/// Finds a file that may be missing, unless `disk-builder` wrote one.
fn find_text(files: &mut Files, path: &'static str) -> Result<Option<File>, Failure> {
    let file = files.find(path)?;
    if file.is_none() && files.manifest().entry(path, Sums::Whole).is_some() {
        return Err(Missing::Text(path).into());
    }
    Ok(file)
}

/// Where one file at a time is read to.
fn buffer() -> &'static mut [u8] {
    // SAFETY: the region is this step's. Who reads to it has no use any more for what was there.
    unsafe { physical::region(&ENTRY_FILE) }
}

/// Reads all entries, each into memory of its own: they stay, and nothing must be read again.
fn read_entries(
    entries: &mut Entries<'static>,
    files: &mut Files,
    memory: &mut MemoryMap,
) -> Result<(), Failure> {
    entries.clear();
    files.list(entries::DIRECTORY, &mut |files, name, file| {
        let name = name.as_str();
        if !entries::is_entry(name) {
            return Ok(());
        }
        let full = entries.full();
        let length = match full {
            None => (file.size as usize).min(MAX_FILE),
            // It is not read, and nobody will see its name: there were others.
            Some(error) if entries.unnamed() > 0 => {
                let _ = entries.skip("", error);
                return Ok(());
            }
            Some(_) => 0,
        };
        let path = [entries::DIRECTORY, "/", name];
        let path_length = path.iter().map(|part| part.len()).sum::<usize>();
        let size = (path_length + length) as u64;
        let start = allocate_high(memory, size)?;
        // SAFETY: just allocated, and the entry's from here on.
        let room = unsafe { physical::bytes_mut(start, size) };
        let (path_room, room) = room.split_at_mut(path_length);
        let path = join(&path, path_room);
        let text = match full {
            None => read(files, path, file, room)?,
            Some(error) => Err(error),
        };
        let warning = match text {
            Ok(bytes) => entries.add(path, bytes),
            Err(error) => entries.skip(path, error),
        };
        warn(warning);
        Ok(())
    })?;
    warn(entries.rest());
    Ok(())
}

/// Chooses the one that `loader.conf` asks for, or the first one.
fn choose_entry(
    files: &mut Files,
    entries: &Entries<'static>,
) -> Result<KernelEntry<'static>, Failure> {
    let path = entries::PATH_LOADER;
    let mut conf = LoaderConf::default();
    if let Some(file) = find_text(files, path)? {
        let error;
        (conf, error) = match read(files, path, &file, buffer())? {
            Ok(bytes) => LoaderConf::parse(bytes),
            Err(error) => (conf, Some(error)),
        };
        warn(error.map(Warning::in_loader_conf));
        if let Some(wanted) = conf.console() {
            console::print_only(wanted);
        }
    }
    let choice = entries.choose(conf.default_entry())?;
    warn(choice.unmatched.map(Warning::no_default));
    let count = entries.items().len() as u64;
    print(&["entries  ", choice.item.name()], ", one of #", &[count]);
    Ok(choice.item.text)
}

/// Reads a file of at most [`MAX_FILE`] bytes, for which there is room. What `disk-builder` wrote must
/// have its checksum.
fn read(
    files: &mut Files,
    path: &'static str,
    file: &File,
    buffer: &'static mut [u8],
) -> Result<Result<&'static [u8], EntryFileError>, Failure> {
    let expected = files.expected(Role::Text, Sums::Whole, path, file)?;
    if file.size > MAX_FILE as u64 {
        return Ok(Err(EntryFileError {
            line: 0,
            cause: EntryFileCause::FileTooLong,
        }));
    }
    let length = files.read_at(file, 0, buffer)?;
    let bytes = buffer.get(..length).unwrap_or_default();
    if let Some(expected) = expected {
        expected.bytes(crc32c(0, bytes))?;
    }
    Ok(Ok(bytes))
}

/// Puts texts together, for which there is room.
fn join(parts: &[&str], out: &'static mut [u8]) -> &'static str {
    let mut length = 0;
    for part in parts {
        length += copy(part.as_bytes(), out.get_mut(length..).unwrap_or_default());
    }
    utf8(out).0
}

/// Says what is wrong, if anything is; the boot goes on.
fn warn(warning: Option<Warning<'_>>) {
    if let Some(warning) = warning {
        console::print(&Line(&["entries  "], &warning));
    }
}

/// Prints a line with texts from files, in which a `#` is a `#`, and then one with numbers.
fn print(texts: &[&str], behind: &str, numbers: &[u64]) {
    console::print(&Line(texts, &Facts(behind, numbers)));
}

/// A line of this step.
struct Line<'a>(&'a [&'a str], &'a dyn fmt::Display);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(" 9 ")?;
        for text in self.0 {
            f.write_str(text)?;
        }
        self.1.fmt(f)
    }
}

/// A text with numbers in it.
struct Facts<'a>(&'a str, &'a [u64]);

impl fmt::Display for Facts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        facts(f, self.0, self.1)
    }
}
