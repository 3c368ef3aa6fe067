//! Step 10, for a Linux kernel: what its setup header says, where its parts go in memory, and what
//! it gets told.
//!
//! A bzImage begins with a boot sector and setup code for real mode; behind them lies the
//! protected-mode kernel. The setup header at 1F1h of the file says how to load both, and has fields
//! for the loader to fill in. A kernel that is entered in real mode finds them there; entered in
//! protected or in long mode, it gets a page of [`BootParams`] with a copy of the header in the same
//! place, and what the setup code would have asked the BIOS for.
//!
//! Source: Linux, Documentation/arch/x86/boot.rst and zero-page.rst, for protocols 2.02 to 2.15; the
//! structures as in arch/x86/include/uapi/asm/bootparam.h and include/uapi/linux/screen_info.h.

use core::fmt;
use core::mem::{offset_of, size_of};
use core::ops;

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::disk::stream::Range;
use crate::entry::protocol::LinuxEntry;
use crate::errors::catalogue::{self, Entry, Named};
use crate::errors::text::{copy, facts};
use crate::memory::layout::{EARLY_REACH, FILE_CACHE, PAGE_SIZE};
use crate::memory::map::{MIB, MemoryKind, MemoryMap, OutOfMemory, Request};
use crate::memory::placement::allocate;

/// The setup header, from 1F1h of the file on.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
#[expect(missing_docs, reason = "the names are boot.rst's")]
pub struct SetupHeader {
    pub setup_sects: u8,
    pub root_flags: U16,
    pub syssize: U32,
    pub ram_size: U16,
    pub vid_mode: U16,
    pub root_dev: U16,
    pub boot_flag: U16,
    pub jump: [u8; 2],
    pub header: [u8; 4],
    pub version: U16,
    pub realmode_swtch: U32,
    pub start_sys_seg: U16,
    pub kernel_version: U16,
    pub type_of_loader: u8,
    pub loadflags: u8,
    pub setup_move_size: U16,
    pub code32_start: U32,
    pub ramdisk_image: U32,
    pub ramdisk_size: U32,
    pub bootsect_kludge: U32,
    pub heap_end_ptr: U16,
    pub ext_loader_ver: u8,
    pub ext_loader_type: u8,
    pub cmd_line_ptr: U32,
    pub initrd_addr_max: U32,
    pub kernel_alignment: U32,
    pub relocatable_kernel: u8,
    pub min_alignment: u8,
    pub xloadflags: U16,
    pub cmdline_size: U32,
    pub hardware_subarch: U32,
    pub hardware_subarch_data: U64,
    pub payload_offset: U32,
    pub payload_length: U32,
    pub setup_data: U64,
    pub pref_address: U64,
    pub init_size: U32,
    pub handover_offset: U32,
    pub kernel_info_offset: U32,
}

/// Offset of the [`SetupHeader`] in the file and in the [`BootParams`].
pub const HEADER: usize = 0x1F1;
/// What the second byte of the header's jump is relative to.
const AFTER_JUMP: usize = 0x202;
/// First byte of a [`BootParams`] that is not for the header. So much of the file has to be read to
/// know all of it.
pub const HEADER_ROOM: usize = 0x290;

/// The screen, as the BIOS left it.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
#[expect(missing_docs, reason = "the names are screen_info.h's")]
pub struct ScreenInfo {
    pub orig_x: u8,
    pub orig_y: u8,
    pub ext_mem_k: U16,
    pub orig_video_page: U16,
    pub orig_video_mode: u8,
    pub orig_video_cols: u8,
    pub flags: u8,
    pub unused2: u8,
    pub orig_video_ega_bx: U16,
    pub unused3: U16,
    pub orig_video_lines: u8,
    pub orig_video_is_vga: u8,
    pub orig_video_points: U16,
    /// For a linear frame buffer; 0 in text mode.
    pub graphics: [u8; 46],
}

/// An entry of the memory map.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct E820Entry {
    /// First byte.
    pub address: U64,
    /// Bytes.
    pub size: U64,
    /// As INT 15h E820 has it.
    pub kind: U32,
}

/// Entries of the memory map in a [`BootParams`].
pub const E820_ENTRIES: usize = 128;

/// The "zero page".
#[derive(Clone, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
#[expect(missing_docs, reason = "the names are bootparam.h's")]
pub struct BootParams {
    pub screen_info: ScreenInfo,
    pub apm_bios_info: [u8; 20],
    pub pad2: [u8; 4],
    pub tboot_addr: U64,
    pub ist_info: [u8; 16],
    pub acpi_rsdp_addr: U64,
    pub pad3: [u8; 72],
    pub ext_ramdisk_image: U32,
    pub ext_ramdisk_size: U32,
    pub ext_cmd_line_ptr: U32,
    pub pad4: [u8; 276],
    pub alt_mem_k: U32,
    pub scratch: U32,
    pub e820_entries: u8,
    pub eddbuf_entries: u8,
    pub edd_mbr_sig_buf_entries: u8,
    pub kbd_status: u8,
    pub secure_boot: u8,
    pub pad5: [u8; 2],
    pub sentinel: u8,
    pub pad6: u8,
    pub header: [u8; HEADER_ROOM - HEADER],
    pub edd_mbr_sig_buffer: [u8; 64],
    pub e820_table: [E820Entry; E820_ENTRIES],
    pub rest: [u8; 0x330],
}

const _: () = {
    assert!(size_of::<SetupHeader>() == 0x26C - HEADER);
    assert!(size_of::<ScreenInfo>() == 0x40);
    assert!(size_of::<BootParams>() == PAGE_SIZE as usize);
    assert!(offset_of!(BootParams, acpi_rsdp_addr) == 0x70);
    assert!(offset_of!(BootParams, ext_ramdisk_image) == 0xC0);
    assert!(offset_of!(BootParams, alt_mem_k) == 0x1E0);
    assert!(offset_of!(BootParams, sentinel) == 0x1EF);
    assert!(offset_of!(BootParams, header) == HEADER);
    assert!(offset_of!(BootParams, e820_table) == 0x2D0);
};

/// `loadflags`: the protected-mode kernel goes to 1 MiB, not to 64 KiB.
const LOADED_HIGH: u8 = 1 << 0;
/// `loadflags`: `heap_end_ptr` is valid.
const CAN_USE_HEAP: u8 = 1 << 7;
/// `xloadflags`: there is a 64-bit entry, 200h behind the 32-bit one.
const XLF_KERNEL_64: u16 = 1 << 0;
/// `type_of_loader` of those that have no number.
const NO_NUMBER: u8 = 0xFF;
/// `vid_mode`: leave the screen as it is (`vga=normal`).
const VIDEO_NORMAL: u16 = 0xFFFF;
/// Type of a `setup_data` with more memory map.
const SETUP_E820_EXT: u32 = 1;

/// The oldest protocol that is spoken: the command line is found by `cmd_line_ptr`, and the setup
/// code stays where it is put. What fields it has ends here.
const OLDEST: u16 = 0x0202;
const OLDEST_END: usize = 0x22C;
/// Where its fields end that came later, from the start of the header.
const FIELD_ENDS: [usize; 15] = [
    offset_of!(SetupHeader, kernel_alignment),
    offset_of!(SetupHeader, relocatable_kernel),
    offset_of!(SetupHeader, min_alignment),
    offset_of!(SetupHeader, xloadflags),
    offset_of!(SetupHeader, cmdline_size),
    offset_of!(SetupHeader, hardware_subarch),
    offset_of!(SetupHeader, hardware_subarch_data),
    offset_of!(SetupHeader, payload_offset),
    offset_of!(SetupHeader, payload_length),
    offset_of!(SetupHeader, setup_data),
    offset_of!(SetupHeader, pref_address),
    offset_of!(SetupHeader, init_size),
    offset_of!(SetupHeader, handover_offset),
    offset_of!(SetupHeader, kernel_info_offset),
    size_of::<SetupHeader>(),
];
/// The protocol since which the other entries are described; older kernels are entered in real mode.
const DIRECT_ENTRIES: u16 = 0x0207;

/// Where a kernel goes that has no other wish, and that cannot be moved (physical address).
pub const KERNEL_START: u64 = MIB;
/// Boot sector and setup code have at most so many bytes.
pub const MAX_SETUP: usize = 0x8000;
/// The highest byte of an initial RAM disk, for kernels that do not say.
const OLD_INITRD_MAX: u32 = 0x37FF_FFFF;
/// The longest command line, for kernels that do not say.
const OLD_COMMAND_LINE: u32 = 255;
/// Memory that a kernel needs that does not say, in sizes of its file.
const UNPACKED: u64 = 3;

/// Where things are when the kernel starts. All of it is in the file system's windows, which nobody
/// needs then: below 640 KiB, above the loader.
pub mod place {
    use super::{FILE_CACHE, PAGE_SIZE};

    /// The [`BootParams`](super::BootParams), or boot sector and setup code with their stack.
    pub const PARAMETERS: u64 = FILE_CACHE.start;
    /// Offset there of the end of the setup code's stack and heap.
    pub const HEAP_END: u16 = 0xE000;
    /// The command line and a zero byte.
    pub const COMMAND_LINE: u64 = PARAMETERS + 0x1_0000;
    /// The `setup_data` with what of the memory map is too much for the parameters.
    pub const SETUP_DATA: u64 = COMMAND_LINE + 0x5000;
    /// Room for it.
    pub const SETUP_DATA_SIZE: u64 = 3 * PAGE_SIZE;

    const _: () = {
        assert!(PARAMETERS.is_multiple_of(PAGE_SIZE) && PARAMETERS >= 0x1_0000);
        assert!(crate::entry::entry_file::MAX_FILE < 0x5000);
        assert!(SETUP_DATA + SETUP_DATA_SIZE <= FILE_CACHE.end);
        assert!(crate::memory::map::CAPACITY * 20 + 16 <= SETUP_DATA_SIZE as usize);
    };
}

/// Why a kernel is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are what Display prints")]
pub enum LinuxError {
    /// The file ends before its setup code does, or before the kernel.
    Truncated { needed: u64, present: u64 },
    /// No `HdrS`, or no 55AAh in front of it.
    NoHeader,
    /// The header's first instruction is not a short jump behind it.
    Jump { opcode: u8, distance: u8 },
    /// A protocol before 2.02.
    Old { version: u16 },
    /// The setup code is longer than [`MAX_SETUP`].
    Setup { sectors: u8 },
    /// The kernel wants to be loaded at 64 KiB: a zImage.
    Low,
    /// No power of two.
    Alignment { alignment: u32 },
    /// The 64-bit entry is asked for, and there is none.
    No64 { version: u16, xloadflags: u16 },
    /// The command line is longer than the kernel can take.
    CommandLine { length: u64, limit: u64 },
    /// Memory that the kernel cannot do without is not free.
    NotFree { start: u64, end: u64 },
}

impl Named for LinuxError {
    fn entry(&self) -> &'static Entry {
        match self {
            Self::Truncated { .. } => &catalogue::KERNEL_TRUNCATED,
            Self::NotFree { .. } => &catalogue::KERNEL_MEMORY,
            _ => &catalogue::LINUX_REFUSED,
        }
    }
}

impl fmt::Display for LinuxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (text, numbers): (_, &[u64]) = match *self {
            Self::Truncated { needed, present } => {
                ("# bytes needed, # bytes present", &[needed, present])
            }
            Self::NoHeader => ("no HdrS in it", &[]),
            Self::Jump { opcode, distance } => (
                "##h ##h at 200h is no jump behind the header",
                &[opcode.into(), distance.into()],
            ),
            Self::Old { version } => (
                "protocol ####h, older than ####h",
                &[version.into(), OLDEST.into()],
            ),
            Self::Setup { sectors } => ("# sectors of setup code, more than 63", &[sectors.into()]),
            Self::Low => ("a zImage, not a bzImage", &[]),
            Self::Alignment { alignment } => ("kernel_alignment ########h", &[alignment.into()]),
            Self::No64 {
                version,
                xloadflags,
            } => (
                "no 64-bit entry: protocol ####h, xloadflags ####h",
                &[version.into(), xloadflags.into()],
            ),
            Self::CommandLine { length, limit } => {
                ("a command line of # bytes, more than #", &[length, limit])
            }
            Self::NotFree { start, end } => ("#h to #h", &[start, end]),
        };
        facts(f, text, numbers)
    }
}

/// A checked setup header. Holding one proves that the kernel can be entered in real mode and in
/// protected mode.
#[derive(Clone, Copy, Debug)]
pub struct LinuxImage {
    /// The header; what is behind its end is zero.
    header: SetupHeader,
    /// Offset of the byte behind the header …
    header_end: usize,
    /// … and behind the last field in it that is known and not cut.
    whole_end: usize,
    file_size: u64,
}

/// Bytes of a payload that [`checks_itself`] looks at.
const PAYLOAD_HEAD: u64 = 8;

/// Whether a kernel that is compressed so finds out what is wrong with its payload, by the payload's first
/// bytes: xz with CRC-32, bzip2, and zstd with a checksum. Linux does not compare gzip's; LZ4 has
/// none, nor has LZMA.
pub fn checks_itself(payload: &[u8]) -> bool {
    /// Stream flags: the type of check.
    const XZ_CRC_32: [u8; 8] = *b"\xFD7zXZ\0\0\x01";
    const ZSTD: [u8; 4] = 0xFD2F_B528_u32.to_le_bytes();
    /// Bit 2 of the frame header's descriptor.
    const ZSTD_CHECKSUM: u8 = 1 << 2;

    payload.starts_with(&XZ_CRC_32)
        || payload.starts_with(b"BZh")
        || payload
            .strip_prefix(&ZSTD)
            .and_then(<[u8]>::first)
            .is_some_and(|descriptor| descriptor & ZSTD_CHECKSUM != 0)
}

/// Where a kernel is in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// First byte of the protected-mode code.
    pub start: u64,
    /// Its length in bytes.
    pub length: u64,
    /// What it is to take for its alignment.
    alignment: u32,
}

/// The initial RAM disk: all modules behind one another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Initrd {
    /// Physical address, a multiple of 4 KiB; 0 without one.
    pub start: u64,
    /// Bytes; 0 without one.
    pub size: u64,
}

impl LinuxImage {
    /// Reads the header; `head` is the file's first [`HEADER_ROOM`] bytes at least, or all of a
    /// shorter file.
    ///
    /// # Errors
    /// 10E, 10V.
    pub fn read(head: &[u8], file_size: u64) -> Result<Self, LinuxError> {
        if !crate::entry::protocol::is_linux(head) {
            return Err(LinuxError::NoHeader);
        }
        let mut header = SetupHeader::new_zeroed();
        copy(
            head.get(HEADER..).unwrap_or_default(),
            header.as_mut_bytes(),
        );
        let [opcode, distance] = header.jump;
        let header_end = AFTER_JUMP + usize::from(distance);
        // EBh is JMP rel8, and a distance of 80h and more goes back.
        if opcode != 0xEB || distance >= 0x80 || header_end < OLDEST_END {
            return Err(LinuxError::Jump { opcode, distance });
        }
        // A field that is cut is none.
        let ends = FIELD_ENDS.iter().map(|&offset| HEADER + offset);
        let whole_end = ends.filter(|&end| end <= header_end).max();
        let whole_end = whole_end.unwrap_or(OLDEST_END);
        if let Some(behind) = header.as_mut_bytes().get_mut(whole_end - HEADER..) {
            behind.fill(0);
        }
        let version = header.version.get();
        if version < OLDEST {
            return Err(LinuxError::Old { version });
        }
        if header.loadflags & LOADED_HIGH == 0 {
            return Err(LinuxError::Low);
        }
        let image = Self {
            header,
            header_end,
            whole_end,
            file_size,
        };
        if image.setup_bytes() > MAX_SETUP {
            let sectors = header.setup_sects;
            return Err(LinuxError::Setup { sectors });
        }
        // syssize counts paragraphs, the last of which need not be complete.
        let paragraphs = match image.has(0x0204) {
            true => u64::from(header.syssize.get()).max(1),
            false => 1,
        };
        let needed = image.setup_bytes() as u64 + paragraphs * 16 - 15;
        if file_size < needed {
            return Err(LinuxError::Truncated {
                needed,
                present: file_size,
            });
        }
        let alignment = header.kernel_alignment.get();
        if image.relocatable() && !alignment.is_power_of_two() {
            return Err(LinuxError::Alignment { alignment });
        }
        Ok(image)
    }

    /// The header, as it is in the file.
    pub fn header(&self) -> &SetupHeader {
        &self.header
    }

    /// Bytes of boot sector and setup code.
    pub fn setup_bytes(&self) -> usize {
        let sectors = match self.header.setup_sects {
            0 => 4,
            sectors => usize::from(sectors),
        };
        (1 + sectors) * 512
    }

    /// The bytes of the file that are the compressed kernel (from protocol 2.08 on), as the header has
    /// it; not empty, and within the file.
    pub fn payload(&self) -> Option<ops::Range<u64>> {
        let start = self.setup_bytes() as u64 + u64::from(self.header.payload_offset.get());
        let end = start + u64::from(self.header.payload_length.get());
        (self.has(0x0208) && start < end && end <= self.file_size).then_some(start..end)
    }

    /// The bytes of the file that have no checksum: the payload, if the kernel checks that itself, or
    /// else none, at the end. `bytes` are those in a range of the file.
    pub fn unchecked<'a>(
        &self,
        bytes: impl FnOnce(ops::Range<u64>) -> &'a [u8],
    ) -> ops::Range<u64> {
        let payload = self.payload().filter(|payload| {
            let end = payload.end.min(payload.start + PAYLOAD_HEAD);
            checks_itself(bytes(payload.start..end))
        });
        payload.unwrap_or(self.file_size..self.file_size)
    }

    /// Does the kernel speak this version of the protocol?
    fn has(&self, version: u16) -> bool {
        self.header.version.get() >= version
    }

    /// Can it be loaded at other places than 1 MiB?
    pub fn relocatable(&self) -> bool {
        self.has(0x0205) && self.header.relocatable_kernel != 0
    }

    /// Has it a 64-bit entry?
    pub fn has_64_bit_entry(&self) -> bool {
        self.has(0x020C) && self.header.xloadflags.get() & XLF_KERNEL_64 != 0
    }

    /// Chooses the entry: the one that is asked for, else the one with the least old code behind it.
    ///
    /// # Errors
    /// 10V, when it is asked for the 64-bit entry and has none.
    pub fn entry(&self, wanted: Option<LinuxEntry>) -> Result<LinuxEntry, LinuxError> {
        match wanted {
            Some(LinuxEntry::Bits64) if !self.has_64_bit_entry() => Err(LinuxError::No64 {
                version: self.header.version.get(),
                xloadflags: self.header.xloadflags.get(),
            }),
            Some(entry) => Ok(entry),
            None if self.has_64_bit_entry() => Ok(LinuxEntry::Bits64),
            None if self.has(DIRECT_ENTRIES) => Ok(LinuxEntry::Bits32),
            None => Ok(LinuxEntry::Bits16),
        }
    }

    /// Checks the length of the command line (without a zero byte).
    ///
    /// # Errors
    /// 10V.
    pub fn check_command_line(&self, length: usize) -> Result<(), LinuxError> {
        let limit = match self.has(0x0206) {
            true => self.header.cmdline_size.get(),
            false => OLD_COMMAND_LINE,
        };
        let (length, limit) = (length as u64, u64::from(limit));
        match length <= limit {
            true => Ok(()),
            false => Err(LinuxError::CommandLine { length, limit }),
        }
    }

    /// Bytes of the protected-mode kernel in the file.
    fn kernel_bytes(&self) -> u64 {
        self.file_size.saturating_sub(self.setup_bytes() as u64)
    }

    /// Bytes that it needs from where it runs on, before it looks at the memory map.
    fn init_bytes(&self) -> u64 {
        match self.has(0x020A) {
            true => u64::from(self.header.init_size.get()),
            false => self.kernel_bytes().saturating_mul(UNPACKED),
        }
    }

    /// Where it would like to run.
    fn preferred(&self) -> u64 {
        match self.header.pref_address.get() {
            address if self.has(0x020A) && address != 0 => address,
            _ => KERNEL_START,
        }
    }

    /// Allocates memory for the protected-mode kernel: for its bytes, and for what it becomes.
    ///
    /// # Errors
    /// 10U when it cannot be moved, 6B when it can.
    pub fn place(&self, memory: &mut MemoryMap) -> Result<Placed, PlaceError> {
        if self.relocatable() {
            return Ok(self.place_anywhere(memory)?);
        }
        let placed = Placed {
            start: KERNEL_START,
            length: self.kernel_bytes(),
            alignment: self.header.kernel_alignment.get(),
        };
        // It moves itself to where it runs; where both ranges touch, they are one.
        let loaded = (placed.start, placed.start.saturating_add(placed.length));
        let running = (
            self.preferred(),
            self.preferred().saturating_add(self.init_bytes()),
        );
        if running.0 <= loaded.1 && loaded.0 <= running.1 {
            take(memory, (loaded.0.min(running.0), loaded.1.max(running.1)))?;
        } else {
            take(memory, loaded)?;
            take(memory, running)?;
        }
        Ok(placed)
    }

    /// Where it prefers to be, or at the lowest address that has its alignment; with less and less
    /// of it, as far as it says that this will do.
    fn place_anywhere(&self, memory: &mut MemoryMap) -> Result<Placed, OutOfMemory> {
        let size = self.init_bytes().max(self.kernel_bytes());
        let mut alignment = self.header.kernel_alignment.get();
        let length = self.kernel_bytes();
        let preferred = self.preferred();
        if preferred.is_multiple_of(alignment.into()) && is_free(memory, preferred, size) {
            memory.allocate_at(preferred, size, MemoryKind::Kernel);
            return Ok(Placed {
                start: preferred,
                length,
                alignment,
            });
        }
        let least = match self.header.min_alignment {
            bits @ 1..32 if self.has(0x020A) => 1 << bits,
            _ => alignment,
        };
        loop {
            let align = u64::from(alignment).max(PAGE_SIZE);
            let error = match allocate(memory, size, align, 0, MemoryKind::Kernel) {
                Ok(start) => {
                    return Ok(Placed {
                        start,
                        length,
                        alignment,
                    });
                }
                Err(error) => error,
            };
            alignment /= 2;
            if alignment < least || alignment < PAGE_SIZE as u32 {
                return Err(error);
            }
        }
    }

    /// What of the file goes to memory as boot sector and setup code.
    pub fn read_setup(&self, destination: u64) -> Range {
        Range {
            file_offset: 0,
            length: self.setup_bytes() as u64,
            destination,
        }
    }

    /// What of the file goes to memory as the protected-mode kernel.
    pub fn read_kernel(&self, placed: &Placed) -> Range {
        Range {
            file_offset: self.setup_bytes() as u64,
            length: placed.length,
            destination: placed.start,
        }
    }

    /// Allocates memory for an initial RAM disk of so many bytes: as high as the kernel allows, and
    /// as the loader can reach.
    ///
    /// # Errors
    /// 6B.
    pub fn place_initrd(&self, size: u64, memory: &mut MemoryMap) -> Result<Initrd, OutOfMemory> {
        if size == 0 {
            return Ok(Initrd::default());
        }
        let max = match self.has(0x0203) {
            true => self.header.initrd_addr_max.get(),
            false => OLD_INITRD_MAX,
        };
        let max = (u64::from(max) + 1).min(EARLY_REACH);
        let start = memory.allocate_highest(&Request {
            size,
            align: PAGE_SIZE,
            offset: 0,
            min: MIB,
            max,
            kind: MemoryKind::Module,
        })?;
        Ok(Initrd { start, size })
    }

    /// Physical address of an entry.
    pub fn entry_point(&self, entry: LinuxEntry, placed: &Placed) -> u64 {
        match entry {
            LinuxEntry::Bits16 => place::PARAMETERS + 0x200,
            LinuxEntry::Bits32 => placed.start,
            LinuxEntry::Bits64 => placed.start + 0x200,
        }
    }

    /// Writes the header, with what the loader has to say, to its place in the setup code or in the
    /// [`BootParams`]. `more_map`: there is a `setup_data` at [`place::SETUP_DATA`].
    pub fn fill_header(
        &self,
        placed: &Placed,
        initrd: Initrd,
        more_map: bool,
        parameters: &mut [u8],
    ) {
        let mut header = self.header;
        header.vid_mode = VIDEO_NORMAL.into();
        header.type_of_loader = NO_NUMBER;
        header.loadflags |= CAN_USE_HEAP;
        header.heap_end_ptr = (place::HEAP_END - 0x200).into();
        header.code32_start = (placed.start as u32).into();
        header.ramdisk_image = (initrd.start as u32).into();
        header.ramdisk_size = (initrd.size as u32).into();
        header.ext_loader_ver = 0;
        header.ext_loader_type = 0;
        header.cmd_line_ptr = (place::COMMAND_LINE as u32).into();
        if self.has(0x020A) && self.relocatable() {
            header.kernel_alignment = placed.alignment.into();
        }
        if self.has(0x0209) && more_map {
            header.setup_data = place::SETUP_DATA.into();
        }
        let known = header.as_bytes();
        let length = self.whole_end - HEADER;
        if let Some(room) = parameters.get_mut(HEADER..) {
            copy(known.get(..length).unwrap_or(known), room);
        }
    }

    /// Copies of the header what the loader does not know: it may be newer.
    pub fn copy_header(&self, head: &[u8], parameters: &mut BootParams) {
        let header = head.get(HEADER..self.header_end).unwrap_or_default();
        copy(header, &mut parameters.header);
    }
}

/// Why there is no place for a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlaceError {
    /// Nowhere.
    Memory(OutOfMemory),
    /// Not where it has to be.
    NotFree(LinuxError),
}

impl From<OutOfMemory> for PlaceError {
    fn from(error: OutOfMemory) -> Self {
        Self::Memory(error)
    }
}

/// Takes a range for the kernel, which has to be free, above 1 MiB and within reach.
fn take(memory: &mut MemoryMap, (start, end): (u64, u64)) -> Result<(), PlaceError> {
    let size = end.saturating_sub(start);
    if is_free(memory, start, size) && memory.allocate_at(start, size, MemoryKind::Kernel) {
        return Ok(());
    }
    Err(PlaceError::NotFree(LinuxError::NotFree { start, end }))
}

/// Is a range free, above 1 MiB and within reach?
fn is_free(memory: &MemoryMap, start: u64, size: u64) -> bool {
    let Some(end) = start.checked_add(size.max(1)) else {
        return false;
    };
    let mut regions = memory.regions().iter();
    start >= MIB
        && end <= EARLY_REACH
        && regions.any(|region| {
            region.kind == MemoryKind::Usable && region.start <= start && end <= region.end
        })
}

/// Bytes of the initial RAM disk that files of these sizes make: each is filled up to a multiple of
/// four.
pub fn initrd_size(sizes: impl Iterator<Item = u64>) -> u64 {
    sizes.fold(0, |sum: u64, size| {
        sum.saturating_add(size.saturating_add(3) & !3)
    })
}

/// The memory map as the firmware gave it, cleaned up: what the loader took is free memory to the
/// kernel, which finds out itself where it and its parameters are.
pub fn e820(memory: &MemoryMap) -> impl Iterator<Item = E820Entry> {
    let mut regions = memory.regions().iter().peekable();
    core::iter::from_fn(move || {
        let first = regions.next()?;
        let (kind, mut end) = (e820_kind(first.kind), first.end);
        while let Some(next) =
            regions.next_if(|next| next.start == end && e820_kind(next.kind) == kind)
        {
            end = next.end;
        }
        Some(E820Entry {
            address: first.start.into(),
            size: (end - first.start).into(),
            kind: kind.into(),
        })
    })
}

fn e820_kind(kind: MemoryKind) -> u32 {
    match kind {
        MemoryKind::Usable | MemoryKind::Reclaimable | MemoryKind::Kernel | MemoryKind::Module => 1,
        MemoryKind::Framebuffer | MemoryKind::Reserved => 2,
        MemoryKind::AcpiReclaimable => 3,
        MemoryKind::AcpiNvs => 4,
        MemoryKind::Bad => 5,
    }
}

/// Puts the memory map into the parameters, and what does not fit into `more`, as a `setup_data`.
/// Returns how many bytes of `more` are used: 0 without such a node. A kernel that takes none gets
/// the lower part of the map.
pub fn fill_memory_map(memory: &MemoryMap, parameters: &mut BootParams, more: &mut [u8]) -> usize {
    const NODE: usize = 16;

    // For kernels that cannot read it: KiB from 1 MiB on.
    let above = e820(memory).find(|entry| {
        let start = entry.address.get();
        entry.kind.get() == 1 && start <= MIB && MIB < start + entry.size.get()
    });
    let kib = above.map_or(0, |entry| {
        (entry.address.get() + entry.size.get() - MIB) >> 10
    });
    parameters.alt_mem_k = u32::try_from(kib).unwrap_or(u32::MAX).into();
    parameters.screen_info.ext_mem_k = u16::try_from(kib).unwrap_or(0xFC00).into();

    let mut entries = e820(memory);
    let mut count = 0;
    for (slot, entry) in parameters.e820_table.iter_mut().zip(&mut entries) {
        *slot = entry;
        count += 1;
    }
    parameters.e820_entries = count;
    let Some((node, table)) = more.split_at_mut_checked(NODE) else {
        return 0;
    };
    let mut length = 0;
    for (slot, entry) in table.chunks_exact_mut(size_of::<E820Entry>()).zip(entries) {
        length += copy(entry.as_bytes(), slot);
    }
    if length == 0 {
        return 0;
    }
    node.fill(0); // next: none
    if let Some(rest) = node.get_mut(8..) {
        copy(
            [SETUP_E820_EXT, length as u32]
                .map(u32::to_le_bytes)
                .as_flattened(),
            rest,
        );
    }
    NODE + length
}
