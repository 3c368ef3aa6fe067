//! The machine matrix: one image on many machines, and what each of them must print, line by line.
//!
//! [`rows`] is the table: `tests/tests/machines.rs` runs a part of it, `./run.sh machines` all of
//! it, and `docs/machines.md` is [`page`]. A new machine is a new row there.

pub(crate) mod expect;
mod page;
mod row;
mod table;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use boot_path::errors::catalogue::Entry;
use disk_builder::Road;
use disk_builder::run::{EXIT_OKAY, Ending};
use tempfile::NamedTempFile;

use crate::el_torito;
use crate::image::{Defect, Image, bad_bios, low_memory};
use crate::machine::{Bochs, BochsDrive, Disk, Machine, OFFER, Running, firmware};
use crate::parallel;

pub use expect::KernelFacts;
pub use page::{Versions, page};
pub use table::rows;

/// How long a machine may run: it usually takes two seconds, but the host may be busy.
const TIME_LIMIT: Duration = Duration::from_secs(180);

/// A machine, and what it has to do.
#[derive(Clone, Debug)]
pub struct Row {
    /// Short and unique.
    pub name: &'static str,
    /// What it tests that others do not.
    pub shows: &'static str,
    /// Whether `./run.sh test` runs it.
    pub everyday: bool,
    /// Which of the images: stage2's road to long mode, …
    pub road: Road,
    /// … and what it is besides a disk. They differ in nothing else.
    pub form: Form,
    start: Start,
    drive: u8,
    chs: bool,
    sector: u64,
    usable_mib: u64,
    serial: bool,
    /// It has a VGA text screen.
    screen: bool,
    /// It has text in a framebuffer, by the BIOS.
    teletype: bool,
    keyboard: bool,
    may_retry: bool,
    nx: bool,
    gib_pages: bool,
    /// It has a time-stamp counter.
    time: bool,
    /// The BIOS is asked in ways that are its own, so the number of reads is, too.
    own_reads: bool,
    acpi: bool,
    smbios: bool,
    outcome: Outcome,
}

/// What an image is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A disk.
    Disk,
    /// A disk that is a CD as well.
    Hybrid,
    /// A CD that emulates the disk, by El Torito.
    Emulated,
}

/// How to start a machine.
#[derive(Clone, Debug)]
enum Start {
    Qemu {
        disk: Disk,
        arguments: &'static str,
        extras: Vec<Extra>,
    },
    Bochs {
        bios: &'static str,
        cpu: &'static str,
        mib: u32,
        drive: BochsDrive,
    },
}

/// What arguments alone cannot express.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extra {
    /// Another BIOS, by the name of its file.
    Bios(&'static str),
    /// RAM from 1 MiB on is filled with A5h.
    DirtyMemory,
    /// The disk is the second one, which a boot manager on the first one starts, with this number in
    /// DL.
    BehindBootManager(u8),
    /// An option of `-drive`.
    Drive(&'static str),
    /// An option ROM spoils the BIOS.
    Rom(Rom),
}

/// What the option ROM does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rom {
    Defect(Defect),
    /// It leaves so many KiB of memory below 640 KiB.
    LowMemory(u16),
}

/// How a machine ends.
#[derive(Clone, Copy, Debug)]
enum Outcome {
    /// The kernel runs, and all is well.
    Boots,
    /// An error of the 16-bit steps.
    Refused(&'static Entry),
    /// An error of stage1, and the BIOS's last status, in Bochs.
    RefusedByStage1(&'static Entry, u8),
    /// 6B, when the kernel is placed: bytes in the largest free piece, and in all.
    TooLittleMemory { largest: u64, present: u64 },
}

/// Further facts about a machine.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Calls of INT 13h that read.
    reads: Option<u64>,
    /// Whether there is so much memory that the windows of the file system are large.
    has_large_windows: bool,
    /// The BIOS's first line on the screen.
    bios: Option<String>,
}

/// The images that all machines boot.
pub struct Images {
    images: [(Road, Form, Image); 5],
    /// By the number that they pass on.
    boot_managers: Vec<(u8, Image)>,
    dirt: NamedTempFile,
    roms: Vec<(Rom, NamedTempFile)>,
    kernel: KernelFacts,
}

impl Images {
    /// The path of the image that this machine boots.
    pub fn path(&self, row: &Row) -> PathBuf {
        let mut images = self.images.iter();
        let image = images.find(|(road, form, _)| (*road, *form) == (row.road, row.form));
        image.unwrap_or(&self.images[0]).2.path()
    }

    /// Builds them.
    ///
    /// # Errors
    /// When one cannot be built.
    pub fn build() -> Result<Self> {
        const DIRT: usize = 64 << 20;

        let image = |road, form| {
            let image = Image::for_every_drive(road, form == Form::Hybrid)?;
            anyhow::Ok((
                road,
                form,
                match form {
                    Form::Disk | Form::Hybrid => image,
                    Form::Emulated => el_torito::hard_disk(&image)?,
                },
            ))
        };
        let mut dirt = NamedTempFile::new()?;
        dirt.write_all(&vec![0xA5; DIRT])?;
        Ok(Self {
            images: [
                image(Road::Protected, Form::Disk)?,
                image(Road::Direct, Form::Disk)?,
                image(Road::Protected, Form::Hybrid)?,
                image(Road::Direct, Form::Hybrid)?,
                image(Road::Protected, Form::Emulated)?,
            ],
            boot_managers: boot_managers()?,
            dirt,
            roms: roms()?,
            kernel: KernelFacts::read(&fs::read(crate::image::small_kernel()?.path())?)?,
        })
    }
}

/// The option ROMs that rows of the table have.
fn roms() -> Result<Vec<(Rom, NamedTempFile)>> {
    let roms = extras().into_iter().filter_map(|extra| match extra {
        Extra::Rom(rom) => Some(rom),
        _ => None,
    });
    roms.map(|rom| {
        let file = match rom {
            Rom::Defect(defect) => bad_bios(&[defect])?,
            Rom::LowMemory(kib) => low_memory(kib)?,
        };
        Ok((rom, file))
    })
    .collect()
}

/// The first disks of rows of the table.
fn boot_managers() -> Result<Vec<(u8, Image)>> {
    let numbers = extras().into_iter().filter_map(|extra| match extra {
        Extra::BehindBootManager(number) => Some(number),
        _ => None,
    });
    numbers
        .map(|number| {
            let mut program = BOOT_MANAGER.to_vec();
            program[PASSED_ON] = number;
            Ok((number, Image::raw(&program, &[])?))
        })
        .collect()
}

/// What rows of the table have that arguments alone cannot express.
fn extras() -> Vec<Extra> {
    let of = |row: Row| match row.start {
        Start::Qemu { extras, .. } => extras,
        _ => Vec::new(),
    };
    rows().into_iter().flat_map(of).collect()
}

/// Starts the boot sector of the second disk.
#[rustfmt::skip]
const BOOT_MANAGER: &[u8] = &[
    0x31, 0xC0,                   // xor ax, ax
    0x8E, 0xD8,                   // mov ds, ax
    0x8E, 0xC0,                   // mov es, ax
    0xBE, 0x00, 0x7C,             // mov si, 0x7C00
    0xBF, 0x00, 0x06,             // mov di, 0x600
    0xB9, 0x00, 0x01,             // mov cx, 256
    0xFC,                         // cld
    0xF3, 0xA5,                   // rep movsw
    0xEA, 0x17, 0x06, 0x00, 0x00, // jmp 0:0x617, the next one in the copy
    0xB8, 0x01, 0x02,             // mov ax, 0x0201: read a sector
    0xBB, 0x00, 0x7C,             // mov bx, 0x7C00: to here
    0xB9, 0x01, 0x00,             // mov cx, 1: cylinder 0, sector 1
    0xBA, 0x81, 0x00,             // mov dx, 0x81: head 0, second disk
    0xCD, 0x13,                   // int 0x13
    0xB2, 0x00,                   // mov dl, the number that is passed on
    0xEA, 0x00, 0x7C, 0x00, 0x00, // jmp 0:0x7C00
];
/// Where it has that number.
const PASSED_ON: usize = BOOT_MANAGER.len() - 6;
const _: () = assert!(BOOT_MANAGER[PASSED_ON - 1] == 0xB2);

/// How the last line of a boot may begin.
const ENDS: [&str; 3] = [
    "OKAY\x1b[0m\r\n",
    "FAIL\x1b[0m\r\n",
    "press a key to reboot\r\n",
];
/// The same on the screen.
const LINES: [&str; 3] = ["OKAY", "FAIL", OFFER];

impl Row {
    /// Boots the image on this machine and compares all output with the expected lines.
    ///
    /// # Errors
    /// The difference.
    pub fn run(&self, images: &Images) -> Result<Seen> {
        let image = images.path(self);
        let boots = matches!(self.outcome, Outcome::Boots);
        match &self.start {
            Start::Qemu { .. } => {
                let mut running = self.qemu_machine(&image, images)?.start()?;
                match (self.serial, self.screen) {
                    (true, _) => self.watch_serial(&mut running, images, boots),
                    (false, true) => self.watch_screen(&mut running, images),
                    (false, false) => {
                        let ending = running.wait()?;
                        ensure!(ending == Ending::Guest(EXIT_OKAY), "{ending:?}");
                        Ok(Seen::default())
                    }
                }
            }
            &Start::Bochs {
                bios,
                cpu,
                mib,
                drive,
            } => {
                let bochs = Bochs::new(&image).bios(bios).cpu(cpu).mib(mib);
                let mut running = bochs.drive(drive).time_limit(TIME_LIMIT).start()?;
                if let Outcome::RefusedByStage1(entry, status) = self.outcome {
                    return watch_stage1(&mut running, entry, status);
                }
                let transcript = running.wait_for_one_of(&ENDS)?;
                self.check(&transcript, &images.kernel)
            }
        }
    }

    /// Compares the output on the serial line with the expected lines.
    ///
    /// # Errors
    /// The difference.
    pub fn check(&self, transcript: &str, kernel: &KernelFacts) -> Result<Seen> {
        let reads =
            expect::check_serial(self, kernel, transcript).map_err(|error| anyhow!(error))?;
        Ok(Seen {
            reads,
            has_large_windows: usable_mib(transcript) >= 64,
            bios: None,
        })
    }

    /// Checks the output on the serial line, how the machine ends, and that an error is on the
    /// screen.
    fn watch_serial(&self, running: &mut Running, images: &Images, boots: bool) -> Result<Seen> {
        let mut transcript = running.wait_for_one_of(&ENDS)?;
        let ended = if boots && !transcript.ends_with(ENDS[2]) {
            let ending = running.wait()?;
            // There may be more output after that.
            transcript = running.serial();
            Some(ending)
        } else {
            None
        };
        let mut seen = self.check(&transcript, &images.kernel)?;
        if let Some(ending) = ended {
            ensure!(ending == Ending::Guest(EXIT_OKAY), "{ending:?}");
        } else {
            if self.screen {
                let screen = running.wait_for_line(&LINES)?;
                seen.bios = expect::check_screen(self, &images.kernel, &screen)
                    .map_err(|error| anyhow!(error))?;
            }
            if self.keyboard {
                running.press("spc")?;
                let ending = running.wait().context("a key press does not reboot")?;
                ensure!(ending == Ending::Closed, "{ending:?}");
            }
        }
        Ok(seen)
    }

    /// Checks the screen at the end of a machine without a serial line.
    fn watch_screen(&self, running: &mut Running, images: &Images) -> Result<Seen> {
        let screen = running.wait_for_line(&LINES)?;
        let bios =
            expect::check_screen(self, &images.kernel, &screen).map_err(|error| anyhow!(error))?;
        Ok(Seen {
            reads: None,
            has_large_windows: false,
            bios,
        })
    }

    fn qemu_machine(&self, image: &Path, images: &Images) -> Result<Machine> {
        let Start::Qemu {
            disk,
            arguments,
            extras,
        } = &self.start
        else {
            bail!("not a machine of QEMU");
        };
        let first = images.boot_managers.iter();
        let first = first.filter(|(number, _)| extras.contains(&Extra::BehindBootManager(*number)));
        let first = first.map(|(_, image)| image.path()).next();
        let mut machine = Machine::new(first.as_deref().unwrap_or(image))
            .disk(*disk)
            .time_limit(TIME_LIMIT)
            .arguments(arguments.split_whitespace());
        if !self.serial {
            machine = machine.no_serial();
            if self.screen {
                machine = machine.no_exit_port();
            }
        }
        for extra in extras {
            machine = match extra {
                Extra::Bios(name) => {
                    machine.arguments(["-bios".as_ref(), firmware(name)?.as_os_str()])
                }
                Extra::DirtyMemory => {
                    let file = images.dirt.path().display();
                    let loader = format!("loader,addr=0x100000,force-raw=on,file={file}");
                    machine.arguments(["-device", &loader])
                }
                Extra::BehindBootManager(_) => {
                    let second = format!("index=1,format=raw,snapshot=on,file={}", image.display());
                    machine.arguments(["-drive", &second])
                }
                Extra::Drive(option) => machine.drive_option(option),
                Extra::Rom(rom) => {
                    let (_, file) = images
                        .roms
                        .iter()
                        .find(|(built, _)| built == rom)
                        .context("not an option ROM of the table")?;
                    machine.arguments(["-option-rom".as_ref(), file.path()])
                }
            };
        }
        Ok(machine)
    }
}

/// Checks that stage1's error is all there is on the serial line.
fn watch_stage1(running: &mut Running, entry: &Entry, status: u8) -> Result<Seen> {
    let error = format!("error {} {status:02X}", entry.code);
    let transcript = running.wait_for(&error)?;
    ensure!(transcript.trim_start() == error, "{transcript:?}");
    Ok(Seen::default())
}

/// Runs machines, as many at once as there are cores, and in the end, one by one, those with a disk
/// whose reads fail on a busy host. `done` is called for each when it ends. Returns what was seen of
/// those that did what they had to.
pub fn run(
    rows: &[Row],
    images: &Images,
    done: impl Fn(&Row, &Result<Seen>) + Sync,
) -> Vec<(Row, Result<Seen>)> {
    let boot = |row: &Row| {
        let result = row.run(images);
        done(row, &result);
        result
    };
    let results = parallel::each(rows, |row| (!row.may_retry).then(|| boot(row)));
    let results = rows.iter().zip(results);
    results
        .map(|(row, result)| (row.clone(), result.unwrap_or_else(|| boot(row))))
        .collect()
}

/// What the line of step 6 says.
fn usable_mib(transcript: &str) -> u64 {
    let said = transcript.split_once(" 6 memory   ");
    let number = said.and_then(|(_, behind)| behind.split(' ').next());
    number.and_then(|it| it.parse().ok()).unwrap_or(0)
}

/// The same image needs the same number of reads by LBA on every machine with sectors of the same
/// size, and with windows of the same size. Another number means that a read failed, or that the size of the calls depends on the
/// machine.
///
/// # Errors
/// Which machines differ.
pub fn agree(results: &[(Row, Result<Seen>)]) -> Result<()> {
    let mut by_size = BTreeMap::<(u64, bool), BTreeMap<u64, Vec<&str>>>::new();
    for (row, seen) in results {
        if let Ok(Seen {
            reads: Some(reads),
            has_large_windows,
            ..
        }) = seen
            && !row.chs
            && !row.may_retry
            && !row.own_reads
        {
            let by_number = by_size.entry((row.sector, *has_large_windows)).or_default();
            by_number.entry(*reads).or_default().push(row.name);
        }
    }
    for ((size, _), by_number) in by_size {
        ensure!(
            by_number.len() <= 1,
            "the machines need different numbers of reads of {size}-byte sectors: {by_number:?}"
        );
    }
    Ok(())
}

/// The BIOS's own line, from a machine whose screen was read.
pub fn bios(results: &[(Row, Result<Seen>)]) -> Option<&str> {
    results
        .iter()
        .filter_map(|(_, seen)| seen.as_ref().ok())
        .find_map(|seen| seen.bios.as_deref())
}
