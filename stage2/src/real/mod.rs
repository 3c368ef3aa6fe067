//! Steps 2 to 4: real mode.

pub mod self_check;
pub mod take_over;
pub mod a20;
pub mod cpu;
pub mod long_mode;
