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
    /// The disk failed.
    Disk(DiskError),
    /// The disk's logical sectors, which have this many bytes, do not fit into a window of the
    /// [`Cache`](crate::disk::fat::Cache).
    SectorSize(usize),
    /// The sector where the boot sector should be has an impossible value.
    NotFat {
        /// Where it begins.
        offset: DiskOffset,
        /// The value.
        refusal: Refusal,
    },
    /// The volume holds something other than FAT.
    Foreign(Foreign),
    /// A file or directory starts at this cluster, which does not exist.
    FirstCluster(u32),
    /// A chain leads from `cluster` to `link`, which is not a data cluster (0: a free one).
    Link {
        /// The cluster whose FAT entry is wrong.
        cluster: u32,
        /// The value of the entry.
        link: u32,
    },
    /// The chain that starts at this cluster is too short for the file's size.
    ChainShort(u32),
    /// The chain that starts at this cluster does not end behind the file's end, or where a
    /// directory of the largest size ends; it may be a ring. Or the directories of a path up to
    /// this one have more entries together than the largest directory may have.
    ChainLong(u32),
    /// A file has more bytes than the volume.
    FileSize(u64),
    /// A read was requested behind the end of the file.
    BehindFile {
        /// The end of the requested range.
        end: u64,
        /// The size of the file.
        size: u64,
    },
}

/// A value of the boot sector that is impossible in a FAT volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The field.
    pub field: Field,
    /// Its value.
    pub value: u32,
}

/// A field of the boot sector, or a value computed from several fields.
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
