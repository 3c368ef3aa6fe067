//! The kernel: begin here.
#![no_std]
#![no_main]

use kernel::screen::Screen;
use kernel::{EXIT_SUCCESS, boot, console, exit, halt, println};
use limine::memory_map::EntryType;

/// The loader calls this function, once: the ELF header names it.
#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    assert!(
        boot::is_supported(),
        "the loader does not know base revision 3 of the Limine protocol"
    );
    console::add_screen(boot::framebuffer().and_then(|screen| Screen::new(&screen)));
    let name = env!("CARGO_PKG_NAME");
    let (loader, version) = boot::loader();
    println!("{name}, started by {loader} {version}");

    // The words behind `cargo run --`.
    println!("command line: {}", boot::command_line());

    // All physical memory: what is usable is the kernel's, at once.
    for entry in boot::memory_map() {
        let (start, kib) = (entry.base, entry.length / 1024);
        println!("  {start:#014x} {kib:>9} KiB {}", kind(entry.entry_type));
    }

    // Files that were loaded with the kernel: `disk-builder build --module FILE`.
    println!("modules: {}", boot::modules().len());
    for module in boot::modules() {
        println!("  {:?}: {} bytes", module.path(), module.size());
    }

    if boot::command_line().split(' ').any(|word| word == "stay") {
        halt(); // so that somebody can look at the screen
    }
    exit(EXIT_SUCCESS)
}

/// What a region of memory holds.
fn kind(kind: EntryType) -> &'static str {
    match kind {
        EntryType::USABLE => "usable",
        EntryType::RESERVED => "reserved",
        EntryType::ACPI_RECLAIMABLE => "ACPI reclaimable",
        EntryType::ACPI_NVS => "ACPI NVS",
        EntryType::BAD_MEMORY => "bad",
        EntryType::BOOTLOADER_RECLAIMABLE => "bootloader reclaimable",
        EntryType::EXECUTABLE_AND_MODULES => "kernel and modules",
        EntryType::FRAMEBUFFER => "framebuffer",
        _ => "of an unknown kind",
    }
}
