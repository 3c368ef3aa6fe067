//! A PC in the host's memory, on which the boot path runs up to the jump: a BIOS over a disk image,
//! and physical memory that knows what was allocated.
//!
//! Tests, the fuzzer and `disk-builder` run the real boot path on it. It checks each access of the
//! path: handing out a range twice, a range that is not RAM, or a page table that is not one,
//! panics here, where a PC would go on with somebody else's memory.

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
