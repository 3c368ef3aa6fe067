//! The manifest of checksums, and what else depends on the content of files.

use std::fs;

use crate::support::{Workshop, build, kernel, noise, sectors};
use boot_path::files::sum::Sum;
use disk_builder::Road;
use disk_builder::image::Recipe;
use disk_builder::inspect::Checksum;
use disk_builder::inspect::Inspection;
use disk_layout::{Stage2Header, manifest};
use zerocopy::FromBytes as _;
use zerocopy::little_endian::{U32, U64};

use crate::{crc32c, with_everything};

/// The directory entries of the partition that lie in this sector, without those of long names: name
/// and stamp.
fn stamps(recipe: &Recipe, lba: u64) -> Vec<(String, u32)> {
    let sector = sectors(&recipe.output, lba, 1);
    let entries = sector.as_chunks::<32>().0.iter();
    entries
        .take_while(|entry| entry[0] != 0)
        .filter(|entry| entry[11] != 0x0F)
        .map(|entry| {
            let name = String::from_utf8_lossy(&entry[..11]).into_owned();
            (
                name,
                u32::from_le_bytes(*entry[22..].first_chunk().unwrap()),
            )
        })
        .collect()
}

#[test]
fn the_manifest_knows_what_is_loaded() {
    let workshop = Workshop::new();
    let recipe = with_everything(&workshop);
    let built = build(&recipe);
    let stage2 = sectors(&recipe.output, 1, 128);
    let (header, _) = Stage2Header::ref_from_prefix(&stage2).unwrap();
    assert_eq!(header.manifest.get(), 5000);
    assert_eq!(built.stage2_bytes, 5000 + 8 + 5 * 60);
    let entries = manifest::parse(&stage2[5000..]).unwrap();
    let text = fs::read(&recipe.kernel).unwrap();
    // The headers, and the two segments: 300,000 bytes from the second page on, 4 behind them.
    let data = 4096 + 300_000_usize.next_multiple_of(4096);
    let loaded = [&text[4096..304_096], &text[data..data + 4]].concat();
    let headers = &text[..64 + 2 * 56];
    let modules = [noise(70_000), Vec::new(), noise(70_000)];
    let configuration = "options exit  verbose=1 ünïcode\n\
        module /boot/modules/first_module.bin the first = one\n\
        module /boot/modules/empty\nmodule /boot/modules/2-first_module.bin again\n";
    let expected = [
        (
            "/boot/kernel.conf",
            configuration.as_bytes(),
            0,
            configuration.len(),
        ),
        // The character behind the path says by which protocol the kernel is loaded.
        (
            "/boot/kernel.elf\u{1}",
            &loaded,
            crc32c(headers),
            text.len(),
        ),
        ("/boot/modules/first_module.bin", &modules[0], 0, 70_000),
        ("/boot/modules/empty", &modules[1], 0, 0),
        ("/boot/modules/2-first_module.bin", &modules[2], 0, 70_000),
    ];
    assert_eq!(entries.len(), expected.len());
    for (entry, (path, bytes, headers, size)) in entries.iter().zip(expected) {
        assert_eq!(entry.path.get(), crc32c(path.as_bytes()), "{path}");
        assert_eq!(entry.crc32c.get(), crc32c(bytes), "{path}");
        assert_eq!(entry.headers_crc32c.get(), headers, "{path}");
        assert_eq!(entry.sum.map(U64::get), sum(bytes), "{path}");
        let searched = path.starts_with("/boot/kernel.elf");
        let requests = if searched { [0, 0] } else { [0, u32::MAX] };
        assert_eq!(entry.requests.map(U32::get), requests, "{path}");
        assert_eq!(entry.size.get() as usize, size, "{path}");
    }

    assert_eq!(entries[1].headers_sum.map(U64::get), sum(headers));
    check_stamps(&recipe, &built.inspection, entries);
}

fn sum(bytes: &[u8]) -> [u64; 2] {
    let mut sum = Sum::default();
    sum.add(bytes);
    sum.end()
}

/// The files bear the stamps of the manifest: root directory, /boot, /boot/modules.
fn check_stamps(recipe: &Recipe, inspection: &Inspection, entries: &[manifest::Entry]) {
    let volume = inspection.volume.as_ref().unwrap();
    let cluster = u64::from(volume.cluster) / 512;
    let boot = stamps(recipe, volume.data.lba + cluster);
    let modules = stamps(recipe, volume.data.lba + 2 * cluster);
    let stamp_of = |names: &[(String, u32)], wanted: &str| {
        let found = names.iter().find(|(name, _)| name.starts_with(wanted));
        found
            .unwrap_or_else(|| panic!("no {wanted} in {names:?}"))
            .1
    };
    let found = [
        stamp_of(&boot, "KERNEL~1CON"),
        stamp_of(&boot, "KERNEL  ELF"),
        stamp_of(&modules, "FIRST"),
        stamp_of(&modules, "EMPTY"),
        stamp_of(&modules, "2-FIRS"),
    ];
    for (entry, found) in entries.iter().zip(found) {
        assert_eq!(entry.stamp.get(), found);
        assert_eq!(found >> 25, 0, "1980");
    }
    // The same bytes, so the same stamp.
    assert_eq!(found[2], found[4]);
    assert_ne!(found[2], found[3]);
    // A file without a checksum has the earliest time of FAT.
    assert_eq!(stamp_of(&boot, "MODULES"), 0x21_0000);
}

#[test]
fn without_checksums_there_is_no_manifest() {
    let workshop = Workshop::new();
    let mut recipe = workshop.recipe(&kernel(1000));
    recipe.checksums = false;
    let built = build(&recipe);
    let stage2 = sectors(&recipe.output, 1, 128);
    let (header, _) = Stage2Header::ref_from_prefix(&stage2).unwrap();
    assert_eq!(header.manifest.get(), 0);
    assert_eq!(built.inspection.files[0].checksum, None);
}

#[test]
fn a_kernel_that_cannot_be_booted_has_no_checksum() {
    let workshop = Workshop::new();
    let mut recipe = workshop.recipe(&noise(1000));
    recipe.unchecked = true;
    recipe.command_line = "exit".into();
    let built = build(&recipe);
    let checksums: Vec<_> = built.inspection.files.iter().map(|f| f.checksum).collect();
    assert_eq!(checksums, [Some(Checksum::Good), None]);
}

#[test]
fn the_crc_of_this_test_is_the_right_one() {
    assert_eq!(crc32c(b"123456789"), 0xE306_9283);
}

#[test]
fn same_input_same_bytes_and_other_input_other_signature() {
    let workshop = Workshop::new();
    let recipe = with_everything(&workshop);
    let first = build(&recipe).inspection.disk_signature;
    let bytes = fs::read(&recipe.output).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(2100)); // FAT's times count by two seconds
    let other = Recipe {
        output: workshop.path("other.img"),
        ..recipe.clone()
    };
    build(&other);
    assert!(bytes == fs::read(&other.output).unwrap());

    let mut changed = recipe;
    changed.command_line.push('x');
    assert_ne!(build(&changed).inspection.disk_signature, first);
    changed.command_line.pop();
    changed.road = Road::Direct;
    assert_ne!(build(&changed).inspection.disk_signature, first);
}
