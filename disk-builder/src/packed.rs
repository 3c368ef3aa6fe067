//! Compressed kernels and modules, unpacked by the loader's own code.

use std::borrow::Cow;

use stage2::gzip::{self, Decompressor, GzipError};

/// What the loader makes of a kernel or a module: the same bytes, or what was compressed in them.
pub(crate) fn unpacked(bytes: &[u8]) -> Result<Cow<'_, [u8]>, GzipError> {
    if !gzip::is_gzip(bytes) {
        return Ok(bytes.into());
    }
    let needed = gzip::unpacked_length(bytes)?;
    let room = usize::try_from(needed).map_err(|_| GzipError::Room { needed })?;
    let mut out = vec![0; room];
    gzip::unpack(bytes, &mut out, &mut Decompressor::new(), crc32fast::hash)?;
    Ok(out.into())
}

/// How long the file says that it is unpacked; `None`: it is not compressed.
pub(crate) fn unpacked_length(bytes: &[u8]) -> Option<u64> {
    gzip::is_gzip(bytes).then(|| gzip::unpacked_length(bytes).unwrap_or(0))
}
