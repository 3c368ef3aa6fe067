//! The options of `new`.

use std::path::PathBuf;

use clap::Args;
use disk_builder::new::{Options, Template};

/// The options as clap has them.
#[derive(Args)]
pub struct NewOptions {
    /// The folder to make; it may exist if it is empty.
    #[arg(value_name = "FOLDER")]
    path: PathBuf,
    /// A kernel in C, built by `make`; without it, one in Rust.
    #[arg(long, conflicts_with = "limine")]
    c: bool,
    /// A kernel in Rust for the Limine boot protocol, on the crate `limine`.
    #[arg(long)]
    limine: bool,
    /// The kernel's name; without it, that of the folder.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
}

impl From<NewOptions> for Options {
    fn from(options: NewOptions) -> Self {
        let template = match options {
            NewOptions { c: true, .. } => Template::C,
            NewOptions { limine: true, .. } => Template::Limine,
            _ => Template::Rust,
        };
        Self {
            path: options.path,
            name: options.name,
            template,
        }
    }
}
