//! Kernels: the table of `./run.sh kernels`, which becomes `docs/kernels.md`. Each row is a kernel
//! and a protocol; each of its ways in is one boot, and each other loader that is asked the same.

mod files;
mod page;
mod table;

use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use disk_builder::image::Module;
use disk_builder::run::Ending;
use disk_builder::{Protocol, Target};
use disk_layout::SECTOR_SIZE;
use disk_layout::mbr::PARTITION_TABLE_OFFSET;
use tempfile::TempDir;

use crate::compare::{self, Asked, End, Loader, Outcome as Watched, Question};
use crate::image::{self, Image, multiboot_program, test_program};
use crate::linkers::{self, Linked, Linker};
use crate::linux::{self, Fetched};
use crate::machine::{Machine, OFFER, Running};
use crate::parallel;
use crate::peers::{self, Peer};
use files::Files;
pub use files::gzip;
pub(crate) use files::replace;
pub use page::page;
pub use table::rows;

/// How long a kernel may take, emulated on a busy host.
pub const TIME_LIMIT: Duration = Duration::from_secs(300);
/// How long a loader is watched that is known not to boot a kernel.
const REFUSAL_LIMIT: Duration = Duration::from_secs(60);

/// What is booted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kernel {
    /// The demo kernel.
    Demo,
    /// The kernel in C, for the loader's own handoff.
    C,
    /// The same, with a 32-bit bootstrap.
    CMultiboot2,
    /// The other C kernel, with 32 bits.
    C32,
    /// The smallest kernel that enters long mode itself.
    EnteringLongMode,
    /// The same with a header by the crate `multiboot2-header`.
    HeaderByCrate,
    /// The kernel that checks what Multiboot promises.
    Multiboot,
    /// A first kernel made with the crate `limine`.
    Limine,
    /// The kernel that checks what the Limine protocol promises.
    LimineChecks,
    /// The kernel that checks what the Linux boot protocol promises, and its entry.
    LinuxChecks,
    /// A kernel that is fetched.
    Fetched(Fetched),
    /// GRUB of this system, by its header for Multiboot, or behind its setup code for Linux's
    /// protocol.
    GrubCore { as_linux: bool },
    /// The small kernel that is linked in many ways.
    Linked(Linked),
    /// No kernel, but a boot sector.
    Sector(Target),
}

/// How the loader comes into memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WayIn {
    /// From a disk, by its own MBR.
    Mbr,
    /// `bootpath.elf` by QEMU's `-kernel`, which is Multiboot 1.
    Qemu,
    /// `bootpath.elf` by GRUB's `multiboot`.
    GrubMultiboot,
    /// `bootpath.elf` by GRUB's `multiboot2`.
    GrubMultiboot2,
    /// `bootpath.elf` by SYSLINUX's `mboot.c32`, which is Multiboot 1.
    Mboot,
}

/// What is loaded with a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum With {
    /// A file that is fetched.
    Fetched(Fetched),
    /// The tests' initial RAM disk for 64-bit kernels.
    Initrd,
}

/// What another loader does with the kernel, without this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// It boots it, too.
    Boots,
    /// It does not, and why.
    Not(&'static str),
}

/// All of them, in the order of the page's columns.
const ALL: &[WayIn] = &[
    WayIn::Mbr,
    WayIn::Qemu,
    WayIn::GrubMultiboot,
    WayIn::GrubMultiboot2,
    WayIn::Mboot,
];
/// The only way in for a row that needs an entry file or a disk.
const DISK: &[WayIn] = &[WayIn::Mbr];

impl fmt::Display for WayIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mbr => "MBR",
            Self::Qemu => "QEMU",
            Self::GrubMultiboot => "GRUB, Multiboot 1",
            Self::GrubMultiboot2 => "GRUB, Multiboot 2",
            Self::Mboot => "SYSLINUX, mboot.c32",
        })
    }
}

/// How a kernel shows that it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sign {
    /// `OKAY` on the serial line; then it ends QEMU.
    Okay,
    /// `OKAY` on the serial line.
    OkayAlone,
    /// The same, printed by the first process of Linux, which then switches off.
    Init,
    /// Cells in the corner of the screen.
    Cells(&'static [u8]),
    /// The beginning of a line on the screen.
    Screen(&'static str),
    /// These texts on the serial line, one after the other.
    Serial(&'static [&'static str]),
}

impl Sign {
    /// Whether a boot that was watched shows it.
    fn is_in(self, outcome: &Watched) -> bool {
        let serial = &outcome.serial;
        match self {
            Self::Okay | Self::OkayAlone | Self::Init => serial.contains("OKAY"),
            Self::Cells(_) => outcome.screen.iter().any(|line| line.starts_with("OKAY")),
            Self::Screen(text) => outcome.screen.iter().any(|line| line.starts_with(text)),
            Self::Serial(texts) => texts.iter().all(|text| serial.contains(text)),
        }
    }
}

/// A row of the table.
#[derive(Clone, Debug)]
pub struct Row {
    /// What the page calls the kernel.
    name: String,
    kernel: Kernel,
    /// The protocol.
    protocol: Option<Protocol>,
    /// Whether the entry names the protocol. If not, the loader recognises it.
    named: bool,
    /// Whether the kernel is compressed, and a module with it.
    packed: bool,
    ways: &'static [WayIn],
    options: &'static str,
    sign: Sign,
    /// What is loaded with it: names, files and strings.
    modules: &'static [(&'static str, With, &'static str)],
    /// MiB.
    memory: u32,
    /// The CPU, if it is not QEMU's default.
    cpu: Option<&'static str>,
    /// What the other loaders make of the same files.
    peers: &'static [(Loader, Answer)],
}

impl Row {
    fn new(name: impl Into<String>, kernel: Kernel, protocol: &str, sign: Sign) -> Self {
        Self {
            name: name.into(),
            kernel,
            protocol: Protocol::from_name(protocol),
            named: false,
            packed: false,
            ways: ALL,
            options: "exit",
            sign,
            modules: &[],
            memory: 256,
            cpu: None,
            peers: &[],
        }
    }

    fn ways(self, ways: &'static [WayIn]) -> Self {
        Self { ways, ..self }
    }

    fn options(self, options: &'static str) -> Self {
        Self { options, ..self }
    }

    fn packed(self, name: &'static str) -> Self {
        Self {
            name: name.into(),
            packed: true,
            peers: &[],
            ..self
        }
    }

    fn peers(self, peers: &'static [(Loader, Answer)]) -> Self {
        Self { peers, ..self }
    }

    fn named(self) -> Self {
        Self {
            named: true,
            ..self
        }
    }

    /// Whether something of it may have to be fetched.
    fn is_fetched(&self) -> bool {
        match self.kernel {
            Kernel::Fetched(_) | Kernel::GrubCore { .. } => true,
            Kernel::Linked(linked) => linked.linker == Linker::Mold,
            _ => false,
        }
    }

    fn protocol_name(&self) -> &'static str {
        self.protocol.map_or("chain", Protocol::name)
    }
}

/// Who boots a row's kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    /// This loader, which came into memory this way.
    Bootpath(WayIn),
    /// Another one.
    Peer(Loader, Answer),
}

/// A row with one of those who boot it.
#[derive(Clone, Debug)]
pub struct Boot {
    row: Row,
    by: By,
}

impl fmt::Display for Boot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}, ", self.row.name, self.row.protocol_name())?;
        match self.by {
            By::Bootpath(way) => write!(f, "{way}"),
            By::Peer(Loader::Grub, _) => f.write_str("by GRUB alone"),
            By::Peer(_, _) => f.write_str("by QEMU alone"),
        }
    }
}

/// All boots.
pub fn boots() -> Vec<Boot> {
    let boots = |row: Row| {
        let ways = row.ways.iter().map(|&way| By::Bootpath(way));
        let peers = row.peers.iter();
        let peers = peers.map(|&(loader, answer)| By::Peer(loader, answer));
        ways.chain(peers).map(move |by| Boot {
            row: row.clone(),
            by,
        })
    };
    all_rows().flat_map(boots).collect()
}

/// The rows of the page, and a row for each way in which the small kernel is linked.
fn all_rows() -> impl Iterator<Item = Row> {
    let linked = linkers::kernels().into_iter().map(|linked| {
        let kernel = Kernel::Linked(linked);
        Row::new(
            linked.to_string(),
            kernel,
            linked.protocol.name(),
            Sign::Okay,
        )
        .options("")
        .ways(DISK)
    });
    rows().into_iter().chain(linked)
}

/// Every row whose kernel is built here, by one way each, and each way for several rows.
pub fn everyday() -> Vec<Boot> {
    let rows = all_rows().filter(|row| !row.is_fetched());
    let boot = |(number, row): (usize, Row)| Boot {
        by: By::Bootpath(row.ways[number % row.ways.len()]),
        row,
    };
    rows.enumerate().map(boot).collect()
}

/// The result of a boot.
pub struct Outcome<'a> {
    /// The boot.
    pub boot: &'a Boot,
    /// `false`: something could not be fetched, because there is no apt-get here.
    pub result: Result<bool>,
    /// How long it took.
    pub time: Duration,
}

/// Boots all of these, several at once, and reports each when it has ended.
pub fn run(boots: &[Boot], tell: impl Fn(&Outcome<'_>) + Sync) -> Vec<Outcome<'_>> {
    // An outcome borrows from `boots`. `each` does not guarantee that for its items.
    let indices: Vec<usize> = (0..boots.len()).collect();
    parallel::each(&indices, |&index| {
        let start = Instant::now();
        let outcome = Outcome {
            result: boots[index].run(),
            boot: &boots[index],
            time: start.elapsed(),
        };
        tell(&outcome);
        outcome
    })
}

impl Boot {
    /// Boots it. `false`: something could not be fetched, because there is no apt-get here.
    ///
    /// # Errors
    /// When it does not show that it runs.
    fn run(&self) -> Result<bool> {
        let directory = tempfile::tempdir()?;
        if let Kernel::Sector(target) = self.row.kernel {
            return self.check(chaining(target, &directory)?, &[]);
        }
        let Some(files) = self.files()? else {
            return Ok(false);
        };
        match self.by {
            By::Bootpath(way) => match self.machine(way, &files, &directory)? {
                Some(machine) => self.check(machine, &files.expected),
                None => Ok(false),
            },
            By::Peer(loader, answer) => {
                let question = self.question(&files, &directory)?;
                match answer {
                    Answer::Boots => self.check_peer(loader, &question, &files.expected),
                    Answer::Not(_) => self.check_that_not(loader, &question),
                }
            }
        }
    }

    /// Asks a loader that is known to boot it.
    fn check_peer(&self, loader: Loader, question: &Question, expected: &[String]) -> Result<bool> {
        match compare::machine(loader, question)? {
            Asked::Boots {
                machine,
                image,
                files: _files,
                ..
            } => self.check((machine, image), expected),
            Asked::Cannot {
                end: End::NotInstalled(_),
                ..
            } => Ok(false),
            Asked::Cannot { end, .. } => bail!("{end:?}"),
        }
    }

    /// The row as a question to other loaders.
    fn question(&self, files: &Files, directory: &TempDir) -> Result<Question> {
        let put = |(name, bytes, string): &(&str, Vec<u8>, &str)| {
            let file = linux::put(directory.path(), name, bytes)?;
            Ok((file, (*string).to_owned()))
        };
        Ok(Question {
            kernel: linux::put(directory.path(), "kernel", &files.kernel)?,
            modules: files.modules.iter().map(put).collect::<Result<_>>()?,
            command_line: self.options(),
            protocol: self.row.protocol.filter(|_| self.row.named),
            time_limit: REFUSAL_LIMIT,
        })
    }

    /// Asks a loader that is known not to boot it.
    fn check_that_not(&self, loader: Loader, question: &Question) -> Result<bool> {
        let outcome = compare::ask(loader, question)?;
        match &outcome.end {
            End::NotInstalled(_) => return Ok(false),
            End::NoSuchProtocol(_) | End::Refused(_) | End::TripleFault | End::ResetOrOff => {}
            _ if !self.row.sign.is_in(&outcome) => {}
            end => bail!("it boots now: {end:?}\n{}", outcome.serial),
        }
        Ok(true)
    }

    /// A machine with these files, in a directory that must be kept; `None`: the other loader
    /// cannot be fetched.
    fn machine(
        &self,
        way: WayIn,
        files: &Files,
        directory: &TempDir,
    ) -> Result<Option<(Machine, Option<Image>)>> {
        let row = &self.row;
        let options = self.options();
        let kernel = linux::put(directory.path(), "kernel", &files.kernel)?;
        let mut modules = Vec::new();
        for (name, bytes, string) in &files.modules {
            let file = linux::put(directory.path(), name, bytes)?;
            modules.push(Module {
                file,
                string: (*string).into(),
            });
        }
        if way == WayIn::Qemu {
            let first = format!("{} {options}", kernel.display());
            let others = modules
                .iter()
                .map(|module| format!("{} {}", module.file.display(), module.string));
            let modules: Vec<_> = [first].into_iter().chain(others).collect();
            let machine = Machine::new(Path::new(""));
            let machine = machine.multiboot(&multiboot_program()?, &modules.join(","));
            return Ok(Some((machine, None)));
        }
        let image = Image::build(&kernel, |recipe, _| {
            recipe.command_line = options.clone();
            recipe.protocol = row.protocol.filter(|_| row.named);
            recipe.modules = modules;
        })?;
        let (peer, protocol) = match way {
            WayIn::Mbr | WayIn::Qemu => {
                let machine = Machine::new(&image.path());
                return Ok(Some((machine, Some(image))));
            }
            WayIn::GrubMultiboot => (Peer::Grub, peers::Protocol::Multiboot),
            WayIn::GrubMultiboot2 => (Peer::Grub, peers::Protocol::Multiboot2),
            WayIn::Mboot => (Peer::Syslinux, peers::Protocol::Multiboot),
        };
        let paths: Vec<_> = files
            .modules
            .iter()
            .map(|(name, _, string)| (format!("/boot/modules/{name}"), *string))
            .collect();
        let others = paths.iter().map(|(path, string)| (path.as_str(), *string));
        let all: Vec<_> = [("/boot/kernel.elf", options.as_str())]
            .into_iter()
            .chain(others)
            .collect();
        if !peer.install_bootpath(&image, protocol, &all)? {
            return Ok(None);
        }
        Ok(Some((Machine::new(&image.path()), Some(image))))
    }
}

impl Boot {
    /// Switches the machine on, and checks that the kernel runs.
    fn check(
        &self,
        (machine, image): (Machine, Option<Image>),
        expected: &[String],
    ) -> Result<bool> {
        let memory = format!("{}M", self.row.memory);
        let mut machine = machine.arguments(["-m", &memory]);
        if let Some(cpu) = self.row.cpu {
            machine = machine.arguments(["-cpu", cpu]);
        }
        let mut running = machine.time_limit(TIME_LIMIT).start()?;
        match self.row.sign {
            Sign::Okay => {
                wait_for_okay(&mut running)?;
                running.okay()?;
            }
            Sign::OkayAlone => wait_for_okay(&mut running)?,
            Sign::Init => {
                running.wait_for("**** OKAY")?;
                let ending = running.wait()?;
                ensure!(ending == Ending::Closed, "{ending:?}");
            }
            Sign::Cells(cells) => {
                running.wait_for_cells(&[cells])?;
            }
            Sign::Screen(text) => running.wait_for_screen(text)?,
            Sign::Serial(texts) => {
                for text in texts {
                    running.wait_for(text)?;
                }
            }
        }
        let transcript = running.serial();
        ensure!(!transcript.contains("FAIL"), "{transcript}");
        for text in expected {
            ensure!(
                transcript.contains(text.as_str()),
                "no {text:?} in\n{transcript}"
            );
        }
        drop(image);
        Ok(true)
    }
}

/// Waits for the kernel's verdict, or for the loader's.
fn wait_for_okay(running: &mut Running) -> Result<()> {
    let transcript = running.wait_for_one_of(&["OKAY", "FAIL", OFFER])?;
    ensure!(transcript.contains("OKAY"), "{transcript}");
    Ok(())
}

/// A machine whose entry starts a boot sector, which checks its own start.
fn chaining(target: Target, directory: &TempDir) -> Result<(Machine, Option<Image>)> {
    let program = test_program("boot-check")?;
    let image = Image::build(image::small_kernel()?.path(), |recipe, _| {
        recipe.chain = Some(target);
    })?;
    let machine = Machine::new(&image.path());
    if target.drive.is_some() {
        let second = Image::raw(program.flat(), &[])?;
        let path = directory.path().join("second.img");
        image::copy_file(&second.path(), &path)?;
        let drive = format!(
            "id=second,if=none,format=raw,snapshot=on,file={}",
            path.display()
        );
        let machine =
            machine.arguments(["-drive", &drive, "-device", "ide-hd,drive=second,bus=ide.1"]);
        return Ok((machine, Some(image)));
    }
    // A second partition behind the first one.
    let place = image.inspect()?.partition.context("no partition")?.place;
    let start = u32::try_from(place.lba + place.sectors)?;
    image.resize(u64::from(start + 2048) * SECTOR_SIZE as u64)?;
    let mut entry = [0; 16];
    entry[4] = 0x83;
    entry[8..12].copy_from_slice(&start.to_le_bytes());
    entry[12..].copy_from_slice(&2048_u32.to_le_bytes());
    image.write(PARTITION_TABLE_OFFSET as u64 + 16, &entry)?;
    let mut sector = program.flat().to_vec();
    sector.resize(SECTOR_SIZE - 2, 0);
    sector.extend([0x55, 0xAA]);
    image.write(u64::from(start) * SECTOR_SIZE as u64, &sector)?;
    Ok((machine, Some(image)))
}
