//! Kernels for the fuzzer: made of its bytes, and what they should look like in memory.

use boot_path::kernel::image::{KernelError, KernelImage};

use crate::elf_fixture::{
    ET_DYN, ET_EXEC, Elf, PT_DYNAMIC, PT_GNU_RELRO, PT_TLS, ProgramHeader, R, W, X, note, rela,
    words,
};
use crate::input::Input;

const PAGE: u64 = 4096;

const BASES: [u64; 8] = [
    0xFFFF_FFFF_8000_0000,
    0xFFFF_FFFF_8010_0000,
    0x10_0000,
    0x40_0000,
    0xFFFF_8000_0000_0000,
    0xFFFF_FF7F_FFE0_0000,
    0x7FFF_FF00_0000,
    0xFFFF_FFFF_FFE0_0000,
];

/// Makes a kernel that a linker could have made, more or less. It takes what it needs from the
/// front of the input.
pub fn make(input: &mut Input<'_>) -> Vec<u8> {
    let how = input.u8();
    let kind = if how & 1 != 0 { ET_DYN } else { ET_EXEC };
    let base = base(how, input);
    let distance = distance(base, input);
    let mut elf = Elf::new(kind, 0);
    let mut address = base;
    let count = 1 + input.u8() % 6;
    let mut writable = base;
    for number in 0..count {
        let (load, next) = load(number, address, distance, input);
        if load.flags & W != 0 {
            writable = address;
        }
        elf = elf.with(load);
        address = next;
    }
    elf.entry = base.wrapping_add(u64::from(input.u8()));

    let extras = input.u8();
    elf = with_extras(elf, extras, writable, input);
    if extras & 8 != 0 {
        elf = with_dynamic(elf, input, base, address);
    }
    elf.build()
}

/// The address that its first segment is linked for.
fn base(how: u8, input: &mut Input<'_>) -> u64 {
    let base = match how >> 1 & 7 {
        7 => input.border(),
        _ if how & 1 != 0 => 0,
        _ => input.choose(&BASES),
    };
    if how & 0x10 == 0 {
        return base;
    }
    base.wrapping_add(input.u16().into())
}

/// How far its virtual addresses are from the physical ones.
fn distance(base: u64, input: &mut Input<'_>) -> u64 {
    match input.u8() & 7 {
        0..=2 => 0,
        3 => base.wrapping_sub(0x10_0000),
        4 => base.wrapping_sub(u64::from(input.u16()) << 12),
        5 => base.wrapping_sub(input.border()),
        6 => base,
        _ => input.u64(),
    }
}

/// A segment, and where the next one may begin.
fn load(number: u8, address: u64, distance: u64, input: &mut Input<'_>) -> (ProgramHeader, u64) {
    let shape = input.u8();
    let flags = match shape & 7 {
        0 | 1 => R | X,
        2 => R,
        3 | 4 => R | W,
        5 => R | W | X,
        _ => [R | X, R, R | W][usize::from(number) % 3],
    };
    let file = usize::from(input.u16()) % 0x2800;
    let bss = match shape >> 3 & 7 {
        0..=2 => 0,
        3 => u64::from(input.u8()),
        4 => u64::from(input.u16()),
        5 => u64::from(input.u16()) << 9,
        6 => u64::from(input.u16()) << 16,
        _ => input.border() >> 32,
    };
    // Different from segment to segment and from byte to byte.
    let data = (0..file).map(|at| (at * 7 + at / 251 + usize::from(number) * 41) as u8);
    let data = data.collect();
    let memory_size = file as u64 + bss;
    let mut load =
        ProgramHeader::load(flags, address, data, memory_size).at(address.wrapping_sub(distance));
    load.alignment = match input.u8() {
        byte @ 0..64 => 1 << (byte % 24),
        _ => PAGE,
    };
    let end = address.wrapping_add(memory_size);
    let next = match shape >> 6 {
        0 | 1 => end.wrapping_add(PAGE - 1) & !(PAGE - 1),
        2 => end,
        _ => end.wrapping_add(input.border() >> 30),
    };
    (load, next)
}

/// Adds a note, and headers for RELRO and TLS within the writable segment.
fn with_extras(mut elf: Elf, extras: u8, writable: u64, input: &mut Input<'_>) -> Elf {
    if extras & 1 != 0 {
        let kind = 1 + u32::from(input.u8() % 4);
        let value = match kind {
            1 => 4096 + u64::from(input.u16()) * 16,
            2 => u64::from(input.u16()) << 30 | 0xFFFF << 48,
            3 => u64::from(input.u8() & 1),
            _ => input.u64(),
        };
        let wish = note("Bootpath", kind, &value.to_le_bytes(), 4);
        elf = elf.with(ProgramHeader::note(wish));
    }
    if extras & 2 != 0 {
        let size = u64::from(input.u16()) % 0x3000;
        let start = writable.wrapping_add(u64::from(input.u8()));
        elf = elf.with(ProgramHeader::within_load(PT_GNU_RELRO, start, size));
    }
    if extras & 4 != 0 {
        let start = writable.wrapping_add(u64::from(input.u8()));
        elf = elf.with(ProgramHeader::within_load(PT_TLS, start, input.u8().into()));
    }
    elf
}

/// Adds a segment with a dynamic section and relocations.
fn with_dynamic(mut elf: Elf, input: &mut Input<'_>, base: u64, address: u64) -> Elf {
    const HEAD: u64 = 0x100;
    let start = address.wrapping_add(PAGE - 1) & !(PAGE - 1);
    let (relas, relrs) = (input.u8() % 80, input.u8() % 20);
    let target = |input: &mut Input<'_>| match input.u8() {
        // Some relocations point into the tables themselves.
        byte @ 0..8 => start.wrapping_add(u64::from(byte) * 40),
        byte @ 8..240 => base.wrapping_add(u64::from(byte) * 24 + u64::from(input.u8())),
        _ => base.wrapping_add(u64::from(input.u16())),
    };
    let mut tables = Vec::new();
    for _ in 0..relas {
        let kind = match input.u8() {
            0..240 => 8,
            240..250 => 0,
            other => u32::from(other),
        };
        let place = target(input);
        tables.extend(rela(kind, place, base.wrapping_add(u64::from(input.u8()))));
    }
    let rela_size = tables.len() as u64;
    for index in 0..relrs {
        let bitmap = index > 0 && input.u8() & 1 != 0;
        tables.extend(words([if bitmap {
            u64::from(input.u16()) << 1 | 1
        } else {
            target(input) & !1
        }]));
    }
    let relr_size = tables.len() as u64 - rela_size;
    let mut section = words([
        7,
        start.wrapping_add(HEAD), // DT_RELA
        8,
        rela_size, // DT_RELASZ
        9,
        24, // DT_RELAENT
        36,
        start.wrapping_add(HEAD + rela_size), // DT_RELR
        35,
        relr_size, // DT_RELRSZ
        37,
        8, // DT_RELRENT
        0,
        0,
    ]);
    // Rarely, another number somewhere is changed as well.
    if input.u8() >= 0xE0 {
        let at = usize::from(input.u8()) % section.len();
        section[at] = input.u8();
    }
    let size = section.len() as u64;
    section.resize(HEAD as usize, 0);
    section.extend(tables);
    let memory_size = section.len() as u64;
    elf = elf.with(ProgramHeader::load(R | W, start, section, memory_size));
    elf.with(ProgramHeader::within_load(PT_DYNAMIC, start, size))
}

/// Whether the page at a virtual address (with the slide) belongs to the kernel, and whether it may
/// be written and executed: by asking every segment.
pub fn permissions(image: &KernelImage, slide: u64, page: u64) -> Option<(bool, bool)> {
    let page = page.wrapping_sub(slide) & !(PAGE - 1);
    let in_page = |s: &&boot_path::kernel::image::Segment| {
        let first = s.virtual_start.as_u64();
        let last = first + (s.memory_size - 1);
        first & !(PAGE - 1) <= page && page <= last
    };
    let mut there = image.segments().iter().filter(in_page).peekable();
    there.peek()?;
    let flags = there.fold(0, |flags, segment| flags | segment.flags);
    let relro = image.relro().is_some_and(|relro| {
        let (start, end) = (
            relro.start.as_u64() & !(PAGE - 1),
            (relro.start.as_u64() + relro.size) & !(PAGE - 1),
        );
        (start..end).contains(&page)
    });
    Some((flags & W != 0 && !relro, flags & X != 0))
}

/// The virtual addresses (with the slide) at which permissions may change.
pub fn edges(image: &KernelImage, slide: u64) -> Vec<u64> {
    let segments = image.segments().iter();
    let mut edges: Vec<u64> = segments
        .flat_map(|s| {
            [
                s.virtual_start.as_u64() & !(PAGE - 1),
                (s.virtual_end().as_u64() + PAGE - 1) & !(PAGE - 1),
            ]
        })
        .chain(image.relro().into_iter().flat_map(|relro| {
            [
                relro.start.as_u64() & !(PAGE - 1),
                (relro.start.as_u64() + relro.size) & !(PAGE - 1),
            ]
        }))
        .map(|edge| edge.wrapping_add(slide))
        .collect();
    edges.sort_unstable();
    edges
}

/// A kernel's segments as they should be in memory, each with its zeroed part.
pub type Memory = Vec<Vec<u8>>;

/// The segments before they are relocated.
pub fn unrelocated(image: &KernelImage, file: &[u8]) -> Memory {
    let segments = image.segments().iter();
    segments
        .map(|segment| {
            // A segment without bytes may have any offset.
            let bytes = file
                .get(segment.file_offset.as_u64() as usize..)
                .unwrap_or_default();
            let mut memory = bytes[..segment.file_size as usize].to_vec();
            memory.resize(segment.memory_size as usize, 0);
            memory
        })
        .collect()
}

/// Relocates by the letter of the specifications: one word after the other, each found by its
/// address. `None` if a table or a word breaks their rules.
pub fn relocate(image: &KernelImage, memory: &mut Memory, slide: u64) -> Option<u64> {
    let Some(dynamic) = image.dynamic() else {
        return Some(0);
    };
    let mut space = Space { image, memory };
    let start = dynamic.start.as_u64();
    space.of_file(start, dynamic.size)?;
    let section = space.dynamic_section(start, dynamic.size)?;
    let relrs = space.table(section[36], section[35], section[37], 8)?;
    let relas = space.table(section[7], section[8], section[9], 24)?;
    let jumps = space.table(section[23], section[2], Some(24), 24)?;
    // Only the size of an entry is known, and it may be left out.
    if section[11].is_some_and(|size| size != 24) {
        return None;
    }
    let mut count = space.apply_relrs(&relrs, slide)?;
    for entries in [relas, jumps] {
        for batch in entries.chunks(64) {
            count += space.apply_relas(batch, section[6], slide)?;
        }
    }
    Some(count)
}

/// Words by their virtual address.
struct Space<'a> {
    image: &'a KernelImage,
    memory: &'a mut Memory,
}

impl Space<'_> {
    /// Whether these bytes came from the file, into a single segment.
    fn of_file(&self, start: u64, size: u64) -> Option<()> {
        let mut segments = self.image.segments().iter();
        let inside = segments.any(|segment| {
            let offset = start.wrapping_sub(segment.virtual_start.as_u64());
            offset <= segment.file_size && size <= segment.file_size - offset
        });
        inside.then_some(())
    }

    /// The values of the dynamic section, by their tags. It may refer to no symbols of other files,
    /// and to no addends in the relocated words.
    fn dynamic_section(&mut self, start: u64, size: u64) -> Option<[Option<u64>; 40]> {
        let mut values = [None; 40];
        let mut jumps_are_rel = false;
        let mut needed = false;
        for index in 0..size / 16 {
            let at = start.wrapping_add(index * 16);
            let (tag, value) = (self.file_word(at)?, self.file_word(at.wrapping_add(8))?);
            match tag {
                0 => break,
                1 => needed = true,
                20 => jumps_are_rel = value == 17,
                tag if tag < 40 => values[tag as usize] = Some(value),
                _ => {}
            }
        }
        let rels = values[18].unwrap_or(0) != 0 || jumps_are_rel && values[2].unwrap_or(0) != 0;
        (!needed && !rels).then_some(values)
    }

    /// Applies a table of relative relocations in the compact form: addresses and bitmaps.
    fn apply_relrs(&mut self, entries: &[u64], slide: u64) -> Option<u64> {
        let (mut count, mut at) = (0, None);
        for &entry in entries {
            let entry = self.file_word(entry)?;
            if entry & 1 == 0 {
                self.add(entry, slide)?;
                count += 1;
                at = Some(entry.wrapping_add(8));
                continue;
            }
            let start = at?;
            let places = (0..63).filter(|bit| entry >> (bit + 1) & 1 != 0);
            for bit in places {
                self.add(start.wrapping_add(bit * 8), slide)?;
                count += 1;
            }
            at = Some(start.wrapping_add(63 * 8));
        }
        Some(count)
    }

    /// Applies relocations with addends. The loader takes 64 entries at a time out of the table. If
    /// a relocation changes an entry of its own batch, the old value is used.
    fn apply_relas(&mut self, batch: &[u64], symbols: Option<u64>, slide: u64) -> Option<u64> {
        let mut read = Vec::new();
        for &entry in batch {
            let words = [0, 8, 16].map(|skip| self.file_word(entry.wrapping_add(skip)));
            read.push((words[0]?, words[1]?, words[2]?));
        }
        // All values are found before the first word changes.
        let mut values = Vec::new();
        for (place, info, addend) in read {
            let value = match info as u32 {
                0 => continue,
                8 => addend.wrapping_add(slide),
                1 => addend.wrapping_add(self.symbol(symbols, info >> 32, slide)?),
                6 | 7 => self.symbol(symbols, info >> 32, slide)?,
                _ => return None,
            };
            values.push((place, value));
        }
        for &(place, value) in &values {
            self.set(place, value)?;
        }
        Some(values.len() as u64)
    }

    /// The value of a symbol. Number 0 is none; there are no functions that find an address, and no
    /// places in a thread's memory.
    fn symbol(&mut self, table: Option<u64>, number: u64, slide: u64) -> Option<u64> {
        if number == 0 {
            return Some(0);
        }
        let at = table.unwrap_or(0).wrapping_add(24 * number);
        self.of_file(at, 24)?;
        let head = self.file_word(at)?;
        let value = self.file_word(at.wrapping_add(8))?;
        let (kind, binding, section) = (head >> 32 & 0xF, head >> 36 & 0xF, head >> 48);
        match (section, binding) {
            _ if kind == 10 || kind == 6 => None,
            (0, 2) => Some(0),
            (0, _) => None,
            (0xFFF1, _) => Some(value),
            _ => Some(value.wrapping_add(slide)),
        }
    }

    /// The addresses of a table's entries.
    fn table(
        &self,
        start: Option<u64>,
        size: Option<u64>,
        entry_size: Option<u64>,
        expected: u64,
    ) -> Option<Vec<u64>> {
        match (start, size, entry_size) {
            (_, Some(0), _) | (None, None, _) => Some(Vec::new()),
            (Some(start), Some(size), Some(entry)) if entry == expected && size % entry == 0 => {
                self.of_file(start, size)?;
                Some(
                    (0..size / entry)
                        .map(|n| start.wrapping_add(n * entry))
                        .collect(),
                )
            }
            _ => None,
        }
    }

    fn word(&mut self, address: u64, of_file: bool) -> Option<&mut [u8; 8]> {
        let segments = self.image.segments().iter().zip(self.memory.iter_mut());
        for (segment, memory) in segments {
            let end = if of_file {
                segment.file_size
            } else {
                segment.memory_size
            };
            let offset = address.wrapping_sub(segment.virtual_start.as_u64());
            if offset < end && end - offset >= 8 {
                return memory[offset as usize..].first_chunk_mut();
            }
        }
        None
    }

    fn file_word(&mut self, address: u64) -> Option<u64> {
        self.word(address, true)
            .map(|word| u64::from_le_bytes(*word))
    }

    fn add(&mut self, address: u64, slide: u64) -> Option<()> {
        let word = self.word(address, false)?;
        *word = u64::from_le_bytes(*word).wrapping_add(slide).to_le_bytes();
        Some(())
    }

    fn set(&mut self, address: u64, value: u64) -> Option<()> {
        *self.word(address, false)? = value.to_le_bytes();
        Some(())
    }
}

/// Checks that the loader and the model came to the same result.
pub fn agree(loader: &Result<u64, KernelError>, model: Option<u64>) {
    match (loader, model) {
        (Ok(loader), Some(model)) => assert_eq!(*loader, model),
        (Err(_), None) => {}
        _ => panic!("the loader says {loader:?}, the model {model:?}"),
    }
}
