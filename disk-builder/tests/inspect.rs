//! Damage is found, and named as the loader names it.

mod support;

use std::fs::{self, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};

use boot_path::entry::entries::MAX_ENTRIES;
use boot_path::errors::text::is_harmful;
use disk_builder::image::{Entry, Module, Recipe};
use disk_builder::inspect::{self, Checksum, Inspection};
use disk_layout::Stage2Header;
use disk_layout::stage2::CHECK_START;
use support::{Workshop, build, kernel};

/// Changes one byte of an image.
fn flip(recipe: &Recipe, offset: u64) {
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&recipe.output)
        .unwrap();
    let mut byte = [0];
    file.seek(SeekFrom::Start(offset)).unwrap();
    file.read_exact(&mut byte).unwrap();
    file.seek(SeekFrom::Start(offset)).unwrap();
    file.write_all(&[!byte[0]]).unwrap();
}

/// The problems of an image whose byte at `place` was changed.
fn problems(place: impl Fn(&Inspection) -> u64) -> Vec<String> {
    let workshop = Workshop::new();
    let recipe = workshop.recipe(&kernel(10_000));
    let inspection = build(&recipe).inspection;
    inspection.verify().unwrap();
    flip(&recipe, place(&inspection));
    let found = inspect::inspect(&recipe.output).unwrap();
    assert!(found.problems.is_empty() || found.verify().is_err());
    found.problems
}

#[test]
fn a_damaged_stage2_is_found() {
    let at = |offset| move |i: &Inspection| i.stage2.as_ref().unwrap().place.lba * 512 + offset;
    let check = std::mem::offset_of!(Stage2Header, check) as u64;
    let start = CHECK_START as u64;
    for offset in [
        check,
        check + 15,
        20,
        40,
        start - 1,
        start,
        start + 128,
        32_767,
    ] {
        let problems = problems(at(offset));
        assert_eq!(problems.len(), 1, "{offset}");
        assert!(
            problems[0].starts_with("error 1C: stage2 is damaged"),
            "{offset}: {problems:?}"
        );
    }
    assert!(problems(at(0))[0].starts_with("error 1B"));
    assert!(problems(|_| 440 - 4)[0].starts_with("error 1D"));
    // Bytes that belong to nothing.
    assert_eq!(problems(at(32_768)), [""; 0]);
}

#[test]
fn a_damaged_partition_is_found() {
    assert!(problems(|_| 511)[0].starts_with("error 7C"));
    assert!(
        problems(|i| i.partition.as_ref().unwrap().place.lba * 512 + 11)[0].starts_with("error 8A")
    );
    let kernel = |i: &Inspection| i.file("/boot/kernel.elf").unwrap().extents[0].lba * 512;
    assert!(problems(kernel)[0].starts_with("error 10A"));
    // The second cluster's entry in the FAT (10,000 bytes are ten clusters of 1 KiB).
    let entry = |i: &Inspection| {
        let volume = i.volume.as_ref().unwrap();
        let sectors = i.file("/boot/kernel.elf").unwrap().extents[0].lba - volume.data.lba;
        let cluster = 2 + sectors * 512 / u64::from(volume.cluster);
        volume.fats.lba * 512 + (cluster + 1) * 4
    };
    assert!(problems(entry)[0].starts_with("error 8B"));
}

/// If another system has changed the partition or the disk, it is named as the loader names it.
#[test]
fn what_is_not_fat_is_named() {
    let workshop = Workshop::new();
    let recipe = workshop.recipe(&kernel(10_000));
    let start = build(&recipe).inspection.partition.unwrap().place.lba * 512;
    let write = |offset, bytes: &[u8]| {
        let mut file = OpenOptions::new().write(true).open(&recipe.output).unwrap();
        file.seek(SeekFrom::Start(offset)).unwrap();
        file.write_all(bytes).unwrap();
        inspect::inspect(&recipe.output).unwrap().problems
    };
    write(start, &[0; 1024]);
    // The backup boot sector is still there, but one good copy of two is not enough.
    assert!(write(start, &[0])[0].starts_with("error 8A"));
    assert_eq!(
        write(start, b"XFSB"),
        ["error 8D: the boot partition is not FAT, but something else: partition 1 holds XFS"]
    );
    // The type in the table.
    assert_eq!(
        write(450, &[0xEE]),
        [
            "error 7D: the disk has a GPT, which is not supported: LBA 0 says so, but there is no header"
        ]
    );
}

/// Whether a directory entry is the short one of a file.
fn is_file(entry: &[u8]) -> bool {
    entry[0] != 0 && entry[11] & 0x18 == 0
}

/// A kernel with a command line and a module of 3000 bytes.
fn with_a_module(workshop: &Workshop) -> Recipe {
    let mut recipe = workshop.recipe(&kernel(10_000));
    recipe.command_line = "exit".into();
    recipe.modules = vec![Module {
        file: workshop.file("extra", &[7; 3000]),
        string: String::new(),
    }];
    recipe
}

/// Changes the directory entries of files. `directory` counts clusters from the first one.
fn change_entries(recipe: &Recipe, built: &Inspection, directory: u64, change: fn(&mut [u8])) {
    let volume = built.volume.as_ref().unwrap();
    let at = (volume.data.lba * 512 + directory * u64::from(volume.cluster)) as usize;
    let mut image = fs::read(&recipe.output).unwrap();
    let entries = image[at..at + 512].chunks_exact_mut(32);
    entries.filter(|entry| is_file(entry)).for_each(change);
    fs::write(&recipe.output, &image).unwrap();
}

#[test]
fn a_damaged_file_is_found_and_a_replaced_one_is_not_checked() {
    let workshop = Workshop::new();
    let recipe = with_a_module(&workshop);
    let built = build(&recipe).inspection;
    let good = fs::read(&recipe.output).unwrap();
    let start = |path: &str| built.file(path).unwrap().extents[0].lba * 512;
    for (path, offset, code) in [
        ("/boot/kernel.conf", 2, "9E"),
        // e_shoff; bytes of the first segment.
        ("/boot/kernel.elf", 40, "10Q"),
        ("/boot/kernel.elf", 4096 + 9999, "10Q"),
        ("/boot/modules/extra", 2999, "10R"),
    ] {
        flip(&recipe, start(path) + offset);
        let found = inspect::inspect(&recipe.output).unwrap();
        let expected = format!("error {code}: ");
        assert!(found.problems[0].starts_with(&expected), "{found}");
        let facts = [path, "checksum mismatch"];
        assert!(
            facts.iter().all(|fact| found.problems[0].contains(fact)),
            "{found}"
        );
        assert_eq!(found.file(path).unwrap().checksum, Some(Checksum::Wrong));
        assert!(found.to_string().contains("checksum WRONG"), "{found}");

        // With another time, it counts as somebody else's file.
        let directory = if path.contains("modules") { 2 } else { 1 };
        change_entries(&recipe, &built, directory, |entry| entry[22] ^= 3);
        // Two wrong bits are damage.
        let found = inspect::inspect(&recipe.output).unwrap();
        assert_eq!(found.file(path).unwrap().checksum, Some(Checksum::Wrong));
        change_entries(&recipe, &built, directory, |entry| entry[22] ^= 4);
        let found = inspect::inspect(&recipe.output).unwrap();
        assert_eq!(found.file(path).unwrap().checksum, Some(Checksum::Replaced));
        if path.contains("modules") {
            found.verify().unwrap();
            assert!(
                found.to_string().contains("(3000 bytes, replaced)"),
                "{found}"
            );
        }
        fs::write(&recipe.output, &good).unwrap();
    }
}

/// 2999 bytes instead of 3000.
#[test]
fn another_length_is_damage() {
    let workshop = Workshop::new();
    let recipe = with_a_module(&workshop);
    let built = build(&recipe).inspection;
    change_entries(&recipe, &built, 2, |entry| entry[28] -= 1);
    assert_eq!(
        inspect::inspect(&recipe.output).unwrap().problems,
        ["error 10R: a module is damaged: /boot/modules/extra, 2999 bytes instead of 3000"]
    );
}

#[test]
fn missing_files_are_named() {
    let workshop = Workshop::new();
    let mut recipe = workshop.recipe(&kernel(1000));
    let file = workshop.file("extra", b"bytes");
    recipe.modules = vec![Module {
        file,
        string: String::new(),
    }];
    build(&recipe);
    let image = fs::read(&recipe.output).unwrap();
    let change = |remove: &str| {
        let mut image = image.clone();
        let partition = std::io::Cursor::new(&mut image[2048 * 512..]);
        let fs = fatfs::FileSystem::new(partition, fatfs::FsOptions::new()).unwrap();
        fs.root_dir().remove(remove).unwrap();
        drop(fs);
        fs::write(&recipe.output, image).unwrap();
        inspect::inspect(&recipe.output).unwrap().problems
    };
    assert_eq!(
        change("boot/kernel.elf"),
        ["error 9A: there is no kernel in the boot partition: /boot/kernel.elf"]
    );
    assert_eq!(
        change("boot/kernel.conf"),
        ["error 9D: a configuration file is gone: /boot/kernel.conf"]
    );
    assert_eq!(
        change("boot/modules/extra"),
        ["error 9B: a module is missing: /boot/modules/extra"]
    );
}

#[test]
fn an_image_that_was_cut_short_is_found() {
    let workshop = Workshop::new();
    let recipe = workshop.recipe(&kernel(1 << 20));
    let inspection = build(&recipe).inspection;
    let file = OpenOptions::new().write(true).open(&recipe.output).unwrap();
    let place = inspection.file("/boot/kernel.elf").unwrap().extents[0];
    file.set_len((place.lba + place.sectors / 2) * 512).unwrap();
    let problems = inspect::inspect(&recipe.output).unwrap().problems;
    assert!(
        problems
            .iter()
            .all(|problem| problem.starts_with("error 7B")),
        "{problems:?}"
    );
    // What the loader says, and two more: the partition's end, and the first sector that is not there.
    assert_eq!(problems.len(), 3);
    file.set_len(511).unwrap();
    assert!(inspect::inspect(&recipe.output).is_err());
    assert!(inspect::inspect(&workshop.path("nothing")).is_err());
}

/// A directory of an image's volume.
type Directory<'a, 'b> = fatfs::Dir<'a, &'b mut std::io::Cursor<Vec<u8>>>;

/// Changes the volume of an image by `fatfs`.
fn change(recipe: &Recipe, change: impl FnOnce(&Directory<'_, '_>)) {
    let place = inspect::inspect(&recipe.output)
        .unwrap()
        .partition
        .unwrap()
        .place;
    let start = place.lba as usize * 512;
    let mut image = fs::read(&recipe.output).unwrap();
    let mut volume = std::io::Cursor::new(image[start..].to_vec());
    let system = fatfs::FileSystem::new(&mut volume, fatfs::FsOptions::new()).unwrap();
    change(&system.root_dir());
    system.unmount().unwrap();
    image[start..].copy_from_slice(volume.get_ref());
    fs::write(&recipe.output, image).unwrap();
}

/// Writes a text to a file, which may be there already.
fn put_text(root: &Directory<'_, '_>, path: &str, text: &str) {
    let mut file = root.create_file(path).unwrap();
    file.truncate().unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

/// An image with entries, good ones and bad ones.
fn with_entries(workshop: &Workshop) -> Recipe {
    let recipe = Recipe {
        size_mib: Some(3),
        ..workshop.recipe(&kernel(10_000))
    };
    build(&recipe);
    change(&recipe, |root| {
        let put = |path: &str, text: &str| put_text(root, path, text);
        root.create_dir("loader").unwrap();
        root.create_dir("loader/entries").unwrap();
        put(
            "loader/entries/a.conf",
            "linux boot/kernel.elf\ninitrd /none\n",
        );
        put("loader/entries/b+0-3.conf", "kernel /nothing\n");
        put("loader/entries/c.conf", "title C\r\nmodule \r\n");
        put("loader/entries/d.conf", "linux /x\narchitecture aa64\n");
        put("loader/entries/e.conf", "chain drive=81h\noptions x\n");
        put("loader/entries/readme.txt", "not an entry");
        put(
            "loader/loader.conf",
            "timeout 1\nconsole ttyS0\ndefault z*\n",
        );
    });
    recipe
}

#[test]
fn entries_are_shown_as_the_loader_sees_them() {
    let workshop = Workshop::new();
    let recipe = with_entries(&workshop);
    let found = inspect::inspect(&recipe.output).unwrap();
    let names: Vec<_> = found
        .entries
        .iter()
        .map(|entry| entry.name.as_str())
        .collect();
    assert_eq!(names, ["e.conf", "a.conf", "b+0-3.conf"]);
    assert_eq!(
        found.warnings,
        [
            "/loader/loader.conf: line 2: not serial, screen, both or none",
            "/loader/entries/c.conf is left out: line 2: module without a path",
            "/loader/loader.conf: no entry is named z*",
        ]
    );
    assert_eq!(
        found.problems,
        [
            "error 9B: a module is missing: /none",
            "error 9A: there is no kernel in the boot partition: /nothing",
        ]
    );
    // The first one, which has no kernel.
    assert!(found.entries[0].is_default && found.booted.kernel.is_none());
    assert_eq!(found.command_line.as_deref(), Some("x"));
    let text = found.to_string();
    assert!(
        text.contains("entry * e.conf: chain drive=81h: x\n"),
        "{text}"
    );
    assert!(
        text.contains("\nwarning: /loader/loader.conf: no entry"),
        "{text}"
    );
}

#[test]
fn entries_that_cannot_be_used() {
    let workshop = Workshop::new();
    let recipe = with_entries(&workshop);
    change(&recipe, |root| {
        for name in ["a", "b+0-3", "e"] {
            root.remove(&format!("loader/entries/{name}.conf")).unwrap();
        }
    });
    let found = inspect::inspect(&recipe.output).unwrap();
    let expected = ": no boot entry can be used: 1 left out, 1 for other machines";
    assert!(
        found.problems[0].ends_with(expected),
        "{:?}",
        found.problems
    );
    // With nothing there, it is as if there were no such directory.
    change(&recipe, |root| {
        for name in ["c", "d"] {
            root.remove(&format!("loader/entries/{name}.conf")).unwrap();
        }
    });
    inspect::inspect(&recipe.output).unwrap().verify().unwrap();
}

/// A terminal shows what stands in the files, and does not obey it.
#[test]
fn texts_of_files_are_shown_escaped() {
    // Sets the title, clears the screen (C1, as UTF-8), turns the text around, overwrites the line.
    const EVIL: &str = "\x1B]0;owned\x07\u{9B}2J\u{202E}txt\rA";
    const SHOWN: &str = r"\x1B]0;owned\x07\u{009B}2J\u{202E}txt\x0DA";
    let workshop = Workshop::new();
    let recipe = Recipe {
        size_mib: Some(3),
        ..workshop.recipe(&kernel(10_000))
    };
    build(&recipe);
    change(&recipe, |root| {
        let put = |path: &str, text: &str| put_text(root, path, text);
        root.create_dir("loader").unwrap();
        root.create_dir("loader/entries").unwrap();
        put("loader/loader.conf", &format!("default {EVIL}\n"));
        put(
            "loader/entries/a.conf",
            &format!("title {EVIL}\nlinux /boot/{EVIL}\nmodule /{EVIL} {EVIL}\noptions {EVIL}\n"),
        );
    });
    let found = inspect::inspect(&recipe.output).unwrap();
    let is_safe = |text: &str| !text.chars().any(|c| is_harmful(c) && c != '\n');
    let text = found.to_string();
    assert!(is_safe(&text), "{text:?}");
    for line in [
        format!("entry * a.conf ({SHOWN}): /boot/{SHOWN}, /{SHOWN}: {SHOWN}"),
        format!("command line: {SHOWN}"),
        format!("warning: /loader/loader.conf: no entry is named {SHOWN}"),
        format!("error 9A: there is no kernel in the boot partition: /boot/{SHOWN}"),
        format!("error 9B: a module is missing: /{SHOWN}"),
    ] {
        assert!(text.lines().any(|shown| shown == line), "{line}\n{text}");
    }
    // JSON escapes it in its own way, and says the same.
    let json = found.to_json().unwrap();
    assert!(is_safe(&json), "{json:?}");
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["entries"][0]["title"], EVIL);
    assert_eq!(json["command_line"], EVIL);
}

/// Two entries for the same kernel, on a small volume.
fn two_entries(workshop: &Workshop) -> Recipe {
    let recipe = workshop.recipe(&kernel(10_000));
    Recipe {
        entries: ["a", "b"]
            .map(|name| Entry::new(name, &recipe.kernel))
            .into(),
        size_mib: Some(3),
        ..recipe
    }
}

#[test]
fn damage_to_what_belongs_to_entries_is_found() {
    let workshop = Workshop::new();
    let recipe = Recipe {
        default: Some("a".into()),
        ..two_entries(&workshop)
    };
    for (path, code) in [
        ("/loader/loader.conf", "9E: a configuration file is damaged"),
        (
            "/loader/entries/a.conf",
            "9E: a configuration file is damaged",
        ),
        ("/boot/kernels/kernel.elf", "10Q: the kernel is damaged"),
    ] {
        let inspection = build(&recipe).inspection;
        let lba = inspection.file(path).unwrap().extents[0].lba;
        flip(
            &recipe,
            lba * 512 + if code.starts_with("10") { 4096 } else { 3 },
        );
        let found = inspect::inspect(&recipe.output).unwrap();
        let expected = format!("error {code}: {path}, checksum mismatch");
        assert!(
            found.problems[0].starts_with(&expected),
            "{:?}",
            found.problems
        );
    }
    build(&recipe);
    change(&recipe, |root| root.remove("loader/loader.conf").unwrap());
    let found = inspect::inspect(&recipe.output).unwrap();
    found.verify().unwrap();
    assert_eq!(found.warnings, ["/loader/loader.conf is gone"]);
}

/// A file that cannot be read is left out, as by the loader, and so is a directory.
#[test]
fn entries_that_cannot_be_read_are_left_out() {
    let workshop = Workshop::new();
    let recipe = two_entries(&workshop);
    build(&recipe);
    change(&recipe, |root| {
        root.create_dir("loader/entries/c.conf").unwrap();
    });
    let found = inspect::inspect(&recipe.output).unwrap();
    found.verify().unwrap();
    let directory = "/loader/entries/c.conf is left out: it is a directory";
    assert_eq!(found.warnings, [directory]);

    let inspection = build(&recipe).inspection;
    let lba = inspection.file("/loader/entries/b.conf").unwrap().extents[0].lba;
    flip(&recipe, lba * 512 + 3);
    let found = inspect::inspect(&recipe.output).unwrap();
    let left_out = "/loader/entries/b.conf is left out, 9E: a configuration file is damaged: ";
    assert!(
        found.warnings[0].starts_with(left_out),
        "{:?}",
        found.warnings
    );
    let names: Vec<_> = found.entries.iter().map(|entry| &entry.name).collect();
    assert_eq!(names, ["a.conf"]);
    assert!(found.entries[0].is_default);
}

/// The loader goes on with the next entry, but the one that does not boot is named; where none
/// boots, the first problem is what the loader says.
#[test]
fn an_entry_that_is_passed_over_is_a_problem() {
    let workshop = Workshop::new();
    let recipe = Recipe {
        size_mib: Some(3),
        ..workshop.recipe(&kernel(10_000))
    };
    build(&recipe);
    change(&recipe, |root| {
        root.create_dir("loader").unwrap();
        root.create_dir("loader/entries").unwrap();
        put_text(root, "loader/entries/2.conf", "linux /none\n");
        put_text(root, "loader/entries/1.conf", "linux boot/kernel.elf\n");
    });
    let none = "error 9A: there is no kernel in the boot partition: /none";
    let found = inspect::inspect(&recipe.output).unwrap();
    assert_eq!(found.problems, [none]);
    change(&recipe, |root| root.remove("boot/kernel.elf").unwrap());
    let found = inspect::inspect(&recipe.output).unwrap();
    let all = format!("{none}; none of 2 entries boots");
    let other = "error 9A: there is no kernel in the boot partition: boot/kernel.elf";
    assert_eq!(found.problems, [all.as_str(), other]);
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn compressed_kernels_and_modules_are_unpacked_and_checked() {
    let workshop = Workshop::new();
    let file = kernel(10_000);
    let compressed = packed(&file);
    let mut recipe = workshop.recipe(&compressed);
    recipe.modules = vec![Module {
        file: workshop.file("extra", &packed(&[7; 30_000])),
        string: String::new(),
    }];
    let found = build(&recipe).inspection;
    found.verify().unwrap();
    let size = compressed.len();
    let line = format!("({size} bytes, {} unpacked, checksum good)", file.len());
    assert!(found.to_string().contains(&line), "{found}");
    let module = found.file("/boot/modules/extra").unwrap();
    assert_eq!(module.unpacked, Some(30_000));
    // A module that stays packed has no other length.
    let before = found;
    recipe.packed = vec![recipe.modules[0].file.clone()];
    let found = build(&recipe).inspection;
    found.verify().unwrap();
    assert_eq!(found.file("/boot/modules/extra").unwrap().unpacked, None);
    recipe.packed.clear();
    build(&recipe);
    let found = before;
    // Its segments have no sectors, but the file has.
    let segments = &found.booted.kernel.as_ref().unwrap().segments;
    assert!(!segments.is_empty() && segments.iter().all(|segment| segment.extents.is_empty()));

    // A wrong bit on the disk is found by the checksum first, as by the loader.
    for (path, code) in [("/boot/kernel.elf", "10Q"), ("/boot/modules/extra", "10R")] {
        let good = fs::read(&recipe.output).unwrap();
        let start = found.file(path).unwrap().extents[0].lba * 512;
        flip(&recipe, start + 50);
        let problems = inspect::inspect(&recipe.output).unwrap().problems;
        assert!(
            problems[0].starts_with(&format!("error {code}: ")),
            "{problems:?}"
        );
        fs::write(&recipe.output, good).unwrap();
    }

    // A file is refused if it cannot be unpacked, or is not a kernel when it is.
    let refused = |bytes: &[u8]| {
        let error = disk_builder::image::build(&workshop.recipe(bytes)).unwrap_err();
        format!("{error:#}")
    };
    let mut damaged = compressed.clone();
    damaged[size - 8] ^= 1;
    assert!(refused(&damaged).contains("error 8C: a compressed file cannot be unpacked: CRC-32 "));
    assert!(refused(&packed(b"#!/bin/sh")).contains("error 10A"));
    let mut recipe = workshop.recipe(&compressed);
    recipe.modules = vec![Module {
        file: workshop.file("damaged", &damaged),
        string: String::new(),
    }];
    let error = disk_builder::image::build(&recipe).unwrap_err();
    assert!(format!("{error:#}").contains("error 8C"), "{error:#}");
}

/// A kernel and a module whose clusters take turns: each is in as many pieces as it has clusters.
#[test]
fn files_in_many_pieces_are_read_and_not_all_listed() {
    const PIECES: usize = 3000;
    let workshop = Workshop::new();
    let mut recipe = workshop.recipe(&kernel(5000));
    recipe.modules = vec![Module {
        file: workshop.file("extra", &[7; 3000]),
        string: String::new(),
    }];
    let cluster = build(&recipe).inspection.volume.unwrap().cluster as usize;
    let kernel = kernel((PIECES - 8) * cluster);
    let pieces = kernel.len().div_ceil(cluster);
    let module = support::noise(pieces * cluster);

    let mut image = fs::read(&recipe.output).unwrap();
    {
        let partition = std::io::Cursor::new(&mut image[2048 * 512..]);
        let volume = fatfs::FileSystem::new(partition, fatfs::FsOptions::new()).unwrap();
        let root = volume.root_dir();
        let paths = ["/boot/kernel.elf", "/boot/modules/extra"];
        for path in paths {
            root.remove(path).unwrap();
        }
        let mut files = paths.map(|path| root.create_file(path).unwrap());
        for (one, other) in kernel.chunks(cluster).zip(module.chunks(cluster)) {
            files[0].write_all(one).unwrap();
            files[1].write_all(other).unwrap();
        }
    }
    fs::write(&recipe.output, &image).unwrap();
    let found = inspect::inspect(&recipe.output).unwrap();
    found.verify().unwrap();
    for path in ["/boot/kernel.elf", "/boot/modules/extra"] {
        let file = found.file(path).unwrap();
        assert_eq!(file.pieces as usize, pieces, "{path}");
        assert_eq!(file.extents.len(), inspect::LISTED, "{path}");
    }
    let segment = &found.booted.kernel.as_ref().unwrap().segments[0];
    let clusters = (segment.file_size as usize).div_ceil(cluster);
    assert!((clusters..=clusters + 1).contains(&(segment.pieces as usize)));
    assert_eq!(segment.sectors as usize, segment.file_size as usize / 512);
    let text = found.to_string();
    let more = format!("and {} pieces more\n", pieces - 8);
    assert_eq!(text.matches(&more).count(), 2, "{text}");
    let more = format!("sectors in {} pieces\n", segment.pieces);
    assert!(text.contains(&more), "{text}");
}

/// However many files there are, the newest entry is the default, as for the loader.
#[test]
fn as_many_entries_are_read_as_by_the_loader() {
    const MANY: usize = 300;

    let workshop = Workshop::new();
    let file = workshop.file("k.elf", &kernel(1000));
    let recipe = Recipe {
        entries: vec![Entry::new("a", &file)],
        ..Recipe::new("", workshop.path("disk.img"), workshop.stages())
    };
    build(&recipe);
    let mut image = fs::read(&recipe.output).unwrap();
    {
        let partition = std::io::Cursor::new(&mut image[2048 * 512..]);
        let volume = fatfs::FileSystem::new(partition, fatfs::FsOptions::new()).unwrap();
        let entries = volume.root_dir().open_dir("loader/entries").unwrap();
        for number in 0..MANY {
            let name = format!("{number:04}.conf");
            let mut file = entries.create_file(&name).unwrap();
            let text = match number % 10 {
                0 => "title nothing to boot\n",
                _ => "kernel boot/kernels/k.elf\n",
            };
            file.write_all(text.as_bytes()).unwrap();
        }
        let mut file = entries.create_file("z.conf").unwrap();
        file.write_all(b"kernel boot/kernels/k.elf\nsort-key a\n")
            .unwrap();
    }
    fs::write(&recipe.output, &image).unwrap();
    let found = inspect::inspect(&recipe.output).unwrap();
    found.verify().unwrap();
    let texts = found.files.iter();
    let texts = texts.filter(|file| file.path.starts_with("/loader/entries/"));
    assert_eq!(texts.count(), MANY + 2);
    assert_eq!(found.entries.len(), MAX_ENTRIES);
    assert_eq!(found.entries[0].name, "z.conf");
    assert!(found.entries[0].is_default);
    let last = found.warnings.last().unwrap();
    assert_eq!(last, "/loader/entries: 22 more are left out");
}
