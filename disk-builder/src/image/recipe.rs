//! What an image is made of.

use std::path::{Path, PathBuf};

use boot_path::entry::protocol::Protocol;
use boot_path::entry::target::Target;
use disk_layout::Road;

use crate::stages::{ElfFile, Stages};

/// A file for the kernel besides itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// The file on the host.
    pub file: PathBuf,
    /// A text that the kernel gets with it; may be empty.
    pub string: String,
}

/// A file in `/loader/entries`, and what it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The file's name, without `.conf`.
    pub name: String,
    /// What a person sees.
    pub title: Option<String>,
    /// The key that entries are sorted by first.
    pub sort_key: Option<String>,
    /// The kernel.
    pub kernel: PathBuf,
    /// Whether other loaders may boot it as well: the key is then `linux`, which is that of the
    /// specification, and not `kernel`.
    pub linux: bool,
    /// The boot sector that is started instead of a kernel. Of the other fields, only name, title
    /// and sort key matter then.
    pub chain: Option<Target>,
    /// The protocol to boot it by; `None`: the loader recognises it.
    pub protocol: Option<Protocol>,
    /// The kernel's command line; may be empty.
    pub command_line: String,
    /// Modules and initrds, in the order in which the kernel sees them.
    pub modules: Vec<Extra>,
}

impl Entry {
    /// An entry with nothing but a kernel.
    pub fn new(name: impl Into<String>, kernel: impl Into<PathBuf>) -> Self {
        Self {
            name: name.into(),
            title: None,
            sort_key: None,
            kernel: kernel.into(),
            linux: false,
            chain: None,
            protocol: None,
            command_line: String::new(),
            modules: Vec::new(),
        }
    }
}

/// What comes with a kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Extra {
    /// A module, and its text.
    Module(Module),
    /// An initrd, by the key of the specification.
    Initrd(PathBuf),
}

/// What an image is made of.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// The kernel, when there are no `entries`.
    pub kernel: PathBuf,
    /// The image. An older image in its place is replaced when the new one is complete.
    pub output: PathBuf,
    /// Replaces a file that is not an image, too.
    pub force: bool,
    /// ELF files of the two stages.
    pub stages: Stages,
    /// The command line of `kernel`; may be empty.
    pub command_line: String,
    /// Modules of `kernel`, in the order in which it sees them.
    pub modules: Vec<Module>,
    /// Those files of the host among the modules, of all entries as well, that the loader hands over
    /// as they are, even if they are compressed.
    pub packed: Vec<PathBuf>,
    /// The protocol to boot `kernel` by; `None`: the loader recognises it.
    pub protocol: Option<Protocol>,
    /// The boot sector that is started instead of `kernel`. The kernel, its command line, modules
    /// and protocol are ignored then.
    pub chain: Option<Target>,
    /// Boot entries. If there are any, the fields above that describe the one kernel are ignored.
    pub entries: Vec<Entry>,
    /// Which entry is booted: its name, or a pattern. `None`: the first one in the order of the
    /// specification, so that an entry that is added later can be booted, too.
    pub default: Option<String>,
    /// `timeout` of `loader.conf`, in seconds: for loaders that offer a choice. This one boots at once.
    pub timeout: Option<u32>,
    /// Where the loader prints everything but errors, as in `loader.conf`; `None`: wherever it can.
    pub console: Option<String>,
    /// stage2's road to long mode.
    pub road: Road,
    /// Writes each BIOS call of stage2 to the serial line.
    pub record: bool,
    /// Size of the image in MiB; `None`: what suits the content.
    pub size_mib: Option<u32>,
    /// ELF file of the boot program that makes it a CD as well.
    pub stage1_cd: Option<ElfFile>,
    /// Takes the kernel as it is, even when the loader will refuse it.
    pub unchecked: bool,
    /// Gives stage2 the checksums of what it will load.
    pub checksums: bool,
}

impl Recipe {
    /// An image with nothing but a kernel.
    pub fn new(kernel: impl Into<PathBuf>, output: impl Into<PathBuf>, stages: Stages) -> Self {
        Self {
            kernel: kernel.into(),
            output: output.into(),
            force: false,
            stages,
            command_line: String::new(),
            modules: Vec::new(),
            packed: Vec::new(),
            protocol: None,
            chain: None,
            entries: Vec::new(),
            default: None,
            timeout: None,
            console: None,
            road: Road::default(),
            record: false,
            size_mib: None,
            stage1_cd: None,
            unchecked: false,
            checksums: true,
        }
    }

    /// The files that the image is made from.
    pub(super) fn inputs(&self) -> Vec<PathBuf> {
        let Stages { stage1, stage2 } = &self.stages;
        let modules = self.modules.iter().map(|module| &module.file);
        let entries = self.entries.iter().flat_map(|entry| {
            let extras = entry.modules.iter().map(|extra| match extra {
                Extra::Module(module) => &module.file,
                Extra::Initrd(file) => file,
            });
            [&entry.kernel].into_iter().chain(extras)
        });
        let programs = [stage1, stage2].into_iter().chain(&self.stage1_cd);
        [&self.kernel]
            .into_iter()
            .map(PathBuf::as_path)
            .chain(programs.filter_map(ElfFile::path))
            .chain(modules.map(PathBuf::as_path))
            .chain(entries.map(PathBuf::as_path))
            .map(Path::to_owned)
            .collect()
    }
}
