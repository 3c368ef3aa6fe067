//! What a machine's firmware says, or another loader.

pub mod memory_map;
pub mod multiboot_information;
pub mod vbe;
