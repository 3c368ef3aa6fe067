//! The keyboard controller (8042), for when the BIOS must not be called any more.

use crate::devices::port::{Port, Ports};

/// Status: a byte is there; it is the mouse's.
const IS_FULL: u8 = 1 << 0;
const IS_MOUSE: u8 = 1 << 5;
/// Bit of a scan code: the key goes up.
const RELEASED: u8 = 1 << 7;
/// The command that pulses the reset line.
const PULSE_RESET: u8 = 0xFE;

/// Whether a key has gone down since the last time. An empty bus reads FFh.
pub fn key_pressed(ports: impl Ports) -> bool {
    let status = ports.input(Port::KEYBOARD_CONTROL);
    if status == 0xFF || status & IS_FULL == 0 {
        return false;
    }
    let byte = ports.input(Port::KEYBOARD_DATA);
    status & IS_MOUSE == 0 && byte & RELEASED == 0
}

/// Resets the machine by this controller, or by the reset register of a PCI chipset, if there is
/// either.
pub fn reset(ports: impl Ports) {
    ports.output(Port::KEYBOARD_CONTROL, PULSE_RESET);
    ports.output(Port::RESET, 0x06);
    for _ in 0..4096 {
        ports.output(Port::DELAY, 0);
    }
}
