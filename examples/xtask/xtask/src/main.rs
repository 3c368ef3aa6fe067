//! What a Makefile would do, as a program: `cargo xtask image` builds the kernel and a disk image of
//! it, `cargo xtask test` boots the kernel and looks at what it prints.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use disk_builder::image::{self, Recipe};
use disk_builder::run::{self, Options, Status};
use disk_builder::settings::Settings;
use disk_builder::stages::Stages;
use disk_builder::{inspect, signals};

const KERNEL: &str = "xtask-kernel";
const TARGET: &str = "x86_64-unknown-none";

fn main() -> Result<()> {
    // Ctrl-C ends QEMU as well, and leaves no temporary files.
    signals::watch()?;
    // Cargo says where the xtask's package is: its neighbour is the kernel's.
    let package = env::var_os("CARGO_MANIFEST_DIR").context("this is for `cargo xtask`")?;
    let package = Path::new(&package);
    let workspace = package.parent().context("no workspace")?;
    match env::args().nth(1).as_deref() {
        Some("image") => build(workspace),
        Some("test") => test(workspace),
        _ => bail!("cargo xtask image | cargo xtask test"),
    }
}

/// Builds the kernel. Returns its file.
fn kernel(workspace: &Path) -> Result<PathBuf> {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()));
    let arguments = [
        "build",
        "--release",
        "--package",
        KERNEL,
        "--target",
        TARGET,
    ];
    let status = signals::status(cargo.args(arguments).current_dir(workspace))?;
    ensure!(status.success(), "the kernel does not build");
    let target = env::var_os("CARGO_TARGET_DIR").map_or(workspace.join("target"), PathBuf::from);
    Ok(target.join(TARGET).join("release").join(KERNEL))
}

/// What the kernel's `Cargo.toml` says of its runs.
fn settings(workspace: &Path) -> Result<Settings> {
    let settings = Settings::read(&workspace.join("kernel/Cargo.toml"))?;
    settings.context("the kernel has no settings")
}

/// Builds an image, and reads it back as the loader does.
fn build(workspace: &Path) -> Result<()> {
    let settings = settings(workspace)?;
    let output = workspace.join("kernel.img");
    let recipe = Recipe {
        command_line: settings.all.cmdline,
        modules: settings.all.modules,
        packed: settings.all.packed,
        ..Recipe::new(kernel(workspace)?, &output, Stages::find()?)
    };
    print!("{}", image::build(&recipe)?);
    let inspection = inspect::inspect(&output)?;
    ensure!(inspection.problems.is_empty(), "{inspection}");
    Ok(())
}

/// Boots the kernel on the machine of its settings, and looks at what comes over the serial line.
fn test(workspace: &Path) -> Result<()> {
    let mut options = Options::new(kernel(workspace)?);
    options.words = vec!["and xtask".into()];
    settings(workspace)?.complete(&mut options, false);
    let run = run::capture(&options)?;
    let serial = String::from_utf8_lossy(&run.serial);
    let outcome = &run.outcome;
    ensure!(outcome.status() == Status::Success, "{outcome}\n{serial}");
    for line in [
        "greeting: hello, xtask",
        "command line: from Cargo.toml and xtask",
    ] {
        ensure!(
            serial.lines().any(|there| there == line),
            "no {line:?}\n{serial}"
        );
        println!("{line}: ok");
    }
    Ok(())
}
