//! An image that is a CD as well, checked at the specifications' own offsets and by other tools.

mod support;

use std::fs::{self, File};
use std::mem::offset_of;
use std::os::unix::fs::FileExt as _;
use std::process::Command;

use disk_builder::image::Recipe;
use disk_builder::inspect;
use disk_layout::cd::{PARAMETERS_OFFSET, Parameters};
use disk_layout::{Mbr, PARTITION_LBA, ParameterBlock, mbr};
use support::{Workshop, build, kernel, refusal, stage1_cd};
use zerocopy::FromBytes as _;

fn cd(workshop: &Workshop) -> Recipe {
    Recipe {
        stage1_cd: Some(workshop.path("stage1-cd").into()),
        ..workshop.recipe(&kernel(10_000))
    }
}

/// Numbers and bytes of an image, by block.
struct Cd(File);

impl Cd {
    fn open(recipe: &Recipe) -> Self {
        Self(File::open(&recipe.output).unwrap())
    }

    fn bytes(&self, block: u64, offset: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        let start = block * 2048 + offset;
        self.0.read_exact_at(&mut bytes, start).unwrap();
        bytes
    }

    fn little(&self, block: u64, offset: u64, length: usize) -> u64 {
        let bytes = self.bytes(block, offset, length);
        bytes
            .iter()
            .rev()
            .fold(0, |n, &byte| n << 8 | u64::from(byte))
    }

    fn big(&self, block: u64, offset: u64, length: usize) -> u64 {
        let bytes = self.bytes(block, offset, length);
        bytes.iter().fold(0, |n, &byte| n << 8 | u64::from(byte))
    }

    /// A number that is there in both byte orders: `length` bytes each.
    fn both(&self, block: u64, offset: u64, length: usize) -> u64 {
        let number = self.little(block, offset, length);
        assert_eq!(number, self.big(block, offset + length as u64, length));
        number
    }
}

/// ECMA-119, sections 8.4, 9.1 and 9.4.
#[test]
fn it_is_an_iso_9660_volume_whose_file_is_the_boot_partition() {
    let workshop = Workshop::new();
    let recipe = cd(&workshop);
    let inspection = build(&recipe).inspection;
    let cd = Cd::open(&recipe);
    let length = fs::metadata(&recipe.output).unwrap().len();

    assert_eq!(cd.bytes(16, 0, 7), b"\x01CD001\x01");
    assert_eq!(cd.bytes(16, 40, 32), b"BOOTPATH                        ");
    assert_eq!(cd.both(16, 80, 4), length / 2048);
    assert_eq!((cd.both(16, 120, 2), cd.both(16, 124, 2)), (1, 1));
    assert_eq!(cd.both(16, 128, 2), 2048);
    assert_eq!(cd.bytes(16, 881, 1), [1]);
    assert_eq!(cd.bytes(18, 0, 7), b"\xFFCD001\x01");

    // The root directory, as the descriptor, the path tables and the directory itself have it.
    let root = cd.both(16, 156 + 2, 4);
    assert_eq!(cd.bytes(16, 156, 1), [34]);
    assert_eq!(cd.both(16, 156 + 10, 4), 2048);
    assert_eq!(cd.bytes(16, 156 + 25, 1), [2]);
    assert_eq!(cd.bytes(root, 0, 34), cd.bytes(16, 156, 34));
    assert_eq!(cd.bytes(root, 34, 33), cd.bytes(16, 156, 33));
    assert_eq!(cd.bytes(root, 34 + 32, 2), [1, 1]);
    assert_eq!(cd.both(16, 132, 4), 10);
    let (little, big) = (cd.little(16, 140, 4), cd.big(16, 148, 4));
    assert_eq!(cd.little(little, 2, 4), root);
    assert_eq!(cd.big(big, 2, 4), root);
    assert_eq!((cd.little(little, 6, 2), cd.big(big, 6, 2)), (1, 1));
    for table in [little, big] {
        assert_eq!(cd.bytes(table, 0, 2), [1, 0]);
        assert_eq!(cd.bytes(table, 8, 2), [0, 0]);
    }

    let file = 68;
    assert_eq!(cd.bytes(root, file, 1), [48]);
    assert_eq!(cd.bytes(root, file + 25, 1), [0]);
    assert_eq!(cd.bytes(root, file + 32, 15), b"\x0EBOOTPATH.IMG;1");
    assert_eq!(cd.bytes(root, file + 48, 1), [0]);
    let partition = inspection.partition.unwrap().place;
    assert_eq!(cd.both(root, file + 2, 4) * 4, partition.lba);
    assert_eq!(cd.both(root, file + 10, 4), partition.sectors * 512);
    assert_eq!(inspection.cd.unwrap().file, [partition]);
}

/// El Torito, sections 2 and 4.
#[test]
fn it_boots_a_program_that_finds_the_disks_stage2() {
    let workshop = Workshop::new();
    for length in [5000, 70_000, 107_520] {
        workshop.file("stage2", &support::stage2(length));
        let mut recipe = cd(&workshop);
        recipe.checksums = false;
        let built = build(&recipe);
        assert_eq!(built.stage1_cd_bytes, Some(206));
        let cd = Cd::open(&recipe);

        assert_eq!(cd.bytes(17, 0, 7), b"\x00CD001\x01");
        assert_eq!(cd.bytes(17, 7, 23), b"EL TORITO SPECIFICATION");
        assert_eq!(cd.bytes(17, 30, 41), [0; 41]);
        let catalogue = cd.little(17, 71, 4);
        assert_eq!(cd.bytes(catalogue, 0, 4), [1, 0, 0, 0]);
        assert_eq!(cd.bytes(catalogue, 30, 2), [0x55, 0xAA]);
        let sum = (0..16).map(|word| cd.little(catalogue, 2 * word, 2));
        assert_eq!(sum.sum::<u64>() % 0x1_0000, 0);
        // Bootable, no emulation, the usual segment; four sectors.
        assert_eq!(cd.bytes(catalogue, 32, 6), [0x88, 0, 0, 0, 0, 0]);
        assert_eq!(cd.little(catalogue, 32 + 6, 2), 4);
        let program = cd.little(catalogue, 32 + 8, 4);
        assert_eq!(cd.bytes(catalogue, 32 + 12, 20), [0; 20]);

        assert_eq!(cd.bytes(program, 0, 200), [0xF4; 200]);
        let words = |block, offset: u64, count: u64| {
            let words = (0..count).map(|word| cd.little(block, offset + 2 * word, 2));
            words.sum::<u64>() % 0x1_0000
        };
        assert_eq!(words(program, 0x84, (1024 - 0x84) / 2), 0);
        let block = cd.little(program, 1020, 2);
        let blocks = length.max(32_768).div_ceil(2048) as u64;
        assert_eq!(cd.little(program, 1018, 2), blocks);
        assert_eq!(cd.bytes(program, 1024, 1024), [0; 1024]);

        // The MBR's stage1 finds the same stage2, and it ends in front of the partition.
        let header = Mbr::read_from_bytes(&cd.bytes(0, 0, 512)).unwrap();
        let parameters =
            ParameterBlock::read_from_bytes(&header.code[mbr::PARAMETER_BLOCK_OFFSET..]).unwrap();
        assert_eq!(u64::from(parameters.lba.get()), block * 4);
        assert_eq!(u64::from(parameters.sectors.get()).div_ceil(4), blocks);
        assert_eq!(header.partitions[0].first_lba.get(), PARTITION_LBA);
        assert!((block + blocks) * 4 <= PARTITION_LBA.into());
        assert_eq!(cd.bytes(block, 0, 4), b"BPS2");
    }
}

#[test]
fn without_the_option_there_is_no_cd() {
    let workshop = Workshop::new();
    let mut recipe = workshop.recipe(&kernel(1000));
    let built = build(&recipe);
    assert!(built.inspection.cd.is_none() && built.stage1_cd_bytes.is_none());
    recipe.stage1_cd = Some("/no/stage1-cd".into());
    assert!(refusal(&recipe).contains("/no/stage1-cd"));
}

#[test]
fn programs_that_cannot_work_are_refused() {
    let workshop = Workshop::new();
    let recipe = cd(&workshop);
    for (length, message) in [
        (0, "empty"),
        (1019, "parameters"),
        (1025, "more than 1024 bytes"),
    ] {
        workshop.file("stage1-cd", &stage1_cd(&vec![0xF4; length]));
        assert!(refusal(&recipe).contains(message), "{length}");
    }
    workshop.file("stage1-cd", &stage1_cd(&[0xF4; 1018]));
    assert_eq!(build(&recipe).stage1_cd_bytes, Some(1024));
}

/// More than 4 GiB take more than one record.
#[test]
fn a_large_partition_is_a_file_of_several_sections() {
    let workshop = Workshop::new();
    let recipe = Recipe {
        size_mib: Some(9000),
        ..cd(&workshop)
    };
    let inspection = build(&recipe).inspection;
    let partition = inspection.partition.unwrap().place;
    let sections = inspection.cd.unwrap().file;
    assert_eq!(sections.len(), 3);
    assert_eq!(
        sections.iter().map(|s| s.sectors).sum::<u64>(),
        partition.sectors
    );
    let cd = Cd::open(&recipe);
    let root = cd.both(16, 156 + 2, 4);
    for (number, section) in (0..).zip(&sections) {
        let record = 68 + 48 * number;
        assert_eq!(cd.both(root, record + 2, 4) * 4, section.lba);
        assert_eq!(cd.both(root, record + 10, 4), section.sectors * 512);
        let flags = if number == 2 { 0 } else { 0x80 };
        assert_eq!(cd.bytes(root, record + 25, 1), [flags]);
        assert_eq!(cd.bytes(root, record + 33, 14), b"BOOTPATH.IMG;1");
    }

    let recipe = Recipe {
        size_mib: Some(1 << 20),
        ..recipe
    };
    assert!(refusal(&recipe).contains("too large for a CD"));
}

/// The block in which the boot program of these CDs begins.
const PROGRAM: u64 = 23;

/// A block, a byte in it, and what `inspect` says if that byte is wrong.
const DAMAGE: [(u64, u64, &str); 24] = [
    (16, 0, "the CD's primary volume descriptor is wrong"),
    (16, 80, "the CD's primary volume descriptor is wrong"),
    (16, 128, "the CD's primary volume descriptor is wrong"),
    (16, 158, "the CD's root directory is wrong"),
    (16, 141, "the CD's root directory is wrong"),
    (17, 10, "the CD's boot record is wrong"),
    (17, 71, "the CD's boot catalogue is wrong"),
    (17, 74, "the CD's boot catalogue is wrong"),
    (18, 0, "the CD's last volume descriptor is wrong"),
    (19, 5, "the CD's boot catalogue is wrong"),
    (19, 31, "the CD's boot catalogue is wrong"),
    (19, 32, "the CD's entry in the boot catalogue is wrong"),
    (19, 33, "the CD's entry in the boot catalogue is wrong"),
    (19, 38, "the CD's entry in the boot catalogue is wrong"),
    (19, 43, "the CD's entry in the boot catalogue is wrong"),
    (20, 2, "the CD's root directory is wrong"),
    (21, 5, "the CD's root directory is wrong"),
    (22, 2, "the CD's root directory is wrong"),
    (22, 36, "the CD's root directory is wrong"),
    (22, 101, "the CD's root directory is wrong"),
    (22, 68 + 2, "the file on the CD is not the boot partition"),
    (22, 68 + 11, "the file on the CD is not the boot partition"),
    (PROGRAM, 0x84, "error 1D: stage1 itself is damaged"),
    (PROGRAM, 1023, "error 1D: stage1 itself is damaged"),
];

/// The image of a CD, to be changed, and its file.
fn cd_to_change(workshop: &Workshop) -> (Recipe, File) {
    let recipe = cd(workshop);
    let place = build(&recipe).inspection.cd.unwrap().program;
    assert_eq!((place.lba, place.sectors), (4 * PROGRAM, 4));
    let mut options = File::options();
    let file = options.read(true).write(true).open(&recipe.output).unwrap();
    (recipe, file)
}

/// A wrong byte in any of the structures that lead to a CD's boot program.
#[test]
fn what_is_damaged_is_found() {
    let workshop = Workshop::new();
    let (recipe, file) = cd_to_change(&workshop);
    for (block, offset, expected) in DAMAGE {
        let mut byte = [0];
        file.read_exact_at(&mut byte, block * 2048 + offset)
            .unwrap();
        file.write_all_at(&[!byte[0]], block * 2048 + offset)
            .unwrap();
        let problems = inspect::inspect(&recipe.output).unwrap().problems;
        assert_eq!(problems.len(), 1, "block {block}, {offset}: {problems:?}");
        assert!(
            problems[0].starts_with(expected),
            "block {block}, {offset}: {problems:?}"
        );
        file.write_all_at(&byte, block * 2048 + offset).unwrap();
    }
    inspect::inspect(&recipe.output).unwrap().verify().unwrap();
}

/// Wrong parameters in a program whose sum is right.
#[test]
fn other_parameters_are_found() {
    const PARAMETERS: u64 = PARAMETERS_OFFSET as u64;
    let workshop = Workshop::new();
    let (recipe, file) = cd_to_change(&workshop);
    for offset in [
        offset_of!(Parameters, block),
        offset_of!(Parameters, blocks),
    ] {
        let mut bytes = [0; size_of::<Parameters>()];
        file.read_exact_at(&mut bytes, PROGRAM * 2048 + PARAMETERS)
            .unwrap();
        let good = bytes;
        bytes[offset] ^= 1;
        let change = i32::from(bytes[offset]) - i32::from(good[offset]);
        let adjustment = &mut bytes[offset_of!(Parameters, adjustment)..];
        let right = u16::from_le_bytes([adjustment[0], adjustment[1]]).wrapping_sub(change as u16);
        adjustment.copy_from_slice(&right.to_le_bytes());
        file.write_all_at(&bytes, PROGRAM * 2048 + PARAMETERS)
            .unwrap();
        let problems = inspect::inspect(&recipe.output).unwrap().problems;
        assert_eq!(problems.len(), 1, "{offset}: {problems:?}");
        assert!(
            problems[0].starts_with("error 1A"),
            "{offset}: {problems:?}"
        );
        file.write_all_at(&good, PROGRAM * 2048 + PARAMETERS)
            .unwrap();
    }
}

/// A volume that says it is longer than the image; and one without a descriptor is only a disk.
#[test]
fn other_volume_descriptors() {
    let workshop = Workshop::new();
    let (recipe, file) = cd_to_change(&workshop);
    file.write_all_at(&[0, 0, 0, 1, 1, 0, 0, 0], 16 * 2048 + 80)
        .unwrap();
    let problems = inspect::inspect(&recipe.output).unwrap().problems;
    assert!(problems[0].contains("more than the image"), "{problems:?}");
    // Without a volume descriptor it is only a disk.
    file.write_all_at(&[0; 2048], 16 * 2048).unwrap();
    let inspection = inspect::inspect(&recipe.output).unwrap();
    assert!(inspection.cd.is_none() && inspection.problems.is_empty());
}

/// What a program of the host says of the image; `None` if it is not installed.
fn said_by(program: &str, arguments: &[&str]) -> Option<String> {
    match Command::new(program).args(arguments).output() {
        Ok(output) => {
            assert!(output.status.success(), "{program}: {output:?}");
            Some(String::from_utf8_lossy(&output.stdout).into_owned())
        }
        Err(_) => {
            eprintln!("left out: {program} is not installed");
            None
        }
    }
}

#[test]
fn tools_of_others_find_a_volume_and_a_partition_table() {
    let workshop = Workshop::new();
    let recipe = cd(&workshop);
    build(&recipe);
    let image = recipe.output.to_str().unwrap();
    let report = ["-report_el_torito", "plain", "-report_system_area", "plain"];
    let xorriso = [&["-indev", image][..], &report].concat();
    for (program, arguments, parts) in [
        (
            "blkid",
            &["--probe", image][..],
            &[
                "TYPE=\"iso9660\"",
                "LABEL=\"BOOTPATH\"",
                "BOOT_SYSTEM_ID=\"EL TORITO SPECIFICATION\"",
                "PTTYPE=\"dos\"",
            ][..],
        ),
        (
            "sfdisk",
            &["--dump", image],
            &["start=        2048", "type=c, bootable"],
        ),
        (
            "xorriso",
            &xorriso,
            &[
                "BIOS  y   none  0x0000  0x00      4          23",
                "MBR partition path :   1  /BOOTPATH.IMG",
            ],
        ),
    ] {
        if let Some(text) = said_by(program, arguments) {
            for part in parts {
                assert!(text.contains(part), "{program}: no {part:?} in {text}");
            }
        }
    }
}
