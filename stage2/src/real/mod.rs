//! Steps 2 to 4: real mode.

pub mod real_mode;
pub mod real_mode_faults;
pub mod self_check;
pub mod a20;
pub mod cpu;
pub mod long_mode;
