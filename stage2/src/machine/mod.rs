//! What only the machine has, for all steps in long mode.

pub mod bios;
pub mod console;
pub mod faults;
pub mod switch;
pub mod physical;
pub mod path;
pub mod findings;
pub mod global;
pub mod once;
pub mod clock;
pub mod crc;
pub mod mem;
pub mod seed;
pub mod pic;
pub mod processors;
