//! Step 12, for kernels that want a framebuffer: graphics modes, by the VBE BIOS (INT 10h AH=4Fh).
//!
//! Finds the modes, chooses the one that comes closest to a wish, and sets it. Only modes of direct
//! colour with a linear framebuffer count: a kernel can draw into these without the BIOS.
//!
//! A mode counts only if everything that the BIOS says about it is plausible, because a kernel that
//! draws into it cannot check that. There are lists without an end, listed modes that do not exist,
//! rows that are shorter than their pixels, colours that overlap, and framebuffers that would be
//! RAM.
//!
//! Sources: VESA BIOS Extension Core Functions Standard 3.0; VESA BIOS Extension/Display Data
//! Channel Standard 1.1; VESA Enhanced EDID Standard, release A.

use core::ops::Range;

use arrayvec::ArrayVec;
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::bios::firmware::{Bios, Registers};
use crate::bios::int10;
use crate::memory::address::PhysAddr;
use crate::memory::layout::{EARLY_REACH, TRANSFER_BUFFER};
use crate::memory::map::{MIB, MemoryKind, Region};

/// Where INT 10h puts its information on the controller, on a mode, and on the monitor. Each block
/// has more room than it needs, for BIOSes that write too much.
pub const CONTROLLER_BLOCK: u64 = TRANSFER_BUFFER.start;
/// See [`CONTROLLER_BLOCK`].
pub const MODE_BLOCK: u64 = TRANSFER_BUFFER.start + 0x1000;
const EDID_BLOCK: u64 = TRANSFER_BUFFER.start + 0x2000;

/// Bytes of the controller's information (VbeInfoBlock) and of a mode's (ModeInfoBlock).
pub const CONTROLLER_BYTES: usize = 512;
/// See [`CONTROLLER_BYTES`].
pub const MODE_BYTES: usize = 256;

/// Maximum number of entries of the BIOS's list that are examined.
const MAX_LISTED: usize = 256;

/// Maximum number of modes that are kept.
pub const MAX_MODES: usize = 128;

/// Maximum number of modes that are tried, if one cannot be set.
const TRIES: usize = 4;

/// The size if the kernel asks for none, and the monitor prefers none that can be set.
const USUAL: (u16, u16) = (1024, 768);

/// A base block of EDID.
pub type Edid = [u8; 128];

/// The start of VbeInfoBlock.
#[derive(FromBytes, IntoBytes, Immutable, Unaligned)]
#[repr(C)]
struct ControllerInfo {
    signature: [u8; 4],
    version: U16,
    oem_string: U32,
    capabilities: U32,
    /// Offset and segment.
    mode_list: [U16; 2],
    total_memory: U16,
}

/// The start of ModeInfoBlock.
#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct ModeInfo {
    attributes: U16,
    windows: [u8; 14],
    bytes_per_scan_line: U16,
    width: U16,
    height: U16,
    character: [u8; 2],
    planes: u8,
    bits_per_pixel: u8,
    banks: u8,
    memory_model: u8,
    bank_size: u8,
    image_pages: u8,
    reserved: u8,
    /// Size and position of red, green, blue and the reserved bits.
    colors: [[u8; 2]; 4],
    color_attributes: u8,
    address: U32,
    off_screen: [u8; 6],
    /// From VBE 3.0 on, the values for the linear framebuffer.
    linear_bytes_per_scan_line: U16,
    linear_image_pages: [u8; 2],
    linear_colors: [[u8; 2]; 4],
}

/// One colour of a pixel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Field {
    /// Its lowest bit.
    pub position: u8,
    /// Number of bits.
    pub size: u8,
}

/// A mode that a kernel can draw in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode {
    /// The BIOS's number.
    pub number: u16,
    /// Pixels in a row.
    pub width: u16,
    /// Rows.
    pub height: u16,
    /// Bytes from one row to the next.
    pub pitch: u16,
    /// Physical address of the first pixel.
    pub address: u32,
    /// 15, 16, 24 or 32; a pixel takes as many whole bytes as that needs.
    pub bits_per_pixel: u8,
    /// Red, green and blue.
    pub colors: [Field; 3],
}

impl Mode {
    /// The mode that `info` describes, if a kernel can draw in it. `version` is that of VBE: 0300h.
    fn new(number: u16, info: &ModeInfo, version: u16) -> Option<Self> {
        /// Supported by the hardware, graphics, with a linear framebuffer.
        const ATTRIBUTES: u16 = 1 << 0 | 1 << 4 | 1 << 7;
        const DIRECT_COLOR: u8 = 6;

        let supported = info.attributes.get() & ATTRIBUTES == ATTRIBUTES;
        if !supported || info.memory_model != DIRECT_COLOR {
            return None;
        }
        // Some BIOSes of version 3.0 leave these fields alone.
        let linear = info.linear_bytes_per_scan_line.get();
        let (pitch, colors) = match version >= 0x0300 && linear != 0 {
            true => (linear, &info.linear_colors),
            false => (info.bytes_per_scan_line.get(), &info.colors),
        };
        let mode = Self {
            number,
            width: info.width.get(),
            height: info.height.get(),
            pitch,
            address: info.address.get(),
            bits_per_pixel: info.bits_per_pixel,
            colors: colors_of(colors, info.bits_per_pixel)
                .or_else(|| colors_of(&info.colors, info.bits_per_pixel))?,
        };
        let row = u32::from(mode.width) * mode.bytes_per_pixel();
        let good = mode.width > 0
            && mode.height > 0
            && u32::from(mode.pitch) >= row
            && mode.start().as_u64() >= MIB
            && mode.end() <= EARLY_REACH;
        good.then_some(mode)
    }

    fn bytes_per_pixel(&self) -> u32 {
        u32::from(self.bits_per_pixel).div_ceil(8)
    }

    /// The first byte of the framebuffer.
    pub fn start(&self) -> PhysAddr {
        self.address.into()
    }

    /// The byte behind the last row.
    pub fn end(&self) -> PhysAddr {
        self.start() + u64::from(self.pitch) * u64::from(self.height)
    }

    /// Whether the framebuffer overlaps known memory.
    fn is_in_ram(&self, memory: &[Region]) -> bool {
        let start = self.start();
        memory
            .iter()
            .filter(|region| !matches!(region.kind, MemoryKind::Reserved | MemoryKind::Framebuffer))
            .any(|region| region.start < self.end() && start < region.end)
    }
}

/// The first three fields, if they lie in a pixel of `bits_per_pixel` bits, side by side.
fn colors_of(fields: &[[u8; 2]; 4], bits_per_pixel: u8) -> Option<[Field; 3]> {
    const MAX_COLOR_BITS: u8 = 10;

    if !matches!(bits_per_pixel, 15 | 16 | 24 | 32) {
        return None;
    }
    let [red, green, blue, _] = fields.map(|[size, position]| Field { position, size });
    let mut used = 0_u32;
    for Field { position, size } in [red, green, blue] {
        let end = u16::from(position) + u16::from(size);
        if !(1..=MAX_COLOR_BITS).contains(&size) || end > bits_per_pixel.into() {
            return None;
        }
        let bits = ((1 << size) - 1) << position;
        if used & bits != 0 {
            return None;
        }
        used |= bits;
    }
    Some([red, green, blue])
}

/// The mode that a kernel asks for; the loader chooses every value that is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Bits per pixel.
    pub depth: u32,
}

/// The BIOS's information on the graphics adapter and its monitor.
#[derive(Debug, Default)]
pub struct Adapter {
    listed: ArrayVec<u16, MAX_LISTED>,
    modes: ArrayVec<Mode, MAX_MODES>,
    edid: Option<Edid>,
}

impl Adapter {
    /// An adapter of which nothing is known yet.
    pub const fn new() -> Self {
        Self {
            listed: ArrayVec::new_const(),
            modes: ArrayVec::new_const(),
            edid: None,
        }
    }

    /// Modes to draw in, in the BIOS's order; none before [`Adapter::ask`], or when there is no
    /// VBE.
    pub fn modes(&self) -> &[Mode] {
        &self.modes
    }

    /// Keeps only the modes that `suits` accepts.
    pub fn keep(&mut self, suits: fn(&Mode) -> bool) {
        self.modes.retain(|mode| suits(mode));
    }

    /// The monitor's description of itself.
    pub fn edid(&self) -> Option<&Edid> {
        self.edid.as_ref()
    }

    /// Asks the BIOS for modes and, if there are any, for the monitor. Modes whose framebuffer lies
    /// in `memory` do not count.
    pub fn ask(&mut self, bios: &mut impl Bios, memory: &[Region]) {
        *self = Self::new();
        let Some(version) = self.list(bios) else {
            return;
        };
        for &number in &self.listed {
            if ask_mode(bios, number)
                && let Some(mode) = Mode::new(number, &bios.read(MODE_BLOCK), version)
                && !mode.is_in_ram(memory)
            {
                let _ = self.modes.try_push(mode); // enough to choose from
            }
        }
        if !self.modes.is_empty() {
            self.edid = ask_edid(bios);
        }
    }

    /// Fetches the list of modes; returns the version of VBE. `None`: there is no VBE, or none with
    /// linear framebuffers, which 2.0 introduced.
    fn list(&mut self, bios: &mut impl Bios) -> Option<u16> {
        /// Asks for all 512 bytes.
        const WANTED: [u8; 4] = *b"VBE2";
        const SIGNATURE: [u8; 4] = *b"VESA";
        const END: u16 = 0xFFFF;
        /// In a mode number, higher bits say how to set the mode.
        const NUMBERS: Range<u16> = 0x100..0x800;

        let mut block = [0; CONTROLLER_BYTES];
        block[..4].copy_from_slice(&WANTED);
        bios.write(CONTROLLER_BLOCK, &block);
        call(bios, to_buffer(0x4F00, CONTROLLER_BLOCK))?;
        let info = bios.read::<ControllerInfo>(CONTROLLER_BLOCK);
        let version = info.version.get();
        if info.signature != SIGNATURE || version < 0x0200 {
            return None;
        }
        // The list is in ROM, or in the block itself: copied before the BIOS is called again.
        let [offset, segment] = info.mode_list.map(U16::get);
        for index in 0..MAX_LISTED as u16 {
            let offset = offset.wrapping_add(2 * index);
            let address = u64::from(segment) * 16 + u64::from(offset);
            if address == 0 || address + 2 > MIB {
                break;
            }
            let number = bios.read::<U16>(address).get();
            if number == END {
                break;
            }
            if NUMBERS.contains(&number) && !self.listed.contains(&number) {
                let _ = self.listed.try_push(number); // there is room for all that are looked at
            }
        }
        Some(version)
    }

    /// The mode that comes closest to a wish, with its framebuffer inside of `within`.
    ///
    /// The mode has the size that is asked for, or else the largest one that is not larger, or else
    /// the smallest one; among these, the depth that is asked for, or else the most bits. If no
    /// size is asked for, the one that the monitor prefers counts, if there is such a mode, or else
    /// `USUAL`.
    pub fn choose(&self, wish: &Wish, within: &Range<PhysAddr>) -> Option<Mode> {
        let has = |&(width, height): &(u16, u16)| {
            self.modes
                .iter()
                .any(|mode| (mode.width, mode.height) == (width, height))
        };
        let (width, height) = match (wish.width, wish.height) {
            (0, 0) => {
                let preferred = self.edid.as_ref().and_then(preferred).filter(has);
                let (width, height) = preferred.unwrap_or(USUAL);
                (width.into(), height.into())
            }
            size => size,
        };
        let fits = |mode: &&Mode| within.start <= mode.start() && mode.end() <= within.end;
        let key = |mode: &&Mode| {
            let is = |wanted: u32, found: u16| wanted == 0 || wanted == u32::from(found);
            let most = |wanted: u32, found: u16| wanted == 0 || wanted >= found.into();
            let area = u32::from(mode.width) * u32::from(mode.height);
            let (class, distance) = if is(width, mode.width) && is(height, mode.height) {
                (0, u32::MAX - area)
            } else if most(width, mode.width) && most(height, mode.height) {
                (1, u32::MAX - area)
            } else {
                (2, area)
            };
            let bits = mode.bits_per_pixel;
            let depth = match wish.depth == bits.into() {
                true => 0,
                false => u8::MAX - bits,
            };
            (class, distance, depth)
        };
        self.modes.iter().filter(fits).min_by_key(key).copied()
    }

    /// Sets the mode that [`Adapter::choose`] chooses, or the next one if the BIOS cannot set it.
    /// `None`: the screen shows text.
    ///
    /// Modes that cannot be set are removed. [`MODE_BLOCK`] then describes the mode that was set.
    pub fn set(
        &mut self,
        bios: &mut impl Bios,
        wish: &Wish,
        within: &Range<PhysAddr>,
    ) -> Option<Mode> {
        for _ in 0..TRIES {
            let mode = self.choose(wish, within)?;
            if ask_mode(bios, mode.number) {
                if set_mode(bios, mode.number) {
                    return Some(mode);
                }
                int10::set_text_mode(bios);
            }
            self.modes.retain(|other| other.number != mode.number);
        }
        None
    }
}

/// Flag in a mode number: use the linear framebuffer.
pub const LINEAR: u16 = 1 << 14;

/// Registers for a function that writes to a block.
fn to_buffer(function: u32, block: u64) -> Registers {
    Registers {
        es: (TRANSFER_BUFFER.start >> 4) as u16,
        edi: (block - TRANSFER_BUFFER.start) as u32,
        ..Registers::new(function)
    }
}

/// Calls a function. `None`: there is no such function (AL), or it failed (AH).
fn call(bios: &mut impl Bios, mut registers: Registers) -> Option<Registers> {
    const SUCCESS: u16 = 0x004F;
    bios.call(0x10, &mut registers);
    (registers.eax as u16 == SUCCESS).then_some(registers)
}

/// Function 01h: makes the BIOS fill [`MODE_BLOCK`]; some BIOSes do not write all of it.
fn ask_mode(bios: &mut impl Bios, number: u16) -> bool {
    bios.write(MODE_BLOCK, &[0_u8; MODE_BYTES]);
    let registers = Registers {
        ecx: number.into(),
        ..to_buffer(0x4F01, MODE_BLOCK)
    };
    call(bios, registers).is_some()
}

/// Function 02h, and function 03h to see whether anything happened.
fn set_mode(bios: &mut impl Bios, number: u16) -> bool {
    /// Modes of the VGA have lower numbers.
    const FIRST: u16 = 0x100;
    const NUMBER: u16 = (1 << 14) - 1;

    let set = Registers {
        ebx: (number | LINEAR).into(),
        ..Registers::new(0x4F02)
    };
    // If function 03h is missing, or has another number for the mode, function 02h is believed.
    call(bios, set).is_some()
        && call(bios, Registers::new(0x4F03)).is_none_or(|now| now.ebx as u16 & NUMBER >= FIRST)
}

/// Function 0Ah: segment, offset and length of the table for protected mode; zeros if there is
/// none.
pub fn protected_mode_interface(bios: &mut impl Bios) -> [u16; 3] {
    call(bios, Registers::new(0x4F0A)).map_or([0; 3], |table| {
        [table.es, table.edi as u16, table.ecx as u16]
    })
}

/// Function 15h: the monitor's EDID, if the answer is one.
fn ask_edid(bios: &mut impl Bios) -> Option<Edid> {
    const READ: u32 = 1;
    const HEADER: [u8; 8] = [0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0];

    bios.write(EDID_BLOCK, &[0_u8; size_of::<Edid>()]);
    let registers = Registers {
        ebx: READ,
        ..to_buffer(0x4F15, EDID_BLOCK)
    };
    call(bios, registers)?;
    let edid = bios.read::<Edid>(EDID_BLOCK);
    let sum = edid.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    (edid.starts_with(&HEADER) && sum == 0).then_some(edid)
}

/// Width and height of the timing that a monitor prefers: its first detailed one. `None`: there is
/// none, or it is interlaced.
pub fn preferred(edid: &Edid) -> Option<(u16, u16)> {
    let timing: &[u8; 18] = edid.get(54..)?.first_chunk()?;
    let clock = u16::from_le_bytes([timing[0], timing[1]]);
    // The upper four bits of the active size share a byte with those of the blanking.
    let pixels =
        |low: usize, high: usize| u16::from(timing[high] >> 4) << 8 | u16::from(timing[low]);
    let interlaced = timing[17] & 0x80 != 0;
    (clock != 0 && !interlaced).then(|| (pixels(2, 4), pixels(5, 7)))
}
