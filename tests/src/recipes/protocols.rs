//! How each error of the other protocols is provoked: Multiboot, Linux, Limine, and the boot sector
//! of another loader.

use boot_path::entry::entry_file::PATH_ENTRY;

use super::by;
use super::fields::*;
use super::words::Change::{Put, Set};
use super::words::Shows::{After, Lines};
use super::words::{Recipe, number};

/// Each with the code of its error.
pub const RECIPES: &[(&str, Recipe)] = &[
    (
        "10S",
        by(
            &[
                Set(MULTIBOOT_TAG_TYPE, number(5)),
                Set(MULTIBOOT_TAG_SIZE, number(4)),
            ],
            After(9, "tag 5 at 0x{x} of the file, 4 bytes"),
        )
        .multiboot_2(),
    ),
    (
        "10T",
        by(
            &[Set(MULTIBOOT_TAG_TYPE, number(99))],
            After(9, "header tag 99"),
        )
        .multiboot_2(),
    ),
    (
        "10U",
        by(
            &[Set(p_paddr(0), number(0x400))],
            After(9, "segment 0, 0x400 to 0x{x}: 0x0 to 0x500 is reserved"),
        )
        .multiboot_2(),
    ),
    (
        "10V",
        by(
            &[Put(PATH_ENTRY, b"protocol linux\n")],
            After(9, "no HdrS in it"),
        ),
    ),
    (
        "10W",
        by(
            &[
                Set(WISH_NAME_LENGTH, number(4)),
                Set(WISH_NAME, number(0x006E_6558)), // Xen
                Set(WISH_KIND, number(18)),
            ],
            After(
                10,
                "its entry is PVH's, as in a vmlinux: of Linux, take the bzImage (vmlinuz)",
            ),
        ),
    ),
    (
        "10X",
        by(
            &[Set(LIMINE_REQUEST_ID, number(0x6398_4E95_9A98_244B))],
            After(10, "twice: at 0x{x} and at 0x{x}"),
        )
        .limine(),
    ),
    (
        "10Y",
        by(
            &[Set(LIMINE_BASE_REVISION, number(7))],
            After(10, "revision 7, known are 0 to 6"),
        )
        .limine(),
    ),
    (
        "10Z",
        by(
            &[Set(p_vaddr(1), number(0x20_0000))],
            After(10, "segment at 0x200000, not in the last 2 GiB"),
        )
        .limine(),
    ),
    (
        "12B",
        by(
            &[Put(PATH_ENTRY, b"chain partition=2\n")],
            Lines {
                after: 8,
                before: &[&[" 9 entry    /boot/kernel.conf: chain partition=2"]],
                facts: "no partition 2 on drive 80h",
                behind: &[],
            },
        ),
    ),
];
