//! `./run.sh compare FILE… [--module "PATH[ TEXT]"]… [--cmdline TEXT] [--protocol NAME] [--timeout
//! SECONDS]`: boots each kernel file by Bootpath, by GRUB and by QEMU's `-kernel`, and prints next to
//! each other how far each of them got.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use disk_builder::Protocol;
use machine_tests::compare::{Question, compare, side_by_side};

/// Emulated, on a busy host. A kernel that runs on and on takes all of it.
const TIME_LIMIT: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    let questions = match questions(std::env::args().skip(1)) {
        Ok(questions) => questions,
        Err(error) => {
            eprintln!("compare: {error:#}");
            return ExitCode::from(2);
        }
    };
    for question in questions {
        println!("{}", question.kernel.display());
        match compare(&question) {
            Ok(outcomes) => print!("{}", side_by_side(&outcomes)),
            Err(error) => {
                eprintln!("compare: {error:#}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

/// What the command line asks for: one question for each file.
fn questions(mut arguments: impl Iterator<Item = String>) -> Result<Vec<Question>> {
    let mut files = Vec::new();
    let mut question = Question {
        kernel: PathBuf::new(),
        modules: Vec::new(),
        command_line: String::new(),
        protocol: None,
        time_limit: TIME_LIMIT,
    };
    while let Some(argument) = arguments.next() {
        let mut value = || {
            arguments
                .next()
                .with_context(|| format!("{argument} needs a value"))
        };
        match argument.as_str() {
            "--module" => {
                let module = value()?;
                let (path, text) = module.split_once(' ').unwrap_or((&module, ""));
                question.modules.push((path.into(), text.into()));
            }
            "--cmdline" => question.command_line = value()?,
            "--protocol" => {
                let name = value()?;
                let protocol = Protocol::from_name(&name);
                question.protocol = Some(protocol.with_context(|| format!("no protocol {name}"))?);
            }
            "--timeout" => {
                let seconds = value()?;
                let count = seconds
                    .parse()
                    .with_context(|| format!("{seconds}: no number"))?;
                question.time_limit = Duration::from_secs(count);
            }
            option if option.starts_with("--") => bail!("unknown option {option}"),
            file => files.push(PathBuf::from(file)),
        }
    }
    ensure!(!files.is_empty(), "no kernel file is named");
    let of = |kernel| Question {
        kernel,
        ..question.clone()
    };
    Ok(files.into_iter().map(of).collect())
}
