//! The command line, as clap reads it.

mod boot;
mod build;
mod run;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};
use disk_builder::run::{Options, Status};
use disk_builder::stages::{self, Program};

use build::BuildOptions;
use run::RunOptions;

/// Builds, inspects and runs Bootpath disk images.
#[derive(Parser)]
#[command(version)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Build a disk image.
    Build(Box<BuildOptions>),
    /// Build the loader as a program for Multiboot loaders (GRUB, SYSLINUX, `qemu -kernel`); the kernel and its
    /// modules are modules then.
    Multiboot {
        /// The program to write.
        #[arg(long, short, value_name = "FILE", default_value = "bootpath.elf")]
        output: PathBuf,
        /// Replace a file even if it is not such a program; never one of the inputs.
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
        /// Write the ELF file here instead: the one that disk-builder contains, without debug
        /// information.
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Show the version.
    Version {
        /// Also the programs of the loader that this one contains: their sizes and SHA-256 sums.
        #[arg(long, short)]
        verbose: bool,
    },
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

/// What `run` is to do. Ends the program if its first word is an unknown option.
pub fn run_options(options: RunOptions) -> Options {
    options.try_into().unwrap_or_else(|word: OsString| {
        let message = format!("unexpected argument '{}' found", word.display());
        let mut command = Arguments::command();
        let run = command.find_subcommand_mut("run");
        run.unwrap_or(&mut Arguments::command())
            .error(ErrorKind::UnknownArgument, message)
            .exit()
    })
}
