//! The state of a processor is the one that the specification lists, "x86-64 machine state at entry".

use boot_path::ways_out::limine::state::*;

#[test]
fn descriptors_are_those_of_the_specification() {
    assert_eq!(
        GDT[..7],
        [
            0,
            0x0000_9B00_0000_FFFF, // 16-bit code: base 0, limit FFFFh, readable
            0x0000_9300_0000_FFFF, // 16-bit data: base 0, limit FFFFh, writable
            0x00CF_9B00_0000_FFFF, // 32-bit code: base 0, limit FFFFFFFFh, readable
            0x00CF_9300_0000_FFFF, // 32-bit data: base 0, limit FFFFFFFFh, writable
            0x00AF_9B00_0000_FFFF, // 64-bit code: readable
            0x00CF_9300_0000_FFFF, // 64-bit data: writable
        ]
    );
    assert_eq!((CODE, DATA), (5 * 8, 6 * 8));
    assert_eq!(TSS, 7 * 8);
    assert_eq!(GDT[7..], [0x89 << 40, 0]);
}

#[test]
fn control_registers_are_those_of_the_specification() {
    assert_eq!(CR0, 1 << 31 | 1 << 16 | 1 << 4 | 1, "PG, WP, ET, PE");
    assert_eq!(cr4(false), 1 << 5, "PAE");
    assert_eq!(cr4(true), 1 << 5 | 1 << 12, "PAE, LA57");
    assert_eq!(efer(!handoff::CPU_NX), 1 << 10 | 1 << 8, "LMA, LME");
    let with_nx = 1 << 11 | 1 << 10 | 1 << 8;
    assert_eq!(efer(handoff::CPU_NX), with_nx, "NXE, LMA, LME");
}
