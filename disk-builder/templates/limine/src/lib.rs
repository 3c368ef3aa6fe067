//! What the kernel and its tests share: output, a panic handler, and how they end.
#![no_std]

pub mod boot;
pub mod console;
pub mod screen;

use core::panic::PanicInfo;

use x86_64::instructions::{hlt, port::Port};

/// The port of QEMU's device `isa-debug-exit`, by which a kernel tells `disk-builder run` how it
/// ends.
const EXIT_PORT: u16 = 0xF4;
/// What [`exit`] takes for success.
pub const EXIT_SUCCESS: u32 = 0x10;
/// What [`exit`] takes for failure, as it does any other value.
pub const EXIT_FAILURE: u32 = 0x11;

/// Ends the run: in QEMU, `cargo run` and `cargo test` succeed by [`EXIT_SUCCESS`] only. A PC does
/// not end, so the CPU halts.
pub fn exit(value: u32) -> ! {
    // SAFETY: the port is that of a device of QEMU, and nothing is there on a PC.
    unsafe { Port::new(EXIT_PORT).write(value) };
    halt()
}

/// Waits for ever: the loader leaves interrupts off.
pub fn halt() -> ! {
    loop {
        hlt();
    }
}

#[panic_handler]
fn panic(info: &PanicInfo) -> ! {
    console::unlock();
    println!("{info}");
    exit(EXIT_FAILURE)
}
