//! A PC in the host's memory, on which the boot path runs up to the jump: a BIOS over a disk image, and
//! physical memory that knows what was allocated.
//!
//! Tests, the fuzzer and `disk-builder` run the very path that boots on it. Each access of the path is
//! checked: a range that is handed out twice, or that is not RAM, or a page table that is none, is a
//! panic here, where a PC would go on with somebody else's memory.

mod bios;
mod boot;
mod disk;
mod failure;
mod machine;
mod memory;

pub use boot::{Outcome, boot, boot_entry};
pub use disk::{Disk, Image};
pub use failure::Failure;
pub use machine::{Machine, Pc};
pub use memory::{Memory, RAM_END};
