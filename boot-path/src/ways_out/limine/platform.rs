//! The parts of the machine that only the Limine protocol needs: its processors, and the last
//! switch.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::ways_out::failure::OutMachine;
use crate::ways_out::handover::LimineStart;
use crate::ways_out::limine::LimineError;

/// The information for a processor. Offsets are those of the protocol's structure.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Info {
    /// ACPI processor UID.
    pub uid: u32,
    /// Local APIC ID.
    pub apic_id: u32,
    /// The end of its stack, as the kernel sees it; 0: it is not started.
    pub stack: u64,
    /// The address to which the kernel sends it.
    pub go_to: u64,
    /// For the kernel's use; until then, 1 while the processor waits.
    pub extra: u64,
}

/// The settings that are the same for every processor.
#[derive(Clone, Copy, Debug)]
pub struct Common<'m> {
    /// The MADT; empty if there is none.
    pub madt: &'m [u8],
    /// Should the local APIC be in x2APIC mode? `None`: it stays as it is.
    pub x2apic: Option<bool>,
    /// Does the local APIC get the state that base revision 5 promises?
    pub quiet_apic: bool,
}

/// A machine with processors. The functions are called in this order.
pub trait Platform<'m>: OutMachine<'m> {
    /// APIC ID of the processor that boots.
    fn apic_id(self) -> u32;

    /// Records what the last switch of every processor needs, and also maps all memory in the upper
    /// half of the loader's tables.
    fn prepare_switch(self, start: &LimineStart);

    /// Prepares the processor that boots. The BIOS can still be called.
    ///
    /// # Errors
    /// 10Z when its APIC does not leave x2APIC mode.
    fn prepare_first(self, common: Common<'m>) -> Result<(), LimineError>;

    /// Starts all processors of `infos` that have a stack. The stack of a processor that does not
    /// start is set to 0.
    fn start_processors(self, infos: &mut [Info]);
}
