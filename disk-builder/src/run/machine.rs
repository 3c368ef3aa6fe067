//! One run: the image, QEMU, and the end.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::rc::Rc;
use std::thread;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use boot_path::kernel::image::PREFERRED_BASE;
use boot_path::memory::layout;

use super::boot_file::BootFile;
use super::qmp::Qmp;
use super::status::{Gone, Outcome};
use super::watch::{End, Programs, Watch};
use super::{Ending, Event, Options, QEMU, Serial};
use super::{install, qemu};
use crate::image::{self, Recipe};
use crate::inspect::Inspection;
use crate::progress::Progress;
use crate::signals::{self, Running};
use crate::stages::{self, ElfFile, Stages};

/// See [`super::run`].
pub fn run(options: &Options, serial: Serial<'_>, progress: &Rc<dyn Progress>) -> Result<Outcome> {
    // Find mistakes in the command line before starting anything that takes time.
    let what = BootFile::at(&options.file)?;
    let words = words(options, what)?;
    if !qemu::is_installed() {
        return Ok(Outcome::NoMachine(format!(
            "{QEMU} is not installed: {}",
            install::advice()
        )));
    }

    // The registration is declared first, so that it is withdrawn only when the directory is gone.
    let _registered;
    let directory;
    let mut builder = tempfile::Builder::new();
    (directory, _registered) = signals::temporary_directory(builder.prefix("bootpath-run-"))
        .context("cannot make a temporary directory")?;
    let directory = directory.path();
    let (image, symbols) = match what {
        BootFile::Kernel => build(options, words, directory, progress)?,
        // An absolute path, so that QEMU takes no part of it for a protocol ("nbd:…").
        BootFile::Disk | BootFile::Cd => (options.file.canonicalize()?, String::new()),
    };
    let programs = File::open(&image)
        .and_then(|mut file| Programs::of(&mut file))
        .with_context(|| format!("cannot read {}", image.display()))?;
    if options.gdb && !options.quiet {
        let gdb = qemu::GDB;
        let _ = writeln!(
            io::stderr(),
            "disk-builder: QEMU waits for a debugger at {gdb}:\n  \
             gdb{symbols} -ex 'target remote {gdb}'"
        );
    }
    let log = Log::of(options, directory);
    let cd = options.cd || what == BootFile::Cd;
    boot(options, (&image, cd), programs, &log, serial)
}

/// The kernel's command line. Refuses options that do not go together.
fn words(options: &Options, what: BootFile) -> Result<String> {
    ensure!(
        !qemu::has_argument(&options.arguments, "daemonize"),
        "-daemonize is not possible: nobody would see how it ends"
    );
    let words: Vec<&str> = options
        .words
        .iter()
        .map(|word| word.to_str())
        .collect::<Option<_>>()
        .context("the kernel's command line is not UTF-8")?;
    let words = words.join(" ");
    let name = options.file.display();
    ensure!(
        what == BootFile::Kernel || words.is_empty(),
        "{name} is an image, which holds its kernel's command line: it cannot be given another one \
         ({words:?}); QEMU's arguments go behind `--`"
    );
    ensure!(
        what == BootFile::Kernel || options.modules.is_empty(),
        "{name} is an image, which holds its kernel's modules: it cannot be given others"
    );
    Ok(words)
}

/// QEMU's log, in which it notes triple faults.
struct Log {
    path: PathBuf,
    /// Whether QEMU writes this file: the user may have asked for a log elsewhere.
    is_written: bool,
    /// Whether the log shows a triple fault.
    has_faults: bool,
}

impl Log {
    fn of(options: &Options, directory: &Path) -> Self {
        let is_written = !["d", "D"]
            .map(|name| qemu::has_argument(&options.arguments, name))
            .contains(&true);
        let is_virtualized = qemu::is_virtualized(&options.arguments, options.machine.as_deref());
        Self {
            path: directory.join("qemu.log"),
            is_written,
            has_faults: is_written && !is_virtualized,
        }
    }

    /// QEMU's arguments for it.
    fn arguments(&self) -> Vec<OsString> {
        if !self.is_written {
            return Vec::new();
        }
        let path = self.path.clone().into();
        vec!["-d".into(), "cpu_reset".into(), "-D".into(), path]
    }

    /// Whether there was a triple fault, if that is known.
    fn triple_fault(&self) -> Option<bool> {
        self.has_faults.then(|| had_triple_fault(&self.path))
    }
}

/// Starts QEMU, and waits for its end or for the loader's.
fn boot(
    options: &Options,
    (image, cd): (&Path, bool),
    programs: Programs,
    log: &Log,
    serial: Serial<'_>,
) -> Result<Outcome> {
    let (qmp, theirs, mut own) = Qmp::connect().context("cannot make a socket")?;
    own.extend(log.arguments());
    let deadline = options.timeout.map(|timeout| Instant::now() + timeout);
    let mut command = qemu::command(options, image, cd, &own);
    let tell = match serial {
        Serial::Inherited => None,
        Serial::Told(input, tell) => {
            command.stdin(input).stdout(Stdio::piped());
            Some(tell)
        }
    };
    let qemu = match Running::spawn(&mut command) {
        Ok(qemu) => qemu,
        Err(error) => return Ok(Outcome::NoMachine(format!("cannot run {QEMU}: {error}"))),
    };
    drop(theirs);

    let outcome = thread::scope(|scope| {
        if let (Some(tell), Some(pipe)) = (tell, qemu.child().take_stdout()) {
            tell(Event::Started);
            scope.spawn(move || pass_on(pipe, tell));
        }
        let mut watch = Watch::new(&qemu, qmp, programs);
        let outcome = wait(&mut watch, options, deadline, log);
        watch.quit();
        // If QEMU does not end by itself, it is ended here. That also ends its output.
        drop(qemu);
        outcome
    })?;
    // Ctrl-C ends QEMU as well, but the signal is what counts.
    signals::settle();
    Ok(outcome)
}

/// Tells what comes over the serial line, until its end.
fn pass_on(mut serial: impl Read, tell: &mut (dyn FnMut(Event<'_>) + Send)) {
    let mut bytes = [0; 4096];
    loop {
        match serial.read(&mut bytes) {
            Ok(length @ 1..) => tell(Event::Serial(&bytes[..length])),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // The watch says how QEMU ended.
            Ok(0) | Err(_) => return,
        }
    }
}

/// Waits until the outcome is known. With a debugger, an error of the loader does not end the run,
/// because somebody is looking at the machine.
fn wait(
    watch: &mut Watch<'_>,
    options: &Options,
    deadline: Option<Instant>,
    log: &Log,
) -> Result<Outcome> {
    let mut end = watch.until(deadline, true)?;
    let mut stopped = None;
    if let (true, End::LoaderError(error)) = (options.gdb, &end) {
        let _ = writeln!(io::stderr(), "disk-builder: the loader stopped: {error}");
        stopped = Some(error.clone());
        end = watch.until(deadline, false)?;
    }
    Ok(match (end, stopped) {
        (End::Qemu { .. }, Some(error)) | (End::LoaderError(error), _) => {
            Outcome::LoaderError(error)
        }
        (End::TimeOut(cpu), _) => Outcome::TimeOut {
            seconds: options.timeout.unwrap_or_default().as_secs(),
            cpu,
        },
        (
            End::Qemu {
                status,
                started,
                reason,
            },
            None,
        ) => outcome(status, started, reason.as_deref(), log.triple_fault()),
    })
}

/// Builds an image with the kernel. Returns its path, and gdb's arguments for the kernel's symbols.
fn build(
    options: &Options,
    command_line: String,
    directory: &Path,
    progress: &Rc<dyn Progress>,
) -> Result<(PathBuf, String)> {
    let kernel = image::find_kernel(Some(&options.file))?;
    let output = directory.join("disk.img");
    let stage1_cd = options
        .cd
        .then(|| ElfFile::of(&stages::STAGE1_CD))
        .transpose()?;
    let recipe = Recipe {
        command_line,
        modules: options.modules.clone(),
        packed: options.packed.clone(),
        stage1_cd,
        ..Recipe::new(&kernel, &output, Stages::find()?)
    };
    let built = image::build_with_progress(&recipe, progress)?;
    Ok((output, symbols(&kernel, &built.inspection)))
}

/// What QEMU's end means. `triple_fault`: whether there was one, if that is known.
fn outcome(
    status: ExitStatus,
    started: bool,
    reason: Option<&str>,
    triple_fault: Option<bool>,
) -> Outcome {
    match Ending::of(status) {
        Ending::Guest(value) => Outcome::Reported(value),
        Ending::Closed if !started => {
            Outcome::NoMachine("QEMU ended without starting a machine".into())
        }
        Ending::Closed => Outcome::Gone(match reason {
            Some("guest-reset") => match triple_fault {
                Some(true) => Gone::TripleFault,
                Some(false) => Gone::Reset { surely: true },
                None => Gone::Reset { surely: false },
            },
            Some("guest-shutdown") => Gone::PowerOff,
            Some("host-signal") => Gone::Interrupted,
            _ => Gone::Closed,
        }),
        // QEMU ends with 1 if the kernel writes 0, and also, before the machine starts, on bad
        // arguments.
        Ending::Failed(Some(1)) if started => Outcome::Reported(0),
        Ending::Failed(Some(code)) if started => Outcome::Gone(Gone::Ended(code)),
        Ending::Failed(Some(code)) => {
            Outcome::NoMachine(format!("QEMU did not start: it ended with status {code}"))
        }
        Ending::Failed(None) => Outcome::Gone(Gone::Killed(status.signal().unwrap_or(0))),
    }
}

/// QEMU's own CPU notes a triple fault in its log before it resets the machine.
fn had_triple_fault(log: &Path) -> bool {
    let log = fs::read(log).unwrap_or_default();
    String::from_utf8_lossy(&log)
        .lines()
        .any(|line| line == "Triple fault")
}

/// gdb's arguments for a kernel's symbols, where they are in memory; nothing for a kernel that is not
/// the loader's own or is compressed.
fn symbols(kernel: &Path, inspection: &Inspection) -> String {
    let is_compressed = inspection.files.iter().any(|file| file.unpacked.is_some());
    let name = kernel.display();
    let Some(image) = inspection.booted.kernel.as_ref().filter(|_| !is_compressed) else {
        return String::new();
    };
    match image.segments.first() {
        Some(first) if image.position_independent => {
            let page = first.address & !(layout::PAGE_SIZE - 1);
            let slide = PREFERRED_BASE.as_u64().wrapping_sub(page);
            format!(" -ex 'add-symbol-file {name} -o {slide:#x}'")
        }
        _ => format!(" '{name}'"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exit(code: i32) -> ExitStatus {
        ExitStatus::from_raw(code << 8)
    }

    #[test]
    fn the_end_of_qemu_is_understood() {
        let gone = |reason, triple_fault| match outcome(exit(0), true, reason, triple_fault) {
            Outcome::Gone(gone) => gone,
            other => panic!("{other:?}"),
        };
        assert_eq!(gone(Some("guest-reset"), Some(true)), Gone::TripleFault);
        assert_eq!(
            gone(Some("guest-reset"), Some(false)),
            Gone::Reset { surely: true }
        );
        assert_eq!(
            gone(Some("guest-reset"), None),
            Gone::Reset { surely: false }
        );
        assert_eq!(gone(Some("guest-shutdown"), Some(true)), Gone::PowerOff);
        assert_eq!(gone(Some("host-signal"), None), Gone::Interrupted);
        assert_eq!(gone(Some("host-ui"), None), Gone::Closed);
        assert_eq!(gone(None, None), Gone::Closed);

        assert_eq!(outcome(exit(33), true, None, None), Outcome::Reported(0x10));
        assert_eq!(outcome(exit(35), true, None, None), Outcome::Reported(0x11));
        // Status 1 is the kernel's 0 only when there was a kernel.
        assert_eq!(outcome(exit(1), true, None, None), Outcome::Reported(0));
        for status in [exit(0), exit(1), exit(2)] {
            let outcome = outcome(status, false, None, None);
            assert!(matches!(outcome, Outcome::NoMachine(_)), "{outcome:?}");
        }
        let killed = outcome(ExitStatus::from_raw(9), true, None, None);
        assert_eq!(killed, Outcome::Gone(Gone::Killed(9)));
        let aborted = outcome(exit(2), true, None, None);
        assert_eq!(aborted, Outcome::Gone(Gone::Ended(2)));
    }
}
