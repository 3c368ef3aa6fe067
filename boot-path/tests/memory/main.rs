//! The memory map.

mod map;
mod sources;
