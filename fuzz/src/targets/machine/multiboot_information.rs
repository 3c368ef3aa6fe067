//! What another loader tells about its modules, and where these are moved.

use boot_path::entry::entry_file::MAX_FILE;
use boot_path::files::access::number_of;
use boot_path::memory::address::PhysAddr;
use boot_path::memory::map::{MemoryKind, MemoryMap, Region};
use boot_path::ways_in::multiboot::{Memory, give_back, plan_moves, read_information};
use disk_layout::multiboot::{MAGIC_1, MAGIC_2};

use crate::targets::show;

/// The address of the bytes, and of the information in them.
pub const BASE: u32 = 0x9000;
/// All memory of the machine, in bytes.
const END: u64 = 64 << 20;

/// A piece of memory, with nothing around it.
struct Piece<'a>(&'a [u8]);

impl Memory for Piece<'_> {
    fn read(&self, address: PhysAddr, out: &mut [u8]) -> bool {
        let start = address.checked_sub(BASE.into()).map(|start| start as usize);
        let bytes = start.and_then(|start| self.0.get(start..)?.get(..out.len()));
        bytes.map(|bytes| out.copy_from_slice(bytes)).is_some()
    }
}

/// The input: a byte that says which version, and the memory from [`BASE`] on.
pub fn run(bytes: &[u8]) {
    accepts(bytes);
}

/// Whether the input is accepted.
pub fn accepts(bytes: &[u8]) -> bool {
    let Some((version, bytes)) = bytes.split_first() else {
        return false;
    };
    let magic = match version {
        1 => MAGIC_1,
        2 => MAGIC_2,
        other => u32::from(*other),
    };
    let mut text = [0; MAX_FILE];
    let mut given = Default::default();
    let entry = match read_information(&Piece(bytes), magic, BASE, &mut given, &mut text) {
        Ok(entry) => entry,
        Err(error) => {
            show(&error);
            return false;
        }
    };
    assert!(magic == MAGIC_1 || magic == MAGIC_2);
    assert!(given.iter().all(|module| module.start < module.end));
    // One file a line, by its number.
    assert_eq!(entry.kernel().and_then(number_of), Some(0));
    let numbers = entry.modules().map(|module| number_of(module.path));
    assert!(numbers.eq((1..given.len()).map(Some)));

    let mut memory = MemoryMap::new();
    for edges in [[0, 0x9_F000], [1 << 20, END]] {
        let [start, end] = edges.map(PhysAddr::new);
        let kind = MemoryKind::Usable;
        memory.add(Region { start, end, kind });
    }
    memory.finish(0x9_F000);
    let before = memory.usable();
    let moves = match plan_moves(&given, &mut memory) {
        Ok(moves) => moves,
        Err(error) => {
            show(&error);
            return false;
        }
    };
    give_back(&moves, &mut memory);
    for module in &moves {
        let end = module.to + module.size;
        assert!(end.as_u64() <= END && module.size > 0);
        let taken = |region: &&Region| region.kind == MemoryKind::Reclaimable;
        let mut regions = memory.regions().iter().filter(taken);
        assert!(regions.any(|region| region.start <= module.to && end <= region.end));
    }
    // Nothing else was taken.
    let pages: u64 = moves.iter().map(|module| module.size + 2 * 4096).sum();
    assert!(before - memory.usable() <= pages);
    true
}
