//! What 16-bit code needs at any time, in the steps before long mode and in BIOS calls: its
//! variables, the report of a failure, exceptions.

pub mod findings;
pub mod report;
pub mod exceptions;
