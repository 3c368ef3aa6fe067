//! The words of the table: plain machines, and what is special about one.

use boot_path::errors::catalogue::Entry;
use disk_builder::Road;

use super::{Extra, Form, Outcome, Row, Start};
use crate::machine::{BochsDrive, Disk};

const KIB: u64 = 1 << 10;

impl Row {
    fn new(name: &'static str, start: Start, shows: &'static str) -> Self {
        Self {
            name,
            shows,
            everyday: false,
            road: Road::Protected,
            form: Form::Disk,
            start,
            drive: 0x80,
            chs: false,
            sector: 512,
            usable_mib: 255,
            serial: true,
            screen: true,
            teletype: false,
            keyboard: true,
            may_retry: false,
            nx: true,
            gib_pages: false,
            time: true,
            own_reads: false,
            acpi: true,
            smbios: true,
            outcome: Outcome::Boots,
        }
    }

    /// A QEMU machine with 256 MiB.
    pub(super) fn qemu(
        name: &'static str,
        disk: Disk,
        arguments: &'static str,
        shows: &'static str,
    ) -> Self {
        let start = Start::Qemu {
            disk,
            arguments,
            extras: Vec::new(),
        };
        Self::new(name, start, shows)
    }

    /// A Bochs machine with 64 MiB.
    pub(super) fn bochs(
        name: &'static str,
        bios: &'static str,
        cpu: &'static str,
        shows: &'static str,
    ) -> Self {
        let start = Start::Bochs {
            bios,
            cpu,
            mib: 64,
            drive: BochsDrive::Disk,
        };
        Self::new(name, start, shows).usable(63)
    }

    pub(super) fn everyday(mut self) -> Self {
        self.everyday = true;
        self
    }

    /// The same machine by the other road to long mode.
    pub(super) fn direct(&self, name: &'static str) -> Self {
        Self {
            name,
            shows: "the direct road to long mode",
            road: Road::Direct,
            ..self.clone()
        }
    }

    pub(super) fn with(mut self, extra: Extra) -> Self {
        if let Start::Qemu { extras, .. } = &mut self.start {
            extras.push(extra);
        }
        self
    }

    /// The drive's number, if it is not 80h.
    pub(super) fn drive(mut self, number: u8) -> Self {
        self.drive = number;
        self
    }

    /// The first diskette drive, which is read by cylinder, head and sector.
    pub(super) fn diskette(mut self) -> Self {
        self.chs = true;
        if let Start::Bochs { drive, .. } = &mut self.start {
            *drive = BochsDrive::Floppy;
        }
        self.drive(0)
    }

    /// A disk that Bochs reads in sectors of 4096 bytes.
    pub(super) fn sectors_of_4_kib(mut self) -> Self {
        if let Start::Bochs { drive, .. } = &mut self.start {
            *drive = BochsDrive::Disk4Kn;
        }
        self
    }

    /// Uses the image that is a CD as well.
    pub(super) fn hybrid(mut self) -> Self {
        self.form = Form::Hybrid;
        self
    }

    /// Uses that image as a CD.
    pub(super) fn cd(mut self) -> Self {
        if let Start::Bochs { drive, .. } = &mut self.start {
            *drive = BochsDrive::Cd;
        }
        self.sector = 2048;
        self.hybrid().drive(0xE0)
    }

    /// A CD as the hard disk that it emulates.
    pub(super) fn emulated(self) -> Self {
        let mut row = self.cd().drive(0x80);
        row.form = Form::Emulated;
        row.sector = 512;
        row.chs = true;
        row
    }

    /// MiB that the BIOS reports, if it is not 255.
    pub(super) fn usable(mut self, mib: u64) -> Self {
        self.usable_mib = mib;
        self
    }

    /// MiB of a Bochs machine.
    pub(super) fn memory(mut self, size: u32) -> Self {
        if let Start::Bochs { mib, .. } = &mut self.start {
            *mib = size;
        }
        self.usable(u64::from(size) - 1)
    }

    pub(super) fn no_serial(mut self) -> Self {
        self.serial = false;
        self
    }

    pub(super) fn no_screen(mut self) -> Self {
        self.screen = false;
        self
    }

    /// A screen without VGA below it.
    pub(super) fn teletype(mut self) -> Self {
        self.teletype = true;
        self.no_screen()
    }

    pub(super) fn no_keyboard(mut self) -> Self {
        self.keyboard = false;
        self
    }

    /// On a busy host, a read from this disk has been seen to fail once and then to succeed.
    pub(super) fn may_retry(mut self) -> Self {
        self.may_retry = true;
        self
    }

    pub(super) fn no_nx(mut self) -> Self {
        self.nx = false;
        self
    }

    pub(super) fn gib_pages(mut self) -> Self {
        self.gib_pages = true;
        self
    }

    pub(super) fn no_time(mut self) -> Self {
        self.time = false;
        self
    }

    pub(super) fn own_reads(mut self) -> Self {
        self.own_reads = true;
        self
    }

    pub(super) fn no_acpi(mut self) -> Self {
        self.acpi = false;
        self
    }

    pub(super) fn no_smbios(mut self) -> Self {
        self.smbios = false;
        self
    }

    pub(super) fn refused(mut self, entry: &'static Entry) -> Self {
        self.outcome = Outcome::Refused(entry);
        self
    }

    pub(super) fn refused_by_stage1(mut self, entry: &'static Entry, status: u8) -> Self {
        self.outcome = Outcome::RefusedByStage1(entry, status);
        self
    }

    pub(super) fn too_little(mut self, largest_kib: u64, present_kib: u64) -> Self {
        self.outcome = Outcome::TooLittleMemory {
            largest: largest_kib * KIB,
            present: present_kib * KIB,
        };
        self
    }
}
