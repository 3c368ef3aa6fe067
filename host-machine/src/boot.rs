//! One boot.

use std::mem::{ManuallyDrop, MaybeUninit};

use arrayvec::ArrayVec;
use boot_path::bios::vbe::Adapter;
use boot_path::entry::entries::Entries;
use boot_path::errors::catalogue::{Named as _, Report};
use boot_path::memory::map::MemoryMap;
use boot_path::path::{self, Given, Rooms};
use boot_path::ways_out::handover::{Jump, LastCopies, LastCopy};
use boot_path::ways_out::limine::Modules;

use crate::machine::{Machine, Pc};

/// How a boot ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything is ready for the jump; and what would be moved over the loader's own memory:
    /// physical address, bytes.
    Ready(Jump, Vec<(u64, Vec<u8>)>),
    /// An error.
    Failed {
        /// Its code in the catalogue.
        code: &'static str,
        /// The report, as the loader shows it.
        report: String,
    },
}

/// Runs steps 6 to 12 on a machine. `manifest` is what `disk-builder` wrote about the files.
pub fn boot(pc: &Pc, manifest: &[u8]) -> Outcome {
    boot_entry(pc, manifest, None)
}

/// As [`boot`], with the entry in the file `path` and no other, whichever the loader would choose.
pub fn boot_entry(pc: &Pc, manifest: &[u8], path: Option<&str>) -> Outcome {
    let mut memory = Box::new(MemoryMap::new());
    let mut decompressor = Box::new(MaybeUninit::uninit());
    let mut adapter = Box::new(Adapter::new());
    // They hold references that live as long as they do. Nothing in them needs to be dropped.
    let mut entries = ManuallyDrop::new(Entries::new());
    let mut modules = ManuallyDrop::new(Modules::new());
    let mut brought = ManuallyDrop::new(ArrayVec::new());
    let mut opened = ManuallyDrop::new(None);
    let rooms = Rooms {
        entries: &mut entries,
        modules: &mut modules,
        brought: &mut brought,
        decompressor: &mut decompressor,
        opened: &mut opened,
        adapter: &mut adapter,
    };
    let given = Given {
        memory: &mut memory,
        manifest,
        rooms: |_: &mut [u8]| rooms,
    };
    let booted = path::boot_entry(Machine(pc), given, path);
    match booted {
        Ok(handover) => {
            let moves = handover.moves.iter();
            let moves = moves.map(|(block, to)| (to.as_u64(), block.to_vec()));
            let last = handover.last.iter().flat_map(LastCopies::iter);
            let moves = moves.chain(last.map(|last| last_copy(pc, last))).collect();
            Outcome::Ready(handover.jump, moves)
        }
        Err(failure) => {
            pc.variant.replace(Some(failure.variant().to_owned()));
            Outcome::Failed {
                code: failure.entry().code,
                report: Report(&failure).to_string(),
            }
        }
    }
}

/// A copy that is made at the very end.
fn last_copy(pc: &Pc, last: LastCopy) -> (u64, Vec<u8>) {
    let mut bytes = vec![0; last.bytes as usize];
    pc.memory.read(last.from.into(), &mut bytes);
    bytes.resize(bytes.len() + last.zeroes as usize, 0);
    (last.to.into(), bytes)
}
