//! Drivers: what the loader does to devices and to the CPU itself, without the BIOS. The CPU's
//! descriptor tables and control registers, as they are while the loader runs, are here as well.
//!
//! A driver is ordinary code over a trait, like the code that asks the BIOS. The machine implements
//! the trait by instructions; on the host, a test implements it by a made-up device. The traits
//! take [`Port`](port::Port) and [`Msr`](cpu::Msr), of which only those exist that the loader uses.

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

/// Registers of devices in memory: each access happens exactly once, in the order of the program.
pub trait Mapped: Copy {
    /// Reads the register at a physical address.
    fn register(self, address: u64) -> u32;

    /// Writes it.
    fn set_register(self, address: u64, value: u32);
}
