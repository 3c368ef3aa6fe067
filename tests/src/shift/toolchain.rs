//! The compiler and the linker that make the programs.

use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context as _, Result, ensure};

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
