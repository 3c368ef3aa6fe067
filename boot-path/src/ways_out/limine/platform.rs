//! What only the Limine protocol needs of the machine: its processors, and the last switch.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::ways_out::failure::OutMachine;
use crate::ways_out::handover::LimineStart;
use crate::ways_out::limine::LimineError;

/// What a processor is told. Offsets are those of the protocol's structure.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Info {
    /// ACPI processor UID.
    pub uid: u32,
    /// Local APIC ID.
    pub apic_id: u32,
    /// The end of its stack, as the kernel sees it; 0: this one is not to be started.
    pub stack: u64,
    /// Where the kernel sends it.
    pub go_to: u64,
    /// The kernel's; until then, whether the processor waits: 1.
    pub extra: u64,
}

/// What every processor does, and does in the same way.
#[derive(Clone, Copy, Debug)]
pub struct Common<'m> {
    /// The MADT; empty where there is none.
    pub madt: &'m [u8],
    /// Whether the local APIC is to be in x2APIC mode. `None`: it stays as it is.
    pub x2apic: Option<bool>,
    /// Whether the local APIC gets the state that base revision 5 promises.
    pub quiet_apic: bool,
}

/// A machine with processors. The order of use is that of the functions.
pub trait Platform<'m>: OutMachine<'m> {
    /// APIC ID of the processor that boots.
    fn apic_id(self) -> u32;

    /// Notes what the last switch needs, of all processors, and lets the loader's tables show all
    /// memory in the upper half, too.
    fn prepare_switch(self, start: &LimineStart);

    /// Prepares the processor that boots. The BIOS can be called as before.
    ///
    /// # Errors
    /// 10Z when its APIC does not leave x2APIC mode.
    fn prepare_first(self, common: Common<'m>) -> Result<(), LimineError>;

    /// Starts all processors of `infos` that have a stack. Those that do not come get no stack any
    /// more.
    fn start_processors(self, infos: &mut [Info]);
}
