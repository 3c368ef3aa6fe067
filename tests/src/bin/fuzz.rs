//! `./run.sh fuzz [TARGET…] [SECONDS] [--keep]`: fuzzes by stable Rust.
//!
//! The targets (package `fuzz`) are built with LLVM's instrumentation, see `targets/fuzz.toml`.
//! libFuzzer runs as many of them at a time as there are CPUs, each for SECONDS (60). What they
//! learn stays in `target/fuzz`, where the next run goes on. `--keep` adds inputs to `fuzz/corpus`
//! that reach code which nothing in it reaches. An input that takes more than ten seconds is a
//! finding, and so is one that takes 2 GiB.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::thread;

use anyhow::{Context as _, Result, ensure};
use disk_builder::stages::workspace;
use fuzz::TARGETS;

const USAGE: &str = "usage: ./run.sh fuzz [TARGET…] [SECONDS] [--keep]";
const SECONDS: u32 = 60;

/// libFuzzer's options: the limits for one input, and counts at the end.
const LIMITS: [&str; 4] = [
    "-timeout=10",
    "-rss_limit_mb=2048",
    "-max_len=65536",
    "-print_final_stats=1",
];

/// What the command line asks for.
struct Arguments {
    seconds: u32,
    keep: bool,
    names: Vec<&'static str>,
}

/// `None`: a word makes no sense.
fn arguments() -> Option<Arguments> {
    let mut seconds = SECONDS;
    let mut keep = false;
    let mut names = Vec::new();
    for argument in std::env::args().skip(1) {
        if let Ok(number) = argument.parse() {
            seconds = number;
        } else if argument == "--keep" {
            keep = true;
        } else if let Some(target) = TARGETS.iter().find(|target| target.name == argument) {
            names.push(target.name);
        } else {
            return None;
        }
    }
    if names.is_empty() {
        names.extend(TARGETS.iter().map(|target| target.name));
    }
    Some(Arguments {
        seconds,
        keep,
        names,
    })
}

fn main() -> Result<ExitCode> {
    let Some(arguments) = arguments() else {
        let all: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
        eprintln!("{USAGE}\ntargets: {}", all.join(", "));
        return Ok(ExitCode::from(2));
    };
    let Arguments { seconds, names, .. } = &arguments;
    let seconds = *seconds;
    ensure!(seconds > 0, "{USAGE}");

    let programs = build()?;
    let results = Mutex::new(Vec::new());
    let next = Mutex::new(names.iter());
    let workers = thread::available_parallelism().map_or(1, |count| count.get());
    println!(
        "{} targets, {seconds} s each, {} at a time",
        names.len(),
        workers.min(names.len())
    );
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let name = next.lock().ok().and_then(|mut next| next.next());
                    let Some(name) = name else { break };
                    let result = Place::new(&programs, name).and_then(|place| {
                        let outcome = place.fuzz(seconds)?;
                        if arguments.keep {
                            place.keep()?;
                        }
                        Ok(outcome)
                    });
                    if let Ok(mut results) = results.lock() {
                        results.push((*name, result));
                    }
                }
            });
        }
    });

    let mut results = results.into_inner().unwrap_or_default();
    results.sort_by_key(|(name, _)| names.iter().position(|other| other == name));
    Ok(match report(results, seconds)? {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// Prints the results. Returns whether all of them are good.
fn report(results: Vec<(&'static str, Result<Outcome>)>, seconds: u32) -> Result<bool> {
    println!("target             executions  per second    cov:     ft:  findings");
    let mut good = true;
    for (name, result) in results {
        let outcome = result.with_context(|| name)?;
        good &= outcome.findings.is_empty() && outcome.ended_well;
        println!(
            "{name:16} {:>12} {:>11} {:>7} {:>7}  {}",
            outcome.executions,
            outcome.executions / u64::from(seconds),
            outcome.cov,
            outcome.ft,
            match outcome.findings.as_slice() {
                [] if outcome.ended_well => "none".to_owned(),
                [] => format!("it failed: {}", outcome.log.display()),
                findings => format!("{}: see {}", findings.join(", "), outcome.log.display()),
            }
        );
    }
    Ok(good)
}

/// The directory for everything that fuzzing writes.
fn directory() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let target = target.unwrap_or_else(|| workspace().join("target"));
    std::path::absolute(&target).unwrap_or(target).join("fuzz")
}

/// Builds all targets, and returns their directory.
fn build() -> Result<PathBuf> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = Command::new(rustc).arg("-vV").output().context("rustc")?;
    let version = String::from_utf8_lossy(&version.stdout).into_owned();
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    let host = host.context("rustc does not name the host")?;

    let build = directory().join("build");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .current_dir(workspace())
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .args(["--config", "targets/fuzz.toml", "build", "--quiet"])
        .args(["--release", "--package", "fuzz", "--bins"])
        .args(["--target", host, "--target-dir"])
        .arg(&build)
        .status()
        .context("cargo cannot be run")?;
    ensure!(status.success(), "the targets do not build");
    Ok(build.join(host).join("release"))
}

/// A target: its program and its directories.
struct Place {
    program: PathBuf,
    /// The corpus in git.
    corpus: PathBuf,
    /// What earlier runs have learnt.
    learnt: PathBuf,
    /// Inputs that break a promise, one finding a file.
    findings: PathBuf,
    log: PathBuf,
}

/// How a run ended.
struct Outcome {
    executions: u64,
    cov: String,
    ft: String,
    /// Names of files.
    findings: Vec<String>,
    ended_well: bool,
    log: PathBuf,
}

impl Place {
    fn new(programs: &Path, name: &str) -> Result<Self> {
        let place = Self {
            program: programs.join(name),
            corpus: workspace().join("fuzz/corpus").join(name),
            learnt: directory().join("corpus").join(name),
            findings: directory().join("findings").join(name),
            log: directory().join(format!("{name}.log")),
        };
        fs::create_dir_all(&place.learnt)?;
        fs::create_dir_all(&place.findings)?;
        Ok(place)
    }

    fn command(&self) -> Result<Command> {
        let log = File::options().create(true).append(true).open(&self.log)?;
        let mut command = Command::new(&self.program);
        command
            .args(LIMITS)
            .env("RUST_BACKTRACE", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        Ok(command)
    }

    fn fuzz(&self, seconds: u32) -> Result<Outcome> {
        let mut prefix = OsString::from("-artifact_prefix=");
        prefix.push(self.findings.join(""));
        let before = self.found()?;
        fs::write(&self.log, "")?;
        let status = self
            .command()?
            .arg(format!("-max_total_time={seconds}"))
            .arg(prefix)
            .args([&self.learnt, &self.corpus])
            .status()
            .with_context(|| format!("{} cannot be run", self.program.display()))?;

        let text = fs::read(&self.log)?;
        let text = String::from_utf8_lossy(&text);
        // There are many such lines, of which the last one counts.
        let last = |key: &str| {
            let words = text.lines().rev().find_map(|line| line.split_once(key));
            let number = words.and_then(|(_, rest)| rest.split_whitespace().next());
            number.unwrap_or("?").to_owned()
        };
        let mut findings = self.found()?;
        findings.retain(|name| !before.contains(name));
        Ok(Outcome {
            executions: last("stat::number_of_executed_units:").parse().unwrap_or(0),
            cov: last(" cov: "),
            ft: last(" ft: "),
            findings,
            ended_well: status.success(),
            log: self.log.clone(),
        })
    }

    fn found(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.findings)? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }

    /// Adds to the corpus in git, shortest first, inputs that reach code which it does not reach.
    /// How often code is reached does not count, because the corpus is to stay small.
    fn keep(&self) -> Result<()> {
        let status = self
            .command()?
            .args(["-merge=1", "-use_counters=0"])
            .args([&self.corpus, &self.learnt])
            .status()?;
        ensure!(status.success(), "see {}", self.log.display());
        Ok(())
    }
}
