//! BIOS calls, as the steps make them: through the [gate](super::bios), with all that is to be done around
//! each call, and recorded where the image was built for that.

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

/// Calls the BIOS. It may be the BIOS that prints the next line, when the call leaves its stack; and it
/// may have used the 64-bit one.
fn call(number: u8, registers: &mut Registers) {
    CONSOLE.tell_bios();
    bios::call(number, registers);
    faults::check_stack();
}

/// INT 10h AH=0Eh: prints a character, and moves the cursor. Not recorded: it is no answer to
/// anything.
pub fn print(character: u8) {
    let mut registers = Registers {
        ebx: 0x0007, // page 0, grey
        ..Registers::new(0x0E00 | u32::from(character))
    };
    call(0x10, &mut registers);
}

/// In two halves: of a call that does not return, the first one is there. (Writing cannot fail.)
#[cold]
fn call_and_record(number: u8, registers: &mut Registers) {
    let buffer = || &physical::bios_buffer(&Machine)[..transcript::SHOWN];
    let before = *registers;
    let _ = transcript::question(&mut serial_line(), number, &before, buffer());
    call(number, registers);
    let _ = transcript::answer(&mut serial_line(), &before, registers, buffer());
}

/// What is read from the buffer is in the line of the call already.
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
