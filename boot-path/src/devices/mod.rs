//! Drivers: what the loader does to devices and to the CPU itself, without the BIOS. With them is what
//! the CPU's descriptor tables and control registers hold while the loader runs.
//!
//! A driver is ordinary code over a trait, as what asks the BIOS is. On the machine, the instructions are
//! behind it; on the host, a device that a test has made up. The traits take [`Port`](port::Port) and
//! [`Msr`](cpu::Msr), of which there are no others than those that the loader uses.

pub mod port;
pub mod cpu;
pub mod descriptors;
pub mod control_registers;
pub mod serial;
pub mod console;
pub mod keyboard;
pub mod timer;
pub mod seed;
pub mod local_apic;
pub mod interrupts;
pub mod memory_types;

/// Polls before giving up on hardware that should respond at once.
const POLLS: u32 = 100_000;

/// Registers of devices that are mapped: each access happens once, and in the order of the program.
pub trait Mapped: Copy {
    /// Reads the register at a physical address.
    fn register(self, address: u64) -> u32;

    /// Writes it.
    fn set_register(self, address: u64, value: u32);
}
