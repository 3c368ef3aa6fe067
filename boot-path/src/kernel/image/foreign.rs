//! Kernels that are made for another loader.
//!
//! An ELF file without a note of the loader's own handoff, without requests and without another
//! header may still be a kernel: it starts, and hangs or faults, because it is told nothing that it
//! expects. So the marks of well-known loaders are looked for.
//!
//! Sources: `bootloader_api` 0.11, `entry_point`; Xen, `public/elfnote.h` (XEN_ELFNOTE_PHYS32_ENTRY)
//! and `docs/misc/pvh.pandoc`; the BOOTBOOT Protocol, "Kernel format".

use core::fmt;

use elf::abi;
use zerocopy::FromBytes as _;
use zerocopy::little_endian::{U32, U64};

use crate::kernel::image::{FileHeader, HEADER_BYTES, KernelImage, ReadAt, TableLocation, Wishes};
use crate::memory::address::VirtAddr;
use crate::position::FileOffset;

/// The loader that a kernel is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Foreign {
    /// A virtual machine monitor that enters it by PVH, as it does with a `vmlinux`.
    Pvh,
    /// The crate `bootloader`, of rust-osdev.
    Bootloader,
    /// BOOTBOOT.
    Bootboot,
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pvh => {
                "its entry is PVH's, as in a vmlinux: of Linux, take the bzImage (vmlinuz)"
            }
            Self::Bootloader => {
                "section .bootloader-config: the crate bootloader makes its disk image"
            }
            Self::Bootboot => "symbol bootboot: it is BOOTBOOT's",
        })
    }
}

/// The section with the wishes of a kernel for the crate `bootloader`, as a string.
const BOOTLOADER_CONFIG: &[u8] = b".bootloader-config\0";

/// A symbol of kernels for BOOTBOOT, with the ends of the strings in front of it and behind it.
const BOOTBOOT: &[u8] = b"\0bootboot\0";

/// The lowest address of a kernel for BOOTBOOT.
const BOOTBOOT_START: VirtAddr = VirtAddr::new(0xFFFF_FFFF_C000_0000);

/// No more sections than that are looked at.
const MAX_SECTIONS: u16 = 1024;

/// No more strings than that are looked at, in bytes.
const MAX_STRINGS: u64 = 4 << 20;

/// The beginning of an ELF64 section header.
#[derive(zerocopy::FromBytes, zerocopy::KnownLayout, zerocopy::Immutable, zerocopy::Unaligned)]
#[repr(C)]
struct Section {
    name: U32,
    kind: U32,
    flags: U64,
    address: U64,
    offset: U64,
    size: U64,
}

/// The loader that a kernel without any of the known headers is made for, if it has one's marks.
/// What cannot be read has none.
pub(crate) fn foreign<E>(
    image: &KernelImage,
    wishes: &Wishes,
    read_at: ReadAt<'_, E>,
) -> Option<Foreign> {
    if wishes.pvh {
        return Some(Foreign::Pvh);
    }
    let mut header = [0; HEADER_BYTES];
    read_at(FileOffset::ZERO, &mut header).ok()?;
    let (header, _) = FileHeader::ref_from_prefix(&header).ok()?;
    let table = TableLocation {
        offset: FileOffset::new(header.section_headers.get()),
        count: header.section_header_count.get().min(MAX_SECTIONS),
        entry_size: header.section_header_size.get(),
    };
    if usize::from(table.entry_size) < size_of::<Section>() || table.offset == FileOffset::ZERO {
        return None;
    }
    let mut names = FileOffset::ZERO;
    let wanted = header.section_names.get();
    let bootboot = image.virtual_start() >= BOOTBOOT_START;
    let mut strings_left = MAX_STRINGS;
    let mut found = None;
    let mut look = |read_at: ReadAt<'_, E>, number, bytes: &[u8]| {
        let Ok((section, _)) = Section::ref_from_prefix(bytes) else {
            return Ok(());
        };
        let offset = FileOffset::new(section.offset.get());
        if number == wanted {
            names = offset;
        }
        if bootboot && section.kind.get() == abi::SHT_STRTAB {
            let size = section.size.get().min(strings_left);
            strings_left -= size;
            if contains(offset, size, read_at)? {
                found = Some(Foreign::Bootboot);
            }
        }
        Ok(())
    };
    table.each(read_at, &mut look).ok()?;
    table
        .each(read_at, &mut |read_at, _, bytes| {
            let Ok((section, _)) = Section::ref_from_prefix(bytes) else {
                return Ok(());
            };
            let mut name = [0; BOOTLOADER_CONFIG.len()];
            let offset = names.saturating_add(section.name.get().into());
            read_at(offset, &mut name)?;
            if name == BOOTLOADER_CONFIG {
                found = Some(Foreign::Bootloader);
            }
            Ok(())
        })
        .ok()?;
    found
}

/// Is the name [`BOOTBOOT`] among the strings at an offset?
fn contains<E>(mut offset: FileOffset, size: u64, read_at: ReadAt<'_, E>) -> Result<bool, E> {
    const PIECE: usize = 1024;
    /// The name may begin in one piece and end in the next one.
    const STEP: usize = PIECE - BOOTBOOT.len() + 1;

    let mut left = size;
    while left >= BOOTBOOT.len() as u64 {
        let mut piece = [0; PIECE];
        let piece = piece.get_mut(..left.min(PIECE as u64) as usize);
        let piece = piece.unwrap_or_default();
        read_at(offset, piece)?;
        let mut places = piece.windows(BOOTBOOT.len());
        if places.any(|place| place == BOOTBOOT) {
            return Ok(true);
        }
        offset = offset.saturating_add(STEP as u64);
        left = left.saturating_sub(STEP as u64);
    }
    Ok(false)
}
