//! A file that holds no more in one piece than the least that is promised.

use boot_path::files::file_bytes::{FileBytes, WINDOW};
use boot_path::position::FileOffset;

pub struct Narrow<'a>(pub &'a [u8]);

impl FileBytes for Narrow<'_> {
    fn size(&self) -> u64 {
        self.0.len() as u64
    }

    fn window(&mut self, offset: FileOffset) -> &[u8] {
        let rest = self.0.get(offset.as_u64() as usize..).unwrap_or_default();
        &rest[..rest.len().min(WINDOW)]
    }
}
