//! What BIOSes say of memory, and what the loader makes of it, one test for each thing that may be
//! wrong. (`memory/map.rs` tests what the map makes of regions.)

use boot_path::bios::int15::{E820_CALLS, MemoryError, discover};
use boot_path::errors::catalogue::Named as _;
use boot_path::memory::layout;
use boot_path::memory::map::{MemoryKind, MemoryMap};
use proptest::prelude::*;

use crate::fake_bios::{
    BDA_EBDA_SEGMENT, BDA_MEMORY_SIZE, End, FakeBios, FakeEntry, FakeMap, RandomBios,
};

const MIB: u64 = 1 << 20;

/// The service that answered, and the usable memory from 1 MiB on: start and end of each range.
type Found = Result<(&'static str, Vec<(u64, u64)>), MemoryError>;

/// Asks a BIOS that changes every register it may.
fn ask(mut bios: FakeBios) -> (Found, FakeBios) {
    bios.clobbers = true;
    let mut map = MemoryMap::new();
    let found = discover(&mut bios, &mut map).map(|source| {
        let usable = map.regions().iter().filter(|region| {
            assert!(region.start < region.end);
            region.kind == MemoryKind::Usable && region.start.as_u64() >= MIB
        });
        (
            source,
            usable
                .map(|region| (region.start.as_u64(), region.end.as_u64()))
                .collect(),
        )
    });
    (found, bios)
}

fn by_map(map: FakeMap) -> Found {
    ask(FakeBios::with_map(map)).0
}

/// A map with E820 alone, so that there is nothing to fall back to.
fn e820(entries: &[FakeEntry]) -> FakeMap {
    FakeMap {
        e820: Some(entries.to_vec()),
        e801: None,
        kib_88: None,
        ..FakeMap::new()
    }
}

/// A map without E820 but with E801.
fn e801(values: [u16; 4]) -> FakeMap {
    FakeMap {
        e820: None,
        e801: Some(values),
        kib_88: None,
        ..FakeMap::new()
    }
}

const LOW: FakeEntry = FakeEntry::new(0, 0x9_FC00, 1);
const RAM: FakeEntry = FakeEntry::new(MIB, 63 * MIB, 1);
const ALL: [(u64, u64); 1] = [(MIB, 64 * MIB)];

#[test]
fn a_good_bios() {
    let (found, bios) = ask(FakeBios::new());
    assert_eq!(found, Ok(("E820", ALL.into())));
    assert_eq!(bios.calls.len(), 5);
}

#[test]
fn every_end_of_the_list() {
    for (end, calls) in [
        (End::Ebx, 5),
        (End::Carry, 6),
        (End::CarryAndStatus, 6),
        (End::Never, E820_CALLS as usize),
    ] {
        let map = FakeMap {
            end,
            ..FakeMap::new()
        };
        let (found, bios) = ask(FakeBios::with_map(map));
        assert_eq!(found, Ok(("E820", ALL.into())), "{end:?}");
        assert_eq!(bios.calls.len(), calls, "{end:?}");
    }
}

#[test]
fn the_signature_is_lost_in_the_middle() {
    for at in 0..5 {
        let map = FakeMap {
            smap_lost_at: Some(at),
            ..FakeMap::new()
        };
        let (found, bios) = ask(FakeBios::with_map(map));
        assert_eq!(found, Ok(("E801", ALL.into())), "{at}");
        assert_eq!(bios.calls.len(), at + 2);
    }
}

#[test]
fn an_error_in_the_first_call_is_no_list() {
    for end in [End::Carry, End::CarryAndStatus] {
        let map = FakeMap {
            e820: Some(Vec::new()),
            end,
            ..FakeMap::new()
        };
        assert_eq!(by_map(map), Ok(("E801", ALL.into())));
    }
}

#[test]
fn attributes_count_only_when_they_were_written() {
    let ignored = FakeEntry::new(2 * MIB, MIB, 1);
    let found = |entry| by_map(e820(&[LOW, FakeEntry::new(MIB, MIB, 1), entry]));
    let (one, two) = (vec![(MIB, 2 * MIB)], vec![(MIB, 3 * MIB)]);
    assert_eq!(found(ignored.with_attributes(0)), Ok(("E820", one.clone())));
    assert_eq!(
        found(ignored.with_attributes(0xFFFF_FFFE)),
        Ok(("E820", one))
    );
    assert_eq!(found(ignored.with_attributes(1)), Ok(("E820", two.clone())));
    assert_eq!(found(ignored), Ok(("E820", two.clone())));
    // Some claim 24 bytes and write 20.
    let claims = FakeEntry {
        claimed: 24,
        ..ignored
    };
    assert_eq!(found(claims), Ok(("E820", two)));
}

#[test]
fn entries_of_every_length() {
    let found = |written, claimed| {
        let entry = FakeEntry {
            written,
            claimed,
            attributes: 1,
            ..RAM
        };
        by_map(e820(&[LOW, entry])).unwrap().1
    };
    for claimed in [20, 21, 24, 32, 255, 0xFFFF_0014, u32::MAX] {
        assert_eq!(found(20, claimed), ALL, "{claimed}");
    }
    // A later version may have as many bytes.
    assert_eq!(found(64, 64), ALL);
    for claimed in [0, 1, 16, 19] {
        assert_eq!(found(20, claimed), [], "{claimed}");
    }
}

#[test]
fn a_list_without_memory_is_none() {
    for entries in [
        &[][..],
        &[FakeEntry::new(0, 0, 1)],
        &[FakeEntry::new(0, 64 * MIB, 2), FakeEntry::new(MIB, 0, 1)],
    ] {
        let map = FakeMap {
            e820: Some(entries.to_vec()),
            ..FakeMap::new()
        };
        let source = by_map(map).map(|(source, _)| source);
        assert_eq!(source, Ok("E801"), "{entries:?}");
        assert_eq!(by_map(e820(entries)), Err(MemoryError::NoMap));
    }
}

#[test]
fn unknown_and_wild_entries() {
    let found = by_map(e820(&[
        FakeEntry::new(u64::MAX - 0xFFF, u64::MAX, 1),
        RAM,
        FakeEntry::new(32 * MIB, MIB, 2_954_887_168), // AMI
        FakeEntry::new(32 * MIB, MIB, 1),
        FakeEntry::new(48 * MIB, 16 * MIB, 3),
        FakeEntry::new(48 * MIB, 0, 2),
        LOW,
        LOW,
        FakeEntry::new(0xA_0000, 0x6_0000, 1), // 640 KiB to 1 MiB, too
        FakeEntry::new(1 << 52, 1 << 40, 1),
    ]));
    let usable = vec![(MIB, 32 * MIB), (33 * MIB, 48 * MIB)];
    assert_eq!(found, Ok(("E820", usable)));
}

#[test]
fn more_entries_than_there_is_room_for() {
    let entries: Vec<_> = (0..1000)
        .map(|i| FakeEntry::new(MIB + i * 0x2000, 0x1000, 1 + (i % 2) as u32 * 3))
        .collect();
    let (found, bios) = ask(FakeBios::with_map(e820(&entries)));
    for (start, end) in found.unwrap().1 {
        assert_eq!((end - start, (start - MIB) / 0x2000 % 2), (0x1000, 0));
    }
    assert_eq!(bios.calls.len(), 1000);
}

#[test]
fn e801_in_either_pair_of_registers() {
    let (kib, blocks) = (15 * 1024, 48 << 4);
    for values in [
        [kib, blocks, kib, blocks],
        [kib, blocks, 0, 0],
        [0, 0, kib, blocks],
        [1, 1, kib, blocks],
    ] {
        assert_eq!(by_map(e801(values)), Ok(("E801", ALL.into())));
    }
    // A hole at 15 MiB: nothing above 16 MiB is believed.
    let hole = by_map(e801([14 * 1024, blocks, 0, 0]));
    assert_eq!(hole, Ok(("E801", vec![(MIB, 15 * MIB)])));
    // The largest size that the numbers can express.
    let most = by_map(e801([u16::MAX; 4]));
    assert_eq!(most, Ok(("E801", vec![(MIB, 16 * MIB + 0xFFFF_0000)])));
}

#[test]
fn the_oldest_service() {
    for values in [None, Some([0; 4]), Some([0, 48 << 4, 0, 0])] {
        let map = FakeMap {
            e820: None,
            e801: values,
            kib_88: Some(0xFC00),
            ..FakeMap::new()
        };
        let (found, bios) = ask(FakeBios::with_map(map));
        assert_eq!(found, Ok(("88h", ALL.into())), "{values:?}");
        assert_eq!(bios.calls.len(), 3);
    }
}

#[test]
fn nothing_answers() {
    let map = FakeMap {
        e820: None,
        e801: None,
        kib_88: None,
        ..FakeMap::new()
    };
    let (found, bios) = ask(FakeBios::with_map(map.clone()));
    assert_eq!(found, Err(MemoryError::NoMap));
    assert_eq!(found.unwrap_err().entry().code, "6A");
    assert_eq!(bios.calls.len(), 3);
    // A service that leaves CF alone has not answered, whatever is in the registers.
    let map = FakeMap {
        leaves_carry: true,
        e801: Some([15 * 1024, 48 << 4, 0, 0]),
        kib_88: Some(63 * 1024),
        ..map
    };
    assert_eq!(by_map(map), Err(MemoryError::NoMap));
}

#[test]
fn the_end_of_low_memory() {
    let low = |kib: u16, segment: u16, map: FakeMap| {
        let mut bios = FakeBios::with_map(map);
        bios.set_word(BDA_MEMORY_SIZE, kib);
        bios.set_word(BDA_EBDA_SEGMENT, segment);
        let mut map = MemoryMap::new();
        discover(&mut bios, &mut map).map(|_| {
            let usable = map.regions().iter();
            usable
                .filter(|region| region.kind == MemoryKind::Usable && region.start.as_u64() < MIB)
                .map(|region| region.end.as_u64())
                .max()
                .unwrap()
        })
    };
    for map in [
        e820(&[FakeEntry::new(0, 0xA_0000, 1), RAM]),
        e801([15 * 1024, 0, 0, 0]),
    ] {
        for (kib, segment, end) in [
            (639, 0x9FC0, 0x9_FC00),
            (640, 0x9FC0, 0x9_FC00), // not reserved
            (600, 0x9FC0, 0x9_6000),
            (640, 0, 0xA_0000),
            (640, 0xFFFF, 0xA_0000),
            (640, 0x0040, 0xA_0000),
            (0, 0x9000, 0x9_0000),
            (0xFFFF, 0x9000, 0x9_0000),
            (0, 0, 0x8_0000),
        ] {
            assert_eq!(low(kib, segment, map.clone()), Ok(end), "{kib} {segment:X}");
        }
        // The EBDA begins so low that there is no room for the loader.
        let needed = layout::END;
        let MemoryError::NoRoom(error) = low(640, 0x4000, map.clone()).unwrap_err() else {
            panic!("no 6B")
        };
        assert_eq!((error.needed, error.largest), (needed, 0x4_0000));
        assert!(low(640, (needed >> 4) as u16, map.clone()).is_ok());
        assert!(low(640, (needed >> 4) as u16 - 1, map).is_err());
    }
}

fn entry() -> impl Strategy<Value = FakeEntry> {
    let page = (0..0x2_0000_u64).prop_map(|page| page << 12);
    let number = || prop_oneof![3 => page.clone(), 1 => any::<u64>()];
    let kind = prop_oneof![3 => 0..6_u32, 1 => any::<u32>()];
    let claimed = prop_oneof![3 => 20..=24_u32, 1 => any::<u32>()];
    (
        number(),
        number(),
        kind,
        any::<u32>(),
        20..64_usize,
        claimed,
    )
        .prop_map(
            |(base, length, kind, attributes, written, claimed)| FakeEntry {
                base,
                length,
                kind,
                attributes,
                written,
                claimed,
            },
        )
}

proptest! {
    /// With any list and any end, the number of calls is bounded, the map is in order, and nothing
    /// is usable that was not reported.
    #[test]
    fn any_list(
        entries in prop::collection::vec(entry(), 0..60),
        end in prop::sample::select(vec![End::Ebx, End::Carry, End::CarryAndStatus, End::Never]),
        smap_lost_at in prop::option::weighted(0.1, 0..60_usize),
        words: (u16, u16),
    ) {
        prop_assume!(!(entries.is_empty() && end == End::Never));
        let map = FakeMap { end, smap_lost_at, ..e820(&entries) };
        let mut bios = FakeBios::with_map(map);
        bios.clobbers = true;
        bios.set_word(BDA_MEMORY_SIZE, words.0);
        bios.set_word(BDA_EBDA_SEGMENT, words.1);
        let mut map = MemoryMap::new();
        let found = discover(&mut bios, &mut map);
        prop_assert!(bios.calls.len() <= E820_CALLS as usize + 2);
        if found != Ok("E820") {
            return Ok(());
        }
        let reported = |address: u64| entries.iter().any(|entry| {
            let offset = address.checked_sub(entry.base);
            entry.kind == 1 && offset.is_some_and(|offset| offset < entry.length)
        });
        for pair in map.regions().windows(2) {
            prop_assert!(pair[0].end <= pair[1].start);
        }
        for region in map.regions().iter().filter(|region| region.kind == MemoryKind::Usable) {
            for address in [region.start.as_u64(), region.end.as_u64() - 1] {
                prop_assert!(reported(address), "{address:X} was not reported");
            }
        }
    }

    /// With any answers, nothing panics and everything ends.
    #[test]
    fn any_answers(answers in prop::collection::vec(any::<u32>(), 0..6000)) {
        let mut bios = RandomBios::new(answers, E820_CALLS as usize + 2, |registers| {
            registers.eax = 0x534D_4150;
        });
        let _ = discover(&mut bios, &mut MemoryMap::new());
    }
}
