//! What to boot: entry files, their order, and the protocol that they name.

pub mod target;
pub mod entry_file;
pub mod version;
pub mod entries;
pub mod protocol;
pub mod choose;
