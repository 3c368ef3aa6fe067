//! Step 12, for Multiboot: the boot information, of version 1 or 2.
//!
//! The same facts ([`Information`]) in two forms. Who calls this finds the memory, [`size`] bytes of
//! it below 4 GiB, and everything that is said in it is said by physical addresses.
//!
//! Sources: Multiboot Specification 0.6.96, section 3.3; Multiboot2 Specification 2.0, section 3.6.

use bit_field::BitField as _;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, FromZeros as _, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::bios::firmware::{Bios, Registers};
use crate::bios::vbe::{self, Mode};
use crate::entry::entry_file::KernelEntry;
use crate::errors::text::copy;
use crate::kernel::placement::LoadedModule;
use crate::memory::map::{MIB, MemoryKind, Region};
use crate::ways_out::multiboot::elf::SectionTable;

/// Types of the tags of version 2.
pub mod tag {
    /// The end.
    pub const END: u32 = 0;
    /// The command line.
    pub const COMMAND_LINE: u32 = 1;
    /// The loader's name.
    pub const LOADER_NAME: u32 = 2;
    /// A module.
    pub const MODULE: u32 = 3;
    /// The two numbers of KiB.
    pub const BASIC_MEMORY: u32 = 4;
    /// The BIOS drive.
    pub const BOOT_DEVICE: u32 = 5;
    /// The memory map.
    pub const MEMORY_MAP: u32 = 6;
    /// What the VBE BIOS says.
    pub const VBE: u32 = 7;
    /// The framebuffer: graphics, or VGA text.
    pub const FRAMEBUFFER: u32 = 8;
    /// The section headers.
    pub const SECTIONS: u32 = 9;
    /// The table of the APM BIOS.
    pub const APM: u32 = 10;
    /// The entry point structure of SMBIOS.
    pub const SMBIOS: u32 = 13;
    /// The RSDP of ACPI 1.0.
    pub const OLD_RSDP: u32 = 14;
    /// The RSDP of ACPI 2.0 and later.
    pub const NEW_RSDP: u32 = 15;
    /// Where a relocatable kernel is. The last one that is known.
    pub const LOAD_BASE: u32 = 21;
}

/// Where the screen is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Screen<'a> {
    /// VGA text.
    Text {
        /// Physical address of the first cell.
        address: u64,
        /// Characters in a row.
        columns: u32,
        /// Rows.
        rows: u32,
    },
    /// A graphics mode.
    Graphics {
        /// The mode.
        mode: Mode,
        /// VbeInfoBlock: 512 bytes.
        controller: &'a [u8],
        /// ModeInfoBlock of the mode: 256 bytes.
        info: &'a [u8],
        /// Segment, offset and length of the table for protected mode.
        interface: [u16; 3],
    },
}

/// What INT 15h AX=5303h returns, in the order of both specifications.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoBytes, Immutable, Unaligned)]
#[repr(C)]
pub struct Apm {
    /// Version, BCD: 0102h.
    pub version: U16,
    /// Segment of the 32-bit code.
    pub code: U16,
    /// Offset of the entry point in it.
    pub offset: U32,
    /// Segment of the 16-bit code.
    pub code_16: U16,
    /// Segment of the data.
    pub data: U16,
    /// Flags of the installation check.
    pub flags: U16,
    /// Length of the 32-bit code segment.
    pub code_length: U16,
    /// Length of the 16-bit code segment.
    pub code_16_length: U16,
    /// Length of the data segment.
    pub data_length: U16,
}

impl Apm {
    /// Connects to the 32-bit interface of the APM BIOS (APM BIOS Interface Specification 1.2,
    /// functions 5300h, 5303h and 5304h). `None`: there is none.
    pub fn connect(bios: &mut impl Bios) -> Option<Self> {
        const SIGNATURE: u32 = 0x504D; // "PM"
        const HAS_32_BIT: u32 = 1 << 1;

        let mut call = |function: u32| {
            let mut registers = Registers::new(function);
            bios.call(0x15, &mut registers);
            (!registers.carry()).then_some(registers)
        };
        let is_there = |registers: &Registers| {
            registers.ebx & 0xFFFF == SIGNATURE && registers.ecx & HAS_32_BIT != 0
        };
        call(0x5300).filter(is_there)?;
        call(0x5304); // whoever was connected; an error says that nobody was
        let connected = call(0x5303)?;
        // Some BIOSes have other flags now.
        let now = call(0x5300).filter(is_there)?;
        let low = |register: u32| (register as u16).into();
        let high = |register: u32| ((register >> 16) as u16).into();
        Some(Self {
            version: low(now.eax),
            code: low(connected.eax),
            offset: connected.ebx.into(),
            code_16: low(connected.ecx),
            data: low(connected.edx),
            flags: low(now.ecx),
            code_length: low(connected.esi),
            code_16_length: high(connected.esi),
            data_length: low(connected.edi),
        })
    }
}

/// The section headers, with the addresses of what was loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sections<'a> {
    /// How many, and how large.
    pub table: SectionTable,
    /// The headers themselves.
    pub headers: &'a [u8],
}

/// What a kernel is told.
#[derive(Clone, Copy, Debug)]
pub struct Information<'a> {
    /// The loader's name.
    pub loader: &'a str,
    /// Command line, and the modules' texts.
    pub entry: &'a KernelEntry<'a>,
    /// Where the modules are.
    pub modules: &'a [LoadedModule],
    /// The memory map.
    pub memory: &'a [Region],
    /// The BIOS drive; `None`: there is no disk.
    pub drive: Option<u8>,
    /// Entry of the partition table, 1 to 4; 0: there is no table.
    pub partition: u8,
    /// The sections of an ELF file.
    pub sections: Option<Sections<'a>>,
    /// The screen.
    pub screen: Option<Screen<'a>>,
    /// The table of the APM BIOS.
    pub apm: Option<Apm>,
    /// The RSDP, as long as it says; empty: none was found.
    pub rsdp: &'a [u8],
    /// The entry point structure of SMBIOS; empty: none was found.
    pub smbios: &'a [u8],
    /// Where a relocatable kernel is.
    pub load_base: Option<u32>,
}

/// Length of the RSDP of ACPI 1.0.
pub const RSDP_1_BYTES: usize = 20;

/// Types of memory in both specifications, which are those of INT 15h E820. What the loader, the
/// kernel and its modules lie in is RAM like all other: the specifications want it so.
const fn memory_type(kind: MemoryKind) -> u32 {
    match kind {
        MemoryKind::Usable | MemoryKind::Reclaimable | MemoryKind::Kernel | MemoryKind::Module => {
            AVAILABLE
        }
        MemoryKind::AcpiReclaimable => 3,
        MemoryKind::AcpiNvs => 4,
        MemoryKind::Bad => 5,
        MemoryKind::Framebuffer | MemoryKind::Reserved => 2,
    }
}

const AVAILABLE: u32 = 1;

/// Takes the next region as a kernel sees it off the front: those that touch and are of one type are
/// one. Start, end and type.
fn take_region(memory: &mut &[Region]) -> Option<(u64, u64, u32)> {
    let (first, mut rest) = memory.split_first()?;
    let (mut end, kind) = (first.end, memory_type(first.kind));
    while let Some((next, behind)) = rest.split_first()
        && next.start == end
        && memory_type(next.kind) == kind
    {
        end = next.end;
        rest = behind;
    }
    *memory = rest;
    Some((first.start, end, kind))
}

/// KiB of RAM from address 0 on, and from 1 MiB on: each up to the first hole. Page 0 is RAM, too,
/// although it is nobody's to take.
fn basic_memory(mut memory: &[Region]) -> [u32; 2] {
    let (mut low, mut high) = (0, 0);
    while let Some((start, end, kind)) = take_region(&mut memory) {
        if kind != AVAILABLE {
            continue;
        }
        if low == 0 {
            low = end.min(MIB);
        }
        if start <= MIB && end > MIB {
            high = end - MIB;
        }
    }
    [low, high].map(|bytes| (bytes / 1024).min(u32::MAX.into()) as u32)
}

/// The text that goes with a module: its own, or else its path.
fn module_text<'a>(module: &crate::entry::entry_file::Module<'a>) -> &'a str {
    if module.string.is_empty() {
        module.path
    } else {
        module.string
    }
}

/// Bytes that the information takes at most, in either version. `regions` is how many regions the
/// memory map will have at most.
pub fn size(info: &Information<'_>, regions: usize) -> usize {
    // All that have a fixed size, and the whole structure of version 1.
    const TAGS: usize = 1024 + vbe::CONTROLLER_BYTES + vbe::MODE_BYTES;
    let texts = info.entry.modules().map(|module| {
        let text = module_text(&module).len();
        text + TAG_BYTES + MODULE_BYTES + ALIGNMENT
    });
    TAGS + texts.sum::<usize>()
        + info.entry.command_line_length()
        + info.loader.len()
        + info.rsdp.len() * 2
        + info.smbios.len()
        + info.sections.map_or(0, |sections| sections.headers.len())
        + regions * MEMORY_ENTRY_BYTES as usize
}

/// Memory that is filled from the front. What does not fit any more is left out, and the end shows
/// it.
struct Writer<'a> {
    bytes: &'a mut [u8],
    /// Physical address of the first byte.
    base: u32,
    length: usize,
}

impl Writer<'_> {
    fn align(&mut self, to: usize) {
        let length = self.length.next_multiple_of(to);
        self.room(length - self.length);
    }

    /// The next bytes, all of them zero.
    #[inline(never)]
    fn room(&mut self, length: usize) -> &mut [u8] {
        let start = self.length;
        self.length = start.saturating_add(length);
        let room = self.bytes.get_mut(start..self.length).unwrap_or_default();
        room.fill(0);
        room
    }

    #[inline(never)]
    fn put(&mut self, bytes: &[u8]) {
        copy(bytes, self.room(bytes.len()));
    }

    /// Overwrites what is there already.
    #[inline(never)]
    fn put_at(&mut self, position: usize, bytes: &[u8]) {
        copy(bytes, self.bytes.get_mut(position..).unwrap_or_default());
    }

    #[inline(never)]
    fn word(&mut self, word: u32) {
        self.put(&word.to_le_bytes());
    }

    fn words(&mut self, words: &[u32]) {
        for word in words {
            self.word(*word);
        }
    }

    fn quadword(&mut self, quadword: u64) {
        self.put(&quadword.to_le_bytes());
    }

    /// A text and the zero byte behind it.
    #[inline(never)]
    fn text(&mut self, text: &str) {
        self.put(text.as_bytes());
        self.room(1);
    }

    fn command_line(&mut self, entry: &KernelEntry<'_>) {
        let room = self.room(entry.command_line_length() + 1);
        entry.copy_command_line(room);
    }

    /// Physical address of the next byte.
    const fn address(&self) -> u32 {
        self.base.wrapping_add(self.length as u32)
    }

    /// How much there is, if all of it fitted.
    fn finish(self) -> Option<usize> {
        (self.length <= self.bytes.len()).then_some(self.length)
    }
}

/// Where tags begin.
const ALIGNMENT: usize = 8;

/// Bytes of a tag's type and size.
const TAG_BYTES: usize = 8;

/// A region in the map of version 2: start, length, type, a zero; and in that of version 1, without
/// the size in front of it and the zero behind it.
const MEMORY_ENTRY_BYTES: u32 = 24;
const MEMORY_ENTRY_BYTES_1: u32 = 20;

/// A module in the table of version 1: start, end, text, a zero.
const MODULE_BYTES: usize = 16;

impl Writer<'_> {
    /// Begins a tag of version 2; returns where it is, for [`Writer::end`].
    #[inline(never)]
    fn begin(&mut self, kind: u32) -> usize {
        self.align(ALIGNMENT);
        let start = self.length;
        self.word(kind);
        self.word(0);
        start
    }

    /// Ends a tag: enters its size.
    #[inline(never)]
    fn end(&mut self, start: usize) {
        let size = self.length.saturating_sub(start) as u32;
        self.put_at(start + 4, &size.to_le_bytes());
    }

    /// A tag of version 2 with these bytes in it.
    #[inline(never)]
    fn tag(&mut self, kind: u32, bytes: &[u8]) {
        let start = self.begin(kind);
        self.put(bytes);
        self.end(start);
    }

    /// A tag of version 2 with these words in it.
    #[inline(never)]
    fn word_tag(&mut self, kind: u32, words: &[u32]) {
        let start = self.begin(kind);
        self.words(words);
        self.end(start);
    }
}

/// Writes the information of version 2 to `bytes`, which lie at a multiple of 8. Returns its length.
/// `None`: it does not fit.
pub fn multiboot2(info: &Information<'_>, bytes: &mut [u8]) -> Option<usize> {
    const NONE: u32 = u32::MAX;
    let mut out = Writer {
        bytes,
        base: 0,
        length: 0,
    };
    out.words(&[0, 0]); // length, and a zero

    let start = out.begin(tag::COMMAND_LINE);
    out.command_line(info.entry);
    out.end(start);
    let start = out.begin(tag::LOADER_NAME);
    out.text(info.loader);
    out.end(start);
    for (module, loaded) in info.entry.modules().zip(info.modules) {
        let start = out.begin(tag::MODULE);
        out.words(&ends(loaded));
        out.text(module_text(&module));
        out.end(start);
    }
    out.word_tag(tag::BASIC_MEMORY, &basic_memory(info.memory));
    if let Some(drive) = info.drive {
        let partition = u32::from(info.partition).checked_sub(1).unwrap_or(NONE);
        out.word_tag(tag::BOOT_DEVICE, &[drive.into(), partition, NONE]);
    }
    let start = out.begin(tag::MEMORY_MAP);
    out.words(&[MEMORY_ENTRY_BYTES, 0]);
    let mut memory = info.memory;
    while let Some((start, end, kind)) = take_region(&mut memory) {
        out.quadword(start);
        out.quadword(end - start);
        out.words(&[kind, 0]);
    }
    out.end(start);
    if let Some(screen) = info.screen {
        let (framebuffer, colors) = Framebuffer::of(&screen);
        let start = out.begin(tag::FRAMEBUFFER);
        out.put(framebuffer.as_bytes());
        out.room(2); // reserved: 16 bits, as the crates and GRUB have it
        if framebuffer.kind == RGB {
            out.put(&colors);
        }
        out.end(start);
    }
    if let Some(Screen::Graphics {
        mode,
        controller,
        info,
        interface,
    }) = info.screen
    {
        let start = out.begin(tag::VBE);
        out.put(Vbe::of(&mode, interface).as_bytes());
        out.put(controller);
        out.put(info);
        out.end(start);
    }
    if let Some(sections) = info.sections {
        let start = out.begin(tag::SECTIONS);
        // 32 bits each, as GRUB and its header file have it; the text has 16.
        out.words(&sections.numbers());
        out.put(sections.headers);
        out.end(start);
    }
    if let Some(apm) = info.apm {
        out.tag(tag::APM, apm.as_bytes());
    }
    // Version: where the 64-bit entry point structure has it, or the 32-bit one.
    let is_64_bit = info.smbios.starts_with(b"_SM3_");
    let version = if is_64_bit { 7..9 } else { 6..8 };
    if let Some(version) = info.smbios.get(version) {
        let start = out.begin(tag::SMBIOS);
        out.put(version);
        out.room(6);
        out.put(info.smbios);
        out.end(start);
    }
    if let Some(old) = info.rsdp.get(..RSDP_1_BYTES) {
        out.tag(tag::OLD_RSDP, old);
    }
    if info.rsdp.len() > RSDP_1_BYTES {
        out.tag(tag::NEW_RSDP, info.rsdp);
    }
    if let Some(base) = info.load_base {
        out.word_tag(tag::LOAD_BASE, &[base]);
    }
    out.tag(tag::END, &[]);

    let length = out.length as u32;
    out.put_at(0, &length.to_le_bytes());
    out.finish()
}

/// First byte of a module and the one behind it: below 4 GiB, where the loader reaches.
const fn ends(module: &LoadedModule) -> [u32; 2] {
    [module.start as u32, (module.start + module.length) as u32]
}

impl Sections<'_> {
    /// How many, how large, and which one has the names.
    fn numbers(&self) -> [u32; 3] {
        let SectionTable {
            count,
            entry_size,
            names,
            ..
        } = self.table;
        [count.into(), entry_size.into(), names.into()]
    }
}

/// The same in both versions.
#[derive(FromBytes, KnownLayout, IntoBytes, Immutable, Unaligned)]
#[repr(C)]
struct Framebuffer {
    address: U64,
    pitch: U32,
    width: U32,
    height: U32,
    bits_per_pixel: u8,
    kind: u8,
}

/// Types of framebuffers.
const RGB: u8 = 1;
const EGA_TEXT: u8 = 2;

impl Framebuffer {
    /// The framebuffer; and position and size of red, green and blue in a pixel.
    fn of(screen: &Screen<'_>) -> (Self, [u8; 6]) {
        /// A character and its colours.
        const CELL: u32 = 2;
        match *screen {
            Screen::Text {
                address,
                columns,
                rows,
            } => {
                let text = Self {
                    address: address.into(),
                    pitch: (columns * CELL).into(),
                    width: columns.into(),
                    height: rows.into(),
                    bits_per_pixel: 8 * CELL as u8,
                    kind: EGA_TEXT,
                };
                (text, [0; 6])
            }
            Screen::Graphics { mode, .. } => {
                let graphics = Self {
                    address: u64::from(mode.address).into(),
                    pitch: u32::from(mode.pitch).into(),
                    width: u32::from(mode.width).into(),
                    height: u32::from(mode.height).into(),
                    bits_per_pixel: mode.bits_per_pixel,
                    kind: RGB,
                };
                let [red, green, blue] = mode.colors;
                let colors = [
                    red.position,
                    red.size,
                    green.position,
                    green.size,
                    blue.position,
                    blue.size,
                ];
                (graphics, colors)
            }
        }
    }
}

/// The same in both versions: the number of the mode, as function 03h says it; segment, offset and
/// length of the table for protected mode.
#[derive(FromBytes, KnownLayout, IntoBytes, Immutable, Unaligned)]
#[repr(C)]
struct Vbe([U16; 4]);

impl Vbe {
    fn of(mode: &Mode, [segment, offset, length]: [u16; 3]) -> Self {
        Self([mode.number | vbe::LINEAR, segment, offset, length].map(U16::new))
    }
}

/// The structure of version 1.
#[derive(FromBytes, KnownLayout, IntoBytes, Immutable, Unaligned)]
#[repr(C)]
struct Information1 {
    flags: U32,
    memory: [U32; 2],
    boot_device: [u8; 4],
    command_line: U32,
    module_count: U32,
    modules: U32,
    section_count: U32,
    section_size: U32,
    sections: U32,
    section_names: U32,
    memory_map_length: U32,
    memory_map: U32,
    drives: [U32; 2],
    config_table: U32,
    loader: U32,
    apm: U32,
    /// Addresses of VbeInfoBlock and ModeInfoBlock.
    vbe_blocks: [U32; 2],
    vbe: Vbe,
    framebuffer: Framebuffer,
    color_info: [u8; 6],
}

const _: () = assert!(size_of::<Information1>() == 116);

/// Bits of the flags of version 1.
mod flag {
    pub const MEMORY: usize = 0;
    pub const BOOT_DEVICE: usize = 1;
    pub const COMMAND_LINE: usize = 2;
    pub const MODULES: usize = 3;
    pub const SECTIONS: usize = 5;
    pub const MEMORY_MAP: usize = 6;
    pub const LOADER: usize = 9;
    pub const APM: usize = 10;
    pub const VBE: usize = 11;
    pub const FRAMEBUFFER: usize = 12;
}

/// Writes the information of version 1 to `bytes`, which lie at the physical address `base`, a
/// multiple of 8. Returns its length. `None`: it does not fit.
pub fn multiboot1(info: &Information<'_>, bytes: &mut [u8], base: u32) -> Option<usize> {
    let mut out = Writer {
        bytes,
        base,
        length: 0,
    };
    let mut head = Information1::new_zeroed();
    let mut flags = 0_u32;
    out.room(size_of::<Information1>());

    flags.set_bit(flag::MEMORY, true);
    head.memory = basic_memory(info.memory).map(U32::new);
    if let Some(drive) = info.drive {
        flags.set_bit(flag::BOOT_DEVICE, true);
        let partition = info.partition.checked_sub(1).unwrap_or(0xFF);
        head.boot_device = [0xFF, 0xFF, partition, drive];
    }

    flags.set_bit(flag::COMMAND_LINE, true);
    head.command_line = out.address().into();
    out.command_line(info.entry);
    flags.set_bit(flag::LOADER, true);
    head.loader = out.address().into();
    out.text(info.loader);

    flags.set_bit(flag::MODULES, true);
    let count = info.modules.len().min(info.entry.modules().count());
    head.module_count = (count as u32).into();
    out.align(ALIGNMENT);
    head.modules = out.address().into();
    let table = out.length;
    out.room(count * MODULE_BYTES);
    for (index, (module, loaded)) in info.entry.modules().zip(info.modules).enumerate() {
        let text = out.address();
        out.text(module_text(&module));
        let [start, end] = ends(loaded);
        let words = [start, end, text].map(U32::new);
        out.put_at(table + index * MODULE_BYTES, words.as_bytes());
    }

    if let Some(sections) = info.sections {
        flags.set_bit(flag::SECTIONS, true);
        let [count, size, names] = sections.numbers().map(U32::new);
        (head.section_count, head.section_size, head.section_names) = (count, size, names);
        out.align(ALIGNMENT);
        head.sections = out.address().into();
        out.put(sections.headers);
    }

    flags.set_bit(flag::MEMORY_MAP, true);
    out.align(ALIGNMENT);
    head.memory_map = out.address().into();
    let start = out.length;
    let mut memory = info.memory;
    while let Some((start, end, kind)) = take_region(&mut memory) {
        // The size of what follows stands in front of it.
        out.word(MEMORY_ENTRY_BYTES_1);
        out.quadword(start);
        out.quadword(end - start);
        out.word(kind);
    }
    head.memory_map_length = (out.length.saturating_sub(start) as u32).into();

    if let Some(apm) = info.apm {
        flags.set_bit(flag::APM, true);
        out.align(ALIGNMENT);
        head.apm = out.address().into();
        out.put(apm.as_bytes());
    }
    if let Some(screen) = info.screen {
        flags.set_bit(flag::FRAMEBUFFER, true);
        (head.framebuffer, head.color_info) = Framebuffer::of(&screen);
    }
    if let Some(Screen::Graphics {
        mode,
        controller,
        info,
        interface,
    }) = info.screen
    {
        flags.set_bit(flag::VBE, true);
        head.vbe = Vbe::of(&mode, interface);
        for (address, block) in head.vbe_blocks.iter_mut().zip([controller, info]) {
            out.align(ALIGNMENT);
            *address = out.address().into();
            out.put(block);
        }
    }
    head.flags = flags.into();
    out.put_at(0, head.as_bytes());
    out.finish()
}
