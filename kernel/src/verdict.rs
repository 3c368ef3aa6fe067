//! The last line, and the end: of QEMU, if the command line says so, or of all activity.

use x86_64::instructions::{hlt, interrupts};

use crate::console::{self, Colour};

/// Prints the verdict, ends QEMU if asked to, and stops.
pub fn finish(okay: bool, exit: bool) -> ! {
    match okay {
        true => console::print_coloured(Colour::Green, "OKAY"),
        false => console::print_coloured(Colour::Red, "FAIL"),
    }
    if exit {
        handoff::exit(okay.into());
    }
    interrupts::disable();
    loop {
        hlt();
    }
}
