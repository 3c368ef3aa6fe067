//! The way in by Multiboot, in the place of steps 7 and 8: the files that another loader has brought.
//!
//! **On entry**: the memory map. **This step**: when the loader was not started by the BIOS, reads
//! the other loader's information ([`boot_path::ways_in::multiboot`]) and moves the modules out of
//! the way, to where no kernel wants to be. **On exit**: as of step 8; but there is no disk, and the
//! entry is known.
#![allow(unsafe_code)]

use boot_path::disk::partition::Partition;
use boot_path::errors::text::copy;
use boot_path::memory::layout::ENTRY_FILE;
use boot_path::memory::map::MemoryMap;
use boot_path::ways_in::multiboot::{
    Memory, give_back, plan_moves, present_address, read_information,
};

use crate::files::{Brought, File, Files};
use crate::machine::console;
use crate::machine::faults::Failure;
use crate::machine::findings;
use crate::machine::physical;
use crate::say;

/// What another loader has brought, if one started the program; and no partition.
///
/// # Errors
/// 9G.
// Its strings would otherwise lie on the stack all the way to the kernel.
#[inline(never)]
pub fn files(memory: &mut MemoryMap) -> Result<Option<(Files, Partition)>, Failure> {
    let Some(left) = findings::multiboot() else {
        return Ok(None);
    };
    // SAFETY: the region is step 9's, which does not use it when there is an entry already.
    let text = unsafe { physical::region(&ENTRY_FILE) };
    let (given, entry) = read_information(&Left(memory), left.magic, left.information, text)?;
    console::print(&format_args!(
        " 7 disk     none: started by {}",
        entry.title().unwrap_or("another loader")
    ));

    findings::step(8);
    let moves = plan_moves(&given, memory)?;
    let mut files = Brought::new(entry);
    for module in &moves {
        if module.to != module.from {
            // SAFETY: what the plan says is in memory, and nobody's but the module's.
            let (from, to) = unsafe {
                (
                    physical::bytes(module.from, module.size),
                    physical::bytes_mut(module.to, module.size),
                )
            };
            copy(from, to);
        }
        // SAFETY: that memory stays allocated, and nobody writes to it.
        files.add(unsafe { File::in_memory(module.to, module.size) });
    }
    give_back(&moves, memory);
    say!(" 8 files    # in memory"; moves.len() as u64);
    Ok(Some((Files::Memory(files), Partition::default())))
}

/// Memory as the other loader has left it.
struct Left<'a>(&'a MemoryMap);

impl Memory for Left<'_> {
    fn read(&self, address: u64, out: &mut [u8]) -> bool {
        let length = out.len() as u64;
        let Some(address) = present_address(address, length, self.0) else {
            return false;
        };
        // SAFETY: it is there, and nobody writes to it.
        copy(unsafe { physical::bytes(address, length) }, out);
        true
    }
}
