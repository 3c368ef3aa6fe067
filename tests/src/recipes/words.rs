//! The words of a recipe: what is done to a good image or to its machine, and what a user then sees.
//!
//! They are few, so that a recipe can be read: *set this field*, *cut this file*, *let this sector
//! fail*, *run on that CPU*. `docs/errors.md` has them in English ([`english`](super::english));
//! `good_image` carries them out.

pub use crate::defect::Defect;

/// How to reach an error.
#[derive(Clone, Copy, Debug)]
pub struct Recipe {
    /// The kernel of the good image.
    pub kernel: GoodKernel,
    /// What is done to it and to its machine, in this order.
    pub changes: &'static [Change],
    /// The result.
    pub shows: Shows,
}

impl Recipe {
    /// A recipe that begins with the demo kernel's image, as `./run.sh --headless` boots it, but
    /// without checksums: changes are then found by the other checks.
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
    /// Both of stage2's checksums are corrected: nothing notices the changes.
    MendChecksums,
    /// The file becomes this long.
    Cut(&'static str, u64),
    /// The file is deleted.
    Delete(&'static str),
    /// The file is written anew, with these bytes.
    Put(&'static str, &'static [u8]),

    /// Every read of this sector, counted from the start of the place, fails.
    DeadSector(Place, u64),
    /// QEMU gets these arguments.
    Qemu(&'static str),
    /// QEMU starts the loader by Multiboot, without a disk and without modules.
    Multiboot,
    /// An option ROM adds these defects to the BIOS; the machine then has an IDE disk.
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

/// A place in the image. Offsets count from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// LBA 0.
    Mbr,
    /// The first entry of the partition table.
    PartitionEntry,
    /// stage2, from its header on.
    Stage2,
    /// A part of stage2 that stage1 does not read, by its name.
    Part(&'static str),
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
    /// The first instruction of the kernel.
    EntryPoint,
}

/// A number in the image, little-endian.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// The place of its structure.
    pub place: Place,
    /// Its name in the specification.
    pub name: &'static str,
    /// Its offset in the structure.
    pub offset: usize,
    /// Its length.
    pub bytes: usize,
}

impl Field {
    /// A field of a structure that begins at a place.
    pub const fn new(place: Place, name: &'static str, offset: usize, bytes: usize) -> Self {
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

/// What a user sees. In texts, `{n}` stands for a decimal number, `{x}` and `{X}` for hexadecimal
/// ones in lower and upper case (`{X:16}`: of 16 digits), `{text}` for the rest of the line.
#[derive(Clone, Copy, Debug)]
pub enum Shows {
    /// stage1's line, with this status of the BIOS.
    Stage1(&'static str),
    /// An error of a 16-bit step.
    RealMode,
    /// The lines of the steps from 5 to this one, then the error with these facts.
    After(u32, &'static str),
    /// The same, with lines before and behind the error.
    Lines {
        /// The last step that prints its line.
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
    /// The facts behind the sentence; may be empty.
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
