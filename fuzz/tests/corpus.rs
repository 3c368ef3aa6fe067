//! Every input in the corpus runs through its target.

use std::fs;
use std::path::{Path, PathBuf};

use ::boot_path::ways_out::multiboot::header::{Version, check_file};
use fuzz::targets::{boot_path, gzip, multiboot_information};
use fuzz::{TARGETS, seeds};

/// The most bytes that the inputs may have in all.
const MOST: u64 = 384 * 1024;

fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(target)
}

/// The files of a target's corpus.
fn files(target: &str) -> Vec<PathBuf> {
    let directory = fs::read_dir(corpus(target)).expect("each target has a corpus");
    let mut files: Vec<_> = directory.map(|file| file.expect("a file").path()).collect();
    files.sort();
    files
}

#[test]
fn every_kept_input_keeps_the_promises() {
    let mut bytes = 0;
    for target in TARGETS {
        let files = files(target.name);
        assert!(!files.is_empty());
        for file in files {
            let input = fs::read(&file).expect("it can be read");
            bytes += input.len() as u64;
            let result = std::panic::catch_unwind(|| (target.run)(&input));
            assert!(result.is_ok(), "{}", file.display());
        }
    }
    assert!(bytes <= MOST, "{bytes} bytes: keep fewer, or minimise them");
}

/// The seeds are kept as files, so that `cargo fuzz` finds them; `seeds` makes them.
#[test]
fn the_seeds_are_what_their_source_says() {
    let bless = std::env::var_os("BLESS").is_some_and(|value| value == "1");
    for seed in seeds::all() {
        let path = corpus(seed.target).join(format!("seed-{}", seed.name));
        if bless {
            fs::create_dir_all(corpus(seed.target)).expect("corpus/ can be written to");
            fs::write(&path, &seed.bytes).expect("corpus/ can be written to");
        }
        assert!(
            fs::read(&path).is_ok_and(|bytes| bytes == seed.bytes),
            "{} is not what the seeds say; update it:\n    BLESS=1 cargo test -p fuzz",
            path.display()
        );
    }
}

#[test]
fn every_target_has_a_program() {
    let manifest = include_str!("../Cargo.toml");
    for target in TARGETS {
        let program = format!(
            "name = \"{0}\"\npath = \"fuzz_targets/{0}.rs\"",
            target.name
        );
        assert!(manifest.contains(&program), "{}", target.name);
    }
}

#[test]
fn what_is_good_is_accepted() {
    for seed in seeds::all() {
        let accepts = match seed.target {
            "gzip" => gzip::accepts(&seed.bytes),
            "multiboot_information" => multiboot_information::accepts(&seed.bytes),
            _ => continue,
        };
        assert_eq!(accepts, seed.name.starts_with("good"), "{}", seed.name);
    }
}

/// Good disks boot, bad ones do not. Otherwise the target would test nothing but errors.
#[test]
fn the_boot_path_goes_all_the_way() {
    let expected = |name: &str| match name {
        "page-zero" => "10L",
        "in-the-physical-map" => "11A",
        "not-canonical" => "10I",
        "other-relocation" => "10M",
        "implicit-addends" => "10M",
        "above-4-gib" => "6B",
        "library" => "10O",
        "undefined-symbol" => "10M",
        "overlap" => "10H",
        "writable-code" => "10K",
        "wraps" => "10I",
        "32-bit" => "10B",
        "too-many-headers" => "10F",
        "damaged-mbr" => "7C",
        "damaged-boot-sector" => "8A",
        "damaged-fat" => "8B",
        "raw" => "9A",
        "entry-without-kernel" => "9F",
        _ => "",
    };
    for seed in seeds::all().iter().filter(|s| s.target == "boot_path") {
        let outcome = boot_path::outcome(&seed.bytes);
        if seed.name.starts_with("good") {
            assert_eq!(outcome, Ok(()), "{}", seed.name);
        } else if !seed.name.starts_with("noise") {
            let report = outcome.expect_err(&seed.name);
            let start = format!("error {}: ", expected(&seed.name));
            assert!(report.starts_with(&start), "{}: {report}", seed.name);
        }
    }
}

/// Good kernels are accepted, others are not.
#[test]
fn multiboot_kernels_are_what_they_are_called() {
    for seed in seeds::all() {
        let version = match seed.target {
            "multiboot1" => Version::One,
            "multiboot2" => Version::Two,
            _ => continue,
        };
        if !seed.name.starts_with("noise") {
            let result = check_file(version, &seed.bytes[1..]);
            assert_eq!(
                result.is_ok(),
                seed.name.starts_with("good"),
                "{}",
                seed.name
            );
        }
    }
}
