//! What BIOSes say, good BIOSes and bad ones.

#[path = "../support/fake_bios/mod.rs"]
mod fake_bios;

mod acpi;
mod int10_int16;
mod int15;
mod int1a;
mod transcripts;
mod vbe;
mod waiting;
