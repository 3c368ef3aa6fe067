//! The fields that recipes set, by the names of their specifications, and where they are.

use std::mem::offset_of;

use boot_path::entry::entry_file::PATH_KERNEL;
use disk_layout::PartitionEntry;
use elf::file::Elf64_Ehdr;
use elf::relocation::Elf64_Rela;
use elf::segment::Elf64_Phdr;

use super::words::{Field, Place};

/// A number by the name of a constant.
macro_rules! named {
    ($module:ident::$name:ident) => {
        $crate::recipes::words::Number {
            name: stringify!($name),
            value: $module::$name as u64,
        }
    };
}
pub(crate) use named;

/// A field of a structure: its name is the one in the source.
macro_rules! field {
    ($place:expr, $structure:ty, $field:ident, $kind:ty) => {
        Field::new(
            $place,
            stringify!($field),
            offset_of!($structure, $field),
            size_of::<$kind>(),
        )
    };
}

/// A field of a file's ELF header.
macro_rules! kernel_header {
    ($(#[$doc:meta] $name:ident = $field:ident: $kind:ty;)*) => {
        $(
            #[$doc]
            pub const $name: Field = field!(Place::File(PATH_KERNEL), Elf64_Ehdr, $field, $kind);
        )*
    };
}

/// A field of one of the kernel's program headers.
macro_rules! program_header {
    ($(#[$doc:meta] $name:ident = $field:ident: $kind:ty;)*) => {
        $(
            #[$doc]
            pub const fn $name(number: u64) -> Field {
                field!(Place::ProgramHeader(number), Elf64_Phdr, $field, $kind)
            }
        )*
    };
}

/// What is in the partition.
pub const PARTITION_KIND: Field = field!(Place::PartitionEntry, PartitionEntry, kind, u8);
/// Where it begins.
pub const PARTITION_START: Field = field!(Place::PartitionEntry, PartitionEntry, first_lba, u32);

/// The file system's boot sector: bytes in a sector. (Microsoft's FAT specification, section 3.1)
pub const BYTES_PER_SECTOR: Field = Field::new(Place::Volume, "BPB_BytsPerSec", 11, 2);

/// The superblock of ext4, which begins 1024 bytes behind the volume's start: its magic.
pub const EXT_MAGIC: Field = Field::new(Place::Volume, "s_magic of ext4", 1024 + 0x38, 2);
/// What a program must know to read it.
pub const EXT_FEATURES: Field =
    Field::new(Place::Volume, "s_feature_incompat of ext4", 1024 + 0x60, 4);

/// Which cluster follows this one of the kernel's, counted from 0; FAT32.
pub const fn next_cluster(number: usize) -> Field {
    Field::new(Place::Link(PATH_KERNEL, number), "the next cluster", 0, 4)
}

/// ELF magic, of which this is the first byte.
pub const E_MAGIC: Field = Field::new(Place::File(PATH_KERNEL), "EI_MAG0", elf::abi::EI_MAG0, 1);
/// 32 or 64 bits.
pub const E_CLASS: Field = Field::new(Place::File(PATH_KERNEL), "EI_CLASS", elf::abi::EI_CLASS, 1);

kernel_header! {
    /// What kind of file.
    E_TYPE = e_type: u16;
    /// For which CPU.
    E_MACHINE = e_machine: u16;
    /// Where the program begins.
    E_ENTRY = e_entry: u64;
    /// Bytes of a program header.
    E_PHENTSIZE = e_phentsize: u16;
    /// How many program headers there are.
    E_PHNUM = e_phnum: u16;
}

program_header! {
    /// What the header describes.
    p_type = p_type: u32;
    /// What may be done in the segment.
    p_flags = p_flags: u32;
    /// Where the segment is.
    p_vaddr = p_vaddr: u64;
    /// Where it is loaded.
    p_paddr = p_paddr: u64;
    /// How long it is in memory.
    p_memsz = p_memsz: u64;
    /// How it is aligned.
    p_align = p_align: u64;
}

/// The section with the kernel's wishes, which begins with one.
const NOTES: Place = Place::Section(".note.bootpath");
/// The first wish: its kind. In front of it are two lengths.
pub const WISH_KIND: Field = Field::new(NOTES, "type", 8, 4);
/// Its value, behind the name `Bootpath`.
pub const WISH_VALUE: Field = Field::new(NOTES, "value", 24, 8);

/// The Multiboot 2 header's first tag, behind four numbers: its type.
pub const MULTIBOOT_TAG_TYPE: Field =
    Field::new(Place::Section(".multiboot"), "the first tag's type", 16, 2);
/// Its size.
pub const MULTIBOOT_TAG_SIZE: Field =
    Field::new(Place::Section(".multiboot"), "the first tag's size", 20, 4);

/// Where the Limine kernel's requests are. They begin with the start marker, the base revision tag and a
/// request that nobody knows.
const REQUESTS: Place = Place::Section(".requests");
/// The base revision.
pub const LIMINE_BASE_REVISION: Field = Field::new(REQUESTS, "the base revision", 32 + 16, 8);
/// The unknown request's last word: all others are those of the request for the direct map.
pub const LIMINE_REQUEST_ID: Field = Field::new(
    REQUESTS,
    "the last word of the unknown request",
    32 + 24 + 24,
    8,
);

/// A position-independent kernel's first relocation: its kind, in the lower half of `r_info`.
pub const RELOCATION_KIND: Field = Field::new(
    Place::Section(".rela.dyn"),
    "r_type",
    offset_of!(Elf64_Rela, r_info),
    4,
);
