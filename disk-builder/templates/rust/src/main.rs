//! The kernel: begin here.
#![no_std]
#![no_main]

use handoff::BootInfo;
use kernel::screen::Screen;
use kernel::{EXIT_SUCCESS, console, exit, halt, println};

// Defines `_start`, which checks who called it, and calls `main`.
handoff::entry_point!(main);

// What the kernel asks of the loader; this line may go, too.
handoff::wish! { stack_size: 128 * 1024 }

fn main(boot: &'static BootInfo) -> ! {
    console::add_screen(Screen::new(boot));
    let name = env!("CARGO_PKG_NAME");
    println!("{name}, started by {}", boot.loader());

    // The words behind `cargo run --`.
    println!("command line: {}", boot.command_line());

    // All physical memory: what is `Usable` is the kernel's, at once.
    for region in boot.memory_map() {
        let (start, kib) = (region.start, region.length / 1024);
        match region.kind() {
            Some(kind) => println!("  {start:#014x} {kib:>9} KiB {kind:?}"),
            None => println!("  {start:#014x} {kib:>9} KiB of an unknown kind"),
        }
    }

    // Files that were loaded with the kernel: `disk-builder build --module FILE`.
    println!("modules: {}", boot.modules().len());
    for module in boot.modules() {
        println!("  {}: {} bytes", module.path.as_str(), module.bytes().len());
    }

    // There is more in `boot`: ACPI and SMBIOS, the boot disk, the kernel's segments, random bytes,
    // and the physical map, through which all memory can be reached.
    if boot.command_line().split(' ').any(|word| word == "stay") {
        halt(); // so that somebody can look at the screen
    }
    exit(EXIT_SUCCESS)
}
