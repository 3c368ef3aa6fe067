//! Builds, inspects and runs Bootpath disk images.
//!
//! - [`host_file`] opens what is read, and [`output`] puts in its place what is written;
//! - [`stages`] builds the bare-metal programs with cargo and makes flat binaries of their ELF files;
//! - [`image`] puts stage1, stage2, kernels and their modules on a disk;
//! - [`inspect`] reads an image back, with the very code that reads it when it boots;
//! - [`run`] boots it in QEMU;
//! - [`transcript`] takes what a recorded BIOS has said out of a log;
//! - [`listing`] disassembles the programs;
//! - [`progress`] is told what takes time;
//! - [`signals`] cleans up when a signal ends the program.

pub mod signals;
pub mod progress;
pub mod host_file;
pub mod output;
pub mod stages;
mod geometry;
mod sparse;
mod cd;
mod manifest;
mod packed;
pub mod image;
pub mod multiboot;
pub mod inspect;
pub mod run;
pub mod transcript;
pub mod listing;
pub mod version;

pub use boot_path::entry::protocol::Protocol;
pub use boot_path::entry::target::Target;
pub use disk_layout::Road;
