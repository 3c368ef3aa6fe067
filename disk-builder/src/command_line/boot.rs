//! The options of `build` that say what the image boots.
//!
//! `--entry NAME` begins an entry. The options behind it belong to it, up to the next `--entry`.
//! clap collects the values of each option, but also knows where each of them stood.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Result;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command, Error, FromArgMatches};
use disk_builder::image::{self, Entry, Extra, Module, Recipe};
use disk_builder::stages::Stages;
use disk_builder::{Protocol, Target};

/// The options as clap has them.
#[derive(Args)]
struct Flat {
    /// Begin a boot entry of this name: the options from --title to --cmdline that follow belong to
    /// it, up to the next --entry. Without any, they describe the one kernel.
    #[arg(long = "entry", value_name = "NAME", help_heading = HEADING)]
    entries: Vec<String>,
    /// What a person sees of the entry.
    #[arg(long = "title", value_name = "TEXT", help_heading = HEADING)]
    titles: Vec<String>,
    /// The key by which entries are sorted first.
    #[arg(long = "sort-key", value_name = "TEXT", help_heading = HEADING)]
    sort_keys: Vec<String>,
    /// The kernel: its file, or a directory in which `make` makes `kernel.elf`; without it, the demo
    /// kernel.
    #[arg(long = "kernel", value_name = "FILE", help_heading = HEADING)]
    kernels: Vec<PathBuf>,
    /// A kernel that other loaders may boot as well: as --kernel, but the entry says `linux`.
    #[arg(long = "linux", value_name = "FILE", help_heading = HEADING)]
    linuxes: Vec<PathBuf>,
    /// No kernel, but the boot sector of a disk or of a partition: drive=81h, partition=2, or both with
    /// a blank in between.
    #[arg(long = "chain", value_name = "TARGET", value_parser = target, help_heading = HEADING)]
    chains: Vec<Target>,
    /// The protocol to boot the kernel by; without it, the one that the kernel looks like.
    #[arg(long = "protocol", value_name = "NAME", value_parser = protocols(), help_heading = HEADING)]
    protocols: Vec<Protocol>,
    /// A file to load besides the kernel, and a text that goes with it; can be repeated.
    #[arg(long = "module", value_name = "FILE[=TEXT]", value_parser = module, help_heading = HEADING)]
    modules: Vec<Module>,
    /// A module that the loader does not unpack even if it is compressed by gzip; otherwise as --module.
    #[arg(long = "packed-module", value_name = "FILE[=TEXT]", value_parser = module, help_heading = HEADING)]
    packed_modules: Vec<Module>,
    /// An initrd, a module without a text; can be repeated.
    #[arg(long = "initrd", value_name = "FILE", help_heading = HEADING)]
    initrds: Vec<PathBuf>,
    /// The kernel's command line.
    #[arg(
        long = "cmdline",
        value_name = "TEXT",
        allow_hyphen_values = true,
        help_heading = HEADING
    )]
    cmdlines: Vec<String>,
    /// The entry that is booted when nobody chooses: its name, or a pattern; without it, the first
    /// one in the order of the Boot Loader Specification, even if it is added later.
    #[arg(long, value_name = "NAME", requires = "entries")]
    default: Option<String>,
    /// Write `timeout` into loader.conf, which loaders with a menu look at. This one offers no choice
    /// and does not wait.
    #[arg(long, value_name = "SECONDS", requires = "entries")]
    timeout: Option<u32>,
    /// Where the loader prints everything but errors, from the choice of the entry on.
    #[arg(long, value_name = "WHERE", value_parser = ["both", "serial", "screen", "none"], requires = "entries")]
    console: Option<String>,
}

const HEADING: &str = "What is booted";

/// An option of one entry, with its value.
enum Setting {
    Title(String),
    SortKey(String),
    Kernel(PathBuf),
    Linux(PathBuf),
    Chain(Target),
    Protocol(Protocol),
    Extra(Extra),
    CommandLine(String),
}

impl Setting {
    /// The option's name, if an entry can have it only once.
    fn single(&self) -> Option<&'static str> {
        Some(match self {
            Self::Title(_) => "--title",
            Self::SortKey(_) => "--sort-key",
            Self::Kernel(_) | Self::Linux(_) => "--kernel or --linux",
            Self::Chain(_) => "--chain",
            Self::Protocol(_) => "--protocol",
            Self::CommandLine(_) => "--cmdline",
            Self::Extra(_) => return None,
        })
    }
}

/// What the image boots.
#[derive(Clone)]
pub struct Boot {
    /// The options in front of the first `--entry`: all of them if there is none.
    plain: Described,
    entries: Vec<(String, Described)>,
    default: Option<String>,
    timeout: Option<u32>,
    console: Option<String>,
    /// The files of --packed-module.
    packed: Vec<PathBuf>,
}

/// What the options of one entry say.
#[derive(Clone, Default)]
struct Described {
    title: Option<String>,
    sort_key: Option<String>,
    kernel: Option<PathBuf>,
    linux: bool,
    chain: Option<Target>,
    protocol: Option<Protocol>,
    modules: Vec<Extra>,
    command_line: String,
}

impl Args for Boot {
    fn augment_args(command: Command) -> Command {
        Flat::augment_args(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Flat::augment_args_for_update(command)
    }
}

impl FromArgMatches for Boot {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let flat = Flat::from_arg_matches(matches)?;
        // Where each value stood; no two stood in the same place.
        let mut settings = BTreeMap::new();
        let mut add = |name, values: Vec<Setting>| {
            settings.extend(places(matches, name).zip(values));
        };
        let extra = |values: Vec<PathBuf>| values.into_iter().map(Extra::Initrd);
        add("titles", all(flat.titles, Setting::Title));
        add("sort_keys", all(flat.sort_keys, Setting::SortKey));
        add("kernels", all(flat.kernels, Setting::Kernel));
        add("linuxes", all(flat.linuxes, Setting::Linux));
        add("chains", all(flat.chains, Setting::Chain));
        add("protocols", all(flat.protocols, Setting::Protocol));
        let packed = flat.packed_modules.iter().map(|module| module.file.clone());
        let packed = packed.collect();
        let modules =
            |modules: Vec<Module>| all(modules, |module| Setting::Extra(Extra::Module(module)));
        add("modules", modules(flat.modules));
        add("packed_modules", modules(flat.packed_modules));
        add("initrds", extra(flat.initrds).map(Setting::Extra).collect());
        add("cmdlines", all(flat.cmdlines, Setting::CommandLine));

        let starts = places(matches, "entries");
        let entries: Vec<(usize, String)> = starts.zip(flat.entries).collect();
        let mut boot = Self {
            plain: Described::default(),
            entries: Vec::new(),
            default: flat.default,
            timeout: flat.timeout,
            console: flat.console,
            packed,
        };
        let first = entries.first().map_or(usize::MAX, |(place, _)| *place);
        let behind = settings.split_off(&first);
        if let (false, Some(setting)) = (entries.is_empty(), settings.values().next()) {
            let option = setting.single().unwrap_or("--module or --initrd");
            let what = format!("{option} in front of the first --entry belongs to none");
            return Err(Error::raw(ErrorKind::ArgumentConflict, what));
        }
        boot.plain = Described::of(settings.into_values())?;
        if boot.plain.title.is_some() || boot.plain.sort_key.is_some() {
            let what = "--title and --sort-key need an --entry";
            return Err(Error::raw(ErrorKind::MissingRequiredArgument, what));
        }
        let mut rest = behind;
        for (index, (_, name)) in entries.iter().enumerate() {
            let next = entries
                .get(index + 1)
                .map_or(usize::MAX, |(place, _)| *place);
            let behind = rest.split_off(&next);
            boot.entries
                .push((name.clone(), Described::of(rest.into_values())?));
            rest = behind;
        }
        Ok(boot)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// Where the values of an option stood in the command line.
fn places(matches: &ArgMatches, name: &str) -> impl Iterator<Item = usize> {
    let given = matches.value_source(name) == Some(ValueSource::CommandLine);
    let places = given.then(|| matches.indices_of(name)).flatten();
    places.into_iter().flatten()
}

fn all<T>(values: Vec<T>, setting: fn(T) -> Setting) -> Vec<Setting> {
    values.into_iter().map(setting).collect()
}

impl Described {
    /// What these options say, in the order in which they stood.
    fn of(settings: impl Iterator<Item = Setting>) -> Result<Self, Error> {
        let mut described = Self::default();
        let mut seen = Vec::new();
        for setting in settings {
            if let Some(option) = setting.single() {
                if seen.contains(&option) {
                    let what = format!("there is more than one {option} for the same kernel");
                    return Err(Error::raw(ErrorKind::ArgumentConflict, what));
                }
                seen.push(option);
            }
            match setting {
                Setting::Title(text) => described.title = Some(text),
                Setting::SortKey(text) => described.sort_key = Some(text),
                Setting::Kernel(file) => described.kernel = Some(file),
                Setting::Linux(file) => {
                    described.kernel = Some(file);
                    described.linux = true;
                }
                Setting::Chain(target) => described.chain = Some(target),
                Setting::Protocol(protocol) => described.protocol = Some(protocol),
                Setting::Extra(extra) => described.modules.push(extra),
                Setting::CommandLine(text) => described.command_line = text,
            }
        }
        let alone = ["--title", "--sort-key", "--chain"];
        let other = seen.iter().find(|option| !alone.contains(*option));
        let extra = (!described.modules.is_empty()).then_some("--module or --initrd");
        if let (Some(_), Some(option)) = (described.chain, other.copied().or(extra)) {
            let what = format!("{option} does not go with --chain, which boots no kernel");
            return Err(Error::raw(ErrorKind::ArgumentConflict, what));
        }
        Ok(described)
    }
}

impl Boot {
    /// Finds the kernels, or makes them.
    ///
    /// # Errors
    /// Those of [`image::find_kernel`].
    pub fn find(mut self) -> Result<Self> {
        let described = self.entries.iter_mut().map(|(_, described)| described);
        let plain = described.len() == 0;
        let plain = plain.then_some(&mut self.plain);
        let kernels = described.chain(plain).filter(|it| it.chain.is_none());
        for described in kernels {
            described.kernel = Some(image::find_kernel(described.kernel.as_deref())?);
        }
        Ok(self)
    }

    /// The files that are read.
    pub fn inputs(&self) -> Vec<PathBuf> {
        let entries = self.entries.iter().map(|(_, described)| described);
        let all = [&self.plain].into_iter().chain(entries);
        all.flat_map(|described| {
            let modules = described.modules.iter().map(|extra| match extra {
                Extra::Module(module) => &module.file,
                Extra::Initrd(file) => file,
            });
            described.kernel.iter().chain(modules)
        })
        .cloned()
        .collect()
    }

    /// The part of the recipe that says what is booted.
    pub fn recipe(self, output: PathBuf, stages: Stages) -> Recipe {
        let plain = self.plain;
        let modules = plain.modules.into_iter().map(|extra| match extra {
            Extra::Module(module) => module,
            // `kernel.conf` is read by this loader alone, whose key for both is `module`.
            Extra::Initrd(file) => Module {
                file,
                string: String::new(),
            },
        });
        let entries = self.entries.into_iter().map(|(name, described)| Entry {
            title: described.title,
            sort_key: described.sort_key,
            linux: described.linux,
            chain: described.chain,
            protocol: described.protocol,
            command_line: described.command_line,
            modules: described.modules,
            ..Entry::new(name, described.kernel.unwrap_or_default())
        });
        Recipe {
            command_line: plain.command_line,
            modules: modules.collect(),
            protocol: plain.protocol,
            chain: plain.chain,
            entries: entries.collect(),
            default: self.default,
            timeout: self.timeout,
            console: self.console,
            packed: self.packed,
            ..Recipe::new(plain.kernel.unwrap_or_default(), output, stages)
        }
    }
}

/// `FILE=TEXT`, or a file's name that has a `=` in it.
pub fn module(argument: &str) -> Result<Module, &'static str> {
    let (file, string) = match argument.split_once('=') {
        Some(parts) if !PathBuf::from(argument).exists() => parts,
        _ => (argument, ""),
    };
    if file.is_empty() {
        return Err("it has no name of a file");
    }
    Ok(Module {
        file: file.into(),
        string: string.into(),
    })
}

fn target(text: &str) -> Result<Target, &'static str> {
    Target::parse(text).ok_or("it takes drive=80h, partition=1 or both")
}

fn protocols() -> impl TypedValueParser<Value = Protocol> {
    PossibleValuesParser::new(Protocol::names()).try_map(|name| {
        let protocol = Protocol::from_name(&name);
        protocol.ok_or("it is not one that the loader knows")
    })
}
