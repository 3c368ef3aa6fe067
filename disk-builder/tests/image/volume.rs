//! The file system, read by other programs.

use std::fs;
use std::io::Read as _;
use std::process::Command;

use boot_path::entry::entries::MAX_ENTRIES;

use crate::support::{self, Workshop, build, kernel, noise, sectors};
use disk_builder::image::{Entry, Extra, Recipe};
use disk_builder::inspect::{self, Checksum, Inspection, Sectors};
use disk_layout::PARTITION_LBA;

use crate::{partition, with_everything};

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
        check_order(&inspection);
        check_by_fatfs(&recipe, &inspection);
    }
}

/// Files lie in one piece each, in the order in which the loader reads them.
fn check_order(inspection: &Inspection) {
    let volume = inspection.volume.as_ref().unwrap();
    let mut behind = volume.data.lba;
    for file in &inspection.files {
        assert!(file.extents.len() <= 1, "{} is fragmented", file.path);
        for extent in &file.extents {
            assert!(extent.lba >= behind, "{} is out of order", file.path);
            behind = extent.lba + extent.sectors;
        }
    }
    // Root directory, /boot, /boot/modules, the configuration and the kernel's head.
    let head = inspection.file("/boot/kernel.elf").unwrap().extents[0].lba;
    assert!(head - volume.data.lba <= 5 * u64::from(volume.cluster) / 512);
}

/// Another reader finds the same volume and the same files.
fn check_by_fatfs(recipe: &Recipe, inspection: &Inspection) {
    let volume = inspection.volume.as_ref().unwrap();
    let fs = fatfs::FileSystem::new(partition(recipe), fatfs::FsOptions::new()).unwrap();
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
    let large: &[u64] = &[0, 6];
    // Sectors per track and heads.
    for (size, copies, id, tracks) in [
        (None, large, 0x43, [63, 0, 255, 0]),
        (Some(10), &[0], 0x27, [32, 0, 64, 0]),
    ] {
        let recipe = Recipe {
            size_mib: size,
            ..workshop.recipe(&kernel(1000))
        };
        let signature = build(&recipe).inspection.disk_signature;
        for copy in copies {
            let sector = sectors(&recipe.output, u64::from(PARTITION_LBA) + copy, 1);
            assert_eq!(sector[0x1C..0x20], PARTITION_LBA.to_le_bytes());
            assert_eq!(sector[id..id + 4], signature.to_le_bytes());
            assert_eq!(sector[0x18..0x1C], tracks);
        }
    }
}

/// Checks an image with a program of the host. Skipped where that is not installed, except in CI.
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
            // fsck reports repairs between the geometry and the summary.
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
        // The newest first, and the default, as the loader keeps them.
        let titles: Vec<_> = inspection
            .entries
            .iter()
            .map(|entry| entry.title.clone().unwrap())
            .collect();
        let kept = (0..MANY).rev().take(MAX_ENTRIES).chain([7]);
        let expected: Vec<_> = kept.map(|number| format!("Number {number}")).collect();
        assert_eq!(titles, expected);
        // Each file is there once, in one piece, behind the entries that name it.
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
        check_entries_by_fatfs(&recipe);
    }
}

/// Another reader finds the same files.
fn check_entries_by_fatfs(recipe: &Recipe) {
    let fs = fatfs::FileSystem::new(partition(recipe), fatfs::FsOptions::new()).unwrap();
    let root = fs.root_dir();
    let entries = root.open_dir("loader/entries").unwrap();
    assert_eq!(
        entries.iter().map(Result::unwrap).count(),
        recipe.entries.len() + 2
    );
    assert_eq!(root.open_dir("boot").unwrap().iter().count(), 4);
}
