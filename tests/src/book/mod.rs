//! The book, carried out: the commands of each page are run, in order, in a directory of their own,
//! and their output is compared with what the page promises.
//!
//! [`page`] takes a page apart, [`promise`] is the notation for output, [`edit`] is the one for
//! changes to the sources, [`shell`] runs commands, and [`wrap`](mod@wrap) sets the width of prose.
//! `tests/tests/book.rs` says what a page must contain.
//!
//! A page's directory is a copy of the repository, so that the page's files are in nobody's way.
//! But what cargo builds there is built in the repository, where most of it exists already. A page
//! that changes the loader gets a copy whose programs are built from it: one copy for all such
//! pages, one after the other, so that what they have in common is built once.

pub mod edit;
pub mod page;
pub mod promise;
pub mod shell;
pub mod wrap;

use std::collections::HashSet;
use std::env;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow, ensure};
use disk_builder::stages;

use self::edit::Edit;
use self::page::Page;
use self::shell::Shell;
use crate::parallel;

/// The page whose first two blocks of commands are run before those of each page: they define
/// things in the shell, and make images.
const FIRST_PAGE: &str = "docs/README.md";

/// These are built by their own Makefiles, wherever they lie.
const EXAMPLES: &str = "examples/";

/// cargo, for a shell in a copy of the repository: it uses the repository's sources.
const CARGO: &str = r#"cargo() {
    local command=$1
    shift
    command cargo "$command" --manifest-path "$REPOSITORY/Cargo.toml" "$@"
}
"#;

/// `run.sh` of such a copy.
const RUN_SH: &str = "#!/usr/bin/env bash\nexec \"$REPOSITORY/run.sh\" \"$@\"\n";

/// All pages.
pub struct Book {
    root: PathBuf,
    target: PathBuf,
    /// The files of the repository, by their paths in it.
    pub files: Vec<PathBuf>,
    /// The pages, in the order of their names.
    pub pages: Vec<Page>,
    definitions: String,
    images: String,
    brought: Vec<(&'static str, &'static str, Vec<u8>)>,
    /// Held while `./run.sh` runs: it writes `target/bootpath.img`, and its debugger has a port of
    /// its own.
    run_sh: Mutex<()>,
}

/// The result of a page.
pub struct Outcome<'a> {
    /// The page.
    pub page: &'a Page,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// The first line that is wrong.
    pub result: Result<()>,
}

impl Book {
    /// Reads `README.md` and the pages in `docs/`, except `others`.
    ///
    /// # Errors
    /// When a page cannot be taken apart.
    pub fn read(others: &[&str]) -> Result<Self> {
        let root = stages::workspace();
        let target = root.join(env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()));
        let files = files(root)?;
        let (mut pages, mut wrong) = (Vec::new(), Vec::new());
        for file in &files {
            let name = file.to_str().unwrap_or_default();
            let is_page = name == "README.md" || name.starts_with("docs/") && name.ends_with(".md");
            if is_page && !others.contains(&name) {
                match Page::read(name, &fs::read_to_string(root.join(file))?) {
                    Ok(page) => pages.push(page),
                    Err(error) => wrong.push(error.to_string()),
                }
            }
        }
        ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
        let first = pages.iter().find(|page| page.name == FIRST_PAGE);
        let mut first = first.context(FIRST_PAGE)?.experiments.iter();
        let mut commands = || Some(first.next()?.commands.text.clone());
        let (definitions, images) = commands()
            .zip(commands())
            .context("two blocks of commands")?;
        Ok(Self {
            root: root.to_owned(),
            target,
            files,
            pages,
            definitions,
            images,
            brought: Vec::new(),
            run_sh: Mutex::new(()),
        })
    }

    /// Puts a file that a page's reader has to bring into the page's directory.
    pub fn bring(&mut self, page: &'static str, name: &'static str, bytes: Vec<u8>) {
        self.brought.push((page, name, bytes));
    }

    /// Carries out the pages whose names contain `name`. `done` is told of each as it ends.
    pub fn run(&self, name: &str, done: impl Fn(&Outcome<'_>) + Sync) -> Vec<Outcome<'_>> {
        let pages = self.pages.iter();
        let pages = pages.filter(|page| page.name.contains(name) && !page.experiments.is_empty());
        let (changing, others): (Vec<&Page>, Vec<&Page>) = pages.partition(|page| changes(page));
        // These take longest, so they come first.
        let mut groups = vec![changing];
        groups.extend(others.into_iter().map(|page| vec![page]));
        let carry_out = |page| {
            let start = Instant::now();
            let result = self.carry_out(page);
            let seconds = start.elapsed().as_secs_f64();
            let outcome = Outcome {
                page,
                seconds,
                result,
            };
            done(&outcome);
            outcome
        };
        let outcomes = parallel::each(&groups, |group| {
            group.iter().copied().map(carry_out).collect::<Vec<_>>()
        });
        outcomes.into_iter().flatten().collect()
    }

    fn carry_out(&self, page: &Page) -> Result<()> {
        if changes(page) {
            let directory = self.target.join("book");
            fs::create_dir_all(&directory)?;
            let lock = File::create(directory.join("lock"))?;
            lock.lock()?; // another process may test the same repository
            self.carry_out_with(page, &self.changed(&directory)?)
        } else {
            let directory = tempfile::tempdir()?;
            self.carry_out_with(page, &self.unchanged(&directory.path().join("bootpath"))?)
        }
    }

    /// A shell in a copy of the repository. What cargo builds is built in the repository.
    fn unchanged(&self, directory: &Path) -> Result<Shell> {
        for file in &self.files {
            self.copy(file, directory)?;
        }
        fs::write(directory.join("run.sh"), RUN_SH)?;
        Ok(Shell {
            directory: directory.to_owned(),
            definitions: format!("{CARGO}{}", self.definitions),
            environment: vec![("REPOSITORY", self.root.clone())],
        })
    }

    /// A shell in a copy that is built where it is.
    fn changed(&self, directory: &Path) -> Result<Shell> {
        let copy = directory.join("repository");
        fs::create_dir_all(&copy)?;
        remove_others(&copy, Path::new(""), &self.files.iter().collect())?;
        for file in &self.files {
            // cargo rebuilds whatever is newer than its output.
            if fs::read(copy.join(file)).ok() != Some(fs::read(self.root.join(file))?) {
                self.copy(file, &copy)?;
            }
        }
        Ok(Shell {
            directory: copy,
            definitions: self.definitions.clone(),
            // Nothing that is built is shared, because cargo does not distinguish the packages of a
            // copy from those of the repository.
            environment: vec![("CARGO_TARGET_DIR", directory.join("target"))],
        })
    }

    fn copy(&self, file: &Path, directory: &Path) -> Result<()> {
        let copy = directory.join(file);
        fs::create_dir_all(copy.with_file_name(""))?;
        fs::copy(self.root.join(file), &copy).with_context(|| copy.display().to_string())?;
        Ok(())
    }

    fn carry_out_with(&self, page: &Page, shell: &Shell) -> Result<()> {
        let name = &page.name;
        let mut edits: &[Edit] = &[];
        for (_, file, bytes) in self.brought.iter().filter(|(page, ..)| page == name) {
            fs::write(shell.directory.join(file), bytes)?;
        }
        shell.run_silently(&self.images)?;
        for experiment in &page.experiments {
            let line = experiment.commands.line;
            if edits != experiment.edits {
                for edit in edits {
                    self.copy(Path::new(&edit.file), &shell.directory)?;
                }
                edits = &experiment.edits;
                for edit in edits {
                    let done = edit.apply(&shell.directory);
                    done.with_context(|| format!("{name}: the change in front of line {line}"))?;
                }
            }
            let alone = experiment.commands.text.contains("./run.sh");
            let alone = alone.then(|| self.run_sh.lock().unwrap_or_else(PoisonError::into_inner));
            let result = shell.run(experiment);
            drop(alone);
            result.map_err(|error| anyhow!("{name}:{error}"))?;
        }
        Ok(())
    }
}

/// Whether a page changes what cargo builds.
fn changes(page: &Page) -> bool {
    let mut edits = page.experiments.iter().flat_map(|e| &e.edits);
    edits.any(|edit| !edit.file.starts_with(EXAMPLES))
}

/// The files of the repository, including new ones, and without those that git ignores.
fn files(root: &Path) -> Result<Vec<PathBuf>> {
    let output = Command::new("git")
        // The repository may belong to another user.
        .args(["-c", "safe.directory=*", "-C"])
        .arg(root)
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .output()
        .context("cannot run git")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "git does not list the files: {said}"
    );
    let names = output.stdout.split(|&byte| byte == 0);
    let paths = names.map(|name| PathBuf::from(OsStr::from_bytes(name)));
    let mut files: Vec<_> = paths.filter(|path| root.join(path).is_file()).collect();
    files.sort();
    files.dedup();
    Ok(files)
}

/// Removes files from a directory of a copy that are not in the repository.
fn remove_others(copy: &Path, directory: &Path, files: &HashSet<&PathBuf>) -> Result<()> {
    for entry in fs::read_dir(copy.join(directory))? {
        let entry = entry?;
        let path = directory.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            remove_others(copy, &path, files)?;
        } else if !files.contains(&path) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
