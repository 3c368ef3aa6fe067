//! BIOS calls for the steps: through the [gate](super::bios), with the work around each call, and
//! recorded if the image was built for that.

use boot_path::bios::firmware::{Bios, Registers};
use boot_path::bios::time::{Clock, Moment, Waiting};
use boot_path::bios::transcript;
use boot_path::devices::cpu::Cpu as _;
use boot_path::machine::Machine as _;
use boot_path::memory::layout::BIOS_BUFFER;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::machine::console::{CONSOLE, serial_line};
use crate::machine::header::recorded;
use crate::machine::{Machine, bios, faults, physical};

/// BIOS data area: timer ticks since midnight (u32).
const BDA_TICKS: u64 = 0x46C;

impl Bios for Machine {
    fn call(&mut self, number: u8, registers: &mut Registers) {
        if recorded() {
            call_and_record(number, registers);
        } else {
            call(number, registers);
        }
    }

    fn read<T: FromBytes>(&self, address: u64) -> T {
        if recorded() {
            record_memory(address, size_of::<T>());
        }
        physical::read(address)
    }

    fn put<T: IntoBytes + Immutable>(&mut self, value: &T) {
        physical::fill_bios_buffer(value.as_bytes());
    }

    fn write<T: IntoBytes + Immutable>(&mut self, address: u64, value: &T) {
        physical::write_transfer_buffer(address, value.as_bytes());
    }

    fn transferred(&self, length: usize) -> &[u8] {
        physical::transferred(self, length)
    }
}

/// Calls the BIOS. Tells it where the cursor is, in case the report that the call left its stack is
/// printed by the BIOS. Checks the 64-bit stack, which the BIOS may have used.
fn call(number: u8, registers: &mut Registers) {
    CONSOLE.tell_bios();
    bios::call(number, registers);
    faults::check_stack();
}

/// INT 10h AH=0Eh: prints a character, and moves the cursor. Not recorded, because it answers
/// nothing.
pub fn print(character: u8) {
    let mut registers = Registers {
        ebx: 0x0007, // page 0, grey
        ..Registers::new(0x0E00 | u32::from(character))
    };
    call(0x10, &mut registers);
}

/// Records in two halves, so that a call that does not return leaves the first. (Writing cannot
/// fail.)
#[cold]
fn call_and_record(number: u8, registers: &mut Registers) {
    let buffer = || &physical::bios_buffer(&Machine)[..transcript::SHOWN];
    let before = *registers;
    let _ = transcript::question(&mut serial_line(), number, &before, buffer());
    call(number, registers);
    let _ = transcript::answer(&mut serial_line(), &before, registers, buffer());
}

/// Data in the buffer is already in the line of the call.
#[cold]
fn record_memory(address: u64, length: usize) {
    if address != BIOS_BUFFER.start {
        let bytes = physical::firmware_bytes(address, length as u64);
        let _ = transcript::memory(&mut serial_line(), address, bytes.unwrap_or_default());
    }
}

impl Clock for Machine {
    fn now(&self) -> Moment {
        Moment {
            tsc: self.tsc(),
            ticks: physical::read(BDA_TICKS),
        }
    }

    fn milliseconds_since(&mut self, moment: Moment) -> u64 {
        let milliseconds = moment.milliseconds_to(self.now(), self.tsc_frequency());
        if recorded() {
            let _ = transcript::time(&mut serial_line(), milliseconds);
        }
        milliseconds
    }

    fn tell(&mut self, waiting: &Waiting) {
        CONSOLE.print(waiting);
    }
}
