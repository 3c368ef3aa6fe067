//! The way in by Multiboot, its pure half: what another loader tells about the modules that it has
//! loaded, by version 1 or 2 of the specification.
//!
//! It becomes the text of an entry file, so that what follows is the same as when there is a disk: the
//! first module is the kernel, and its string the command line; the others are modules, whose paths
//! are `/modules/1` and so on.

use core::fmt;

use arrayvec::ArrayVec;
use disk_layout::multiboot::{MAGIC_1, MAGIC_2};
use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, IntoBytes};

use crate::catalogue::{self, Entry, Named};
use crate::entry_file::MAX_MODULES;
use crate::text::{copy, facts};

/// The kernel and as many modules as an entry file can name.
pub const MAX_GIVEN: usize = MAX_MODULES + 1;

/// The most bytes of a string.
const MAX_STRING: usize = 4096;
/// The most bytes of version 2's information.
const MAX_INFORMATION: u32 = 1 << 20;

/// Version 1, flags: which fields there are.
const FLAG_MODULES: u32 = 1 << 3;
const FLAG_LOADER_NAME: u32 = 1 << 9;
/// Version 2, tags.
const TAG_END: u32 = 0;
const TAG_LOADER_NAME: u32 = 2;
const TAG_MODULE: u32 = 3;

/// Loaders whose modules' strings do not begin with the module's name.
const NAMELESS: &[u8] = b"GRUB 2";

/// A module where the other loader has put it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Given {
    /// First byte (physical).
    pub start: u64,
    /// The byte behind its last one.
    pub end: u64,
}

/// Why there is nothing to boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MultibootError {
    /// EAX says that this is neither version.
    Magic(u32),
    /// Something lies where no memory is, or has no end: its address.
    Address(u64),
    /// A module ends before it begins.
    Module {
        /// Where it begins.
        start: u64,
        /// Where it ends.
        end: u64,
    },
    /// There is no module, hence no kernel.
    NoKernel,
    /// More than [`MAX_GIVEN`].
    TooManyModules,
    /// The strings are longer than an entry file.
    TooLong,
}

impl Named for MultibootError {
    fn entry(&self) -> &'static Entry {
        &catalogue::MULTIBOOT_INFORMATION
    }
}

impl fmt::Display for MultibootError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Magic(magic) => facts(f, "EAX is ########h", &[magic.into()]),
            Self::Address(address) => facts(f, "address ########h", &[address]),
            Self::Module { start, end } => {
                facts(f, "a module from ########h to ########h", &[start, end])
            }
            Self::NoKernel => f.write_str("no module, and so no kernel"),
            Self::TooManyModules => facts(f, "more than # modules", &[MAX_GIVEN as u64]),
            Self::TooLong => f.write_str("the modules' strings are too long"),
        }
    }
}

/// Memory as the other loader has left it: fills the bytes from an address on; false when there is
/// no such memory.
pub trait Memory {
    /// Reads.
    fn read(&self, address: u64, out: &mut [u8]) -> bool;
}

fn read<T: FromBytes + IntoBytes>(memory: &dyn Memory, address: u64) -> Result<T, MultibootError> {
    let mut value = T::new_zeroed();
    match memory.read(address, value.as_mut_bytes()) {
        true => Ok(value),
        false => Err(MultibootError::Address(address)),
    }
}

fn word(memory: &dyn Memory, address: u64) -> Result<u32, MultibootError> {
    Ok(read::<U32>(memory, address)?.get())
}

/// A string that ends in a zero byte, and how much of it is kept.
struct Text([u8; MAX_STRING], usize);

impl Text {
    fn read(memory: &dyn Memory, address: u64) -> Result<Self, MultibootError> {
        let mut text = Self([0; MAX_STRING], 0);
        for (index, byte) in text.0.iter_mut().enumerate() {
            *byte = read(memory, address.wrapping_add(index as u64))?;
            if *byte == 0 {
                text.1 = index;
                return Ok(text);
            }
        }
        Err(MultibootError::Address(address))
    }

    fn bytes(&self) -> &[u8] {
        self.0.get(..self.1).unwrap_or_default()
    }
}

/// Path of a module in the entry's text, up to its number.
pub const PATH: &str = "/modules/";

/// The number of a module in the list, by its path.
pub fn module_number(path: &str) -> Option<usize> {
    path.strip_prefix(PATH)?.parse().ok()
}

/// The modules' places, the kernel first; `text` becomes the text of an entry file, whose length comes
/// second.
///
/// # Errors
/// [`MultibootError`]: 9I.
pub fn read_information(
    memory: &dyn Memory,
    magic: u32,
    information: u32,
    text: &mut [u8],
) -> Result<(ArrayVec<Given, MAX_GIVEN>, usize), MultibootError> {
    let mut list = List {
        memory,
        given: ArrayVec::new(),
        nameless: false,
        text,
        length: 0,
    };
    let information = information.into();
    match magic {
        MAGIC_1 => list.version_1(information)?,
        MAGIC_2 => list.version_2(information)?,
        _ => return Err(MultibootError::Magic(magic)),
    }
    if list.given.is_empty() {
        return Err(MultibootError::NoKernel);
    }
    Ok((list.given, list.length))
}

/// What has been read so far.
struct List<'a> {
    memory: &'a dyn Memory,
    given: ArrayVec<Given, MAX_GIVEN>,
    /// Do the strings lack the modules' names?
    nameless: bool,
    text: &'a mut [u8],
    length: usize,
}

impl List<'_> {
    /// Multiboot Specification 0.6.96, 3.3.
    fn version_1(&mut self, information: u64) -> Result<(), MultibootError> {
        let flags = word(self.memory, information)?;
        if flags & FLAG_LOADER_NAME != 0 {
            let name = word(self.memory, information.wrapping_add(64))?;
            self.loader(&Text::read(self.memory, name.into())?);
        }
        if flags & FLAG_MODULES == 0 {
            return Ok(());
        }
        let [count, first] = read::<[U32; 2]>(self.memory, information.wrapping_add(20))?;
        if count.get() as usize > MAX_GIVEN {
            return Err(MultibootError::TooManyModules);
        }
        for index in 0..u64::from(count.get()) {
            let address = u64::from(first.get()).wrapping_add(index * 16);
            let [start, end, string] = read::<[U32; 3]>(self.memory, address)?.map(U32::get);
            let string = match string {
                0 => Text([0; MAX_STRING], 0),
                address => Text::read(self.memory, address.into())?,
            };
            self.module(start, end, &string)?;
        }
        Ok(())
    }

    /// Multiboot2 Specification 2.0, 3.4 and 3.6: the total size, then tags of type and size, each at a
    /// multiple of 8.
    fn version_2(&mut self, information: u64) -> Result<(), MultibootError> {
        let total = word(self.memory, information)?;
        if total > MAX_INFORMATION {
            return Err(MultibootError::Address(information));
        }
        // The name may come behind the modules.
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
                        self.loader(&Text::read(self.memory, address + 8)?);
                    }
                    TAG_MODULE if modules => {
                        let [start, end] =
                            read::<[U32; 2]>(self.memory, address + 8)?.map(U32::get);
                        let string = Text::read(self.memory, address + 16)?;
                        self.module(start, end, &string)?;
                    }
                    _ => {}
                }
                offset = (offset + size).next_multiple_of(8);
            }
        }
        Ok(())
    }

    fn loader(&mut self, name: &Text) {
        self.nameless = name.bytes().starts_with(NAMELESS);
    }

    /// One module more, and its line.
    fn module(&mut self, start: u32, end: u32, string: &Text) -> Result<(), MultibootError> {
        let (start, end) = (start.into(), end.into());
        if start >= end {
            return Err(MultibootError::Module { start, end });
        }
        let string = match self.nameless {
            true => string.bytes(),
            false => without_first_word(string.bytes()),
        };
        let number = self.given.len();
        if number == 0 {
            self.write(b"options ")?;
        } else {
            self.write(b"module ")?;
            self.write(PATH.as_bytes())?;
            let digits = [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8];
            self.write(digits.get(usize::from(number < 10)..).unwrap_or_default())?;
            self.write(b" ")?;
        }
        self.write(string)?;
        self.write(b"\n")?;
        self.given
            .try_push(Given { start, end })
            .map_err(|_| MultibootError::TooManyModules)
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

/// What follows the first word.
fn without_first_word(string: &[u8]) -> &[u8] {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let word = string.iter().position(is_blank).unwrap_or(string.len());
    let rest = string.get(word..).unwrap_or_default();
    let blanks = rest.iter().take_while(|byte| is_blank(byte)).count();
    rest.get(blanks..).unwrap_or_default()
}
