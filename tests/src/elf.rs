//! ELF files to measure, byte for byte.

use anyhow::{Context as _, Result};
use object::read::elf::{ElfFile64, FileHeader as _, ProgramHeader as _};
use object::{Endianness, elf};

/// A 64-bit ELF file: what a loader looks at, as it is to be written. Nothing is checked.
#[derive(Clone, Debug)]
pub struct Elf {
    /// `EI_CLASS`; 2: 64-bit.
    pub class: u8,
    /// `e_type`; 2: `ET_EXEC`.
    pub kind: u16,
    /// `e_machine`; 62: x86-64.
    pub machine: u16,
    /// `e_entry`.
    pub entry: u64,
    /// The program headers, in this order.
    pub segments: Vec<Segment>,
}

/// A program header and the bytes that it describes.
#[derive(Clone, Debug)]
pub struct Segment {
    /// `p_type`; 1: `PT_LOAD`.
    pub kind: u32,
    /// `p_flags`: 1 executable, 2 writable, 4 readable.
    pub flags: u32,
    /// `p_vaddr`.
    pub address: u64,
    /// `p_paddr`.
    pub physical: u64,
    /// What the file holds.
    pub bytes: Vec<u8>,
    /// `p_memsz`.
    pub memory_size: u64,
    /// `p_align`.
    pub alignment: u64,
}

impl Segment {
    /// A `PT_LOAD` whose physical address is its virtual one.
    pub fn load(flags: u32, address: u64, bytes: Vec<u8>) -> Self {
        let memory_size = bytes.len() as u64;
        Self {
            kind: elf::PT_LOAD.0,
            flags,
            address,
            physical: address,
            bytes,
            memory_size,
            alignment: 4096,
        }
    }
}

impl Elf {
    /// A kernel of one segment that stops the machine at once.
    pub fn halting() -> Self {
        let address = 0xFFFF_FFFF_8000_0000;
        // hlt; jmp to it
        let code = vec![0xF4, 0xEB, 0xFD];
        Self {
            class: 2,
            kind: elf::ET_EXEC.0,
            machine: elf::EM_X86_64.0,
            entry: address,
            segments: vec![Segment::load(5, address, code)],
        }
    }

    /// The `PT_LOAD`s of an ELF file.
    ///
    /// # Errors
    /// When it is none.
    pub fn read(file: &[u8]) -> Result<Self> {
        let elf = ElfFile64::<Endianness>::parse(file)?;
        let endian = elf.endian();
        let header = elf.elf_header();
        let segments = elf
            .elf_program_headers()
            .iter()
            .filter(|s| s.p_type(endian) == elf::PT_LOAD);
        let segments = segments.map(|s| {
            let bytes = s
                .data(endian, file)
                .ok()
                .context("a segment is cut short")?;
            Ok(Segment {
                kind: elf::PT_LOAD.0,
                flags: s.p_flags(endian).0,
                address: s.p_vaddr(endian),
                physical: s.p_paddr(endian),
                bytes: bytes.to_vec(),
                memory_size: s.p_memsz(endian),
                alignment: s.p_align(endian),
            })
        });
        Ok(Self {
            class: 2,
            kind: header.e_type(endian).0,
            machine: header.e_machine(endian).0,
            entry: header.e_entry(endian),
            segments: segments.collect::<Result<_>>()?,
        })
    }

    /// The bytes of the first segment from its first address on: a program without a header.
    pub fn flat(&self) -> &[u8] {
        self.segments.first().map_or(&[], |segment| &segment.bytes)
    }

    /// The file: the header, the program headers, and each segment's bytes at the next offset that
    /// agrees with its address modulo 4 KiB.
    pub fn write(&self) -> Vec<u8> {
        const HEADER: usize = 64;
        const PROGRAM_HEADER: usize = 56;

        let count = self.segments.len();
        let mut table = Vec::new();
        let mut body = Vec::new();
        let start = HEADER + count * PROGRAM_HEADER;
        for segment in &self.segments {
            let here = (start + body.len()) as u64;
            let gap = segment.address.wrapping_sub(here) % 4096;
            body.resize(body.len() + gap as usize, 0);
            let offset = (start + body.len()) as u64;
            body.extend_from_slice(&segment.bytes);
            table.extend(segment.kind.to_le_bytes());
            table.extend(segment.flags.to_le_bytes());
            for value in [
                offset,
                segment.address,
                segment.physical,
                segment.bytes.len() as u64,
                segment.memory_size,
                segment.alignment,
            ] {
                table.extend(value.to_le_bytes());
            }
        }

        let mut file = vec![0x7F, b'E', b'L', b'F', self.class, 1, 1];
        file.resize(16, 0);
        file.extend(self.kind.to_le_bytes());
        file.extend(self.machine.to_le_bytes());
        file.extend(1_u32.to_le_bytes());
        file.extend(self.entry.to_le_bytes());
        file.extend((HEADER as u64).to_le_bytes());
        file.extend(0_u64.to_le_bytes()); // no section headers
        file.extend(0_u32.to_le_bytes());
        for value in [HEADER, PROGRAM_HEADER, count, 0, 0, 0] {
            file.extend((value as u16).to_le_bytes());
        }
        file.extend(table);
        file.extend(body);
        file
    }
}

/// Bytes that no compression and no deduplication makes less of, the same ones every time
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
        let mut written = Elf::halting();
        written
            .segments
            .push(Segment::load(4, 0xFFFF_FFFF_8020_0123, noise(5000)));
        let read = Elf::read(&written.write()).expect("an ELF file");
        assert_eq!(read.entry, written.entry);
        assert_eq!(read.flat(), [0xF4, 0xEB, 0xFD]);
        assert_eq!(read.segments.len(), 2);
        assert_eq!(read.segments[1].address, 0xFFFF_FFFF_8020_0123);
        assert_eq!(read.segments[1].bytes, noise(5000));
    }
}
