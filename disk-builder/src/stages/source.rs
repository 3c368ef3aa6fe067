//! The bare-metal programs, built from their sources by cargo.

use std::env;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context as _, Result, ensure};

use super::cargo::{self, TARGET_DIRECTORY};
use super::toolchain::Toolchain;
use super::{Program, parts};
use crate::signals;

/// The directory of the workspace that this program was built from.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or(Path::new("."))
}

/// Builds a bare-metal program, for the [target](target) of this host, and returns the path of its
/// ELF file. What cargo says goes to standard error.
///
/// # Errors
/// When the workspace is gone, cargo cannot be run, or the program does not build.
pub fn build_program(program: &Program<'_>) -> Result<PathBuf> {
    build_program_for(target()?, program)
}

/// As [`build_program`], for a target, whose libraries are there.
///
/// # Errors
/// Those of [`build_program`].
pub fn build_program_for(target: &str, program: &Program<'_>) -> Result<PathBuf> {
    ensure!(
        has_sources(program),
        "the sources of {} are not at {}, where this program was built",
        program.bin,
        workspace().display()
    );
    let mut command = cargo_here();
    let directory = env::var_os(TARGET_DIRECTORY).filter(|_| runs_for_this_workspace());
    let directory = workspace().join(directory.map_or("target".into(), PathBuf::from));
    let flags = cargo::flags(&directory, "")?;
    let more = ["--message-format=json-render-diagnostics"];
    let object = parts::object_of(program, &directory.join(target).join("release"));
    let asked = object.as_deref();
    command.args(cargo::arguments(program, target, &flags, &more, asked));
    let output = signals::output_with(command.stderr(Stdio::piped()), pass_on)
        .with_context(|| format!("cannot run {}", command.get_program().display()))?;
    ensure!(
        output.status.success(),
        "cargo could not build {}",
        program.bin
    );
    if let Some(object) = object {
        let toolchain = Toolchain::of(rustc, target)?;
        return parts::link_beside(&toolchain, workspace(), program, &object, &[]);
    }

    // One JSON object a line; an artifact that can be run says where it is.
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == program.bin)
        .filter_map(|message| message["executable"].as_str().map(PathBuf::from))
        .next_back()
        .with_context(|| format!("cargo does not say where it put {}", program.bin))
}

/// The compiler, as cargo would run it in the workspace.
pub fn rustc() -> Command {
    let own = runs_for_this_workspace();
    let rustc = env::var_os("RUSTC").filter(|_| own);
    let mut command = Command::new(rustc.unwrap_or_else(|| "rustc".into()));
    cargo::clean(&mut command, own);
    command.current_dir(workspace());
    command
}

/// The compiler's linker, for the target of the programs.
///
/// # Errors
/// When the compiler cannot be run.
pub fn toolchain() -> Result<Toolchain> {
    Toolchain::of(rustc, target()?)
}

/// Are the sources of a program still there?
pub fn has_sources(program: &Program<'_>) -> bool {
    workspace().join(program.config).is_file()
}

/// Passes on what cargo says: that it waits for another cargo, what it compiles, what is wrong. The
/// line that says it has finished is left out.
fn pass_on(line: &[u8]) {
    if !is_finished(&String::from_utf8_lossy(line)) {
        // There is no one to tell if that fails.
        let _ = io::stderr().write_all(line);
    }
}

/// Is it the line that cargo ends with, in colour or not?
fn is_finished(line: &str) -> bool {
    let mut text = String::new();
    for (number, part) in line.split('\x1B').enumerate() {
        // Behind an escape character, a sequence that chooses a colour ends with `m`.
        text += match part.split_once('m') {
            Some((_, behind)) if number > 0 => behind,
            _ => part,
        };
    }
    text.trim_start().starts_with("Finished ")
}

/// Cargo, in the workspace and without what would change what it builds there.
///
/// This program may have been started by the cargo of another workspace, as the runner of a kernel.
/// Then that cargo's variables are here, and those by which its user set flags, targets and profiles
/// for that kernel.
fn cargo_here() -> Command {
    let own = runs_for_this_workspace();
    let program = env::var_os("CARGO").filter(|_| own);
    let mut command = Command::new(program.unwrap_or_else(|| "cargo".into()));
    cargo::clean(&mut command, own);
    if io::stderr().is_terminal() && env::var_os("CARGO_TERM_COLOR").is_none() {
        // cargo sees no terminal, because its output goes through this program.
        command.env("CARGO_TERM_COLOR", "always");
    }
    command.current_dir(workspace());
    command
}

/// Has no cargo, or that of this workspace, started this program?
fn runs_for_this_workspace() -> bool {
    env::var_os("CARGO_MANIFEST_DIR").is_none_or(|directory| {
        // Both paths may contain symbolic links.
        let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        real(Path::new(&directory)).starts_with(real(workspace()))
    })
}

/// The target whose ready-made `core` the programs are linked with: the host's own where it will
/// do, so that nothing needs to be installed.
///
/// # Errors
/// When rustc cannot be run.
pub fn target() -> Result<&'static str> {
    static TARGET: OnceLock<Option<String>> = OnceLock::new();
    TARGET
        .get_or_init(|| {
            let output = rustc().arg("-vV").output().ok()?;
            let text = String::from_utf8(output.stdout).ok()?;
            let host = text.lines().find_map(|line| line.strip_prefix("host: "))?;
            Some(cargo::target_for(host).to_owned())
        })
        .as_deref()
        .context("cannot run rustc to learn the host's target")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stages::cargo::{is_foreign, target_for};

    #[test]
    fn what_another_cargo_leaves_is_told_from_what_the_user_wants() {
        for name in [
            "CARGO",
            "CARGO_MANIFEST_DIR",
            "CARGO_PKG_NAME",
            "CARGO_BUILD_TARGET",
            "CARGO_ENCODED_RUSTFLAGS",
            "CARGO_PROFILE_RELEASE_LTO",
            "CARGO_TARGET_X86_64_UNKNOWN_NONE_RUSTFLAGS",
            "CARGO_UNSTABLE_BUILD_STD",
            "RUSTFLAGS",
            "RUSTC_WRAPPER",
        ] {
            assert!(is_foreign(name, true) && is_foreign(name, false), "{name}");
        }
        for name in ["RUSTUP_TOOLCHAIN", "RUSTC", "CARGO_TARGET_DIR"] {
            assert!(!is_foreign(name, true) && is_foreign(name, false), "{name}");
        }
        for name in [
            "CARGO_HOME",
            "CARGO_NET_OFFLINE",
            "CARGO_TERM_COLOR",
            "CARGO_REGISTRIES_MINE_INDEX",
            "PATH",
            "RUSTUP_HOME",
        ] {
            assert!(
                !is_foreign(name, true) && !is_foreign(name, false),
                "{name}"
            );
        }
    }

    #[test]
    fn only_cargos_last_line_is_left_out() {
        let last = "    Finished `release` profile [optimized] target(s) in 0.05s\n";
        assert!(is_finished(last));
        assert!(is_finished(
            "\x1B[1m\x1B[92m    Finished\x1B[0m `release` profile\n"
        ));
        for other in [
            "    Blocking waiting for file lock on build directory\n",
            "\x1B[1m\x1B[96m    Blocking\x1B[0m waiting for file lock\n",
            "   Compiling stage2 v0.1.0\n",
            "error: Finished\n",
        ] {
            assert!(!is_finished(other), "{other}");
        }
    }

    #[test]
    fn the_hosts_core_is_used_on_x86_64_linux_only() {
        assert_eq!(
            target_for("x86_64-unknown-linux-gnu"),
            "x86_64-unknown-linux-gnu"
        );
        assert_eq!(
            target_for("x86_64-unknown-linux-musl"),
            "x86_64-unknown-linux-musl"
        );
        assert_eq!(
            target_for("aarch64-unknown-linux-gnu"),
            "x86_64-unknown-none"
        );
        assert_eq!(target_for("x86_64-apple-darwin"), "x86_64-unknown-none");
    }
}
