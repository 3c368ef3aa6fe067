//! The memory map.

mod map;
