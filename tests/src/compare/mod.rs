//! The same kernel file by Bootpath, by GRUB and by QEMU's `-kernel`: how far each of them gets, and
//! in which state the machine is then.

mod cpu;
mod page;
mod watch;

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use disk_builder::Protocol;
use disk_builder::image::Module;
use flate2::read::MultiGzDecoder;
use tempfile::TempDir;

use crate::image::Image;
use crate::linux::{self, header};
use crate::machine::Machine;
use crate::parallel;
use crate::peers::{self, Peer, Start};
pub use cpu::Cpu;
pub use page::side_by_side;

/// The most that a compressed kernel is unpacked to. A small file may claim to be endless.
const UNPACKED_LIMIT: u64 = 512 << 20;

/// A kernel file, and what is booted with it.
#[derive(Clone, Debug)]
pub struct Question {
    /// The kernel.
    pub kernel: PathBuf,
    /// Its modules or initial RAM disks: paths and strings.
    pub modules: Vec<(PathBuf, String)>,
    /// Its command line.
    pub command_line: String,
    /// The protocol; `None`: each loader decides by what the file has.
    pub protocol: Option<Protocol>,
    /// How long each machine may run.
    pub time_limit: Duration,
}

/// Who boots it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loader {
    /// This loader, from a disk.
    Bootpath,
    /// GRUB 2, from the same disk.
    Grub,
    /// QEMU's `-kernel` and `-initrd`.
    Qemu,
}

impl Loader {
    /// All of them, in the order of the columns.
    pub const ALL: [Self; 3] = [Self::Bootpath, Self::Grub, Self::Qemu];
}

/// How a boot ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// This loader is not on this system.
    NotInstalled(String),
    /// It has none of the protocols of this kernel.
    NoSuchProtocol(String),
    /// It refused the kernel, with these words.
    Refused(String),
    /// The guest ended QEMU through its exit port: the status.
    Reported(i32),
    /// The CPU met an exception in the handling of a double fault, and gave up.
    TripleFault,
    /// The guest reset the machine or switched it off.
    ResetOrOff,
    /// Every processor that was looked at is halted, and no interrupt can wake it.
    Halted,
    /// It still ran when its time was up.
    TimeUp,
}

/// What is left of a boot.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The loader's name, and its version if it says one.
    pub name: String,
    /// How it ended.
    pub end: End,
    /// All output on the serial line.
    pub serial: String,
    /// The lines of the text screen, as last seen.
    pub screen: Vec<String>,
    /// The first processor, as last seen.
    pub cpu: Option<Cpu>,
}

impl Outcome {
    fn without_a_boot(name: &str, end: End) -> Self {
        Self {
            name: name.to_owned(),
            end,
            serial: String::new(),
            screen: Vec::new(),
            cpu: None,
        }
    }
}

/// Boots the kernel by each loader, several at once.
///
/// # Errors
/// When a file cannot be read, or a machine cannot be run.
pub fn compare(question: &Question) -> Result<Vec<Outcome>> {
    let outcomes = parallel::each(&Loader::ALL, |&loader| ask(loader, question));
    outcomes.into_iter().collect()
}

/// Boots the kernel by one loader, and looks at it until it ends, stops or its time is up.
///
/// # Errors
/// As [`compare`].
pub fn ask(loader: Loader, question: &Question) -> Result<Outcome> {
    match machine(loader, question)? {
        Asked::Boots {
            name,
            machine,
            image: _image,
            files: _files,
        } => watch::boot(loader, &name, machine, question),
        Asked::Cannot { name, end } => Ok(Outcome::without_a_boot(&name, end)),
    }
}

/// What a loader answers before anything is switched on.
#[expect(clippy::large_enum_variant, reason = "there are three of it")]
pub enum Asked {
    /// It can try.
    Boots {
        /// The loader's name, and its version if it says one.
        name: String,
        /// The machine.
        machine: Machine,
        /// Its disk, which lasts as long as this.
        image: Option<Image>,
        /// What the machine reads besides, as long as this.
        files: Option<TempDir>,
    },
    /// It has no way to.
    Cannot {
        /// As above.
        name: String,
        /// Why.
        end: End,
    },
}

impl Asked {
    fn no_such_protocol(name: &str, what: &str) -> Self {
        Self::Cannot {
            name: name.to_owned(),
            end: End::NoSuchProtocol(what.to_owned()),
        }
    }
}

/// The machine on which a loader boots the kernel.
///
/// # Errors
/// When a file cannot be read or a disk cannot be made.
pub fn machine(loader: Loader, question: &Question) -> Result<Asked> {
    if loader == Loader::Bootpath {
        return bootpath(question);
    }
    let file = fs::read(&question.kernel)
        .with_context(|| format!("cannot read {}", question.kernel.display()))?;
    let unpacked = unpacked(&file)?;
    let found = Found::new(&unpacked);
    match loader {
        Loader::Qemu => qemu(question, &file, &unpacked, &found),
        _ => grub(question, &unpacked, &found),
    }
}

/// The file's content, out of its gzip file.
fn unpacked(file: &[u8]) -> Result<Vec<u8>> {
    if !file.starts_with(&[0x1F, 0x8B]) {
        return Ok(file.to_vec());
    }
    let mut bytes = Vec::new();
    let mut decoder = MultiGzDecoder::new(file).take(UNPACKED_LIMIT + 1);
    // What lies behind the last member is not the kernel's, and no reason to try nothing.
    if decoder.read_to_end(&mut bytes).is_err() && bytes.is_empty() {
        return Ok(file.to_vec());
    }
    ensure!(
        bytes.len() as u64 <= UNPACKED_LIMIT,
        "the kernel is unpacked to more than {UNPACKED_LIMIT} bytes"
    );
    Ok(bytes)
}

/// The headers in a kernel file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Found {
    linux: bool,
    /// A file for Linux's protocol before version 2.07, or one that names no 32-bit code: this
    /// loader starts such a file by its setup code.
    needs_real_mode: bool,
    multiboot: bool,
    multiboot2: bool,
    elf: bool,
}

impl Found {
    fn new(file: &[u8]) -> Self {
        const LINUX: (usize, &[u8]) = (0x202, b"HdrS");
        const BY_SETUP_CODE: u16 = 0x0207;
        // Where the two specifications let a loader look, and how their headers begin. What GRUB
        // checks besides, it says itself.
        const IN_8_KIB: u32 = 0x1BAD_B002;
        const IN_32_KIB: u32 = 0xE852_50D6;

        let has = |room: usize, step: usize, magic: u32| {
            let start = &file[..file.len().min(room)];
            let mut places = start.windows(4).step_by(step);
            places.any(|word| word == magic.to_le_bytes())
        };
        let linux = file
            .get(LINUX.0..)
            .is_some_and(|rest| rest.starts_with(LINUX.1));
        let code = header::CODE32_START..header::CODE32_START + 4;
        let version = file.get(header::VERSION..header::VERSION + 2);
        let version = version.map(|bytes| u16::from(bytes[0]) | u16::from(bytes[1]) << 8);
        Self {
            linux,
            needs_real_mode: linux
                && (version.is_some_and(|version| version < BY_SETUP_CODE)
                    || file.get(code).is_some_and(|code| code == [0; 4])),
            multiboot: has(8 << 10, 4, IN_8_KIB),
            multiboot2: has(32 << 10, 8, IN_32_KIB),
            elf: file.starts_with(b"\x7FELF"),
        }
    }

    /// The protocol by which GRUB starts it: what is asked for, or the newest that the file has.
    fn of_grub(&self, asked: Option<Protocol>) -> Option<peers::Protocol> {
        match asked.map(Protocol::name) {
            Some("multiboot1") => Some(peers::Protocol::Multiboot),
            Some("multiboot2") => Some(peers::Protocol::Multiboot2),
            Some("linux16") => Some(peers::Protocol::Linux16),
            Some(name) if name.starts_with("linux") => Some(peers::Protocol::Linux),
            Some(_) => None,
            None if self.multiboot2 => Some(peers::Protocol::Multiboot2),
            None if self.multiboot => Some(peers::Protocol::Multiboot),
            None if self.needs_real_mode => Some(peers::Protocol::Linux16),
            None if self.linux => Some(peers::Protocol::Linux),
            None => None,
        }
    }

    /// Whether QEMU has the protocol that is asked for, or may have one of the file's. An ELF file
    /// may have a note for PVH, which QEMU looks for itself.
    fn for_qemu(&self, asked: Option<Protocol>) -> bool {
        match asked.map(Protocol::name) {
            Some(name) => name == "multiboot1" || name.starts_with("linux"),
            None => self.multiboot || self.linux || (self.elf && !self.multiboot2),
        }
    }
}

/// A disk with the kernel and its modules.
fn disk(question: &Question, kernel: &Path) -> Result<Image> {
    Image::build(kernel, |recipe, _| {
        let modules = question.modules.iter();
        recipe.modules = modules
            .map(|(file, string)| Module {
                file: file.clone(),
                string: string.clone(),
            })
            .collect();
        recipe.command_line.clone_from(&question.command_line);
        recipe.protocol = question.protocol;
        // What the loader says about it is the question.
        recipe.unchecked = true;
    })
}

fn bootpath(question: &Question) -> Result<Asked> {
    let image = disk(question, &question.kernel)?;
    Ok(Asked::Boots {
        name: "Bootpath".into(),
        machine: Machine::new(&image.path()),
        image: Some(image),
        files: None,
    })
}

fn grub(question: &Question, unpacked: &[u8], found: &Found) -> Result<Asked> {
    let Some(name) = Peer::Grub.installed() else {
        let what = "neither grub-mkimage nor its modules for PCs";
        return Ok(Asked::Cannot {
            name: "GRUB".into(),
            end: End::NotInstalled(what.into()),
        });
    };
    let Some(protocol) = found.of_grub(question.protocol) else {
        let what = "it has Multiboot 1 and 2 and Linux, and this is none of them";
        return Ok(Asked::no_such_protocol(&name, what));
    };
    // GRUB's own module for gzip would do the same.
    let directory = tempfile::tempdir()?;
    let kernel = linux::put(directory.path(), "kernel", unpacked)?;
    let image = disk(question, &kernel)?;
    let modules: Vec<(String, &str)> = question
        .modules
        .iter()
        .map(|(file, string)| {
            let name = file.file_name().context("a module has no name")?;
            Ok((format!("/boot/modules/{}", name.display()), string.as_str()))
        })
        .collect::<Result<_>>()?;
    let modules: Vec<_> = modules
        .iter()
        .map(|(path, string)| (path.as_str(), *string))
        .collect();
    let start = Start {
        protocol,
        kernel: ("/boot/kernel.elf", &question.command_line),
        modules: &modules,
    };
    Peer::Grub.install(&image, &start)?;
    Ok(Asked::Boots {
        name,
        machine: Machine::new(&image.path()),
        image: Some(image),
        files: None,
    })
}

fn qemu(question: &Question, file: &[u8], unpacked: &[u8], found: &Found) -> Result<Asked> {
    const NAME: &str = "qemu -kernel";
    if !found.for_qemu(question.protocol) {
        let what = "it has Multiboot 1, Linux and PVH, and this is none of them";
        return Ok(Asked::no_such_protocol(NAME, what));
    }
    let is_linux = found.linux && !found.multiboot;
    if is_linux && question.modules.len() > 1 {
        let what = "it takes one initial RAM disk";
        return Ok(Asked::no_such_protocol(NAME, what));
    }
    // It unpacks nothing itself.
    let (kernel, files) = if file == unpacked {
        (question.kernel.clone(), None)
    } else {
        let directory = tempfile::tempdir()?;
        let kernel = linux::put(directory.path(), "kernel", unpacked)?;
        (kernel, Some(directory))
    };
    // A comma ends a module, and two of them are one.
    let modules = question
        .modules
        .iter()
        .map(|(file, string)| match is_linux {
            true => file.display().to_string(),
            false => format!("{} {string}", file.display())
                .trim_end()
                .replace(',', ",,"),
        });
    let modules: Vec<String> = modules.collect();
    let machine = Machine::new(Path::new("")).multiboot(&kernel, &modules.join(","));
    Ok(Asked::Boots {
        name: NAME.into(),
        machine: machine.arguments(["-append", &question.command_line]),
        image: None,
        files,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_count_where_a_loader_looks_for_them() {
        let at = |place: usize, bytes: &[u8]| {
            let mut file = vec![0; 64 << 10];
            file[place..place + bytes.len()].copy_from_slice(bytes);
            Found::new(&file)
        };
        let one = 0x1BAD_B002_u32.to_le_bytes();
        let two = 0xE852_50D6_u32.to_le_bytes();
        assert!(at((8 << 10) - 4, &one).multiboot);
        assert!(!at(8 << 10, &one).multiboot);
        assert!(!at(6, &one).multiboot);
        assert!(at((32 << 10) - 8, &two).multiboot2);
        assert!(!at(4, &two).multiboot2);
        assert!(at(0x202, b"HdrS").linux);
        assert!(!at(0x203, b"HdrS").linux);
        assert!(at(0x202, b"HdrS\x06\x02").needs_real_mode);
        let named = b"HdrS\x07\x02            \0\0\x10\0";
        assert!(!at(0x202, named).needs_real_mode);
        assert!(at(0x202, &named[..6]).needs_real_mode);
    }

    #[test]
    fn a_peer_is_asked_only_for_what_it_has() {
        let none = Found::new(b"text");
        let elf = Found { elf: true, ..none };
        let both = Found {
            multiboot: true,
            multiboot2: true,
            ..elf
        };
        let two = Found {
            multiboot: false,
            ..both
        };
        assert_eq!(none.of_grub(None), None);
        assert!(!none.for_qemu(None));
        assert!(elf.for_qemu(None), "it may be for PVH");
        assert!(!two.for_qemu(None));
        assert!(both.for_qemu(None));
        assert_eq!(both.of_grub(None), Some(peers::Protocol::Multiboot2));
        let asked = Protocol::from_name("multiboot1");
        assert_eq!(both.of_grub(asked), Some(peers::Protocol::Multiboot));
        let limine = Protocol::from_name("limine");
        assert_eq!(both.of_grub(limine), None);
        let old = Found {
            linux: true,
            needs_real_mode: true,
            ..none
        };
        assert_eq!(old.of_grub(None), Some(peers::Protocol::Linux16));
        let linux64 = Protocol::from_name("linux64");
        assert_eq!(old.of_grub(linux64), Some(peers::Protocol::Linux));
        assert!(!both.for_qemu(limine));
    }
}
