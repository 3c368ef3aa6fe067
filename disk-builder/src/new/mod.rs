//! `new`: the folder of a new kernel, which `cargo run` or `make run` boots at once.
//!
//! The files are real ones, in `templates/`, with a few placeholders. The crate `handoff` and the header
//! `bootpath.h` that go with them are the very files of this repository.

mod names;
mod place;
mod surroundings;
mod templates;

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use place::Place;
use surroundings::Toolchain;
pub use templates::{BOOTPATH_H, File, TARGET, Template};

/// What is wanted.
#[derive(Clone, Debug)]
pub struct Options {
    /// The folder to make.
    pub path: PathBuf,
    /// The kernel's name; without it, that of the folder.
    pub name: Option<String>,
    /// The kernel's language and boot protocol.
    pub template: Template,
}

/// What was made. Shown, it is the next steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Created {
    /// The folder, as the user named it.
    pub path: PathBuf,
    /// The kernel's name.
    pub name: String,
    /// What it is made from.
    pub template: Template,
    /// What has to be installed or downloaded before it can be built: a line for the shell.
    pub missing: Option<&'static str>,
    /// The `Cargo.toml` of the workspace that the folder lies in, and what to add to its `exclude`.
    pub workspace: Option<(PathBuf, String)>,
}

/// Makes the folder, all of it or nothing.
///
/// # Errors
/// When the folder exists and is not empty, when the name will not do, or when something cannot be
/// written.
pub fn create(options: &Options) -> Result<Created> {
    let Options { path, template, .. } = options;
    let name = match &options.name {
        Some(name) => name.clone(),
        None => name_of(path)?,
    };
    names::check(&name, *template)?;
    let place = Place::new(path)?;
    let files = template.files(&name);
    place.fill(&files)?;
    let (missing, workspace) = match template {
        Template::C => (None, None),
        Template::Rust | Template::Limine => (
            Toolchain::in_folder(path).missing(),
            surroundings::workspace_around(path),
        ),
    };
    Ok(Created {
        path: path.clone(),
        name,
        template: *template,
        missing,
        workspace,
    })
}

/// The name of a folder, which need not exist.
fn name_of(path: &Path) -> Result<String> {
    let resolved; // `.` and `..` have no name, but lead to a folder that has one
    let folder = match path.file_name() {
        Some(name) => name,
        None => {
            resolved = path
                .canonicalize()
                .with_context(|| format!("cannot open {}", path.display()))?;
            resolved.file_name().unwrap_or_default()
        }
    };
    let name = folder.to_str().map(str::to_owned);
    name.with_context(|| format!("{} is not UTF-8: give it a --name", path.display()))
}

impl fmt::Display for Created {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, template, .. } = self;
        let (kind, run, test) = match template {
            Template::Rust => ("in Rust", "cargo run", "cargo test"),
            Template::C => ("in C", "make run", "make test"),
            Template::Limine => ("in Rust for the Limine protocol", "cargo run", "cargo test"),
        };
        writeln!(f, "{name}, a kernel {kind}. Next:")?;
        if let Some(line) = self.missing {
            writeln!(f, "  {line}")?;
        }
        if self.path != Path::new(".") {
            writeln!(f, "  cd {}", for_a_shell(&self.path))?;
        }
        writeln!(f, "  {run:<12}# boots it in QEMU")?;
        writeln!(f, "  {test:<12}# boots each file of tests/")?;
        if let Some((manifest, exclude)) = &self.workspace {
            let manifest = manifest.display();
            writeln!(
                f,
                "It is a workspace of its own. In {manifest}, add to [workspace]:\n  \
                 exclude = [{exclude:?}]"
            )?;
        }
        Ok(())
    }
}

/// A path as a shell's word.
fn for_a_shell(path: &Path) -> Cow<'_, str> {
    let text = path.to_string_lossy();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+~@%".contains(c);
    if !text.starts_with(['~', '-']) && text.chars().all(is_plain) {
        return text;
    }
    format!("-- '{}'", text.replace('\'', r"'\''")).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn next_steps_can_be_pasted() {
        let created = Created {
            path: "it's/my kernel".into(),
            name: "k".into(),
            template: Template::Limine,
            missing: Some("rustup target add x"),
            workspace: Some(("w/Cargo.toml".into(), "a/k".into())),
        };
        let expected = "\
            k, a kernel in Rust for the Limine protocol. Next:\n  \
              rustup target add x\n  \
              cd -- 'it'\\''s/my kernel'\n  \
              cargo run   # boots it in QEMU\n  \
              cargo test  # boots each file of tests/\n\
            It is a workspace of its own. In w/Cargo.toml, add to [workspace]:\n  \
              exclude = [\"a/k\"]\n";
        assert_eq!(created.to_string(), expected);
        let here = Created {
            path: ".".into(),
            template: Template::C,
            missing: None,
            workspace: None,
            ..created
        };
        let expected = "\
            k, a kernel in C. Next:\n  \
              make run    # boots it in QEMU\n  \
              make test   # boots each file of tests/\n";
        assert_eq!(here.to_string(), expected);
    }
}
