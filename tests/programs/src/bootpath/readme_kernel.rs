//! **The kernel of `handoff/README.md`**, line by line: the machine tests compare the two and boot
//! it. What is not in the README is marked.
#![no_std]
#![no_main]

#[path = "../../../../kernel/src/mem.rs"] // not in the README
mod mem; // not in the README: the ready-made `core` of Linux needs it

use handoff::{BootInfo, serial_println};

handoff::entry_point!(main);
handoff::wish! { stack_size: 256 * 1024 } // optional

fn main(boot: &'static BootInfo) -> ! {
    serial_println!("started by {}", boot.loader());
    let free: u64 = boot.usable().map(|region| region.length).sum();
    serial_println!("{} MiB are free", free >> 20);
    for module in boot.modules() {
        serial_println!("{}: {} bytes", module.name(), module.bytes().len());
    }
    if boot.has_word("test") {
        handoff::exit_success()
    }
    panic!("nothing to do")
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    serial_println!("{info}");
    handoff::exit_failure()
}
