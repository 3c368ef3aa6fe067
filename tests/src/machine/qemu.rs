//! A PC in QEMU, and how its disk is connected.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use disk_builder::run::{EXIT_PORT, QEMU};

use super::running::Running;
use super::{DRIVE, TIME_LIMIT, line, monitor, serial};

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
    /// The same, but each request is done at once, in the CPU's own thread: what the guest sees
    /// does not depend on when the host finds time. Needs a Linux host with io_uring.
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
    /// The QEMU machine that has this disk, unless the arguments name another one.
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

    /// The options of QEMU's `-drive` for it.
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

    /// The devices that connect the drive; none if QEMU adds them by itself.
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
    write_log: Option<PathBuf>,
    serial: bool,
    typing: bool,
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
            write_log: None,
            serial: true,
            typing: false,
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

    /// Lets QEMU start a program by Multiboot 1, with these modules, written as for its `-initrd`.
    /// There is no disk then.
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

    /// Lets the guest write to the image, and writes down each request in the format of Linux's
    /// dm-log-writes.
    pub fn write_log(mut self, log: &Path) -> Self {
        self.writable = true;
        self.write_log = Some(log.to_owned());
        self
    }

    /// Lets [`Running::type_line`] type on the serial line.
    pub fn typing(mut self) -> Self {
        self.typing = true;
        self
    }

    /// Takes the serial line out.
    pub fn no_serial(mut self) -> Self {
        self.serial = false;
        self
    }

    /// Takes away the port by which a guest ends QEMU, so that the screen can still be read at the
    /// end.
    pub fn no_exit_port(mut self) -> Self {
        self.exit_port = false;
        self
    }

    /// Adds an option to QEMU's `-drive`.
    pub fn drive_option(mut self, option: &str) -> Self {
        self.drive_options.push(option.to_owned());
        self
    }

    /// How long it may run.
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = limit;
        self
    }

    /// Adds arguments of QEMU, which come last.
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
        if let Some(log) = &self.write_log {
            // QEMU does not make it.
            File::create(log)?;
        }
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
        if self.typing {
            command.arg("chardev:line").arg("-chardev").arg(joined([
                "socket,id=line,server=on,wait=off,path=".as_ref(),
                line(&directory).as_os_str(),
                ",logfile=".as_ref(),
                serial(&directory).as_os_str(),
            ]));
        } else if self.serial {
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
                    // The last device is the drive itself. It can be pulled by its name.
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
        if let Some(log) = &self.write_log {
            drive.push(",driver=blklogwrites,log-sector-size=512,log.driver=file,log.filename=");
            drive.push(log);
            drive.push(",file.driver=raw,file.file.driver=file,file.file.filename=");
            drive.push(&self.image);
        } else if self.bad_sectors.is_empty() {
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

fn joined<'a>(parts: impl IntoIterator<Item = &'a OsStr>) -> OsString {
    parts.into_iter().collect()
}
