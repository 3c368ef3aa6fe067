//! ELF files to measure, byte for byte: this module reads real files, and [`Elf`] describes and
//! writes files that no linker would make.

use std::fs;
use std::ops::Range;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use multiboot2_header::{
    Builder, EntryAddressHeaderTag, HeaderTagFlag, HeaderTagISA, MaybeDynSized as _,
};
use object::read::elf::{ElfFile64, FileHeader as _, ProgramHeader as _};
use object::{Endianness, elf};

pub use crate::elf_fixture::*;

impl ProgramHeader {
    /// A PT_LOAD whose load address is its virtual address, without a bss.
    pub fn filled(flags: u32, virtual_address: u64, data: Vec<u8>) -> Self {
        let memory_size = data.len() as u64;
        Self::load(flags, virtual_address, data, memory_size)
    }
}

impl Elf {
    /// A kernel of one segment that stops the machine at once.
    pub fn halting() -> Self {
        const ADDRESS: u64 = 0xFFFF_FFFF_8000_0000;
        // hlt; jmp to it
        let code = vec![0xF4, 0xEB, 0xFD];
        Self::new(ET_EXEC, ADDRESS).with(ProgramHeader::filled(R | X, ADDRESS, code))
    }

    /// The PT_LOADs of an ELF file.
    ///
    /// # Errors
    /// When it is not one.
    pub fn read(file: &[u8]) -> Result<Self> {
        let elf = ElfFile64::<Endianness>::parse(file)?;
        let endian = elf.endian();
        let header = elf.elf_header();
        let loads = elf
            .elf_program_headers()
            .iter()
            .filter(|load| load.p_type(endian) == elf::PT_LOAD);
        let loads = loads.map(|load| {
            let data = load.data(endian, file).ok();
            Ok(ProgramHeader {
                kind: PT_LOAD,
                flags: load.p_flags(endian).0,
                virtual_address: load.p_vaddr(endian),
                physical_address: load.p_paddr(endian),
                memory_size: load.p_memsz(endian),
                alignment: load.p_align(endian),
                data: data.context("a segment is cut short")?.to_vec(),
                ..ProgramHeader::default()
            })
        });
        Ok(Self {
            machine: header.e_machine(endian).0,
            program_headers: loads.collect::<Result<_>>()?,
            ..Self::new(header.e_type(endian).0, header.e_entry(endian))
        })
    }

    /// The bytes of the first segment from its first address on: a program without a header.
    pub fn flat(&self) -> &[u8] {
        self.program_headers.first().map_or(&[], |load| &load.data)
    }
}

/// An ELF file without its section headers and everything that only they refer to, such as debug
/// information.
///
/// # Errors
/// When it is not one.
pub fn without_sections(file: &[u8]) -> Result<Vec<u8>> {
    const SECTION_TABLE_OFFSET: Range<usize> = 40..48; // e_shoff
    const SECTION_COUNT_AND_NAMES: Range<usize> = 60..64; // e_shnum, e_shstrndx

    let elf = ElfFile64::<Endianness>::parse(file)?;
    let endian = elf.endian();
    let ends = elf.elf_program_headers().iter().map(|header| {
        let (offset, size) = header.file_range(endian);
        offset.saturating_add(size)
    });
    let end = usize::try_from(ends.max().context("no program headers")?)?;
    let mut rest = file.get(..end).context("a segment is cut short")?.to_vec();
    rest[SECTION_TABLE_OFFSET].fill(0);
    rest[SECTION_COUNT_AND_NAMES].fill(0);
    Ok(rest)
}

/// The first word of a Multiboot 2 header.
pub const MULTIBOOT2_MAGIC: u32 = 0xE852_50D6;

/// Puts a Multiboot 2 header with an entry address between the program headers and the first
/// segment, from where nothing is loaded. It is made by the crate that kernels use.
///
/// # Errors
/// When there is no room.
pub fn put_multiboot2_header(file: &mut [u8], entry: u32) -> Result<()> {
    const PLACE: usize = 0x800;

    let header = Builder::new(HeaderTagISA::I386)
        .entry_tag(EntryAddressHeaderTag::new(HeaderTagFlag::Required, entry))
        .build();
    let bytes = header.as_bytes();
    let room = file.get_mut(PLACE..PLACE + bytes.len());
    let room = room.context("no room")?;
    ensure!(room.iter().all(|&byte| byte == 0), "something is there");
    room.copy_from_slice(bytes);
    Ok(())
}

/// Changes a file by binutils' objcopy, with these arguments.
///
/// # Errors
/// When objcopy is not installed, or fails.
pub fn objcopy(file: &[u8], arguments: &[&str]) -> Result<Vec<u8>> {
    let directory = tempfile::tempdir()?;
    let [from, to] = ["from", "to"].map(|name| directory.path().join(name));
    fs::write(&from, file)?;
    let mut objcopy = Command::new("objcopy");
    let status = objcopy.args(arguments).args([&from, &to]).status();
    let status = status.context("cannot run objcopy")?;
    ensure!(status.success(), "objcopy failed");
    Ok(fs::read(to)?)
}

/// Bytes that neither compression nor deduplication makes smaller, always the same ones
/// (xorshift64*).
pub fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut words = Vec::with_capacity(length.next_multiple_of(8));
    while words.len() < length {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        words.extend(state.wrapping_mul(0x2545_F491_4F6C_DD1D).to_le_bytes());
    }
    words.truncate(length);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let constants = ProgramHeader::load(R, 0xFFFF_FFFF_8020_0123, noise(5000), 6000);
        let written = Elf::halting()
            .with(constants.at(0x12_3123))
            .with(ProgramHeader::note(vec![1, 2, 3, 4]));
        let read = Elf::read(&written.build()).expect("an ELF file");
        assert_eq!((read.kind, read.machine), (ET_EXEC, written.machine));
        assert_eq!(read.entry, written.entry);
        assert_eq!(read.flat(), [0xF4, 0xEB, 0xFD]);
        // The note is not one of the PT_LOADs.
        let [code, constants] = &read.program_headers[..] else {
            panic!("{} program headers", read.program_headers.len());
        };
        assert_eq!(code.flags, R | X);
        assert_eq!(constants.virtual_address, 0xFFFF_FFFF_8020_0123);
        assert_eq!(constants.physical_address, 0x12_3123);
        assert_eq!(constants.memory_size, 6000);
        assert_eq!(constants.data, noise(5000));
    }
}
