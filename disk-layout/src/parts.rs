//! The parts of stage2.
//!
//! What boots a kernel by the loader's own protocol comes first: stage1 reads it, and it ends with
//! the [manifest](crate::manifest). The other parts follow on the disk. stage2 reads one when a boot
//! needs it, and compares its sum with the one in this table, which the first part contains: so a
//! part of another build is noticed as well as a damaged one.
//!
//! Each part has a place of its own in memory. The linker puts a function into a part if only that
//! part's [functions](Part::FUNCTIONS) reach it.

use core::mem::offset_of;

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::{SECTOR_SIZE, stage2};

/// Offset of the [`Table`] in stage2's image.
pub const TABLE_OFFSET: usize = stage2::CHECK_START;

/// Where the first part that is not always there lies in memory (physical address). The
/// [first](crate::stage2) one has the room in front of it.
pub const START: u32 = 0x2_2400;

/// A part of stage2 begins at a multiple of so many bytes in memory, and its length is one: it is summed up
/// in rounds. On the disk, it begins with a sector.
pub const ALIGNMENT: usize = stage2::CHECK_ROUND;

macro_rules! parts {
    ($(#[doc = $purpose:literal] $part:ident, $name:literal: $($function:literal)+;)+) => {
        /// A part of stage2 that is not always there.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(usize)]
        pub enum Part {
            $(#[doc = $purpose] $part,)+
        }

        impl Part {
            /// All of them, as they follow each other.
            pub const ALL: &'static [Self] = &[$(Self::$part,)+];

            /// For the host: by which functions each part is entered. Each of them exists once, for the
            /// one machine, and none has a body that could become a part of its caller. Those that show
            /// an error are called without knowing it: [`Named::part`] says in which part they are.
            ///
            /// [`Named::part`]: ../../boot_path/errors/catalogue/trait.Named.html#method.part
            pub const FUNCTIONS: &'static [&'static [&'static str]] = &[$(&[$($function),+],)+];

            /// Its name.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$part => $name,)+
                }
            }

            /// What is in it.
            pub const fn purpose(self) -> &'static str {
                match self {
                    $(Self::$part => $purpose.trim_ascii(),)+
                }
            }
        }
    };
}

parts! {
    /// Kernels of the Limine protocol.
    Limine, "limine":
        "boot_path::ways_out::recognise::limine::find_requests"
        "boot_path::ways_out::limine::boot::boot"
        "stage2::ways_out::limine::start_kernel";
    /// Kernels of Multiboot 1 and 2.
    Multiboot, "multiboot":
        "boot_path::ways_out::recognise::multiboot::open"
        "boot_path::ways_out::recognise::multiboot::open_listed"
        "boot_path::ways_out::recognise::multiboot::open_unless_limine"
        "boot_path::ways_out::multiboot::boot::boot";
    /// Linux.
    Linux, "linux":
        "boot_path::ways_out::recognise::linux::open"
        "boot_path::ways_out::recognise::linux::open_listed"
        "boot_path::ways_out::linux::boot::boot";
    /// Boot sectors of other disks and partitions.
    Chain, "chain": "boot_path::ways_out::chain::boot::boot";
    /// Kernels that nobody has recognised before.
    Unknown, "unknown":
        "boot_path::ways_out::recognise::unknown::open"
        "boot_path::ways_out::recognise::unknown::has_limine_requests"
        "boot_path::ways_out::recognise::unknown::refuse_foreign";
    /// ELF kernels with a dynamic section: their relocations.
    Dynamic, "dynamic": "boot_path::kernel::relocate::relocate";
    /// Files that are compressed.
    Gzip, "gzip": "boot_path::files::unpack::unpack";
    /// Lists of entries.
    Entries, "entries":
        "boot_path::entry::choose::choose_entry"
        "boot_path::entry::attempts::boot_first"
        "boot_path::entry::bootable::has_entries";
    /// Disks that are not as `disk-builder` makes them: more partitions, or damage.
    Disks, "disks":
        "boot_path::path::choose_partition"
        "boot_path::files::views::open_other"
        "boot_path::files::views::by_others"
        "<boot_path::disk::partition::PartitionError as core::fmt::Display>::fmt"
        "<boot_path::disk::partition::PartitionError as boot_path::errors::catalogue::Named>::entry";
    /// Files that another loader has brought.
    Brought, "brought": "boot_path::ways_in::brought::take";
    /// Graphics modes.
    Graphics, "graphics":
        "boot_path::ways_out::graphics::ask_bios"
        "boot_path::ways_out::graphics::choose_mode"
        "boot_path::ways_out::graphics::set_mode";
    /// What errors of files and kernels are called.
    Texts, "texts":
        "<boot_path::entry::entries::NoEntry as core::fmt::Display>::fmt"
        "<boot_path::entry::entries::NoEntry as boot_path::errors::catalogue::Named>::entry"
        "<boot_path::entry::entries::NoneBoots as core::fmt::Display>::fmt"
        "<boot_path::entry::entries::NoneBoots as boot_path::errors::catalogue::Named>::entry"
        "<boot_path::entry::entry_file::EntryFileError as core::fmt::Display>::fmt"
        "<boot_path::entry::entry_file::EntryFileError as boot_path::errors::catalogue::Named>::entry"
        "<boot_path::files::error::Missing as core::fmt::Display>::fmt"
        "<boot_path::files::error::Missing as boot_path::errors::catalogue::Named>::entry"
        "<boot_path::files::gzip::GzipError as core::fmt::Display>::fmt"
        "<boot_path::files::gzip::GzipError as boot_path::errors::catalogue::Named>::entry"
        "<boot_path::files::integrity::Damage as core::fmt::Display>::fmt"
        "<boot_path::files::integrity::Damage as boot_path::errors::catalogue::Named>::entry"
        "<boot_path::kernel::image::errors::KernelError as core::fmt::Display>::fmt"
        "<boot_path::kernel::image::errors::KernelError as boot_path::errors::catalogue::Named>::entry"
        "<boot_path::paging::page_tables::PagingError as core::fmt::Display>::fmt"
        "<boot_path::paging::page_tables::PagingError as boot_path::errors::catalogue::Named>::entry"
        "<boot_path::ways_in::multiboot::MultibootError as core::fmt::Display>::fmt"
        "<boot_path::ways_in::multiboot::MultibootError as boot_path::errors::catalogue::Named>::entry"
        "<boot_path::ways_out::chain::boot_sector::ChainError as core::fmt::Display>::fmt"
        "<boot_path::ways_out::chain::boot_sector::ChainError as boot_path::errors::catalogue::Named>::entry"
        "<boot_path::ways_out::limine::errors::LimineError as core::fmt::Display>::fmt"
        "<boot_path::ways_out::limine::errors::LimineError as boot_path::errors::catalogue::Named>::entry"
        "<boot_path::ways_out::linux::image::errors::LinuxError as core::fmt::Display>::fmt"
        "<boot_path::ways_out::linux::image::errors::LinuxError as boot_path::errors::catalogue::Named>::entry"
        "<boot_path::ways_out::multiboot::elf::image::MemoryConflict as core::fmt::Display>::fmt"
        "<boot_path::ways_out::multiboot::elf::image::MemoryConflict as boot_path::errors::catalogue::Named>::entry"
        "<boot_path::ways_out::multiboot::header::errors::HeaderError as core::fmt::Display>::fmt"
        "<boot_path::ways_out::multiboot::header::errors::HeaderError as boot_path::errors::catalogue::Named>::entry";
}

/// The most parts there can be.
pub const MAX_PARTS: usize = 15;
const _: () = assert!(Part::ALL.len() <= MAX_PARTS);

/// Where the parts are; `disk-builder` fills it in.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Table {
    /// LBA of stage2, in sectors of 512 bytes.
    pub lba: U32,
    /// Zero.
    pub reserved: [U32; 7],
    /// Each part's place, in the order of [`Part::ALL`].
    pub places: [Place; MAX_PARTS],
}

/// Offset of [`Table::lba`] in stage2's image.
pub const LBA_OFFSET: usize = TABLE_OFFSET + offset_of!(Table, lba);

/// Where a part is, and its sum.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Place {
    /// Its first sector of 512 bytes, counted from that of stage2.
    pub sector: U32,
    /// Its length in bytes, a multiple of [`ALIGNMENT`].
    pub length: U32,
    /// Where it lies in memory (physical address).
    pub address: U32,
    /// Zero.
    pub reserved: U32,
    /// Its sum, as [`Stage2Header::check`](crate::Stage2Header::check) is that of the first part.
    pub sum: [U64; 2],
}

const _: () = assert!(size_of::<Table>() == 512);
const _: () = assert!(TABLE_OFFSET + size_of::<Table>() <= stage2::SUMMED);
const _: () = assert!(START.is_multiple_of(ALIGNMENT as u32));

impl Table {
    /// The table as it is compiled.
    pub const EMPTY: Self = Self {
        lba: U32::ZERO,
        reserved: [U32::ZERO; 7],
        places: [Place {
            sector: U32::ZERO,
            length: U32::ZERO,
            address: U32::ZERO,
            reserved: U32::ZERO,
            sum: [U64::ZERO; 2],
        }; MAX_PARTS],
    };
}

impl Part {
    /// A part in front of it whose memory it shares, because no boot needs both: what another loader has
    /// brought is not read from a disk.
    pub const fn shares(self) -> Option<Self> {
        match self {
            Self::Brought => Some(Self::Disks),
            _ => None,
        }
    }

    /// Offset of the part's [`Place`] in stage2's image.
    pub const fn place_offset(self) -> usize {
        TABLE_OFFSET + offset_of!(Table, places) + self as usize * size_of::<Place>()
    }
}

/// The table in an image of stage2. `None`: the image is too short.
#[must_use]
pub fn table(image: &[u8]) -> Option<&Table> {
    let (table, _) = Table::ref_from_prefix(image.get(TABLE_OFFSET..)?).ok()?;
    Some(table)
}

/// The bytes of a part in what stage2 is on the disk. `None`: they are not all there.
#[must_use]
pub fn bytes<'a>(image: &'a [u8], place: &Place) -> Option<&'a [u8]> {
    let start = place.sector.get() as usize * SECTOR_SIZE;
    image.get(start..)?.get(..place.length.get() as usize)
}
