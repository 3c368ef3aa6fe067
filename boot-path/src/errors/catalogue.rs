//! Every way in which a boot can fail: one table.
//!
//! A code is the number of the step and a letter. The messages on the screen, `docs/errors.md`, the
//! refusals of `disk-builder`, and `./run.sh break CODE`, which provokes the error, all come from
//! here.
//!
//! **A new error** is a new row, in its place by step and letter. `sentence` and `advice` are what a
//! user reads on the screen: one row, and at most two. `causes` is for the manual alone. `recipe`
//! says how to provoke the error and what is then seen; its words are those of [`crate::errors::recipe`], where a
//! missing one is added together with a line in the tests' `recipe.rs` that carries it out. Then:
//!
//! ```sh
//! ./run.sh break 7A                         # is it reached, and is nothing else printed?
//! BLESS=1 cargo test -p boot-path --test docs  # the manual
//! ```

use core::fmt;

use elf::abi;

use crate::entry::entry_file::{PATH_ENTRY, PATH_KERNEL};
use crate::errors::recipe::Change::{
    Code, Cut, DeadSector, Delete, Flip, MendChecksums, MendSum, Multiboot, Put, Qemu, Rom, Set,
};
use crate::errors::recipe::Instruction::{Bytes, JumpTo};
use crate::errors::recipe::Shows::{After, Lines, RealMode, Stage1};
use crate::errors::recipe::*;

/// What the loader prints of a row.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    /// Step number and letter, `2A`.
    pub code: &'static str,
    /// What happened, in one sentence without a full stop.
    pub sentence: &'static str,
    /// What to try: sentences.
    pub advice: &'static str,
}

impl Entry {
    /// The number of the step: `10A` → 10.
    pub fn step(&self) -> u32 {
        let digits = self.code.bytes().take_while(u8::is_ascii_digit);
        digits.fold(0, |number, digit| number * 10 + u32::from(digit - b'0'))
    }
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// What the loader prints.
    pub entry: &'static Entry,
    /// Likely causes: sentences. The program does not contain them.
    pub causes: &'static str,
    /// How to provoke it. As little.
    pub recipe: Recipe,
}

/// An error of a step: it has a row in the table, and its `Display` gives the facts (addresses,
/// sectors, status), or nothing where there are none.
pub trait Named: fmt::Display {
    /// The row of the table.
    fn entry(&self) -> &'static Entry;
}

/// A failure as it is shown: `error 7A: the disk cannot be read: LBA 2048, drive 80h, status 0Ch`.
pub struct Report<'a>(pub &'a dyn Named);

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write as _;

        /// Puts `: ` in front of the first thing that is written.
        struct Prefixed<'a, 'b>(&'a mut fmt::Formatter<'b>, bool);
        impl fmt::Write for Prefixed<'_, '_> {
            fn write_str(&mut self, s: &str) -> fmt::Result {
                if !s.is_empty() {
                    self.begin()?;
                }
                self.0.write_str(s)
            }

            fn write_char(&mut self, c: char) -> fmt::Result {
                self.begin()?;
                self.0.write_char(c)
            }
        }
        impl Prefixed<'_, '_> {
            fn begin(&mut self) -> fmt::Result {
                if self.1 {
                    return Ok(());
                }
                self.1 = true;
                self.0.write_str(": ")
            }
        }

        let entry = self.0.entry();
        for text in ["error ", entry.code, ": ", entry.sentence] {
            f.write_str(text)?;
        }
        write!(Prefixed(f, false), "{}", self.0)
    }
}

macro_rules! catalogue {
    ($($name:ident {
        code: $code:literal,
        sentence: $sentence:literal,
        causes: $causes:literal,
        advice: $advice:literal,
        recipe: $recipe:expr,
    })*) => {
        $(
            #[doc = concat!($code, ": ", $sentence, ".")]
            pub static $name: Entry = Entry {
                code: $code,
                sentence: $sentence,
                advice: $advice,
            };
        )*
        /// All rows, by code.
        pub static ALL: &[Row] = &[
            $(Row {
                entry: &$name,
                causes: $causes,
                recipe: $recipe,
            }),*
        ];
    };
}

/// The short name of [`Recipe::new`].
const fn by(changes: &'static [Change], shows: Shows) -> Recipe {
    Recipe::new(changes, shows)
}

catalogue! {
    STAGE1_READ {
        code: "1A",
        sentence: "stage1 cannot read stage2",
        causes: "The disk is damaged, or the BIOS cannot read it.",
        advice: "Try another port or stick. Writing the image again erases the disk: copy your files off it first.",
        recipe: by(&[DeadSector(Place::Stage2, 2)], Stage1("0C")),
    }
    STAGE2_SUM {
        code: "1B",
        sentence: "what stage1 read is not stage2, or a damaged one",
        causes: "The sectors behind the MBR were changed, or RAM is faulty.",
        advice: "Test the memory. Writing the image again erases the disk: copy your files off it first.",
        recipe: by(&[Flip(Place::Stage2, 3000, 4)], Stage1("00")),
    }
    STAGE2_CORRUPT {
        code: "1C",
        sentence: "stage2 is damaged (checksum mismatch)",
        causes: "The sectors behind the MBR were changed in a way that stage1's sum does not see, or RAM is faulty.",
        advice: "Test the memory. Writing the image again erases the disk: copy your files off it first.",
        recipe: by(&[Flip(Place::Stage2, 3000, 4), MendSum], RealMode),
    }
    STAGE1_DAMAGED {
        code: "1D",
        sentence: "stage1 itself is damaged",
        causes: "The MBR, or the boot program of a CD, was changed, or RAM is faulty.",
        advice: "Test the memory. Writing the image again erases the disk: copy your files off it first.",
        recipe: by(&[Flip(Place::Mbr, 256, 7)], Stage1("00")),
    }
    A20_STUCK {
        code: "2A",
        sentence: "the A20 line cannot be enabled",
        causes: "The BIOS, the keyboard controller and port 92h were all asked to enable it, and none did.",
        advice: "Look for a setting like 'A20' or 'Gate A20' in the BIOS setup.",
        recipe: by(
            &[Rom(&[
                Defect::A20Off,
                Defect::NoA20Call,
                Defect::NoA20Keyboard,
                Defect::NoA20Fast,
            ])],
            RealMode,
        ),
    }
    CPU_NO_CPUID {
        code: "3A",
        sentence: "this CPU has no CPUID instruction, so no 64-bit mode",
        causes: "The CPU is a 386 or 486, or something poses as one.",
        advice: "Bootpath needs a 64-bit CPU.",
        recipe: by(&[Rom(&[Defect::NoCpuid])], RealMode),
    }
    CPU_NO_LONG_MODE {
        code: "3B",
        sentence: "this CPU has no long mode (64-bit)",
        causes: "The CPU is a 32-bit one, or a virtual machine has one.",
        advice: "Bootpath needs a 64-bit CPU; in a virtual machine, choose one.",
        recipe: by(&[Qemu("-cpu qemu64,-lm")], RealMode),
    }
    CPU_NO_PAE {
        code: "3C",
        sentence: "this CPU has no PAE",
        causes: "All 64-bit CPUs have it: a virtual machine hides it.",
        advice: "Bootpath needs a 64-bit CPU; in a virtual machine, choose one.",
        recipe: by(&[Qemu("-cpu qemu64,-pae")], RealMode),
    }
    CPU_NO_SSE2 {
        code: "3D",
        sentence: "this CPU has no SSE2",
        causes: "All 64-bit CPUs have it: a virtual machine hides it.",
        advice: "Bootpath needs a 64-bit CPU; in a virtual machine, choose one.",
        recipe: by(&[Qemu("-cpu qemu64,-sse2")], RealMode),
    }
    REAL_MODE_EXCEPTION {
        code: "4A",
        sentence: "the CPU raised an exception in 16-bit code",
        causes: "From segment C000 on it was in the BIOS; below, the loader has a defect, or RAM is faulty.",
        advice: "If its segment is C000 or higher, look for a BIOS update; else please report the line.",
        recipe: by(
            &[
                Code(
                    Place::Function("stage2::real::a20::enable"),
                    &[Bytes("ud2", &[0x0F, 0x0B])],
                ),
                MendChecksums,
            ],
            Lines {
                after: 0,
                before: &[BLANK],
                facts: "vector 06h at 0000:{X:4}",
                behind: &[],
            },
        ),
    }
    EXCEPTION {
        code: "5A",
        sentence: "the CPU raised an exception in the loader",
        causes: "A BIOS wrote where it must not, RAM is faulty, or the loader has a defect.",
        advice: "Look for a BIOS update; else please report the registers shown.",
        recipe: by(
            &[Rom(&[Defect::Overwrites])],
            Lines {
                after: 6,
                before: &[BLANK],
                facts: "#GP general protection (vector 13), error code 0h",
                behind: &[REGISTERS, STACK_ROW, STACK_ROW_2],
            },
        ),
    }
    PANIC {
        code: "5B",
        sentence: "the loader stopped itself",
        causes: "A defect of the loader: it noticed that something cannot be.",
        advice: "Please report the line shown.",
        recipe: by(
            &[
                Code(
                    Place::Function("stage2::machine::switch::leap"),
                    &[
                        Bytes("xor edi, edi", &[0x31, 0xFF]),
                        JumpTo("stage2::machine::physical::check"),
                    ],
                ),
                MendChecksums,
            ],
            After(
                12,
                "stage2/src/machine/physical.rs:{n}: an address is out of the loader's reach",
            ),
        ),
    }
    FAULT_IN_REPORT {
        code: "5C",
        sentence: "an exception while another error was being reported",
        causes: "The loader's memory was overwritten, or is faulty.",
        advice: "Look at what was printed before.",
        recipe: by(
            // A breakpoint on the BIOS's cursor, which the report of the #UD sets at its end.
            &[Code(
                Place::EntryPoint,
                &[
                    Bytes("mov eax, 0x450", &[0xB8, 0x50, 0x04, 0x00, 0x00]),
                    Bytes("mov dr0, rax", &[0x0F, 0x23, 0xC0]),
                    Bytes("mov eax, 0x50001", &[0xB8, 0x01, 0x00, 0x05, 0x00]),
                    Bytes("mov dr7, rax", &[0x0F, 0x23, 0xF8]),
                    Bytes("ud2", &[0x0F, 0x0B]),
                ],
            )],
            Lines {
                after: 12,
                before: &[
                    BLANK,
                    &["error 12A: {text}"],
                    REGISTERS,
                    KERNEL_SEGMENT,
                    STACK_ROW,
                    // The advice.
                    &["{text}", "press a key to reboot"],
                    BLANK,
                ],
                facts: "",
                behind: &[],
            },
        ),
    }
    STACK_OVERRUN {
        code: "5D",
        sentence: "the BIOS used more stack than there is",
        causes: "A BIOS call needs more than 3 KiB of stack, or writes where it must not.",
        advice: "Look for a BIOS update.",
        recipe: by(
            &[Rom(&[Defect::DeepStack])],
            Lines {
                after: 6,
                before: &[BLANK],
                facts: "",
                behind: &[],
            },
        ),
    }
    LOADER_STACK {
        code: "5E",
        sentence: "the end of the loader's stack was overwritten",
        causes: "The BIOS wrote to memory that it calls free, or the loader has a defect.",
        advice: "Look for a BIOS update; else please report what was printed before.",
        recipe: by(
            &[Rom(&[Defect::SpoilsStack])],
            After(6, "59ACCCCCh at {X}h"),
        ),
    }
    MEMORY_NO_MAP {
        code: "6A",
        sentence: "the BIOS gives no memory map",
        causes: "INT 15h E820, E801 and 88h all failed.",
        advice: "Look for a BIOS update.",
        recipe: by(
            &[Rom(&[Defect::NoE820, Defect::NoE801, Defect::No88])],
            After(5, ""),
        ),
    }
    MEMORY_TOO_LITTLE {
        code: "6B",
        sentence: "there is too little memory",
        causes: "Kernel, modules and page tables do not fit into RAM, or not in one piece.",
        advice: "Add memory, or make the kernel and its modules smaller.",
        recipe: by(
            &[Set(p_memsz(2), number(1 << 30))],
            After(
                9,
                "{n} MiB needed in one piece, {n} MiB free in one piece, 255 MiB of RAM in all",
            ),
        ),
    }
    DISK_READ {
        code: "7A",
        sentence: "the disk cannot be read",
        causes: "The disk is damaged or was removed.",
        advice: "Try another port, cable or stick; copy your files off it as long as it can be read.",
        recipe: by(
            &[DeadSector(Place::File(PATH_KERNEL), 100)],
            After(9, "LBA {n}, drive 80h, status 0Ch"),
        ),
    }
    DISK_RANGE {
        code: "7B",
        sentence: "the sectors lie behind the end of the disk",
        causes: "The image was cut short when it was written, or the BIOS takes the disk for a smaller one.",
        advice: "Try another port or machine. Writing the image again erases the disk: copy your files off it first.",
        recipe: by(
            &[Set(PARTITION_START, number(0x7FFF_FFFF))],
            After(6, "partition 1 starts at LBA 2147483647, the disk has {n} sectors"),
        ),
    }
    DISK_NO_PARTITION {
        code: "7C",
        sentence: "there is no boot partition",
        causes: "The partition table has no active entry and none of a FAT kind.",
        advice: "Mark a FAT partition as active, or boot from another disk or stick: this one stays as it is.",
        recipe: by(
            &[Set(PARTITION_KIND, number(0))],
            After(6, "no entry in LBA 0 is active or FAT"),
        ),
    }
    DISK_GPT {
        code: "7D",
        sentence: "the disk has a GPT, which is not supported",
        causes: "The disk was partitioned for UEFI, or for another loader.",
        advice: "Leave it as it is: boot from another disk or stick, or start Bootpath from GRUB (docs/multiboot-in.md).",
        recipe: by(
            &[Set(PARTITION_KIND, number(0xEE))],
            After(6, "LBA 0 says so, but there is no header"),
        ),
    }
    FAT_NOT_FAT {
        code: "8A",
        sentence: "the boot partition holds no FAT file system",
        causes: "The partition was formatted otherwise, or its boot sector was overwritten.",
        advice: "Find out what it is before you format it: blkid and fsck.fat -n only look. Formatting erases all that it holds.",
        recipe: by(&[Set(BYTES_PER_SECTOR, number(0))], After(7, "byte 0x100000 of the disk, bytes per sector: 0")),
    }
    FAT_DAMAGED {
        code: "8B",
        sentence: "the FAT file system is damaged",
        causes: "The stick was removed while it was written to, or the disk is damaged.",
        advice: "Copy your files off it before you repair it; fsck.fat -n (or chkdsk without /f) only looks.",
        recipe: by(
            &[Set(next_cluster(1), number(0))],
            After(9, "cluster {n} leads to 0x0"),
        ),
    }
    FILE_GZIP {
        code: "8C",
        sentence: "a compressed file cannot be unpacked",
        causes: "It was cut short or changed, or is larger than memory allows: what begins like a gzip file is taken for one.",
        advice: "Try `gzip -t` on it, and copy it again.",
        recipe: by(
            &[Put(PATH_KERNEL, &[0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 3, 7, 0, 0, 0, 0, 0, 9, 0, 0, 0])],
            After(9, "behind 0 bytes"),
        ),
    }
    FAT_FOREIGN {
        code: "8D",
        sentence: "the boot partition is not FAT, but something else",
        causes: "The partition that is marked as active is that of an operating system, or a part of a larger volume.",
        advice: "Leave it as it is: mark a FAT partition as active instead, or boot from another disk or stick.",
        recipe: by(
            &[
                Set(BYTES_PER_SECTOR, number(0)),
                Set(EXT_MAGIC, number(0xEF53)),
                Set(EXT_FEATURES, number(0x2C2)),
            ],
            After(7, "partition 1 holds ext4"),
        ),
    }
    ENTRY_NO_KERNEL {
        code: "9A",
        sentence: "there is no kernel in the boot partition",
        causes: "The file was not copied, or has another name.",
        advice: "Copy the kernel to the path shown.",
        recipe: by(&[Delete(PATH_KERNEL)], After(8, "/boot/kernel.elf")),
    }
    ENTRY_NO_MODULE {
        code: "9B",
        sentence: "a module is missing",
        causes: "A `module` or `initrd` line of the entry or of `/boot/kernel.conf` names a file that is not there.",
        advice: "Copy the module to the path shown, or take its line out of the entry.",
        recipe: by(
            &[Put(PATH_ENTRY, b"module /boot/initrd\n")],
            After(10, "/boot/initrd"),
        ),
    }
    ENTRY_FILE {
        code: "9C",
        sentence: "/boot/kernel.conf cannot be read",
        causes: "The file is no text in UTF-8, has a line that is too long, a `module` line without a path, a `protocol` that does not exist, a `chain` without drive and partition, or the like.",
        advice: "Correct the line shown.",
        recipe: by(
            &[Put(PATH_ENTRY, b"title good\noptions \xFF\n")],
            After(8, "line 2: not UTF-8"),
        ),
    }
    ENTRY_MISSING {
        code: "9D",
        sentence: "a configuration file is gone",
        causes: "`disk-builder` wrote one. It was deleted, or its directory entry is damaged; without it, the kernel would miss its command line, or another one would boot.",
        advice: "Copy the file again; to do without, put an empty one there.",
        recipe: by(&[Delete(PATH_ENTRY)], After(8, "/boot/kernel.conf")).checked(),
    }
    ENTRY_DAMAGED {
        code: "9E",
        sentence: "a configuration file is damaged",
        causes: "Its bytes are not those that `disk-builder` wrote, and nobody has replaced it: the disk is damaged, or RAM is faulty.",
        advice: "Copy the file again; test the memory.",
        recipe: by(
            &[Flip(Place::File(PATH_ENTRY), 10, 0)],
            After(8, "/boot/kernel.conf, CRC-32C {X:8}h instead of {X:8}h"),
        )
        .checked(),
    }
    ENTRY_NONE {
        code: "9F",
        sentence: "no boot entry can be used",
        causes: "Each file there has a line that makes no sense, names nothing to boot, or is for machines of another kind.",
        advice: "Correct the lines shown above.",
        recipe: by(
            &[Put("/loader/entries/mine.conf", b"title Mine\n")],
            Lines {
                after: 8,
                before: &[&[
                    " 9 entries  /loader/entries/mine.conf is left out: it names nothing to boot",
                ]],
                facts: "1 left out, 0 for other machines",
                behind: &[],
            },
        ),
    }
    MULTIBOOT_INFORMATION {
        code: "9G",
        sentence: "what the other loader has loaded cannot be used",
        causes: "Another loader started Bootpath by Multiboot. It loaded no kernel as a module, or its information makes no sense.",
        advice: "Give the kernel as the first module, and its modules behind it.",
        recipe: by(
            &[Multiboot],
            After(6, "no module, and so no kernel"),
        ),
    }
    KERNEL_NOT_ELF {
        code: "10A",
        sentence: "the kernel is not an ELF file",
        causes: "The file is a flat binary, a script, or damaged.",
        advice: "Give the linker's ELF output, not a flat binary.",
        recipe: by(&[Set(E_MAGIC, number(0))], After(9, "")),
    }
    KERNEL_CLASS {
        code: "10B",
        sentence: "the kernel is not a 64-bit little-endian ELF",
        causes: "The kernel was linked for 32 bits, or for a big-endian CPU.",
        advice: "Link the kernel for x86-64 (elf_x86_64).",
        recipe: by(
            &[Set(E_CLASS, named!(abi::ELFCLASS32))],
            After(9, "class 1, data encoding 1"),
        ),
    }
    KERNEL_MACHINE {
        code: "10C",
        sentence: "the kernel is not for x86-64",
        causes: "The kernel was compiled for another CPU.",
        advice: "Compile the kernel for x86-64.",
        recipe: by(&[Set(E_MACHINE, named!(abi::EM_AARCH64))], After(9, "e_machine 183")),
    }
    KERNEL_TYPE {
        code: "10D",
        sentence: "the kernel is neither ET_EXEC nor ET_DYN",
        causes: "The file is an object file or a core dump.",
        advice: "Link the kernel; an object file (.o) cannot be booted.",
        recipe: by(&[Set(E_TYPE, named!(abi::ET_REL))], After(9, "e_type 1")),
    }
    KERNEL_TRUNCATED {
        code: "10E",
        sentence: "the kernel file is shorter than its headers say",
        causes: "It was not copied to its end.",
        advice: "Copy the kernel again.",
        recipe: by(
            &[Cut(PATH_KERNEL, 8192)],
            After(9, "needs {n} bytes, has 8192"),
        ),
    }
    KERNEL_HEADERS {
        code: "10F",
        sentence: "the kernel's ELF headers make no sense",
        causes: "An unusual linker, or a damaged file.",
        advice: "Look at `readelf -lW`.",
        recipe: by(&[Set(E_PHENTSIZE, number(57))], After(9, "e_phentsize 57")),
    }
    KERNEL_NO_LOAD {
        code: "10G",
        sentence: "the kernel has no PT_LOAD segment with bytes in memory",
        causes: "The linker script puts nothing into memory, or the file is not the kernel.",
        advice: "Look at the linker script: nothing is to be loaded.",
        recipe: by(&[Set(E_PHNUM, number(0))], After(9, "")),
    }
    KERNEL_OVERLAP {
        code: "10H",
        sentence: "two segments of the kernel overlap",
        causes: "The linker script gives two segments the same addresses.",
        advice: "Look at the addresses in the linker script.",
        recipe: by(
            &[Set(p_memsz(0), number(0x10_0000))],
            After(9, "segments 0 and 1 at 0x{x}"),
        ),
    }
    KERNEL_WRAPS {
        code: "10I",
        sentence: "a segment of the kernel leaves the canonical address space",
        causes: "The addresses in the linker script are too high, or in the hole between the halves.",
        advice: "Look at the addresses in the linker script.",
        recipe: by(
            &[Set(p_memsz(2), number(4 << 30))],
            After(9, "segment 2 at 0x{x}, 0x100000000 bytes"),
        ),
    }
    KERNEL_ENTRY {
        code: "10J",
        sentence: "the kernel's entry point is not in an executable segment",
        causes: "ENTRY() names a symbol that is missing or is data, or the code's segment is not executable.",
        advice: "Look at ENTRY() in the linker script and at the segments' flags.",
        recipe: by(
            &[Set(E_ENTRY, number(0xFFFF_FFFF_9000_0000))],
            After(9, "e_entry 0xffffffff90000000"),
        ),
    }
    KERNEL_WRITABLE_CODE {
        code: "10K",
        sentence: "a page of the kernel would be writable and executable",
        causes: "Code and data share a segment or a page.",
        advice: "Separate code and data in the linker script (ALIGN(4K)), or set the note's flag 1.",
        recipe: by(
            &[Set(p_flags(0), number(7))],
            After(9, "at 0xffffffff80000000, 0x{x} bytes"),
        ),
    }
    KERNEL_PAGE_ZERO {
        code: "10L",
        sentence: "a segment of the kernel lies in page 0",
        causes: "The kernel is linked at address 0. Page 0 stays unmapped, so that null pointers fault.",
        advice: "Link the kernel elsewhere than at address 0.",
        recipe: by(
            &[Set(p_vaddr(2), number(0))],
            After(9, "segment 2 at 0x0"),
        ),
    }
    KERNEL_RELOCATION {
        code: "10M",
        sentence: "the kernel needs a relocation that the loader does not do",
        causes: "Something is to be looked up when the kernel is loaded: an undefined symbol, an indirect function.",
        advice: "Only R_X86_64_RELATIVE is done: link with -static-pie -z text, without undefined symbols.",
        recipe: by(
            &[Set(RELOCATION_KIND, named!(abi::R_X86_64_GLOB_DAT))],
            After(9, "type 6 at 0x{x}"),
        )
        .position_independent(),
    }
    KERNEL_NOTE {
        code: "10N",
        sentence: "the kernel's note asks for something impossible",
        causes: "The value is out of range, or has another length than 8 bytes.",
        advice: "Look at the value in the ELF note named Bootpath.",
        recipe: by(
            &[Set(WISH_VALUE, number(1 << 40))],
            After(9, "type 1, value 0x10000000000"),
        ),
    }
    KERNEL_DYNAMIC {
        code: "10O",
        sentence: "the kernel needs a dynamic linker",
        causes: "The kernel was linked like a program for an operating system.",
        advice: "Link the kernel statically (no PT_INTERP, no DT_NEEDED).",
        recipe: by(&[Set(p_type(3), named!(abi::PT_INTERP))], After(9, "segment 3 is PT_INTERP")),
    }
    KERNEL_ALIGNMENT {
        code: "10P",
        sentence: "a segment's alignment is not supported",
        causes: "An unusual linker script or max-page-size.",
        advice: "p_align is a power of two of at most 2 MiB, and p_vaddr and p_offset agree modulo p_align.",
        recipe: by(
            &[Set(p_align(2), number(0x3000))],
            After(9, "segment 2: p_align 0x3000, p_vaddr 0x{x}, p_offset 0x{x}"),
        ),
    }
    KERNEL_DAMAGED {
        code: "10Q",
        sentence: "the kernel is damaged",
        causes: "Its bytes are not those that `disk-builder` wrote, and nobody has replaced it: the disk is damaged, or RAM is faulty.",
        advice: "Copy the kernel again; test the memory.",
        recipe: by(
            &[Flip(Place::EntryPoint, 0, 6)],
            After(9, "/boot/kernel.elf, CRC-32C {X:8}h instead of {X:8}h"),
        )
        .checked(),
    }
    MODULE_DAMAGED {
        code: "10R",
        sentence: "a module is damaged",
        causes: "Its bytes are not those that `disk-builder` wrote, and nobody has replaced it: the disk is damaged, or RAM is faulty.",
        advice: "Copy the module again; test the memory.",
        recipe: by(
            &[Flip(Place::File(MODULE), 1000, 0)],
            After(10, "/boot/modules/module, CRC-32C {X:8}h instead of {X:8}h"),
        )
        .checked(),
    }
    MULTIBOOT_HEADER {
        code: "10S",
        sentence: "the kernel's Multiboot header makes no sense",
        causes: "Lengths, tags or addresses contradict each other, or the header reaches out of the first 32 KiB (Multiboot 1: 8 KiB) of the file.",
        advice: "Look at the tag or the addresses shown: docs/multiboot.md.",
        recipe: by(
            &[Set(MULTIBOOT_TAG_SIZE, number(4))],
            After(9, "tag 0 at 0x{x} of the file, 4 bytes"),
        )
        .multiboot_2(),
    }
    MULTIBOOT_UNSUPPORTED {
        code: "10T",
        sentence: "the kernel requires what the loader does not have",
        causes: "A tag or a flag of the Multiboot header that is not optional is not known, or there is no such screen.",
        advice: "Mark the tag as optional, or take the flag out of the header: docs/multiboot.md.",
        recipe: by(
            &[Set(MULTIBOOT_TAG_TYPE, number(99))],
            After(9, "header tag 99"),
        )
        .multiboot_2(),
    }
    KERNEL_MEMORY {
        code: "10U",
        sentence: "the memory that the kernel wants is not free",
        causes: "The kernel names physical addresses where the loader or the BIOS is, or where there is no RAM.",
        advice: "Link the kernel elsewhere, from 1 MiB on: what is below 512 KiB is the loader's.",
        recipe: by(
            &[Set(p_paddr(0), number(0x9000))],
            After(9, "segment 0, 0x9000 to 0x{x}: 0x1000 to 0x80000 is the loader's"),
        )
        .multiboot_2(),
    }
    LINUX_REFUSED {
        code: "10V",
        sentence: "the Linux kernel cannot be booted like this",
        causes: "The kernel is a zImage or older than protocol 2.02, its setup header makes no sense, it has not the entry that is asked for, or the command line is too long for it.",
        advice: "Look at the value shown: in the kernel's setup header, or in /boot/kernel.conf.",
        recipe: by(
            &[Put(PATH_ENTRY, b"protocol linux\n")],
            After(9, "no HdrS in it"),
        ),
    }
    LIMINE_REQUESTS {
        code: "10X",
        sentence: "the kernel's Limine requests make no sense",
        causes: "A request or the base revision tag is there twice or cut off, or the end marker lies in front of the start marker.",
        advice: "Look at the addresses shown, in the linker script and in the symbols.",
        recipe: by(
            &[Set(LIMINE_REQUEST_ID, number(0x6398_4E95_9A98_244B))],
            After(10, "twice: at 0x{x} and at 0x{x}"),
        )
        .limine(),
    }
    LIMINE_REVISION {
        code: "10Y",
        sentence: "the kernel wants an unknown base revision of the Limine protocol",
        causes: "The kernel is for a later version of the protocol than this loader knows.",
        advice: "Ask for a lower base revision, or look for a newer loader.",
        recipe: by(
            &[Set(LIMINE_BASE_REVISION, number(7))],
            After(10, "revision 7, known are 0 to 6"),
        )
        .limine(),
    }
    LIMINE_REFUSED {
        code: "10Z",
        sentence: "the kernel asks for what a Limine kernel cannot get here",
        causes: "An address, a paging mode, a module or a state of the processors that the kernel wants is not to be had.",
        advice: "Look at what is shown: docs/limine.md.",
        recipe: by(
            &[Set(p_vaddr(1), number(0x20_0000))],
            After(10, "segment at 0x200000, not in the last 2 GiB"),
        )
        .limine(),
    }
    PAGING_CONFLICT {
        code: "11A",
        sentence: "two things would be mapped at the same address",
        causes: "The kernel's segments reach into the physical map or the loader's page.",
        advice: "Link the kernel elsewhere, or move the physical map by the note.",
        recipe: by(
            &[Set(p_vaddr(2), named!(handoff::DEFAULT_PHYSICAL_MAP_BASE))],
            After(9, "virtual address 0xffff800000000000"),
        ),
    }
    PAGING_RANGE {
        code: "11B",
        sentence: "something would be mapped outside of the address space",
        causes: "The physical map needs more room than there is behind its base.",
        advice: "Move the physical map down by the note.",
        recipe: by(
            &[
                Set(WISH_KIND, named!(handoff::NOTE_PHYSICAL_MAP_BASE)),
                Set(WISH_VALUE, number(0xFFFF_FFFF_C000_0000)),
                Qemu("-m 2G"),
            ],
            After(10, "virtual address 0xffffffffc0000000"),
        ),
    }
    KERNEL_EXCEPTION {
        code: "12A",
        sentence: "the kernel raised an exception before it installed its own handlers",
        causes: "A defect of the kernel.",
        advice: "Look up RIP in the kernel's symbols: addr2line -e KERNEL RIP.",
        recipe: by(
            &[Code(Place::EntryPoint, &[Bytes("ud2", &[0x0F, 0x0B])])],
            Lines {
                after: 12,
                before: &[BLANK],
                facts: "#UD invalid opcode (vector 6)",
                behind: &[REGISTERS, KERNEL_SEGMENT, STACK_ROW],
            },
        ),
    }
    CHAIN_NO_BOOT_SECTOR {
        code: "12B",
        sentence: "there is no boot sector to go on with",
        causes: "A `chain` line of `/boot/kernel.conf` names a partition that is not there, or one whose first sector is no boot sector.",
        advice: "Look at the line `chain` in /boot/kernel.conf, and at the partitions of that drive.",
        recipe: by(
            &[Put(PATH_ENTRY, b"chain partition=2\n")],
            After(8, "no partition 2 on drive 80h"),
        ),
    }
}
