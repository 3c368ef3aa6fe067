//! What the kernel found, in words.

use handoff::{BootInfo, MemoryKind};

use crate::checks::Machine;
use crate::paging::PAGE;
use crate::{detail, print_detail, print_row, println, row};

/// Who started the kernel, from where, with what.
pub fn print_summary(boot: &BootInfo) {
    let disk = &boot.boot_disk;
    println!("demo kernel, started by {}", boot.loader());
    println!(
        "drive {:02x}h, partition {} at LBA {}, {} reads; RSDP {:#x}, SMBIOS {:#x}",
        disk.drive,
        disk.partition,
        disk.partition_lba,
        disk.reads,
        boot.rsdp,
        if boot.smbios3 != 0 {
            boot.smbios3
        } else {
            boot.smbios
        },
    );
    println!("command line: {}", boot.command_line());
    for module in boot.modules() {
        let (path, string) = (module.path.as_str(), module.string.as_str());
        println!(
            "module {path} at {:#x}, {} bytes: {string}",
            module.physical_start, module.length
        );
    }
}

/// The names of the kinds of memory on the screen; `None` is a kind that this kernel does not know.
const KINDS: [(Option<MemoryKind>, &str); 10] = [
    (Some(MemoryKind::Usable), "usable"),
    (Some(MemoryKind::Reclaimable), "reclaimable"),
    (Some(MemoryKind::Kernel), "kernel"),
    (Some(MemoryKind::Module), "modules"),
    (Some(MemoryKind::AcpiReclaimable), "ACPI tables"),
    (Some(MemoryKind::AcpiNvs), "ACPI NVS"),
    (Some(MemoryKind::Framebuffer), "framebuffer"),
    (Some(MemoryKind::Reserved), "reserved"),
    (Some(MemoryKind::Bad), "bad"),
    (None, "unknown"),
];

/// Kinds of memory in a row of the screen.
const KINDS_IN_A_ROW: usize = 3;
/// Maximum number of rows of [`print_memory`].
pub const MEMORY_ROWS: usize = 1 + KINDS.len().div_ceil(KINDS_IN_A_ROW);

/// The memory map; on the screen, how much there is of each kind.
pub fn print_memory(boot: &BootInfo) {
    detail!("physical memory");
    for region in boot.memory_map() {
        print_detail!(
            "  {:#014x} {:#014x} {:10} KiB  ",
            region.start,
            region.end(),
            region.length / 1024
        );
        match region.kind() {
            Some(kind) => detail!("{kind:?}"),
            None => detail!("kind {}", region.kind),
        }
    }

    row!("memory in KiB ({} regions)", boot.memory_map().len());
    let mut column = 0;
    for (kind, name) in KINDS {
        let regions = boot.memory_map().iter();
        let regions = regions.filter(|region| region.kind() == kind);
        let amount: u64 = regions.map(|region| region.length / 1024).sum();
        if amount > 0 {
            if column == KINDS_IN_A_ROW {
                row!("");
                column = 0;
            }
            print_row!("  {name:11} {amount:12}");
            column += 1;
        }
    }
    row!("");
}

/// Rows of [`print_mappings`].
pub const MAPPING_ROWS: usize = 1;

/// What is mapped, and with which permissions; on the screen, how many pages.
pub fn print_mappings(machine: &Machine) {
    let map = &machine.map;
    let [small, large, huge] = map.pages;
    println!(
        "mapped by {} tables: {small} pages of 4 KiB, {large} of 2 MiB, {huge} of 1 GiB",
        map.tables
    );
    for run in &map.runs {
        let permissions = match (run.writable, run.executable) {
            (false, false) => "r--",
            (false, true) => "r-x",
            (true, false) => "rw-",
            (true, true) => "rwx",
        };
        let pages = (run.last - run.start + 1) / PAGE;
        detail!(
            "  {:#018x} {:10} KiB {permissions} at {:#x}",
            run.start,
            pages * 4,
            run.physical
        );
    }
}

/// CRC-32 (ISO-HDLC) of everything that nobody writes: read-only segments and modules. For the
/// command line word `crc`, to be compared with the files.
pub fn print_checksums(boot: &BootInfo) {
    for (index, segment) in boot.kernel.segments().iter().enumerate() {
        if let Some(bytes) = segment.bytes() {
            println!("crc32 segment {index}: {:08x}", crc32fast::hash(bytes));
        }
    }
    for (index, module) in boot.modules().iter().enumerate() {
        println!(
            "crc32 module {index}: {:08x}",
            crc32fast::hash(module.bytes())
        );
    }
}
