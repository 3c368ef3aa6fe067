//! The errors that images were made for: all that the sources of the path have, except those in a
//! list.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context as _, Result, ensure};
use disk_builder::stages::workspace;

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

/// The errors with which no image is refused, and why.
#[rustfmt::skip]
const NOT_MET: [(&str, &str); 23] = [
    ("MemoryError::NoMap", "the BIOS's: it reports no memory"),
    ("MemoryError::NoRoom", "the BIOS's: it reports hardly any memory"),
    ("DiskError::NoAnswer", "the drive's: no image makes a sector unreadable"),
    ("DiskError::Status", "the drive's: no image makes a sector unreadable"),
    ("PartitionError::Disk", "the drive's: of LBA 0 alone (`partition::find`), which every disk has"),
    ("PartitionError::WithinSector", "the drive's: its sectors have more than 512 bytes (`partition::find_in_unit`)"),
    ("FatError::SectorSize", "the drive's: its sectors have less than 512 bytes, or more than a window of the cache (`Cache::fill`)"),
    ("HeaderError::Graphics", "the screen's: there is no graphics mode at all (`Header::check_screen`)"),
    ("LimineError::X2Apic", "the firmware's: it has enabled the x2APIC (`Machine::prepare_first`)"),
    ("MultibootError::Magic", "another Multiboot loader's, which starts `bootpath.elf`: a disk takes no part"),
    ("MultibootError::Address", "another Multiboot loader's, see `Magic`"),
    ("MultibootError::Module", "another Multiboot loader's, see `Magic`"),
    ("MultibootError::NoKernel", "another Multiboot loader's, see `Magic`"),
    ("MultibootError::Text", "another Multiboot loader's, see `Magic`"),
    ("MultibootError::TooLong", "another Multiboot loader's, see `Magic`"),
    ("MultibootError::TooManyModules", "another Multiboot loader's, see `Magic`"),
    ("EntryFileError::Console", "a warning: that line of `loader.conf` is ignored (`LoaderConf::parse`)"),
    ("EntryFileError::Timeout", "a warning: that line of `loader.conf` is ignored (`LoaderConf::parse`)"),
    ("EntryFileError::NoKernel", "a warning: such an entry is left out (`Entries::add`), and `kernel.conf` need not name a kernel"),
    ("LinuxError::EmptyInitrd", "an entry's, if there are others: the next one is booted (`attempts::boot_first`)"),
    ("FatError::BehindFile", "nobody asks for such bytes: the ranges of a file are checked against its size when its headers are read"),
    ("PagingError::Unaligned", "nobody asks for that: `KernelImage::page_ranges` are whole pages, and `Wishes` checks stack and base"),
    ("PagingError::WritableCode", "`KernelImage::check` comes first (10K); Limine's tables allow it"),
];

/// The names of an enum's variants.
fn variants(name: &str, file: &str) -> Result<Vec<String>> {
    let source = fs::read_to_string(workspace().join("boot-path/src").join(file))?;
    let start = format!("pub enum {name} {{\n");
    let body = source.split_once(&start).map(|(_, body)| body);
    let body = body.and_then(|body| Some(body.split_once("\n}")?.0));
    let lines = body
        .with_context(|| format!("no {name} in {file}"))?
        .lines();
    let names = lines.filter_map(|line| line.strip_prefix("    "));
    let names = names.filter(|line| line.starts_with(char::is_uppercase));
    let names = names.map(|line| line.split(|c: char| !c.is_alphanumeric()).next());
    Ok(names
        .map(|name| name.unwrap_or_default().to_owned())
        .collect())
}

/// Checks that there is an image for each error, except those in the list: errors that images were
/// made for, and errors that changed images were refused with.
pub fn check(made: &BTreeSet<String>, drawn: &BTreeSet<String>) -> Result<()> {
    let mut all = BTreeSet::from(["NoEntry", "NoneBoots"].map(str::to_owned));
    for (error, name, file) in ERRORS {
        if name.is_empty() {
            all.insert(error.to_owned());
            continue;
        }
        let variants = variants(name, file)?;
        ensure!(!variants.is_empty(), "{name}");
        all.extend(variants.iter().map(|variant| format!("{error}::{variant}")));
    }
    let listed: BTreeSet<_> = NOT_MET.map(|(name, _)| name.to_owned()).into();
    let met: BTreeSet<_> = made.union(drawn).cloned().collect();
    let unknown: Vec<_> = met.union(&listed).filter(|it| !all.contains(*it)).collect();
    ensure!(unknown.is_empty(), "there are no such errors: {unknown:#?}");
    let both: Vec<_> = met.intersection(&listed).collect();
    ensure!(both.is_empty(), "they can be met: {both:#?}");
    let known: BTreeSet<_> = made.union(&listed).cloned().collect();
    let missing: Vec<_> = all.difference(&known).collect();
    ensure!(
        missing.is_empty(),
        "no image is made for them: {missing:#?}"
    );
    ensure!(made.len() >= 100, "only {}", made.len());
    println!("{} errors met of {}", made.len(), all.len());
    Ok(())
}
