//! The compiler and the linker that make the programs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context as _, Result, ensure};

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

pub(super) fn rustc() -> Command {
    Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
}

/// Runs a program that prints nothing if all is well.
pub(super) fn run(command: &mut Command) -> Result<()> {
    output(command).map(drop)
}

/// Returns what a program prints.
pub(super) fn output(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .with_context(|| format!("cannot run {name}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{name} failed: {said}");
    Ok(String::from_utf8(output.stdout)?.trim_end().to_owned())
}

fn host() -> Result<&'static str> {
    static HOST: OnceLock<Option<String>> = OnceLock::new();
    let host = HOST.get_or_init(|| {
        let text = output(rustc().arg("-vV")).ok()?;
        let host = text.lines().find_map(|line| line.strip_prefix("host: "))?;
        Some(host.to_owned())
    });
    host.as_deref()
        .context("rustc does not say what it runs on")
}

/// The target that `disk-builder` chooses.
pub(super) fn target() -> Result<&'static str> {
    Ok(match host()? {
        host @ ("x86_64-unknown-linux-gnu" | "x86_64-unknown-linux-musl") => host,
        _ => "x86_64-unknown-none",
    })
}

/// The linker that comes with the compiler.
pub(super) fn linker() -> Result<PathBuf> {
    let sysroot = PathBuf::from(output(rustc().args(["--print", "sysroot"]))?);
    let directory = sysroot.join("lib/rustlib").join(host()?).join("bin");
    Ok(directory.join(format!("rust-lld{}", std::env::consts::EXE_SUFFIX)))
}
