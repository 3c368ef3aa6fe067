//! The table of kernels.

mod others;

use disk_builder::{Protocol, Target};

use super::Answer::{Boots, Not};
use super::{ALL, Answer, DISK, Kernel, Row, Sign};
use crate::compare::Loader::{self, Grub, Qemu};
use crate::linux::Fetched;

type Peers = &'static [(Loader, Answer)];

/// Both boot it.
const BOTH: Peers = &[(Grub, Boots), (Qemu, Boots)];
/// Neither has its protocol.
const NEITHER: Peers = &[
    (Grub, Not("has no such protocol")),
    (Qemu, Not("has no such protocol")),
];
/// A kernel for Multiboot 2.
const GRUB: Peers = &[(Grub, Boots), (Qemu, Not("has no Multiboot 2"))];
/// A kernel for Multiboot 1 that is an ELF64 file.
const NOT_64: Peers = &[
    (Grub, Boots),
    (Qemu, Not("takes no ELF64 file by Multiboot 1")),
];

/// All rows.
pub fn rows() -> Vec<Row> {
    let mut rows = own_kernels();
    rows.extend(limine_kernels());
    rows.extend(checking_linux_kernel());
    rows.extend(linux_kernels());
    rows.extend(others::rows());
    for (name, drive, partition) in [
        ("the boot sector of another partition", None, 2),
        ("the first sector of another disk", Some(0x81), 0),
    ] {
        let kernel = Kernel::Sector(Target { drive, partition });
        rows.push(Row::new(name, kernel, "", Sign::OkayAlone).ways(DISK));
    }
    rows
}

/// The demo kernel, and kernels for Multiboot.
fn own_kernels() -> Vec<Row> {
    const OKAY_CELLS: &[u8] = &[0x4F, 0x2F, 0x4B, 0x2F, 0x41, 0x2F, 0x59, 0x2F];

    let demo = Row::new("the demo kernel", Kernel::Demo, "bootpath", Sign::Okay).peers(NEITHER);
    let multiboot2 = Row::new(
        "a kernel with the crate `multiboot2` 0.28 (the newest)",
        Kernel::Multiboot,
        "multiboot2",
        Sign::Okay,
    )
    .options("some words");
    let multiboot1 = Row {
        name: "the tests' kernel for all of Multiboot 1".into(),
        protocol: Some(Protocol::Multiboot1),
        ..multiboot2.clone()
    };
    let entering = Row::new(
        "“entering long mode”, in Rust",
        Kernel::EnteringLongMode,
        "multiboot2",
        Sign::Cells(OKAY_CELLS),
    )
    .peers(GRUB);
    vec![
        demo.clone(),
        demo.packed("the demo kernel and a module, compressed by gzip"),
        Row::new("the kernel in C", Kernel::C, "bootpath", Sign::Okay).peers(NEITHER),
        Row::new(
            "the kernel in C, with a 32-bit bootstrap",
            Kernel::CMultiboot2,
            "multiboot2",
            Sign::Okay,
        )
        .peers(GRUB),
        Row::new(
            "a 32-bit kernel in C",
            Kernel::C32,
            "multiboot1",
            Sign::Okay,
        )
        .peers(BOTH),
        entering.clone(),
        Row::new(
            "“entering long mode”, its header that of version 1",
            Kernel::EnteringLongMode,
            "multiboot1",
            Sign::Cells(OKAY_CELLS),
        )
        .peers(NOT_64),
        Row {
            name: "“entering long mode”, its header by the crate `multiboot2-header` 0.11".into(),
            kernel: Kernel::HeaderByCrate,
            ..entering.clone()
        },
        multiboot2.clone(),
        multiboot1.clone(),
        multiboot2.packed("the one with `multiboot2` and a module, compressed by gzip"),
        multiboot1.packed("the tests' kernel and a module, compressed by gzip"),
    ]
}

fn limine_kernels() -> Vec<Row> {
    let limine = Row::new(
        "a first kernel with the crate `limine` 0.5 (the newest for stable Rust)",
        Kernel::Limine,
        "limine",
        Sign::Okay,
    )
    .peers(NEITHER);
    vec![
        limine.clone(),
        limine.packed("the one with `limine` and a module, compressed by gzip"),
        Row::new(
            "the tests' kernel for all of the Limine protocol",
            Kernel::LimineChecks,
            "limine",
            Sign::Okay,
        )
        .options("a command line")
        .ways(DISK)
        .peers(NEITHER),
    ]
}

/// The tests' own kernel for the Linux boot protocol, with each entry.
fn checking_linux_kernel() -> Vec<Row> {
    let mut rows = Vec::new();
    for (protocol, options, ways) in [
        ("linux16", "entry=16", DISK),
        ("linux32", "entry=32", DISK),
        ("linux64", "entry=64", ALL),
    ] {
        let name = "the tests' kernel for all of the Linux boot protocol";
        let row = Row::new(name, Kernel::LinuxChecks, protocol, Sign::OkayAlone);
        rows.push(Row {
            named: protocol != "linux64",
            ..row.options(options).ways(ways)
        });
    }
    rows
}

/// Linux 6.12 allocates memory by CMPXCHG16B. About one boot in twenty dies behind it in TCG (QEMU
/// 7.2), whoever has loaded the kernel.
const WITHOUT_CX16: &str = "qemu64,-cx16";

/// Other people's kernels for the Linux boot protocol.
fn linux_kernels() -> Vec<Row> {
    let mut rows = Vec::new();
    // Without an entry file, the loader uses the last one of these entries.
    let linux = |rows: &mut Vec<Row>, name, kernel, protocols: &str, options, sign| {
        let mut protocols = protocols.split(' ').peekable();
        while let Some(protocol) = protocols.next() {
            let is_last = protocols.peek().is_none();
            rows.push(Row {
                named: !is_last,
                cpu: (kernel == Kernel::Fetched(Fetched::BackportsCloud)).then_some(WITHOUT_CX16),
                ..Row::new(name, kernel, protocol, sign)
                    .options(options)
                    .ways(if is_last { ALL } else { DISK })
                    .peers(if is_last { BOTH } else { &[] })
            });
        }
    };
    for (name, kernel, protocols) in [
        (
            "Linux 6.1, x86-64 (Debian)",
            Fetched::Amd64,
            "linux16 linux32 linux64",
        ),
        (
            "Linux 6.1, x86-64 (Debian, cloud)",
            Fetched::Cloud,
            "linux16 linux32 linux64",
        ),
        (
            "Linux 6.12, x86-64 (Debian's backports, cloud), compressed by zstd",
            Fetched::BackportsCloud,
            "linux16 linux32 linux64",
        ),
        ("Linux 6.1, i686 (Debian)", Fetched::I686, "linux16 linux32"),
    ] {
        let options = "console=ttyS0 panic=-1";
        let kernel = Kernel::Fetched(kernel);
        linux(&mut rows, name, kernel, protocols, options, Sign::Init);
    }
    for (name, kernel, protocols) in [
        (
            "memtest86+ 6, x86-64 (Debian)",
            Fetched::MemtestX64,
            "linux16 linux32 linux64",
        ),
        (
            "memtest86+ 6, ia32 (Debian)",
            Fetched::MemtestIa32,
            "linux16 linux32",
        ),
    ] {
        let sign = Sign::Screen("      Memtest86+ v6.");
        let kernel = Kernel::Fetched(kernel);
        linux(&mut rows, name, kernel, protocols, "", sign);
    }
    rows
}
