//! Texts with numbers, as the loader prints them.

use proptest::prelude::*;
use stage2::catalogue::{ALL, Row};
use stage2::text::{copy, facts, split_before};

fn written(text: &str, numbers: &[u64]) -> String {
    let mut out = String::new();
    facts(&mut out, text, numbers).unwrap();
    out
}

#[test]
fn the_places_say_how_a_number_is_written() {
    assert_eq!(written("", &[]), "");
    assert_eq!(written("#", &[0]), "0");
    assert_eq!(
        written("LBA #, drive ##h", &[2048, 0x80]),
        "LBA 2048, drive 80h"
    );
    assert_eq!(
        written("cluster # leads to 0x#", &[10, 0xABC]),
        "cluster 10 leads to 0xabc"
    );
    assert_eq!(
        written("####h instead of ####h", &[0xA, 0x1_AA55]),
        "000Ah instead of 1AA55h"
    );
    assert_eq!(
        written("RIP ################", &[u64::MAX - 1]),
        "RIP FFFFFFFFFFFFFFFE"
    );
}

#[test]
fn what_the_catalogue_says_has_no_places_for_numbers() {
    for Row { entry, .. } in ALL {
        for text in [entry.code, entry.sentence, entry.advice] {
            assert!(!text.contains('#') && text.is_ascii(), "{}", entry.code);
        }
    }
}

proptest! {
    #[test]
    fn numbers_are_written_as_the_standard_library_writes_them(a: u64, b: u64, c: u64) {
        prop_assert_eq!(
            written("a # b 0x# c 0x################, #h ##h|########", &[a, b, c, a, b >> 60, c]),
            format!("a {a} b {b:#x} c {c:#018x}, {a:X}h {:02X}h|{c:08X}", b >> 60)
        );
    }

    #[test]
    fn a_text_is_split_in_front_of_the_first_character(text in "[aä€,]{0,8}") {
        let place = text.find(',').unwrap_or(text.len());
        prop_assert_eq!(split_before(&text, |byte| byte == b','), text.split_at(place));
    }

    #[test]
    fn as_much_is_copied_as_fits(from: Vec<u8>, room in 0usize..200) {
        let mut to = vec![0; room];
        let length = copy(&from, &mut to);
        prop_assert_eq!(length, room.min(from.len()));
        prop_assert_eq!(&to[..length], &from[..length]);
        prop_assert!(to[length..].iter().all(|&byte| byte == 0));
    }
}
