//! Which errors were met: all that the path has, by the sources, but for those of a list.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The errors of the path: the type, the enum with its variants, and the file that it is in.
const ERRORS: [(&str, &str, &str); 17] = [
    ("MemoryError", "MemoryError", "bios/int15.rs"),
    ("DiskError", "DiskFailure", "disk/block_device.rs"),
    ("PartitionError", "PartitionError", "disk/partition.rs"),
    ("FatError", "FatError", "disk/fat/error.rs"),
    ("EntryFileError", "EntryFileCause", "entry/entry_file.rs"),
    ("GzipError", "GzipError", "files/gzip.rs"),
    ("Missing", "Role", "files/integrity.rs"),
    ("Damage", "DamageCause", "files/integrity.rs"),
    ("KernelError", "KernelError", "kernel/image/errors.rs"),
    ("PagingError", "PagingError", "paging/page_tables.rs"),
    ("MultibootError", "MultibootError", "ways_in/multiboot.rs"),
    (
        "MemoryConflict",
        "MemoryConflict",
        "ways_out/multiboot/elf/image.rs",
    ),
    (
        "HeaderError",
        "HeaderError",
        "ways_out/multiboot/header/errors.rs",
    ),
    ("LinuxError", "LinuxError", "ways_out/linux/image/errors.rs"),
    ("ChainError", "ChainError", "ways_out/chain/boot_sector.rs"),
    ("LimineError", "LimineError", "ways_out/limine/errors.rs"),
    ("OutOfMemory", "", ""),
];

/// Why an error is not met that a more patient generator would come to.
const NOT_DRAWN: &str = "none of the numbers that are drawn makes it";

/// Those that are not met, and why.
const NOT_MET: [(&str, &str); 41] = [
    (
        "DiskError::NoAnswer",
        "of the machine: a disk that does not answer, or cannot be read",
    ),
    (
        "DiskError::Status",
        "of the machine: a disk that does not answer, or cannot be read",
    ),
    (
        "PartitionError::Disk",
        "of the machine: a disk that does not answer, or cannot be read",
    ),
    (
        "PartitionError::WithinSector",
        "of disks with sectors of 4 KiB",
    ),
    (
        "MemoryError::NoMap",
        "of the machine: its memory, screen, or processors",
    ),
    (
        "MemoryError::NoRoom",
        "of the machine: its memory, screen, or processors",
    ),
    (
        "HeaderError::Graphics",
        "of the machine: its memory, screen, or processors",
    ),
    (
        "LimineError::X2Apic",
        "of the machine: its memory, screen, or processors",
    ),
    (
        "MultibootError::Address",
        "another loader's, and no image's",
    ),
    ("MultibootError::Magic", "another loader's, and no image's"),
    ("MultibootError::Module", "another loader's, and no image's"),
    (
        "MultibootError::NoKernel",
        "another loader's, and no image's",
    ),
    ("MultibootError::Text", "another loader's, and no image's"),
    (
        "MultibootError::TooLong",
        "another loader's, and no image's",
    ),
    (
        "MultibootError::TooManyModules",
        "another loader's, and no image's",
    ),
    (
        "EntryFileError::Console",
        "`loader.conf` may say anything: it is ignored, with a warning",
    ),
    (
        "EntryFileError::Timeout",
        "`loader.conf` may say anything: it is ignored, with a warning",
    ),
    (
        "EntryFileError::NoKernel",
        "entries like that are left out, with a warning",
    ),
    (
        "EntryFileError::TooManyEntries",
        "entries like that are left out, with a warning",
    ),
    (
        "EntryFileError::TooManyFiles",
        "entries like that are left out, with a warning",
    ),
    (
        "EntryFileError::FileTooLong",
        "`kernel.conf` has no room for it on these disks",
    ),
    (
        "EntryFileError::LineTooLong",
        "`kernel.conf` has no room for it on these disks",
    ),
    (
        "PagingError::Unaligned",
        "the kernel's headers are checked first",
    ),
    (
        "PagingError::WritableCode",
        "the kernel's headers are checked first",
    ),
    (
        "PagingError::OutOfMemory",
        "page tables are small, and come before what takes all memory",
    ),
    ("FatError::ChainLong", NOT_DRAWN),
    ("FatError::ChainShort", NOT_DRAWN),
    ("FatError::Disk", NOT_DRAWN),
    ("FatError::FileSize", NOT_DRAWN),
    ("FatError::Foreign", NOT_DRAWN),
    ("FatError::SectorSize", NOT_DRAWN),
    ("KernelError::Conflict", NOT_DRAWN),
    ("KernelError::Duplicate", NOT_DRAWN),
    ("KernelError::ImplicitAddends", NOT_DRAWN),
    ("KernelError::NoteSize", NOT_DRAWN),
    ("KernelError::TableSize", NOT_DRAWN),
    ("LimineError::Markers", NOT_DRAWN),
    ("NoEntry", NOT_DRAWN),
    ("PartitionError::Foreign", NOT_DRAWN),
    (
        "FatError::BehindFile",
        "of a file, no more is read than was measured",
    ),
    (
        "PagingError::OutOfRange",
        "no kernel here maps memory where the address space ends",
    ),
];

/// The names of an enum's variants.
fn variants(name: &str, file: &str) -> Vec<String> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../boot-path/src");
    let source = fs::read_to_string(sources.join(file)).unwrap();
    let start = format!("pub enum {name} {{\n");
    let (_, body) = source
        .split_once(&start)
        .unwrap_or_else(|| panic!("{name}"));
    let (body, _) = body.split_once("\n}").unwrap();
    let lines = body.lines().filter_map(|line| line.strip_prefix("    "));
    let names = lines.filter(|line| line.starts_with(char::is_uppercase));
    let names = names.map(|line| line.split(|c: char| !c.is_alphanumeric()).next());
    names
        .map(|name| name.unwrap_or_default().to_owned())
        .collect()
}

/// Checks that those that were met are all but those of the list.
pub fn check(met: &BTreeSet<String>) {
    let mut all = BTreeSet::from(["NoEntry".to_owned()]);
    for (error, name, file) in ERRORS {
        if name.is_empty() {
            all.insert(error.to_owned());
            continue;
        }
        let variants = variants(name, file);
        assert!(!variants.is_empty(), "{name}");
        all.extend(variants.iter().map(|variant| format!("{error}::{variant}")));
    }
    let listed: BTreeSet<_> = NOT_MET.map(|(name, _)| name.to_owned()).into();
    let unknown: Vec<_> = met.union(&listed).filter(|it| !all.contains(*it)).collect();
    assert!(unknown.is_empty(), "there are no such errors: {unknown:#?}");
    let both: Vec<_> = met.intersection(&listed).collect();
    assert!(both.is_empty(), "they can be met: {both:#?}");
    let known: BTreeSet<_> = met.union(&listed).cloned().collect();
    let missing: Vec<_> = all.difference(&known).collect();
    assert!(missing.is_empty(), "they were not met: {missing:#?}");
    assert!(met.len() >= 85, "only {}", met.len());
}
