//! Disks, and what is on them.

#[path = "../support/disks.rs"]
mod disks;
#[path = "../support/fake_bios/mod.rs"]
mod fake_bios;

mod fat;
mod int13;
mod partition;
mod logical;
mod large_sectors;
mod gpt;
mod probe;
mod stream;
