//! What every way out of the loader gets.

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
    pub lists: &'m mut Lists<'m>,
}

/// Room for lists that are not needed at the same time.
#[expect(clippy::large_enum_variant, reason = "there is only one of it")]
pub enum Lists<'m> {
    /// The entries, until one of them is chosen.
    Entries(Entries<'m>),
    /// The modules of a Limine kernel.
    Modules(Modules<'m>),
}

impl<'m> Lists<'m> {
    /// Without entries.
    pub const fn new() -> Self {
        Self::Entries(Entries::new())
    }

    /// A list of entries, of which there are none yet.
    pub fn entries(&mut self) -> &mut Entries<'m> {
        *self = Self::new();
        match self {
            Self::Entries(entries) => entries,
            Self::Modules(_) => unreachable!(),
        }
    }

    /// A list of modules, of which there are none yet.
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

/// What the firmware left in memory.
pub fn firmware_tables<'m>(machine: impl Machine<'m>) -> FirmwareTables {
    FirmwareTables::find(&|start, length| machine.firmware(PhysAddr::new(start), length))
}
