//! Why a file is missing or cannot be read.

use core::fmt;

use disk_layout::parts::Part;

use crate::disk::fat::FatError;
use crate::disk::partition::PartitionError;
use crate::errors::catalogue::{self, Entry, Named};
use crate::files::gzip::GzipError;
use crate::files::integrity::{Damage, Role};
use crate::machine::Machine;

/// A machine whose failures include those of files.
pub trait FileMachine<'m>:
    Machine<
        'm,
        Failure: From<PartitionError>
                     + From<FatError>
                     + From<Missing<'m>>
                     + From<Damage<'m>>
                     + From<GzipError>,
    >
{
}

impl<'m, M> FileMachine<'m> for M where
    M: Machine<
            'm,
            Failure: From<PartitionError>
                         + From<FatError>
                         + From<Missing<'m>>
                         + From<Damage<'m>>
                         + From<GzipError>,
        >
{
}

/// A file that should be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing<'m> {
    /// Its purpose.
    pub role: Role,
    /// Its path.
    pub path: &'m str,
}

impl Named for Missing<'_> {
    fn entry(&self) -> &'static Entry {
        match self.role {
            Role::Text => &catalogue::ENTRY_MISSING,
            Role::Kernel => &catalogue::ENTRY_NO_KERNEL,
            Role::Module => &catalogue::ENTRY_NO_MODULE,
        }
    }

    fn part(&self) -> Option<Part> {
        Some(Part::Texts)
    }
}

impl fmt::Display for Missing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.path)
    }
}

/// Does the failure mean that the volume cannot be read, so that another copy of its structures may
/// help?
pub fn is_of_volume(failure: &dyn Named) -> bool {
    let volume = [
        &catalogue::DISK_READ,
        &catalogue::FAT_NOT_FAT,
        &catalogue::FAT_DAMAGED,
    ];
    // These are in the first part: no other is read to find out.
    failure.part().is_none() && volume.iter().any(|row| row.code == failure.entry().code)
}
