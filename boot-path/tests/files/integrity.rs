//! Checksums, the manifest, and the second copies of what describes a volume.

use boot_path::disk::fat::{Cache, FatError, Field, File, View, Volume};
use boot_path::disk::partition::Partition;
use boot_path::entry::entry_file::{PATH_ENTRY, PATH_KERNEL};
use boot_path::errors::catalogue::{Named, Report};
use boot_path::files::checksum::{self, CRC_32, CRC_32C, Tables};
use boot_path::files::integrity::{Checksum, Checksums, Expected, Manifest, Role, Sums, path_key};
use boot_path::position::FileOffset;
use disk_layout::manifest::{Entry, Head, MAGIC, MAX_ENTRIES, MAX_LENGTH, VERSION, parse};
use proptest::prelude::*;
use zerocopy::IntoBytes as _;

use crate::disks::*;

/// CRC-32C, bit by bit.
pub fn crc32c(crc: u32, bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!crc, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| match crc & 1 {
            0 => crc >> 1,
            _ => crc >> 1 ^ 0x82F6_3B78,
        })
    })
}

#[test]
fn the_check_value() {
    // "CRC-32/ISCSI" of the catalogue of CRC algorithms.
    assert_eq!(crc32c(0, b"123456789"), 0xE306_9283);
    let mut tables = Tables::EMPTY;
    // "CRC-32/ISO-HDLC" is computed in between.
    for (polynomial, check) in [
        (CRC_32C, 0xE306_9283),
        (CRC_32, 0xCBF4_3926),
        (CRC_32C, 0xE306_9283),
    ] {
        assert_eq!(tables.of(polynomial).crc(0, b"123456789"), check);
    }
}

/// However long it is.
#[test]
fn the_key_of_a_path() {
    for length in (0..100).chain([300]) {
        let name = "Ab/".repeat(length);
        let normal = format!("/{}", name.to_ascii_lowercase());
        for path in [name.clone(), format!("//{name}"), name.replace('/', "\\/")] {
            assert_eq!(
                path_key(&path, crc32c),
                crc32c(0, normal.as_bytes()),
                "{path}"
            );
        }
    }
}

proptest! {
    #[test]
    fn tables_and_bits_agree(bytes: Vec<u8>, first: u32, cut: prop::sample::Index) {
        let tables = Tables::new(CRC_32C);
        prop_assert_eq!(tables.crc(first, &bytes), crc32c(first, &bytes));
        prop_assert_eq!(checksum::crc32c(first, &bytes), crc32c(first, &bytes));
        let (front, back) = bytes.split_at(cut.index(bytes.len() + 1));
        prop_assert_eq!(
            tables.crc(tables.crc(0, front), back),
            crc32c(0, &bytes)
        );
    }

    #[test]
    fn any_bytes_are_a_manifest_or_none(bytes: Vec<u8>) {
        for bytes in [bytes.clone(), [&MAGIC[..], &bytes].concat()] {
            if let Some(entries) = parse(&bytes) {
                prop_assert!(size_of_val(entries) <= bytes.len());
                prop_assert!(entries.len() <= MAX_ENTRIES);
            }
            let manifest = Manifest::new(&bytes, crc32c);
            let _ = manifest.entry(PATH_KERNEL, Sums::Elf);
        }
    }
}

fn manifest(entries: &[Entry]) -> Vec<u8> {
    let head = Head {
        magic: MAGIC,
        entries: (entries.len() as u16).into(),
        version: VERSION.into(),
    };
    [head.as_bytes(), entries.as_bytes()].concat()
}

const BYTES: Checksums = Checksums {
    crc32c: 0x1234_5678,
    sum: [0x0123_4567_89AB_CDEF, 0x1122_3344_5566_7788],
};
const HEADERS: Checksums = Checksums {
    crc32c: 0x9ABC_DEF0,
    sum: [0xFEDC_BA98_7654_3210, 0x8877_6655_4433_2211],
};

fn a_kernel(path: &str, sums: Sums, stamp: u32, size: u32) -> Entry {
    Entry {
        path: sums.key(path, crc32c).into(),
        stamp: stamp.into(),
        size: size.into(),
        crc32c: 0x1234_5678.into(),
        headers_crc32c: 0x9ABC_DEF0.into(),
        sum: BYTES.sum.map(Into::into),
        headers_sum: HEADERS.sum.map(Into::into),
        requests: [0x1000.into(), 0x2000.into()],
    }
}

fn text_or_module(path: &str, stamp: u32, size: u32) -> Entry {
    Entry {
        headers_crc32c: 0.into(),
        headers_sum: [0.into(); 2],
        requests: [0.into(), u32::MAX.into()],
        ..a_kernel(path, Sums::Whole, stamp, size)
    }
}

#[test]
fn a_manifest_that_is_cut_short_is_none() {
    let entries = [a_kernel("a", Sums::Elf, 0, 0); MAX_ENTRIES];
    let bytes = manifest(&entries);
    assert_eq!(bytes.len(), MAX_LENGTH);
    assert_eq!(parse(&bytes), Some(&entries[..]));
    assert_eq!(parse(&[&bytes[..], &[1; 9]].concat()), Some(&entries[..]));
    for length in 0..bytes.len() {
        assert_eq!(parse(&bytes[..length]), None, "{length}");
    }
    assert_eq!(parse(&manifest(&[entries[0]; MAX_ENTRIES + 1])), None);
    // Another version has other entries.
    let mut other = bytes.clone();
    other[6] ^= 3;
    assert_eq!(parse(&other), None);
    assert_eq!(parse(&manifest(&[])), Some(&[][..]));
}

/// A file of so many bytes with this stamp, as it is on a volume.
fn file(stamp: u32, size: usize) -> File {
    let mut tiny = Tiny::new(12);
    tiny.entry(0, b"FILE       ", 0, 5, size as u32);
    tiny.root[22..26].copy_from_slice(&stamp.to_le_bytes());
    tiny.chain(&[5, 6], &vec![1; size]);
    let mut disk = tiny.disk();
    let mut memory = vec![0; 3 * 4096];
    let mut cache = Cache::new(&mut memory);
    let partition = whole(&disk);
    let volume = Volume::open(&mut disk, &mut cache, &partition).unwrap();
    let file = volume.find(&mut disk, &mut cache, "FILE").unwrap().unwrap();
    assert_eq!(file.stamp, stamp);
    file
}

/// Each of the four checksums, and both halves of a sum.
fn each_decides_alone(expected: &Expected<'_>, headers: Checksums) {
    let wrong = |right: Checksums| {
        let [mut crc, mut low, mut high] = [right; 3];
        crc.crc32c ^= 1;
        low.sum[0] ^= 1 << 63;
        high.sum[1] ^= 1;
        [crc, low, high]
    };
    for wrong in wrong(BYTES) {
        assert!(expected.all(headers, wrong).is_err());
    }
    for wrong in wrong(headers) {
        assert!(expected.all(wrong, BYTES).is_err());
    }
}

#[test]
fn only_the_builders_own_files_are_checked() {
    const STAMP: u32 = 0x0123_4567;
    let modules = "/boot/modules/A";
    let bytes = manifest(&[
        a_kernel(PATH_KERNEL, Sums::Multiboot1, STAMP, 700),
        text_or_module(PATH_ENTRY, STAMP, 700),
        text_or_module(modules, STAMP, 700),
    ]);
    let manifest = Manifest::new(&bytes, crc32c);
    assert!(
        manifest
            .own(Role::Module, Sums::Whole, "/boot/other", &file(STAMP, 700))
            .unwrap()
            .is_none()
    );
    for (path, role, code) in [
        (PATH_KERNEL, Role::Kernel, "10Q"),
        (PATH_ENTRY, Role::Text, "9E"),
        ("/BOOT/modules/a", Role::Module, "10R"),
        // An entry may write the path in this way.
        ("boot/modules//a", Role::Module, "10R"),
    ] {
        let sums = match role {
            Role::Kernel => Sums::Multiboot1,
            _ => Sums::Whole,
        };
        let own = |stamp, size| manifest.own(role, sums, path, &file(stamp, size));
        let expected = own(STAMP, 700).unwrap().unwrap();
        let headers = match role {
            Role::Kernel => HEADERS,
            _ => Checksums::default(),
        };
        expected.all(headers, BYTES).unwrap();
        let searched = if role == Role::Kernel {
            0x1000..0x2000
        } else {
            0..u64::MAX
        };
        assert_eq!(expected.requests(), searched);
        // A kernel that an entry names as a module, or the other way round, or by another protocol.
        for other in [Sums::Whole, Sums::Elf, Sums::Multiboot1, Sums::Multiboot2] {
            let found = manifest.own(role, other, path, &file(STAMP, 700));
            assert_eq!(found.unwrap().is_some(), other == sums);
        }
        each_decides_alone(&expected, headers);
        let damage = expected.bytes(Checksum::Crc32c(0x1234_5679)).unwrap_err();
        assert_eq!(damage.entry().code, code);
        let text = Report(&damage).to_string();
        assert!(text.ends_with("checksum mismatch"), "{text}");
        assert!(text.contains(path), "{text}");
        assert!(expected.headers(Checksum::Crc32c(BYTES.crc32c)).is_err());

        let damage = own(STAMP, 699).err().unwrap();
        assert_eq!(damage.entry().code, code);
        let text = Report(&damage).to_string();
        assert!(text.ends_with("699 bytes instead of 700"), "{text}");
    }
}

/// What the builder has recognised a file as, unless entries use it in several ways, or it is another
/// file.
#[test]
fn what_the_builder_has_recognised() {
    const STAMP: u32 = 0x0123_4567;
    let kernel = |path, sums| a_kernel(path, sums, STAMP, 700);
    let bytes = manifest(&[
        kernel("/one", Sums::Multiboot1),
        kernel("/two", Sums::Elf),
        kernel("/two", Sums::Multiboot2),
        kernel("/two", Sums::Whole),
        kernel("/linux", Sums::Linux),
    ]);
    let manifest = Manifest::new(&bytes, crc32c);
    let any = |path, stamp, size| {
        let (expected, sums) = manifest.any(Role::Kernel, path, &file(stamp, size));
        (expected.is_some(), sums)
    };
    assert_eq!(any("/one", STAMP, 700), (true, Some(Sums::Multiboot1)));
    assert_eq!(any("ONE", STAMP, 700), (true, Some(Sums::Multiboot1)));
    assert_eq!(any("/linux", STAMP, 700), (true, Some(Sums::Linux)));
    assert_eq!(any("/two", STAMP, 700), (true, None));
    for (path, stamp, size) in [
        ("/none", STAMP, 700),
        ("/one", STAMP ^ 7, 700),
        ("/one", STAMP, 701),
    ] {
        assert_eq!(any(path, stamp, size), (false, None));
    }
}

/// One or two wrong bits in a stamp are damage; with three wrong bits, it is another stamp.
#[test]
fn a_damaged_stamp_is_still_the_builders() {
    const STAMP: u32 = 0x0123_4567;
    let bytes = manifest(&[text_or_module(PATH_ENTRY, STAMP, 700)]);
    let manifest = Manifest::new(&bytes, crc32c);
    let own = |stamp, size| {
        let file = file(stamp, size);
        let own = manifest.own(Role::Text, Sums::Whole, PATH_ENTRY, &file);
        own.unwrap().is_some()
    };
    for one in 0..32 {
        for two in 0..32 {
            let stamp = STAMP ^ (1 << one) ^ if one == two { 0 } else { 1 << two };
            assert!(own(stamp, 700));
            let third = 1 << (0..32).find(|&bit| bit != one && bit != two).unwrap();
            assert!(one == two || !own(stamp ^ third, 1));
        }
    }
}

/// Reads all of /FILE by a view.
fn read(disk: &mut MemoryDisk, view: View) -> Result<Vec<u8>, FatError> {
    let mut memory = vec![0; 3 * 4096];
    let mut cache = Cache::new(&mut memory);
    let partition = whole(disk);
    let volume = Volume::open_view(disk, &mut cache, &partition, view)?;
    let Some(file) = volume.find(disk, &mut cache, "FILE")? else {
        return Ok(Vec::new());
    };
    let mut bytes = vec![0; file.size as usize];
    volume.read_at(disk, &mut cache, &file, FileOffset::ZERO, &mut bytes)?;
    Ok(bytes)
}

#[test]
fn each_copy_does_without_the_other() {
    let [first, second, backup, both] = View::ALL;
    let fat = 8 * 512;
    let (mut disk, content) = twofold();
    for view in View::ALL {
        assert_eq!(read(&mut disk, view), Ok(content.clone()), "{view:?}");
    }
    let link = |cluster: usize| fat + cluster * 4;

    // The chain leads elsewhere, or nowhere.
    disk.bytes[link(11)] ^= 1;
    assert!(read(&mut disk, first).is_err() && read(&mut disk, backup).is_err());
    assert_eq!(read(&mut disk, second), Ok(content.clone()));
    assert_eq!(read(&mut disk, both), Ok(content.clone()));

    let (mut disk, content) = twofold();
    disk.bytes[510] = 0;
    for (view, good) in View::ALL.into_iter().zip([false, false, true, true]) {
        assert_eq!(
            read(&mut disk, view) == Ok(content.clone()),
            good,
            "{view:?}"
        );
    }
    // The same volume on a disk with larger sectors.
    let mut disk = MemoryDisk::new(disk.bytes, 2048);
    assert!(read(&mut disk, first).is_err());
    assert_eq!(read(&mut disk, backup), Ok(content));
    // A boot sector that is plausible but wrong.
    let (mut disk, content) = twofold();
    disk.bytes[14] = 9;
    assert_ne!(read(&mut disk, first), Ok(content.clone()));
    assert_eq!(read(&mut disk, backup), Ok(content));
}

#[test]
fn what_is_not_twofold_has_one_view() {
    let refused = |disk: &mut MemoryDisk, view: View| match read(disk, view) {
        Err(FatError::NotFat { refusal, .. }) => refusal.field,
        other => panic!("{other:?}"),
    };
    let [_, second, backup, _] = View::ALL;
    // FAT16: sector 6 may look like a boot sector.
    let mut tiny = Tiny::new(16);
    tiny.entry(0, b"FILE       ", 0, 10, 3);
    tiny.chain(&[10], b"abc");
    let mut disk = tiny.disk();
    assert_eq!(refused(&mut disk, second), Field::Fats);
    let boot = disk.bytes[..512].to_vec();
    disk.bytes[6 * 512..7 * 512].copy_from_slice(&boot);
    assert_eq!(refused(&mut disk, backup), Field::RootEntries);
    // FATs that are not copies of each other.
    let (mut disk, content) = twofold();
    for (flags, good) in [(0x80, Ok(content.clone())), (0x00, Ok(content))] {
        disk.bytes[40] = flags;
        assert_eq!(read(&mut disk, View::ALL[0]), good);
        assert_eq!(read(&mut disk, second).is_ok(), flags == 0);
    }
}

#[test]
fn the_same_places_are_recognised() {
    let [first, second, ..] = View::ALL;
    let same = |disk: &mut MemoryDisk| {
        let mut memory = vec![0; 3 * 4096];
        let mut cache = Cache::new(&mut memory);
        let partition: Partition = whole(disk);
        let [one, other] = [first, second]
            .map(|view| Volume::open_view(disk, &mut cache, &partition, view).unwrap());
        assert!(one != other);
        let file = one.find(disk, &mut cache, "FILE").unwrap().unwrap();
        let same = one.same_places(&other, disk, &mut cache, &file);
        assert_eq!(other.same_places(&one, disk, &mut cache, &file), same);
        same
    };
    let (mut disk, _) = twofold();
    assert!(same(&mut disk));
    let fat = 8 * 512;
    // An entry of another file, then one of this file.
    disk.bytes[fat + 50 * 4] ^= 1;
    assert!(same(&mut disk));
    disk.bytes[fat + 20 * 4 + 1] ^= 1;
    assert!(!same(&mut disk));
    disk.bytes[fat + 20 * 4 + 1] ^= 1;
    disk.bytes[fat + 10 * 4] ^= 0x10; // 11 to 27, which is free
    assert!(!same(&mut disk));
}
