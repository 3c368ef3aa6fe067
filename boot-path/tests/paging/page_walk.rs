//! What a fault's report says of addresses and error codes.

use std::collections::HashMap;

use boot_path::errors::exception::Exception;
use boot_path::memory::address::{PhysAddr, VirtAddr};
use boot_path::paging::page_walk::{Page, Paging, Translation};

const PAGING: Paging = Paging {
    root: PhysAddr::new(0x1000),
    levels: 4,
    nx: true,
    gib_pages: true,
    physical_bits: 40,
};
const PRESENT: u64 = 1;
const WRITABLE: u64 = 2;
const USER: u64 = 4;
const LARGE: u64 = 0x80;
const NO_EXECUTE: u64 = 1 << 63;
const ALL: u64 = PRESENT | WRITABLE | USER;

/// Tables at 1000h (level 4), 2000h, 3000h and 4000h, each with one entry, that of this address.
fn tables(address: u64, entries: [u64; 4]) -> HashMap<u64, u64> {
    let places = (1..).zip([39, 30, 21, 12]).zip(entries);
    places
        .map(|((table, shift), entry)| (table * 0x1000 + (address >> shift & 511) * 8, entry))
        .collect()
}

fn walk(paging: &Paging, address: u64, entries: [u64; 4]) -> Translation {
    let tables = tables(address, entries);
    paging.translate(VirtAddr::new(address), &|place| {
        Some(*tables.get(&place.as_u64()).unwrap_or(&0))
    })
}

const ADDRESS: u64 = 0xFFFF_FFFF_8123_4567;

#[test]
fn pages_of_all_sizes() {
    let page = |physical, shift, writable, executable, user| {
        Translation::Page(Page {
            physical: PhysAddr::new(physical),
            shift,
            writable,
            executable,
            user,
        })
    };
    let small = [0x2000 | ALL, 0x3000 | ALL, 0x4000 | ALL, 0x9000 | ALL];
    assert_eq!(
        walk(&PAGING, ADDRESS, small),
        page(0x9567, 12, true, true, true)
    );
    let large = [0x2000 | ALL, 0x3000 | ALL, 0x4020_0000 | PRESENT | LARGE, 0];
    assert_eq!(
        walk(&PAGING, ADDRESS, large),
        page(
            0x4023_4567 & !0x10_0000 | ADDRESS & 0x10_0000,
            21,
            false,
            true,
            false
        )
    );
    let huge = [0x2000 | ALL, 0x8000_0000 | ALL | LARGE | NO_EXECUTE, 0, 0];
    assert_eq!(
        walk(&PAGING, ADDRESS, huge),
        page(0x8000_0000 | ADDRESS & 0x3FFF_FFFF, 30, true, false, true)
    );
}

#[test]
fn every_level_can_take_a_permission_away() {
    for level in 0..4 {
        let all = [0x2000 | ALL, 0x3000 | ALL, 0x4000 | ALL, 0x9000 | ALL];
        for (change, expected) in [
            (WRITABLE, (false, true, true)),
            (USER, (true, true, false)),
            (NO_EXECUTE, (true, false, true)),
        ] {
            let mut entries = all;
            entries[level] ^= change;
            let Translation::Page(page) = walk(&PAGING, ADDRESS, entries) else {
                panic!("not mapped");
            };
            assert_eq!(
                (page.writable, page.executable, page.user),
                expected,
                "{level}"
            );
        }
    }
}

#[test]
fn what_is_not_mapped_says_where() {
    let all = [0x2000 | ALL, 0x3000 | ALL, 0x4000 | ALL, 0x9000 | ALL];
    for index in 0..4 {
        let mut entries = all;
        entries[index] &= !PRESENT;
        let level = 4 - index as u32;
        let entry = entries[index];
        assert_eq!(
            walk(&PAGING, ADDRESS, entries),
            Translation::NotMapped { level, entry }
        );
        entries[index] = all[index] | 1 << 45;
        let entry = entries[index];
        assert_eq!(
            walk(&PAGING, ADDRESS, entries),
            Translation::Reserved { level, entry }
        );
    }
    let far = PAGING.translate(VirtAddr::new(ADDRESS), &|_| None);
    assert_eq!(
        far,
        Translation::OutOfReach {
            level: 4,
            table: PhysAddr::new(0x1000)
        }
    );
    for address in [1 << 47, 0xFFFF_7FFF_FFFF_FFFF] {
        assert_eq!(walk(&PAGING, address, all), Translation::NotCanonical);
    }
}

#[test]
fn bits_that_an_old_cpu_has_not_are_reserved() {
    let no_nx = Paging {
        nx: false,
        ..PAGING
    };
    let no_gib = Paging {
        gib_pages: false,
        ..PAGING
    };
    let reserved = |level, entry| Translation::Reserved { level, entry };
    let top = 0x2000 | ALL | NO_EXECUTE;
    assert_eq!(walk(&no_nx, ADDRESS, [top, 0, 0, 0]), reserved(4, top));
    let huge = 0x8000_0000 | ALL | LARGE;
    assert_eq!(
        walk(&no_gib, ADDRESS, [0x2000 | ALL, huge, 0, 0]),
        reserved(3, huge)
    );
}

#[test]
fn a_quadword_may_lie_across_two_pages() {
    let first = 0xFFFF_FFFF_8000_0FFC;
    let mut memory = tables(
        first,
        [0x2000 | ALL, 0x3000 | ALL, 0x4000 | ALL, 0x9000 | ALL],
    );
    let read = |memory: &HashMap<u64, u64>| {
        PAGING.read(VirtAddr::new(first), &|place| {
            Some(*memory.get(&place.as_u64()).unwrap_or(&0))
        })
    };
    memory.insert(0x9FF8, 0x4433_2211_0000_0000);
    assert_eq!(read(&memory), None);
    memory.insert(0x4008, 0x7000 | PRESENT);
    memory.insert(0x7000, 0x8877_6655);
    assert_eq!(read(&memory), Some(0x8877_6655_4433_2211));
}

#[test]
fn error_codes_in_words() {
    for (vector, error_code, text) in [
        (0, 0, "#DE divide error (vector 0)"),
        (
            14,
            0,
            "#PF page fault (vector 14), error code 0h (read of an unmapped page)",
        ),
        (
            14,
            7,
            "#PF page fault (vector 14), error code 7h (user write to a protected page)",
        ),
        (
            14,
            0x19,
            "#PF page fault (vector 14), error code 19h (execution of a protected page, reserved bit)",
        ),
        (13, 0, "#GP general protection (vector 13), error code 0h"),
        (
            13,
            0x48,
            "#GP general protection (vector 13), error code 48h (GDT entry 9)",
        ),
        (
            11,
            0x83,
            "#NP segment not present (vector 11), error code 83h (external, IDT entry 16)",
        ),
        (
            10,
            0x0C,
            "#TS invalid TSS (vector 10), error code Ch (LDT entry 1)",
        ),
        (31, 0, "reserved vector (vector 31)"),
    ] {
        assert_eq!(Exception { vector, error_code }.to_string(), text);
    }
}
