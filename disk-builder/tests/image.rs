//! Images are what they should be, by the loader's own reader and by tools of others.

mod support;

use std::fs::{self, File};
use std::io::{Cursor, Read as _};
use std::process::Command;

use disk_builder::Road;
use disk_builder::image::{Entry, Extra, Module, Recipe};
use disk_builder::inspect::{self, Checksum, Sectors};
use disk_layout::{Mbr, PARTITION_LBA, ParameterBlock, Stage2Header, manifest, mbr, stage2};
use support::{Load, Workshop, build, elf, kernel, noise, refusal, sectors, stage1};
use zerocopy::FromBytes as _;

/// The partition of an image, for `fatfs`.
fn partition(recipe: &Recipe) -> Cursor<Vec<u8>> {
    let mut bytes = fs::read(&recipe.output).unwrap();
    Cursor::new(bytes.split_off(PARTITION_LBA as usize * 512))
}

fn with_everything(workshop: &Workshop) -> Recipe {
    let mut recipe = workshop.recipe(&kernel(300_000));
    recipe.command_line = "exit  verbose=1 ünïcode".into();
    let first = workshop.file("first module.bin", &noise(70_000));
    let second = workshop.file("empty", b"");
    recipe.modules = vec![
        Module {
            file: first.clone(),
            string: "the first = one".into(),
        },
        Module {
            file: second,
            string: String::new(),
        },
        Module {
            file: first,
            string: "again".into(),
        },
    ];
    recipe
}

#[test]
fn the_mbr_holds_stage1_and_one_active_partition() {
    let workshop = Workshop::new();
    let recipe = workshop.recipe(&kernel(1000));
    let built = build(&recipe);
    assert_eq!(built.stage1_bytes, 0x5A + 100 + size_of::<ParameterBlock>());

    let sector = sectors(&recipe.output, 0, 1);
    let header = Mbr::read_from_bytes(&sector).unwrap();
    assert_eq!(header.signature.get(), mbr::BOOT_SIGNATURE);
    assert_ne!(header.disk_signature.get(), 0);
    assert_eq!(header.code[..3], [0xEB, 0x58, 0x90]);
    assert_eq!(header.code[0x5A..0x5A + 100], [0xF4; 100]);
    let parameters =
        ParameterBlock::read_from_bytes(&header.code[mbr::PARAMETER_BLOCK_OFFSET..]).unwrap();
    assert_eq!((parameters.lba.get(), parameters.sectors.get()), (1, 128));

    let image_sectors = fs::metadata(&recipe.output).unwrap().len() / 512;
    let [first, rest @ ..] = header.partitions;
    assert_eq!((first.status, first.kind), (0x80, 0x0C));
    assert_eq!(first.first_lba.get(), PARTITION_LBA);
    assert!(u64::from(PARTITION_LBA + first.sectors.get()) <= image_sectors);
    // Cylinder 0, head 32, sector 33; and the last sector of a cylinder.
    assert_eq!(first.first_chs, [32, 33, 0]);
    assert_eq!((first.last_chs[0], first.last_chs[1] & 63), (254, 63));
    let cylinder = u32::from(first.last_chs[1] & 0xC0) << 2 | u32::from(first.last_chs[2]);
    assert_eq!(
        (cylinder + 1) * 255 * 63,
        PARTITION_LBA + first.sectors.get()
    );
    assert!(
        rest.iter()
            .all(|entry| entry.kind == 0 && entry.status == 0)
    );

    let mut file = File::open(&recipe.output).unwrap();
    let read = mbrman::MBR::read_from(&mut file, 512).unwrap();
    assert_eq!(read.iter().filter(|(_, p)| p.is_used()).count(), 1);
    assert!(read[1].is_active());

    // A geometry for BIOSes that look for one, but nothing that anybody takes for a FAT volume.
    assert_eq!(sector[0x0B..0x0D], 512u16.to_le_bytes());
    assert_eq!(sector[0x18..0x1C], [63, 0, 255, 0]);
    assert!(!::boot_path::disk::fat::is_boot_sector(&sector));
    assert_eq!(sector[0x0E..0x11], [0; 3]);
}

#[test]
fn large_disks_end_with_the_largest_chs() {
    let workshop = Workshop::new();
    let mut recipe = workshop.recipe(&kernel(1000));
    recipe.size_mib = Some(9000);
    build(&recipe);
    let header = Mbr::read_from_bytes(&sectors_of_large(&recipe)).unwrap();
    assert_eq!(header.partitions[0].last_chs, [254, 0xC0 | 63, 0xFF]);
}

/// LBA 0 without reading all the rest.
fn sectors_of_large(recipe: &Recipe) -> [u8; 512] {
    let mut sector = [0; 512];
    File::open(&recipe.output)
        .unwrap()
        .read_exact(&mut sector)
        .unwrap();
    sector
}

#[test]
fn stage2_is_padded_and_its_header_filled() {
    let workshop = Workshop::new();
    for (road, byte, record, used, length) in [
        (Road::Protected, 0, false, 5000, 65_536),
        (Road::Direct, 1, true, 70_000, 70_144),
    ] {
        workshop.file("stage2", &support::stage2(used));
        let recipe = Recipe {
            road,
            record,
            checksums: false,
            ..workshop.recipe(&kernel(1000))
        };
        let built = build(&recipe);
        assert_eq!(built.stage2_bytes, used);
        let bytes = sectors(&recipe.output, 1, length as u64 / 512);
        let (header, _) = Stage2Header::ref_from_prefix(&bytes).unwrap();
        assert_eq!(header.magic, stage2::MAGIC);
        assert_eq!(header.length.get() as usize, length);
        assert_eq!(header.version.get(), stage2::VERSION);
        assert_eq!((header.road, header.record), (byte, record.into()));
        assert_eq!(header.manifest.get(), 0);
        assert_eq!((header.error, header.rest), ([0; 4], [0; 4]));
        assert_eq!(header.crc32c.get(), crc32c(&bytes[stage2::CRC_START..]));
        // As stage1 computes it, over one segment.
        let sum = bytes[..0x1_0000]
            .as_chunks()
            .0
            .iter()
            .fold(0_u32, |sum, &doubleword| {
                sum.rotate_left(1)
                    .wrapping_add(u32::from_le_bytes(doubleword))
            });
        assert_eq!(sum, 1);
        let mbr = sectors(&recipe.output, 0, 1);
        let code = mbr[mbr::CHECKED].as_chunks().0.iter();
        let words = code.map(|&word| u16::from_le_bytes(word));
        assert_eq!(words.fold(0, u16::wrapping_add), 0);
        assert_eq!(bytes[32..used], noise(used)[32..]);
        assert!(bytes[used..].iter().all(|&byte| byte == 0));
        let behind = 1 + length as u64 / 512;
        assert_eq!(sectors(&recipe.output, behind, 1), [0; 512]);
    }
}

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
    assert_eq!(built.stage2_bytes, 5000 + 8 + 5 * 20);
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
        // What is in no path says by which protocol it is loaded.
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
        assert_eq!(entry.size.get() as usize, size, "{path}");
    }

    // And the files bear the stamps: root directory, /boot, /boot/modules.
    let volume = built.inspection.volume.as_ref().unwrap();
    let cluster = u64::from(volume.cluster) / 512;
    let boot = stamps(&recipe, volume.data.lba + cluster);
    let modules = stamps(&recipe, volume.data.lba + 2 * cluster);
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
    // What has no checksum has the first moment there is.
    assert_eq!(stamp_of(&boot, "MODULES"), 0x21_0000);
}

/// CRC-32C, bit by bit.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| match crc & 1 {
            0 => crc >> 1,
            _ => crc >> 1 ^ 0x82F6_3B78,
        })
    })
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

#[test]
fn files_are_there_for_others_too_and_lie_in_one_piece_each() {
    let workshop = Workshop::new();
    for size in [None, Some(2), Some(20), Some(50), Some(270)] {
        let recipe = Recipe {
            size_mib: size,
            ..with_everything(&workshop)
        };
        let inspection = build(&recipe).inspection;
        assert_eq!(inspection.problems, [""; 0]);
        let again = inspect::inspect(&recipe.output).unwrap();
        assert_eq!(format!("{inspection}"), format!("{again}"));

        let paths: Vec<_> = inspection
            .files
            .iter()
            .map(|file| file.path.as_str())
            .collect();
        assert_eq!(
            paths,
            [
                "/boot/kernel.conf",
                "/boot/kernel.elf",
                "/boot/modules/first_module.bin",
                "/boot/modules/empty",
                "/boot/modules/2-first_module.bin",
            ]
        );
        assert_eq!(
            inspection.command_line.as_deref(),
            Some("exit  verbose=1 ünïcode")
        );
        let volume = inspection.volume.as_ref().unwrap();
        let mut behind = volume.data.lba;
        for file in &inspection.files {
            assert!(
                file.extents.len() <= 1,
                "{size:?}: {} is fragmented",
                file.path
            );
            for extent in &file.extents {
                assert!(
                    extent.lba >= behind,
                    "{size:?}: {} is out of order",
                    file.path
                );
                behind = extent.lba + extent.sectors;
            }
        }
        // Root directory, /boot, /boot/modules, the configuration and the kernel's head.
        let head = inspection.file("/boot/kernel.elf").unwrap().extents[0].lba;
        assert!(head - volume.data.lba <= 5 * u64::from(volume.cluster) / 512);

        let fs = fatfs::FileSystem::new(partition(&recipe), fatfs::FsOptions::new()).unwrap();
        let bits = match fs.fat_type() {
            fatfs::FatType::Fat12 => 12,
            fatfs::FatType::Fat16 => 16,
            fatfs::FatType::Fat32 => 32,
        };
        assert_eq!(bits, volume.fat_bits);
        assert_eq!(fs.cluster_size(), volume.cluster);
        for entry in fs
            .root_dir()
            .open_dir("boot")
            .unwrap()
            .iter()
            .map(Result::unwrap)
        {
            let (date, created) = (entry.modified().date, entry.created().date);
            assert_eq!((date.year, created.year), (1980, 1980));
            assert_eq!((created.month, created.day), (1, 1));
        }
        let stats = fs.stats().unwrap();
        assert_eq!(stats.total_clusters(), volume.clusters);
        let read = |path: &str| {
            let mut bytes = Vec::new();
            fs.root_dir()
                .open_file(path)
                .unwrap()
                .read_to_end(&mut bytes)
                .unwrap();
            bytes
        };
        assert!(read("boot/kernel.elf") == kernel(300_000));
        assert!(read("boot/modules/first_module.bin") == noise(70_000));
        assert!(read("boot/modules/2-first_module.bin") == noise(70_000));
        assert!(read("boot/modules/empty").is_empty());
        assert_eq!(
            String::from_utf8(read("boot/kernel.conf")).unwrap(),
            "options exit  verbose=1 ünïcode\n\
             module /boot/modules/first_module.bin the first = one\n\
             module /boot/modules/empty\n\
             module /boot/modules/2-first_module.bin again\n"
        );
    }
}

#[test]
fn the_extents_are_where_the_bytes_are() {
    let workshop = Workshop::new();
    let recipe = workshop.recipe(&kernel(300_000));
    let inspection = build(&recipe).inspection;
    let image = fs::read(&recipe.output).unwrap();
    let at = |place: Sectors| &image[place.lba as usize * 512..][..place.sectors as usize * 512];
    let file = inspection.file("/boot/kernel.elf").unwrap();
    assert!(at(file.extents[0]).starts_with(&kernel(300_000)));

    let kernel = inspection.booted.kernel.unwrap();
    assert_eq!(kernel.entry, support::KERNEL_VMA);
    let [text, data] = kernel.segments.as_slice() else {
        panic!("{:?}", kernel.segments)
    };
    assert_eq!(
        (text.flags, text.file_offset, text.file_size),
        (5, 4096, 300_000)
    );
    assert_eq!(at(text.extents[0])[..300_000], noise(300_000));
    assert_eq!(
        (data.flags, data.file_size, data.memory_size),
        (6, 4, 10_004)
    );
    assert_eq!(at(data.extents[0])[..4], *b"data");
    assert_eq!(data.extents[0].sectors, 1);
    assert!(
        inspection
            .files
            .iter()
            .all(|file| file.path != "/boot/kernel.conf")
    );
}

#[test]
fn the_boot_sector_of_the_partition_knows_where_it_is() {
    let workshop = Workshop::new();
    for (size, copies, id) in [(None, [0, 6].as_slice(), 0x43), (Some(10), &[0], 0x27)] {
        let recipe = Recipe {
            size_mib: size,
            ..workshop.recipe(&kernel(1000))
        };
        let signature = build(&recipe).inspection.disk_signature;
        for copy in copies {
            let sector = sectors(&recipe.output, u64::from(PARTITION_LBA) + copy, 1);
            assert_eq!(sector[0x1C..0x20], PARTITION_LBA.to_le_bytes());
            assert_eq!(sector[id..id + 4], signature.to_le_bytes());
            assert_eq!(sector[0x18..0x1C], [63, 0, 255, 0]);
        }
    }
}

/// A program of the host that checks the work; left out where it is not installed, but not in CI.
fn check_with(program: &str, arguments: &[&str], recipe: &Recipe) -> Option<String> {
    let output = Command::new(program)
        .args(arguments)
        .arg(&recipe.output)
        .output();
    match output {
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(output.status.success(), "{program}: {text}");
            Some(text)
        }
        Err(error) => {
            assert!(std::env::var_os("CI").is_none(), "{program}: {error}");
            eprintln!("left out: {program} is not installed");
            None
        }
    }
}

#[test]
fn fsck_finds_nothing_to_repair() {
    let workshop = Workshop::new();
    for size in [
        None,
        Some(2),
        Some(5),
        Some(20),
        Some(33),
        Some(34),
        Some(50),
        Some(600),
    ] {
        let mut recipe = Recipe {
            size_mib: size,
            ..with_everything(&workshop)
        };
        build(&recipe);
        let bytes = partition(&recipe).into_inner();
        recipe.output = workshop.file("partition.img", &bytes);
        if let Some(text) = check_with("fsck.fat", &["-n", "-v"], &recipe) {
            // What it would repair, it says between the geometry and the summary.
            let (_, behind) = text.split_once("sectors total\n").unwrap();
            let said = behind
                .trim()
                .lines()
                .filter(|line| !line.starts_with("Checking "));
            assert_eq!(said.count(), 1, "{size:?}: {behind}");
        }
    }
}

#[test]
fn partition_tools_find_a_partition_table_and_no_file_system_in_lba_0() {
    let workshop = Workshop::new();
    let recipe = workshop.recipe(&kernel(1000));
    build(&recipe);
    if let Some(text) = check_with("sfdisk", &["--dump"], &recipe) {
        let line = text.lines().find(|line| line.contains("start=")).unwrap();
        assert!(
            line.contains("start=        2048") && line.contains("type=c"),
            "{text}"
        );
        assert!(line.contains("bootable"), "{text}");
    }
    if let Some(text) = check_with("blkid", &["--probe"], &recipe) {
        assert!(
            text.contains("PTTYPE=\"dos\"") && !text.contains("vfat"),
            "{text}"
        );
    }
}

#[cfg(unix)]
#[test]
fn zeros_take_no_room_on_the_host() {
    use std::os::unix::fs::MetadataExt as _;

    let workshop = Workshop::new();
    let mut file = kernel(100_000);
    file.resize(40 << 20, 0); // behind the segments: as if there was debug information
    let recipe = workshop.recipe(&file);
    build(&recipe);
    let data = fs::metadata(&recipe.output).unwrap();
    assert!(data.len() > 256 << 20);
    assert!(data.blocks() * 512 < 1 << 20, "{} blocks", data.blocks());
    assert_eq!(data.mode() & 0o111, 0);
    // Like any new file of this user.
    let usual = fs::metadata(workshop.file("usual", b"")).unwrap().mode();
    assert_eq!(data.mode(), usual);
}

#[test]
fn a_large_kernel_has_a_short_chain() {
    let workshop = Workshop::new();
    let recipe = workshop.recipe(&kernel(40 << 20));
    let inspection = build(&recipe).inspection;
    assert_eq!(inspection.volume.as_ref().unwrap().cluster, 4096);
    assert_eq!(inspection.volume.as_ref().unwrap().data.lba % 8, 0);
    assert_eq!(
        inspection.file("/boot/kernel.elf").unwrap().extents.len(),
        1
    );
}

/// A flat file with a header of Multiboot 1: flags, and the address of the entry point.
fn multiboot_kernel(flags: u32, entry: u32) -> Vec<u8> {
    const MAGIC: u32 = 0x1BAD_B002;
    let sum = MAGIC.wrapping_add(flags);
    let words = [
        MAGIC,
        flags,
        sum.wrapping_neg(),
        0x10_0000,
        0x10_0000,
        0,
        0x10_2000,
        entry,
    ];
    let mut file: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    file.resize(100, 0xF4);
    file
}

#[test]
fn kernels_for_multiboot_are_taken_and_shown() {
    let workshop = Workshop::new();
    let recipe = workshop.recipe(&multiboot_kernel(1 << 16, 0x10_0020));
    let inspection = build(&recipe).inspection;
    assert_eq!(inspection.booted.protocol, Some("multiboot1"));
    assert!(inspection.booted.kernel.is_none());
    let text = inspection.to_string();
    let shown = "kernel: Multiboot 1, header at 0x0 of the file, entry 0x100020\n  \
                 0x00100000       8192 bytes,        100 from the file at 0x0\n";
    assert!(text.contains(shown), "{text}");
    let refused = |bytes: &[u8]| refusal(&workshop.recipe(bytes));
    let error = refused(&multiboot_kernel(1 << 16 | 8, 0x10_0020));
    assert!(
        error.contains("error 10T: ") && error.contains("flags 0x8"),
        "{error}"
    );
    let error = refused(&multiboot_kernel(1 << 16, 0x10_2000));
    assert!(error.contains("error 10J: "), "{error}");
    let error = refused(&multiboot_kernel(1 << 16, 0x10_0020)[..30]);
    assert!(error.contains("error 10S: "), "{error}");
}

#[test]
fn what_the_loader_would_refuse_is_refused_in_its_words() {
    let workshop = Workshop::new();
    let refused = |bytes: &[u8]| refusal(&workshop.recipe(bytes));
    assert!(refused(b"#!/bin/sh").contains("error 10A: the kernel is not an ELF file"));
    let mut bytes = kernel(1000);
    bytes[18] = 3;
    assert!(refused(&bytes).contains("error 10C: the kernel is not for x86-64"));
    let writable = elf(0x40_0000, &[Load(0x40_0000, 7, &[0; 10], 0)]);
    assert!(refused(&writable).contains("error 10K"));
    assert!(refused(&kernel(9000)[..8000]).contains("error 10E"));
    assert_eq!(
        workshop.names(),
        ["kernel.elf", "stage1", "stage1-cd", "stage2"]
    );

    // But it can be had, for those who want to see the loader's face.
    let recipe = Recipe {
        unchecked: true,
        ..workshop.recipe(b"#!/bin/sh")
    };
    let problems = build(&recipe).inspection.problems;
    assert_eq!(problems.len(), 1);
    assert!(problems[0].starts_with("error 10A"), "{problems:?}");
}

#[test]
fn what_is_missing_is_named() {
    let workshop = Workshop::new();
    let recipe = workshop.recipe(&kernel(1000));
    let missing = |change: fn(&mut Recipe)| {
        let mut recipe = recipe.clone();
        change(&mut recipe);
        refusal(&recipe)
    };
    assert!(missing(|r| r.kernel = "/no/such/kernel".into()).contains("/no/such/kernel"));
    let message = missing(|r| {
        r.modules = vec![Module {
            file: "/no/such/module".into(),
            string: String::new(),
        }];
    });
    assert!(message.contains("/no/such/module"), "{message}");
    assert!(missing(|r| r.stages.stage1 = "/no/stage1".into()).contains("/no/stage1"));
    assert!(missing(|r| r.stages.stage2 = "/no/stage2".into()).contains("/no/stage2"));
    assert!(missing(|r| r.output = "/no/such/directory/disk.img".into()).contains("disk.img"));
    assert!(missing(|r| r.output = "/dev/null".into()).contains("a character device"));
    assert!(missing(|r| r.kernel = "/".into()).contains("/ is a directory, not a file"));
}

#[test]
fn a_failure_leaves_the_old_image_alone() {
    let workshop = Workshop::new();
    let recipe = workshop.recipe(&kernel(1000));
    build(&recipe);
    let before = fs::read(&recipe.output).unwrap();
    let too_small = Recipe {
        size_mib: Some(3),
        ..workshop.recipe(&kernel(3 << 20))
    };
    let message = refusal(&too_small);
    assert_eq!(
        message,
        "the image is too small: 3 MiB, but 5 MiB are needed"
    );
    assert!(before == fs::read(&recipe.output).unwrap());
    assert_eq!(
        workshop.names(),
        ["disk.img", "kernel.elf", "stage1", "stage1-cd", "stage2"]
    );
    build(&Recipe {
        size_mib: Some(5),
        ..too_small
    });
}

#[cfg(unix)]
#[test]
fn a_symbolic_link_is_followed() {
    let workshop = Workshop::new();
    let target = workshop.file("target.img", b"");
    let link = workshop.path("disk.img");
    std::os::unix::fs::symlink(&target, &link).unwrap();
    build(&workshop.recipe(&kernel(1000)));
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert!(fs::metadata(&target).unwrap().len() > 1 << 20);
}

#[test]
fn words_that_the_configuration_cannot_hold_are_refused() {
    let workshop = Workshop::new();
    let recipe = workshop.recipe(&kernel(1000));
    for line in [
        "two\nlines",
        " blank in front",
        "nul\0",
        "behind\t",
        &"x".repeat(5000),
    ] {
        let message = refusal(&Recipe {
            command_line: line.into(),
            ..recipe.clone()
        });
        assert!(
            message.starts_with("this command line is not possible: "),
            "{message}"
        );
    }
    let module = |string: &str| Module {
        file: workshop.path("stage1"),
        string: string.into(),
    };
    let message = refusal(&Recipe {
        modules: vec![module("a\rb")],
        ..recipe.clone()
    });
    assert!(
        message.starts_with("the text of module stage1 is not possible"),
        "{message}"
    );

    let modules = vec![module("x"); 32];
    let many = build(&Recipe {
        modules: modules.clone(),
        ..recipe.clone()
    });
    assert_eq!(many.inspection.files.len(), 34);
    let modules = [modules, vec![module("")]].concat();
    let message = refusal(&Recipe {
        modules,
        ..recipe.clone()
    });
    assert_eq!(message, "33 modules are too many: at most 32 are possible");
    let modules = vec![module(&"x".repeat(4000)); 5];
    assert!(refusal(&Recipe { modules, ..recipe }).starts_with("error 9C"));
}

#[test]
fn stages_that_cannot_work_are_refused() {
    let workshop = Workshop::new();
    let mut recipe = workshop.recipe(&kernel(1000));
    let with_stage1 = |bytes: &[u8]| {
        workshop.file("stage1", bytes);
        refusal(&recipe)
    };
    let base = u64::from(mbr::LOAD_ADDRESS);
    let raw = |bytes: &[u8]| elf(base, &[Load(base, 7, bytes, 0)]);
    assert!(with_stage1(&stage1(&[0x90; 348])).contains("parameter block"));
    assert!(with_stage1(&stage1(&[0x90; 351])).contains("more than 440 bytes"));
    assert!(with_stage1(&raw(&[0x90; 4])).contains("BPB area"));
    assert!(with_stage1(&raw(&[])).contains("empty"));
    assert!(with_stage1(b"flat").contains("not a 64-bit ELF"));
    let below = elf(base, &[Load(base - 1, 7, &[0xF4], 0)]);
    assert!(with_stage1(&below).contains("below 0x7c00"));
    workshop.file("stage1", &stage1(&[0x90; 344]));
    assert_eq!(build(&recipe).stage1_bytes, 440);

    workshop.file("stage2", &support::stage2(180_225));
    assert!(refusal(&recipe).contains("more than 180224 bytes"));
    workshop.file("stage2", &elf(0, &[Load(0x8000, 7, &[1; 100], 0)]));
    assert!(refusal(&recipe).contains("header"));
    workshop.file("stage2", &support::stage2(180_210));
    assert!(refusal(&recipe).contains("no room for the manifest"));
    recipe.checksums = false;
    workshop.file("stage2", &support::stage2(180_224));
    assert_eq!(
        build(&recipe).inspection.stage2.unwrap().place,
        Sectors {
            lba: 1,
            sectors: 352
        }
    );
}

#[test]
fn many_entries_in_all_kinds_of_volumes() {
    const MANY: usize = 60;
    let workshop = Workshop::new();
    let kernel_path = workshop.file("k.elf", &kernel(20_000));
    let initrd = workshop.file("initrd", &noise(3000));
    let entry = |number: usize| Entry {
        title: Some(format!("Number {number}")),
        command_line: format!("number={number}"),
        modules: vec![Extra::Initrd(initrd.clone())],
        ..Entry::new(
            format!("6a9857a393724b7a981ebb5b8495b9ea-6.{number}.0"),
            &kernel_path,
        )
    };
    for size in [None, Some(2), Some(20), Some(270)] {
        let recipe = Recipe {
            entries: (0..MANY).map(entry).collect(),
            default: Some("*-6.7.0".into()),
            size_mib: size,
            ..Recipe::new("", workshop.path("disk.img"), workshop.stages())
        };
        let inspection = build(&recipe).inspection;
        inspection.verify().unwrap();
        assert_eq!(inspection.warnings, [""; 0]);
        assert_eq!(inspection.command_line.as_deref(), Some("number=7"));
        assert_eq!(
            inspection.booted.kernel.unwrap().segments[0].file_size,
            20_000
        );
        // The newest first.
        let titles = inspection.entries.iter().map(|entry| entry.title.clone());
        let expected = (0..MANY)
            .rev()
            .map(|number| Some(format!("Number {number}")));
        assert!(titles.eq(expected));
        // Once each, in one piece, behind what names them.
        assert_eq!(inspection.files.len(), MANY + 3);
        assert!(inspection.files.iter().all(|file| file.extents.len() == 1));
        let good = Some(Checksum::Good);
        assert!(inspection.files.iter().all(|file| file.checksum == good));
        let lba = |path: &str| {
            let file = inspection.files.iter().find(|file| file.path == path);
            file.unwrap().extents[0].lba
        };
        let texts = inspection
            .files
            .iter()
            .filter(|file| file.path.starts_with("/loader/"));
        let last = texts.map(|file| file.extents[0].lba).max().unwrap();
        assert!(lba("/loader/loader.conf") < last);
        assert!(last < lba("/boot/kernels/k.elf"));
        assert!(lba("/boot/kernels/k.elf") < lba("/boot/modules/initrd"));

        // Others see the same files.
        let fs = fatfs::FileSystem::new(partition(&recipe), fatfs::FsOptions::new()).unwrap();
        let root = fs.root_dir();
        let entries = root.open_dir("loader/entries").unwrap();
        assert_eq!(entries.iter().map(Result::unwrap).count(), MANY + 2);
        assert_eq!(root.open_dir("boot").unwrap().iter().count(), 4);
    }
}
