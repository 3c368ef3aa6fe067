//! What belongs to an installed program: completions for shells, and man pages.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use disk_builder::new_folders::NewFolders;
use disk_builder::output::without_path;
use disk_builder::signals;

use super::Arguments;
use super::terminal::Output;

/// The program's name.
const NAME: &str = "disk-builder";

/// The options of `completions`.
#[derive(Args)]
pub struct CompletionOptions {
    /// The shell that they are for.
    shell: Shell,
}

impl CompletionOptions {
    /// Prints the completions.
    pub fn print(&self) -> Result<()> {
        // Not to standard output at once: clap_complete panics when that is closed.
        let mut text = Vec::new();
        let mut command = Arguments::command();
        clap_complete::generate(self.shell, &mut command, NAME, &mut text);
        if self.shell == Shell::Bash {
            text = with_one_name(&String::from_utf8(text)?).into();
        }
        Output.write_all(&text)?;
        Ok(())
    }
}

/// A script for bash in which each state has one name: clap_complete takes the hyphen in the
/// program's name for the start of a command in some places, and such a script completes nothing.
fn with_one_name(script: &str) -> String {
    let name = NAME.replace('-', "__");
    script.replace(&NAME.replace('-', "__subcmd__"), &name)
}

/// The options of `man`.
#[derive(Args)]
pub struct ManOptions {
    /// The command whose page is printed; without it, the one of the program.
    command: Option<String>,
    /// Write all pages into this folder, which is made if it is not there: disk-builder.1,
    /// disk-builder-build.1, …
    #[arg(long, short, value_name = "FOLDER", conflicts_with = "command")]
    output: Option<PathBuf>,
}

impl ManOptions {
    /// Prints the page, or writes all of them.
    pub fn make(&self) -> Result<()> {
        // `help` has nothing to say that its commands do not.
        let mut command = Arguments::command()
            .name(NAME)
            .disable_help_subcommand(true);
        // That gives each command its full name, and the options of all commands.
        command.build();
        if let Some(folder) = &self.output {
            return write_pages(command, folder);
        }
        if let Some(name) = &self.command {
            let Some(found) = command.find_subcommand(name) else {
                let names = command.get_subcommands().map(clap::Command::get_name);
                let names: Vec<_> = names.collect();
                bail!("there is no command {name}; there are {}", names.join(", "));
            };
            command = found.clone();
        }
        let mut page = Vec::new();
        clap_mangen::Man::new(command).render(&mut page)?;
        Output.write_all(&page)?;
        Ok(())
    }
}

/// Writes all pages, or none: they are made in a folder of their own first.
fn write_pages(command: clap::Command, folder: &Path) -> Result<()> {
    let name = folder.display();
    let cannot = || format!("cannot write into {name}");
    if let Ok(data) = fs::metadata(folder) {
        ensure!(data.is_dir(), "{name} is a file: --output takes a folder");
    }
    // Declared first, so that they are removed last.
    let mut folders = NewFolders::make(folder).with_context(|| format!("cannot make {name}"))?;
    let mut builder = tempfile::Builder::new();
    builder.prefix(".bootpath-");
    let (pages, _registered) = signals::temporary_directory_in(&builder, folder)
        .map_err(without_path)
        .with_context(cannot)?;
    clap_mangen::generate_to(command, pages.path()).with_context(cannot)?;
    for page in fs::read_dir(pages.path()).with_context(cannot)? {
        let page = page.with_context(cannot)?;
        fs::rename(page.path(), folder.join(page.file_name())).with_context(cannot)?;
    }
    folders.keep();
    Ok(())
}
