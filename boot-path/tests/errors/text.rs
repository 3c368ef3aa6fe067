//! Texts with numbers, as the loader prints them.

use boot_path::errors::catalogue::{ALL, Row};
use proptest::prelude::*;
use std::fmt::Write as _;

use boot_path::errors::text::{
    Escaping, Shown, copy, facts, is_harmful, on_screen, position, split_before, utf8,
};

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

#[test]
fn what_a_terminal_would_obey_is_shown() {
    for (bytes, shown) in [
        (&b"/boot/kernel.elf quiet"[..], "/boot/kernel.elf quiet"),
        (
            "D\u{E9}bian \u{2014} \u{5BA2}".as_bytes(),
            "D\u{E9}bian \u{2014} \u{5BA2}",
        ),
        (br"C:\boot", r"C:\boot"),
        // Clears the screen; sets the window's title; does so by one C1 character, as UTF-8 and as
        // a byte.
        (b"\x1B[2J", r"\x1B[2J"),
        (b"\x1B]0;owned\x07", r"\x1B]0;owned\x07"),
        ("\u{9B}2J".as_bytes(), r"\u{009B}2J"),
        (b"\x9B2J", r"\x9B2J"),
        // Overwrites the line; begins a line of its own.
        (b"good\rbad", r"good\x0Dbad"),
        (b"good\nerror 1A", r"good\x0Aerror 1A"),
        (
            "\u{2028}\u{2029}\u{85}".as_bytes(),
            r"\u{2028}\u{2029}\u{0085}",
        ),
        (b"\0\t\x08\x7F", r"\x00\x09\x08\x7F"),
        // A terminal shows "txt.exe" as "exe.txt".
        (
            "\u{202E}txt.exe\u{2069}".as_bytes(),
            r"\u{202E}txt.exe\u{2069}",
        ),
        (
            "a\u{200B}b\u{FEFF}\u{E0041}".as_bytes(),
            r"a\u{200B}b\u{FEFF}\u{E0041}",
        ),
        // Cut off in the middle of a character.
        (b"\xE2\x82 \xFF", r"\xE2\x82 \xFF"),
    ] {
        assert_eq!(Shown::new(bytes).to_string(), shown, "{bytes:?}");
    }
    let mut lines = String::new();
    Escaping::lines(&mut lines)
        .write_str("one\ntwo \x1Bc\r\n")
        .unwrap();
    assert_eq!(lines, "one\ntwo \\x1Bc\\x0D\n");
}

#[test]
fn a_character_is_one_cell() {
    assert_eq!(
        "D\u{E9}bian \u{5BA2}~"
            .chars()
            .map(on_screen)
            .collect::<Vec<_>>(),
        b"D?bian ?~"
    );
}

proptest! {
    /// Whatever the bytes are, the text is one line that has no effect on a terminal, and harmless
    /// characters stay as they are.
    #[test]
    fn any_bytes_can_be_shown(bytes: Vec<u8>, text: String) {
        let shown = Shown::new(&bytes).to_string();
        prop_assert!(!shown.chars().any(is_harmful), "{shown:?}");
        let shown = Shown::new(&text).to_string();
        prop_assert!(!shown.chars().any(is_harmful), "{shown:?}");
        prop_assert_eq!(shown == text, !text.chars().any(is_harmful));
        let mut line = String::new();
        Escaping::line(&mut line).write_str(&text).unwrap();
        prop_assert_eq!(shown, line);
    }

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
    fn the_first_of_a_byte(bytes in proptest::collection::vec(prop_oneof![Just(0u8), Just(1), Just(0x7F), Just(0x80), Just(0x81), Just(0xFF), any::<u8>()], 0..60), wanted: u8) {
        prop_assert_eq!(position(&bytes, wanted), bytes.iter().position(|&byte| byte == wanted));
        for wanted in [0, 1, 0x80] {
            prop_assert_eq!(position(&bytes, wanted), bytes.iter().position(|&byte| byte == wanted));
        }
    }

    #[test]
    fn the_longest_start_that_is_utf8(text: String, behind in proptest::collection::vec(any::<u8>(), 0..4)) {
        let bytes = [text.as_bytes(), &behind].concat();
        let expected = match str::from_utf8(&bytes) {
            Ok(all) => (all, true),
            Err(error) => (str::from_utf8(&bytes[..error.valid_up_to()]).unwrap(), false),
        };
        prop_assert_eq!(utf8(&bytes), expected);
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
