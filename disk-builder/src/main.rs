//! The program: what [`disk_builder`] does, by its command line.

mod command_line;

use std::fmt::Write as _;
use std::io::{self, BufReader, Write as _};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;

use boot_path::errors::text::Escaping;
use disk_builder::host_file;
use disk_builder::image;
use disk_builder::output::{Content, Output};
use disk_builder::run::{Options, Status};
use disk_builder::stages::{self, ElfFile, Program};
use disk_builder::version::Version;
use disk_builder::{Road, inspect, listing, multiboot, run, signals, transcript};

use crate::command_line::{Command, parse, run_options};

fn main() -> ExitCode {
    let arguments = parse();
    if let Err(error) = signals::watch() {
        eprintln!("disk-builder: cannot wait for signals: {error}");
        return ExitCode::FAILURE;
    }
    let result = execute(arguments.command);
    signals::settle();
    match result {
        Ok(code) => code,
        // Whoever reads our output has seen enough.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("disk-builder: {}", shown(&error));
            ExitCode::FAILURE
        }
    }
}

/// An error with its causes. It may contain names of files and texts from them, which a terminal
/// has to show and not obey.
fn shown(error: &anyhow::Error) -> String {
    let mut shown = String::new();
    // Writing to a string cannot fail.
    let _ = write!(Escaping::lines(&mut shown), "{error:#}");
    shown
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
    kind == Some(io::ErrorKind::BrokenPipe)
}

fn execute(command: Command) -> Result<ExitCode> {
    match command {
        Command::Build(options) => write!(io::stdout(), "{}", image::build(&options.recipe()?)?)?,
        Command::Multiboot {
            output,
            force,
            road,
        } => build_multiboot(&output, force, road.into())?,
        Command::Inspect { image, json } => return show(&image, json),
        Command::Run(options) => return boot(&run_options(options)),
        Command::Transcript { log } => extract(log.as_deref())?,
        Command::Listing { program } => {
            listing::print(&program.program(), &mut io::stdout().lock())?;
        }
        Command::Program { program, output } => {
            write_program(&program.program(), output.as_deref())?;
        }
        Command::Version { verbose } => write!(io::stdout(), "{}", Version { verbose })?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Builds the loader as a program for Multiboot loaders.
fn build_multiboot(output: &Path, force: bool, road: Road) -> Result<()> {
    // Find mistakes in the command line before starting anything that takes time.
    Output::new(output, Content::MultibootProgram, force, Vec::new())?;
    let way_in = ElfFile::of(&stages::STAGE1_MULTIBOOT)?;
    let stage2 = ElfFile::of(&stages::STAGE2)?;
    let bytes = multiboot::build(&way_in, &stage2, road, output, force)?;
    writeln!(io::stdout(), "{}: {bytes} bytes", output.display())?;
    Ok(())
}

/// Builds a program and says where it is, or writes it to a file.
fn write_program(program: &Program<'_>, output: Option<&Path>) -> Result<()> {
    let Some(output) = output else {
        let path = stages::build_program(program)?;
        writeln!(io::stdout(), "{}", path.display())?;
        return Ok(());
    };
    let output = Output::new(output, Content::Program, false, Vec::new())?;
    let bytes = ElfFile::of(program)?.read()?;
    output.write(|mut file| Ok(file.write_all(&bytes)?))
}

/// Shows what is in an image; fails if something is wrong with it.
fn show(image: &Path, json: bool) -> Result<ExitCode> {
    let inspection = inspect::inspect(image)?;
    if json {
        writeln!(io::stdout(), "{}", inspection.to_json()?)?;
    } else {
        write!(io::stdout(), "{inspection}")?;
    }
    Ok(match inspection.problems.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// Boots a kernel or an image in QEMU, and returns the exit status of the outcome.
fn boot(options: &Options) -> Result<ExitCode> {
    let outcome = run::run(options)?;
    if outcome.status() != Status::Success {
        eprintln!("disk-builder: {outcome}");
    }
    Ok(ExitCode::from(outcome.status().code()))
}

/// Takes a transcript out of a log, or of standard input.
fn extract(log: Option<&Path>) -> Result<()> {
    let log: Box<dyn io::Read> = match log {
        Some(path) => Box::new(host_file::open_stream(path)?),
        None => Box::new(io::stdin()),
    };
    transcript::extract(BufReader::new(log), &mut io::stdout())
}
