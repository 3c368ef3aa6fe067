//! A PC in Bochs.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::image::copy_file;

use super::running::Running;
use super::{TIME_LIMIT, serial};

/// Bytes of 16 heads and 63 sectors per track, if a sector has 4096 bytes: the smallest disk.
const CYLINDER_OF_LARGE_SECTORS: u64 = 16 * 63 * 4096;

/// The drive that Bochs' PC boots from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BochsDrive {
    /// The first hard disk.
    Disk,
    /// The first hard disk, in sectors of 4096 bytes; there is at least a cylinder of them.
    Disk4Kn,
    /// The first diskette drive; the image has the size of a 2.88 MB diskette.
    Floppy,
    /// The CD drive.
    Cd,
}

impl BochsDrive {
    /// The text in front of the image's path in Bochs' configuration, and the one behind it.
    pub(crate) fn option(self) -> (&'static str, &'static str) {
        match self {
            Self::Disk => ("ata0-master: type=disk, mode=flat, path=", ", cylinders=0"),
            Self::Disk4Kn => (
                "ata0-master: type=disk, mode=flat, sect_size=4096, path=",
                ", cylinders=0",
            ),
            Self::Floppy => ("floppya: 2_88=", ", status=inserted"),
            Self::Cd => ("ata1-master: type=cdrom, path=", ", status=inserted"),
        }
    }

    fn boot(self) -> &'static str {
        match self {
            Self::Disk | Self::Disk4Kn => "disk",
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
            cpu: "corei7_haswell_4770",
            processors: 1,
            mib: 64,
            drive: BochsDrive::Disk,
            time_limit: TIME_LIMIT,
        }
    }

    /// Uses another one of Bochs' BIOSes.
    pub fn bios(mut self, name: &'static str) -> Self {
        self.bios = name;
        self
    }

    /// Uses another one of the CPUs that `bochs --help cpu` lists.
    pub fn cpu(mut self, model: &'static str) -> Self {
        self.cpu = model;
        self
    }

    /// Uses several processors, if Bochs was built for that.
    pub fn processors(mut self, count: u32) -> Self {
        self.processors = count;
        self
    }

    /// Sets the size of memory in MiB.
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
        // Bochs leaves a lock file beside the image, and writes to the image if the guest does.
        let image = directory.path().join("disk.img");
        copy_file(&self.image, &image)?;
        if self.drive == BochsDrive::Disk4Kn {
            let file = OpenOptions::new().write(true).open(&image)?;
            file.set_len(file.metadata()?.len().max(CYLINDER_OF_LARGE_SECTORS))?;
        }
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
            // A Bochs that was built with its debugger waits for a command.
            let commands = directory.path().join("commands");
            fs::write(&commands, "continue\n")?;
            command.arg("-rc").arg(commands);
        }
        Running::start(command, directory, self.time_limit)
    }
}

/// Bochs' program.
pub fn bochs_program() -> &'static str {
    // Debian's wrapper for it only adds an argument.
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
        // This comes before QEMU's directory, where Debian has the microvm's BIOS under the same
        // name.
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
