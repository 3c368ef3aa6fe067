//! What to boot: entry files, their order, and the protocol that they name.

pub mod target;
pub mod entry_file;
pub mod writable;
pub mod version;
pub mod entries;
pub mod loader_conf;
pub mod pattern;
pub mod protocol;
pub mod bootable;
pub mod choose;
pub mod attempts;
