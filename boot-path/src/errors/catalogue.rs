//! Every way in which a boot can fail: one table.
//!
//! A code is the number of the step and a letter. The messages on the screen, `docs/errors.md` and
//! the refusals of `disk-builder` all come from here. The tests have a table of their own that says
//! how to provoke each error: `tests/src/recipes`.
//!
//! **A new error** is a new row, in its place by step and letter. `sentence` and `advice` are what
//! a user reads on the screen: one row, and at most two. `causes` is for the manual alone. A recipe
//! with the row's code, in `tests/src/recipes`, says how to provoke the error and what a user then
//! sees. Then:
//!
//! ```sh
//! ./run.sh break 7A                              # is it reached, and is nothing else printed?
//! BLESS=1 cargo test -p machine-tests --test docs  # the manual
//! ```

use core::fmt;

use disk_layout::parts::Part;

/// The part of a row that the loader prints.
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
}

/// An error of a step: it has a row in the table, and its `Display` gives the facts (addresses,
/// sectors, status), or nothing if there are none.
pub trait Named: fmt::Display {
    /// The row of the table.
    fn entry(&self) -> &'static Entry;

    /// The part of the loader that has the row and the facts, which has to be there before anybody
    /// asks for them; `None`: the first one. Whatever a dead disk can cause is in that.
    fn part(&self) -> Option<Part> {
        None
    }
}

/// A failure as shown: `error 7A: the disk cannot be read: LBA 2048, drive 80h, status 0Ch`.
pub struct Report<'a>(pub &'a dyn Named);

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write as _;

        /// Puts `: ` in front of the first text that is written.
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
            }),*
        ];
    };
}

catalogue! {
    STAGE1_READ {
        code: "1A",
        sentence: "stage1 cannot read stage2",
        causes: "The disk is damaged, or the BIOS cannot read it.",
        advice: "Try another port or stick. Writing the image again erases the disk: copy your files off it first.",
    }
    STAGE2_SUM {
        code: "1B",
        sentence: "what stage1 read is not stage2, or a damaged one",
        causes: "The sectors behind the MBR were changed, or RAM is faulty. Or the disk's sectors have 4096 bytes (4Kn): BIOSes cannot boot such a disk by an MBR.",
        advice: "Use sectors of 512 bytes (512n, 512e). Test the memory. Writing the image again erases the disk: copy your files off it first.",
    }
    STAGE2_CORRUPT {
        code: "1C",
        sentence: "stage2 is damaged (checksum mismatch)",
        causes: "The sectors behind the MBR were changed, but not the first 64, which stage1 sums up. Or RAM is faulty.",
        advice: "Test the memory. Writing the image again erases the disk: copy your files off it first.",
    }
    STAGE1_DAMAGED {
        code: "1D",
        sentence: "stage1 itself is damaged",
        causes: "The MBR, or the boot program of a CD, was changed, or RAM is faulty.",
        advice: "Test the memory. Writing the image again erases the disk: copy your files off it first.",
    }
    A20_STUCK {
        code: "2A",
        sentence: "the A20 line cannot be enabled",
        causes: "The BIOS, the keyboard controller and port 92h were all asked to enable it, and none did.",
        advice: "Look for a setting like 'A20' or 'Gate A20' in the BIOS setup.",
    }
    CPU_NO_CPUID {
        code: "3A",
        sentence: "this CPU has no CPUID instruction, so no 64-bit mode",
        causes: "The CPU is a 386 or 486, or something poses as one.",
        advice: "Bootpath needs a 64-bit CPU.",
    }
    CPU_NO_LONG_MODE {
        code: "3B",
        sentence: "this CPU has no long mode (64-bit)",
        causes: "The CPU is a 32-bit one, or a virtual machine has one.",
        advice: "Bootpath needs a 64-bit CPU; in a virtual machine, choose one.",
    }
    CPU_NO_PAE {
        code: "3C",
        sentence: "this CPU has no PAE",
        causes: "All 64-bit CPUs have it: a virtual machine hides it.",
        advice: "Bootpath needs a 64-bit CPU; in a virtual machine, choose one.",
    }
    CPU_NO_SSE2 {
        code: "3D",
        sentence: "this CPU has no SSE2",
        causes: "All 64-bit CPUs have it: a virtual machine hides it.",
        advice: "Bootpath needs a 64-bit CPU; in a virtual machine, choose one.",
    }
    REAL_MODE_EXCEPTION {
        code: "4A",
        sentence: "the CPU raised an exception in 16-bit code",
        causes: "From segment C000 on it was in the BIOS; below, the loader has a defect, or RAM is faulty.",
        advice: "If its segment is C000 or higher, look for a BIOS update; else please report the line.",
    }
    EXCEPTION {
        code: "5A",
        sentence: "the CPU raised an exception in the loader",
        causes: "A BIOS wrote where it must not, RAM is faulty, or the loader has a defect.",
        advice: "Look for a BIOS update; else please report the registers shown.",
    }
    PANIC {
        code: "5B",
        sentence: "the loader stopped itself",
        causes: "A defect of the loader: it noticed that something cannot be.",
        advice: "Please report the line shown.",
    }
    FAULT_IN_REPORT {
        code: "5C",
        sentence: "an exception while another error was being reported",
        causes: "The loader's memory was overwritten, or is faulty.",
        advice: "Look at what was printed before.",
    }
    STACK_OVERRUN {
        code: "5D",
        sentence: "the BIOS used more stack than there is",
        causes: "A BIOS call needs more than 6 KiB of stack, or writes where it must not.",
        advice: "Look for a BIOS update.",
    }
    LOADER_STACK {
        code: "5E",
        sentence: "the end of the loader's stack was overwritten",
        causes: "The BIOS wrote to memory that it calls free, or the loader has a defect.",
        advice: "Look for a BIOS update; else please report what was printed before.",
    }
    MEMORY_NO_MAP {
        code: "6A",
        sentence: "the BIOS gives no memory map",
        causes: "INT 15h E820, E801 and 88h all failed.",
        advice: "Look for a BIOS update.",
    }
    MEMORY_TOO_LITTLE {
        code: "6B",
        sentence: "there is too little memory",
        causes: "Kernel, modules and page tables do not fit into RAM, or not in one piece.",
        advice: "Add memory, or make the kernel and its modules smaller.",
    }
    DISK_READ {
        code: "7A",
        sentence: "the disk cannot be read",
        causes: "The disk is damaged or was removed.",
        advice: "Try another port, cable or stick; copy your files off it as long as it can be read.",
    }
    DISK_RANGE {
        code: "7B",
        sentence: "the sectors lie behind the end of the disk",
        causes: "The image was cut short when it was written, or the BIOS takes the disk for a smaller one.",
        advice: "Try another port or machine. Writing the image again erases the disk: copy your files off it first.",
    }
    DISK_NO_PARTITION {
        code: "7C",
        sentence: "there is no boot partition",
        causes: "The partition table has no active entry and none of a FAT kind, and neither have its logical partitions.",
        advice: "Mark a FAT partition as active, or boot from another disk or stick: this one stays as it is.",
    }
    DISK_GPT {
        code: "7D",
        sentence: "the disk has a GPT, which is not supported",
        causes: "The disk was partitioned for UEFI, or for another loader.",
        advice: "Leave it as it is: boot from another disk or stick, or start Bootpath from GRUB (docs/multiboot-in.md).",
    }
    PART_READ {
        code: "7E",
        sentence: "a part of the loader cannot be read",
        causes: "The disk is damaged or was removed. This boot needs a part of the loader that stage1 does not read.",
        advice: "Try another port, cable or stick; copy your files off it as long as it can be read.",
    }
    PART_DAMAGED {
        code: "7F",
        sentence: "a part of the loader is damaged, or of another build",
        causes: "Something wrote to the sectors between the MBR and the first partition, or they were written at different times.",
        advice: "Copy your files off the disk; then write the loader again, all of it.",
    }
    FAT_NOT_FAT {
        code: "8A",
        sentence: "the boot partition holds no FAT file system",
        causes: "The partition was formatted otherwise, or its boot sector was overwritten.",
        advice: "Find out what it is before you format it: blkid and fsck.fat -n only look. Formatting erases all that it holds.",
    }
    FAT_DAMAGED {
        code: "8B",
        sentence: "the FAT file system is damaged",
        causes: "The stick was removed while it was written to, or the disk is damaged.",
        advice: "Copy your files off it before you repair it; fsck.fat -n (or chkdsk without /f) only looks.",
    }
    FILE_GZIP {
        code: "8C",
        sentence: "a compressed file cannot be unpacked",
        causes: "It was cut short or changed, is larger than memory allows, or has more behind it than gzip members and zeros: what begins like a gzip file is taken for one.",
        advice: "Try `gzip -t` on it, and copy it again.",
    }
    FAT_FOREIGN {
        code: "8D",
        sentence: "the boot partition is not FAT, but something else",
        causes: "The partition that is marked as active is that of an operating system, or a part of a larger volume.",
        advice: "Leave it as it is: mark a FAT partition as active instead, or boot from another disk or stick.",
    }
    ENTRY_NO_KERNEL {
        code: "9A",
        sentence: "there is no kernel in the boot partition",
        causes: "The file was not copied, or has another name.",
        advice: "Copy the kernel to the path shown.",
    }
    ENTRY_NO_MODULE {
        code: "9B",
        sentence: "a module is missing",
        causes: "A `module` or `initrd` line of the entry or of `/boot/kernel.conf` names a file that is not there.",
        advice: "Copy the module to the path shown, or take its line out of the entry.",
    }
    ENTRY_FILE {
        code: "9C",
        sentence: "/boot/kernel.conf cannot be read",
        causes: "The file is no text in UTF-8, has a line that is too long, a `module` line without a path, a `protocol` that does not exist, a `chain` without drive and partition, or the like.",
        advice: "Correct the line shown.",
    }
    ENTRY_MISSING {
        code: "9D",
        sentence: "a configuration file is gone",
        causes: "`disk-builder` wrote one. It was deleted, or its directory entry is damaged; without it, the kernel would miss its command line.",
        advice: "Copy the file again; to do without, put an empty one there.",
    }
    ENTRY_DAMAGED {
        code: "9E",
        sentence: "a configuration file is damaged",
        causes: "Its bytes are not those that `disk-builder` wrote, and nobody has replaced it: the disk is damaged, or RAM is faulty.",
        advice: "Copy the file again; test the memory.",
    }
    ENTRY_NONE {
        code: "9F",
        sentence: "no boot entry can be used",
        causes: "Each file there has a line that makes no sense, names nothing to boot, or is for machines of another kind.",
        advice: "Correct the lines shown above.",
    }
    MULTIBOOT_INFORMATION {
        code: "9G",
        sentence: "what the other loader has loaded cannot be used",
        causes: "Another loader started Bootpath by Multiboot. It loaded no kernel as a module, or its information makes no sense.",
        advice: "Give the kernel as the first module, and its modules behind it.",
    }
    KERNEL_NOT_ELF {
        code: "10A",
        sentence: "the kernel is not an ELF file",
        causes: "The file is a flat binary, a script, or damaged.",
        advice: "Give the linker's ELF output, not a flat binary.",
    }
    KERNEL_CLASS {
        code: "10B",
        sentence: "the kernel is not a 64-bit little-endian ELF",
        causes: "The kernel was linked for 32 bits, or for a big-endian CPU.",
        advice: "Link the kernel for x86-64 (elf_x86_64).",
    }
    KERNEL_MACHINE {
        code: "10C",
        sentence: "the kernel is not for x86-64",
        causes: "The kernel was compiled for another CPU.",
        advice: "Compile the kernel for x86-64.",
    }
    KERNEL_TYPE {
        code: "10D",
        sentence: "the kernel is neither ET_EXEC nor ET_DYN",
        causes: "The file is an object file or a core dump.",
        advice: "Link the kernel; an object file (.o) cannot be booted.",
    }
    KERNEL_TRUNCATED {
        code: "10E",
        sentence: "the kernel file is shorter than its headers say",
        causes: "It was not copied to its end.",
        advice: "Copy the kernel again.",
    }
    KERNEL_HEADERS {
        code: "10F",
        sentence: "the kernel's ELF headers make no sense",
        causes: "An unusual linker, or a damaged file.",
        advice: "Look at `readelf -lW`.",
    }
    KERNEL_NO_LOAD {
        code: "10G",
        sentence: "the kernel has no PT_LOAD segment with bytes in memory",
        causes: "The linker script puts nothing into memory, or the file is not the kernel.",
        advice: "Look at the linker script: nothing is to be loaded.",
    }
    KERNEL_OVERLAP {
        code: "10H",
        sentence: "two segments of the kernel overlap",
        causes: "The linker script gives two segments the same addresses.",
        advice: "Look at the addresses in the linker script.",
    }
    KERNEL_WRAPS {
        code: "10I",
        sentence: "a segment of the kernel leaves the canonical address space",
        causes: "The addresses in the linker script are too high, or in the hole between the halves.",
        advice: "Look at the addresses in the linker script.",
    }
    KERNEL_ENTRY {
        code: "10J",
        sentence: "the kernel's entry point is not in an executable segment",
        causes: "ENTRY() names a symbol that is missing or is data, or the code's segment is not executable.",
        advice: "Look at ENTRY() in the linker script and at the segments' flags.",
    }
    KERNEL_WRITABLE_CODE {
        code: "10K",
        sentence: "a page of the kernel would be writable and executable",
        causes: "Code and data share a segment or a page.",
        advice: "Separate code and data in the linker script (ALIGN(4K)), or set the note's flag 1.",
    }
    KERNEL_PAGE_ZERO {
        code: "10L",
        sentence: "a segment of the kernel lies in page 0",
        causes: "The kernel is linked at address 0. Page 0 stays unmapped, so that null pointers fault.",
        advice: "Link the kernel elsewhere than at address 0.",
    }
    KERNEL_RELOCATION {
        code: "10M",
        sentence: "the kernel needs a relocation that the loader does not do",
        causes: "Something is to be looked up outside of the kernel, or computed, when it is loaded: an undefined symbol, an indirect function, thread-local storage.",
        advice: "Only addresses in the kernel are relocated: link with -static-pie -z text, without undefined symbols (see readelf --dyn-syms).",
    }
    KERNEL_NOTE {
        code: "10N",
        sentence: "the kernel's note asks for something impossible",
        causes: "The value is out of range, or has another length than 8 bytes.",
        advice: "Look at the value in the ELF note named Bootpath.",
    }
    KERNEL_DYNAMIC {
        code: "10O",
        sentence: "the kernel needs a dynamic linker",
        causes: "The kernel was linked like a program for an operating system, with shared libraries.",
        advice: "Link the kernel statically, without libraries (no DT_NEEDED in readelf -d).",
    }
    KERNEL_ALIGNMENT {
        code: "10P",
        sentence: "a segment's alignment is not supported",
        causes: "An unusual linker script or max-page-size.",
        advice: "p_align is a power of two of at most 1 GiB, and p_vaddr and p_offset agree modulo p_align.",
    }
    KERNEL_DAMAGED {
        code: "10Q",
        sentence: "the kernel is damaged",
        causes: "Its bytes are not those that `disk-builder` wrote, and nobody has replaced it: the disk is damaged, or RAM is faulty.",
        advice: "Copy the kernel again; test the memory.",
    }
    MODULE_DAMAGED {
        code: "10R",
        sentence: "a module is damaged",
        causes: "Its bytes are not those that `disk-builder` wrote, and nobody has replaced it: the disk is damaged, or RAM is faulty.",
        advice: "Copy the module again; test the memory.",
    }
    MULTIBOOT_HEADER {
        code: "10S",
        sentence: "the kernel's Multiboot header makes no sense",
        causes: "Lengths, tags or addresses contradict each other, or the header reaches out of the first 32 KiB (Multiboot 1: 8 KiB) of the file.",
        advice: "Look at the tag or the addresses shown: docs/multiboot.md.",
    }
    MULTIBOOT_UNSUPPORTED {
        code: "10T",
        sentence: "the kernel requires what the loader does not have",
        causes: "A tag or a flag of the Multiboot header that is not optional is not known, or there is no such screen.",
        advice: "Mark the tag as optional, or take the flag out of the header: docs/multiboot.md.",
    }
    KERNEL_MEMORY {
        code: "10U",
        sentence: "the memory that the kernel wants is not free",
        causes: "The kernel names physical addresses where the BIOS is, or where there is no RAM; a Linux kernel, where the loader is.",
        advice: "Link the kernel elsewhere, from 1 MiB on.",
    }
    LINUX_REFUSED {
        code: "10V",
        sentence: "the Linux kernel cannot be booted like this",
        causes: "The kernel is a zImage or older than protocol 2.02, its setup header makes no sense, it has not the entry that is asked for, or the command line is too long for it.",
        advice: "Look at the value shown: in the kernel's setup header, or in /boot/kernel.conf.",
    }
    KERNEL_FOREIGN {
        code: "10W",
        sentence: "the kernel is made for another boot loader",
        causes: "The file is a vmlinux, or a kernel for the crate `bootloader` or for BOOTBOOT, and has no header for Bootpath, Limine or Multiboot.",
        advice: "Take the file shown, if there is one; else boot the kernel by its own loader, or give it a header for Bootpath, Limine or Multiboot.",
    }
    LIMINE_REQUESTS {
        code: "10X",
        sentence: "the kernel's Limine requests make no sense",
        causes: "A request or the base revision tag is there twice or cut off, or the end marker lies in front of the start marker.",
        advice: "Look at the addresses shown, in the linker script and in the symbols.",
    }
    LIMINE_REVISION {
        code: "10Y",
        sentence: "the kernel wants an unknown base revision of the Limine protocol",
        causes: "The kernel is for a later version of the protocol than this loader knows.",
        advice: "Ask for a lower base revision, or look for a newer loader.",
    }
    LIMINE_REFUSED {
        code: "10Z",
        sentence: "the kernel asks for what a Limine kernel cannot get here",
        causes: "An address, a paging mode, a module or a state of the processors that the kernel wants is not to be had.",
        advice: "Look at what is shown: docs/limine.md.",
    }
    PAGING_CONFLICT {
        code: "11A",
        sentence: "two things would be mapped at the same address",
        causes: "The kernel's segments reach into the physical map or the loader's page.",
        advice: "Link the kernel elsewhere, or move the physical map by the note.",
    }
    PAGING_RANGE {
        code: "11B",
        sentence: "something would be mapped outside of the address space",
        causes: "The physical map needs more room than there is behind its base.",
        advice: "Move the physical map down by the note.",
    }
    KERNEL_EXCEPTION {
        code: "12A",
        sentence: "the kernel raised an exception before it installed its own handlers",
        causes: "A defect of the kernel.",
        advice: "Look up RIP in the kernel's symbols: addr2line -e KERNEL RIP.",
    }
    CHAIN_NO_BOOT_SECTOR {
        code: "12B",
        sentence: "there is no boot sector to go on with",
        causes: "A `chain` line of an entry or of `/boot/kernel.conf` names a partition that is not there, or one whose first sector is no boot sector.",
        advice: "Look at the line `chain` in the file shown above, and at the partitions of that drive.",
    }
}
