//! Builds the loader's programs into `disk-builder`, if the feature `built-in-loader` is on: from
//! the sources beside this package, or as the folder `loader` of a packaged `disk-builder` has them.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use stages::cargo;
use stages::program::{LOADER, Program};

#[path = "src/stages"]
mod stages {
    pub use program::Program;

    #[allow(dead_code)] // the program calls it for its own workspace
    pub mod cargo;
    #[allow(dead_code)] // the demo kernel is not part of it
    pub mod program;
}

/// What the programs are made of, from the workspace.
const SOURCES: [&str; 10] = [
    "Cargo.toml",
    "Cargo.lock",
    "targets",
    "asm-lines",
    "boot-path/src",
    "disk-builder/src/listing/format.rs",
    "disk-layout/src",
    "handoff/src",
    "stage1",
    "stage2",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src/stages");
    if env::var_os("CARGO_FEATURE_BUILT_IN_LOADER").is_none() {
        return Ok(());
    }
    let out = PathBuf::from(variable("OUT_DIR")?);
    let package = PathBuf::from(variable("CARGO_MANIFEST_DIR")?);
    let loader = out.join("loader");
    fs::create_dir_all(&loader)?;
    let packaged = package.join("loader");
    println!("cargo::rerun-if-changed={}", packaged.display());
    for program in LOADER {
        let file = match packaged.is_dir() {
            true => packaged.join(program.bin),
            false => build(&program, &package, &out)?,
        };
        fs::copy(&file, loader.join(program.bin))
            .map_err(|error| format!("{}: {error}", file.display()))?;
    }
    Ok(())
}

/// Builds a program from its sources, and returns the path of its ELF file.
fn build(program: &Program<'_>, package: &Path, out: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let workspace = package.parent().ok_or("no workspace")?;
    for source in SOURCES {
        println!(
            "cargo::rerun-if-changed={}",
            workspace.join(source).display()
        );
    }
    let host = variable("HOST")?;
    let target = cargo::target_for(&host);
    let directory = out.join("target");
    // Nobody debugs the loader by way of a program that contains it. In a profile, this would change
    // the names of functions, and with them their order: its bytes are those of any other build.
    let flags = cargo::flags(out, "-Clink-arg=--strip-debug")?;
    let mut command = Command::new(variable("CARGO")?);
    cargo::clean(&mut command, true);
    let status = command
        .args(cargo::arguments(program, target, &flags))
        .args(["--quiet", "--target-dir"])
        .arg(&directory)
        .current_dir(workspace)
        .status()?;
    if !status.success() {
        return Err(format!(
            "cargo could not build {} for {target}. If the target is missing: rustup target add {target}",
            program.bin
        )
        .into());
    }
    Ok(directory.join(target).join("release").join(program.bin))
}

fn variable(name: &str) -> Result<String, String> {
    env::var(name).map_err(|error| format!("{name}: {error}"))
}
