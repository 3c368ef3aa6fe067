//! What is in an image, as `inspect` tells it.

use boot_path::position::Lba;
use serde::Serialize;

use super::kernels::Booted;
use super::path::Refusal;

/// Sectors that lie side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Sectors {
    /// The first one, counted from the start of the disk in units of 512 bytes.
    pub lba: u64,
    /// How many there are.
    pub sectors: u64,
}

impl Sectors {
    /// Sectors of the image from `first` on, when it is read as a disk with sectors of 512 bytes.
    pub(super) fn new(first: Lba, sectors: u64) -> Self {
        let lba = first.as_u64();
        Self { lba, sectors }
    }
}

/// What is in an image.
#[derive(Clone, Debug, Serialize)]
pub struct Inspection {
    /// Length of the image in bytes.
    pub bytes: u64,
    /// The disk signature in the MBR.
    pub disk_signature: u32,
    /// stage2, where stage1's parameter block says that it is.
    pub stage2: Option<Stage2>,
    /// What makes it a CD as well, if it is one.
    pub cd: Option<Cd>,
    /// The partition that the loader boots from.
    pub partition: Option<Partition>,
    /// The file system in it.
    pub volume: Option<Volume>,
    /// The files that the loader reads, whichever entry is chosen: `kernel.conf` or the entries,
    /// kernels, modules.
    pub files: Vec<FileInfo>,
    /// The boot entries in the order of the loader; none if the loader uses `kernel.conf`.
    pub entries: Vec<EntryInfo>,
    /// How long a loader with a menu offers a choice, in seconds, if `loader.conf` says so;
    /// `u32::MAX`: for ever.
    pub timeout: Option<u32>,
    /// The kernel that is booted.
    #[serde(flatten)]
    pub booted: Booted,
    /// Its command line.
    pub command_line: Option<String>,
    /// What the loader leaves out, or ignores, in its own words.
    pub warnings: Vec<String>,
    /// What the loader refuses, in its own words, and what else is wrong; empty when the image is good.
    pub problems: Vec<String>,
    /// The lines of configuration files that warnings and problems speak of.
    pub lines: Vec<ConfigurationLine>,
    /// The entries that do not boot.
    #[serde(skip)]
    pub(crate) refusals: Vec<Refusal>,
}

/// A line of a configuration file that the loader does not take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConfigurationLine {
    /// The path of the file.
    pub file: String,
    /// The number of the line, from 1.
    pub line: usize,
    /// What stands there.
    pub text: String,
    /// What could stand there, if that is a short list.
    pub hint: Option<String>,
}

/// stage2 and its header.
#[derive(Clone, Debug, Serialize)]
pub struct Stage2 {
    /// Where it lies.
    #[serde(flatten)]
    pub place: Sectors,
    /// Length in bytes, as its header says.
    pub length: u32,
    /// Whether its checksums are right.
    pub verified: bool,
    /// Version of the header.
    pub version: u16,
    /// Its road to long mode.
    pub road: &'static str,
    /// Whether it writes its BIOS calls to the serial line.
    pub record: bool,
    /// What it reads of itself when a boot needs it.
    pub parts: Vec<Part>,
}

/// A part of stage2 that stage1 does not read.
#[derive(Clone, Debug, Serialize)]
pub struct Part {
    /// Its name.
    pub name: &'static str,
    /// Where it lies.
    #[serde(flatten)]
    pub place: Sectors,
    /// Where it goes in memory (physical address).
    pub address: u32,
    /// Whether its checksum is right.
    pub verified: bool,
}

/// ISO 9660 and El Torito.
#[derive(Clone, Debug, Serialize)]
pub struct Cd {
    /// Length of the volume in blocks of 2048 bytes.
    pub blocks: u32,
    /// Its descriptors.
    pub descriptors: Sectors,
    /// The boot catalogue.
    pub catalogue: Sectors,
    /// Path tables and root directory.
    pub directories: Sectors,
    /// The boot program.
    pub program: Sectors,
    /// Whether its sum is right.
    pub verified: bool,
    /// The file in the root directory.
    pub file: Vec<Sectors>,
}

/// The boot partition.
#[derive(Clone, Debug, Serialize)]
pub struct Partition {
    /// Where it lies.
    #[serde(flatten)]
    pub place: Sectors,
    /// Its entry in the table, 1 to 4; from 5 on: a logical partition; 0: the disk has no table.
    pub number: u8,
    /// The type in the table.
    pub kind: u8,
}

/// The file system.
#[derive(Clone, Debug, Serialize)]
pub struct Volume {
    /// 12, 16 or 32.
    pub fat_bits: u8,
    /// Size of a cluster in bytes.
    pub cluster: u32,
    /// How many there are.
    pub clusters: u32,
    /// Boot sector and what else lies in front of the FATs.
    pub reserved: Sectors,
    /// All copies of the FAT.
    pub fats: Sectors,
    /// From the first to the last cluster.
    pub data: Sectors,
}

/// A file in the boot partition.
#[derive(Clone, Debug, Serialize)]
pub struct FileInfo {
    /// Path in the partition.
    pub path: String,
    /// Length in bytes.
    pub size: u64,
    /// Where it lies, in the order of its bytes: the first [`LISTED`] pieces.
    pub extents: Vec<Sectors>,
    /// How many pieces there are.
    pub pieces: u64,
    /// Length in bytes of what the loader unpacks from it; 0 if it cannot; `None`: it is used as it
    /// is.
    pub unpacked: Option<u64>,
    /// The result of comparing it with its checksum; `None`: it has none.
    pub checksum: Option<Checksum>,
}

/// How many pieces of a file are listed: it may have millions.
pub const LISTED: usize = 1000;

/// Where bytes of a file lie.
#[derive(Default)]
pub(super) struct Places {
    /// The first [`LISTED`] pieces, in the order of the bytes.
    pub(super) extents: Vec<Sectors>,
    /// How many pieces there are.
    pub(super) pieces: u64,
    /// Sectors of all of them.
    pub(super) sectors: u64,
}

impl Places {
    /// Adds a piece.
    pub(super) fn add(&mut self, place: Sectors) {
        self.pieces += 1;
        self.sectors += place.sectors;
        if self.extents.len() < LISTED {
            self.extents.push(place);
        }
    }
}

/// Whether a file has the checksum that stage2 expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Checksum {
    /// It has.
    Good,
    /// It has not: the loader would refuse it.
    Wrong,
    /// It is not the file that `disk-builder` wrote, so it is not checked.
    Replaced,
}

/// A boot entry.
#[derive(Clone, Debug, Serialize)]
pub struct EntryInfo {
    /// The name of its file.
    pub name: String,
    /// Whether it is booted when nobody chooses.
    pub is_default: bool,
    /// What a person sees.
    pub title: Option<String>,
    /// The path of the kernel.
    pub kernel: Option<String>,
    /// The protocol that it is booted by, when the entry says so.
    pub protocol: Option<&'static str>,
    /// What is started instead of a kernel.
    pub chain: Option<String>,
    /// The command line; may be empty.
    pub command_line: String,
    /// Modules and initrds.
    pub modules: Vec<String>,
}
