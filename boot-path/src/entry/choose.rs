//! Step 9: what to boot.
//!
//! **On entry**: files can be read. **This step**: reads the entries and chooses one; without
//! entries, reads `/boot/kernel.conf`, which is optional. Finds the kernel. **On exit**: the
//! kernel's file, or the boot sector to start instead, is known, as are the command line, the
//! modules and their strings.

use core::fmt;

use disk_layout::parts::Part;

use crate::disk::fat::{FileName, NoFile};
use crate::entry::entries::{self, Added, Entries, Item, LoaderConf, NoEntry, ROOM, Room, Warning};
use crate::entry::entry_file::{
    self, EntryFileCause, EntryFileError, KernelEntry, MAX_FILE, PATH_ENTRY,
};
use crate::entry::protocol::Protocol;
use crate::entry::target::Target;
use crate::errors::catalogue::{self, Named};
use crate::errors::text::{Texts, copy, facts, utf8};
use crate::files::access::{File, Files, Listing};
use crate::files::error::{FileMachine, is_of_volume};
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
    /// Is there another entry, to be booted if this one has damaged files?
    pub has_others: bool,
}

/// Memory that reading entries needs.
pub struct Rooms<'a, 'm> {
    /// For all entries, which are several KiB too large for the stack.
    pub entries: &'a mut Entries<'m>,
    /// For `loader.conf`, then for `kernel.conf`: [`MAX_FILE`] bytes.
    pub text: &'m mut [u8],
}

/// What is tried first.
pub enum Start<'m> {
    /// `kernel.conf`, since there are no entries: its path and its text.
    Configuration(&'static str, KernelEntry<'m>),
    /// An entry; the others remain, in the order in which they are tried. And the memory for texts,
    /// which is free again.
    Entry(Item<'m>, &'m mut [u8]),
}

/// Chooses what to boot: the entry in the file `picked`, if there is one.
///
/// # Errors
/// 9C to 9F, 8B, 7A or 6B.
pub fn choose<'m, M: EntryMachine<'m>>(
    files: &mut Files<'m, M>,
    rooms: Rooms<'_, 'm>,
    memory: &mut MemoryMap,
    picked: Option<&str>,
) -> Result<Start<'m>, M::Failure> {
    let Rooms { entries, text } = rooms;
    if files.may_list(entries::DIRECTORY) {
        let choose = choose_entry as fn(_, _, _, _, _) -> Result<Option<_>, _>;
        let choose = files.machine().of_part(Part::Entries, choose)?;
        if let Some(first) = choose(&mut *files, entries, &mut *text, memory, picked)? {
            return Ok(Start::Entry(first, text));
        }
    }
    let text = read_configuration(files, text)?;
    Ok(Start::Configuration(PATH_ENTRY, text))
}

/// Reads the entries and chooses one, if there are any. `text` is for `loader.conf`.
///
/// # Errors
/// 9C to 9F, 8B, 7A or 6B.
#[inline(never)]
fn choose_entry<'m, M: EntryMachine<'m>>(
    files: &mut Files<'m, M>,
    entries: &mut Entries<'m>,
    text: &mut [u8],
    memory: &mut MemoryMap,
    picked: Option<&str>,
) -> Result<Option<Item<'m>>, M::Failure> {
    let conf = read_entries(files, entries, text, memory)?;
    if entries.is_empty() {
        return Ok(None);
    }
    let machine = files.machine();
    let pattern = conf.default_entry();
    let unmatched = entries.choose(pattern)?.unmatched;
    warn(machine, unmatched.map(Warning::no_default));
    let count = entries.usable().into();
    entries.prefer(pattern);
    if let Some(picked) = picked {
        entries.pick(picked);
    }
    // There is one: it could be chosen.
    let first = entries.take_first().unwrap_or_default();
    print(
        machine,
        &["entries  ", first.name()],
        ", one of #",
        &[count],
    );
    Ok(Some(first))
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
        has_others: false,
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

/// Reads all entries, each once, into memory that stays allocated. Returns `loader.conf`.
#[inline(never)]
fn read_entries<'r, 'm, M: EntryMachine<'m>>(
    files: &mut Files<'m, M>,
    entries: &mut Entries<'m>,
    text: &'r mut [u8],
    memory: &mut MemoryMap,
) -> Result<LoaderConf<'r>, M::Failure> {
    let mut reading = Reading {
        entries,
        memory,
        text: Some(text),
        conf: LoaderConf::default(),
        free: None,
    };
    files.list(entries::DIRECTORY, &mut reading)?;
    let Reading { entries, conf, .. } = reading;
    warn(files.machine(), entries.rest());
    Ok(conf)
}

/// Reads the files of the directory as entries.
struct Reading<'a, 'r, 'm> {
    entries: &'a mut Entries<'m>,
    memory: &'a mut MemoryMap,
    /// For `loader.conf`, until it is read.
    text: Option<&'r mut [u8]>,
    conf: LoaderConf<'r>,
    /// For the next file.
    free: Option<&'m mut [u8]>,
}

impl<'m, M: EntryMachine<'m>> Listing<'m, M> for Reading<'_, '_, 'm> {
    fn file(
        &mut self,
        files: &mut Files<'m, M>,
        name: &FileName,
        file: Result<File<'m>, NoFile>,
    ) -> Result<(), M::Failure> {
        let name = name.as_str();
        if !entries::is_entry(name) {
            return Ok(());
        }
        // Only with the default's pattern is it known which entries to keep.
        if let Some(text) = self.text.take() {
            self.conf = read_loader_conf(files, text)?;
        }
        let bytes = match self.free.take() {
            Some(bytes) => bytes,
            None => files.machine().high(ROOM as u64, self.memory)?.keep(),
        };
        let path = [entries::DIRECTORY, "/", name];
        let length = join(&path, bytes).len();
        let mut room = Room {
            bytes,
            path: length,
            text: 0,
        };
        let error = match file {
            Ok(file) => self.read(files, &file, &mut room)?.err(),
            Err(NoFile::Directory) => {
                self.skip(files, &Warning::directory(room.path()));
                self.free = Some(room.bytes);
                return Ok(());
            }
            Err(NoFile::Damaged(error)) => Some(Unread::Failure(error.into())),
        };
        self.add(files, room, error);
        Ok(())
    }

    /// What can be read of the directory is enough if there is an entry.
    fn broken(&mut self, files: &mut Files<'m, M>, failure: M::Failure) -> Result<(), M::Failure> {
        if self.entries.usable() == 0 {
            return Err(failure);
        }
        let warning = Warning::unreadable(entries::DIRECTORY, &failure);
        warn(files.machine(), Some(warning));
        Ok(())
    }
}

/// Why a file is left out.
enum Unread<F> {
    /// It is no entry.
    Error(F),
    /// It cannot be read.
    Failure(F),
}

impl<'m> Reading<'_, '_, 'm> {
    /// Reads a file; returns why it is left out.
    fn read<M: EntryMachine<'m>>(
        &mut self,
        files: &mut Files<'m, M>,
        file: &File<'m>,
        room: &mut Room<'m>,
    ) -> Result<Result<(), Unread<M::Failure>>, M::Failure> {
        let (path, text) = room
            .bytes
            .split_at_mut_checked(room.path)
            .unwrap_or_default();
        let (path, _) = utf8(path);
        // An error about a checksum names the file: its path gets memory of its own.
        let known = match files.is_known(path) {
            true => {
                let length = path.len() as u64;
                let copied = files.machine().high(length, self.memory)?.keep();
                join(&[path], copied)
            }
            false => "",
        };
        Ok(match read(files, known, file, text) {
            Ok(Ok(length)) => {
                room.text = length;
                Ok(())
            }
            Ok(Err(error)) => Err(Unread::Error(error.into())),
            Err(failure) if is_of_file(files, &failure) => Err(Unread::Failure(failure)),
            Err(failure) => return Err(failure),
        })
    }

    /// Adds a file to the entries, or says why it is left out.
    fn add<M: EntryMachine<'m>>(
        &mut self,
        files: &Files<'m, M>,
        room: Room<'m>,
        error: Option<Unread<M::Failure>>,
    ) {
        let path = room.path;
        let (bytes, error) = match error {
            Some(error) => (room.bytes, error),
            None => {
                let added = self.entries.add(room, self.conf.default_entry());
                match added {
                    Added {
                        free: Some(bytes),
                        error: Some(error),
                    } => (bytes, Unread::Error(error.into())),
                    Added { free, .. } => {
                        self.free = free;
                        return;
                    }
                }
            }
        };
        let (path, _) = utf8(bytes.get(..path).unwrap_or_default());
        self.skip(
            files,
            &match &error {
                Unread::Error(error) => Warning::skipped(path, error),
                Unread::Failure(failure) => Warning::unreadable(path, failure),
            },
        );
        self.free = Some(bytes);
    }

    /// Counts a file that is left out, and names it unless there are too many.
    fn skip<M: EntryMachine<'m>>(&mut self, files: &Files<'m, M>, warning: &Warning<'_>) {
        if self.entries.skip() {
            files.machine().print(&Line(&["entries  "], warning));
        }
    }
}

/// Does the failure mean that one file cannot be read, so that others may be?
fn is_of_file<'m, M: EntryMachine<'m>>(files: &Files<'m, M>, failure: &M::Failure) -> bool {
    let is_damaged = failure.entry().code == catalogue::ENTRY_DAMAGED.code;
    is_damaged || is_of_volume(failure) && files.answers()
}

/// Reads `loader.conf`, which may be missing. Names what is wrong with it, and ignores that.
#[inline(never)]
fn read_loader_conf<'r, 'm, M: EntryMachine<'m>>(
    files: &mut Files<'m, M>,
    room: &'r mut [u8],
) -> Result<LoaderConf<'r>, M::Failure> {
    let machine = files.machine();
    let path = entries::PATH_LOADER;
    let read = match files.find_if_there(Role::Text, path) {
        Ok(Some(file)) => read(files, path, &file, room),
        Ok(None) => {
            let is_gone = files.is_known(path);
            warn(machine, is_gone.then(Warning::loader_conf_is_gone));
            return Ok(LoaderConf::default());
        }
        Err(failure) => Err(failure),
    };
    let (conf, error) = match read {
        Ok(Ok(length)) => LoaderConf::parse(room.get(..length).unwrap_or_default()),
        Ok(Err(error)) => (LoaderConf::default(), Some(error)),
        Err(failure) if is_of_file(files, &failure) => {
            warn(machine, Some(Warning::unreadable(path, &failure)));
            return Ok(LoaderConf::default());
        }
        Err(failure) => return Err(failure),
    };
    let failure = error.map(M::Failure::from);
    let warning = failure.as_ref().map(|it| Warning::in_loader_conf(it));
    warn(machine, warning);
    if let Some(wanted) = conf.console() {
        machine.print_only(wanted);
    }
    Ok(conf)
}

/// Reads a file of at most [`MAX_FILE`] bytes, for which there is room. Compares its checksum if
/// `disk-builder` wrote it: an empty path says that it did not.
#[inline(never)] // there is more than one caller
fn read<'m, M: EntryMachine<'m>>(
    files: &mut Files<'m, M>,
    path: &'m str,
    file: &File<'m>,
    room: &mut [u8],
) -> Result<Result<usize, EntryFileError>, M::Failure> {
    let expected = match path.is_empty() {
        true => None,
        false => files.expected(Role::Text, Sums::Whole, path, file)?,
    };
    if file.size > MAX_FILE as u64 {
        return Ok(Err(EntryFileError {
            line: 0,
            cause: EntryFileCause::FileTooLong,
        }));
    }
    Ok(Ok(files.read(file, expected, room)?))
}

/// Joins texts in memory that has room for them.
fn join<'r>(parts: &[&str], out: &'r mut [u8]) -> &'r str {
    let mut length = 0;
    for part in parts {
        length += copy(part.as_bytes(), out.get_mut(length..).unwrap_or_default());
    }
    utf8(out.get(..length).unwrap_or_default()).0
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
