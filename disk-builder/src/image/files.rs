//! The files of an image: those of the recipe, and those that tell the loader what to do with them.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use anyhow::{Context as _, Result, bail, ensure};
use boot_path::entry::entries::{self, Entries, LoaderConf, Room, Warning};
use boot_path::entry::entry_file::{self, MAX_MODULES};
use boot_path::entry::protocol::Protocol;
use boot_path::entry::target::Target;
use boot_path::entry::writable::{self, Unwritable};
use boot_path::files::file_bytes::FileBytes as _;
use boot_path::files::integrity::Role;
use boot_path::position::FileOffset;

use super::{Entry, Extra, Module, Recipe};
use crate::geometry::{Content as Sizes, MAX_FILE};
use crate::host_file::{self, HostFile};
use crate::inspect;
use crate::progress::Progress;

/// Where the kernels of entries are in the boot partition.
const KERNEL_DIRECTORY: &str = "/boot/kernels";

/// Where the modules are.
const MODULE_DIRECTORY: &str = "/boot/modules";

/// A file on its way into the image.
pub(super) struct Source {
    /// Its path in the boot partition.
    pub(super) path: String,
    /// What it is called on the host.
    pub(super) host_name: String,
    /// What it is for.
    pub(super) role: Role,
    /// The protocols that boot a kernel.
    pub(super) protocols: Vec<Option<Protocol>>,
    pub(super) content: Content,
}

/// What is in a file.
pub(super) enum Content {
    /// This text.
    Text(String),
    /// The bytes of a file of the host, and their number. It is not kept open: there may be thousands.
    File(PathBuf, u64),
}

impl Source {
    /// A file of the host.
    fn new(host_path: &Path, role: Role, path: impl Into<String>) -> Result<Self> {
        let name = host_path.display();
        let size = host_file::open(host_path)?.metadata()?.len();
        ensure!(
            size <= MAX_FILE,
            "{name} is larger than the 4 GiB that FAT can hold"
        );
        Ok(Self {
            path: path.into(),
            host_name: name.to_string(),
            role,
            protocols: Vec::new(),
            content: Content::File(host_path.to_owned(), size),
        })
    }

    fn text(path: impl Into<String>, text: String) -> Self {
        let path = path.into();
        Self {
            host_name: path.clone(),
            path,
            role: Role::Text,
            protocols: Vec::new(),
            content: Content::Text(text),
        }
    }

    /// Length in bytes.
    pub(super) fn size(&self) -> u64 {
        match &self.content {
            Content::Text(text) => text.len() as u64,
            Content::File(_, size) => *size,
        }
    }
}

impl Source {
    /// Opens the file of the host; `None`: it is a text. `progress` is told of each byte that is read.
    pub(super) fn open(&self, progress: &Rc<dyn Progress>) -> Result<Option<HostFile>> {
        let Content::File(path, size) = &self.content else {
            return Ok(None);
        };
        let file = HostFile::new(host_file::open(path)?)?;
        ensure!(
            file.size() == *size,
            "{} has changed meanwhile",
            self.host_name
        );
        Ok(Some(file.watched(progress)))
    }

    /// Calls `each` with all its bytes, piece by piece.
    pub(super) fn pieces(
        &self,
        progress: &Rc<dyn Progress>,
        mut each: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        if let Content::Text(text) = &self.content {
            return each(text.as_bytes());
        }
        let Some(mut file) = self.open(progress)? else {
            return Ok(());
        };
        let mut position = 0;
        while position < file.size() {
            let piece = file.window(FileOffset::new(position));
            if piece.is_empty() {
                break;
            }
            position += piece.len() as u64;
            each(piece)?;
        }
        self.check(&mut file)
    }

    /// Checks that every read has succeeded.
    pub(super) fn check(&self, file: &mut HostFile) -> Result<()> {
        let read = file.check();
        read.with_context(|| format!("cannot read {}", self.host_name))
    }
}

/// The files of a recipe, in the order in which the loader reads them.
///
/// # Errors
/// When one cannot be opened, or the loader would refuse it.
pub(super) fn of(recipe: &Recipe) -> Result<Vec<Source>> {
    if recipe.entries.is_empty() {
        of_one_kernel(recipe)
    } else {
        of_entries(recipe)
    }
}

/// The directories that hold the files, each behind its own parent; not the root.
pub(super) fn directories(files: &[Source]) -> Vec<String> {
    let mut directories = Vec::new();
    for source in files {
        let slashes = source.path.match_indices('/').map(|(at, _)| at);
        for at in slashes.filter(|&at| at > 0) {
            let directory = source.path[..at].to_owned();
            if !directories.contains(&directory) {
                directories.push(directory);
            }
        }
    }
    directories
}

/// The sizes of the files and of their directories.
pub(super) fn content(files: &[Source]) -> Sizes {
    let mut sizes = Sizes::default();
    files.iter().for_each(|source| sizes.file(source.size()));
    let directories = directories(files);
    for directory in &directories {
        let all = files.iter().map(|source| &source.path).chain(&directories);
        sizes.directory(all.filter_map(|path| match path.rsplit_once('/') {
            Some((parent, name)) if parent == directory => Some(name),
            _ => None,
        }));
    }
    sizes
}

/// `/boot/kernel.elf`, and a `/boot/kernel.conf` if one is needed. If the recipe names a boot
/// sector, only the `/boot/kernel.conf`.
fn of_one_kernel(recipe: &Recipe) -> Result<Vec<Source>> {
    if let Some(target) = recipe.chain {
        return Ok(vec![Source::text(
            entry_file::PATH_ENTRY,
            chain_line(target),
        )]);
    }
    let mut kernel = Source::new(&recipe.kernel, Role::Kernel, entry_file::PATH_KERNEL)?;
    kernel.protocols.push(recipe.protocol);
    let mut files = Vec::new();
    let mut text = String::new();
    text += &protocol_line(recipe.protocol);
    text += &options_line(&recipe.command_line)?;
    ensure_few(recipe.modules.len())?;
    for module in &recipe.modules {
        let path = free_path(&files, MODULE_DIRECTORY, &module.file)?;
        let source = Source::new(&module.file, Role::Module, path)?;
        text += &module_line(&source.path, module, recipe)?;
        files.push(source);
    }
    entry_file::parse(text.as_bytes()).map_err(|error| inspect::refusal(&error))?;
    let configuration = Source::text(entry_file::PATH_ENTRY, text);
    let configuration = Some(configuration).filter(|source| source.size() > 0);
    Ok(configuration
        .into_iter()
        .chain([kernel])
        .chain(files)
        .collect())
}

/// `/loader/loader.conf` if one is needed, `/loader/entries/…`, and the files that these name, each
/// of them once.
fn of_entries(recipe: &Recipe) -> Result<Vec<Source>> {
    let mut host = HostFiles::default();
    let mut texts = Vec::new();
    for entry in &recipe.entries {
        let text = text_of_entry(entry, recipe, &mut host);
        let text = text.with_context(|| format!("entry {} is not possible", entry.name))?;
        texts.push((format!("{}/{}.conf", entries::DIRECTORY, entry.name), text));
    }
    let conf = loader_conf(recipe, &texts)?;
    let conf = (!conf.is_empty()).then(|| Source::text(entries::PATH_LOADER, conf));
    let texts = texts
        .into_iter()
        .map(|(path, text)| Source::text(path, text));
    let host = host.files.into_iter().map(|(_, source)| source);
    Ok(conf.into_iter().chain(texts).chain(host).collect())
}

/// The text of `/loader/loader.conf`, whose default, if there is one, has to match an entry; empty
/// if nothing is asked for. `texts`: the paths and texts of the entries.
fn loader_conf(recipe: &Recipe, texts: &[(String, String)]) -> Result<String> {
    let is_name = |name: &String| recipe.entries.iter().any(|entry| entry.name == *name);
    let default = recipe
        .default
        .as_ref()
        .map(|default| match is_name(default) {
            true => format!("{default}.conf"),
            false => default.clone(),
        });
    let rooms = texts
        .iter()
        .map(|(path, text)| [path.as_bytes(), text.as_bytes()].concat());
    let mut rooms: Vec<_> = rooms.collect();
    let mut checked = Entries::default();
    for ((path, text), room) in texts.iter().zip(&mut rooms) {
        let name = path.rsplit('/').next().unwrap_or_default();
        let twice = texts
            .iter()
            .filter(|(other, _)| other.eq_ignore_ascii_case(path));
        ensure!(
            twice.count() == 1,
            "there are two entries {name}: each --entry needs a name of its own, not only by upper \
             and lower case"
        );
        let room = Room {
            path: path.len(),
            text: text.len(),
            bytes: room,
        };
        if let Some(error) = checked.add(room, default.as_deref()).error {
            bail!("{}", Warning::skipped(path, &error));
        }
    }
    let choice = checked.choose(default.as_deref());
    let choice = choice.map_err(|error| inspect::refusal(&error))?;
    let mut conf = String::new();
    if let Some(default) = &default {
        writable::check_line("default", default).context("this default is not possible")?;
        if choice.unmatched.is_some() {
            let names = recipe.entries.iter().map(|entry| entry.name.as_str());
            let names: Vec<_> = names.collect();
            bail!(
                "no entry is named {default}; there are {}",
                names.join(", ")
            );
        }
        conf += &format!("default {default}\n");
    }
    if let Some(timeout) = recipe.timeout {
        conf += &format!("timeout {timeout}\n");
    }
    if let Some(console) = &recipe.console {
        conf += &format!("console {console}\n");
    }
    match LoaderConf::parse(conf.as_bytes()).1 {
        Some(error) => bail!("{}", Warning::in_loader_conf(&error)),
        None => Ok(conf),
    }
}

/// The text of an entry, whose files are added to those of the others.
fn text_of_entry(entry: &Entry, recipe: &Recipe, host: &mut HostFiles) -> Result<String> {
    // Boot Loader Specification: "file names shall be chosen from a restricted character set". A
    // name must not end in what looks like a boot counter.
    let allowed = |c: char| c.is_ascii_alphanumeric() || "+-_.".contains(c);
    ensure!(
        entry.name.chars().all(allowed)
            && entries::is_entry(&format!("{}.conf", entry.name))
            && entry.name.len() <= 250,
        "a name has 1 to 250 letters, digits and characters of +-_. and does not begin with a point"
    );
    let mut text = String::new();
    for (key, value) in [("title", &entry.title), ("sort-key", &entry.sort_key)] {
        if let Some(value) = value {
            text += &line(key, value)?;
        }
    }
    if let Some(target) = entry.chain {
        return Ok(text + &chain_line(target));
    }
    let path = host.add(Role::Kernel, &entry.kernel)?;
    text += &line(if entry.linux { "linux" } else { "kernel" }, &path)?;
    let mut sources = host.files.iter_mut().map(|(_, source)| source);
    if let Some(source) = sources.find(|source| source.path == path)
        && !source.protocols.contains(&entry.protocol)
    {
        source.protocols.push(entry.protocol);
    }
    text += &protocol_line(entry.protocol);
    ensure_few(entry.modules.len())?;
    for extra in &entry.modules {
        text += &match extra {
            Extra::Module(module) => {
                let path = host.add(Role::Module, &module.file)?;
                module_line(&path, module, recipe)?
            }
            Extra::Initrd(file) => line("initrd", &host.add(Role::Module, file)?)?,
        };
    }
    text += &options_line(&entry.command_line)?;
    Ok(text)
}

fn ensure_few(modules: usize) -> Result<()> {
    ensure!(
        modules <= MAX_MODULES,
        "{modules} modules are too many: at most {MAX_MODULES} are possible"
    );
    Ok(())
}

fn line(key: &str, value: &str) -> Result<String> {
    let impossible = || format!("this {key} is not possible");
    writable::check_line(key, value).with_context(impossible)?;
    Ok(format!("{key} {value}\n"))
}

fn chain_line(target: Target) -> String {
    format!("chain {target}\n")
}

fn protocol_line(protocol: Option<Protocol>) -> String {
    protocol.map_or(String::new(), |protocol| {
        format!("protocol {}\n", protocol.name())
    })
}

fn options_line(command_line: &str) -> Result<String> {
    if command_line.is_empty() {
        return Ok(String::new());
    }
    writable::check_options(command_line).context("this command line is not possible")?;
    Ok(format!("options {command_line}\n"))
}

fn module_line(path: &str, module: &Module, recipe: &Recipe) -> Result<String> {
    let name = path.rsplit('/').next().unwrap_or_default();
    let impossible = || format!("the text of module {name} is not possible");
    let checked: Result<(), Unwritable> = writable::check_module(path, &module.string);
    checked.with_context(impossible)?;
    let blank = if module.string.is_empty() { "" } else { " " };
    let key = match recipe.packed.contains(&module.file) {
        true => "packed-module",
        false => "module",
    };
    Ok(format!("{key} {path}{blank}{}\n", module.string))
}

/// Files of the host. Each is in the image once, however many entries name it.
#[derive(Default)]
struct HostFiles {
    /// Each with its path on the host, symbolic links resolved.
    files: Vec<(PathBuf, Source)>,
}

impl HostFiles {
    /// The path of a file in the image.
    fn add(&mut self, role: Role, file: &Path) -> Result<String> {
        let host_path = file.canonicalize();
        let host_path = host_path.with_context(|| format!("cannot open {}", file.display()))?;
        let is_it =
            |(known, source): &&(PathBuf, Source)| *known == host_path && source.role == role;
        if let Some((_, source)) = self.files.iter().find(is_it) {
            return Ok(source.path.clone());
        }
        let directory = match role {
            Role::Kernel => KERNEL_DIRECTORY,
            _ => MODULE_DIRECTORY,
        };
        let others = self.files.iter().map(|(_, source)| source);
        let path = free_path(others, directory, file)?;
        let source = Source::new(file, role, &path)?;
        self.files.push((host_path, source));
        Ok(path)
    }
}

/// A path in the image that no other file has: the name of the file, reduced to what a
/// configuration and FAT allow, with a number if two are alike.
fn free_path<'a>(
    others: impl IntoIterator<Item = &'a Source, IntoIter: Clone>,
    directory: &str,
    file: &Path,
) -> Result<String> {
    let others = others.into_iter();
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let name: String = name
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || "._-+".contains(c) {
                c
            } else {
                '_'
            }
        })
        .take(200)
        .collect();
    let name = name.trim_end_matches('.');
    (1..)
        .map(|number| match number {
            1 => format!("{directory}/{name}"),
            _ => format!("{directory}/{number}-{name}"),
        })
        .find(|path| {
            !others
                .clone()
                .any(|other| other.path.eq_ignore_ascii_case(path))
        })
        .context("no name is free")
}
