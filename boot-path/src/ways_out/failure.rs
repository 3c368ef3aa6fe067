//! Failures of the ways out.

use crate::disk::block_device::DiskError;
use crate::kernel::loading::KernelMachine;
use crate::paging::page_tables::PagingError;
use crate::ways_out::chain::boot_sector::ChainError;
use crate::ways_out::limine::LimineError;
use crate::ways_out::linux::image::LinuxError;
use crate::ways_out::multiboot::elf::MemoryConflict;
use crate::ways_out::multiboot::header::HeaderError;

/// A machine whose failures include those of headers.
pub trait OpenMachine<'m>:
    KernelMachine<
        'm,
        Failure: From<LimineError> + From<HeaderError> + From<MemoryConflict> + From<LinuxError>,
    >
{
}

impl<'m, M> OpenMachine<'m> for M where
    M: KernelMachine<
            'm,
            Failure: From<LimineError>
                         + From<HeaderError>
                         + From<MemoryConflict>
                         + From<LinuxError>,
        >
{
}

/// A machine whose failures include those of all ways out.
pub trait OutMachine<'m>:
    OpenMachine<'m, Failure: From<PagingError> + From<ChainError> + From<DiskError>>
{
}

impl<'m, M> OutMachine<'m> for M where
    M: OpenMachine<'m, Failure: From<PagingError> + From<ChainError> + From<DiskError>>
{
}
