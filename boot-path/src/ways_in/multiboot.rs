//! The way in by Multiboot, its pure half: the information of another loader about the modules that
//! it has loaded, by version 1 or 2 of the specification.
//!
//! The information is turned into the text of an entry file, so that later steps are the same as
//! with a disk. The loader's name is the title. The first module is the kernel, whose path is
//! `/modules/0`, and its string is the command line. The others are modules, whose paths are
//! `/modules/1` and so on.

use core::fmt;

use arrayvec::ArrayVec;
use disk_layout::multiboot::{LOAD_ADDRESS, MAGIC_1, MAGIC_2, SAVED, SAVED_BYTES};
use disk_layout::parts::Part;
use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, IntoBytes};

use crate::entry::entry_file::{self, EntryFileError, KernelEntry, MAX_MODULES};
use crate::errors::catalogue::{self, Entry, Named};
use crate::errors::text::{copy, facts};
use crate::files::access::BROUGHT;
use crate::memory::address::PhysAddr;
use crate::memory::layout::EARLY_REACH;
use crate::memory::map::{MemoryKind, MemoryMap};
use crate::memory::placement::allocate_high;

/// The kernel and as many modules as an entry file can name.
pub const MAX_GIVEN: usize = MAX_MODULES + 1;

/// The most bytes of a string.
const MAX_STRING: usize = 4096;
/// The most bytes of version 2's information.
const MAX_INFORMATION: u32 = 1 << 20;

/// Version 1, flags: which fields are present.
const FLAG_MODULES: u32 = 1 << 3;
const FLAG_LOADER_NAME: u32 = 1 << 9;
/// Version 2, tags.
const TAG_END: u32 = 0;
const TAG_LOADER_NAME: u32 = 2;
const TAG_MODULE: u32 = 3;

/// Loaders whose modules' strings do not begin with the module's name.
const NAMELESS: &[u8] = b"GRUB 2";

/// A module, where the other loader put it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Given {
    /// First byte.
    pub start: PhysAddr,
    /// The byte behind its last one.
    pub end: PhysAddr,
}

/// Why there is nothing to boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MultibootError {
    /// EAX has the magic number of neither version.
    Magic(u32),
    /// The address of something that does not lie in memory, or has no end.
    Address(PhysAddr),
    /// A module ends before it begins.
    Module {
        /// Where it begins.
        start: u64,
        /// Where it ends.
        end: u64,
    },
    /// There is no module, and so no kernel.
    NoKernel,
    /// More than [`MAX_GIVEN`].
    TooManyModules,
    /// The strings are longer than an entry file.
    TooLong,
    /// A string is not allowed in an entry file.
    Text(EntryFileError),
}

impl Named for MultibootError {
    fn entry(&self) -> &'static Entry {
        &catalogue::MULTIBOOT_INFORMATION
    }

    fn part(&self) -> Option<Part> {
        Some(Part::Texts)
    }
}

impl fmt::Display for MultibootError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Magic(magic) => facts(f, "EAX is ########h", &[magic.into()]),
            Self::Address(address) => facts(f, "address ########h", &[address.as_u64()]),
            Self::Module { start, end } => {
                facts(f, "a module from ########h to ########h", &[start, end])
            }
            Self::NoKernel => f.write_str("no module, and so no kernel"),
            Self::TooManyModules => facts(f, "more than # modules", &[MAX_GIVEN as u64]),
            Self::TooLong => f.write_str("the modules' strings are too long"),
            Self::Text(error) => {
                // A line number would be useless: the user never sees these lines.
                f.write_str("the modules' strings: ")?;
                EntryFileError { line: 0, ..error }.fmt(f)
            }
        }
    }
}

/// Memory as the other loader left it. Fills `out` with the bytes from an address on; false when
/// there is no such memory.
pub trait Memory {
    /// Reads.
    fn read(&self, address: PhysAddr, out: &mut [u8]) -> bool;
}

fn read<T: FromBytes + IntoBytes>(
    memory: &dyn Memory,
    address: PhysAddr,
) -> Result<T, MultibootError> {
    let mut value = T::new_zeroed();
    match memory.read(address, value.as_mut_bytes()) {
        true => Ok(value),
        false => Err(MultibootError::Address(address)),
    }
}

fn word(memory: &dyn Memory, address: PhysAddr) -> Result<u32, MultibootError> {
    Ok(read::<U32>(memory, address)?.get())
}

/// Reads a string that ends in a zero byte.
fn string<'s>(
    memory: &dyn Memory,
    address: PhysAddr,
    room: &'s mut [u8; MAX_STRING],
) -> Result<&'s [u8], MultibootError> {
    for index in 0..MAX_STRING {
        let byte: u8 = read(memory, address.wrapping_add(index as u64))?;
        if byte == 0 {
            return Ok(room.get(..index).unwrap_or_default());
        }
        room[index] = byte;
    }
    Err(MultibootError::Address(address))
}

/// Reads the modules' places, the kernel's first, into `given`; returns the entry, whose text is in
/// `text`.
///
/// # Errors
/// [`MultibootError`]: 9G.
pub fn read_information<'a>(
    memory: &dyn Memory,
    magic: u32,
    information: u32,
    given: &mut ArrayVec<Given, MAX_GIVEN>,
    text: &'a mut [u8],
) -> Result<KernelEntry<'a>, MultibootError> {
    let mut list = List {
        memory,
        given,
        nameless: false,
        text,
        length: 0,
    };
    let information = information.into();
    let mut room = [0; MAX_STRING];
    match magic {
        MAGIC_1 => list.version_1(information, &mut room)?,
        MAGIC_2 => list.version_2(information, &mut room)?,
        _ => return Err(MultibootError::Magic(magic)),
    }
    let List { text, length, .. } = list;
    if given.is_empty() {
        return Err(MultibootError::NoKernel);
    }
    let entry = entry_file::parse(text.get(..length).unwrap_or_default());
    entry.map_err(MultibootError::Text)
}

/// The result so far.
struct List<'a, 'b> {
    memory: &'b dyn Memory,
    given: &'b mut ArrayVec<Given, MAX_GIVEN>,
    /// Do the strings lack the modules' names?
    nameless: bool,
    text: &'a mut [u8],
    length: usize,
}

impl List<'_, '_> {
    /// Multiboot Specification 0.6.96, 3.3.
    fn version_1(
        &mut self,
        information: PhysAddr,
        room: &mut [u8; MAX_STRING],
    ) -> Result<(), MultibootError> {
        let flags = word(self.memory, information)?;
        if flags & FLAG_LOADER_NAME != 0 {
            let name = word(self.memory, information.wrapping_add(64))?;
            self.loader(string(self.memory, name.into(), room)?)?;
        }
        if flags & FLAG_MODULES == 0 {
            return Ok(());
        }
        let [count, first] = read::<[U32; 2]>(self.memory, information.wrapping_add(20))?;
        if count.get() as usize > MAX_GIVEN {
            return Err(MultibootError::TooManyModules);
        }
        for index in 0..u64::from(count.get()) {
            let address = PhysAddr::from(first.get()).wrapping_add(index * 16);
            let [start, end, address_of_string] =
                read::<[U32; 3]>(self.memory, address)?.map(U32::get);
            let string = match address_of_string {
                0 => &[],
                address => string(self.memory, address.into(), room)?,
            };
            self.module(start, end, string)?;
        }
        Ok(())
    }

    /// Multiboot2 Specification 2.0, 3.4 and 3.6: the total size, then tags of type and size, each
    /// at a multiple of 8.
    fn version_2(
        &mut self,
        information: PhysAddr,
        room: &mut [u8; MAX_STRING],
    ) -> Result<(), MultibootError> {
        let total = word(self.memory, information)?;
        if total > MAX_INFORMATION {
            return Err(MultibootError::Address(information));
        }
        // The loader's name may follow the modules.
        for modules in [false, true] {
            let mut offset = 8;
            while offset + 8 <= total {
                let address = information + u64::from(offset);
                let [kind, size] = read::<[U32; 2]>(self.memory, address)?.map(U32::get);
                let fits = offset.checked_add(size).is_some_and(|end| end <= total);
                if size < 8 || !fits {
                    return Err(MultibootError::Address(address));
                }
                match kind {
                    TAG_END => break,
                    TAG_LOADER_NAME if !modules => {
                        self.loader(string(self.memory, address + 8, room)?)?;
                    }
                    TAG_MODULE if modules => {
                        let [start, end] =
                            read::<[U32; 2]>(self.memory, address + 8)?.map(U32::get);
                        self.module(start, end, string(self.memory, address + 16, room)?)?;
                    }
                    _ => {}
                }
                offset = (offset + size).next_multiple_of(8);
            }
        }
        Ok(())
    }

    fn loader(&mut self, name: &[u8]) -> Result<(), MultibootError> {
        self.nameless = name.starts_with(NAMELESS);
        self.write(b"title ")?;
        self.line(name)
    }

    /// Adds a module, and its line.
    fn module(&mut self, start: u32, end: u32, string: &[u8]) -> Result<(), MultibootError> {
        if start >= end {
            let (start, end) = (start.into(), end.into());
            return Err(MultibootError::Module { start, end });
        }
        let string = match self.nameless {
            true => string,
            false => without_first_word(string),
        };
        let number = self.given.len();
        if number == 0 {
            self.write(b"kernel /modules/0\noptions ")?;
        } else {
            self.write(b"module ")?;
            self.write(BROUGHT.as_bytes())?;
            let digits = [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8];
            self.write(digits.get(usize::from(number < 10)..).unwrap_or_default())?;
            self.write(b" ")?;
        }
        self.line(string)?;
        let (start, end) = (start.into(), end.into());
        self.given
            .try_push(Given { start, end })
            .map_err(|_| MultibootError::TooManyModules)
    }

    /// Ends a line with this string; line ends within it become blanks.
    fn line(&mut self, string: &[u8]) -> Result<(), MultibootError> {
        let start = self.length;
        self.write(string)?;
        let written = self.text.get_mut(start..self.length).unwrap_or_default();
        for byte in written {
            if matches!(*byte, b'\n' | b'\r') {
                *byte = b' ';
            }
        }
        self.write(b"\n")
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), MultibootError> {
        let room = self.text.get_mut(self.length..).unwrap_or_default();
        if copy(bytes, room) < bytes.len() {
            return Err(MultibootError::TooLong);
        }
        self.length += bytes.len();
        Ok(())
    }
}

/// The string behind the first word.
fn without_first_word(string: &[u8]) -> &[u8] {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let word = string.iter().position(is_blank).unwrap_or(string.len());
    let rest = string.get(word..).unwrap_or_default();
    let blanks = rest.iter().take_while(|byte| is_blank(byte)).count();
    rest.get(blanks..).unwrap_or_default()
}

/// The program itself: the way in, stage2 as it was loaded, and the copy of low memory.
const PROGRAM: Given = Given {
    start: PhysAddr::new(LOAD_ADDRESS as u64),
    end: PhysAddr::new(SAVED as u64 + SAVED_BYTES as u64),
};

/// The present address of an object that the other loader put at `start`; `None`: no memory is
/// there.
pub fn present_address(start: PhysAddr, length: u64, memory: &MemoryMap) -> Option<PhysAddr> {
    let end = start.checked_add(length)?;
    if end.as_u64() <= SAVED_BYTES.into() {
        return Some(start + u64::from(SAVED));
    }
    let is_free = memory.is_free(start, end);
    let is_program = start < PROGRAM.end && end > PROGRAM.start;
    (is_free && !is_program && end <= EARLY_REACH).then_some(start)
}

/// A module and its destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    /// Where it is.
    pub from: PhysAddr,
    /// Where it goes; the same when memory has no room for a second copy.
    pub to: PhysAddr,
    /// Bytes.
    pub size: u64,
}

/// Chooses places for the modules, out of the way of kernels, which usually load at 1 MiB or a
/// little above. Until [`give_back`], both the present and the future places are taken in the map.
///
/// # Errors
/// [`MultibootError::Address`], when a module or the program is not in memory.
pub fn plan_moves(
    given: &[Given],
    memory: &mut MemoryMap,
) -> Result<ArrayVec<Move, MAX_GIVEN>, MultibootError> {
    let mut moves = ArrayVec::new();
    for &Given { start, end } in given {
        let size = end.saturating_sub(start);
        let from = present_address(start, size, memory);
        let from = from.ok_or(MultibootError::Address(start))?;
        let to = from;
        moves
            .try_push(Move { from, to, size })
            .map_err(|_| MultibootError::TooManyModules)?;
    }
    if !memory.is_free(PROGRAM.start, PROGRAM.end) {
        return Err(MultibootError::Address(PROGRAM.start));
    }
    memory.mark(PROGRAM.start, PROGRAM.end, MemoryKind::Reclaimable);
    for module in &moves {
        memory.mark(
            module.from,
            module.from + module.size,
            MemoryKind::Reclaimable,
        );
    }
    for module in &mut moves {
        if let Ok(to) = allocate_high(memory, module.size) {
            module.to = to;
        }
    }
    Ok(moves)
}

/// Frees the memory that is not needed after the modules have been moved.
pub fn give_back(moves: &[Move], memory: &mut MemoryMap) {
    let mut mark = |start, end, kind| memory.mark(start, end, kind);
    let (moved, stay) = (MemoryKind::Usable, MemoryKind::Reclaimable);
    mark(PROGRAM.start, PROGRAM.end, moved);
    for module in moves.iter().filter(|module| module.to != module.from) {
        mark(module.from, module.from + module.size, moved);
    }
    // Modules that stay may share a page with one that was moved.
    for module in moves.iter().filter(|module| module.to == module.from) {
        mark(module.from, module.from + module.size, stay);
    }
}
