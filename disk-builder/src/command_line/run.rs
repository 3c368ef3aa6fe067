//! The options of `run`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use disk_builder::image::Module;
use disk_builder::report::Report;
use disk_builder::run::Options;

use super::boot::module;

/// The options as clap has them.
#[derive(Args)]
pub struct RunOptions {
    /// End it after so many seconds, with status 13.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    timeout: Option<u64>,
    /// Let QEMU wait for a debugger before the first instruction. It does not end on a loader error
    /// then, so that it can be looked at.
    #[arg(long)]
    gdb: bool,
    /// Show the screen in a window, where there is something to open one on. Without it, there is
    /// only the serial line.
    #[arg(long)]
    display: bool,
    /// The size of its memory, as QEMU takes it: 64M, 2G; without it, 256M.
    #[arg(long, value_name = "SIZE")]
    memory: Option<String>,
    /// How many CPUs it has; without it, one.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    cpus: Option<u32>,
    /// The model of its CPUs, as QEMU takes it: max, Haswell, `qemu64,-nx`.
    #[arg(long, value_name = "MODEL")]
    cpu: Option<String>,
    /// QEMU's machine; without it, q35.
    #[arg(long, value_name = "NAME")]
    machine: Option<String>,
    /// Boot from a CD drive.
    #[arg(long)]
    cd: bool,
    /// Connect the drive by USB.
    #[arg(long)]
    usb: bool,
    /// A file to load besides the kernel, and a text that goes with it; can be repeated.
    #[arg(long = "module", value_name = "FILE[=TEXT]", value_parser = module)]
    modules: Vec<Module>,
    /// A module that the loader does not unpack even if it is compressed by gzip; otherwise as
    /// --module.
    #[arg(long = "packed-module", value_name = "FILE[=TEXT]", value_parser = module)]
    packed_modules: Vec<Module>,
    /// Take `[package.metadata.bootpath]` of this Cargo.toml; without it, of the package that cargo
    /// runs, or of the next Cargo.toml above FILE.
    #[arg(long, value_name = "CARGO-TOML")]
    manifest_path: Option<PathBuf>,
    /// For programs: one JSON object a line on standard output, and nothing else.
    #[arg(long)]
    json: bool,
    /// FILE: a kernel by any protocol, compressed or not, a directory in which `make` makes
    /// `kernel.elf`, a disk image or a CD image; the content tells which. For a kernel, an image is
    /// built in a temporary place.
    ///
    /// WORD…: the kernel's command line. All words up to `--` are, even those that begin with a
    /// hyphen.
    ///
    /// QEMU-ARGUMENT…: further arguments of QEMU, which have the last word.
    // One list: clap would take a word that begins with a hyphen for an option.
    #[arg(
        value_name = "FILE",
        required = true,
        num_args = 1..,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        verbatim_doc_comment
    )]
    rest: Vec<OsString>,
}

impl RunOptions {
    /// How the run is reported.
    pub fn report(&self) -> Report {
        Report {
            json: self.json,
            manifest: self.manifest_path.clone(),
        }
    }
}

impl TryFrom<RunOptions> for Options {
    /// The first word, if it looks like an option and is none of these.
    type Error = OsString;

    fn try_from(options: RunOptions) -> Result<Self, OsString> {
        let mut rest = options.rest.into_iter();
        // clap requires at least one word.
        let file = rest.next().unwrap_or_default();
        if file.as_encoded_bytes().starts_with(b"-") {
            return Err(file);
        }
        let packed = options.packed_modules.iter();
        let packed = packed.map(|module| module.file.clone()).collect();
        let words = rest.by_ref().take_while(|word| word != "--").collect();
        Ok(Self {
            words,
            modules: [options.modules, options.packed_modules].concat(),
            packed,
            arguments: rest.collect(),
            timeout: options.timeout.map(Duration::from_secs),
            gdb: options.gdb,
            display: options.display,
            memory: options.memory,
            cpus: options.cpus,
            cpu: options.cpu,
            machine: options.machine,
            cd: options.cd,
            usb: options.usb,
            ..Self::new(file)
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Run {
        #[command(flatten)]
        options: RunOptions,
    }

    fn parse(arguments: &[&str]) -> Result<Options, String> {
        let all = [&["run"], arguments].concat();
        let run = Run::try_parse_from(all).map_err(|error| error.to_string())?;
        run.options
            .try_into()
            .map_err(|word: OsString| word.display().to_string())
    }

    #[test]
    fn all_behind_the_file_is_the_kernels_up_to_two_hyphens() {
        let options = parse(&["--timeout", "5", "kernel"]).unwrap();
        assert_eq!(options.timeout, Some(Duration::from_secs(5)));
        assert!(options.words.is_empty() && options.arguments.is_empty());

        let options = parse(&["--usb", "k", "--timeout", "7", "-x", "--help"]).unwrap();
        assert_eq!(options.words, ["--timeout", "7", "-x", "--help"]);
        assert!(options.usb && options.timeout.is_none());

        let options = parse(&["k", "--nocapture", "name", "--", "-S", "--", "-cd"]).unwrap();
        assert_eq!(options.words, ["--nocapture", "name"]);
        assert_eq!(options.arguments, ["-S", "--", "-cd"]);

        let options = parse(&["k", "--", "-S"]).unwrap();
        assert!(options.words.is_empty());
        assert_eq!(options.arguments, ["-S"]);
    }

    #[test]
    fn what_is_no_run_is_refused() {
        for arguments in [
            &[][..],
            &["--nope", "k"],
            &["--timeout", "0", "k"],
            &["--timeout", "soon", "k"],
            &["--cpus", "0", "k"],
        ] {
            assert!(parse(arguments).is_err(), "{arguments:?}");
        }
    }
}
