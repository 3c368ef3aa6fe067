//! The accessors of `BootInfo`, tried on one that the test fills in.

#![allow(unsafe_code)] // raw pointers, as the loader makes them

use std::mem::zeroed;
use std::ptr;

use handoff::*;

fn text(text: &'static std::ffi::CStr) -> Text {
    Text {
        start: text.as_ptr(),
        length: text.to_bytes().len() as u64,
    }
}

const fn region(start: u64, end: u64, kind: MemoryKind) -> MemoryRegion {
    MemoryRegion {
        start,
        length: end - start,
        kind: kind as u32,
        reserved: 0,
    }
}

static MAP: [MemoryRegion; 4] = [
    region(0, 0x9_0000, MemoryKind::Usable),
    region(0x10_0000, 0x20_0000, MemoryKind::Kernel),
    region(0x20_0000, 0x30_0000, MemoryKind::Reserved),
    MemoryRegion {
        start: 0x30_0000,
        length: 0x1000,
        kind: 77,
        reserved: 0,
    },
];

fn boot_info() -> BootInfo {
    // SAFETY: all fields are numbers or raw pointers.
    let mut boot: BootInfo = unsafe { zeroed() };
    boot.magic = BOOTPATH_MAGIC;
    boot.version = BOOTPATH_VERSION;
    boot.size = size_of::<BootInfo>() as u32;
    boot.loader = text(c"loader 1");
    boot.command_line = text(c"a b=\xc3\xa9");
    boot.memory_map = MAP.as_ptr();
    boot.memory_map_count = MAP.len() as u64;
    boot.physical_map_base = DEFAULT_PHYSICAL_MAP_BASE;
    boot.timeline[3] = 5;
    boot
}

#[test]
fn lists_and_texts() {
    let boot = boot_info();
    assert_eq!(boot.memory_map(), MAP);
    assert!(boot.modules().is_empty(), "null with count 0");
    assert!(boot.kernel.segments().is_empty());
    assert_eq!((boot.loader(), boot.command_line()), ("loader 1", "a b=é"));
    assert!(boot.tls().is_none());
    assert_eq!(
        (
            boot.time_of_step(3),
            boot.time_of_step(4),
            boot.time_of_step(99)
        ),
        (Some(5), None, None)
    );
    assert_eq!(text(c"\xff").as_str(), "", "not UTF-8");
    assert_eq!(boot.display.kind(), Some(DisplayKind::None));
}

#[test]
fn segments_that_change_have_no_bytes() {
    static BYTES: [u8; 3] = *b"abc";
    let start = ptr::from_ref(&BYTES) as u64;
    let constant = KernelSegment {
        virtual_start: start,
        physical_start: 0,
        length: 3,
        flags: 4,
        reserved: 0,
    };
    assert_eq!(constant.bytes(), Some(&b"abc"[..]));
    let variable = KernelSegment {
        flags: 6,
        ..constant
    };
    assert_eq!(
        (
            variable.bytes(),
            variable.is_writable(),
            variable.is_executable()
        ),
        (None, true, false)
    );
}

#[test]
fn regions_are_found_by_address() {
    let boot = boot_info();
    let kind = |address| boot.region_of(address).map(|region| region.kind);
    assert_eq!(kind(0), Some(MemoryKind::Usable as u32));
    assert_eq!(kind(0x8_FFFF), Some(MemoryKind::Usable as u32));
    assert_eq!(kind(0x9_0000), None, "a hole");
    assert_eq!(kind(0x10_0000), Some(MemoryKind::Kernel as u32));
    assert_eq!(kind(0x20_0000), Some(MemoryKind::Reserved as u32));
    assert_eq!(kind(0x30_0FFF), Some(77));
    assert_eq!(kind(0x30_1000), None);
    assert_eq!(
        boot.region_of(0x30_0000).and_then(MemoryRegion::kind),
        None,
        "an unknown kind"
    );
}

#[test]
fn physical_addresses_are_translated_where_they_are_mapped() {
    let boot = boot_info();
    let at = |address| {
        boot.physical_to_virtual(address)
            .map(|pointer| pointer as u64)
    };
    assert_eq!(at(0x1234), Some(DEFAULT_PHYSICAL_MAP_BASE + 0x1234));
    assert_eq!(
        at(0xB_8000),
        Some(DEFAULT_PHYSICAL_MAP_BASE + 0xB_8000),
        "the first MiB, always"
    );
    assert_eq!(at(0x1F_FFFF), Some(DEFAULT_PHYSICAL_MAP_BASE + 0x1F_FFFF));
    assert_eq!(at(0x20_0000), None, "reserved");
    assert_eq!(at(0x30_0000), None, "unknown");
    assert_eq!(at(u64::MAX), None);
}

#[test]
fn kinds_have_their_numbers() {
    let known: Vec<u32> = (0..100)
        .filter(|number| MemoryKind::from_number(*number).is_some())
        .collect();
    assert_eq!(known, (1..=9).collect::<Vec<_>>());
    for number in known {
        assert_eq!(MemoryKind::from_number(number).unwrap() as u32, number);
    }
}

#[test]
fn only_a_boot_info_is_accepted() {
    let good = boot_info();
    // SAFETY: in this test and the following, the pointer is null, unaligned or valid.
    let accepted = |boot: &BootInfo| unsafe { BootInfo::from_loader(boot) }.is_some();
    assert!(accepted(&good));
    assert!(!accepted(&BootInfo { magic: 1, ..good }));
    assert!(!accepted(&BootInfo { version: 2, ..good }));
    assert!(
        !accepted(&BootInfo {
            size: good.size - 1,
            ..good
        }),
        "an older, shorter structure"
    );
    assert!(
        accepted(&BootInfo {
            size: good.size + 8,
            ..good
        }),
        "a newer, longer structure"
    );
    // SAFETY: see above.
    unsafe {
        assert!(BootInfo::from_loader(ptr::null()).is_none());
        assert!(BootInfo::from_loader(ptr::from_ref(&good).wrapping_byte_add(1)).is_none());
    }
}
