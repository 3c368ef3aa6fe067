//! Addresses and frames in the types of the crate `x86_64`.
#![cfg(feature = "x86_64")]
#![allow(unsafe_code)] // a `BootInfo` of zeros

use std::mem::zeroed;

use handoff::{BootInfo, KernelSegment, MemoryKind, MemoryRegion, Module};
use x86_64::{PhysAddr, VirtAddr};

const fn region(start: u64, length: u64, kind: MemoryKind) -> MemoryRegion {
    MemoryRegion {
        start,
        length,
        kind: kind as u32,
        reserved: 0,
    }
}

static MAP: [MemoryRegion; 4] = [
    region(0x1000, 0x3000, MemoryKind::Usable),
    region(0x4000, 0x1000, MemoryKind::Kernel),
    region(0x5000, 0x1000, MemoryKind::Usable),
    region(0x10_0000, 0x10_0000, MemoryKind::Reserved),
];

fn boot() -> BootInfo {
    // SAFETY: all fields are numbers or raw pointers.
    let mut boot: BootInfo = unsafe { zeroed() };
    boot.physical_map_base = handoff::DEFAULT_PHYSICAL_MAP_BASE;
    (boot.memory_map, boot.memory_map_count) = (MAP.as_ptr(), MAP.len() as u64);
    boot
}

/// The addresses of the frames that lie in a region.
fn frames(start: u64, length: u64) -> Vec<u64> {
    let frames = region(start, length, MemoryKind::Usable).frames();
    frames.map(|frame| frame.start_address().as_u64()).collect()
}

#[test]
fn frames_are_whole() {
    assert_eq!(frames(0x1000, 0x2000), [0x1000, 0x2000]);
    assert_eq!(
        frames(0x1001, 0x2000),
        [0x2000],
        "a part of a frame at each end"
    );
    assert_eq!(frames(0x1001, 0xFFF), [], "ends where a frame begins");
    assert_eq!(frames(0x1800, 0x100), [], "within a frame");
    assert_eq!(frames(0x1000, 0), []);
    let last = (1 << 52) - 0x1000;
    assert_eq!(
        frames(last - 0x1000, 0x4000),
        [last - 0x1000],
        "not beyond 52 bits"
    );
    assert_eq!(frames(1 << 52, 0x4000), []);
    assert_eq!(frames(u64::MAX - 1, u64::MAX), []);
}

#[test]
fn usable_frames_from_both_ends() {
    let boot = boot();
    let all: Vec<_> = boot
        .usable_frames()
        .flatten()
        .map(|it| it.start_address().as_u64())
        .collect();
    assert_eq!(all, [0x1000, 0x2000, 0x3000, 0x5000]);
    let mut frames = boot.usable_frames();
    assert_eq!(frames.size_hint(), (0, Some(4)));
    assert_eq!(frames.next_back().map(|frames| frames.len()), Some(1));
    assert_eq!(frames.next().map(|frames| frames.len()), Some(3));
    assert!(frames.next().is_none() && frames.next_back().is_none());
}

#[test]
fn addresses_both_ways() {
    let boot = BootInfo {
        rsdp: 0xF_5000,
        ..boot()
    };
    let map = boot.physical_map();
    let base = VirtAddr::new(handoff::DEFAULT_PHYSICAL_MAP_BASE);
    assert_eq!(boot.physical_memory_offset(), base);
    assert_eq!(boot.rsdp_address(), Some(PhysAddr::new(0xF_5000)));
    assert_eq!(BootInfo { rsdp: 0, ..boot }.rsdp_address(), None);
    assert_eq!(
        BootInfo {
            rsdp: u64::MAX,
            ..boot
        }
        .rsdp_address(),
        None,
        "no address"
    );
    assert_eq!(map.to_virtual(PhysAddr::new(0x4321)), Some(base + 0x4321));
    assert_eq!(map.to_virtual(PhysAddr::new(0x10_0000)), None, "reserved");
    assert_eq!(map.to_phys(base + 0x4321), Some(PhysAddr::new(0x4321)));
    assert_eq!(map.to_phys(base + 0x10_0000), None);
    let segment = KernelSegment {
        virtual_start: 0xFFFF_FFFF_8000_0000,
        physical_start: 0x4000,
        length: 1,
        flags: 5,
        reserved: 0,
    };
    assert_eq!(
        segment.virtual_address(),
        VirtAddr::new(0xFFFF_FFFF_8000_0000)
    );
    assert_eq!(segment.physical_address(), PhysAddr::new(0x4000));
    // SAFETY: all fields are numbers or raw pointers.
    let module = Module {
        physical_start: 0x5000,
        ..unsafe { zeroed() }
    };
    assert_eq!(module.physical_address(), PhysAddr::new(0x5000));
}
