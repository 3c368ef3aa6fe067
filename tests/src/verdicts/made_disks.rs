//! Disks that are made for one error each, one line for an error, so that the errors that occur do
//! not depend on random numbers.

use std::ops::Range;

use anyhow::{Context as _, Result, ensure};
use boot_path::entry::entry_file::{MAX_FILE, MAX_LINE};

use super::disks::{Base, Change, ENTRIES, FAT12, FAT32, LOGICAL, WITH_CHECKSUMS};

/// A disk for one error.
pub(super) struct Made {
    /// The error; `None`: it boots in spite of the change.
    pub meets: Option<&'static str>,
    /// What was changed.
    pub what: &'static str,
    /// The name of the disk that is changed.
    pub base: &'static str,
    pub change: Change,
}

const KERNEL: &str = "/boot/kernel.elf";
const TEXT: &str = "/boot/kernel.conf";

/// All of them.
pub(super) fn all(bases: &[Base]) -> Result<Vec<Made>> {
    let base = |name| {
        let found = bases.iter().find(|base| base.name == name);
        found.with_context(|| format!("no disk {name}"))
    };
    let mut all = of_partitions(base(FAT12)?)?;
    all.extend(of_chains(base(LOGICAL)?));
    all.extend(of_volumes(base(FAT32)?)?);
    all.extend(of_chains_of_clusters(base(FAT32)?)?);
    all.extend(of_directories(base(FAT32)?)?);
    all.push(long_line(base(FAT32)?)?);
    all.extend(of_checksums(base(WITH_CHECKSUMS)?)?);
    all.extend(of_texts(base(FAT12)?)?);
    all.extend(of_entries(base(ENTRIES)?)?);
    // Only the disk LOGICAL does not boot as it is.
    for good in bases.iter().filter(|base| base.name != LOGICAL) {
        all.push(Made {
            meets: None,
            what: "as it is",
            base: good.name,
            change: Change::default(),
        });
    }
    Ok(all)
}

fn made(base: &Base, meets: &'static str, what: &'static str, bytes: &[(usize, &[u8])]) -> Made {
    let bytes = bytes.iter().map(|&(offset, bytes)| (offset, bytes.into()));
    Made {
        meets: Some(meets),
        what,
        base: base.name,
        change: Change {
            bytes: bytes.collect(),
            length: None,
        },
    }
}

/// Where the partition table is, and the fields of its first entry.
const STATUS: usize = 446;
const KIND: usize = STATUS + 4;
const FIRST_SECTOR: usize = STATUS + 8;
/// The second entry, from its type on.
const SECOND: usize = STATUS + 16 + 4;
const EXTENDED: u8 = 5;
/// It leads to a sector in front of the partition that holds nothing.
const EMPTY_CHAIN: &[u8] = &[EXTENDED, 0, 0, 0, 0xFF, 7, 0, 0, 9];

/// The header of a GPT with one entry, whose place is not filled in, and this entry: LBA 2048,
/// where the partition is.
const GPT: [u8; 92] = {
    let mut header = [0; 92];
    header.split_at_mut(8).0.copy_from_slice(b"EFI PART");
    (header[80], header[84]) = (1, 128);
    header
};
const GPT_ENTRIES: usize = 72;
const GPT_ENTRY: &[u8] = &{
    let mut entry = [0; 48];
    (entry[0], entry[33]) = (1, 8);
    entry
};

/// XFS begins like this.
const FOREIGN: &[u8] = b"XFSB";

#[rustfmt::skip]
fn of_partitions(base: &Base) -> Result<Vec<Made>> {
    const SIGNATURE: usize = 510;
    const LINUX: u8 = 0x83;
    const PROTECTIVE: u8 = 0xEE;

    let start = base.start()?;
    let other = (STATUS, &[0, 0, 0, 0, LINUX][..]);
    // Bytes of a sector: a FAT volume is found whatever the table says.
    let bad = (start + 11, &[0, 1][..]);
    let bad_backup = (backup(base).unwrap_or(start) + 11, &[0, 1][..]);
    let kind = (KIND, &[PROTECTIVE][..]);
    let far = (FIRST_SECTOR, &[0, 0, 0, 1][..]);
    // The copy of a header, in the last sector, and its entries in front of it: clusters that no
    // file has.
    let end = base.bytes.len();
    let mut header = GPT;
    let entries = (end / 512 - 2) as u64;
    header[GPT_ENTRIES..GPT_ENTRIES + 8].copy_from_slice(&entries.to_le_bytes());
    let gpt = [(end - 512, &header[..]), (end - 1024, GPT_ENTRY)];
    Ok(vec![
        made(base, "PartitionError::NoSignature", "no 55 AA", &[(SIGNATURE, &[0; 2])]),
        made(base, "PartitionError::NoEntry", "a partition of Linux", &[other, bad, bad_backup]),
        made(base, "PartitionError::Foreign", "a partition with XFS", &[other, bad, bad_backup, (start, FOREIGN)]),
        made(base, "PartitionError::Chain", "a chain of logical partitions into nothing", &[other, bad, bad_backup, (SECOND, EMPTY_CHAIN)]),
        made(base, "PartitionError::Gpt", "a GPT's entry", &[kind]),
        made(base, "PartitionError::GptFat", "a GPT with a FAT volume", &[kind, gpt[0], gpt[1]]),
        made(base, "PartitionError::BehindEnd", "a partition behind the end", &[far]),
    ])
}

/// Boot sectors of other partitions that are to be started.
#[rustfmt::skip]
fn of_chains(base: &Base) -> Vec<Made> {
    // One behind the end of the disk.
    let empty = (SECOND, EMPTY_CHAIN);
    let far = (SECOND, &[EXTENDED, 0, 0, 0, 0, 0, 0, 9, 9][..]);
    vec![
        made(base, "ChainError::NoPartition", "as it is", &[]),
        made(base, "ChainError::NoSignature", "an empty logical table", &[empty]),
        made(base, "DiskError::OutOfRange", "a logical table behind the end", &[far]),
    ]
}

#[rustfmt::skip]
fn of_volumes(base: &Base) -> Result<Vec<Made>> {
    let start = base.start()?;
    // Bytes of a sector.
    let bad = (start + 11, &[0, 1][..]);
    let mut short = made(base, "FatError::Disk", "an image that is cut off", &[]);
    short.change.length = Some(base.file(KERNEL)?.start);
    Ok(vec![
        made(base, "FatError::NotFat", "sectors of 256 bytes", &[bad, (backup(base)? + 11, &[0, 1])]),
        made(base, "FatError::Foreign", "XFS", &[bad, (start, FOREIGN)]),
        short,
    ])
}

/// Offset of the backup boot sector of FAT32.
fn backup(base: &Base) -> Result<usize> {
    const SECTOR: usize = 6;

    let backup = base.start()? + SECTOR * disk_layout::SECTOR_SIZE;
    ensure!(
        base.bytes[backup + 510..][..2] == [0x55, 0xAA],
        "no backup boot sector"
    );
    Ok(backup)
}

#[rustfmt::skip]
fn of_chains_of_clusters(base: &Base) -> Result<Vec<Made>> {
    const ENTRY: usize = 4;
    const END: [u8; ENTRY] = [0xFF, 0xFF, 0xFF, 0x0F];

    let cluster = base.cluster(KERNEL)?;
    let first = ENTRY * cluster;
    let both = |meets, what, entry: &[u8]| -> Result<Made> {
        let places = base.fats()?.map(|fat| (fat + first, entry));
        Ok(made(base, meets, what, &places))
    };
    Ok(vec![
        both("FatError::Link", "a free cluster in a chain", &[0; ENTRY])?,
        both("FatError::ChainShort", "a chain that is too short", &END)?,
        both("FatError::ChainLong", "a chain that is a ring", &(cluster as u32).to_le_bytes())?,
    ])
}

#[rustfmt::skip]
fn of_directories(base: &Base) -> Result<Vec<Made>> {
    // Fields of a directory entry.
    const CLUSTER: usize = 26;
    const SIZE: usize = 28;

    let kernel = base.directory_entry(KERNEL)?;
    let text = base.directory_entry(TEXT)?;
    let size =
        |meets, what, size: u32| made(base, meets, what, &[(kernel + SIZE, &size.to_le_bytes())]);
    let long = 20_000_u32.to_le_bytes();
    Ok(vec![
        size("FatError::FileSize", "a file of 4 GiB", u32::MAX),
        made(base, "FatError::FirstCluster", "a file in cluster 1", &[(kernel + CLUSTER, &[1, 0])]),
        made(base, "EntryFileError::FileTooLong", "a text of 20,000 bytes", &[(text + SIZE, &long)]),
    ])
}

/// A text with a longer line than `build` would ever write. It lies where the kernel was.
fn long_line(base: &Base) -> Result<Made> {
    // The lower half of the first cluster's number, and the size.
    const CLUSTER_AND_SIZE: Range<usize> = 26..32;

    let [kernel, text] = [base.directory_entry(KERNEL)?, base.directory_entry(TEXT)?];
    let place = CLUSTER_AND_SIZE;
    let of_kernel = &base.bytes[kernel + place.start..kernel + place.end];
    let file = base.file(KERNEL)?;
    ensure!(file.len() > MAX_LINE && file.len() <= MAX_FILE, "{file:?}");
    let line = b"x".repeat(file.len());
    let bytes = [(text + place.start, of_kernel), (file.start, &line)];
    let error = "EntryFileError::LineTooLong";
    Ok(made(base, error, "a long line", &bytes))
}

#[rustfmt::skip]
fn of_checksums(base: &Base) -> Result<Vec<Made>> {
    const NAME: usize = 0;
    const DELETED: u8 = 0xE5;
    const SIZE: usize = 28;

    let kernel = base.file(KERNEL)?;
    let text = base.directory_entry(TEXT)?;
    let entry = base.directory_entry(KERNEL)?;
    let longer = (kernel.len() as u32 + 1).to_le_bytes();
    let byte = !base.bytes[kernel.start + 0x1010];
    Ok(vec![
        made(base, "Damage::Checksum", "a wrong byte", &[(kernel.start + 0x1010, &[byte])]),
        made(base, "Damage::Size", "a byte too many", &[(entry + SIZE, &longer)]),
        made(base, "Missing::Text", "no text", &[(text + NAME, &[DELETED])]),
    ])
}

/// Contents of `kernel.conf`.
#[rustfmt::skip]
fn of_texts(base: &Base) -> Result<Vec<Made>> {
    let file = base.file(TEXT)?;
    let modules = "module a\n".repeat(33);
    let text = |meets, what, text: &[u8]| {
        let mut bytes = text.to_vec();
        bytes.resize(file.len(), b'\n');
        made(base, meets, what, &[(file.start, &bytes)])
    };
    Ok(vec![
        text("Missing::Kernel", "no kernel", b"kernel /none"),
        text("Missing::Module", "no module", b"module /none"),
        text("EntryFileError::NotUtf8", "a text in another code", b"\xFF"),
        text("EntryFileError::Nul", "a zero in a text", b"\0"),
        text("EntryFileError::NoPath", "a kernel without a path", b"kernel"),
        text("EntryFileError::UnknownProtocol", "an unknown protocol", b"protocol none"),
        text("EntryFileError::Chain", "a chain to nothing", b"chain nothing"),
        text("EntryFileError::KernelAndChain", "a kernel and a chain", b"kernel /a\nchain drive=80h"),
        text("EntryFileError::TooManyModules", "33 modules", modules.as_bytes()),
    ])
}

/// Contents of the entries.
#[rustfmt::skip]
fn of_entries(base: &Base) -> Result<Vec<Made>> {
    let [one, two] = ["one", "two"].map(|name| base.file(&format!("/loader/entries/{name}.conf")));
    let files = [one?, two?];
    let both = |meets, what, text: &[u8]| {
        let texts = files.clone().map(|file| {
            let mut bytes = text.to_vec();
            bytes.resize(file.len(), b'\n');
            (file.start, bytes)
        });
        let texts = texts.each_ref().map(|(place, bytes)| (*place, &bytes[..]));
        made(base, meets, what, &texts)
    };
    Ok(vec![
        both("NoEntry", "entries of other machines", b"linux /x\narchitecture aa64"),
        both("NoneBoots", "entries without their kernels", b"linux /none"),
    ])
}
