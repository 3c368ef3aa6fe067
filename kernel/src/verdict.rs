//! The last line, and the end: of QEMU, if the command line says so, or of all activity.

use x86_64::instructions::{hlt, interrupts, port::PortWriteOnly};

use crate::console::{self, Colour};

/// Prints the verdict, ends QEMU if asked to, and stops.
pub fn finish(okay: bool, exit: bool) -> ! {
    match okay {
        true => console::print_coloured(Colour::Green, "OKAY"),
        false => console::print_coloured(Colour::Red, "FAIL"),
    }
    if exit {
        leave_qemu(okay);
    }
    interrupts::disable();
    loop {
        hlt();
    }
}

/// Ends QEMU through its device `isa-debug-exit`: it exits with twice the value plus one.
#[allow(unsafe_code)] // a port
fn leave_qemu(okay: bool) {
    let value = if okay {
        handoff::EXIT_SUCCESS
    } else {
        handoff::EXIT_FAILURE
    };
    // SAFETY: the port is QEMU's; on a PC it belongs to nobody.
    unsafe { PortWriteOnly::new(handoff::EXIT_PORT).write(value) };
}
