//! Kernels: the table of `./run.sh kernels`, which becomes `docs/kernels.md`. Each row is a kernel
//! and a protocol; each of its ways in is one boot.

mod table;

use std::fmt::{self, Write as _};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use disk_builder::image::{Module, find_kernel};
use disk_builder::run::{EXIT_OKAY, Ending};
use disk_builder::{Protocol, Target, stages};
use disk_layout::SECTOR_SIZE;
use disk_layout::mbr::PARTITION_TABLE_OFFSET;
use flate2::Compression;
use flate2::write::GzEncoder;
use tempfile::TempDir;

use crate::book::wrap::wrap;
use crate::elf::noise;
use crate::image::{self, Image, multiboot_program, test_program, test_program_file};
use crate::linux::{self, Fetched};
use crate::machine::{Machine, OFFER, Running};
use crate::parallel;
use crate::peers::{self, Peer};
pub use table::rows;

/// How long a kernel may take, emulated on a busy host.
pub const TIME_LIMIT: Duration = Duration::from_secs(300);

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
}

/// A row of the table.
#[derive(Clone, Debug)]
pub struct Row {
    /// What the page calls the kernel.
    name: &'static str,
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
}

impl Row {
    fn new(name: &'static str, kernel: Kernel, protocol: &str, sign: Sign) -> Self {
        Self {
            name,
            kernel,
            protocol: Protocol::from_name(protocol),
            named: false,
            packed: false,
            ways: ALL,
            options: "exit",
            sign,
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
            name,
            packed: true,
            ..self
        }
    }

    fn is_fetched(&self) -> bool {
        matches!(self.kernel, Kernel::Fetched(_))
    }

    fn protocol_name(&self) -> &'static str {
        self.protocol.map_or("chain", Protocol::name)
    }
}

/// A row with one of its ways in.
#[derive(Clone, Debug)]
pub struct Boot {
    row: Row,
    way: WayIn,
}

impl fmt::Display for Boot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { row, way } = self;
        write!(f, "{}, {}, {way}", row.name, row.protocol_name())
    }
}

/// All boots.
pub fn boots() -> Vec<Boot> {
    let boots = |row: Row| {
        let ways = row.ways.iter();
        ways.map(move |&way| Boot {
            row: row.clone(),
            way,
        })
    };
    rows().into_iter().flat_map(boots).collect()
}

/// Every row whose kernel is built here, by one way each, and each way for several rows.
pub fn everyday() -> Vec<Boot> {
    let rows = rows().into_iter().filter(|row| !row.is_fetched());
    let boot = |(number, row): (usize, Row)| Boot {
        way: row.ways[number % row.ways.len()],
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

/// What a boot loads.
struct Files {
    /// The kernel's bytes.
    kernel: Vec<u8>,
    /// Names, bytes and strings.
    modules: Vec<(&'static str, Vec<u8>, &'static str)>,
    /// The texts that must be in the transcript.
    expected: Vec<String>,
}

impl Boot {
    /// Boots it. `false`: something could not be fetched, because there is no apt-get here.
    ///
    /// # Errors
    /// When it does not show that it runs.
    fn run(&self) -> Result<bool> {
        let directory = tempfile::tempdir()?;
        let machine = match self.row.kernel {
            Kernel::Sector(target) => chaining(target, &directory)?,
            _ => {
                let Some(files) = self.files()? else {
                    return Ok(false);
                };
                let Some(machine) = self.machine(&files, &directory)? else {
                    return Ok(false);
                };
                return self.check(machine, &files.expected);
            }
        };
        self.check(machine, &[])
    }

    /// A machine with these files, in a directory that must be kept; `None`: the other loader
    /// cannot be fetched.
    fn machine(
        &self,
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
        if self.way == WayIn::Qemu {
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
        let (peer, protocol) = match self.way {
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
    /// The command line.
    fn options(&self) -> String {
        let diskless = self.row.kernel == Kernel::Multiboot && self.way != WayIn::Mbr;
        format!(
            "{}{}",
            self.row.options,
            if diskless { " diskless" } else { "" }
        )
    }

    /// The kernel's file; `None`: it cannot be fetched.
    fn kernel(&self) -> Result<Option<Vec<u8>>> {
        let path: PathBuf = match self.row.kernel {
            Kernel::Demo => image::demo_kernel()?,
            Kernel::C => image::c_kernel()?,
            Kernel::CMultiboot2 => image::c_kernel_with_bootstrap()?,
            Kernel::C32 => {
                find_kernel(Some(&stages::workspace().join("examples/multiboot-kernel")))?
            }
            Kernel::EnteringLongMode => test_program_file("entering-long-mode")?,
            Kernel::Multiboot => test_program_file("multiboot-kernel")?,
            Kernel::Limine => test_program_file("limine-first")?,
            Kernel::LimineChecks => test_program_file("limine-kernel")?,
            Kernel::LinuxChecks => return linux::check_kernel(&[]).map(Some),
            Kernel::Fetched(kernel) => match kernel.path()? {
                Some(path) => path,
                None => return Ok(None),
            },
            Kernel::Sector(_) => bail!("a boot sector is no file"),
        };
        Ok(Some(fs::read(&path)?))
    }

    /// The files to load; `None`: one cannot be fetched.
    fn files(&self) -> Result<Option<Files>> {
        let Some(kernel) = self.kernel()? else {
            return Ok(None);
        };
        let mut files = Files {
            kernel,
            modules: Vec::new(),
            expected: Vec::new(),
        };
        let version_1 = self.row.protocol == Some(Protocol::Multiboot1);
        match self.row.kernel {
            Kernel::EnteringLongMode if version_1 => {
                let header = header_1();
                replace(&mut files.kernel, &MAGIC_2.to_le_bytes(), &header)?;
                // The number that it compares EAX with.
                let [from, to] = [LOADER_2, LOADER_1].map(u32::to_le_bytes);
                replace(&mut files.kernel, &from, &to)?;
            }
            // The kernel has both headers, and the loader looks for version 2 first.
            Kernel::Multiboot if version_1 => {
                replace(&mut files.kernel, &MAGIC_2.to_le_bytes(), &[0; 4])?;
            }
            Kernel::LimineChecks => {
                files.modules.push(("inner.bin", noise(5000), ""));
            }
            _ => {}
        }
        if self.row.sign == Sign::Init
            && let Kernel::Fetched(kernel) = self.row.kernel
        {
            files.modules.push(("initrd", linux::initrd(kernel)?, ""));
            files.expected = vec![
                format!("**** cmdline {}\r\n", self.options()),
                "**** memory 2".into(),
            ];
        }
        if self.row.packed {
            self.pack(&mut files)?;
        }
        match self.row.kernel {
            Kernel::Multiboot => files.expected.extend([
                format!("10 kernel   Multiboot {}, ", if version_1 { 1 } else { 2 }),
                "command line: /".into(),
                format!(" {}\n", self.options()),
            ]),
            // The path is in front, which each loader names its way.
            Kernel::CMultiboot2 | Kernel::C32 => files
                .expected
                .extend(["command line: /".into(), format!(" {}", self.options())]),
            Kernel::Demo | Kernel::C | Kernel::Limine => {
                files
                    .expected
                    .push(format!("command line: {}", self.options()));
            }
            _ => {}
        }
        Ok(Some(files))
    }

    /// Compresses the kernel, and adds a compressed module.
    fn pack(&self, files: &mut Files) -> Result<()> {
        files.kernel = gzip(&files.kernel)?;
        let module = noise(70_000);
        let packed = gzip(&module)?;
        let size = match self.row.kernel {
            // A Limine kernel gets files as they are.
            Kernel::Limine if self.way != WayIn::Mboot => packed.len(),
            _ => module.len(),
        };
        files.modules.push(("module", packed, "its text"));
        files.expected.push(format!("{size} bytes"));
        // mboot.c32 itself unpacks files.
        if self.way != WayIn::Mboot {
            files.expected.push("10 gzip     ".into());
        }
        Ok(())
    }

    /// Switches the machine on, and checks that the kernel runs.
    fn check(
        &self,
        (machine, image): (Machine, Option<Image>),
        expected: &[String],
    ) -> Result<bool> {
        let mut running = machine.time_limit(TIME_LIMIT).start()?;
        match self.row.sign {
            Sign::Okay => {
                wait_for_okay(&mut running)?;
                let ending = running.wait()?;
                let transcript = running.serial();
                ensure!(
                    ending == Ending::Guest(EXIT_OKAY),
                    "{ending:?}\n{transcript}"
                );
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

const MAGIC_1: u32 = 0x1BAD_B002;
const MAGIC_2: u32 = 0xE852_50D6;
const LOADER_1: u32 = 0x2BAD_B002;
const LOADER_2: u32 = 0x36D7_6289;

/// A version 1 header that asks for nothing.
fn header_1() -> Vec<u8> {
    let words = [MAGIC_1, 0, MAGIC_1.wrapping_neg()];
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// Overwrites the first occurrence of these bytes.
pub(crate) fn replace(file: &mut [u8], from: &[u8], to: &[u8]) -> Result<()> {
    let mut windows = file.windows(from.len());
    let place = windows.position(|window| window == from);
    let place = place.with_context(|| format!("no {from:02X?} in the kernel"))?;
    let room = file.get_mut(place..place + to.len()).context("no room")?;
    room.copy_from_slice(to);
    Ok(())
}

/// Compresses bytes.
///
/// # Errors
/// None: it writes to memory.
pub fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?)
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

/// `docs/kernels.md`.
pub fn page() -> String {
    let mut text = String::from(
        "<!-- Made by `./run.sh kernels`. -->\n# Kernels\n\n\
         Each of these kernels was booted in QEMU, by each of the protocols and in each of the ways that the table shows. \
         A Linux kernel had to reach its first process, which prints the command line and the memory that it sees and switches the machine off; \
         memtest86+ had to reach its screen; the others had to print their `OKAY`, which most of them do when they have checked \
         what the protocol promises. `./run.sh kernels` repeats this; Debian's kernels come from its packages.\n\n\
         The protocols are those of an [entry](09-entry.md). *Named* means that the entry names the protocol; otherwise the loader recognises the kernel by its file. \
         *MBR* means from a disk. In the other columns another loader starts [`bootpath.elf`](multiboot-in.md): \
         *QEMU* by `-kernel` and `-initrd`, *GRUB* 2.06 by `multiboot` and `module` (1) or `multiboot2` and `module2` (2), \
         *SYSLINUX* 6 by `mboot.c32`. There, no entry can name a protocol, and there is no disk.\n\n\
         | kernel | protocol | MBR | QEMU | GRUB (1) | GRUB (2) | SYSLINUX |\n\
         | --- | --- | :-: | :-: | :-: | :-: | :-: |\n",
    );
    for row in rows() {
        let named = if row.named { ", named" } else { "" };
        let _ = write!(text, "| {} | `{}`{named} |", row.name, row.protocol_name());
        for way in ALL {
            text += if row.ways.contains(way) {
                " ✓ |"
            } else {
                " |"
            };
        }
        text.push('\n');
    }
    wrap(&text)
}
