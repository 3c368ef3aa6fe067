//! What another loader tells the loader: both versions, with names in the strings and without.
//! Wrong information has a name.

use boot_path::files::access::number_of;
use boot_path::memory::address::PhysAddr;
use boot_path::memory::map::{MemoryKind, MemoryMap, Region};
use boot_path::ways_in::multiboot::{
    Given, MAX_GIVEN, Memory, Move, MultibootError, give_back, plan_moves, read_information,
};
use disk_layout::multiboot::{LOAD_ADDRESS, MAGIC_1, MAGIC_2, SAVED, SAVED_BYTES};
use proptest::prelude::*;

/// A piece of memory from an address on.
struct Piece(u64, Vec<u8>);

impl Memory for Piece {
    fn read(&self, address: PhysAddr, out: &mut [u8]) -> bool {
        let start = address.as_u64().checked_sub(self.0);
        let bytes = start.and_then(|start| self.1.get(start as usize..)?.get(..out.len()));
        bytes.map(|bytes| out.copy_from_slice(bytes)).is_some()
    }
}

const BASE: u32 = 0x9000;

/// Adds a string of the information.
fn string(memory: &mut Vec<u8>, text: &str) -> u32 {
    let address = BASE + memory.len() as u32;
    memory.extend(text.as_bytes());
    memory.push(0);
    address
}

/// The information of version 1.
fn version_1(loader: Option<&str>, modules: &[(u32, u32, &str)]) -> Piece {
    let mut memory = vec![0; 120 + 16 * modules.len()];
    let put = |memory: &mut Vec<u8>, offset: usize, value: u32| {
        memory[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
    };
    let mut flags = 1 << 3;
    if let Some(loader) = loader {
        flags |= 1 << 9;
        let address = string(&mut memory, loader);
        put(&mut memory, 64, address);
    }
    put(&mut memory, 0, flags);
    put(&mut memory, 20, modules.len() as u32);
    put(&mut memory, 24, BASE + 120);
    for (index, &(start, end, text)) in modules.iter().enumerate() {
        let address = string(&mut memory, text);
        for (field, value) in [start, end, address].into_iter().enumerate() {
            put(&mut memory, 120 + 16 * index + 4 * field, value);
        }
    }
    Piece(BASE.into(), memory)
}

/// The information of version 2.
fn version_2(loader: Option<&str>, modules: &[(u32, u32, &str)]) -> Piece {
    let mut memory = vec![0; 8];
    let mut tag = |kind: u32, content: &[u8]| {
        memory.extend(kind.to_le_bytes());
        memory.extend((8 + content.len() as u32).to_le_bytes());
        memory.extend(content);
        memory.resize(memory.len().next_multiple_of(8), 0);
    };
    tag(21, &[0; 4]);
    for &(start, end, text) in modules {
        let numbers = [start.to_le_bytes(), end.to_le_bytes()].concat();
        tag(3, &[&numbers, text.as_bytes(), &[0]].concat());
    }
    if let Some(loader) = loader {
        tag(2, &[loader.as_bytes(), &[0]].concat());
    }
    tag(0, &[]);
    let length = memory.len() as u32;
    memory[..4].copy_from_slice(&length.to_le_bytes());
    Piece(BASE.into(), memory)
}

fn read(memory: &Piece, magic: u32) -> Result<(Vec<Given>, String), MultibootError> {
    let mut text = [0; 16 * 1024];
    let mut given = Default::default();
    let entry = read_information(memory, magic, BASE, &mut given, &mut text)?;
    assert_eq!(entry.kernel(), Some("/modules/0"));
    let end = text
        .iter()
        .position(|&byte| byte == 0)
        .unwrap_or(text.len());
    let text = str::from_utf8(&text[..end]).expect("it was checked");
    Ok((given.to_vec(), text.to_owned()))
}

#[test]
fn names_are_taken_off_where_there_are_some() {
    let modules = [
        (0x20_0000, 0x20_1000, "kernel.elf  one two"),
        (0x30_0000, 0x30_0001, "/boot/module"),
        (0x5000, 0x6000, "third with words"),
    ];
    let places = modules.map(|(start, end, _)| Given {
        start: start.into(),
        end: end.into(),
    });
    let without =
        "kernel /modules/0\noptions one two\nmodule /modules/1 \nmodule /modules/2 with words\n";
    let with = "kernel /modules/0\noptions kernel.elf  one two\nmodule /modules/1 /boot/module\n\
                module /modules/2 third with words\n";
    for (loader, text) in [
        (None, without),
        (Some("qemu"), without),
        (Some("GNU GRUB 0.97"), without),
        (Some("GRUB 2.06-13+deb12u1"), with),
    ] {
        for (memory, magic) in [
            (version_1(loader, &modules), MAGIC_1),
            (version_2(loader, &modules), MAGIC_2),
        ] {
            let (given, found) = read(&memory, magic).unwrap();
            assert_eq!(given, places);
            let title = loader.map_or(String::new(), |name| format!("title {name}\n"));
            assert_eq!(found, title + text, "{loader:?}");
        }
    }
    assert_eq!(number_of("/modules/12"), Some(12));
    assert_eq!(number_of("/boot/kernel.elf"), None);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let one = (0x20_0000, 0x20_1000, "k");
    let good = version_1(None, &[one]);
    assert_eq!(read(&good, 7), Err(MultibootError::Magic(7)));
    assert_eq!(
        read(&good, MAGIC_2).unwrap_err(),
        MultibootError::NoKernel,
        "the flags are a total size of 8"
    );
    let many = vec![one; MAX_GIVEN + 1];
    for (memory, magic) in [
        (version_1(None, &many), MAGIC_1),
        (version_2(None, &many), MAGIC_2),
    ] {
        assert_eq!(read(&memory, magic), Err(MultibootError::TooManyModules));
    }
    assert!(read(&version_1(None, &many[1..]), MAGIC_1).is_ok());
    for (memory, magic) in [
        (version_1(None, &[]), MAGIC_1),
        (version_2(None, &[]), MAGIC_2),
    ] {
        assert_eq!(read(&memory, magic), Err(MultibootError::NoKernel));
    }
    let (start, end) = (0x20_0000, 0x20_0000);
    assert_eq!(
        read(&version_2(None, &[(0x20_0000, 0x20_0000, "")]), MAGIC_2),
        Err(MultibootError::Module { start, end })
    );
    let long = "x".repeat(4096);
    assert!(matches!(
        read(&version_1(None, &[(1, 2, &long)]), MAGIC_1),
        Err(MultibootError::Address(_))
    ));
    let long = "x".repeat(4000);
    let modules = [(1, 2, &long[..]); 5];
    assert_eq!(
        read(&version_1(Some("GRUB 2"), &modules), MAGIC_1),
        Err(MultibootError::TooLong)
    );
}

proptest! {
    #[test]
    fn any_memory_is_read_or_refused(mut bytes: Vec<u8>, flags: u32, total in 0u32..400) {
        for (magic, first) in [(MAGIC_1, flags | 1 << 3), (MAGIC_2, total)] {
            bytes.splice(..bytes.len().min(4), first.to_le_bytes());
            if let Ok((given, text)) = read(&Piece(BASE.into(), bytes.clone()), magic) {
                prop_assert!(!given.is_empty());
                prop_assert!(given.iter().all(|module| module.start < module.end));
                prop_assert!(text.ends_with('\n'));
            }
        }
    }
}

const MIB: u64 = 1 << 20;

const fn physical(address: u64) -> PhysAddr {
    PhysAddr::new(address)
}

/// A machine with so much memory, and the loader in it.
fn machine(end: u64) -> MemoryMap {
    let mut memory = MemoryMap::new();
    for (start, end) in [(0, 0x9_F000), (MIB, end)] {
        let kind = MemoryKind::Usable;
        memory.add(Region {
            start: physical(start),
            end: physical(end),
            kind,
        });
    }
    memory.finish(0x9_F000);
    memory
}

fn plan(places: &[(u64, u64)], memory: &mut MemoryMap) -> Result<Vec<Move>, MultibootError> {
    let given = places.iter().map(|&(start, end)| Given {
        start: physical(start),
        end: physical(end),
    });
    let given: Vec<_> = given.collect();
    Ok(plan_moves(&given, memory)?.to_vec())
}

/// The kind of the page at an address.
fn kind(memory: &MemoryMap, address: PhysAddr) -> Option<MemoryKind> {
    let mut regions = memory.regions().iter();
    let region = regions.find(|region| (region.start..region.end).contains(&address));
    region.map(|region| region.kind)
}

#[test]
fn modules_make_room() {
    let mut memory = machine(64 * MIB);
    let places = [
        (2 * MIB, 2 * MIB + 5000),
        (0x5000, 0x5800),
        (3 * MIB, 9 * MIB),
    ];
    let moves = plan(&places, &mut memory).unwrap();
    let froms: Vec<u64> = moves.iter().map(|module| module.from.as_u64()).collect();
    // The low module is taken from the copy.
    assert_eq!(froms, [2 * MIB, u64::from(SAVED) + 0x5000, 3 * MIB]);
    for module in &moves {
        let to = module.to.as_u64();
        assert!(to >= 48 * MIB && to % 4096 == 0, "{moves:?}");
        assert_eq!(kind(&memory, module.from), Some(MemoryKind::Reclaimable));
    }
    assert!(!memory.is_free(LOAD_ADDRESS.into(), (SAVED + SAVED_BYTES).into()));
    give_back(&moves, &mut memory);
    assert!(memory.is_free(physical(MIB), physical(48 * MIB)));
    for module in &moves {
        assert_eq!(kind(&memory, module.to), Some(MemoryKind::Reclaimable));
    }
}

#[test]
fn without_room_they_stay() {
    let mut memory = machine(8 * MIB);
    let places = [(3 * MIB, 7 * MIB), (0x5000, 0x6000)];
    let moves = plan(&places, &mut memory).unwrap();
    assert_eq!(moves[0].to, physical(3 * MIB));
    assert_ne!(moves[1].to, moves[1].from);
    give_back(&moves, &mut memory);
    assert_eq!(
        kind(&memory, physical(3 * MIB)),
        Some(MemoryKind::Reclaimable)
    );
    assert!(memory.is_free(physical(MIB), physical(3 * MIB)));

    // There is no other memory, so that not even a module in the copy can be moved.
    let mut memory = machine(u64::from(SAVED + SAVED_BYTES));
    let moves = plan(&[(0x5000, 0x6000)], &mut memory).unwrap();
    assert_eq!(moves[0].to, moves[0].from);
    give_back(&moves, &mut memory);
    assert_eq!(kind(&memory, moves[0].from), Some(MemoryKind::Reclaimable));
    assert!(memory.is_free(physical(MIB), moves[0].from));
}

#[test]
fn modules_lie_in_memory() {
    let end = 64 * MIB;
    for start in [
        end - 1,
        end,
        u64::MAX - 1,
        0x9_FFFF,
        0xA_0000,
        LOAD_ADDRESS.into(),
    ] {
        let mut memory = machine(end);
        assert_eq!(
            plan(&[(start, start.saturating_add(2))], &mut memory),
            Err(MultibootError::Address(physical(start)))
        );
    }
}

proptest! {
    #[test]
    fn no_plan_overlaps(
        places in prop::collection::vec((0u64..40 << 20, 1u64..4 << 20), 1..8),
        end in 2u64..64,
    ) {
        let mut memory = machine(end * MIB);
        let places: Vec<_> = places.iter().map(|&(start, size)| (start, start + size)).collect();
        if let Ok(moves) = plan(&places, &mut memory) {
            give_back(&moves, &mut memory);
            for (index, one) in moves.iter().enumerate() {
                for address in [one.to, one.to + (one.size - 1)] {
                    prop_assert_eq!(kind(&memory, address), Some(MemoryKind::Reclaimable));
                }
                for other in &moves[..index] {
                    let apart = one.to + one.size <= other.to || other.to + other.size <= one.to;
                    prop_assert!(apart || one.to == one.from && other.to == other.from);
                    // No module is overwritten before it has been moved.
                    for module in [one, other].into_iter().filter(|m| m.to != m.from) {
                        for source in [one, other] {
                            prop_assert!(
                                module.to + module.size <= source.from
                                    || source.from + source.size <= module.to
                            );
                        }
                    }
                }
            }
        }
    }
}
