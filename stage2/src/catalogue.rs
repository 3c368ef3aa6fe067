//! Every way in which a boot can fail: one table.
//!
//! A code is the number of the step and a letter. The messages on the screen, `docs/errors.md` and
//! the refusals of `disk-builder` all come from here.

use core::fmt;

/// One row of the table.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    /// Step number and letter, `2A`.
    pub code: &'static str,
    /// What happened, in one sentence without a full stop.
    pub sentence: &'static str,
    /// Likely causes and what to try: sentences.
    pub advice: &'static str,
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
    ($($name:ident = $code:literal, $sentence:literal, $advice:literal;)*) => {
        $(
            #[doc = concat!($code, ": ", $sentence, ".")]
            pub static $name: Entry = Entry {
                    code: $code,
                    sentence: $sentence,
                    advice: $advice,
                };
        )*
        /// All rows, by code.
        pub static ALL: &[&Entry] = &[$(&$name),*];
    };
}

catalogue! {
    STAGE1_READ = "1A", "stage1 cannot read stage2",
        "The disk is damaged, or the BIOS cannot read it: write the image again, try another port or stick.";
    STAGE2_SUM = "1B", "what stage1 read is not stage2, or a damaged one",
        "The sectors behind the MBR were changed, or RAM is faulty: write the image again, test the memory.";
    STAGE2_CORRUPT = "1C", "stage2 is damaged (CRC-32 mismatch)",
        "The sectors behind the MBR were changed, or RAM is faulty: write the image again, test the memory.";
    STAGE1_DAMAGED = "1D", "stage1 itself is damaged",
        "The MBR was changed, or RAM is faulty: write the image again, test the memory.";
    A20_STUCK = "2A", "the A20 line cannot be enabled",
        "Look for a setting like 'A20' or 'Gate A20' in the BIOS setup.";
    CPU_NO_CPUID = "3A", "this CPU has no CPUID instruction, so no 64-bit mode",
        "Bootpath needs a 64-bit CPU.";
    CPU_NO_LONG_MODE = "3B", "this CPU has no long mode (64-bit)",
        "Bootpath needs a 64-bit CPU; in a virtual machine, choose one.";
    CPU_NO_PAE = "3C", "this CPU has no PAE",
        "Bootpath needs a 64-bit CPU; in a virtual machine, choose one.";
    CPU_NO_SSE2 = "3D", "this CPU has no SSE2",
        "Bootpath needs a 64-bit CPU; in a virtual machine, choose one.";
    REAL_MODE_EXCEPTION = "4A", "the CPU raised an exception in 16-bit code",
        "From C000 on it was in the BIOS: look for an update of it; below, it is a defect of the loader: please report the line.";
    EXCEPTION = "5A", "the CPU raised an exception in the loader",
        "A defect of the loader or of the machine: please report the registers shown.";
    PANIC = "5B", "the loader stopped itself",
        "A defect of the loader: please report the line shown.";
    FAULT_IN_REPORT = "5C", "an exception while another error was being reported",
        "The loader's memory was overwritten, or is faulty: look at what was printed before.";
    STACK_OVERRUN = "5D", "the BIOS used more stack than there is",
        "It needs more than 3 KiB: look for an update of it.";
    LOADER_STACK = "5E", "the end of the loader's stack was overwritten",
        "The BIOS wrote to memory that it calls free, or a defect of the loader: please report what was printed before.";
    MEMORY_NO_MAP = "6A", "the BIOS gives no memory map",
        "INT 15h E820, E801 and 88h all failed: look for a BIOS update.";
    MEMORY_TOO_LITTLE = "6B", "there is too little memory",
        "Add memory, or make the kernel and its modules smaller.";
    DISK_READ = "7A", "the disk cannot be read",
        "The disk is damaged or was removed; try another port or stick.";
    DISK_RANGE = "7B", "the sectors lie behind the end of the disk",
        "The image was cut short when it was written: write it again.";
    DISK_NO_PARTITION = "7C", "there is no boot partition",
        "The partition table needs one active FAT partition: write the image again.";
    FAT_NOT_FAT = "8A", "the boot partition holds no FAT file system",
        "Format it as FAT12, FAT16 or FAT32.";
    FAT_DAMAGED = "8B", "the FAT file system is damaged",
        "Run fsck.fat (or chkdsk) on the boot partition.";
    ENTRY_NO_KERNEL = "9A", "there is no kernel in the boot partition",
        "Copy the kernel to the path shown.";
    ENTRY_NO_MODULE = "9B", "a module is missing",
        "Copy the module to the path shown, or take its line out of /boot/kernel.conf.";
    ENTRY_FILE = "9C", "/boot/kernel.conf cannot be read",
        "Correct the line shown.";
    KERNEL_NOT_ELF = "10A", "the kernel is not an ELF file",
        "Give the linker's ELF output, not a flat binary.";
    KERNEL_CLASS = "10B", "the kernel is not a 64-bit little-endian ELF",
        "Link the kernel for x86-64 (elf_x86_64).";
    KERNEL_MACHINE = "10C", "the kernel is not for x86-64",
        "Compile the kernel for x86-64.";
    KERNEL_TYPE = "10D", "the kernel is neither ET_EXEC nor ET_DYN",
        "Link the kernel; an object file (.o) cannot be booted.";
    KERNEL_TRUNCATED = "10E", "the kernel file is shorter than its headers say",
        "Copy the kernel again.";
    KERNEL_HEADERS = "10F", "the kernel's ELF headers make no sense",
        "Look at `readelf -lW`.";
    KERNEL_NO_LOAD = "10G", "the kernel has no PT_LOAD segment with bytes in memory",
        "Look at the linker script: nothing is to be loaded.";
    KERNEL_OVERLAP = "10H", "two segments of the kernel overlap",
        "Look at the addresses in the linker script.";
    KERNEL_WRAPS = "10I", "a segment of the kernel leaves the canonical address space",
        "Look at the addresses in the linker script.";
    KERNEL_ENTRY = "10J", "the kernel's entry point is not in an executable segment",
        "Look at ENTRY() in the linker script and at the segments' flags.";
    KERNEL_WRITABLE_CODE = "10K", "a page of the kernel would be writable and executable",
        "Separate code and data in the linker script (ALIGN(4K)), or set the note's flag 1.";
    KERNEL_PAGE_ZERO = "10L", "a segment of the kernel lies in page 0",
        "Page 0 stays unmapped, so that null pointers fault: link the kernel elsewhere.";
    KERNEL_RELOCATION = "10M", "the kernel needs a relocation that the loader does not do",
        "Only R_X86_64_RELATIVE is done: link with -static-pie -z text, without undefined symbols.";
    KERNEL_NOTE = "10N", "the kernel's note asks for something impossible",
        "Look at the value in the ELF note named Bootpath.";
    KERNEL_DYNAMIC = "10O", "the kernel needs a dynamic linker",
        "Link the kernel statically (no PT_INTERP, no DT_NEEDED).";
    KERNEL_ALIGNMENT = "10P", "a segment's alignment is not supported",
        "p_align is a power of two of at most 2 MiB, and p_vaddr and p_offset agree modulo p_align.";
    PAGING_CONFLICT = "11A", "two things would be mapped at the same address",
        "The kernel's segments reach into the physical map or the loader's page: link it elsewhere, or move the physical map by the note.";
    PAGING_RANGE = "11B", "something would be mapped outside of the address space",
        "The physical map needs more room than there is behind its base: move it down by the note.";
    KERNEL_EXCEPTION = "12A", "the kernel raised an exception before it installed its own handlers",
        "A defect of the kernel: look up RIP in its symbols (addr2line -e KERNEL RIP).";
}
