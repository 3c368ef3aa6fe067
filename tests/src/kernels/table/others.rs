//! Kernels that are no Linux and that others made, as Debian packs them, and Debian's installer.

use super::{BOTH, Peers};
use crate::compare::Loader::{Grub, Qemu};
use crate::kernels::Answer::{Boots, Not};
use crate::kernels::{DISK, Kernel, Row, Sign, With};
use crate::linux::Fetched;

/// Their rows.
pub fn rows() -> Vec<Row> {
    let mut rows = xen();
    rows.extend(multiboot_kernels());
    rows.extend(linux_protocol());
    rows
}

/// The hypervisor with Linux as its first domain, whose first process switches off.
fn xen() -> Vec<Row> {
    // QEMU takes the file's other header: see the second row.
    const GRUB_ONLY: Peers = &[(Grub, Boots)];
    const SIGN: Sign = Sign::Serial(&[
        "(XEN) Command line: console=com1 noreboot",
        "(XEN)  Dom0 kernel: 64-bit, PAE, lsb",
        "(XEN) Freed ",
        // Linux's first process has switched off. A panic would reboot.
        "(XEN) Hardware Dom0 halted: halting machine",
    ]);
    let row = |protocol, peers| Row {
        memory: 768,
        modules: &[
            ("linux", With::Fetched(Fetched::Cloud), "panic=-1"),
            ("initrd", With::Initrd, ""),
        ],
        ..Row::new(
            "Xen 4.17 and Linux (Debian)",
            Kernel::Fetched(Fetched::Xen),
            protocol,
            SIGN,
        )
        .options("console=com1 noreboot")
        .ways(DISK)
        .peers(peers)
    };
    vec![
        row("multiboot2", GRUB_ONLY),
        row("multiboot1", BOTH).named(),
    ]
}

fn multiboot_kernels() -> Vec<Row> {
    const NOT_BY_QEMU: Peers = &[
        (Grub, Boots),
        (Qemu, Not("takes no ELF64 file by Multiboot 1")),
    ];
    let row = |name, kernel, protocol, sign, peers| {
        Row::new(name, kernel, protocol, sign)
            .options("")
            .peers(peers)
    };
    vec![
        row(
            "GNU Mach 1.8 (Debian)",
            Kernel::Fetched(Fetched::GnuMach),
            "multiboot1",
            // It has nothing else to do without a bootstrap task.
            Sign::Screen("panic ../kern/bootstrap.c:181: bootstrap_create: No bootstrap code"),
            NOT_BY_QEMU,
        ),
        row(
            "tboot 1.10 (Debian)",
            Kernel::Fetched(Fetched::Tboot),
            "multiboot2",
            Sign::Serial(&["TBOOT: Error: no MB", "TBOOT: Non-Intel CPU detected."]),
            BOTH,
        ),
        row(
            "grub-invaders 1.0 (Debian)",
            Kernel::Fetched(Fetched::Invaders),
            "multiboot1",
            Sign::Screen("     -*-           -*-"),
            BOTH,
        ),
        row(
            "GRUB's core image, with its prompt",
            Kernel::GrubCore { as_linux: false },
            "multiboot1",
            GRUB_PROMPT,
            BOTH,
        )
        .ways(DISK),
    ]
}

const GRUB_PROMPT: Sign = Sign::Screen("                       GNU GRUB  version 2.");

fn linux_protocol() -> Vec<Row> {
    let row = |name, kernel, protocol, sign| {
        Row::new(name, kernel, protocol, sign)
            .options("")
            .ways(DISK)
            .peers(BOTH)
    };
    let installer = row(
        "Debian's installer 12, to its first question",
        Kernel::Fetched(Fetched::Installer),
        "linux64",
        Sign::Serial(&["Select a language"]),
    );
    let memdisk = row(
        "memdisk (SYSLINUX 6) and GRUB's rescue floppy",
        Kernel::Fetched(Fetched::Memdisk),
        "linux16",
        Sign::Screen("  Booting `GNU/Linux'"),
    );
    vec![
        row(
            "iPXE 1.0 (Debian)",
            Kernel::Fetched(Fetched::Ipxe),
            "linux16",
            Sign::Screen("iPXE 1.0.0+git"),
        ),
        row(
            "GRUB's core image behind its setup code, with its prompt",
            Kernel::GrubCore { as_linux: true },
            "linux16",
            GRUB_PROMPT,
        )
        .named(),
        Row {
            modules: &[("floppy.img", With::Fetched(Fetched::RescueFloppy), "")],
            ..memdisk
        },
        Row {
            modules: &[("initrd.gz", With::Fetched(Fetched::InstallerInitrd), "")],
            // With less it asks about that first.
            memory: 1280,
            ..installer.options("console=ttyS0")
        },
    ]
}
