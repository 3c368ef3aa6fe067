//! Builds, inspects and runs Bootpath disk images.
//!
//! - [`host_file`] opens what is read, and [`output`] puts in its place what is written;
//! - [`stages`] builds the bare-metal programs with cargo and makes flat binaries of their ELF files;
//! - [`image`] puts stage1, stage2, kernels and their modules on a disk;
//! - [`inspect`] reads an image back, with the very code that reads it when it boots;
//! - [`run`] boots it in QEMU;
//! - [`new_folders`] go again if what was to go into them does not come;
//! - [`settings`] are what a kernel's Cargo.toml says of its runs;
//! - [`report`] tells people and programs how a run went;
//! - [`transcript`] takes what a recorded BIOS has said out of a log;
//! - [`new`] makes the folder of a new kernel;
//! - [`listing`] disassembles the programs;
//! - [`progress`] is told what takes time;
//! - [`signals`] cleans up when a signal ends the program.
//!
//! All that the program does is done by public functions here. A program of your own, such as an
//! xtask, may do so, too:
//!
//! ```no_run
//! use disk_builder::image::{self, Module, Recipe};
//! use disk_builder::run::{self, Options, Status};
//! use disk_builder::stages::Stages;
//! use disk_builder::{inspect, signals};
//!
//! signals::watch()?; // Ctrl-C leaves nothing behind
//! let recipe = Recipe {
//!     command_line: "log=debug".into(),
//!     modules: vec![Module { file: "initrd.img".into(), string: String::new() }],
//!     ..Recipe::new("kernel.elf", "disk.img", Stages::find()?)
//! };
//! println!("{}", image::build(&recipe)?);
//! assert!(inspect::inspect("disk.img".as_ref())?.problems.is_empty());
//!
//! let run = run::capture(&Options { cpus: Some(2), ..Options::new("disk.img") })?;
//! assert_eq!(run.outcome.status(), Status::Success, "{}", run.outcome);
//! assert!(run.serial.ends_with(b"OKAY\r\n"));
//! # Ok::<(), anyhow::Error>(())
//! ```

// They end the program when nobody can read what it says, and its exit status is lost.
#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod signals;
pub mod progress;
pub mod host_file;
pub mod new_folders;
pub mod output;
pub mod stages;
pub mod json;
mod geometry;
mod sparse;
mod cd;
mod manifest;
mod packed;
pub mod image;
pub mod multiboot;
pub mod inspect;
pub mod run;
pub mod settings;
pub mod report;
pub mod transcript;
pub mod listing;
pub mod version;
pub mod new;

pub use boot_path::entry::protocol::Protocol;
pub use boot_path::entry::target::Target;
pub use disk_layout::Road;
