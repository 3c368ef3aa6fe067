//! The way in by Multiboot, in place of steps 7 and 8: the files that another loader has loaded.
//!
//! **On entry**: the memory map; the loader was not started by the BIOS. **This step**: reads the
//! other loader's information ([`multiboot`](super::multiboot)) and moves the modules out of the
//! way, to memory that no kernel asks for. **On exit**: as of step 8; but there is no disk, and the
//! entry is known.

use arrayvec::ArrayVec;

use crate::entry::entry_file::KernelEntry;
use crate::errors::text::{Texts, copy};
use crate::files::access::{File, Files};
use crate::files::error::FileMachine;
use crate::machine::Machine;
use crate::memory::address::PhysAddr;
use crate::memory::map::MemoryMap;
use crate::memory::ram::Allocation;
use crate::say;
use crate::ways_in::multiboot::{
    MAX_GIVEN, Memory, Move, MultibootError, give_back, plan_moves, present_address,
    read_information,
};

/// Memory that the files of another loader need.
pub struct Rooms<'m> {
    /// For the text of the entry.
    pub text: &'m mut [u8],
    /// For the files.
    pub files: &'m mut ArrayVec<File<'m>, MAX_GIVEN>,
}

/// Takes the files of another loader, which has passed a magic number and the address of its
/// information; returns the entry.
///
/// # Errors
/// 9G.
#[inline(never)] // its strings would otherwise lie on the stack all the way to the kernel
pub fn take<'m, M: FileMachine<'m, Failure: From<MultibootError>>>(
    files: &mut Files<'m, M>,
    (magic, information): (u32, u32),
    rooms: Rooms<'m>,
    memory: &mut MemoryMap,
) -> Result<KernelEntry<'m>, M::Failure> {
    let machine = files.machine();
    let left = Left { machine, memory };
    let mut given = ArrayVec::new();
    let entry = read_information(&left, magic, information, &mut given, rooms.text)?;
    machine.print(&Texts(&[
        " 7 disk     none: started by ",
        entry.title().unwrap_or("another loader"),
    ]));

    machine.step(8);
    let moves = plan_moves(&given, memory)?;
    for module in &moves {
        // There is room for as many as can be given.
        let file = File::in_memory(move_one(machine, module));
        let _ = rooms.files.try_push(file);
    }
    give_back(&moves, memory);
    say!(machine, " 8 files    # in memory"; moves.len() as u64);
    files.take(rooms.files);
    Ok(entry)
}

/// Moves a module, unless memory had no room for a second copy.
fn move_one<'m>(machine: impl Machine<'m>, module: &Move) -> &'m [u8] {
    if module.to == module.from {
        return machine
            .firmware(module.from, module.size)
            .unwrap_or_default();
    }
    let to = machine.bytes(Allocation::new(module.to, module.size));
    copy(
        machine
            .firmware(module.from, module.size)
            .unwrap_or_default(),
        to,
    );
    to
}

/// Memory as the other loader left it.
struct Left<'a, M> {
    machine: M,
    memory: &'a MemoryMap,
}

impl<'m, M: Machine<'m>> Memory for Left<'_, M> {
    fn read(&self, address: PhysAddr, out: &mut [u8]) -> bool {
        let length = out.len() as u64;
        let bytes = present_address(address, length, self.memory)
            .and_then(|address| self.machine.firmware(address, length));
        bytes.is_some_and(|bytes| copy(bytes, out) == out.len())
    }
}
