//! The command line, as clap reads it.

pub mod terminal;
#[cfg(feature = "cli-extras")]
mod bar;
#[cfg(feature = "cli-extras")]
mod extras;
mod help;
mod boot;
mod build;
mod new;
mod run;

use std::env;
use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory as _, Error, FromArgMatches as _, Parser, Subcommand, ValueEnum};
use disk_builder::run::{Options, Status};
use disk_builder::stages::{self, Program};

pub use build::BuildOptions;
use new::NewOptions;
pub use run::RunOptions;
use terminal::Color;

/// Builds, inspects and runs Bootpath disk images.
#[derive(Parser)]
#[command(version, after_long_help = help::after_all())]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
    /// When to use colour.
    #[arg(long, value_enum, value_name = "WHEN", default_value_t, global = true, help_heading = ALL)]
    pub color: Color,
    /// Say nothing but errors.
    #[arg(long, short, global = true, help_heading = ALL)]
    pub quiet: bool,
}

/// The heading of options that all commands have.
const ALL: &str = "How it speaks";

#[derive(Subcommand)]
pub enum Command {
    /// Make the folder of a new kernel, which `cargo run` or `make run` boots at once.
    #[command(after_long_help = help::after(&help::NEW))]
    New(NewOptions),
    /// Boot a kernel or an image in QEMU; its serial line is standard input and output.
    #[command(
        after_long_help = help::after_run(),
        override_usage = "disk-builder run [OPTIONS] FILE [WORD…] [-- QEMU-ARGUMENT…]"
    )]
    Run(RunOptions),
    /// Build a disk image.
    #[command(after_long_help = help::after(&help::BUILD))]
    Build(Box<BuildOptions>),
    /// Show what is in an image and check it, as the loader does.
    #[command(after_long_help = help::after_inspect())]
    Inspect {
        /// A disk image or CD image, or a disk.
        image: PathBuf,
        /// For programs: JSON.
        #[arg(long)]
        json: bool,
    },
    /// Build the loader as a program for Multiboot loaders (GRUB, SYSLINUX, `qemu -kernel`); the kernel and its
    /// modules are modules then.
    #[command(after_long_help = help::after(&help::MULTIBOOT))]
    Multiboot(MultibootOptions),
    /// Take the BIOS calls of an image that was built with --record out of a serial log.
    #[command(after_long_help = help::after(&help::TRANSCRIPT))]
    Transcript {
        /// The log; without it, standard input.
        log: Option<PathBuf>,
    },
    /// Print bootpath.h, the header for kernels in C.
    #[command(after_long_help = help::after(&help::HEADER))]
    Header {
        /// Write it to this file instead.
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
        /// Replace a file even if it is not such a header.
        #[arg(long, requires = "output")]
        force: bool,
    },
    /// Show the instructions of a program, with addresses, bytes and source lines.
    #[command(after_long_help = help::after(&help::LISTING))]
    Listing {
        #[arg(value_enum)]
        program: Listed,
    },
    /// Build a bare-metal program and print the path of its ELF file (for debuggers).
    #[command(after_long_help = help::after(&help::PROGRAM))]
    Program {
        #[arg(value_enum)]
        program: Listed,
        /// Write the ELF file here instead: the one that disk-builder contains, without debug
        /// information.
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Show the version.
    #[command(after_long_help = help::after(&help::VERSION))]
    Version {
        /// Also the programs of the loader that this one contains: their sizes and SHA-256 sums.
        #[arg(long, short)]
        verbose: bool,
    },
    /// Print completions for a shell.
    #[cfg(feature = "cli-extras")]
    #[command(after_long_help = help::after(&help::COMPLETIONS))]
    Completions(extras::CompletionOptions),
    /// Print a man page, or write all of them into a folder.
    #[cfg(feature = "cli-extras")]
    #[command(after_long_help = help::after(&help::MAN))]
    Man(extras::ManOptions),
}

/// The options of `multiboot`.
#[derive(Args)]
pub struct MultibootOptions {
    /// The program to write.
    #[arg(long, short, value_name = "FILE", default_value = "bootpath.elf")]
    pub output: PathBuf,
    /// Replace a file even if it is not such a program; never one of the inputs.
    #[arg(long)]
    pub force: bool,
    /// The loader's road to 64-bit mode.
    #[arg(long, value_enum, default_value_t = Road::Protected)]
    pub road: Road,
    /// For programs: JSON that says what was built.
    #[arg(long)]
    pub json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum Road {
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
pub enum Listed {
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
    /// What is built.
    pub fn program(self) -> Program<'static> {
        match self {
            Self::Stage1 => stages::STAGE1,
            Self::Stage1Cd => stages::STAGE1_CD,
            Self::Stage1Multiboot => stages::STAGE1_MULTIBOOT,
            Self::Stage2 => stages::STAGE2,
            Self::Kernel => stages::KERNEL,
        }
    }
}

/// Parses the command line. Errors show the usage of the command that they are about.
pub fn parse() -> Arguments {
    if env::args_os().len() <= 1 {
        let _ = write!(anstream::stderr(), "{}", help::start());
        process::exit(Status::Usage.code().into());
    }
    Color::wanted(env::args_os().skip(1)).apply();
    let mut command = Arguments::command();
    let words = command.try_get_matches_from_mut(env::args_os());
    let matches = words.unwrap_or_else(|error| end(&error));
    let arguments = Arguments::from_arg_matches(&matches).unwrap_or_else(|error| {
        let name = matches.subcommand_name().unwrap_or_default();
        match command.find_subcommand_mut(name) {
            Some(command) => end(&error.format(command)),
            None => end(&error),
        }
    });
    arguments.color.apply();
    arguments
}

/// Shows what clap has to say, a help or an error, and ends the program.
fn end(error: &Error) -> ! {
    let printed = error.print().map_err(terminal::of_output);
    let code = match printed {
        Err(cause) if !error.use_stderr() && cause.kind() != io::ErrorKind::BrokenPipe => {
            terminal::complain(cause);
            1
        }
        _ => error.exit_code(),
    };
    process::exit(code)
}

/// What clap says of an unknown option, with the one that it is like. (It has taken it for a word of
/// the kernel's command line.)
fn unknown_option_of_run(word: OsString) -> Error {
    let message = format!("unexpected argument '{}' found", word.display());
    let mut command = Arguments::command().mut_subcommand("run", |run| {
        run.mut_arg("rest", |rest| rest.allow_hyphen_values(false))
    });
    let words = ["disk-builder".into(), "run".into(), word];
    match command.try_get_matches_from_mut(words) {
        Err(error) => error,
        Ok(_) => command.error(ErrorKind::UnknownArgument, message),
    }
}

/// What `run` is to do. Ends the program if its first word is an unknown option.
pub fn run_options(options: RunOptions, quiet: bool) -> Options {
    let options = options
        .try_into()
        .unwrap_or_else(|word| unknown_option_of_run(word).exit());
    Options { quiet, ..options }
}
