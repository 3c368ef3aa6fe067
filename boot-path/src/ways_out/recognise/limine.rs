//! Looks for the requests of a Limine kernel.

use core::ops::Range;

use crate::kernel::loading::Loaded;
use crate::ways_out::limine::{LimineError, Requests, scan_into};

/// Finds the requests of a loaded kernel between two offsets in its file. Returns whether there are
/// any; `is_wanted`: there have to be.
///
/// # Errors
/// 10X to 10Z.
#[inline(never)]
pub(super) fn find_requests(
    requests: &mut Requests,
    loaded: &Loaded<'_>,
    place: Range<u64>,
    is_wanted: bool,
) -> Result<bool, LimineError> {
    match scan_into(requests, &loaded.kernel.image, loaded, &place)? {
        false if is_wanted => Err(LimineError::Nothing),
        found => Ok(found),
    }
}
