//! From the sectors of a drive to the bytes of a file in it.

pub mod block_device;
pub mod int13;
pub mod boot_drive;
pub mod probe;
pub mod partition;
pub mod logical;
pub mod gpt;
pub mod fat;
pub mod stream;
