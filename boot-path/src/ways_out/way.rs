//! What every way out of the loader gets.

use crate::bios::tables::FirmwareTables;
use crate::bios::vbe::Adapter;
use crate::disk::partition::Partition;
use crate::entry::choose::BootEntry;
use crate::files::access::Files;
use crate::machine::Machine;
use crate::memory::map::MemoryMap;

/// What the loader calls itself.
pub const LOADER: &str = concat!("Bootpath ", env!("CARGO_PKG_VERSION"));

/// What every way out of the loader gets.
pub struct Way<'a, 'm, M> {
    /// The files, and the disk below.
    pub files: &'a mut Files<'m, M>,
    /// Where they are.
    pub partition: &'a Partition,
    /// What is to be booted.
    pub entry: &'a BootEntry<'m>,
    /// What memory there is.
    pub memory: &'a mut MemoryMap,
    /// What ways out need memory for.
    pub rooms: Rooms<'m>,
}

/// What ways out need memory for, at places of their own.
pub struct Rooms<'m> {
    /// For graphics modes.
    pub adapter: &'m mut Adapter,
    /// For the modules of a Limine kernel.
    pub modules: &'m mut super::limine::Modules<'m>,
}

/// What the firmware left in memory.
pub fn firmware_tables<'m>(machine: impl Machine<'m>) -> FirmwareTables {
    FirmwareTables::find(&|start, length| machine.firmware(start, length))
}
