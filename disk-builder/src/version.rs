//! Which program this is, and which loader is in it.

use std::fmt;

use crate::stages::{ElfFile, LOADER, built_in, workspace};

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
        let programs = LOADER.iter().filter_map(built_in);
        let mut programs = programs.peekable();
        if programs.peek().is_none() {
            return writeln!(f, "the loader is built from {}", workspace().display());
        }
        writeln!(f, "contains, with SHA-256:")?;
        for program in programs {
            if let ElfFile::BuiltIn(name, bytes) = program {
                writeln!(f, "{}  {name}, {} bytes", hash(bytes), bytes.len())?;
            }
        }
        Ok(())
    }
}

/// SHA-256, in hexadecimal.
#[cfg(feature = "built-in-loader")]
fn hash(bytes: &[u8]) -> String {
    use sha2::{Digest as _, Sha256};

    let bytes = Sha256::digest(bytes);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// No program is part of this one.
#[cfg(not(feature = "built-in-loader"))]
fn hash(_: &[u8]) -> String {
    String::new()
}
