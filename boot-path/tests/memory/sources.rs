//! What the BIOS's calls say, and what becomes of it.

use boot_path::errors::catalogue::Report;
use boot_path::memory::map::{
    E820_BUFFER, MIB, MemoryKind, MemoryMap, OutOfMemory, Request, e820_region, low_memory_end,
};

use crate::map::{built, physical, region};

use MemoryKind::*;

#[test]
fn e820_entries() {
    let mut bytes = E820_BUFFER;
    bytes[..8].copy_from_slice(&0x10_0000_u64.to_le_bytes());
    assert_eq!(e820_region(&bytes, 20), None, "empty");
    bytes[8..16].copy_from_slice(&0x2345_u64.to_le_bytes());
    let kind = |code: u32, bytes: &mut [u8; 24]| {
        bytes[16..20].copy_from_slice(&code.to_le_bytes());
        e820_region(bytes, 24).map(|r| r.kind)
    };
    assert_eq!(kind(0, &mut bytes), Some(Reserved));
    assert_eq!(kind(2, &mut bytes), Some(Reserved));
    assert_eq!(kind(3, &mut bytes), Some(AcpiReclaimable));
    assert_eq!(kind(4, &mut bytes), Some(AcpiNvs));
    assert_eq!(kind(5, &mut bytes), Some(Bad));
    assert_eq!(kind(7, &mut bytes), Some(Reserved));
    assert_eq!(kind(2_954_887_168, &mut bytes), Some(Reserved));
    assert_eq!(kind(1, &mut bytes), Some(Usable));
    assert_eq!(
        e820_region(&bytes, 24),
        Some(region(MIB, MIB + 0x2345, Usable))
    );
    assert_eq!(e820_region(&bytes, 19), None, "too short");
    bytes[20] = 0;
    assert_eq!(e820_region(&bytes, 24), None, "the attributes say: ignore");
    assert_eq!(
        e820_region(&bytes, 20).map(|r| r.kind),
        Some(Usable),
        "no attributes"
    );
    assert_eq!(
        e820_region(&bytes, 23).map(|r| r.kind),
        Some(Usable),
        "no attributes"
    );
    bytes[8..16].fill(0xFF);
    assert_eq!(
        e820_region(&bytes, 20),
        Some(region(MIB, u64::MAX, Usable)),
        "it wraps"
    );
}

#[test]
fn older_calls() {
    let extended = |add: &dyn Fn(&mut MemoryMap) -> bool| {
        let mut map = MemoryMap::new();
        let found = add(&mut map);
        assert_eq!(found, !map.regions().is_empty());
        map.regions()
            .iter()
            .map(|r| (r.start.as_u64(), r.end.as_u64()))
            .next()
    };
    let e801 = |ax, bx, cx, dx| extended(&|map| map.add_e801(ax, bx, cx, dx));
    assert_eq!(e801(15360, 0x700, 15360, 0x700), Some((MIB, 0x800_0000)));
    assert_eq!(e801(15360, 0x700, 0, 0), Some((MIB, 0x800_0000)));
    assert_eq!(
        e801(1, 1, 15360, 0x10),
        Some((MIB, 0x110_0000)),
        "CX and DX come first"
    );
    assert_eq!(
        e801(14336, 0x700, 0, 0),
        Some((MIB, 0xF0_0000)),
        "a hole at 15 MiB"
    );
    assert_eq!(e801(0xFFFF, 0xFFFF, 0, 0), Some((MIB, 0x1_00FF_0000)));
    assert_eq!(e801(0, 0x700, 0, 0), None);
    assert_eq!(extended(&|map| map.add_88h(0xFC00)), Some((MIB, 64 * MIB)));
    assert_eq!(extended(&|map| map.add_88h(0)), None);
    let low = |end| {
        extended(&|map| {
            map.add_low_memory(end);
            true
        })
    };
    assert_eq!(low(0x9_FC00), Some((0, 0x9_FC00)));
    assert_eq!(low(u64::MAX), Some((0, MIB)));
}

#[test]
fn the_end_of_low_memory() {
    assert_eq!(low_memory_end(639, 0x9FC0), 0x9_FC00);
    assert_eq!(
        low_memory_end(640, 0x9E00),
        0x9_E000,
        "an EBDA that is not counted"
    );
    assert_eq!(
        low_memory_end(600, 0x9FC0),
        0x9_6000,
        "reserved by somebody else"
    );
    assert_eq!(low_memory_end(640, 0), 0xA_0000, "no EBDA");
    assert_eq!(low_memory_end(640, 0xF000), 0xA_0000);
    assert_eq!(low_memory_end(0, 0x9FC0), 0x9_FC00);
    assert_eq!(low_memory_end(641, 0x1FFF), 0x8_0000, "both are nonsense");
    assert_eq!(low_memory_end(128, 0x9FC0), 0x2_0000);
}

#[test]
fn too_little_memory_is_told_in_numbers() {
    let mut map = built(&[region(MIB, 32 * MIB + 512, Usable)], 0xA_0000);
    map.mark(physical(20 * MIB), physical(21 * MIB), Reclaimable);
    map.mark(physical(30 * MIB), physical(31 * MIB), Framebuffer);
    let request = Request {
        size: 64 * MIB + 1,
        align: 0,
        offset: 0,
        min: physical(2 * MIB),
        max: physical(u64::MAX),
        kind: Kernel,
    };
    let error = map.allocate(&request).unwrap_err();
    let expected = OutOfMemory {
        needed: 64 * MIB + 1,
        largest: 18 * MIB,
        present: 30 * MIB,
    };
    assert_eq!(error, expected);
    assert_eq!(
        Report(&error).to_string(),
        "error 6B: there is too little memory: \
         65 MiB needed in one piece, 18 MiB free in one piece, 30 MiB of RAM in all"
    );
    let small = OutOfMemory {
        needed: 4097,
        largest: 4095,
        present: 639 * 1024,
    };
    assert_eq!(
        small.to_string(),
        "5 KiB needed in one piece, 3 KiB free in one piece, 639 KiB of RAM in all"
    );
    let huge = OutOfMemory {
        needed: u64::MAX,
        largest: 0,
        present: 0,
    };
    assert!(huge.to_string().starts_with("17592186044416 MiB needed"));
    let endless = Request {
        size: u64::MAX,
        min: physical(u64::MAX),
        ..request
    };
    assert_eq!(
        map.allocate(&endless).map_err(|error| error.largest),
        Err(0)
    );
}
