//! The setup header, and the properties of the kernel that it describes.

use core::mem::{offset_of, size_of};
use core::ops;

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::disk::stream::Range;
use crate::entry::protocol::{self, LinuxEntry};
use crate::errors::text::copy;
use crate::memory::address::PhysAddr;
use crate::position::FileOffset;
use crate::ways_out::linux::image::{BootParams, Initrd, LinuxError, Placed, VIDEO_NORMAL, place};

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
/// The jump's distance, the second byte of the header, counts from here.
const AFTER_JUMP: usize = 0x202;
/// First byte of a [`BootParams`] behind the header. Reading this much of the file gets the whole
/// header.
pub const HEADER_ROOM: usize = 0x290;

const _: () = assert!(size_of::<SetupHeader>() == 0x26C - HEADER);

/// `loadflags`: the protected-mode kernel goes to 1 MiB, not to 64 KiB.
const LOADED_HIGH: u8 = 1 << 0;
/// `loadflags`: `heap_end_ptr` is valid.
const CAN_USE_HEAP: u8 = 1 << 7;
/// `xloadflags`: there is a 64-bit entry, 200h behind the 32-bit one.
const XLF_KERNEL_64: u16 = 1 << 0;
/// `type_of_loader` of loaders without a number.
const NO_NUMBER: u8 = 0xFF;

/// The oldest supported protocol: it has `cmd_line_ptr` for the command line, and its setup code
/// runs wherever it is loaded. `OLDEST_END` is the end of its fields.
pub(super) const OLDEST: u16 = 0x0202;
const OLDEST_END: usize = 0x22C;
/// The ends of later fields, from the start of the header.
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
/// The first protocol that describes the other entries; older kernels are entered in real mode.
const DIRECT_ENTRIES: u16 = 0x0207;

/// The most bytes of boot sector and setup code.
pub const MAX_SETUP: usize = 0x8000;
/// The longest command line, for kernels that do not specify one.
const OLD_COMMAND_LINE: u32 = 255;

/// A checked setup header. Holding one proves that the kernel can be entered in real mode and in
/// protected mode.
#[derive(Clone, Copy, Debug)]
pub struct LinuxImage {
    /// The header; bytes behind its end are zero.
    header: SetupHeader,
    /// Offset of the byte behind the header …
    header_end: usize,
    /// … and behind the last known field that is complete.
    whole_end: usize,
    file_size: u64,
}

impl LinuxImage {
    /// Reads the header; `head` is the file's first [`HEADER_ROOM`] bytes at least, or all of a
    /// shorter file.
    ///
    /// # Errors
    /// 10E, 10V.
    pub fn read(head: &[u8], file_size: u64) -> Result<Self, LinuxError> {
        if !protocol::is_linux(head) {
            return Err(LinuxError::NoHeader);
        }
        let mut header = SetupHeader::new_zeroed();
        copy(
            head.get(HEADER..).unwrap_or_default(),
            header.as_mut_bytes(),
        );
        let [opcode, distance] = header.jump;
        let header_end = AFTER_JUMP + usize::from(distance);
        // EBh is JMP rel8; a distance of 80h or more jumps backwards.
        if opcode != 0xEB || distance >= 0x80 || header_end < OLDEST_END {
            return Err(LinuxError::Jump { opcode, distance });
        }
        // A field that is cut off does not count.
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
        // syssize counts paragraphs, the last of which may be incomplete.
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

    /// The range of the compressed kernel in the file, according to the header (from protocol 2.08
    /// on); not empty, and within the file.
    pub fn payload(&self) -> Option<ops::Range<u64>> {
        let start = self.setup_bytes() as u64 + u64::from(self.header.payload_offset.get());
        let end = start + u64::from(self.header.payload_length.get());
        (self.has(0x0208) && start < end && end <= self.file_size).then_some(start..end)
    }

    /// The range of the file that the checksum leaves out: the payload, if the kernel checks that
    /// itself, or else an empty range at the end. `bytes` returns the bytes of a range of the file.
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

    /// Bytes of the protected-mode kernel in the file.
    pub(super) fn kernel_bytes(&self) -> u64 {
        self.file_size.saturating_sub(self.setup_bytes() as u64)
    }

    /// Does the kernel speak this version of the protocol?
    pub(super) fn has(&self, version: u16) -> bool {
        self.header.version.get() >= version
    }

    /// Can it be loaded elsewhere than at 1 MiB?
    pub fn relocatable(&self) -> bool {
        self.has(0x0205) && self.header.relocatable_kernel != 0
    }

    /// Does it have a 64-bit entry?
    pub fn has_64_bit_entry(&self) -> bool {
        self.has(0x020C) && self.header.xloadflags.get() & XLF_KERNEL_64 != 0
    }

    /// Chooses the entry: the one demanded, else the one after which the least old code runs. That
    /// is the setup code if the header names no 32-bit code, and if there is a video mode for it to
    /// set.
    ///
    /// # Errors
    /// 10V, when the 64-bit entry is demanded and the kernel has none.
    pub fn entry(&self, wanted: Option<LinuxEntry>, video: u16) -> Result<LinuxEntry, LinuxError> {
        match wanted {
            Some(LinuxEntry::Bits64) if !self.has_64_bit_entry() => Err(LinuxError::No64 {
                version: self.header.version.get(),
                xloadflags: self.header.xloadflags.get(),
            }),
            Some(entry) => Ok(entry),
            None if video != VIDEO_NORMAL => Ok(LinuxEntry::Bits16),
            None if self.has_64_bit_entry() => Ok(LinuxEntry::Bits64),
            None if self.has(DIRECT_ENTRIES) && self.header.code32_start.get() != 0 => {
                Ok(LinuxEntry::Bits32)
            }
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

    /// The range of the file to load as boot sector and setup code.
    pub fn read_setup(&self, destination: PhysAddr) -> Range {
        Range {
            file_offset: FileOffset::ZERO,
            length: self.setup_bytes() as u64,
            destination,
        }
    }

    /// The range of the file to load as the protected-mode kernel.
    pub fn read_kernel(&self, placed: &Placed) -> Range {
        Range {
            file_offset: FileOffset::new(self.setup_bytes() as u64),
            length: placed.length,
            destination: placed.start,
        }
    }

    /// The address of an entry.
    pub fn entry_point(&self, entry: LinuxEntry, placed: &Placed) -> PhysAddr {
        match entry {
            LinuxEntry::Bits16 => place::PARAMETERS + 0x200,
            LinuxEntry::Bits32 => placed.start,
            LinuxEntry::Bits64 => placed.start + 0x200,
        }
    }

    /// Writes the header, with the fields that the loader fills in, to its place in the setup code
    /// or in the [`BootParams`]. `more_map`: there is a `setup_data` at [`place::SETUP_DATA`]. `video`:
    /// the mode that the setup code sets.
    pub fn fill_header(
        &self,
        placed: &Placed,
        initrd: Initrd,
        more_map: bool,
        video: u16,
        parameters: &mut [u8],
    ) {
        let mut header = self.header;
        header.vid_mode = video.into();
        header.type_of_loader = NO_NUMBER;
        header.loadflags |= CAN_USE_HEAP;
        header.heap_end_ptr = (place::HEAP_END - 0x200).into();
        header.code32_start = (placed.start.as_u64() as u32).into();
        header.ramdisk_image = (initrd.start.as_u64() as u32).into();
        header.ramdisk_size = (initrd.size as u32).into();
        header.ext_loader_ver = 0;
        header.ext_loader_type = 0;
        header.cmd_line_ptr = (place::COMMAND_LINE.as_u64() as u32).into();
        if self.has(0x020A) && self.relocatable() {
            header.kernel_alignment = placed.alignment.into();
        }
        if self.has(0x0209) && more_map {
            header.setup_data = place::SETUP_DATA.as_u64().into();
        }
        let known = header.as_bytes();
        let length = self.whole_end - HEADER;
        if let Some(room) = parameters.get_mut(HEADER..) {
            copy(known.get(..length).unwrap_or(known), room);
        }
    }

    /// Copies the whole header, including fields that are newer than the loader.
    pub fn copy_header(&self, head: &[u8], parameters: &mut BootParams) {
        let header = head.get(HEADER..self.header_end).unwrap_or_default();
        copy(header, &mut parameters.header);
    }
}

/// Bytes of a payload that [`checks_itself`] needs.
const PAYLOAD_HEAD: u64 = 8;

/// Does a kernel with this payload detect damage to it while unpacking? Decided by the payload's
/// first bytes: yes for xz with CRC-32, bzip2, and zstd with a checksum. Linux does not compare
/// gzip's checksum; LZ4 and LZMA have none.
pub fn checks_itself(payload: &[u8]) -> bool {
    /// Stream flags: the type of check.
    const XZ_CRC_32: [u8; 8] = *b"\xFD7zXZ\0\0\x01";
    const ZSTD: [u8; 4] = 0xFD2F_B528_u32.to_le_bytes();
    /// Bit 2 of the frame header's descriptor.
    const ZSTD_CHECKSUM: u8 = 1 << 2;

    payload.starts_with(&XZ_CRC_32)
        || payload.starts_with(b"BZh")
        || payload
            .get(ZSTD.len())
            .is_some_and(|descriptor| payload.starts_with(&ZSTD) && descriptor & ZSTD_CHECKSUM != 0)
}
