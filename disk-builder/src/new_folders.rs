//! Folders that are there only if what goes into them is.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A folder that something goes into, and those above it, as far as they had to be made. They are
/// removed unless they are kept.
#[derive(Debug)]
pub struct NewFolders(Vec<PathBuf>);

impl NewFolders {
    /// Makes the folder and what is missing above it.
    ///
    /// # Errors
    /// Those of the file system. What was made until then is removed.
    pub fn make(path: &Path) -> io::Result<Self> {
        let missing = path
            .ancestors()
            .take_while(|path| !path.as_os_str().is_empty() && !path.exists());
        let missing: Vec<_> = missing.collect();
        let mut made = Self(Vec::new());
        for path in missing.into_iter().rev() {
            match fs::create_dir(path) {
                Ok(()) => made.0.push(path.to_owned()),
                // Somebody else has made it meanwhile, and keeps it.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Ok(made)
    }

    /// From now on, they stay.
    pub fn keep(&mut self) {
        self.0.clear();
    }
}

impl Drop for NewFolders {
    fn drop(&mut self) {
        for path in self.0.iter().rev() {
            // It stays if somebody else has put something into it.
            let _ = fs::remove_dir(path);
        }
    }
}
