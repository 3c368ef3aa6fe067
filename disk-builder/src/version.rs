//! Which program this is, and which loader is in it.

use std::fmt;

/// The version, to be shown.
#[derive(Clone, Copy, Debug)]
pub struct Version {
    /// The programs of the loader as well.
    pub verbose: bool,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "disk-builder {}", env!("CARGO_PKG_VERSION"))?;
        if !self.verbose {
            return Ok(());
        }
        loader(f)
    }
}

/// The programs of the loader, with SHA-256 sums of their ELF files.
#[cfg(feature = "built-in-loader")]
fn loader(f: &mut fmt::Formatter<'_>) -> fmt::Result {
    use sha2::{Digest as _, Sha256};

    use crate::stages::{ElfFile, LOADER, built_in};

    writeln!(f, "contains, with SHA-256:")?;
    for program in LOADER.iter().filter_map(built_in) {
        if let ElfFile::BuiltIn(name, bytes) = program {
            for byte in Sha256::digest(bytes) {
                write!(f, "{byte:02x}")?;
            }
            writeln!(f, "  {name}, {} bytes", bytes.len())?;
        }
    }
    Ok(())
}

/// Where the loader's programs come from.
#[cfg(not(feature = "built-in-loader"))]
fn loader(f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let workspace = crate::stages::workspace();
    writeln!(f, "the loader is built from {}", workspace.display())
}
