//! Booting a kernel or an image in QEMU, and what comes of it.
//!
//! Success is what the kernel says, by QEMU's device `isa-debug-exit`, and nothing else: the table is
//! [`Status`].

mod boot_file;
mod install;
mod qemu;
#[cfg(unix)]
mod qmp;
mod status;
#[cfg(unix)]
mod watch;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use std::rc::Rc;

use anyhow::Result;

use crate::progress::{self, Progress};

pub use boot_file::BootFile;
pub use status::{Gone, LoaderError, Outcome, Status};

use crate::image::Module;

/// The emulator's program.
pub const QEMU: &str = "qemu-system-x86_64";

/// I/O port at which a guest ends QEMU: a write of `value` makes its exit status
/// `value << 1 | 1`.
pub const EXIT_PORT: u16 = handoff::EXIT_PORT;

/// What a kernel writes to [`EXIT_PORT`] when all is well. Not 0: QEMU's status would be 1, its own
/// for a bad command line.
pub const EXIT_OKAY: u8 = handoff::EXIT_SUCCESS as u8;

/// How QEMU ended, told by its exit status alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The guest wrote this to [`EXIT_PORT`].
    Guest(u8),
    /// QEMU ended without an error: its window was closed, or the guest rebooted or switched off.
    Closed,
    /// QEMU failed, or was killed (`None`).
    Failed(Option<i32>),
}

impl Ending {
    /// What QEMU's exit status means.
    pub fn of(status: ExitStatus) -> Self {
        match status.code() {
            Some(0) => Self::Closed,
            Some(code) if code > 1 && code & 1 == 1 => {
                u8::try_from(code >> 1).map_or(Self::Failed(Some(code)), Self::Guest)
            }
            code => Self::Failed(code),
        }
    }
}

/// What to boot, and on which machine.
#[derive(Clone, Debug)]
pub struct Options {
    /// A kernel, a directory in which `make` makes one, a disk image or a CD image.
    pub file: PathBuf,
    /// The kernel's command line.
    pub words: Vec<OsString>,
    /// Files that are loaded besides the kernel.
    pub modules: Vec<Module>,
    /// Those of the modules that the loader hands over as they are, even if they are compressed.
    pub packed: Vec<PathBuf>,
    /// Further arguments of QEMU, which have the last word.
    pub arguments: Vec<OsString>,
    /// How long it may run.
    pub timeout: Option<Duration>,
    /// QEMU waits for a debugger before the first instruction.
    pub gdb: bool,
    /// The screen is a window, if there is something to open one on.
    pub display: bool,
    /// The size of its memory, as QEMU has it (`512M`); `None`: 256 MiB.
    pub memory: Option<String>,
    /// The number of its CPUs.
    pub cpus: Option<u32>,
    /// The model of its CPUs.
    pub cpu: Option<String>,
    /// QEMU's machine; `None`: `q35`.
    pub machine: Option<String>,
    /// It boots from a CD drive.
    pub cd: bool,
    /// The drive is connected by USB.
    pub usb: bool,
    /// Nothing is said on standard error but errors.
    pub quiet: bool,
}

impl Options {
    /// A PC that boots `file`.
    pub fn new(file: impl Into<PathBuf>) -> Self {
        Self {
            file: file.into(),
            words: Vec::new(),
            modules: Vec::new(),
            packed: Vec::new(),
            arguments: Vec::new(),
            timeout: None,
            gdb: false,
            display: false,
            memory: None,
            cpus: None,
            cpu: None,
            machine: None,
            cd: false,
            usb: false,
            quiet: false,
        }
    }
}

/// What happens while a machine runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// QEMU is started.
    Started,
    /// These bytes came over the serial line.
    Serial(&'a [u8]),
}

/// Where the serial line goes.
pub enum Serial<'a> {
    /// To this program's standard input and output, which QEMU inherits.
    Inherited,
    /// Its input comes from there; its output is told as [`Event`]s. All of it was told when the run
    /// is over.
    Told(Stdio, &'a mut (dyn FnMut(Event<'_>) + Send)),
}

/// A run that was captured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Captured {
    /// What came of it.
    pub outcome: Outcome,
    /// All that came over the serial line.
    pub serial: Vec<u8>,
}

/// Boots a kernel or an image, and captures what comes over its serial line. Nothing goes to this
/// program's standard output.
///
/// # Errors
/// Those of [`run`].
pub fn capture(options: &Options) -> Result<Captured> {
    let mut serial = Vec::new();
    let outcome = run_with(
        options,
        Serial::Told(Stdio::null(), &mut |event| {
            if let Event::Serial(bytes) = event {
                serial.extend_from_slice(bytes);
            }
        }),
        &progress::silent(),
    )?;
    Ok(Captured { outcome, serial })
}

/// Boots a kernel or an image, whose serial line is this program's standard input and output.
/// Everything that was made for it is gone afterwards.
///
/// # Errors
/// When the file is missing or is nothing that can be booted, when its image cannot be built, or
/// when an option does not go with it.
pub fn run(options: &Options) -> Result<Outcome> {
    run_with(options, Serial::Inherited, &progress::silent())
}

/// Boots a kernel or an image, as [`run`], with the serial line where the caller wants it, and tells
/// `progress` how the kernel's image is built.
///
/// # Errors
/// Those of [`run`].
#[cfg(unix)]
pub fn run_with(
    options: &Options,
    serial: Serial<'_>,
    progress: &Rc<dyn Progress>,
) -> Result<Outcome> {
    machine::run(options, serial, progress)
}

/// Only Unix lets QEMU inherit a socket.
///
/// # Errors
/// Always.
#[cfg(not(unix))]
pub fn run_with(_: &Options, _: Serial<'_>, _: &Rc<dyn Progress>) -> Result<Outcome> {
    anyhow::bail!(
        "`run` needs Linux, macOS or another Unix (on Windows: its subsystem for Linux); QEMU boots \
         what `build` makes, by `{QEMU} -drive format=raw,file=disk.img`; to have QEMU, {}",
        install::advice()
    )
}

#[cfg(unix)]
mod machine;

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    #[test]
    fn endings_are_told_apart() {
        let ending = |code: i32| Ending::of(ExitStatus::from_raw(code << 8));
        assert_eq!(ending(0), Ending::Closed);
        assert_eq!(ending(1), Ending::Failed(Some(1)));
        assert_eq!(ending(2), Ending::Failed(Some(2)));
        assert_eq!(ending(3), Ending::Guest(1));
        assert_eq!(ending(33), Ending::Guest(EXIT_OKAY));
        assert_eq!(Ending::of(ExitStatus::from_raw(9)), Ending::Failed(None));
    }
}
