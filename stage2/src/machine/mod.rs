//! What only the machine has, for all steps.

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

/// The machine. There is one, so a value of this is no more than its name; each of the files here gives
/// it what that is about.
#[derive(Clone, Copy)]
pub struct Machine;
