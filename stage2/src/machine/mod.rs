//! The hardware half of all steps.

pub mod header;
pub mod bios;
pub mod calls;
pub mod console;
pub mod failure;
pub mod faults;
pub mod switch;
pub mod physical;
pub mod path;
pub mod variables;
pub mod port;
pub mod instructions;
pub mod mem;
pub mod real_mode;

/// The machine. There is only one, so a value of this type holds nothing; each file here implements
/// its own subject for it.
#[derive(Clone, Copy)]
pub struct Machine;
