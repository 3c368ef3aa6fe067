//! The parameters of a kernel that is not entered in real mode: the "zero page".

use core::mem::{offset_of, size_of};

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::errors::text::copy;
use crate::memory::layout::PAGE_SIZE;
use crate::memory::map::{MIB, MemoryKind, MemoryMap};
use crate::ways_out::linux::image::header::{HEADER, HEADER_ROOM};

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
    /// Type, as INT 15h E820 reports it.
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
    assert!(size_of::<ScreenInfo>() == 0x40);
    assert!(size_of::<BootParams>() == PAGE_SIZE as usize);
    assert!(offset_of!(BootParams, acpi_rsdp_addr) == 0x70);
    assert!(offset_of!(BootParams, ext_ramdisk_image) == 0xC0);
    assert!(offset_of!(BootParams, alt_mem_k) == 0x1E0);
    assert!(offset_of!(BootParams, sentinel) == 0x1EF);
    assert!(offset_of!(BootParams, header) == HEADER);
    assert!(offset_of!(BootParams, e820_table) == 0x2D0);
};

/// Type of a `setup_data` with more memory map.
const SETUP_E820_EXT: u32 = 1;

/// The firmware's memory map, cleaned up. Memory that the loader took is free for the kernel, which
/// avoids itself and its parameters on its own.
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
            address: first.start.as_u64().into(),
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

/// Writes the memory map into the parameters, and the part that does not fit into `more`, as a
/// `setup_data`. Returns the bytes used in `more`: 0 without such a node. A kernel that does not
/// support it gets the lower part of the map.
pub fn fill_memory_map(memory: &MemoryMap, parameters: &mut BootParams, more: &mut [u8]) -> usize {
    const NODE: usize = 16;

    // For kernels that cannot read the map: KiB from 1 MiB on.
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
