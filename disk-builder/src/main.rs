//! The command line of [`disk_builder`].

mod boot;
mod run_options;

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::{self, BufReader, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::error::ErrorKind;
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};

use boot_path::errors::text::Escaping;
use disk_builder::host_file;
use disk_builder::image::{self, Recipe};
use disk_builder::output::{Content, Output};
use disk_builder::run::Status;
use disk_builder::stages::{self, Program, Stages};
use disk_builder::{inspect, listing, multiboot, run, signals, transcript};

use crate::boot::Boot;
use crate::run_options::RunOptions;

/// Builds, inspects and runs Bootpath disk images.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build a disk image.
    Build {
        /// The image to write. An older image is replaced when the new one is complete.
        #[arg(long, short, value_name = "IMAGE")]
        output: PathBuf,
        /// Replace a file that is no image of this program, too; never one of the inputs.
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        boot: Box<Boot>,
        /// The loader's road to 64-bit mode.
        #[arg(long, value_enum, default_value_t = Road::Protected)]
        road: Road,
        /// Write each BIOS call to the serial line: see `transcript`.
        #[arg(long)]
        record: bool,
        /// Size of the image; without it, what suits the files.
        #[arg(long, value_name = "MIB")]
        size: Option<u32>,
        /// Make it a CD as well: the same image boots as a disk or stick, and as a CD.
        #[arg(long)]
        cd: bool,
        /// Take the ELF files `stage1` and `stage2` (and `stage1-cd`) from here instead of building
        /// them.
        #[arg(long, value_name = "DIR")]
        stages: Option<PathBuf>,
        /// Take the kernel even if the loader will refuse it.
        #[arg(long)]
        unchecked: bool,
        /// Give the loader no checksums of the kernel, its modules and its configuration.
        #[arg(long)]
        no_checksums: bool,
    },
    /// Build the loader as a program for Multiboot loaders (GRUB, SYSLINUX, `qemu -kernel`); the kernel and its
    /// modules are modules then.
    Multiboot {
        /// The program to write.
        #[arg(long, short, value_name = "FILE", default_value = "bootpath.elf")]
        output: PathBuf,
        /// Replace a file that is no such program, too; never one of the inputs.
        #[arg(long)]
        force: bool,
        /// The loader's road to 64-bit mode.
        #[arg(long, value_enum, default_value_t = Road::Protected)]
        road: Road,
    },
    /// Show what is in an image and check it, as the loader does.
    Inspect {
        image: PathBuf,
        /// For programs: JSON.
        #[arg(long)]
        json: bool,
    },
    /// Boot a kernel or an image in QEMU; its serial line is standard input and output.
    #[command(
        after_help = Status::help(),
        override_usage = "disk-builder run [OPTIONS] FILE [WORD…] [-- QEMU-ARGUMENT…]"
    )]
    Run(RunOptions),
    /// Take the BIOS calls of an image that was built with --record out of a serial log.
    Transcript {
        /// The log; without it, standard input.
        log: Option<PathBuf>,
    },
    /// Show the instructions of a program, with addresses, bytes and source lines.
    Listing {
        #[arg(value_enum)]
        program: Listed,
    },
    /// Build a bare-metal program and print the path of its ELF file (for debuggers).
    Program {
        #[arg(value_enum)]
        program: Listed,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum Road {
    /// Through 32-bit protected mode, as the manuals tell it.
    Protected,
    /// Straight from real mode.
    Direct,
}

impl From<Road> for disk_builder::Road {
    fn from(road: Road) -> Self {
        match road {
            Road::Protected => Self::Protected,
            Road::Direct => Self::Direct,
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum Listed {
    /// The MBR.
    Stage1,
    /// The boot program of a CD.
    Stage1Cd,
    /// The way in from another loader, by Multiboot.
    Stage1Multiboot,
    /// The loader.
    Stage2,
    /// The demo kernel.
    Kernel,
}

impl Listed {
    fn program(self) -> Program<'static> {
        match self {
            Self::Stage1 => stages::STAGE1,
            Self::Stage1Cd => stages::STAGE1_CD,
            Self::Stage1Multiboot => stages::STAGE1_MULTIBOOT,
            Self::Stage2 => stages::STAGE2,
            Self::Kernel => stages::KERNEL,
        }
    }
}

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

/// An error with its causes. There may be texts from files and names of files in it: they are to be
/// read, and not obeyed by the terminal.
fn shown(error: &anyhow::Error) -> String {
    let mut shown = String::new();
    // A string takes everything.
    let _ = write!(Escaping::lines(&mut shown), "{error:#}");
    shown
}

/// Parses the command line. Errors show the usage of the command that they are about.
fn parse() -> Arguments {
    let mut command = Arguments::command();
    let matches = command.get_matches_mut();
    Arguments::from_arg_matches(&matches).unwrap_or_else(|error| {
        let name = matches.subcommand_name().unwrap_or_default();
        match command.find_subcommand_mut(name) {
            Some(command) => error.format(command).exit(),
            None => error.exit(),
        }
    })
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
    kind == Some(io::ErrorKind::BrokenPipe)
}

fn execute(command: Command) -> Result<ExitCode> {
    match command {
        Command::Build {
            output,
            force,
            boot,
            road,
            record,
            size,
            cd,
            stages: directory,
            unchecked,
            no_checksums,
        } => {
            // First what can be wrong with the command line, then what takes time.
            let boot = boot.find()?;
            let mut inputs = boot.inputs();
            if let Some(directory) = &directory {
                let programs = [stages::STAGE1, stages::STAGE2, stages::STAGE1_CD];
                inputs.extend(programs.map(|program| directory.join(program.bin)));
            }
            Output::new(&output, Content::Image, force, inputs)?;
            let stages = match &directory {
                Some(directory) => Stages::in_directory(directory),
                None => Stages::build()?,
            };
            let stage1_cd = match &directory {
                _ if !cd => None,
                Some(directory) => Some(directory.join(stages::STAGE1_CD.bin)),
                None => Some(stages::build_program(&stages::STAGE1_CD)?),
            };
            let recipe = Recipe {
                force,
                road: road.into(),
                record,
                size_mib: size,
                stage1_cd,
                unchecked,
                checksums: !no_checksums,
                ..boot.recipe(output, stages)
            };
            write!(io::stdout(), "{}", image::build(&recipe)?)?;
        }
        Command::Multiboot {
            output,
            force,
            road,
        } => {
            Output::new(&output, Content::MultibootProgram, force, Vec::new())?;
            let way_in = stages::build_program(&stages::STAGE1_MULTIBOOT)?;
            let stage2 = stages::build_program(&stages::STAGE2)?;
            let bytes = multiboot::build(&way_in, &stage2, road.into(), &output, force)?;
            writeln!(io::stdout(), "{}: {bytes} bytes", output.display())?;
        }
        Command::Inspect { image, json } => {
            let inspection = inspect::inspect(&image)?;
            if json {
                writeln!(io::stdout(), "{}", inspection.to_json()?)?;
            } else {
                write!(io::stdout(), "{inspection}")?;
            }
            if !inspection.problems.is_empty() {
                return Ok(ExitCode::FAILURE);
            }
        }
        Command::Run(options) => {
            let options = options.try_into().unwrap_or_else(|word: OsString| {
                let message = format!("unexpected argument '{}' found", word.display());
                let mut command = Arguments::command();
                let run = command.find_subcommand_mut("run");
                run.unwrap_or(&mut Arguments::command())
                    .error(ErrorKind::UnknownArgument, message)
                    .exit()
            });
            let outcome = run::run(&options)?;
            if outcome.status() != Status::Success {
                eprintln!("disk-builder: {outcome}");
            }
            return Ok(ExitCode::from(outcome.status().code()));
        }
        Command::Transcript { log } => {
            let log: Box<dyn io::Read> = match log {
                Some(path) => Box::new(host_file::open_stream(&path)?),
                None => Box::new(io::stdin()),
            };
            transcript::extract(BufReader::new(log), &mut io::stdout())?;
        }
        Command::Listing { program } => {
            listing::print(&program.program(), &mut io::stdout().lock())?;
        }
        Command::Program { program } => {
            let path = stages::build_program(&program.program())?;
            writeln!(io::stdout(), "{}", path.display())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
