//! The arguments of every way out of the loader.

use crate::bios::tables::FirmwareTables;
use crate::bios::vbe::Adapter;
use crate::disk::partition::Partition;
use crate::entry::choose::BootEntry;
use crate::files::access::Files;
use crate::machine::Machine;
use crate::memory::address::PhysAddr;
use crate::memory::map::MemoryMap;
use crate::ways_out::limine::Modules;

/// The loader's name for itself.
pub const LOADER: &str = concat!("Bootpath ", env!("CARGO_PKG_VERSION"));

/// The arguments of every way out of the loader.
pub struct Way<'a, 'm, M> {
    /// The files, and the disk that holds them.
    pub files: &'a mut Files<'m, M>,
    /// The partition that holds them.
    pub partition: &'a Partition,
    /// The kernel to boot.
    pub entry: &'a BootEntry<'m>,
    /// The memory map.
    pub memory: &'a mut MemoryMap,
    /// Memory that ways out need.
    pub rooms: Rooms<'a, 'm>,
}

/// Memory that ways out need, outside the stack.
pub struct Rooms<'a, 'm> {
    /// For graphics modes.
    pub adapter: &'a mut Adapter,
    /// For the modules of a Limine kernel.
    pub modules: &'a mut Modules<'m>,
}

/// The tables that the firmware left in memory.
pub fn firmware_tables<'m>(machine: impl Machine<'m>) -> FirmwareTables {
    FirmwareTables::find(&|start, length| machine.firmware(PhysAddr::new(start), length))
}
