//! The settings of a kernel's package: `[package.metadata.bootpath]` in its Cargo.toml.
//!
//! They say on which machine the kernel is run, and what comes with it, so that `cargo run` and
//! `cargo test` need no words. [`KEYS`] has all keys.
//!
//! ```
//! use disk_builder::run::Options;
//! use disk_builder::settings::Settings;
//!
//! let folder = tempfile::tempdir()?;
//! let manifest = folder.path().join("Cargo.toml");
//! std::fs::write(&manifest, "[package.metadata.bootpath]\nmemory = \"1G\"\ncpus = 2\n")?;
//! let settings = Settings::read(&manifest)?.expect("the table");
//!
//! let mut options = Options::new("kernel.elf");
//! options.cpus = Some(4); // what is chosen already stays
//! settings.complete(&mut options, false);
//! assert_eq!(options.memory.as_deref(), Some("1G"));
//! assert_eq!(options.cpus, Some(4));
//!
//! std::fs::write(&manifest, "[package.metadata.bootpath]\nmodlues = []\n")?;
//! let error = Settings::read(&manifest).unwrap_err().to_string();
//! assert!(error.contains("Cargo.toml:2: unknown key `modlues`; did you mean `modules`?"));
//! # Ok::<(), anyhow::Error>(())
//! ```

mod keys;
mod problem;
mod read;

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};

pub use keys::{KEYS, Key, Kind, MODULE_KEYS};
pub use problem::Problem;

use crate::image::Module;
use crate::run::{BootFile, Options};
use read::Reader;

/// How long a test may take if nothing else is said: it must not stop a CI for hours.
pub const TEST_TIMEOUT: Duration = Duration::from_secs(60);

/// The settings of a package.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// The Cargo.toml that has them; `None`: there are no settings.
    pub manifest: Option<PathBuf>,
    /// The settings for every run.
    pub all: Choices,
    /// The settings for tests besides.
    pub test: Choices,
}

/// What one table says. [`Options`] has the meaning of each field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choices {
    /// The kernel's command line; may be empty.
    pub cmdline: String,
    /// Files that are loaded besides the kernel.
    pub modules: Vec<Module>,
    /// Those of the modules that the loader does not unpack.
    pub packed: Vec<PathBuf>,
    /// The size of the machine's memory.
    pub memory: Option<String>,
    /// The number of its CPUs.
    pub cpus: Option<u32>,
    /// The model of its CPUs.
    pub cpu: Option<String>,
    /// QEMU's machine.
    pub machine: Option<String>,
    /// It boots from a CD drive.
    pub cd: Option<bool>,
    /// The drive is connected by USB.
    pub usb: Option<bool>,
    /// Further arguments of QEMU.
    pub qemu_args: Vec<String>,
    /// How long it may run.
    pub timeout: Option<Duration>,
    /// The screen is a window.
    pub display: Option<bool>,
}

impl Settings {
    /// The settings that a Cargo.toml has; `None` if it has no such table.
    ///
    /// # Errors
    /// When the file cannot be read, and a [`Problem`] when something in it is wrong.
    pub fn read(manifest: &Path) -> Result<Option<Self>> {
        let text = fs::read_to_string(manifest);
        let text = text.with_context(|| format!("cannot read {}", manifest.display()))?;
        // Most have none, and need not be understood.
        if !text.contains("bootpath") {
            return Ok(None);
        }
        Ok(Reader::new(manifest, &text).settings()?)
    }

    /// The settings for a kernel: those of the package that cargo runs something of, if it has any,
    /// else those of the next Cargo.toml above the kernel's file.
    ///
    /// # Errors
    /// Those of [`Settings::read`].
    pub fn find(kernel: &Path) -> Result<Self> {
        // Cargo sets the variable for whatever `cargo run` and `cargo test` run.
        let package = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
        Self::of(kernel, package.as_deref())
    }

    fn of(kernel: &Path, package: Option<&Path>) -> Result<Self> {
        let own = package.map(|package| package.join("Cargo.toml"));
        let kernel = kernel.canonicalize();
        let above = kernel.iter().flat_map(|kernel| kernel.ancestors());
        let mut above = above.map(|folder| folder.join("Cargo.toml"));
        let above = above.find(|manifest| manifest.is_file());
        for manifest in own.into_iter().chain(above) {
            match Self::read(&manifest) {
                Ok(Some(settings)) => return Ok(settings),
                Ok(None) => {}
                // A folder above may be another user's, and its files of no concern to the kernel.
                Err(error) if error.downcast_ref::<io::Error>().is_some() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Self::default())
    }

    /// Adds the settings to what is chosen already. A single value that is there stays, and that of a
    /// test's own table goes before the other one. Command line, modules and QEMU's arguments come
    /// one after the other: the settings' own, those of the table of tests, and what was there.
    ///
    /// An image has its own command line and modules: only the machine is chosen for it.
    ///
    /// `is_test`: whether it is a test. It has no window unless its own table says so, and it has
    /// [`TEST_TIMEOUT`], unless it waits for a debugger.
    pub fn complete(&self, options: &mut Options, is_test: bool) {
        let tables: &[&Choices] = if is_test {
            &[&self.test, &self.all]
        } else {
            &[&self.all]
        };
        let is_image = BootFile::at(&options.file).is_ok_and(|file| file != BootFile::Kernel);
        for table in tables {
            table.choose_machine(options);
            if !is_image {
                table.add_files(options);
            }
        }
        let switch = |tables: &[&Choices], of: fn(&Choices) -> Option<bool>| {
            tables.iter().find_map(|table| of(table)) == Some(true)
        };
        options.cd |= switch(tables, |table| table.cd);
        options.usb |= switch(tables, |table| table.usb);
        options.display |= switch(&tables[..1], |table| table.display);
        if is_test && !options.gdb {
            options.timeout.get_or_insert(TEST_TIMEOUT);
        }
    }
}

impl Choices {
    fn choose_machine(&self, options: &mut Options) {
        fn choose<T: Clone>(chosen: &mut Option<T>, other: &Option<T>) {
            if chosen.is_none() {
                chosen.clone_from(other);
            }
        }
        choose(&mut options.memory, &self.memory);
        choose(&mut options.cpus, &self.cpus);
        choose(&mut options.cpu, &self.cpu);
        choose(&mut options.machine, &self.machine);
        choose(&mut options.timeout, &self.timeout);
        let arguments = self.qemu_args.iter().map(OsString::from);
        options.arguments.splice(0..0, arguments);
    }

    fn add_files(&self, options: &mut Options) {
        let words = Some(&self.cmdline).filter(|words| !words.is_empty());
        options.words.splice(0..0, words.map(OsString::from));
        options.modules.splice(0..0, self.modules.iter().cloned());
        options.packed.extend_from_slice(&self.packed);
    }
}
