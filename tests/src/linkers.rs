//! The same kernel by each linker that people use: with a script, and as the linker lays it out when
//! nobody tells it how.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::{fmt, fs};

use anyhow::{Context as _, Result, ensure};
use disk_builder::{Protocol, stages};

use crate::linux::Fetched;

/// A linker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Linker {
    /// GNU ld.
    Bfd,
    /// GNU's other linker.
    Gold,
    /// LLVM's, which comes with Rust.
    Lld,
    /// mold, out of Debian's package.
    Mold,
}

impl Linker {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Bfd, Self::Gold, Self::Lld, Self::Mold];

    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bfd => "GNU ld",
            Self::Gold => "gold",
            Self::Lld => "lld",
            Self::Mold => "mold",
        }
    }

    /// The ways in which it lays kernels out.
    pub fn layouts(self) -> &'static [Layout] {
        match self {
            // It knows none of a script's commands that lay something out.
            Self::Mold => &[Layout::Address, Layout::Default],
            _ => &[Layout::Script, Layout::Address, Layout::Default],
        }
    }

    /// The flag by which people say where a kernel lies.
    fn address(self, has_32_bits: bool) -> &'static str {
        match (self, has_32_bits) {
            // It refuses a text in front of its image, whose headers come first.
            (Self::Lld, true) => "--image-base=0x100000",
            (_, true) => "-Ttext=0x100000",
            (Self::Lld | Self::Mold, false) => "--image-base=0xffffffff80000000",
            (_, false) => "-Ttext-segment=0xffffffff80000000",
        }
    }

    /// The command that runs it. `None`: it is not on this system and cannot be fetched.
    fn command(self) -> Result<Option<Command>> {
        let command = match self {
            Self::Bfd => Command::new("ld.bfd"),
            Self::Gold => Command::new("ld.gold"),
            Self::Lld => Command::new(lld()?),
            Self::Mold => match Fetched::Mold.path()? {
                Some(path) => Command::new(path),
                None => return Ok(None),
            },
        };
        let mut version = Command::new(command.get_program());
        let runs = version.arg("--version").output();
        Ok(runs
            .is_ok_and(|output| output.status.success())
            .then_some(command))
    }
}

/// `ld.lld` of the Rust toolchain.
fn lld() -> Result<PathBuf> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc)
        .args(["--print", "target-libdir"])
        .output();
    let output = output.context("cannot run rustc")?;
    let directory = String::from_utf8(output.stdout)?;
    let directory = Path::new(directory.trim())
        .parent()
        .context("no directory")?;
    Ok(directory.join("bin/gcc-ld/ld.lld"))
}

/// How it is told where a kernel's sections are to lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// By a script.
    Script,
    /// By an address alone: 1 MiB for a 32-bit kernel, the last 2 GiB for another one.
    Address,
    /// Not at all: a 32-bit kernel lies where the linker puts programs, another one is
    /// position-independent.
    Default,
}

impl Layout {
    /// What the page calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Script => "a script",
            Self::Address => "an address",
            Self::Default => "nothing",
        }
    }
}

/// A kernel to link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Linked {
    /// The linker.
    pub linker: Linker,
    /// The layout.
    pub layout: Layout,
    /// The protocol.
    pub protocol: Protocol,
}

impl fmt::Display for Linked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (linker, layout) = (self.linker.name(), self.layout.name());
        write!(f, "linked by {linker} with {layout}")
    }
}

/// The protocols.
pub const PROTOCOLS: [&str; 4] = ["multiboot1", "multiboot2", "limine", "bootpath"];

/// All kernels by all linkers.
pub fn kernels() -> Vec<Linked> {
    let mut kernels = Vec::new();
    for linker in Linker::ALL {
        for name in PROTOCOLS {
            let protocol = Protocol::from_name(name).expect("a protocol's name");
            kernels.extend(linker.layouts().iter().map(|&layout| Linked {
                linker,
                layout,
                protocol,
            }));
        }
    }
    kernels
}

impl Linked {
    fn has_32_bits(self) -> bool {
        self.protocol.name().starts_with("multiboot")
    }

    /// Assembles and links it. `None`: the linker is not here.
    ///
    /// # Errors
    /// When there is no C compiler, or one of the tools fails.
    pub fn build(self) -> Result<Option<Vec<u8>>> {
        let Some(mut linker) = self.linker.command()? else {
            return Ok(None);
        };
        let directory = tempfile::tempdir()?;
        let sources = stages::workspace().join("tests/programs/linked");
        let [object, kernel] = ["kernel.o", "kernel"].map(|name| directory.path().join(name));
        let mut compiler = Command::new("cc");
        let bits = if self.has_32_bits() { "-m32" } else { "-m64" };
        compiler.args(["-c", bits, "-o"]).arg(&object);
        compiler.arg(format!("-D{}", self.protocol.name().to_uppercase()));
        succeed(compiler.arg(sources.join("kernel.S")).output())?;
        linker.arg(&object).arg("-o").arg(&kernel);
        succeed(linker.args(self.flags(&sources)).output())?;
        fs::read(&kernel)
            .map(Some)
            .context("cannot read what was linked")
    }

    fn flags(self, sources: &Path) -> Vec<OsString> {
        let script = |name: &str| vec!["-T".into(), sources.join(name).into_os_string()];
        let mut flags: Vec<OsString> = match (self.layout, self.has_32_bits()) {
            (Layout::Script, true) => script("low.ld"),
            (Layout::Script, false) => script("high.ld"),
            (Layout::Address, has_32_bits) => vec![self.linker.address(has_32_bits).into()],
            (Layout::Default, true) => Vec::new(),
            (Layout::Default, false) => vec!["-pie".into()],
        };
        let emulation = if self.has_32_bits() {
            "elf_i386"
        } else {
            "elf_x86_64"
        };
        flags.extend(["-m".into(), emulation.into(), "-e".into(), "_start".into()]);
        flags
    }
}

fn succeed(output: std::io::Result<Output>) -> Result<()> {
    let output = output.context("cannot run a tool")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{said}");
    Ok(())
}
