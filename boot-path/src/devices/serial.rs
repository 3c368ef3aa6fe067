//! The first serial line: a UART 8250 to 16550, or nothing at all, at the same ports on every PC.

use crate::devices::port::{Port, Ports};

/// Polls of the line status before giving up on a character: far longer than one takes at 115,200
/// baud, and an end for a line that never becomes ready.
const POLLS: u32 = 100_000;

const DATA: Port = Port::serial(0);
const INTERRUPTS: Port = Port::serial(1);
const FIFO_CONTROL: Port = Port::serial(2);
const LINE_CONTROL: Port = Port::serial(3);
const MODEM_CONTROL: Port = Port::serial(4);
const LINE_STATUS: Port = Port::serial(5);
const SCRATCH: Port = Port::serial(7);

/// Line status: room for a byte; all bytes have been sent.
const HAS_ROOM: u8 = 1 << 5;
const IS_EMPTY: u8 = 1 << 6;

/// Programs it, and returns whether it exists: a UART keeps the value of its scratch register, an
/// empty bus does not.
pub fn program(ports: impl Ports) -> bool {
    for probe in [0x5A, 0xA5] {
        ports.output(SCRATCH, probe);
        if ports.input(SCRATCH) != probe {
            return false;
        }
    }
    for (port, value) in [
        (INTERRUPTS, 0),
        (LINE_CONTROL, 0x80), // the divisor is next
        (DATA, 1),            // 115,200 baud
        (INTERRUPTS, 0),
        (LINE_CONTROL, 3),  // 8 data bits, no parity, 1 stop bit
        (FIFO_CONTROL, 0),  // not every UART has FIFOs
        (MODEM_CONTROL, 3), // DTR, RTS
    ] {
        ports.output(port, value);
    }
    true
}

/// Sends a byte as soon as the line takes it. False: it never did, so do not try again.
pub fn send(ports: impl Ports, byte: u8) -> bool {
    let ready = wait_for(ports, HAS_ROOM);
    if ready {
        ports.output(DATA, byte);
    }
    ready
}

/// Waits until the line has sent everything, but not for ever.
pub fn drain(ports: impl Ports) {
    wait_for(ports, IS_EMPTY);
}

fn wait_for(ports: impl Ports, status: u8) -> bool {
    (0..POLLS).any(|_| ports.input(LINE_STATUS) & status != 0)
}
