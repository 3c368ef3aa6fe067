//! The program: what [`disk_builder`] does, by its command line.

mod command_line;

use std::fmt::Write as _;
use std::io::{self, BufReader, Write as _};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;

use boot_path::errors::text::{Escaping, Shown};
use disk_builder::host_file;
use disk_builder::image;
use disk_builder::new;
use disk_builder::output::{Content, Output};
use disk_builder::report::test_name;
use disk_builder::run::Status;
use disk_builder::stages::{self, ElfFile, Program};
use disk_builder::version::Version;
use disk_builder::{inspect, json, listing, multiboot, signals, transcript};

use crate::command_line::terminal::{self, INSPECTION, advise, complain};
use crate::command_line::{
    BuildOptions, Command, MultibootOptions, RunOptions, parse, run_options,
};

fn main() -> ExitCode {
    let arguments = parse();
    if let Err(error) = signals::watch() {
        complain(format_args!("cannot wait for signals: {error}"));
        return ExitCode::FAILURE;
    }
    let result = execute(arguments.command, arguments.quiet);
    signals::settle();
    match result {
        Ok(code) => code,
        // Whoever reads our output has seen enough.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let text = shown(&error);
            complain(&text);
            advise(&text);
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

fn execute(command: Command, quiet: bool) -> Result<ExitCode> {
    match command {
        Command::New(options) => make_kernel(&options.into(), quiet)?,
        Command::Build(options) => build(*options, quiet)?,
        Command::Multiboot(options) => build_multiboot(&options, quiet)?,
        Command::Inspect { image, json } => return show(&image, json, quiet),
        Command::Run(options) => return boot(options, quiet),
        Command::Transcript { log } => extract(log.as_deref())?,
        Command::Header { output, force } => header(output.as_deref(), force)?,
        Command::Listing { program } => {
            listing::print(&program.program(), &mut terminal::Output)?;
        }
        Command::Program { program, output } => {
            write_program(&program.program(), output.as_deref())?;
        }
        Command::Version { verbose } => write!(terminal::Output, "{}", Version { verbose })?,
        #[cfg(feature = "cli-extras")]
        Command::Completions(options) => options.print()?,
        #[cfg(feature = "cli-extras")]
        Command::Man(options) => options.make()?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Builds an image.
fn build(options: BuildOptions, quiet: bool) -> Result<()> {
    let for_programs = options.json;
    let progress = terminal::progress(!quiet);
    let built = image::build_with_progress(&options.recipe()?, &progress)?;
    if for_programs {
        writeln!(terminal::Output, "{}", json::pretty(&built)?)?;
    } else if !quiet {
        write!(terminal::Output, "{built}")?;
    }
    Ok(())
}

/// Builds the loader as a program for Multiboot loaders.
fn build_multiboot(options: &MultibootOptions, quiet: bool) -> Result<()> {
    let (output, force) = (options.output.as_path(), options.force);
    // Find mistakes in the command line before starting anything that takes time.
    Output::new(output, Content::MultibootProgram, force, Vec::new())?;
    let way_in = ElfFile::of(&stages::STAGE1_MULTIBOOT)?;
    let stage2 = ElfFile::of(&stages::STAGE2)?;
    let built = multiboot::build(&way_in, &stage2, options.road.into(), output, force)?;
    if options.json {
        writeln!(terminal::Output, "{}", json::pretty(&built)?)?;
    } else if !quiet {
        writeln!(
            terminal::Output,
            "{}: {} bytes",
            output.display(),
            built.bytes
        )?;
    }
    Ok(())
}

/// Builds a program and says where it is, or writes it to a file.
fn write_program(program: &Program<'_>, output: Option<&Path>) -> Result<()> {
    let Some(output) = output else {
        let path = stages::build_program(program)?;
        writeln!(terminal::Output, "{}", path.display())?;
        return Ok(());
    };
    let output = Output::new(output, Content::Program, false, Vec::new())?;
    let bytes = ElfFile::of(program)?.read()?;
    output.write_bytes(&bytes)
}

/// Makes the folder of a new kernel, and says what to do next.
fn make_kernel(options: &new::Options, quiet: bool) -> Result<()> {
    let created = new::create(options)?;
    if !quiet {
        write!(terminal::Output, "{created}")?;
    }
    Ok(())
}

/// Prints the header for kernels in C, or writes it to a file.
fn header(output: Option<&Path>, force: bool) -> Result<()> {
    let header = new::BOOTPATH_H.as_bytes();
    match output {
        None => terminal::Output.write_all(header)?,
        Some(path) => {
            let output = Output::new(path, Content::Header, force, Vec::new())?;
            output.write_bytes(header)?;
        }
    }
    Ok(())
}

/// Shows what is in an image; fails if something is wrong with it.
fn show(image: &Path, json: bool, quiet: bool) -> Result<ExitCode> {
    let progress = terminal::progress(!quiet);
    let inspection = inspect::inspect_with_progress(image, &progress)?;
    if json {
        writeln!(terminal::Output, "{}", inspection.to_json()?)?;
    } else if !quiet {
        let shown = inspection.styled(INSPECTION);
        write!(anstream::stdout(), "{shown}").map_err(terminal::of_output)?;
    } else {
        for problem in &inspection.problems {
            complain(Shown::new(problem));
        }
    }
    advise(&inspection.problems.join("\n"));
    Ok(match inspection.problems.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// Boots a kernel or an image in QEMU, and returns the exit status of the outcome.
fn boot(options: RunOptions, quiet: bool) -> Result<ExitCode> {
    let report = options.report();
    let options = run_options(options, quiet);
    let progress = terminal::progress(!options.quiet);
    // The summary of a test says it.
    let is_test = test_name(&options.file).is_some();
    let outcome = report.run(options, &progress)?;
    if outcome.status() != Status::Success && !is_test {
        complain(&outcome);
    }
    Ok(ExitCode::from(outcome.status().code()))
}

/// Takes a transcript out of a log, or of standard input.
fn extract(log: Option<&Path>) -> Result<()> {
    let log: Box<dyn io::Read> = match log {
        Some(path) => Box::new(host_file::open_stream(path)?),
        None => Box::new(io::stdin()),
    };
    transcript::extract(BufReader::new(log), &mut terminal::Output)
}
