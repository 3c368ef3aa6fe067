//! A kernel that prints its module and its command line.

#![no_std]
#![no_main]

use core::arch::asm;
use core::fmt::{self, Write};

handoff::entry_point!(main);

fn main(boot: &'static handoff::BootInfo) -> ! {
    for module in boot.modules() {
        // SAFETY: the loader has put the module there, and nothing else uses that memory.
        let bytes = unsafe {
            core::slice::from_raw_parts(module.start, module.length as usize)
        };
        let text = core::str::from_utf8(bytes).unwrap_or("no text");
        let _ = write!(Serial, "{}: {text}", module.string.as_str());
    }
    let _ = writeln!(Serial, "command line: {}", boot.command_line());
    exit(handoff::EXIT_SUCCESS)
}

/// The first serial line, which the loader has set up. QEMU takes a byte at any time.
struct Serial;

impl Write for Serial {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            // SAFETY: the port belongs to the serial line.
            unsafe { asm!("out dx, al", in("dx") 0x3F8_u16, in("al") byte) };
        }
        Ok(())
    }
}

/// Tells `disk-builder` how it ended.
fn exit(value: u32) -> ! {
    // SAFETY: the port is QEMU's, which ends; elsewhere, nothing is there.
    unsafe { asm!("out dx, eax", in("dx") handoff::EXIT_PORT, in("eax") value) };
    loop {
        // SAFETY: it only waits.
        unsafe { asm!("cli", "hlt") };
    }
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo) -> ! {
    let _ = writeln!(Serial, "{info}");
    exit(handoff::EXIT_FAILURE)
}
