//! Brings what `disk-builder` contains besides its own files: files for new kernels, and, if the
//! feature `built-in-loader` is on, the loader's programs. They come from the workspace around this
//! package, where the programs are built. A packaged `disk-builder` has both in its folder `beside`.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, io};

use stages::cargo;
use stages::parts;
use stages::program::{LOADER, Program};
use stages::toolchain::Toolchain;

#[path = "src/stages"]
mod stages {
    pub use program::Program;

    #[allow(dead_code)] // the program calls it for its own workspace
    pub mod cargo;
    pub mod parts;
    pub mod toolchain;
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

/// Files for new kernels, from the workspace, one a line. A folder stands for all files in it.
/// `package.sh` reads this list as well.
const FOR_KERNELS: &str = include_str!("for-kernels.txt");

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src/stages");
    let out = PathBuf::from(variable("OUT_DIR")?);
    let package = PathBuf::from(variable("CARGO_MANIFEST_DIR")?);
    let packaged = package.join("beside");
    let is_packaged = packaged.is_dir();
    if is_packaged {
        watch(&packaged); // what is not there would count as changed each time
    }
    let workspace = package.parent().ok_or("no workspace")?;
    let around = if is_packaged { &packaged } else { workspace };

    for file in FOR_KERNELS.lines() {
        watch(&around.join(file));
        copy(&around.join(file), &out.join("beside").join(file))?;
    }
    if env::var_os("CARGO_FEATURE_BUILT_IN_LOADER").is_some() {
        if !is_packaged {
            SOURCES
                .iter()
                .for_each(|source| watch(&workspace.join(source)));
        }
        for program in LOADER {
            let file = match is_packaged {
                true => packaged.join("loader").join(program.bin),
                false => build(&program, workspace, &out)?,
            };
            copy(&file, &out.join("loader").join(program.bin))?;
        }
    }
    Ok(())
}

/// Runs this script again when a file, or one in a folder, has changed.
fn watch(path: &Path) {
    println!("cargo::rerun-if-changed={}", path.display());
}

/// Copies a file, or a folder with all that is in it.
fn copy(from: &Path, to: &Path) -> Result<(), Box<dyn Error>> {
    let named = |error: io::Error| format!("{}: {error}", from.display());
    if from.is_dir() {
        for entry in fs::read_dir(from).map_err(named)? {
            let name = entry?.file_name();
            copy(&from.join(&name), &to.join(&name))?;
        }
        return Ok(());
    }
    fs::create_dir_all(to.parent().ok_or("no folder")?)?;
    fs::copy(from, to).map_err(named)?;
    Ok(())
}

/// Builds a program from its sources, and returns the path of its ELF file.
fn build(program: &Program<'_>, workspace: &Path, out: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let host = variable("HOST")?;
    let target = cargo::target_for(&host);
    let directory = out.join("target");
    // Nobody debugs the loader by way of a program that contains it. In a profile, this would change
    // the names of functions, and with them their order: its bytes are those of any other build.
    let strip = "--strip-debug";
    let flags = cargo::flags(out, &format!("-Clink-arg={strip}"))?;
    let mut command = Command::new(variable("CARGO")?);
    cargo::clean(&mut command, true);
    let programs = directory.join(target).join("release");
    let object = parts::object_of(program, &programs);
    let name = directory
        .to_str()
        .ok_or("the path of the target directory is not UTF-8")?;
    let more = ["--quiet", "--target-dir", name];
    let status = command
        .args(cargo::arguments(
            program,
            target,
            &flags,
            &more,
            object.as_deref(),
        ))
        .current_dir(workspace)
        .status()?;
    if !status.success() {
        return Err(format!(
            "cargo could not build {} for {target}. If the target is missing: rustup target add {target}",
            program.bin
        )
        .into());
    }
    let Some(object) = object else {
        return Ok(programs.join(program.bin));
    };
    let rustc = variable("RUSTC")?;
    let toolchain = Toolchain::of(|| Command::new(&rustc), target)?;
    let linked = parts::link_beside(&toolchain, workspace, program, &object, &[strip])?;
    Ok(linked)
}

fn variable(name: &str) -> Result<String, String> {
    env::var(name).map_err(|error| format!("{name}: {error}"))
}
