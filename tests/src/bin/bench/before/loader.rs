//! The loaders of other commits.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use disk_builder::stages;
use machine_tests::image::Image;
use machine_tests::linux::put;

use crate::rows::{self, Row};

/// A commit of this repository.
pub struct Commit {
    /// As the command line has it.
    name: String,
    /// Its hash.
    hash: String,
}

impl fmt::Display for Commit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// Looks for a commit.
pub fn find(name: &str) -> Result<Commit> {
    let output = git(&["rev-parse", "--verify", "--quiet", "--end-of-options"])
        .arg(format!("{name}^{{commit}}"))
        .output()
        .context("cannot run git, which knows the earlier commits")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "there is neither a row with the word {name} nor such a commit here: `bench before` needs \
         this repository with its history\n{}",
        said.trim_end()
    );
    Ok(Commit {
        name: name.to_owned(),
        hash: String::from_utf8(output.stdout)?.trim_end().to_owned(),
    })
}

fn git(arguments: &[&str]) -> Command {
    let mut git = Command::new("git");
    git.arg("-C").arg(stages::workspace()).args(arguments);
    git
}

/// A loader that can be put on a disk with a kernel.
pub enum Loader {
    /// The one of these sources.
    Today,
    /// The one of a commit.
    Built {
        name: String,
        /// Its `disk-builder`, which builds the two stages.
        disk_builder: PathBuf,
        /// Where they are built.
        target: PathBuf,
    },
}

impl Loader {
    /// Builds a commit's loader below this directory.
    ///
    /// The sources come from `git archive` rather than from `git worktree`, so that nothing is left
    /// in the repository if this is interrupted.
    pub fn build(commit: &Commit, directory: &Path) -> Result<Self> {
        let sources = directory.join(&commit.hash);
        let target = directory.join(format!("{}-target", commit.hash));
        std::fs::create_dir(&sources)?;
        let mut archive = git(&["archive", "--format=tar", &commit.hash])
            .stdout(Stdio::piped())
            .spawn()?;
        let packed = archive.stdout.take().context("git archives nothing")?;
        let unpacked = Command::new("tar")
            .args(["-x", "-f", "-", "-C"])
            .arg(&sources)
            .stdin(packed)
            .status()
            .context("cannot run tar")?;
        ensure!(
            archive.wait()?.success() && unpacked.success(),
            "the sources of {commit} cannot be had"
        );
        // Without what only an installed program needs.
        let status = Command::new("cargo")
            .current_dir(&sources)
            .env("CARGO_TARGET_DIR", &target)
            .args(["build", "--quiet", "--package", "disk-builder"])
            .arg("--no-default-features")
            .status()
            .context("cannot run cargo")?;
        ensure!(status.success(), "{commit} does not build");
        Ok(Self::Built {
            name: commit.name.clone(),
            disk_builder: target.join("debug/disk-builder"),
            target,
        })
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        match self {
            Self::Today => "today",
            Self::Built { name, .. } => name,
        }
    }

    /// An image with the row's kernel, or why its `disk-builder` refuses that.
    pub fn image(&self, row: &Row, kernel: &[u8]) -> Result<Result<Image, String>> {
        let Self::Built {
            disk_builder,
            target,
            ..
        } = self
        else {
            return rows::image(row, kernel).map(Ok);
        };
        let directory = tempfile::tempdir()?;
        let kernel = put(directory.path(), "kernel", kernel)?;
        let mut build = Command::new(disk_builder);
        build.env("CARGO_TARGET_DIR", target).arg("build");
        build.arg("--kernel").arg(kernel);
        build.arg("--output").arg(directory.path().join("disk.img"));
        if !row.listed {
            build.arg("--no-checksums");
        }
        let output = build.output().context("cannot run disk-builder")?;
        if output.status.success() {
            return Ok(Ok(Image::of(directory)));
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Ok(Err(said.lines().next_back().unwrap_or_default().to_owned()))
    }
}
