//! What can be wrong with a volume.

use core::fmt;

use crate::disk::block_device::DiskError;
use crate::disk::probe::Foreign;
use crate::errors::catalogue::{self, Entry, Named};
use crate::errors::text::facts;
use crate::position::DiskOffset;

/// Why a volume or a file in it cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FatError {
    /// The disk fails.
    Disk(DiskError),
    /// The disk's logical sectors, of so many bytes, do not fit into a window of the [`Cache`](crate::disk::fat::Cache).
    SectorSize(usize),
    /// What should be the boot sector has an impossible value.
    NotFat {
        /// Where it begins.
        offset: DiskOffset,
        /// The value.
        refusal: Refusal,
    },
    /// It is no FAT volume, but this.
    Foreign(Foreign),
    /// A file or directory starts at this cluster, which does not exist.
    FirstCluster(u32),
    /// A chain goes from `cluster` on to `link`, which is no data cluster (0: a free one).
    Link {
        /// The cluster whose FAT entry is wrong.
        cluster: u32,
        /// What the entry says.
        link: u32,
    },
    /// The chain that starts at this cluster is too short for the file's size.
    ChainShort(u32),
    /// The chain that starts at this cluster does not end where the file or the largest possible
    /// directory ends; maybe it is a ring. Or the directory there is one too many for all those on a
    /// path to have as many entries as the largest one.
    ChainLong(u32),
    /// A file has more bytes than the volume.
    FileSize(u64),
    /// Bytes behind the end of the file were asked for.
    BehindFile {
        /// The end of what was asked for.
        end: u64,
        /// The size of the file.
        size: u64,
    },
}

/// A value of the boot sector that no FAT volume has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The field.
    pub field: Field,
    /// What it says.
    pub value: u32,
}

/// A field of the boot sector, or what follows from several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Field {
    Length,
    Signature,
    BytesPerSector,
    SectorsPerCluster,
    ReservedSectors,
    Fats,
    Media,
    RootEntries,
    SectorsPerFat,
    TotalSectors,
    Clusters,
    Version,
    ActiveFat,
    RootCluster,
}

impl From<DiskError> for FatError {
    fn from(error: DiskError) -> Self {
        Self::Disk(error)
    }
}

impl Named for FatError {
    fn entry(&self) -> &'static Entry {
        match self {
            Self::Disk(error) => error.entry(),
            Self::SectorSize(_) | Self::NotFat { .. } => &catalogue::FAT_NOT_FAT,
            Self::Foreign(_) => &catalogue::FAT_FOREIGN,
            _ => &catalogue::FAT_DAMAGED,
        }
    }
}

impl fmt::Display for FatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (text, numbers): (_, &[u64]) = match *self {
            Self::Disk(error) => return error.fmt(f),
            Self::Foreign(foreign) => return foreign.fmt(f),
            Self::SectorSize(bytes) => ("the disk has sectors of # bytes", &[bytes as u64]),
            Self::NotFat { offset, refusal } => {
                facts(f, "byte 0x# of the disk, ", &[offset.as_u64()])?;
                return refusal.fmt(f);
            }
            Self::FirstCluster(cluster) => ("first cluster #", &[cluster.into()]),
            Self::Link { cluster, link } => {
                ("cluster # leads to 0x#", &[cluster.into(), link.into()])
            }
            Self::ChainShort(first) => {
                ("the chain from cluster # on is too short", &[first.into()])
            }
            Self::ChainLong(first) => ("the chain from cluster # on is too long", &[first.into()]),
            Self::FileSize(size) => ("a file of # bytes", &[size]),
            Self::BehindFile { end, size } => ("byte # of a file of # bytes", &[end, size]),
        };
        facts(f, text, numbers)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.field {
            Field::Length => "length",
            Field::Signature => "signature",
            Field::BytesPerSector => "bytes per sector",
            Field::SectorsPerCluster => "sectors per cluster",
            Field::ReservedSectors => "reserved sectors",
            Field::Fats => "number of FATs",
            Field::Media => "media byte",
            Field::RootEntries => "root directory entries",
            Field::SectorsPerFat => "sectors per FAT",
            Field::TotalSectors => "total sectors",
            Field::Clusters => "number of clusters",
            Field::Version => "version",
            Field::ActiveFat => "active FAT",
            Field::RootCluster => "root directory's cluster",
        };
        f.write_str(name)?;
        facts(f, ": #", &[self.value.into()])
    }
}
