//! The screen and the keyboard of BIOSes that are not as they should be.

use boot_path::bios::int10::text_mode;
use boot_path::bios::int16::wait_for_key;

use crate::fake_bios::{BDA_VIDEO_MODE, FakeBios};

/// Whether the screen ends up in a text mode, and how many calls that took.
fn text_from(mode: u8, modes: &[u8]) -> (bool, usize) {
    let mut bios = FakeBios::new();
    bios.clobbers = true;
    bios.memory[BDA_VIDEO_MODE] = mode;
    bios.video_modes = modes.to_vec();
    (text_mode(&mut bios), bios.calls.len())
}

#[test]
fn text_is_left_as_it_is() {
    assert_eq!(text_from(3, &[3]), (true, 0));
    assert_eq!(
        text_from(0x83, &[3]),
        (true, 0),
        "set without clearing the screen"
    );
}

#[test]
fn another_mode_is_changed() {
    for mode in [0, 1, 2, 7, 0x12, 0x13, 0x6A, 0xFF] {
        assert_eq!(text_from(mode, &[3]), (true, 1), "{mode:X}");
    }
}

#[test]
fn a_mode_that_cannot_be_set_is_not_there() {
    for mode in [0, 2, 7, 0x13] {
        assert_eq!(text_from(mode, &[]), (false, 1), "{mode:X}");
    }
}

#[test]
fn a_key_is_waited_for_once() {
    let mut bios = FakeBios::new();
    bios.clobbers = true;
    assert!(wait_for_key(&mut bios));
    assert_eq!(bios.calls.len(), 1);
}

#[test]
fn no_key_is_not_taken_for_one() {
    // Ctrl-Break, and then a key.
    let mut bios = FakeBios::new();
    bios.keys = vec![0, 0, 0x3920];
    assert!(wait_for_key(&mut bios));
    assert_eq!(bios.calls.len(), 3);
    // INT 16h leads nowhere: it returns without a key.
    let mut bios = FakeBios::new();
    bios.no_key = 0;
    assert!(!wait_for_key(&mut bios));
    assert_eq!(bios.calls.len(), 16);
}
