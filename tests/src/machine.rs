//! An emulated PC: started with an image, watched over its serial line and its screen, and ended
//! in time.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use disk_builder::run::{EXIT_PORT, Ending, QEMU};
use tempfile::TempDir;

use crate::image::copy_file;
use crate::test_card;

/// How long a machine may run. Boots take one or two seconds; a busy host may need ten times that.
const TIME_LIMIT: Duration = Duration::from_secs(60);
/// How often the serial line is looked at.
const POLL: Duration = Duration::from_millis(10);
/// VGA text memory: physical address, columns and rows.
const TEXT_MEMORY: u32 = 0xB_8000;
pub(crate) const COLUMNS: usize = 80;
pub(crate) const ROWS: usize = 25;

/// QEMU's name for the device that the machine boots from, where it is not part of the chipset.
const DRIVE: &str = "boot-device";

/// How the disk is connected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Disk {
    /// The first PC chipset with IDE that QEMU has: i440FX.
    Ide,
    /// q35.
    #[default]
    Ahci,
    /// virtio-blk on PCI.
    Virtio,
    /// The same, with each request done at once, in the CPU's own thread: what the guest sees does
    /// not depend on when the host finds time. Needs a Linux host with io_uring.
    PromptVirtio,
    /// virtio-blk without PCI, as on a microvm.
    VirtioMmio,
    /// A SCSI disk on virtio-scsi.
    VirtioScsi,
    /// A SCSI disk on an LSI 53C895A.
    Lsi53c895a,
    /// A SCSI disk on an AMD 53C974.
    Am53c974,
    /// A SCSI disk on a MegaRAID SAS 8708.
    MegaSas,
    /// A SAS disk on an LSI SAS1068.
    MptSas,
    /// A SCSI disk on VMware's PVSCSI.
    PvScsi,
    /// A USB stick on an xHCI controller.
    Usb,
    /// A USB stick on an EHCI controller.
    UsbEhci,
    /// A USB stick on an OHCI controller.
    UsbOhci,
    /// A USB stick on the UHCI controller of the i440FX.
    UsbUhci,
    /// An NVMe drive.
    Nvme,
    /// The first diskette drive.
    Floppy,
    /// A CD on the IDE of the i440FX.
    CdIde,
    /// A CD on q35's AHCI.
    CdAhci,
    /// A SCSI CD on virtio-scsi.
    CdVirtioScsi,
    /// A SCSI CD on an LSI 53C895A.
    CdLsi53c895a,
    /// A SCSI CD on an AMD 53C974.
    CdAm53c974,
    /// A SCSI CD on VMware's PVSCSI.
    CdPvScsi,
    /// A USB CD drive on an xHCI controller.
    CdUsb,
    /// A USB CD drive on an EHCI controller.
    CdUsbEhci,
}

impl Disk {
    /// QEMU's machine that it is connected to, unless the arguments name another one.
    pub(crate) fn machine(self) -> &'static str {
        match self {
            Self::Ide | Self::CdIde => "pc",
            Self::UsbUhci => "pc,usb=on",
            _ => "q35",
        }
    }

    pub(crate) fn is_diskette(self) -> bool {
        self == Self::Floppy
    }

    pub(crate) fn is_cd(self) -> bool {
        self.drive().ends_with("media=cdrom")
    }

    /// What QEMU's `-drive` gets to say about it.
    fn drive(self) -> &'static str {
        match self {
            Self::Ide | Self::Ahci => "id=boot,media=disk",
            Self::PromptVirtio => "id=boot,if=none,aio=io_uring",
            Self::Floppy => "id=boot,if=floppy",
            Self::CdIde | Self::CdAhci => "id=boot,media=cdrom",
            Self::CdVirtioScsi
            | Self::CdLsi53c895a
            | Self::CdAm53c974
            | Self::CdPvScsi
            | Self::CdUsb
            | Self::CdUsbEhci => "id=boot,if=none,media=cdrom",
            _ => "id=boot,if=none",
        }
    }

    /// The devices that connect the drive; none where QEMU does it by itself.
    pub(crate) fn devices(self) -> &'static [&'static str] {
        match self {
            Self::Ide | Self::Ahci | Self::Floppy | Self::CdIde | Self::CdAhci => &[],
            Self::Virtio => &["virtio-blk-pci,drive=boot"],
            Self::PromptVirtio => &["virtio-blk-pci,drive=boot,ioeventfd=off"],
            Self::VirtioMmio => &["virtio-blk-device,drive=boot"],
            Self::VirtioScsi => &["virtio-scsi-pci", "scsi-hd,drive=boot"],
            Self::Lsi53c895a => &["lsi53c895a", "scsi-hd,drive=boot"],
            Self::Am53c974 => &["am53c974", "scsi-hd,drive=boot"],
            Self::MegaSas => &["megasas", "scsi-hd,drive=boot"],
            Self::MptSas => &["mptsas1068", "scsi-hd,drive=boot"],
            Self::PvScsi => &["pvscsi", "scsi-hd,drive=boot"],
            Self::Usb => &["qemu-xhci", "usb-storage,drive=boot"],
            Self::UsbEhci => &["usb-ehci", "usb-storage,drive=boot"],
            Self::UsbOhci => &["pci-ohci", "usb-storage,drive=boot"],
            Self::UsbUhci => &["usb-storage,drive=boot"],
            Self::Nvme => &["nvme,drive=boot,serial=boot"],
            Self::CdVirtioScsi => &["virtio-scsi-pci", "scsi-cd,drive=boot"],
            Self::CdLsi53c895a => &["lsi53c895a", "scsi-cd,drive=boot"],
            Self::CdAm53c974 => &["am53c974", "scsi-cd,drive=boot"],
            Self::CdPvScsi => &["pvscsi", "scsi-cd,drive=boot"],
            Self::CdUsb => &["qemu-xhci", "usb-storage,drive=boot"],
            Self::CdUsbEhci => &["usb-ehci", "usb-storage,drive=boot"],
        }
    }
}

/// A PC in QEMU that is not switched on yet.
#[derive(Clone, Debug)]
pub struct Machine {
    image: PathBuf,
    disk: Disk,
    program: Option<(PathBuf, String)>,
    bad_sectors: Vec<(u64, bool)>,
    writable: bool,
    serial: bool,
    exit_port: bool,
    drive_options: Vec<String>,
    arguments: Vec<OsString>,
    time_limit: Duration,
}

impl Machine {
    /// A q35 with 256 MiB that boots `image` through AHCI. The image is not changed.
    pub fn new(image: &Path) -> Self {
        Self {
            image: image.to_owned(),
            disk: Disk::default(),
            program: None,
            bad_sectors: Vec::new(),
            writable: false,
            serial: true,
            exit_port: true,
            drive_options: Vec::new(),
            arguments: Vec::new(),
            time_limit: TIME_LIMIT,
        }
    }

    /// Connects the disk in another way.
    pub fn disk(mut self, disk: Disk) -> Self {
        self.disk = disk;
        self
    }

    /// Lets QEMU start a program by Multiboot 1, with these modules, in the way of its `-initrd`. There
    /// is no disk then.
    pub fn multiboot(mut self, program: &Path, modules: &str) -> Self {
        self.program = Some((program.to_owned(), modules.to_owned()));
        self
    }

    /// Lets every read of this sector fail.
    pub fn dead_sector(mut self, lba: u64) -> Self {
        self.bad_sectors.push((lba, false));
        self
    }

    /// Lets the first read of this sector fail.
    pub fn weak_sector(mut self, lba: u64) -> Self {
        self.bad_sectors.push((lba, true));
        self
    }

    /// Lets the guest write to the image.
    pub fn writable(mut self) -> Self {
        self.writable = true;
        self
    }

    /// Takes the serial line out.
    pub fn no_serial(mut self) -> Self {
        self.serial = false;
        self
    }

    /// Takes the port away at which a guest ends QEMU: what is on the screen at the end stays there
    /// to be read.
    pub fn no_exit_port(mut self) -> Self {
        self.exit_port = false;
        self
    }

    /// Another option of QEMU's `-drive`.
    pub fn drive_option(mut self, option: &str) -> Self {
        self.drive_options.push(option.to_owned());
        self
    }

    /// How long it may run.
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = limit;
        self
    }

    /// More of QEMU's arguments; they come last.
    pub fn arguments<A: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments
            .extend(arguments.into_iter().map(|a| a.as_ref().to_owned()));
        self
    }

    /// Switches it on.
    ///
    /// # Errors
    /// When QEMU cannot be run.
    pub fn start(&self) -> Result<Running> {
        let directory = tempfile::tempdir()?;
        let mut command = Command::new(QEMU);
        command
            .args(["-machine", self.disk.machine()])
            .args(["-m", "256M", "-display", "none", "-no-reboot"])
            .arg("-monitor")
            .arg(joined([
                "unix:".as_ref(),
                monitor(&directory).as_os_str(),
                ",server=on,wait=off".as_ref(),
            ]))
            .arg("-serial");
        if self.serial {
            command.arg(joined(["file:".as_ref(), serial(&directory).as_os_str()]));
        } else {
            command.arg("none");
        }
        if self.exit_port {
            command
                .arg("-device")
                .arg(format!("isa-debug-exit,iobase={EXIT_PORT:#x},iosize=4"));
        }
        match &self.program {
            None => {
                command.arg("-drive").arg(self.drive());
                let mut devices = self.disk.devices().iter().peekable();
                while let Some(device) = devices.next() {
                    // The last one is the drive itself, which can be pulled by its name.
                    let name = match devices.peek() {
                        None => format!(",id={DRIVE}"),
                        Some(_) => String::new(),
                    };
                    command.arg("-device").arg(format!("{device}{name}"));
                }
            }
            Some((program, modules)) => {
                command.arg("-kernel").arg(program);
                if !modules.is_empty() {
                    command.args(["-initrd", modules]);
                }
            }
        }
        command.args(&self.arguments);
        Running::start(command, directory, self.time_limit)
    }

    fn drive(&self) -> OsString {
        let mut drive = OsString::from(self.disk.drive());
        for option in &self.drive_options {
            drive.push(format!(",{option}"));
        }
        if self.bad_sectors.is_empty() {
            if !self.writable {
                drive.push(",snapshot=on");
            }
            drive.push(",format=raw,file=");
            drive.push(&self.image);
        } else {
            drive.push(",driver=raw,file.driver=blkdebug,file.image.driver=file");
            for (index, &(lba, once)) in self.bad_sectors.iter().enumerate() {
                let rule = format!("file.inject-error.{index}");
                drive.push(format!(
                    ",{rule}.event=read_aio,{rule}.errno=5,{rule}.sector={lba}"
                ));
                if once {
                    drive.push(format!(",{rule}.once=on"));
                }
            }
            drive.push(",file.image.filename=");
            drive.push(&self.image);
        }
        drive
    }
}

/// What Bochs' PC boots from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BochsDrive {
    /// The first hard disk.
    Disk,
    /// The first diskette drive; the image has the size of a 2.88 MB diskette.
    Floppy,
    /// The CD drive.
    Cd,
}

impl BochsDrive {
    /// What comes before and behind the image's path in Bochs' configuration.
    pub(crate) fn option(self) -> (&'static str, &'static str) {
        match self {
            Self::Disk => ("ata0-master: type=disk, mode=flat, path=", ", cylinders=0"),
            Self::Floppy => ("floppya: 2_88=", ", status=inserted"),
            Self::Cd => ("ata1-master: type=cdrom, path=", ", status=inserted"),
        }
    }

    fn boot(self) -> &'static str {
        match self {
            Self::Disk => "disk",
            Self::Floppy => "floppy",
            Self::Cd => "cdrom",
        }
    }
}

/// A PC in Bochs: another CPU, another chipset, another BIOS.
#[derive(Clone, Debug)]
pub struct Bochs {
    image: PathBuf,
    bios: &'static str,
    cpu: &'static str,
    processors: u32,
    mib: u32,
    drive: BochsDrive,
    time_limit: Duration,
}

impl Bochs {
    /// A PC with 64 MiB that boots `image`. The image is not changed.
    pub fn new(image: &Path) -> Self {
        Self {
            image: image.to_owned(),
            bios: "BIOS-bochs-latest",
            cpu: "bx_generic",
            processors: 1,
            mib: 64,
            drive: BochsDrive::Disk,
            time_limit: TIME_LIMIT,
        }
    }

    /// Another one of Bochs' BIOSes.
    pub fn bios(mut self, name: &'static str) -> Self {
        self.bios = name;
        self
    }

    /// Another one of the CPUs that `bochs --help cpu` lists.
    pub fn cpu(mut self, model: &'static str) -> Self {
        self.cpu = model;
        self
    }

    /// Several processors, if Bochs was built for that.
    pub fn processors(mut self, count: u32) -> Self {
        self.processors = count;
        self
    }

    /// Another size of memory in MiB.
    pub fn mib(mut self, size: u32) -> Self {
        self.mib = size;
        self
    }

    /// Puts the image into another drive.
    pub fn drive(mut self, drive: BochsDrive) -> Self {
        self.drive = drive;
        self
    }

    /// How long it may run.
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = limit;
        self
    }

    /// Switches it on.
    ///
    /// # Errors
    /// When Bochs or its BIOS is not installed.
    pub fn start(&self) -> Result<Running> {
        let directory = tempfile::tempdir()?;
        // Bochs leaves a lock beside the image, and writes to it if the guest does.
        let image = directory.path().join("disk.img");
        copy_file(&self.image, &image)?;
        let (before, behind) = self.drive.option();
        // No sound: without a sound card, its driver for ALSA crashes.
        let configuration = format!(
            "config_interface: textconfig\n\
             display_library: rfb, options=\"timeout=0\"\n\
             romimage: file={bios}\n\
             vgaromimage: file={vga}\n\
             cpu: model={cpu}, count={processors}, ips=100000000\n\
             clock: sync=none\n\
             megs: {mib}\n\
             {before}{image}{behind}\n\
             boot: {boot}\n\
             sound: waveoutdrv=dummy, waveindrv=dummy, midioutdrv=dummy\n\
             speaker: enabled=0\n\
             com1: enabled=1, mode=file, dev={serial}\n\
             log: {log}\n",
            bios = firmware(self.bios)?.display(),
            vga = firmware("VGABIOS-lgpl-latest")?.display(),
            cpu = self.cpu,
            processors = self.processors,
            mib = self.mib,
            image = image.display(),
            boot = self.drive.boot(),
            serial = serial(&directory).display(),
            log = directory.path().join("bochs.log").display(),
        );
        let configuration_path = directory.path().join("bochsrc");
        fs::write(&configuration_path, configuration)?;
        let program = bochs_program();
        let mut command = Command::new(program);
        command.arg("-q").arg("-f").arg(configuration_path);
        let help = Command::new(program)
            .arg("--help")
            .output()
            .context("cannot run bochs")?;
        let help = [help.stdout, help.stderr].concat();
        if String::from_utf8_lossy(&help).contains("-rc filename") {
            // Built with its debugger, it waits for a command.
            let commands = directory.path().join("commands");
            fs::write(&commands, "continue\n")?;
            command.arg("-rc").arg(commands);
        }
        Running::start(command, directory, self.time_limit)
    }
}

/// Bochs' program.
pub fn bochs_program() -> &'static str {
    // The wrapper that Debian puts in front of it only adds an argument.
    if on_path("bochs-bin") {
        "bochs-bin"
    } else {
        "bochs"
    }
}

/// A BIOS that comes with Bochs or SeaBIOS.
///
/// # Errors
/// When it is in none of the usual places.
pub fn firmware(name: &str) -> Result<PathBuf> {
    let own = std::env::var_os("BXSHARE").map(PathBuf::from);
    let usual = [
        "/usr/share/bochs",
        "/usr/local/share/bochs",
        "/opt/homebrew/share/bochs",
        // Before QEMU's: Debian has another BIOS for the microvm there, by the same name.
        "/usr/share/seabios",
        "/usr/share/qemu",
        "/usr/local/share/qemu",
        "/opt/homebrew/share/qemu",
    ];
    own.into_iter()
        .chain(usual.map(PathBuf::from))
        .map(|directory| directory.join(name))
        .find(|path| path.is_file())
        .with_context(|| {
            format!("{name} is missing: install Bochs, its BIOS and VGA BIOS, and SeaBIOS")
        })
}

fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

fn joined<'a>(parts: impl IntoIterator<Item = &'a OsStr>) -> OsString {
    parts.into_iter().collect()
}

fn serial(directory: &TempDir) -> PathBuf {
    directory.path().join("serial")
}

fn monitor(directory: &TempDir) -> PathBuf {
    directory.path().join("monitor")
}

/// A machine that is switched on. It is switched off when it goes out of scope.
pub struct Running {
    child: Child,
    deadline: Instant,
    directory: TempDir,
}

impl Running {
    fn start(mut command: Command, directory: TempDir, time_limit: Duration) -> Result<Self> {
        let log = File::create(directory.path().join("log"))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot run {}", command.get_program().display()))?;
        Ok(Self {
            child,
            deadline: Instant::now() + time_limit,
            directory,
        })
    }

    /// All that came over the first serial line so far.
    pub fn serial(&self) -> String {
        let bytes = fs::read(serial(&self.directory)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits until `text` has come over the serial line, and returns all that came.
    ///
    /// # Errors
    /// When the machine ends or its time is up before that; the message holds what came instead.
    pub fn wait_for(&mut self, text: &str) -> Result<String> {
        self.wait_for_one_of(&[text])
    }

    /// Waits until one of `texts` has come over the serial line, and returns all that came.
    ///
    /// # Errors
    /// As [`Running::wait_for`].
    pub fn wait_for_one_of(&mut self, texts: &[&str]) -> Result<String> {
        let there = |serial: &str| texts.iter().any(|text| serial.contains(text));
        self.wait_until(&format!("{texts:?}"), there)
    }

    /// Waits until what has come over the serial line is enough, and returns it. `what` is what is
    /// missing otherwise.
    ///
    /// # Errors
    /// As [`Running::wait_for`].
    pub fn wait_until(&mut self, what: &str, enough: impl Fn(&str) -> bool) -> Result<String> {
        loop {
            let status = self.child.try_wait()?;
            let serial = self.serial();
            if enough(&serial) {
                return Ok(serial);
            }
            if let Some(status) = status {
                bail!("ended ({status}) without {what}\n{}", self.evidence());
            }
            self.sleep(|| format!("no {what}"))?;
        }
    }

    /// Waits until `is_it` says yes to all that came over the serial line, until the machine ends, or
    /// until it shows that there is nothing to boot; not an error if its time is up before that.
    /// Returns how it ended, if it did.
    ///
    /// # Errors
    /// When the emulator cannot be asked.
    pub fn watch_for(&mut self, is_it: impl Fn(&str) -> bool) -> Result<Option<Ending>> {
        let mut polls = 0_u32;
        loop {
            // In this order: what a machine says comes before its end.
            let status = self.child.try_wait()?;
            if is_it(&self.serial()) {
                return Ok(None);
            }
            if let Some(status) = status {
                return Ok(Some(Ending::of(status)));
            }
            polls += 1;
            let ask = polls.is_multiple_of(200);
            let screen = if ask { self.screen() } else { Ok(Vec::new()) };
            let nothing = |line: &String| line == "No bootable device.";
            let over = screen.is_ok_and(|screen| screen.iter().any(nothing));
            if over || self.sleep(String::new).is_err() {
                return Ok(None);
            }
        }
    }

    /// Waits until the last line of the screen is one of `lines` and has ended, and returns the
    /// screen. QEMU only.
    ///
    /// The line below it is blank then: as long as a screen scrolls, its last row is still what it
    /// was, and a row further up is there twice.
    ///
    /// # Errors
    /// When the machine ends or its time is up before that; the message holds what it shows
    /// instead.
    pub fn wait_for_line(&mut self, lines: &[&str]) -> Result<Vec<String>> {
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("ended ({status}) without {lines:?}\n{}", self.evidence());
            }
            // The monitor may not be there yet.
            let screen = self.screen().unwrap_or_default();
            let mut rows = screen.iter().rev();
            let blank = rows.next().is_some_and(String::is_empty);
            let last = rows.find(|row| !row.is_empty());
            if blank && last.is_some_and(|row| lines.contains(&row.as_str())) {
                return Ok(screen);
            }
            self.sleep(|| format!("no {lines:?} on the screen"))?;
        }
    }

    /// Waits until a line of the screen begins with `text`. QEMU only.
    ///
    /// # Errors
    /// When the machine ends or its time is up before that; the message holds what it shows
    /// instead.
    pub fn wait_for_screen(&mut self, text: &str) -> Result<()> {
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("ended ({status}) without {text:?}\n{}", self.evidence());
            }
            // The monitor may not be there yet.
            let screen = self.screen().unwrap_or_default();
            if screen.iter().any(|row| row.starts_with(text)) {
                return Ok(());
            }
            self.sleep(|| format!("no {text:?} on the screen"))?;
        }
    }

    /// Lets some time pass, unless there is none left.
    fn sleep(&self, what: impl Fn() -> String) -> Result<()> {
        ensure!(
            Instant::now() < self.deadline,
            "{} in time\n{}",
            what(),
            self.evidence()
        );
        sleep(POLL);
        Ok(())
    }

    /// Waits until the machine ends by itself.
    ///
    /// # Errors
    /// When its time is up before that; the message holds what came over the serial line.
    pub fn wait(&mut self) -> Result<Ending> {
        self.wait_for_exit().map(Ending::of)
    }

    fn wait_for_exit(&mut self) -> Result<ExitStatus> {
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            self.sleep(|| "did not end".to_owned())?;
        }
    }

    /// What is on the screen in text mode: 25 lines, without the blanks at their ends. QEMU only.
    ///
    /// # Errors
    /// When QEMU's monitor does not answer.
    pub fn screen(&self) -> Result<Vec<String>> {
        let memory = self.text_memory()?;
        let line = |row: &[u8]| {
            let text: String = row
                .chunks_exact(2)
                .map(|cell| match cell[0] {
                    0x20..0x7F => cell[0].into(),
                    0xE6 => 'µ', // code page 437
                    _ => ' ',
                })
                .collect();
            text.trim_end().to_owned()
        };
        Ok(memory.chunks_exact(2 * COLUMNS).map(line).collect())
    }

    /// The text memory: a character and its attribute for each cell. QEMU only.
    ///
    /// # Errors
    /// When QEMU's monitor does not answer.
    pub fn text_memory(&self) -> Result<Vec<u8>> {
        let path = self.directory.path().join("screen");
        let size = 2 * COLUMNS * ROWS;
        self.monitor(&format!(
            "pmemsave {TEXT_MEMORY:#x} {size} \"{}\"",
            path.display()
        ))?;
        let memory = fs::read(&path)?;
        ensure!(memory.len() == size, "QEMU saved {} bytes", memory.len());
        Ok(memory)
    }

    /// Waits until the text memory begins with these cells, or with one of the others: which one it
    /// was. QEMU only.
    ///
    /// # Errors
    /// As [`Running::wait_for_line`].
    pub fn wait_for_cells(&mut self, cells: &[&[u8]]) -> Result<usize> {
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("ended ({status}) without {cells:02x?}\n{}", self.evidence());
            }
            // The monitor may not be there yet.
            let memory = self.text_memory().unwrap_or_default();
            if let Some(found) = cells.iter().position(|cells| memory.starts_with(cells)) {
                return Ok(found);
            }
            self.sleep(|| format!("no {cells:02x?} in the text memory"))?;
        }
    }

    /// What is on the screen, in any mode. QEMU only.
    ///
    /// # Errors
    /// When QEMU's monitor does not answer.
    pub fn picture(&self) -> Result<Picture> {
        let path = self.directory.path().join("picture");
        self.monitor(&format!("screendump \"{}\"", path.display()))?;
        Picture::read(&fs::read(&path)?).context("QEMU has saved no picture")
    }

    /// Whether VGA text has its cursor switched off (bit 5 of the CRT controller's register 0Ah). QEMU
    /// only.
    ///
    /// # Errors
    /// When QEMU's monitor does not answer.
    pub fn cursor_is_hidden(&self) -> Result<bool> {
        self.monitor("o/b 0x3d4 0x0a")?;
        let answer = self.monitor("i/b 0x3d5")?;
        let start = answer
            .rsplit_once("= 0x")
            .and_then(|(_, digits)| u8::from_str_radix(digits.get(..2)?, 16).ok());
        let start = start.with_context(|| format!("QEMU says {answer:?}"))?;
        Ok(start & 1 << 5 != 0)
    }

    /// Presses and releases a key, by the name that QEMU has for it (`ret`, `a`). QEMU only.
    ///
    /// # Errors
    /// When QEMU's monitor does not answer.
    pub fn press(&self, key: &str) -> Result<()> {
        self.monitor(&format!("sendkey {key}")).map(drop)
    }

    /// Pulls the drive that the machine was booted from: one on USB.
    ///
    /// # Errors
    /// When QEMU's monitor does not answer, or there is no such device.
    pub fn pull_drive(&self) -> Result<()> {
        let answer = self.monitor(&format!("device_del {DRIVE}"))?;
        ensure!(!answer.contains("Error"), "{answer}");
        Ok(())
    }

    /// Gives QEMU's monitor a command and waits until it is done.
    fn monitor(&self, command: &str) -> Result<String> {
        const PROMPT: &str = "(qemu) ";
        let mut stream = UnixStream::connect(monitor(&self.directory)).context("no monitor")?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.write_all(format!("{command}\n").as_bytes())?;
        let mut answer = String::new();
        let mut buffer = [0; 4096];
        // One prompt is in front of the command, one behind it.
        while answer.matches(PROMPT).count() < 2 {
            let length = stream
                .read(&mut buffer)
                .context("QEMU's monitor does not answer")?;
            ensure!(length > 0, "QEMU's monitor closed the connection");
            answer += &String::from_utf8_lossy(&buffer[..length]);
        }
        Ok(answer)
    }

    /// What an error message tells of a machine that did not do what it should.
    fn evidence(&self) -> String {
        let log = fs::read(self.directory.path().join("log")).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let screen = self.screen().unwrap_or_default().join("\n");
        format!(
            "--- serial line\n{}\n--- screen\n{}\n--- emulator\n{}",
            self.serial().trim_end(),
            screen.trim_end(),
            log.trim_end()
        )
    }
}

/// What a screen shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Pixels in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Red, green and blue of each, row by row.
    pub pixels: Vec<u8>,
}

impl Picture {
    /// Reads the binary form of a PPM file with 8 bits a colour.
    fn read(file: &[u8]) -> Option<Self> {
        let mut parts = file.splitn(4, |&byte| byte == b'\n');
        let mut text = || str::from_utf8(parts.next()?).ok();
        let (magic, size, most) = (text()?, text()?, text()?);
        let (width, height) = size.split_once(' ')?;
        let picture = Self {
            width: width.parse().ok()?,
            height: height.parse().ok()?,
            pixels: parts.next()?.to_vec(),
        };
        let whole = picture.pixels.len() == 3 * picture.width * picture.height;
        (magic == "P6" && most == "255" && whole).then_some(picture)
    }

    /// Is it VGA text?
    ///
    /// # Errors
    /// The size.
    pub fn is_text(&self) -> Result<()> {
        let (width, height) = (self.width, self.height);
        ensure!((width, height) == (720, 400), "{width} by {height} pixels");
        Ok(())
    }

    /// Is it the picture that the test kernels draw, in this size?
    ///
    /// # Errors
    /// The first pixel that is another one.
    pub fn is_test_card(&self, width: usize, height: usize) -> Result<()> {
        ensure!(
            (self.width, self.height) == (width, height),
            "{} by {} pixels",
            self.width,
            self.height
        );
        for (index, pixel) in self.pixels.chunks_exact(3).enumerate() {
            let (x, y) = (index % width, index / width);
            let color = test_card::color(x, y, width, height);
            // Five bits may be shown as F8h.
            let same = pixel.iter().zip(color).all(|(&found, on)| match on {
                true => found >= 0xF8,
                false => found == 0,
            });
            ensure!(same, "{pixel:02x?} at {x}, {y}");
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself; there is no one to tell if not.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
