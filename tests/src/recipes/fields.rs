//! The fields that recipes set: their names in their specifications, and where they are.

use std::mem::offset_of;

use boot_path::entry::entry_file::PATH_KERNEL;
use disk_layout::PartitionEntry;
use elf::file::Elf64_Ehdr;
use elf::relocation::Elf64_Rela;
use elf::segment::Elf64_Phdr;

use super::words::{Field, Place};

/// A number with the name of a constant.
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

/// The type of the partition.
pub const PARTITION_KIND: Field = field!(Place::PartitionEntry, PartitionEntry, kind, u8);
/// The first LBA of the partition.
pub const PARTITION_START: Field = field!(Place::PartitionEntry, PartitionEntry, first_lba, u32);

/// The file system's boot sector: bytes per sector. (Microsoft's FAT specification, section 3.1)
pub const BYTES_PER_SECTOR: Field = Field::new(Place::Volume, "BPB_BytsPerSec", 11, 2);

/// The magic of ext4's superblock, which begins 1024 bytes behind the start of the volume.
pub const EXT_MAGIC: Field = Field::new(Place::Volume, "s_magic of ext4", 1024 + 0x38, 2);
/// The features that a program must support to read it.
pub const EXT_FEATURES: Field =
    Field::new(Place::Volume, "s_feature_incompat of ext4", 1024 + 0x60, 4);

/// The cluster that follows this one of the kernel's, counted from 0; FAT32.
pub const fn next_cluster(number: usize) -> Field {
    Field::new(Place::Link(PATH_KERNEL, number), "the next cluster", 0, 4)
}

/// The first byte of the ELF magic.
pub const E_MAGIC: Field = Field::new(Place::File(PATH_KERNEL), "EI_MAG0", elf::abi::EI_MAG0, 1);
/// 32 or 64 bits.
pub const E_CLASS: Field = Field::new(Place::File(PATH_KERNEL), "EI_CLASS", elf::abi::EI_CLASS, 1);

kernel_header! {
    /// The kind of file.
    E_TYPE = e_type: u16;
    /// The CPU.
    E_MACHINE = e_machine: u16;
    /// The entry point.
    E_ENTRY = e_entry: u64;
    /// Bytes of a program header.
    E_PHENTSIZE = e_phentsize: u16;
    /// The number of program headers.
    E_PHNUM = e_phnum: u16;
}

program_header! {
    /// What the header describes.
    p_type = p_type: u32;
    /// The permissions of the segment.
    p_flags = p_flags: u32;
    /// The segment's virtual address.
    p_vaddr = p_vaddr: u64;
    /// Its load address.
    p_paddr = p_paddr: u64;
    /// Its size in memory.
    p_memsz = p_memsz: u64;
    /// Its alignment.
    p_align = p_align: u64;
}

/// The section with the kernel's wishes, which begins with one.
const NOTES: Place = Place::Section(".note.bootpath");
/// The length of the first wish's name.
pub const WISH_NAME_LENGTH: Field = Field::new(NOTES, "the length of the name", 0, 4);
/// The first four bytes of its name.
pub const WISH_NAME: Field = Field::new(NOTES, "the name", 12, 4);
/// The kind of the first wish. Two lengths are in front of it.
pub const WISH_KIND: Field = Field::new(NOTES, "type", 8, 4);
/// The value of that wish, behind the name `Bootpath`.
pub const WISH_VALUE: Field = Field::new(NOTES, "value", 24, 8);

/// The type of the Multiboot 2 header's first tag, which is behind four numbers.
pub const MULTIBOOT_TAG_TYPE: Field =
    Field::new(Place::Section(".multiboot"), "the first tag's type", 16, 2);
/// The size of that tag.
pub const MULTIBOOT_TAG_SIZE: Field =
    Field::new(Place::Section(".multiboot"), "the first tag's size", 20, 4);

/// The Limine kernel's requests. They begin with the start marker, the base revision tag and an
/// unknown request.
const REQUESTS: Place = Place::Section(".requests");
/// The base revision.
pub const LIMINE_BASE_REVISION: Field = Field::new(REQUESTS, "the base revision", 32 + 16, 8);
/// The last word of the unknown request. All its other words are those of the request for the
/// direct map.
pub const LIMINE_REQUEST_ID: Field = Field::new(
    REQUESTS,
    "the last word of the unknown request",
    32 + 24 + 24,
    8,
);

/// The first tag of a position-independent kernel's dynamic section.
pub const DYNAMIC_TAG: Field = Field::new(Place::Section(".dynamic"), "d_tag", 0, 8);
/// The kind of a position-independent kernel's first relocation, in the lower half of `r_info`.
pub const RELOCATION_KIND: Field = Field::new(
    Place::Section(".rela.dyn"),
    "r_type",
    offset_of!(Elf64_Rela, r_info),
    4,
);
