//! The loader's own memory, and the rest of the machine's.

pub mod address;
pub mod layout;
pub mod map;
pub mod ram;
pub mod placement;
pub mod list;
