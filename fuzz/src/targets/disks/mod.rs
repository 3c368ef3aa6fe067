//! What is on a disk: partitions, a FAT volume, stage2's head.

pub mod chain;
pub mod fat;
pub mod mbr;
pub mod stage2_header;
