//! How to provoke an error, as data: what is done to a good image or to its machine, and what a
//! user then sees.
//!
//! The words are few, so that a row of the [catalogue](crate::errors::catalogue) can be read: *set this
//! field*, *cut this file*, *let this sector fail*, *run on that CPU*. `docs/errors.md` has them in
//! English (the `Display` of [`Change`]); the tests' `recipe.rs` carries them out. The program itself
//! refers to none of this, and so the linker leaves it out.

use core::fmt;
use core::mem::offset_of;

use disk_layout::PartitionEntry;
use elf::file::Elf64_Ehdr;
use elf::relocation::Elf64_Rela;
use elf::segment::Elf64_Phdr;

use crate::disk::fat;
use crate::entry::entry_file::PATH_KERNEL;

/// How to reach an error.
#[derive(Clone, Copy, Debug)]
pub struct Recipe {
    /// What the good image holds.
    pub kernel: GoodKernel,
    /// What is done to it and to its machine, in this order.
    pub changes: &'static [Change],
    /// What comes of it.
    pub shows: Shows,
}

impl Recipe {
    /// A recipe that begins with the image of the demo kernel, as `./run.sh --headless` boots it, but
    /// without checksums: what is changed is then for the other checks to find.
    pub const fn new(changes: &'static [Change], shows: Shows) -> Self {
        Self {
            kernel: GoodKernel::Demo,
            changes,
            shows,
        }
    }

    /// The same, but the demo kernel is linked as a position-independent program.
    pub const fn position_independent(self) -> Self {
        Self {
            kernel: GoodKernel::PositionIndependent,
            ..self
        }
    }

    /// The same, but the image has checksums, and the module [`MODULE`].
    pub const fn checked(self) -> Self {
        Self {
            kernel: GoodKernel::Checked,
            ..self
        }
    }

    /// The same, but with the tests' smallest kernel for Multiboot 2.
    pub const fn multiboot_2(self) -> Self {
        Self {
            kernel: GoodKernel::Multiboot2,
            ..self
        }
    }

    /// The same, but with the tests' kernel for the Limine protocol.
    pub const fn limine(self) -> Self {
        Self {
            kernel: GoodKernel::Limine,
            ..self
        }
    }
}

/// The kernel of a good image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GoodKernel {
    /// The demo kernel.
    Demo,
    /// The demo kernel as a static PIE.
    PositionIndependent,
    /// The demo kernel and a module, with their checksums.
    Checked,
    /// The tests' smallest kernel for Multiboot 2.
    Multiboot2,
    /// The tests' kernel for the Limine protocol.
    Limine,
}

/// The module of [`GoodKernel::Checked`].
pub const MODULE: &str = "/boot/modules/module";

/// One change to a good image, or to the machine that boots it.
#[derive(Clone, Copy, Debug)]
pub enum Change {
    /// A field becomes this number.
    Set(Field, Number),
    /// A bit, counted from 0, of the byte at an offset is inverted.
    Flip(Place, u64, u8),
    /// Instructions are overwritten by others.
    Code(Place, &'static [Instruction]),
    /// The sum that stage1 takes over stage2 is made right again: what was changed is then for
    /// stage2's own check to find.
    MendSum,
    /// Both of stage2's checksums are made right again: nothing notices what was changed.
    MendChecksums,
    /// The file becomes this long.
    Cut(&'static str, u64),
    /// The file is deleted.
    Delete(&'static str),
    /// The file is written anew, with these bytes.
    Put(&'static str, &'static [u8]),

    /// Each read of this sector, counted from the start of the place, fails.
    DeadSector(Place, u64),
    /// QEMU gets these arguments.
    Qemu(&'static str),
    /// QEMU starts the loader by Multiboot, without a disk and without modules.
    Multiboot,
    /// An option ROM spoils the BIOS in these ways; the machine is then one with IDE.
    Rom(&'static [Defect]),
}

/// An instruction that is written into a program.
#[derive(Clone, Copy, Debug)]
pub enum Instruction {
    /// As text, and its bytes.
    Bytes(&'static str, &'static [u8]),
    /// A near jump to a function of the program.
    JumpTo(&'static str),
}

/// A place in the image, from which offsets count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// LBA 0.
    Mbr,
    /// The first entry of the partition table.
    PartitionEntry,
    /// stage2, from its header on.
    Stage2,
    /// A function of stage2, by its path without the generic arguments.
    Function(&'static str),
    /// The boot sector of the boot partition, and its backup.
    Volume,
    /// The entry of the file allocation table for this cluster of a file, counted from 0; in all
    /// copies of the table.
    Link(&'static str, usize),
    /// A file in the boot partition.
    File(&'static str),
    /// A program header of the kernel, counted from 0 as `readelf -lW` shows them.
    ProgramHeader(u64),
    /// A section of the kernel.
    Section(&'static str),
    /// The instruction that the kernel begins with.
    EntryPoint,
}

/// A number in the image, little-endian.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Where its structure is.
    pub place: Place,
    /// What its specification calls it.
    pub name: &'static str,
    /// Where it is in the structure.
    pub offset: usize,
    /// How long it is.
    pub bytes: usize,
}

impl Field {
    const fn new(place: Place, name: &'static str, offset: usize, bytes: usize) -> Self {
        Self {
            place,
            name,
            offset,
            bytes,
        }
    }
}

/// A number, and its name if it has one.
#[derive(Clone, Copy, Debug)]
pub struct Number {
    /// `EM_AARCH64`; may be empty.
    pub name: &'static str,
    /// 183.
    pub value: u64,
}

/// A number without a name.
pub const fn number(value: u64) -> Number {
    Number { name: "", value }
}

/// A number by the name of a constant.
macro_rules! named {
    ($module:ident::$name:ident) => {
        $crate::errors::recipe::Number {
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

/// The file system's boot sector: bytes in a sector.
pub const BYTES_PER_SECTOR: Field = Field::new(
    Place::Volume,
    "BPB_BytsPerSec",
    fat::BYTES_PER_SECTOR_OFFSET,
    2,
);

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

/// What the tests' option ROM can spoil; each is a bit of its flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Defect {
    /// INT 15h E820h is not there.
    NoE820 = 1 << 0,
    /// INT 15h E801h is not there.
    NoE801 = 1 << 1,
    /// INT 15h 88h is not there.
    No88 = 1 << 2,
    /// INT 13h has no extensions.
    NoEdd = 1 << 3,
    /// A20 is off when stage2 starts.
    A20Off = 1 << 4,
    /// INT 15h 24xxh is not there.
    NoA20Call = 1 << 5,
    /// The keyboard controller does not enable A20.
    NoA20Keyboard = 1 << 6,
    /// Port 92h does not enable A20.
    NoA20Fast = 1 << 7,
    /// INT 13h AH=48h needs kilobytes of stack.
    DeepStack = 1 << 8,
    /// INT 13h AH=48h executes an invalid opcode.
    InvalidOpcode = 1 << 9,
    /// INT 13h AH=48h divides by 0.
    DivideError = 1 << 10,
    /// INT 13h AH=48h raises #GP: FXSAVE wants an address that is a multiple of 16.
    GeneralProtection = 1 << 11,
    /// INT 13h AH=48h overwrites the end of the 64-bit code's stack.
    SpoilsStack = 1 << 12,
    /// INT 13h AH=48h waits for IRQ 4, which has the vector of #SS.
    WaitsForIrq4 = 1 << 13,
    /// INT 13h AH=48h overwrites all but the end of that stack.
    Overwrites = 1 << 14,
    /// EFLAGS.ID cannot be changed any more when step 3 asks.
    NoCpuid = 1 << 15,
    /// INT 10h, 13h, 15h and 16h return with DF set.
    SetsDirectionFlag = 1 << 16,
    /// They return with IF clear.
    ClearsInterruptFlag = 1 << 17,
    /// They return with another DS.
    ChangesDs = 1 << 18,
    /// They fail when they are called with IF clear or with DF set.
    WatchesFlags = 1 << 19,
    /// They fail when CR0, CR4 or EFER is not what the BIOS had there, which is CR4.DE among others.
    WatchesControl = 1 << 20,
}

/// What a user sees. In texts, `{n}` stands for a decimal number, `{x}` and `{X}` for hexadecimal
/// ones in lower and upper case (`{X:16}`: of 16 digits), `{text}` for the rest of the line.
#[derive(Clone, Copy, Debug)]
pub enum Shows {
    /// stage1's line, with this status of the BIOS.
    Stage1(&'static str),
    /// An error of a 16-bit step.
    RealMode,
    /// The lines of the steps from 5 to this one; then the error, with these facts.
    After(u32, &'static str),
    /// The same, and lines before the error and behind it.
    Lines {
        /// The last step that has its line.
        after: u32,
        /// Lines between that and the error.
        before: &'static [&'static [&'static str]],
        /// Facts of the error.
        facts: &'static str,
        /// Lines behind the error.
        behind: &'static [&'static [&'static str]],
    },
}

impl Shows {
    /// What stands behind the sentence; may be empty.
    pub const fn facts(&self) -> &'static str {
        match self {
            Self::Stage1(_) | Self::RealMode => "",
            Self::After(_, facts) | Self::Lines { facts, .. } => facts,
        }
    }
}

/// A blank line.
pub const BLANK: &[&str] = &[""];
/// The registers in the report of an exception.
pub const REGISTERS: &[&str] = &[
    "RIP {X:16}  CS  {X:4}  SS {X:4}  RFLAGS {X:8}",
    "RSP {X:16}  CR2 {X:16}  CR3 {X:16}",
    "RAX {X:16}  RBX {X:16}  RCX {X:16}",
    "RDX {X:16}  RSI {X:16}  RDI {X:16}",
    "RBP {X:16}  R8  {X:16}  R9  {X:16}",
    "R10 {X:16}  R11 {X:16}  R12 {X:16}",
    "R13 {X:16}  R14 {X:16}  R15 {X:16}",
];
/// Where a kernel's code faulted.
pub const KERNEL_SEGMENT: &[&str] =
    &["RIP is in segment 1 of the kernel (r-x), 0x{x} behind its start"];
/// The stack, as far as it is mapped: four quadwords …
pub const STACK_ROW: &[&str] = &["stack {X:16} {X:16} {X:16} {X:16}"];
/// … and four more.
pub const STACK_ROW_2: &[&str] = &["      {X:16} {X:16} {X:16} {X:16}"];

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mbr => f.write_str("the MBR"),
            Self::PartitionEntry => f.write_str("the first entry of the partition table"),
            Self::Stage2 => f.write_str("stage2"),
            Self::Function(name) => write!(f, "`{name}`"),
            Self::Volume => f.write_str("the partition's boot sector and its backup"),
            Self::Link(path, number) => {
                write!(f, "the FAT, for cluster {number} (from 0) of `{path}`")
            }
            Self::File(path) => write!(f, "`{path}`"),
            Self::ProgramHeader(number) => write!(f, "the kernel's program header {number}"),
            Self::Section(name) => write!(f, "the kernel's section `{name}`"),
            Self::EntryPoint => f.write_str("the kernel's entry point"),
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Set(Field { place, name, .. }, number) => {
                write!(f, "in {place}, {name} becomes {number}")
            }
            Self::Flip(place, offset, bit) => {
                write!(f, "bit {bit} of byte {offset} of {place} is inverted")
            }
            Self::Code(place, instructions) => {
                write!(f, "the code at {place} becomes ")?;
                for (index, instruction) in instructions.iter().enumerate() {
                    let separator = if index == 0 { "" } else { "; " };
                    write!(f, "{separator}{instruction}")?;
                }
                Ok(())
            }
            Self::MendSum => f.write_str("the sum that stage1 takes of stage2 is made right again"),
            Self::MendChecksums => f.write_str("stage2's checksums are made right again"),
            Self::Cut(path, bytes) => write!(f, "`{path}` ends after {bytes} bytes"),
            Self::Delete(path) => write!(f, "`{path}` is deleted"),
            Self::Put(path, bytes) => {
                write!(
                    f,
                    "`{path}` holds `{}`",
                    bytes.trim_ascii_end().escape_ascii()
                )
            }
            Self::DeadSector(place, number) => {
                write!(f, "each read of sector {number} (from 0) of {place} fails")
            }
            Self::Qemu(arguments) => write!(f, "QEMU runs with `{arguments}`"),
            Self::Multiboot => {
                f.write_str("QEMU starts `bootpath.elf`, without modules (`-initrd`)")
            }
            Self::Rom(defects) => {
                f.write_str("an option ROM spoils the BIOS of a PC with IDE: ")?;
                for (index, defect) in defects.iter().enumerate() {
                    let separator = if index == 0 { "" } else { "; " };
                    write!(f, "{separator}{defect}")?;
                }
                Ok(())
            }
        }
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.value < 1 << 16 {
            write!(f, "{}", self.value)?;
        } else {
            write!(f, "{:#x}", self.value)?;
        }
        match self.name {
            "" => Ok(()),
            name => write!(f, " ({name})"),
        }
    }
}

impl fmt::Display for Instruction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(text, _) => write!(f, "`{text}`"),
            Self::JumpTo(name) => write!(f, "`jmp {name}`"),
        }
    }
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoE820 => "no INT 15h E820h",
            Self::NoE801 => "no INT 15h E801h",
            Self::No88 => "no INT 15h 88h",
            Self::NoEdd => "no INT 13h extensions",
            Self::A20Off => "A20 is off",
            Self::NoA20Call => "no INT 15h 24xxh",
            Self::NoA20Keyboard => "the keyboard controller does not enable A20",
            Self::NoA20Fast => "port 92h does not enable A20",
            Self::DeepStack => "INT 13h AH=48h needs kilobytes of stack",
            Self::InvalidOpcode => "INT 13h AH=48h executes an invalid opcode",
            Self::DivideError => "INT 13h AH=48h divides by 0",
            Self::GeneralProtection => "INT 13h AH=48h raises #GP",
            Self::SpoilsStack => "INT 13h AH=48h overwrites the end of the 64-bit code's stack",
            Self::WaitsForIrq4 => "INT 13h AH=48h waits for IRQ 4",
            Self::Overwrites => {
                "INT 13h AH=48h overwrites the 64-bit code's stack, but for its end"
            }
            Self::NoCpuid => "EFLAGS.ID cannot be changed",
            Self::SetsDirectionFlag => "calls return with DF set",
            Self::ClearsInterruptFlag => "calls return with IF clear",
            Self::ChangesDs => "calls return with another DS",
            Self::WatchesFlags => "calls fail with IF clear or with DF set",
            Self::WatchesControl => "calls fail when CR0, CR4 or EFER is not the BIOS's",
        })
    }
}
