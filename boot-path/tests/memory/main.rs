//! The memory map.

mod lists;
mod map;
mod sources;
