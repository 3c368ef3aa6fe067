//! The tables of descriptors, read as the CPU reads them.

use std::mem::size_of_val;

use boot_path::devices::descriptors::*;
use boot_path::memory::layout;
use x86_64::structures::tss::TaskStateSegment;

/// A segment's descriptor: SDM vol. 3, figure 3-8.
#[derive(Debug, PartialEq, Eq)]
struct Segment {
    base: u64,
    /// The offset of the last byte.
    limit: u64,
    code: bool,
    bits: u32,
}

fn segment(selector: u16) -> Segment {
    assert_eq!(selector % 8, 0, "the GDT's, privilege level 0");
    let descriptor = GDT[usize::from(selector) / 8];
    let bit = |number: u32| descriptor >> number & 1 != 0;
    assert!(bit(47) && bit(44), "present, code or data");
    assert_eq!(descriptor >> 45 & 3, 0, "privilege level");
    assert!(bit(41), "code that is read, data that is written");
    assert!(!bit(42), "not conforming, does not grow down");
    let limit = descriptor & 0xFFFF | descriptor >> 32 & 0xF_0000;
    Segment {
        base: descriptor >> 16 & 0xFF_FFFF | descriptor >> 56 << 24,
        limit: if bit(55) { limit << 12 | 0xFFF } else { limit },
        code: bit(43),
        bits: match (bit(53), bit(54)) {
            (true, false) => 64,
            (false, true) => 32,
            (false, false) => 16,
            (true, true) => panic!("L and D"),
        },
    }
}

#[test]
fn segments_are_what_their_selectors_say() {
    let flat = |code, bits| Segment {
        base: 0,
        limit: 0xFFFF_FFFF,
        code,
        bits,
    };
    assert_eq!(segment(CODE_64), flat(true, 64));
    assert_eq!(segment(CODE_32), flat(true, 32));
    assert_eq!(segment(DATA), flat(false, 32));
    let small = |code| Segment {
        limit: 0xFFFF,
        ..flat(code, 16)
    };
    assert_eq!(segment(CODE_16), small(true));
    assert_eq!(segment(DATA_16), small(false));
    assert_eq!(GDT[0], 0);

    // A 64-bit TSS that is present and not busy, whose base is not set yet.
    let [low, high] = [0, 1].map(|n| GDT[usize::from(TSS) / 8 + n]);
    assert_eq!(low >> 40, 0x89);
    assert_eq!((low & 0xFF_FFFF_FFFF, high), (104 - 1, 0));
}

#[test]
fn a_double_fault_has_a_stack_of_its_own() {
    assert_eq!(IDT.len(), 32);
    for (vector, [low, high]) in IDT.into_iter().enumerate() {
        let stack = if vector == 8 { 2 } else { 1 };
        assert_eq!(low >> 32 & 0xFFFF, 0x8E00 | stack, "vector {vector}");
        assert_eq!(low >> 16 & 0xFFFF, u64::from(CODE_64));
        assert_eq!((low & 0xFFFF, low >> 48, high), (0, 0, 0), "no offset yet");
    }
    assert_eq!(GATE_16, 0x8600 << 32 | u64::from(CODE_16) << 16);
}

#[test]
fn handlers_find_their_stacks() {
    let state = TaskState::new();
    let ends = [&layout::FAULT_STACK, &layout::DOUBLE_FAULT_STACK].map(|stack| stack.end);
    assert_eq!(state.stacks(), ends);

    // In the upper half, and back again.
    let base = 0xFFFF_8000_0000_0000;
    state.show_stacks_at(base);
    assert_eq!(state.stacks(), ends.map(|end| base + end));
    state.show_stacks_at(0);
    assert_eq!(state.stacks(), ends);
    assert_eq!(size_of_val(&state), size_of::<TaskStateSegment>());
}
