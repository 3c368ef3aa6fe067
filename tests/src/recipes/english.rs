//! The words of a recipe as sentences: for `docs/errors.md` and `./run.sh break`.

use std::fmt;

use super::words::{Change, Defect, Field, Instruction, Number, Place};

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mbr => f.write_str("the MBR"),
            Self::PartitionEntry => f.write_str("the first entry of the partition table"),
            Self::Stage2 => f.write_str("stage2"),
            Self::Part(name) => write!(f, "stage2's part {name}"),
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
            Self::DeepStack => "INT 13h, reading LBA 0, needs kilobytes of stack",
            Self::ManyHoles => "INT 15h E820h reports many holes",
            Self::HungryStack => "INT 13h needs 4 KiB of stack",
            Self::InvalidOpcode => "INT 13h, reading LBA 0, executes an invalid opcode",
            Self::DivideError => "INT 13h, reading LBA 0, divides by 0",
            Self::GeneralProtection => "INT 13h, reading LBA 0, raises #GP",
            Self::SpoilsStack => {
                "INT 13h, reading LBA 0, overwrites the end of the 64-bit code's stack"
            }
            Self::WaitsForIrq4 => "INT 13h, reading LBA 0, waits for IRQ 4",
            Self::Overwrites => {
                "INT 13h, reading LBA 0, overwrites the 64-bit code's stack, but for its end"
            }
            Self::NoCpuid => "EFLAGS.ID cannot be changed",
            Self::SetsDirectionFlag => "calls return with DF set",
            Self::ClearsInterruptFlag => "calls return with IF clear",
            Self::ChangesDs => "calls return with another DS",
            Self::WatchesFlags => "calls fail with IF clear or with DF set",
            Self::ClearsCount => "INT 13h AH=42h leaves 0 where the number of sectors was",
            Self::LargeSectors => "INT 13h AH=48h says 4096 bytes a sector",
            Self::WatchesControl => "calls fail when CR0, CR4 or EFER is not the BIOS's",
        })
    }
}
