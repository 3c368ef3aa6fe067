//! An end by a signal (Ctrl-C, `kill`, a closed terminal) leaves nothing behind.
//!
//! [`watch`] starts a thread that waits for SIGINT, SIGTERM and SIGHUP. When one arrives, the thread
//! undoes what is registered, the newest first, and ends the program with status 128 plus the
//! signal's number, as shells count it: 130 for SIGINT, 143 for SIGTERM.
//!
//! Temporary files are made by [`temporary_file`] and [`temporary_directory`], other programs are
//! run by [`status`], [`output`] and [`Running`]: they register themselves. A signal cannot arrive
//! between the making of a thing and its registration, because both happen under one lock.

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use shared_child::SharedChild;
use tempfile::{Builder, NamedTempFile, TempDir};

type Undo = Box<dyn FnOnce() + Send>;

/// What a signal has to undo, in the order of its registration.
struct Registry {
    next: u64,
    undo: BTreeMap<u64, Undo>,
}

static REGISTRY: Mutex<Registry> = Mutex::new(Registry {
    next: 0,
    undo: BTreeMap::new(),
});

fn registry() -> MutexGuard<'static, Registry> {
    REGISTRY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Holding one proves that its action is registered. Dropping it withdraws the action.
#[must_use = "what is dropped is no longer undone"]
#[derive(Debug)]
pub struct Registered(u64);

impl Drop for Registered {
    fn drop(&mut self) {
        // The action is dropped outside of the lock.
        let _undo = registry().undo.remove(&self.0);
    }
}

/// Makes something, and registers how a signal undoes it.
///
/// # Errors
/// Those of `make`; nothing is registered then.
pub fn register<T, E>(
    make: impl FnOnce() -> Result<T, E>,
    undo: impl FnOnce(&T) -> Undo,
) -> Result<(T, Registered), E> {
    let mut registry = registry();
    let made = make()?;
    let key = registry.next;
    registry.next += 1;
    registry.undo.insert(key, undo(&made));
    Ok((made, Registered(key)))
}

/// A temporary file in `directory`, which a signal removes. (It does no harm when the file has been
/// moved to its place by then: no file has the temporary name any more.)
///
/// # Errors
/// When the file cannot be made.
pub fn temporary_file(
    builder: &Builder<'_, '_>,
    directory: &Path,
) -> io::Result<(NamedTempFile, Registered)> {
    register(
        || builder.tempfile_in(directory),
        |file| {
            let path: PathBuf = file.path().into();
            Box::new(move || drop(fs::remove_file(path)))
        },
    )
}

/// A temporary directory in the system's usual place. A signal removes it with all that is in it.
///
/// # Errors
/// When the directory cannot be made.
pub fn temporary_directory(builder: &Builder<'_, '_>) -> io::Result<(TempDir, Registered)> {
    temporary_directory_in(builder, &env::temp_dir())
}

/// As [`temporary_directory`], but in `directory`. (A signal does no harm when it has been moved to its
/// place by then: nothing has the temporary name any more.)
///
/// # Errors
/// When the directory cannot be made.
pub fn temporary_directory_in(
    builder: &Builder<'_, '_>,
    directory: &Path,
) -> io::Result<(TempDir, Registered)> {
    register(
        || builder.tempdir_in(directory),
        |directory| {
            let path: PathBuf = directory.path().into();
            Box::new(move || drop(fs::remove_dir_all(path)))
        },
    )
}

/// A program that runs, and that a signal ends.
#[derive(Debug)]
pub struct Running {
    child: Arc<SharedChild>,
    _registered: Registered,
}

impl Running {
    /// Starts a program.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn(command: &mut Command) -> io::Result<Self> {
        let (child, registered) = register(
            || SharedChild::spawn(command).map(Arc::new),
            |child| {
                let child = Arc::clone(child);
                Box::new(move || end(&child))
            },
        )?;
        Ok(Self {
            child,
            _registered: registered,
        })
    }

    /// The program, to wait for it or to end it.
    pub fn child(&self) -> &SharedChild {
        &self.child
    }

    /// Asks the program to end, and kills it if it has not done so soon.
    ///
    /// QEMU must not be killed at once: it gives the terminal back its settings when it ends.
    pub fn end(&self) {
        end(&self.child);
    }
}

/// Nothing that was started here outlives what started it.
impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            self.end();
        }
    }
}

/// How long a program has for ending by itself.
const GRACE: Duration = Duration::from_secs(2);

#[cfg(unix)]
fn end(child: &SharedChild) {
    use shared_child::unix::SharedChildExt as _;

    // It fails when the program has ended.
    let _ = child.send_signal(signal_hook::consts::SIGTERM);
    let deadline = Instant::now() + GRACE;
    while let Ok(None) = child.try_wait() {
        if Instant::now() > deadline {
            let _ = child.kill();
        }
        thread::sleep(Duration::from_millis(5));
    }
}

#[cfg(not(unix))]
fn end(child: &SharedChild) {
    let _ = child.kill();
    let _ = child.wait();
}

/// Runs a program to its end, as [`Command::status`] does.
///
/// # Errors
/// When it cannot be started.
pub fn status(command: &mut Command) -> io::Result<ExitStatus> {
    let running = Running::spawn(command)?;
    running.child.wait()
}

/// Runs a program to its end and takes its standard output. Standard error and standard input stay
/// as `command` says.
///
/// # Errors
/// When it cannot be started, or its output cannot be read.
pub fn output(command: &mut Command) -> io::Result<Output> {
    output_with(command, |_| {})
}

/// As [`output`]; where standard error is piped, each line of it goes to `on_error_line` at once.
///
/// # Errors
/// When it cannot be started, or its output cannot be read.
pub fn output_with(
    command: &mut Command,
    on_error_line: impl Fn(&[u8]) + Send,
) -> io::Result<Output> {
    let running = Running::spawn(command.stdout(Stdio::piped()))?;
    let mut stdout = Vec::new();
    thread::scope(|scope| {
        if let Some(pipe) = running.child.take_stderr() {
            scope.spawn(move || {
                let mut pipe = BufReader::new(pipe);
                let mut line = Vec::new();
                while pipe
                    .read_until(b'\n', &mut line)
                    .is_ok_and(|length| length > 0)
                {
                    on_error_line(&line);
                    line.clear();
                }
            });
        }
        match running.child.take_stdout() {
            Some(mut pipe) => pipe.read_to_end(&mut stdout),
            None => Ok(0),
        }
    })?;
    Ok(Output {
        status: running.child.wait()?,
        stdout,
        stderr: Vec::new(),
    })
}

/// Set in the signal's handler itself, before anything else of the program goes on.
static ARRIVED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// Call this at the end of the program. If a signal has arrived, its thread ends the program, and
/// this does not return.
///
/// Ctrl-C ends the programs that run as well. Without this, their end could look like the reason.
pub fn settle() {
    while ARRIVED
        .get()
        .is_some_and(|arrived| arrived.load(Ordering::SeqCst))
    {
        thread::park();
    }
}

/// Starts to wait for signals.
///
/// # Errors
/// When the system refuses.
#[cfg(unix)]
pub fn watch() -> io::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

    let mut numbers = vec![SIGINT, SIGTERM];
    if !is_ignored(SIGHUP) {
        numbers.push(SIGHUP);
    }
    let mut signals = signal_hook::iterator::Signals::new(&numbers)?;
    let arrived = ARRIVED.get_or_init(Arc::default);
    for &number in &numbers {
        signal_hook::flag::register(number, Arc::clone(arrived))?;
    }
    thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            if let Some(signal) = signals.forever().next() {
                undo_all_and_exit(128 + signal);
            }
        })?;
    Ok(())
}

/// On other systems, a signal's default action is all there is.
///
/// # Errors
/// None.
#[cfg(not(unix))]
pub fn watch() -> io::Result<()> {
    Ok(())
}

/// Was this program started with the signal ignored? `nohup` does that with SIGHUP.
#[cfg(unix)]
fn is_ignored(signal: i32) -> bool {
    let ignored = fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|status| {
            let mask = status
                .lines()
                .find_map(|line| line.strip_prefix("SigIgn:"))?;
            u64::from_str_radix(mask.trim(), 16).ok()
        });
    ignored.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

/// Undoes what is registered, the newest first. The lock is kept, so that nothing new is made.
#[cfg(unix)]
fn undo_all_and_exit(status: i32) -> ! {
    let mut registry = registry();
    while let Some((_, undo)) = registry.undo.pop_last() {
        undo();
    }
    std::process::exit(status)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The number of registered actions is that of all tests of this process: only own ones are
    /// looked at.
    fn is_registered(registered: &Registered) -> bool {
        registry().undo.contains_key(&registered.0)
    }

    #[test]
    fn what_is_dropped_is_withdrawn() {
        let (file, registered) = temporary_file(&Builder::new(), &std::env::temp_dir()).unwrap();
        assert!(is_registered(&registered));
        let key = registered.0;
        drop(registered);
        assert!(!registry().undo.contains_key(&key));
        drop(file);
    }

    #[test]
    fn what_is_registered_removes_files_and_directories() {
        let (file, file_registered) =
            temporary_file(&Builder::new(), &std::env::temp_dir()).unwrap();
        let (directory, directory_registered) = temporary_directory(&Builder::new()).unwrap();
        fs::write(directory.path().join("inside"), "x").unwrap();
        for registered in [&file_registered, &directory_registered] {
            let undo = registry().undo.remove(&registered.0);
            undo.unwrap()();
        }
        assert!(!file.path().exists());
        assert!(!directory.path().exists());
    }

    #[test]
    fn what_cannot_be_made_is_not_registered() {
        let error = register(|| Err::<(), _>("no room"), |()| unreachable!()).unwrap_err();
        assert_eq!(error, "no room");
        let missing = Path::new("/nonexistent/directory");
        assert!(temporary_file(&Builder::new(), missing).is_err());
        assert!(Running::spawn(&mut Command::new("/nonexistent/program")).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn a_program_that_runs_is_ended() {
        let mut command = Command::new("sleep");
        let running = Running::spawn(command.arg("1000")).unwrap();
        running.end();
        assert!(running.child().try_wait().unwrap().is_some());

        let output = output(Command::new("echo").arg("hello")).unwrap();
        assert_eq!(output.stdout, b"hello\n");
        assert!(status(&mut Command::new("true")).unwrap().success());
    }
}
