//! What the new kernel finds around it: the toolchain, and perhaps a workspace.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::TARGET;

/// What there is of Rust.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Toolchain {
    /// All that a kernel needs.
    Complete,
    /// The library `core` for the target is not installed.
    NoTarget,
    /// Nothing.
    NoRust,
}

impl Toolchain {
    /// What is used in a folder: rustup lets folders have toolchains of their own.
    pub fn in_folder(folder: &Path) -> Self {
        let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let output = Command::new(rustc)
            .args(["--print", "target-libdir", "--target", TARGET])
            .current_dir(folder)
            .stdin(Stdio::null())
            .output();
        match output {
            Err(_) => Self::NoRust,
            Ok(output) => {
                let path = String::from_utf8_lossy(&output.stdout);
                match output.status.success() && Path::new(path.trim_end()).is_dir() {
                    true => Self::Complete,
                    false => Self::NoTarget,
                }
            }
        }
    }

    /// The line that installs what is missing.
    pub fn missing(self) -> Option<&'static str> {
        match self {
            Self::Complete => None,
            Self::NoTarget => Some("rustup target add x86_64-unknown-none"),
            Self::NoRust => Some(
                "# install Rust from https://rustup.rs, and:\n  rustup target add x86_64-unknown-none",
            ),
        }
    }
}

/// The nearest `Cargo.toml` with a workspace above a folder, if it does not exclude the folder, and
/// the folder's path from there.
///
/// The new kernel can be built all the same, because it is the root of a workspace. But where a
/// pattern in `members` fits its path, cargo refuses to work on the workspace around it.
pub fn workspace_around(folder: &Path) -> Option<(PathBuf, String)> {
    let folder = folder.canonicalize().ok()?;
    let mut above = folder.ancestors().skip(1);
    let (root, workspace) = above.find_map(|root| {
        let text = fs::read_to_string(root.join("Cargo.toml")).ok()?;
        let manifest: toml::Table = text.parse().ok()?;
        Some((root, manifest.get("workspace")?.as_table()?.clone()))
    })?;
    let excluded = workspace.get("exclude").and_then(toml::Value::as_array);
    let mut excluded = excluded
        .into_iter()
        .flatten()
        .filter_map(toml::Value::as_str);
    if excluded.any(|path| folder.starts_with(root.join(path))) {
        return None;
    }
    let path = folder.strip_prefix(root).ok()?;
    let parts = path.iter().map(|part| part.to_string_lossy());
    Some((root.join("Cargo.toml"), parts.collect::<Vec<_>>().join("/")))
}
