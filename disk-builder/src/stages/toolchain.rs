//! The linker that makes the programs, outside of cargo. The build script includes this file.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

/// A compiler, and what comes with it.
pub struct Toolchain {
    /// Where its linker is.
    linker: PathBuf,
    /// The functions that compiled code calls by itself, `memcpy` among them.
    builtins: Vec<PathBuf>,
}

impl Toolchain {
    /// That of a compiler for a target. `command` makes a command that runs the compiler.
    ///
    /// # Errors
    /// When the compiler cannot be run, or its files are not there.
    pub fn of(command: impl Fn() -> Command, target: &str) -> Result<Self> {
        let ask = |arguments: &[&str]| output(command().args(arguments));
        let version = ask(&["-vV"])?;
        let mut lines = version.lines();
        let host = lines.find_map(|line| line.strip_prefix("host: "));
        let host = host.context("rustc does not say what it runs on")?;
        let sysroot = PathBuf::from(ask(&["--print", "sysroot"])?);
        let programs = sysroot.join("lib/rustlib").join(host).join("bin");
        let libraries = PathBuf::from(ask(&["--print", "target-libdir", "--target", target])?);
        let mut builtins = Vec::new();
        for entry in fs::read_dir(&libraries).with_context(|| format!("{target} is missing"))? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with("libcompiler_builtins-") && name.ends_with(".rlib") {
                builtins.push(path);
            }
        }
        Ok(Self {
            linker: programs.join(format!("rust-lld{}", std::env::consts::EXE_SUFFIX)),
            builtins,
        })
    }

    /// Links an object file in the workspace, with the flags in a configuration behind `first`.
    ///
    /// # Errors
    /// What the linker says.
    pub fn link(
        &self,
        workspace: &Path,
        config: &str,
        object: &Path,
        first: &[OsString],
        program: &Path,
    ) -> Result<()> {
        output(
            Command::new(&self.linker)
                .current_dir(workspace)
                .args(["-flavor", "gnu", "--gc-sections"])
                .args(first)
                .arg(object)
                .args(&self.builtins)
                .args(linker_arguments(&workspace.join(config))?)
                .arg("-o")
                .arg(program),
        )
        .map(drop)
    }
}

/// The linker's arguments in a program's configuration, behind those of the files that it includes.
///
/// # Errors
/// When one of the files cannot be read, or is not TOML.
pub fn linker_arguments(config: &Path) -> Result<Vec<String>> {
    let text = fs::read_to_string(config)?;
    let table: toml::Table = text
        .parse()
        .with_context(|| format!("{} is no configuration", config.display()))?;
    let strings = |value: Option<&toml::Value>| {
        let values = value.and_then(toml::Value::as_array).into_iter().flatten();
        let strings = values.filter_map(toml::Value::as_str).map(str::to_owned);
        strings.collect::<Vec<_>>()
    };
    let mut arguments = Vec::new();
    for included in strings(table.get("include")) {
        arguments.extend(linker_arguments(&config.with_file_name(included))?);
    }
    let flags = table.get("target").and_then(|it| it.get("cfg(all())"));
    let flags = strings(flags.and_then(|it| it.get("rustflags")));
    let own = flags.iter().filter_map(|it| it.strip_prefix("-Clink-arg="));
    arguments.extend(own.map(str::to_owned));
    Ok(arguments)
}

/// Returns what a program prints.
///
/// # Errors
/// When it cannot be run, or fails; with what it says then.
pub fn output(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .with_context(|| format!("cannot run {name}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{name} failed: {said}");
    Ok(String::from_utf8(output.stdout)?.trim_end().to_owned())
}
