//! Step 9: what to boot.
//!
//! **On entry**: files can be read. **This step**: reads the entries and chooses one; without
//! entries, reads `/boot/kernel.conf`, which is optional. Finds the kernel. **On exit**: the
//! kernel's file, or the boot sector to start instead, is known, as are the command line, the
//! modules and their strings.

use core::fmt;

use crate::disk::fat::FileName;
use crate::entry::entries::{self, Entries, LoaderConf, NoEntry, Warning};
use crate::entry::entry_file::{
    self, EntryFileCause, EntryFileError, KernelEntry, MAX_FILE, PATH_ENTRY,
};
use crate::entry::protocol::Protocol;
use crate::entry::target::Target;
use crate::errors::text::{Texts, copy, facts, utf8};
use crate::files::access::{File, Files, Listing};
use crate::files::error::FileMachine;
use crate::files::integrity::{Role, Sums};
use crate::machine::Machine;
use crate::memory::map::MemoryMap;

/// A machine whose failures include those of entries.
pub trait EntryMachine<'m>: FileMachine<'m, Failure: From<EntryFileError> + From<NoEntry>> {}

impl<'m, M> EntryMachine<'m> for M where
    M: FileMachine<'m, Failure: From<EntryFileError> + From<NoEntry>>
{
}

/// What the loader boots.
pub enum Chosen<'m> {
    /// A kernel.
    Kernel(BootEntry<'m>),
    /// Another boot sector.
    Chain(Target),
}

/// A kernel to boot.
#[derive(Clone, Copy)]
pub struct BootEntry<'m> {
    /// Its path.
    pub path: &'m str,
    /// The file at this path, unpacked if it was compressed.
    pub kernel: File<'m>,
    /// The protocol to boot it by; `None`: the one that the file itself indicates.
    pub protocol: Option<Protocol>,
    /// Command line and modules.
    pub text: KernelEntry<'m>,
}

/// Memory that reading entries needs.
pub struct Rooms<'a, 'm> {
    /// For all entries, which are several KiB too large for the stack.
    pub entries: &'a mut Entries<'m>,
    /// For `loader.conf`, then for `kernel.conf`: [`MAX_FILE`] bytes.
    pub text: &'m mut [u8],
}

/// Chooses what to boot.
///
/// # Errors
/// 9C to 9F, 8B, 7A or 6B.
pub fn choose<'m, M: EntryMachine<'m>>(
    files: &mut Files<'m, M>,
    rooms: Rooms<'_, 'm>,
    memory: &mut MemoryMap,
) -> Result<KernelEntry<'m>, M::Failure> {
    let Rooms { entries, text } = rooms;
    read_entries(entries, files, memory)?;
    if entries.is_empty() {
        read_configuration(files, text)
    } else {
        choose_entry(files, entries, text)
    }
}

/// Finds the files that an entry names.
///
/// # Errors
/// 9A, 8B or 7A.
#[inline(never)]
pub fn find<'m, M: EntryMachine<'m>>(
    text: KernelEntry<'m>,
    files: &mut Files<'m, M>,
) -> Result<Chosen<'m>, M::Failure> {
    if let Some(target) = text.chain() {
        return Ok(Chosen::Chain(target));
    }
    let path = text.kernel_path();
    let kernel = files.find(Role::Kernel, path)?;
    let modules = text.modules().count() as u64;
    let machine = files.machine();
    print(machine, &["entry    ", path], ", # modules", &[modules]);
    Ok(Chosen::Kernel(BootEntry {
        path,
        kernel,
        protocol: text.protocol(),
        text,
    }))
}

/// Reads `/boot/kernel.conf`, which may be missing.
#[inline(never)]
fn read_configuration<'m, M: EntryMachine<'m>>(
    files: &mut Files<'m, M>,
    room: &'m mut [u8],
) -> Result<KernelEntry<'m>, M::Failure> {
    let Some(file) = files.find_text(PATH_ENTRY)? else {
        return Ok(KernelEntry::default());
    };
    let length = read(files, PATH_ENTRY, &file, room)??;
    let text: &'m [u8] = room;
    Ok(entry_file::parse(text.get(..length).unwrap_or_default())?)
}

/// Reads all entries, each into memory of its own, which stays allocated: none must be read again.
fn read_entries<'m, M: EntryMachine<'m>>(
    entries: &mut Entries<'m>,
    files: &mut Files<'m, M>,
    memory: &mut MemoryMap,
) -> Result<(), M::Failure> {
    files.list(entries::DIRECTORY, &mut Reading { entries, memory })?;
    warn(files.machine(), entries.rest());
    Ok(())
}

/// Reads the files of the directory as entries.
struct Reading<'a, 'm> {
    entries: &'a mut Entries<'m>,
    memory: &'a mut MemoryMap,
}

impl<'m, M: EntryMachine<'m>> Listing<'m, M> for Reading<'_, 'm> {
    fn file(
        &mut self,
        files: &mut Files<'m, M>,
        name: &FileName,
        file: &File<'m>,
    ) -> Result<(), M::Failure> {
        let name = name.as_str();
        if !entries::is_entry(name) {
            return Ok(());
        }
        let full = self.entries.full();
        let length = match full {
            None => (file.size as usize).min(MAX_FILE),
            // The file is not read, and its name is never shown: other files were left out before
            // it.
            Some(error) if self.entries.unnamed() > 0 => {
                let _ = self.entries.skip("", error);
                return Ok(());
            }
            Some(_) => 0,
        };
        let path = [entries::DIRECTORY, "/", name];
        let path_length = path.iter().map(|part| part.len()).sum::<usize>();
        let size = (path_length + length) as u64;
        let room = files.machine().high(size, self.memory)?.keep();
        let halves = room.split_at_mut_checked(path_length);
        let (path_room, room) = halves.unwrap_or_default();
        let path = join(&path, path_room);
        let length = match full {
            None => read(files, path, file, room)?,
            Some(error) => Err(error),
        };
        let warning = match length {
            Ok(length) => {
                let text: &'m [u8] = room;
                self.entries
                    .add(path, text.get(..length).unwrap_or_default())
            }
            Err(error) => self.entries.skip(path, error),
        };
        warn(files.machine(), warning);
        Ok(())
    }
}

/// Chooses the entry that `loader.conf` asks for, or the first one.
#[inline(never)]
fn choose_entry<'m, M: EntryMachine<'m>>(
    files: &mut Files<'m, M>,
    entries: &Entries<'m>,
    room: &mut [u8],
) -> Result<KernelEntry<'m>, M::Failure> {
    let machine = files.machine();
    let path = entries::PATH_LOADER;
    let mut conf = LoaderConf::default();
    if let Some(file) = files.find_text(path)? {
        let error;
        (conf, error) = match read(files, path, &file, room)? {
            Ok(length) => LoaderConf::parse(room.get(..length).unwrap_or_default()),
            Err(error) => (conf, Some(error)),
        };
        warn(machine, error.map(Warning::in_loader_conf));
        if let Some(wanted) = conf.console() {
            machine.print_only(wanted);
        }
    }
    let choice = entries.choose(conf.default_entry())?;
    warn(machine, choice.unmatched.map(Warning::no_default));
    let count = entries.items().len() as u64;
    print(
        machine,
        &["entries  ", choice.item.name()],
        ", one of #",
        &[count],
    );
    Ok(choice.item.text)
}

/// Reads a file of at most [`MAX_FILE`] bytes, for which there is room. Compares its checksum if
/// `disk-builder` wrote it.
fn read<'m, M: EntryMachine<'m>>(
    files: &mut Files<'m, M>,
    path: &'m str,
    file: &File<'m>,
    room: &mut [u8],
) -> Result<Result<usize, EntryFileError>, M::Failure> {
    let expected = files.expected(Role::Text, Sums::Whole, path, file)?;
    if file.size > MAX_FILE as u64 {
        return Ok(Err(EntryFileError {
            line: 0,
            cause: EntryFileCause::FileTooLong,
        }));
    }
    Ok(Ok(files.read(file, expected, room)?))
}

/// Joins texts, for which there is room.
fn join<'m>(parts: &[&str], out: &'m mut [u8]) -> &'m str {
    let mut length = 0;
    for part in parts {
        length += copy(part.as_bytes(), out.get_mut(length..).unwrap_or_default());
    }
    utf8(out).0
}

/// Prints a warning, if there is one; the boot continues.
fn warn<'m>(machine: impl Machine<'m>, warning: Option<Warning<'_>>) {
    if let Some(warning) = warning {
        machine.print(&Line(&["entries  "], &warning));
    }
}

/// Prints a line of texts from files, in which a `#` stays a `#`, followed by a text with numbers.
fn print<'m>(machine: impl Machine<'m>, texts: &[&str], behind: &str, numbers: &[u64]) {
    machine.print(&Line(texts, &Facts(behind, numbers)));
}

/// A line of this step.
struct Line<'a>(&'a [&'a str], &'a dyn fmt::Display);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(" 9 ")?;
        Texts(self.0).fmt(f)?;
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
