//! Where the loader lies in memory, and what else there is.

pub mod address;
pub mod layout;
pub mod map;
pub mod ram;
pub mod placement;
