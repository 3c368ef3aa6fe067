//! Step 12, for Multiboot: the boot information, of version 1 or 2.
//!
//! Both versions present the same facts ([`Information`]) in different forms. The caller allocates
//! the memory, [`size`] bytes below 4 GiB. All addresses in the information are physical.
//!
//! Sources: Multiboot Specification 0.6.96, section 3.3; Multiboot2 Specification 2.0, section 3.6.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::bios::vbe::{self, Mode};
use crate::entry::entry_file::KernelEntry;
use crate::kernel::placement::LoadedModule;
use crate::memory::map::{MIB, MemoryKind, Region};
use crate::ways_out::multiboot::elf::SectionTable;

mod apm;
mod writer;
mod one;
mod two;

pub use apm::Apm;
pub use one::multiboot1;
pub use two::multiboot2;

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
    /// The answers of the VBE BIOS.
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
    /// Where a relocatable kernel is. This is the last known type.
    pub const LOAD_BASE: u32 = 21;
}

/// The screen and its mode.
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

/// The section headers, with the addresses of loaded sections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sections<'a> {
    /// Their number and size.
    pub table: SectionTable,
    /// The headers themselves.
    pub headers: &'a [u8],
}

/// The facts for the kernel.
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
    /// The whole RSDP; empty: none was found.
    pub rsdp: &'a [u8],
    /// The entry point structure of SMBIOS; empty: none was found.
    pub smbios: &'a [u8],
    /// Where a relocatable kernel is.
    pub load_base: Option<u32>,
}

/// Length of the RSDP of ACPI 1.0.
pub const RSDP_1_BYTES: usize = 20;

/// Types of memory in both specifications, which are those of INT 15h E820. Both demand that the
/// memory of the loader, the kernel and its modules is reported as RAM.
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

/// Takes the next region, as a kernel sees it, off the front: adjacent regions of the same type are
/// merged. Returns start, end and type.
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
    Some((first.start.as_u64(), end.as_u64(), kind))
}

/// KiB of RAM from address 0 on, and from 1 MiB on: each up to the first hole. If page 0 is
/// reserved, it counts as RAM nevertheless.
fn basic_memory(mut memory: &[Region]) -> [u32; 2] {
    let (mut low, mut high) = (0, 0);
    while let Some((start, end, kind)) = take_region(&mut memory) {
        if kind != AVAILABLE {
            continue;
        }
        if low == 0 && start < MIB {
            low = end.min(MIB);
        }
        if start <= MIB && end > MIB {
            high = end - MIB;
        }
    }
    [low, high].map(|bytes| (bytes / 1024).min(u32::MAX.into()) as u32)
}

/// The most bytes that the information takes, in either version. `regions` is the most regions that
/// the memory map will have.
pub fn size(info: &Information<'_>, regions: usize) -> usize {
    // All tags of fixed size, and the whole structure of version 1.
    const TAGS: usize = 1024 + vbe::CONTROLLER_BYTES + vbe::MODE_BYTES;
    let texts = info.entry.modules().map(|module| {
        let text = module.path.len() + 1 + module.string.len();
        text + TAG_BYTES + MODULE_BYTES + ALIGNMENT
    });
    TAGS + texts.sum::<usize>()
        + info.entry.kernel_path().len()
        + 1
        + info.entry.command_line_length()
        + info.loader.len()
        + info.rsdp.len() * 2
        + info.smbios.len()
        + info.sections.map_or(0, |sections| sections.headers.len())
        + regions * MEMORY_ENTRY_BYTES as usize
}

/// The alignment of tags.
const ALIGNMENT: usize = 8;

/// Bytes of a tag's type and size.
const TAG_BYTES: usize = 8;

/// Bytes of a region in the map of version 2: start, length, type, a zero. That of version 1 is
/// shorter.
const MEMORY_ENTRY_BYTES: u32 = 24;

/// Bytes of a module in the table of version 1: start, end, text, a zero.
const MODULE_BYTES: usize = 16;

/// First byte of a module and the one behind it: below 4 GiB, where the loader reaches.
fn ends(module: &LoadedModule) -> [u32; 2] {
    let start = module.start.as_u64();
    [start as u32, (start + module.length) as u32]
}

impl Sections<'_> {
    /// The number and size of headers, and the number of the section with the names.
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

/// The fields that both versions have.
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

/// The fields that both versions have: the number of the mode, as function 03h reports it; segment,
/// offset and length of the table for protected mode.
#[derive(FromBytes, KnownLayout, IntoBytes, Immutable, Unaligned)]
#[repr(C)]
struct Vbe([U16; 4]);

impl Vbe {
    fn of(mode: &Mode, [segment, offset, length]: [u16; 3]) -> Self {
        Self([mode.number | vbe::LINEAR, segment, offset, length].map(U16::new))
    }
}
