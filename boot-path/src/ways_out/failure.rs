//! What goes wrong on the ways out.

use crate::disk::block_device::DiskError;
use crate::paging::page_tables::PagingError;
use crate::ways_out::chain::boot_sector::ChainError;
use crate::ways_out::recognise::OpenMachine;

/// A machine whose failures can be those of all ways out.
pub trait OutMachine<'m>:
    OpenMachine<'m, Failure: From<PagingError> + From<ChainError> + From<DiskError>>
{
}

impl<'m, M> OutMachine<'m> for M where
    M: OpenMachine<'m, Failure: From<PagingError> + From<ChainError> + From<DiskError>>
{
}
