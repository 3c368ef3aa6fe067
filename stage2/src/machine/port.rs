//! I/O ports.
#![allow(unsafe_code)]

use boot_path::devices::port::{Port, Ports};
use x86_64::instructions::port;

use crate::machine::Machine;

impl Ports for Machine {
    fn input(self, port: Port) -> u8 {
        let mut port = port::Port::new(port.number());
        // SAFETY: a port that the loader uses; an empty bus reads FFh.
        unsafe { port.read() }
    }

    fn output(self, port: Port, value: u8) {
        let mut port = port::Port::new(port.number());
        // SAFETY: a port that the loader uses: no device behind one changes memory. It may reset
        // the machine.
        unsafe { port.write(value) }
    }
}
