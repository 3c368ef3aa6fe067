//! The same kernel by each linker that people use: with a script, and as the linker lays it out when
//! nobody tells it how.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context as _, Result, ensure};
use disk_builder::run::{EXIT_OKAY, Ending};
use disk_builder::{Protocol, stages};
use tempfile::TempDir;

use crate::image::Image;
use crate::linux::Fetched;
use crate::machine::Machine;
use crate::parallel;

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
    /// By an address alone, if it is a 32-bit kernel: `-Ttext=0x100000`.
    Text,
    /// Not at all: a 32-bit kernel lies where the linker puts programs, another one is
    /// position-independent.
    Default,
}

/// Links and boots all of these, several at once. `false`: the linker is not here.
pub fn boot(kernels: &[Linked]) -> Vec<Result<bool>> {
    parallel::each(kernels, |linked| {
        linked.boot().with_context(|| linked.to_string())
    })
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
        let (linker, protocol) = (self.linker.name(), self.protocol.name());
        write!(f, "{protocol} by {linker}, layout: {:?}", self.layout)
    }
}

/// What is linked by each of them.
const LAYOUTS: [(&str, &[Layout]); 4] = [
    (
        "multiboot1",
        &[Layout::Script, Layout::Text, Layout::Default],
    ),
    (
        "multiboot2",
        &[Layout::Script, Layout::Text, Layout::Default],
    ),
    ("limine", &[Layout::Script, Layout::Default]),
    ("bootpath", &[Layout::Script, Layout::Default]),
];

/// All kernels by these linkers.
pub fn kernels(linkers: &[Linker]) -> Vec<Linked> {
    let mut kernels = Vec::new();
    for &linker in linkers {
        for (protocol, layouts) in LAYOUTS {
            let protocol = Protocol::from_name(protocol).expect("a protocol's name");
            kernels.extend(layouts.iter().map(|&layout| Linked {
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
    fn build(self, directory: &TempDir) -> Result<Option<PathBuf>> {
        let Some(mut linker) = self.linker.command()? else {
            return Ok(None);
        };
        let sources = stages::workspace().join("tests/programs/linked");
        let [object, kernel] = ["kernel.o", "kernel"].map(|name| directory.path().join(name));
        let mut compiler = Command::new("cc");
        let bits = if self.has_32_bits() { "-m32" } else { "-m64" };
        compiler.args(["-c", bits, "-o"]).arg(&object);
        compiler.arg(format!("-D{}", self.protocol.name().to_uppercase()));
        succeed(compiler.arg(sources.join("kernel.S")).output())?;
        linker.arg(&object).arg("-o").arg(&kernel);
        succeed(linker.args(self.flags(&sources)).output())?;
        Ok(Some(kernel))
    }

    fn boot(self) -> Result<bool> {
        let directory = tempfile::tempdir()?;
        let Some(kernel) = self.build(&directory)? else {
            return Ok(false);
        };
        let image = Image::build(&kernel, |_, _| {})?;
        let mut running = Machine::new(&image.path()).start()?;
        let ending = running.wait()?;
        let transcript = running.serial();
        ensure!(
            ending == Ending::Guest(EXIT_OKAY) && transcript.contains("OKAY\n"),
            "{ending:?}\n{transcript}"
        );
        Ok(true)
    }

    fn flags(self, sources: &Path) -> Vec<OsString> {
        let script = |name: &str| vec!["-T".into(), sources.join(name).into_os_string()];
        let mut flags: Vec<OsString> = match (self.layout, self.has_32_bits()) {
            (Layout::Script, true) => script("low.ld"),
            (Layout::Script, false) => script("high.ld"),
            // Where this linker puts the file's headers, and the text behind them. It refuses text in
            // front of that.
            (Layout::Text, _) if self.linker == Linker::Lld => vec!["--image-base=0x100000".into()],
            (Layout::Text, _) => vec!["-Ttext=0x100000".into()],
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
