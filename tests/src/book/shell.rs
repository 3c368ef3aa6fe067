//! Runs commands of a page by a shell in a directory of their own.

use std::io::{self, Read as _};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process_group};

use super::page::{Ends, Experiment};
use super::promise;

/// How long commands may take. They build programs, and the host may be busy.
const TIME_LIMIT: Duration = Duration::from_secs(300);
/// How long they may take to end when asked to.
const GRACE: Duration = Duration::from_secs(10);
/// How often they are polled.
const POLL: Duration = Duration::from_millis(50);
/// Ends the shell, and what it starts, when nobody holds the other end of its standard input any
/// more: they are a process group of their own, which Ctrl-C does not reach.
const WATCH: &str = "exec 9<&0 </dev/null
{ read -r -u 9 || kill -TERM 0; } >/dev/null 2>&1 &
disown
exec 9<&-
";
/// What the shell says of a command that does not exist.
const UNKNOWN: &str = "command not found";

/// A place to run commands, and their environment.
pub struct Shell {
    /// The directory they begin in.
    pub directory: PathBuf,
    /// Definitions that are made before the commands.
    pub definitions: String,
    /// Variables of the environment.
    pub environment: Vec<(&'static str, PathBuf)>,
}

impl Shell {
    /// Runs the commands of an experiment, and compares what they print with what is promised.
    ///
    /// # Errors
    /// The promise that was not kept, or the unexpected status, with the line of the page and the
    /// output.
    pub fn run(&self, experiment: &Experiment) -> Result<()> {
        let Experiment {
            commands,
            ends,
            promises,
            ..
        } = experiment;
        let compare = |printed: &str| {
            let lines = promise::lines(printed);
            promises
                .iter()
                .try_fold(0, |start, promise| promise.find(&lines, start))
        };
        let mut running = Running::start(self.command(&commands.text))?;
        let is_enough = |printed: &str| *ends == Ends::Never && compare(printed).is_ok();
        let (ended, printed) = running.wait(is_enough)?;
        let unknown = printed.lines().find(|line| line.contains(UNKNOWN));
        let result = match (unknown, compare(&printed)) {
            (Some(line), _) => Err((commands.line, line.to_owned())),
            (None, Err(broken)) => {
                let instead = match &broken.printed {
                    Some(line) => format!("printed:  {line}"),
                    None => "nothing like it was printed".to_owned(),
                };
                let promised = format!("promised: {}\n  {instead}", broken.promised);
                Err((broken.line, promised))
            }
            (None, Ok(_)) => {
                status(*ends, ended).map_err(|error| (commands.line, error.to_string()))
            }
        };
        result.map_err(|(line, what)| {
            let commands = indented(&commands.text, "$ ");
            let printed = indented(&printed, "| ");
            anyhow::anyhow!("{line}: {what}\n{commands}{printed}")
        })
    }

    /// Runs commands that promise nothing.
    ///
    /// # Errors
    /// When one of them fails.
    pub fn run_silently(&self, commands: &str) -> Result<()> {
        let mut running = Running::start(self.command(commands))?;
        let (ended, printed) = running.wait(|_| false)?;
        let status = status(Ends::Well, ended);
        status.with_context(|| indented(commands, "$ ") + &indented(&printed, "| "))
    }

    fn command(&self, commands: &str) -> Command {
        let mut command = Command::new("bash");
        command
            .args(["--noprofile", "--norc", "-e", "-c"])
            .arg(format!("{WATCH}{}\n{commands}", self.definitions))
            .current_dir(&self.directory)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .env("BOOTPATH_NO_INSTALL", "1") // the test run itself has looked for what is missing
            .env_remove("RUST_BACKTRACE")
            .env("TERM", "dumb")
            .env("LC_ALL", "C")
            .env_remove("DISPLAY")
            .env_remove("WAYLAND_DISPLAY")
            .stdin(Stdio::piped());
        command
    }
}

/// Checks that commands ended as they should.
fn status(ends: Ends, ended: Option<ExitStatus>) -> Result<()> {
    match (ends, ended) {
        (Ends::Well, Some(status)) => ensure!(status.success(), "a command failed: {status}"),
        (Ends::Badly, Some(status)) => {
            ensure!(!status.success(), "no command failed");
            ensure!(status.code().is_some(), "the shell was ended: {status}");
        }
        (Ends::Never, Some(status)) => bail!("the last command ended by itself: {status}"),
        (Ends::Never, None) => {}
        (_, None) => bail!("the commands did not end in {} s", TIME_LIMIT.as_secs()),
    }
    Ok(())
}

/// The lines of a text, or the last ones of many.
fn indented(text: &str, before: &str) -> String {
    const MOST: usize = 60;

    let more = text.lines().count().saturating_sub(MOST);
    let first = if more > 0 {
        format!("  {before}({more} lines before)\n")
    } else {
        String::new()
    };
    let lines = text.lines().skip(more);
    let lines = lines.map(|line| format!("  {before}{}\n", line.trim_end_matches('\r')));
    first + &lines.collect::<String>()
}

/// Commands that are running. They are ended when this goes out of scope.
struct Running {
    child: Child,
    printed: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

impl Running {
    fn start(mut command: Command) -> Result<Self> {
        // A pipe, like the one to a terminal: some commands open /dev/stderr, which would truncate
        // a file.
        let (mut reader, writer) = io::pipe()?;
        command
            .stdout(writer.try_clone()?)
            .stderr(writer)
            .process_group(0); // so that what the shell has started ends with it
        let child = command.spawn().context("cannot run bash")?;
        drop(command); // and with it the writers
        let printed = Arc::new(Mutex::new(Vec::new()));
        let copy = Arc::clone(&printed);
        let reader = thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = reader.read(&mut buffer) {
                locked(&copy).extend(&buffer[..length]);
            }
        });
        Ok(Self {
            child,
            printed,
            reader,
        })
    }

    /// Waits until the shell has ended, until the output is enough, or until the time is up, and
    /// then ends everything. Returns how the shell ended by itself, if it did, and the output.
    fn wait(&mut self, is_enough: impl Fn(&str) -> bool) -> Result<(Option<ExitStatus>, String)> {
        let start = Instant::now();
        loop {
            let ended = self.child.try_wait()?;
            let printed = self.printed();
            if ended.is_none() && is_enough(&printed) {
                self.stop();
                return Ok((None, printed)); // without the output of stopping it
            }
            if ended.is_some() || start.elapsed() > TIME_LIMIT {
                self.stop();
                return Ok((ended, self.printed()));
            }
            sleep(POLL);
        }
    }

    fn printed(&self) -> String {
        String::from_utf8_lossy(&locked(&self.printed)).into_owned()
    }

    /// Ends whatever still runs: first by asking, because the shell may have to clean up.
    fn stop(&mut self) {
        for signal in [Signal::TERM, Signal::KILL] {
            let asked = Instant::now();
            let group = Pid::from_child(&self.child);
            while self.is_there() && asked.elapsed() < GRACE {
                // The only processes left may be about to end.
                let _ = kill_process_group(group, signal);
                sleep(POLL);
            }
        }
    }

    /// Whether the shell, or any process that can still print, is alive.
    fn is_there(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None)) || !self.reader.is_finished()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}

fn locked(bytes: &Mutex<Vec<u8>>) -> MutexGuard<'_, Vec<u8>> {
    bytes.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::book::page::Page;

    /// The fault of a page, if there is one.
    fn run(text: &str) -> Option<String> {
        let directory = tempfile::tempdir().expect("a directory");
        let shell = Shell {
            directory: directory.path().to_owned(),
            definitions: "say() { echo said \"$@\"; }".to_owned(),
            environment: Vec::new(),
        };
        let page = Page::read("page.md", text).expect("a page");
        let mut experiments = page.experiments.iter();
        let result = experiments.try_for_each(|experiment| shell.run(experiment));
        result.err().map(|error| error.to_string())
    }

    #[test]
    fn promises_are_compared_with_what_is_printed() {
        let page = |commands: &str, promise: &str| {
            run(&format!(
                "```sh{commands}\n```\n\n```text\n{promise}\n```\n"
            ))
        };
        assert_eq!(page("\nsay 1 >file\ncat file", "said 1"), None);
        assert_eq!(page("\nsay 1 >&2", "said ≈7"), None);
        assert_eq!(page(" fails\nsay 1\nfalse", "said 1"), None);
        assert_eq!(page(" endless\nsay 1\nsleep 1000 | cat", "said 1"), None);
        for (commands, promise, message) in [
            (
                "\nsay 2",
                "said 1",
                "6: promised: said 1\n  printed:  said 2\n  $ say 2\n  | said 2\n",
            ),
            (
                "\ntrue",
                "said 1",
                "6: promised: said 1\n  nothing like it was printed\n",
            ),
            (
                "\nsay 1\nfalse",
                "said 1",
                "2: a command failed: exit status: 1\n",
            ),
            ("\nfalse\nsay 1", "said 1", "7: promised: said 1"),
            ("\nsay 1 | tell", "said 1", "2: bash: line "),
            ("\nsay 1; tell | cat", "said 1", "2: bash: line "),
            (" fails\nsay 1", "said 1", "2: no command failed\n"),
            (" fails\nsay 1\ntell", "said 1", "2: bash: line "),
            (
                " fails\nsay 1\nkill -9 $$",
                "said 1",
                "2: the shell was ended",
            ),
            (" endless\nsay 1", "said 2", "6: promised: said 2"),
        ] {
            let error = page(commands, promise).unwrap_or_default();
            assert!(error.starts_with(message), "{commands}: {error}");
        }
    }

    /// The process that tests may be ended, too.
    #[test]
    fn a_shell_without_its_test_ends() -> Result<()> {
        let shell = Shell {
            directory: PathBuf::from("."),
            definitions: String::new(),
            environment: Vec::new(),
        };
        let mut running = Running::start(shell.command("sleep 1000 | cat"))?;
        let start = Instant::now();
        drop(running.child.stdin.take()); // as when the process ends
        while running.is_there() && start.elapsed() < GRACE {
            sleep(POLL);
        }
        ensure!(!running.is_there(), "it goes on");
        Ok(())
    }

    /// The shell ends what it has put into a process group of its own.
    #[test]
    fn nobody_is_left() {
        let start = Instant::now();
        let text = "```sh endless\nset -m\nsleep 1000 &\ntrap 'kill -- -$!' EXIT\nset +m\necho here\nsleep 1000\n```\n\n```text\nhere\n```\n";
        assert_eq!(run(text), None);
        assert!(start.elapsed() < GRACE);
    }
}
