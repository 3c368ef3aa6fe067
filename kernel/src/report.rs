//! What the kernel found, in words.

use handoff::BootInfo;

use crate::checks::Machine;
use crate::paging::PAGE;
use crate::{print, println};

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

/// The memory map.
pub fn print_memory(boot: &BootInfo) {
    println!("physical memory");
    for region in boot.memory_map() {
        print!(
            "  {:#014x} {:#014x} {:10} KiB  ",
            region.start,
            region.end(),
            region.length / 1024
        );
        match region.kind() {
            Some(kind) => println!("{kind:?}"),
            None => println!("kind {}", region.kind),
        }
    }
}

/// What is mapped, and with which permissions.
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
        println!(
            "  {:#018x} {:10} KiB {permissions} at {:#x}",
            run.start,
            pages * 4,
            run.physical
        );
    }
}

/// CRC-32 (ISO-HDLC) of all that nobody writes: read-only segments and modules. With the command
/// line word `crc`, for comparison with the files.
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
