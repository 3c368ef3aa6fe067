//! ELF files made to order, good ones and bad ones: a description becomes bytes.
//!
//! The description says what the headers say, so every field can be made to lie. Fields that it
//! leaves open are laid out as by a linker.

/// `e_type`: an executable at fixed addresses.
pub const ET_EXEC: u16 = 2;
/// `e_type`: position-independent.
pub const ET_DYN: u16 = 3;

/// `p_type`: bytes to load.
pub const PT_LOAD: u32 = 1;
/// `p_type`: the dynamic section.
pub const PT_DYNAMIC: u32 = 2;
/// `p_type`: the path of a dynamic linker.
pub const PT_INTERP: u32 = 3;
/// `p_type`: notes.
pub const PT_NOTE: u32 = 4;
/// `p_type`: thread-local storage.
pub const PT_TLS: u32 = 7;
/// `p_type`: read-only after relocation.
pub const PT_GNU_RELRO: u32 = 0x6474_E552;

/// `p_flags`: executable.
pub const X: u32 = 1;
/// `p_flags`: writable.
pub const W: u32 = 2;
/// `p_flags`: readable.
pub const R: u32 = 4;

/// An ELF64 file.
#[derive(Clone, Debug)]
pub struct Elf {
    /// `EI_CLASS`; 2 is 64 bits.
    pub class: u8,
    /// `EI_DATA`; 1 is little-endian.
    pub encoding: u8,
    /// `e_version`.
    pub version: u32,
    /// `e_type`.
    pub kind: u16,
    /// `e_machine`; 62 is x86-64.
    pub machine: u16,
    /// `e_entry`.
    pub entry: u64,
    /// `e_phentsize`.
    pub program_header_size: u16,
    /// `e_phnum`; `None`: as many as there are.
    pub program_header_count: Option<u16>,
    /// The program headers, in their order.
    pub program_headers: Vec<ProgramHeader>,
    /// How many bytes follow what the program headers refer to, like sections for debuggers.
    pub trailing_bytes: usize,
}

/// A program header and its bytes.
#[derive(Clone, Debug, Default)]
pub struct ProgramHeader {
    /// `p_type`.
    pub kind: u32,
    /// `p_flags`.
    pub flags: u32,
    /// `p_offset`. `None`: where `data` is put, which agrees with `virtual_address` within a page;
    /// without data, the place of `virtual_address` in the first PT_LOAD that contains it.
    pub offset: Option<u64>,
    /// `p_vaddr`.
    pub virtual_address: u64,
    /// `p_paddr`.
    pub physical_address: u64,
    /// `p_filesz`. `None`: the length of `data`.
    pub file_size: Option<u64>,
    /// `p_memsz`.
    pub memory_size: u64,
    /// `p_align`.
    pub alignment: u64,
    /// What the file holds.
    pub data: Vec<u8>,
}

impl Elf {
    /// An empty file of type `kind` for x86-64.
    pub fn new(kind: u16, entry: u64) -> Self {
        Self {
            class: 2,
            encoding: 1,
            version: 1,
            kind,
            machine: 62,
            entry,
            program_header_size: 56,
            program_header_count: None,
            program_headers: Vec::new(),
            trailing_bytes: 0,
        }
    }

    /// Adds a program header.
    pub fn with(mut self, header: ProgramHeader) -> Self {
        self.program_headers.push(header);
        self
    }

    /// The file.
    pub fn build(&self) -> Vec<u8> {
        self.lay_out(self.file_header(), |header, offset| {
            header.bytes(offset).to_vec()
        })
    }

    /// The file as ELF32, with the lower halves of all numbers.
    pub fn build_32(&self) -> Vec<u8> {
        self.lay_out(self.file_header_32(), ProgramHeader::bytes_32)
    }

    /// Puts the bytes and the program headers behind the file header.
    fn lay_out(&self, mut file: Vec<u8>, row: impl Fn(&ProgramHeader, u64) -> Vec<u8>) -> Vec<u8> {
        let headers = &self.program_headers;
        let start = file.len();
        let length = row(&ProgramHeader::default(), 0).len();
        // The table's space is reserved first, and filled when all offsets are known.
        file.resize(start + length * headers.len(), 0);

        let mut offsets = vec![0; headers.len()];
        for (header, offset) in headers.iter().zip(&mut offsets) {
            if !header.data.is_empty() {
                let within = header.alignment.clamp(1, 4096);
                let wanted = header.virtual_address % within;
                let gap = (wanted + within - file.len() as u64 % within) % within;
                file.resize(file.len() + gap as usize, 0);
                *offset = file.len() as u64;
                file.extend_from_slice(&header.data);
            }
        }
        let place = |address: u64| {
            headers.iter().zip(&offsets).find_map(|(load, offset)| {
                let distance = address.wrapping_sub(load.virtual_address);
                (load.kind == PT_LOAD && distance < load.data.len() as u64)
                    .then(|| offset + distance)
            })
        };
        for (number, header) in headers.iter().enumerate() {
            let offset = header.offset.unwrap_or_else(|| {
                if header.data.is_empty() {
                    place(header.virtual_address).unwrap_or(0)
                } else {
                    offsets[number]
                }
            });
            file[start + length * number..][..length].copy_from_slice(&row(header, offset));
        }
        file.resize(file.len() + self.trailing_bytes, 0xDB);
        file
    }

    fn file_header(&self) -> Vec<u8> {
        let count = self.program_headers.len() as u16;
        let mut header = b"\x7FELF".to_vec();
        header.extend([self.class, self.encoding, 1]);
        header.resize(16, 0);
        header.extend(self.kind.to_le_bytes());
        header.extend(self.machine.to_le_bytes());
        header.extend(self.version.to_le_bytes());
        header.extend(self.entry.to_le_bytes());
        header.extend(64_u64.to_le_bytes());
        header.extend([0; 8 + 4]);
        header.extend(64_u16.to_le_bytes());
        header.extend(self.program_header_size.to_le_bytes());
        header.extend(self.program_header_count.unwrap_or(count).to_le_bytes());
        header.extend([0; 6]);
        header
    }

    fn file_header_32(&self) -> Vec<u8> {
        let long = self.file_header();
        let mut header = long[..24].to_vec();
        header[4] = 1;
        header[18] = 3; // EM_386
        header.extend((self.entry as u32).to_le_bytes());
        header.extend(52_u32.to_le_bytes());
        header.extend([0; 4 + 4]);
        header.extend(52_u16.to_le_bytes());
        header.extend(32_u16.to_le_bytes());
        header.extend(&long[56..]);
        header
    }
}

impl ProgramHeader {
    /// A PT_LOAD whose load address is its virtual address, in pages of its own.
    pub fn load(flags: u32, virtual_address: u64, data: Vec<u8>, memory_size: u64) -> Self {
        Self {
            kind: PT_LOAD,
            flags,
            virtual_address,
            physical_address: virtual_address,
            memory_size,
            alignment: 4096,
            data,
            ..Self::default()
        }
    }

    /// A header that refers to bytes of a PT_LOAD.
    pub fn within_load(kind: u32, virtual_address: u64, size: u64) -> Self {
        Self {
            kind,
            flags: R,
            virtual_address,
            physical_address: virtual_address,
            file_size: Some(size),
            memory_size: size,
            alignment: 8,
            ..Self::default()
        }
    }

    /// A PT_NOTE whose bytes are not loaded.
    pub fn note(data: Vec<u8>) -> Self {
        Self {
            kind: PT_NOTE,
            flags: R,
            alignment: 4,
            data,
            ..Self::default()
        }
    }

    /// Gives it a load address, as AT() does.
    pub fn at(mut self, physical_address: u64) -> Self {
        self.physical_address = physical_address;
        self
    }

    fn bytes(&self, offset: u64) -> [u8; 56] {
        let mut bytes = [0; 56];
        bytes[..4].copy_from_slice(&self.kind.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.flags.to_le_bytes());
        let fields = [
            offset,
            self.virtual_address,
            self.physical_address,
            self.file_size.unwrap_or(self.data.len() as u64),
            self.memory_size,
            self.alignment,
        ];
        for (field, value) in bytes[8..].chunks_exact_mut(8).zip(fields) {
            field.copy_from_slice(&value.to_le_bytes());
        }
        bytes
    }
}

impl ProgramHeader {
    fn bytes_32(&self, offset: u64) -> Vec<u8> {
        let long = self.bytes(offset);
        let [
            kind,
            flags,
            offset,
            virtual_address,
            physical,
            file_size,
            memory_size,
            alignment,
        ] = [0, 4, 8, 16, 24, 32, 40, 48].map(|at| &long[at..at + 4]);
        [
            kind,
            offset,
            virtual_address,
            physical,
            file_size,
            memory_size,
            flags,
            alignment,
        ]
        .concat()
    }
}

/// One note; `alignment` is 4 or 8.
pub fn note(name: &str, kind: u32, value: &[u8], alignment: usize) -> Vec<u8> {
    let mut note = Vec::new();
    note.extend((name.len() as u32 + 1).to_le_bytes());
    note.extend((value.len() as u32).to_le_bytes());
    note.extend(kind.to_le_bytes());
    note.extend(name.as_bytes());
    note.push(0);
    note.resize(note.len().next_multiple_of(alignment), 0);
    note.extend(value);
    note.resize(note.len().next_multiple_of(alignment), 0);
    note
}

/// An ELF64 file with sections behind it: the name, type and bytes of each, and a string table with
/// the names.
pub fn with_sections(mut file: Vec<u8>, sections: &[(&str, u32, &[u8])]) -> Vec<u8> {
    const SHT_STRTAB: u32 = 3;
    let mut names = vec![0];
    let mut starts = Vec::new();
    for name in sections
        .iter()
        .map(|section| section.0)
        .chain([".shstrtab"])
    {
        starts.push(names.len() as u32);
        names.extend(name.as_bytes());
        names.push(0);
    }
    let mut headers = Vec::new();
    let contents = sections.iter().map(|&(_, kind, data)| (kind, data));
    for ((kind, data), name) in contents.chain([(SHT_STRTAB, &names[..])]).zip(starts) {
        headers.extend([name, kind].map(u32::to_le_bytes).concat());
        headers.extend(words([0, 0, file.len() as u64, data.len() as u64, 0, 1, 0]));
        file.extend(data);
    }
    let count = sections.len() as u16 + 1;
    let start = file.len() as u64;
    file.extend(headers);
    file[40..48].copy_from_slice(&start.to_le_bytes());
    let fields = [64, count, count - 1].map(u16::to_le_bytes);
    file[58..64].copy_from_slice(fields.as_flattened());
    file
}

/// A table of 64-bit words: a dynamic section, DT_RELR, pointers.
pub fn words(words: impl IntoIterator<Item = u64>) -> Vec<u8> {
    words.into_iter().flat_map(u64::to_le_bytes).collect()
}

/// One entry of DT_RELA.
pub fn rela(kind: u32, offset: u64, addend: u64) -> Vec<u8> {
    rela_by(0, kind, offset, addend)
}

/// One entry of DT_RELA that refers to a symbol by its number.
pub fn rela_by(symbol: u32, kind: u32, offset: u64, addend: u64) -> Vec<u8> {
    words([offset, u64::from(symbol) << 32 | u64::from(kind), addend])
}
