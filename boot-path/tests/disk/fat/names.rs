//! Short and long names in directories.

use crate::disks::*;

use super::list;

/// A volume whose root directory holds these entries, the last of them a file with `content(1, 5)`.
fn directory(entries: &[[u8; 32]]) -> MemoryDisk {
    let mut tiny = Tiny::new(16);
    tiny.root[..entries.len() * 32].copy_from_slice(&entries.concat());
    tiny.chain(&[5], &content(1, 5));
    tiny.disk()
}

fn finds(entries: &[[u8; 32]], name: &str) -> bool {
    let read = read_file(&mut directory(entries), name).unwrap();
    assert!(read.is_none() || read == Some(content(1, 5)));
    read.is_some()
}

const SHORT: &[u8; 11] = b"LONGNA~1TXT";

fn with_long(long: &str, sum: u8) -> Vec<[u8; 32]> {
    let mut entries = long_entries(long, sum);
    entries.push(entry(SHORT, 0x20, 5, 5));
    entries
}

#[test]
fn long_names_match_only_themselves() {
    let sum = checksum(SHORT);
    for long in [
        "Long name.txt",
        "thirteen char",
        "exactly twenty-six letters",
        "ÄÖ\u{1F980}.x",
    ] {
        let entries = with_long(long, sum);
        assert!(finds(&entries, long), "{long}");
        assert!(finds(&entries, &long.to_ascii_uppercase()), "{long}");
        assert!(finds(&entries, "longna~1.txt"));
        assert!(!finds(&entries, &format!("{long}x")));
        assert!(!finds(&entries, &format!("x{long}")));
        let mut shorter = long.to_string();
        shorter.pop();
        assert!(!finds(&entries, &shorter), "{shorter}");
    }
    // Beyond ASCII, case counts.
    assert!(!finds(&with_long("ÄÖ.x", sum), "äö.x"));
}

#[test]
fn orphans_are_no_names() {
    let long = "a name of three parts, as it is long";
    let good = with_long(long, checksum(SHORT));
    assert_eq!(good.len(), 4);
    assert!(finds(&good, long));

    let bad_sum = with_long(long, checksum(SHORT) ^ 1);
    let mut mixed_sum = good.clone();
    mixed_sum[1][13] ^= 1;
    let mut gap = good.clone();
    gap.remove(1);
    let mut no_first = good.clone();
    no_first.remove(0);
    let mut no_last = good.clone();
    no_last.remove(2);
    let mut swapped = good.clone();
    swapped.swap(1, 2);
    let mut twice = good.clone();
    twice.insert(1, twice[1]);
    let mut deleted = good.clone();
    deleted[1][0] = 0xE5;
    let mut deleted_between = good.clone();
    deleted_between.insert(3, [0xE5; 32]);
    let mut other_between = good.clone();
    other_between.insert(3, entry(b"OTHER      ", 0x20, 0, 0));
    let mut label_between = good.clone();
    label_between.insert(3, entry(SHORT, 0x08, 0, 0));
    let mut part_zero = good.clone();
    part_zero.insert(3, part_zero[2]);
    part_zero[3][0] = 0;
    for entries in [
        bad_sum,
        mixed_sum,
        gap,
        no_first,
        no_last,
        swapped,
        twice,
        deleted,
        deleted_between,
        other_between,
        label_between,
    ] {
        assert!(!finds(&entries, long), "{entries:x?}");
        assert!(finds(&entries, "LONGNA~1.TXT"));
    }
    // 0 ends the directory, in a long name as well.
    assert!(!finds(&part_zero, "LONGNA~1.TXT"));

    // A new first part begins a new name, whatever came before.
    let mut restarted = good.clone();
    restarted.insert(0, good[0]);
    assert!(finds(&restarted, long));
}

#[test]
fn short_names() {
    let finds_short = |stored: &[u8; 11], name| finds(&[entry(stored, 0x20, 5, 5)], name);
    assert!(finds_short(b"KERNEL  ELF", "kernel.elf"));
    assert!(finds_short(b"KERNEL     ", "Kernel"));
    assert!(finds_short(b"EIGHTCHRTHR", "eightchr.thr"));
    for name in [
        "kernel",
        "kernel.el",
        "kernel.elfx",
        "kernel.elf.",
        "ker.nel.elf",
        ".elf",
        "kernel  .elf",
        "kernel .elf",
        "ernel.elf",
    ] {
        assert!(!finds_short(b"KERNEL  ELF", name), "{name}");
    }
    assert!(!finds_short(b"KERNEL     ", "kernel."));
    // FAT12 and FAT16 do not use the upper half of the cluster number.
    assert!(finds(
        &[entry(b"KERNEL  ELF", 0x20, 0xABCD_0005, 5)],
        "kernel.elf"
    ));
    // A volume label and a deleted file are not files.
    assert!(!finds(&[entry(b"KERNEL  ELF", 0x08, 5, 5)], "kernel.elf"));
    assert!(!finds(
        &[entry(b"\xE5ERNEL  ELF", 0x20, 5, 5)],
        "kernel.elf"
    ));
    // Nothing behind the end of the directory counts.
    assert!(!finds(
        &[[0; 32], entry(b"KERNEL  ELF", 0x20, 5, 5)],
        "kernel.elf"
    ));
}

/// The names that a directory lists.
fn names(entries: &[[u8; 32]]) -> Vec<String> {
    let mut tiny = Tiny::new(16);
    tiny.entry(0, b"DIR        ", 0x10, 20, 0);
    tiny.chain(&[20, 23], &entries.concat());
    tiny.chain(&[5], &content(1, 5));
    list(&mut tiny.disk(), "dir").unwrap().0
}

#[test]
fn listed_names() {
    let sum = checksum(SHORT);
    for (long, expected) in [
        ("Long name.conf", "Long name.conf"),
        ("thirteen char", "thirteen char"),
        ("exactly twenty-six letters", "exactly twenty-six letters"),
        ("ÄÖ\u{1F980}\u{7F}.x", "?????.x"),
        (&"x".repeat(255), &"x".repeat(255)),
        // Longer than a name can be.
        (&"x".repeat(256), &"x".repeat(255)),
        (&"x".repeat(261), "LONGNA~1.TXT"),
    ] {
        assert_eq!(names(&with_long(long, sum)[..]), [expected], "{long}");
    }
    // A long name that is not valid, or that belongs to another entry: the short one counts.
    assert_eq!(
        names(&with_long("Long name.txt", sum ^ 1)),
        ["LONGNA~1.TXT"]
    );
    let mut gap = with_long("a name of three parts, as it is long", sum);
    gap.remove(1);
    assert_eq!(names(&gap), ["LONGNA~1.TXT"]);

    let short = |stored: &[u8; 11], flags: u8| {
        let mut entry = entry(stored, 0x20, 5, 5);
        entry[12] = flags;
        names(&[entry]).remove(0)
    };
    assert_eq!(short(b"KERNEL  ELF", 0), "KERNEL.ELF");
    assert_eq!(short(b"KERNEL  ELF", 0x08), "kernel.ELF");
    assert_eq!(short(b"KERNEL  ELF", 0x10), "KERNEL.elf");
    assert_eq!(short(b"KERNEL  ELF", 0x18), "kernel.elf");
    assert_eq!(short(b"KERNEL     ", 0x18), "kernel");
    assert_eq!(short(b"EIGHTCHRTHR", 0), "EIGHTCHR.THR");
    assert_eq!(short(b"X       C  ", 0), "X.C");
    assert_eq!(short(b"A B     C D", 0), "A B.C D");
    assert_eq!(short(b"\x05\x84A     C  ", 0), "??A.C");

    // Entries that are not files are not listed.
    let all = [
        entry(b"LABEL      ", 0x08, 0, 0),
        entry(b"DIRECTORY  ", 0x10, 9, 0),
        entry(b"\xE5ONE       ", 0x20, 5, 5),
        entry(b"A          ", 0x20, 5, 5),
        entry(b"B          ", 0x07, 5, 5),
        [0; 32],
        entry(b"BEHIND     ", 0x20, 5, 5),
    ];
    assert_eq!(names(&all), ["A", "B"]);
    assert_eq!(names(&[]), [""; 0]);
}
