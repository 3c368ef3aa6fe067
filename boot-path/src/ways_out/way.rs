//! The arguments of every way out of the loader.

use crate::bios::tables::FirmwareTables;
use crate::bios::vbe::Adapter;
use crate::disk::partition::Partition;
use crate::entry::choose::BootEntry;
use crate::entry::entries::Entries;
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
    pub rooms: Rooms<'m>,
}

/// Memory that ways out need, outside the stack.
pub struct Rooms<'m> {
    /// For graphics modes.
    pub adapter: &'m mut Adapter,
    /// For the modules of a Limine kernel.
    pub lists: &'m mut Lists<'m>,
}

/// Room for lists that are never needed at the same time.
#[expect(clippy::large_enum_variant, reason = "there is only one of it")]
pub enum Lists<'m> {
    /// The entries, until one of them is chosen.
    Entries(Entries<'m>),
    /// The modules of a Limine kernel.
    Modules(Modules<'m>),
}

impl<'m> Lists<'m> {
    /// A list without entries.
    pub const fn new() -> Self {
        Self::Entries(Entries::new())
    }

    /// Begins an empty list of entries.
    pub fn entries(&mut self) -> &mut Entries<'m> {
        *self = Self::new();
        match self {
            Self::Entries(entries) => entries,
            Self::Modules(_) => unreachable!(),
        }
    }

    /// Begins an empty list of modules.
    pub fn modules(&mut self) -> &mut Modules<'m> {
        *self = Self::Modules(Modules::new_const());
        match self {
            Self::Modules(modules) => modules,
            Self::Entries(_) => unreachable!(),
        }
    }
}

impl Default for Lists<'_> {
    fn default() -> Self {
        Self::new()
    }
}

/// The tables that the firmware left in memory.
pub fn firmware_tables<'m>(machine: impl Machine<'m>) -> FirmwareTables {
    FirmwareTables::find(&|start, length| machine.firmware(PhysAddr::new(start), length))
}
