//! Step 8: files in a FAT12, FAT16 or FAT32 volume, read-only.
//!
//! Source: Microsoft, "FAT: General Overview of On-Disk Format", version 1.03 (short: the
//! specification).
//!
//! Everything is computed in bytes from the start of the disk, because three units meet here that
//! may differ: the disk's logical sectors, the volume's sectors (512 to 4,096 bytes) and its
//! clusters. Small pieces (boot sector, FAT, directories, heads of files) are read through a
//! [`Cache`] of a few large windows, since an INT 13h call costs about the same for one sector as
//! for a hundred. [`stream`](crate::disk::stream) reads large pieces past the cache.

mod error;
mod cache;
mod geometry;
mod volume;
mod chain;
mod directory;
mod name;

pub use cache::Cache;
pub(crate) use cache::{FIRST_READ, LARGE_FILE, Span};
pub use chain::{Extent, ExtentWalker};
pub use directory::{Directory, Listed, NoFile};
pub use error::{FatError, Field, Refusal};
pub use geometry::{is_boot_sector, is_unmarked};
pub use name::FileName;
pub use volume::{BACKUP_SECTOR, Defect, File, View, Volume};
