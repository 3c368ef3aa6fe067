//! How each error of steps 6 to 9 is provoked: memory, the disk, its files, and what they say is
//! booted.

use boot_path::entry::entry_file::{PATH_ENTRY, PATH_KERNEL};

use super::by;
use super::fields::{
    BYTES_PER_SECTOR, EXT_FEATURES, EXT_MAGIC, PARTITION_KIND, PARTITION_START, next_cluster,
    p_memsz,
};
use super::words::Change::{DeadSector, Delete, Flip, Multiboot, Put, Rom, Set};
use super::words::Shows::{After, Lines};
use super::words::{Defect, Place, Recipe, number};

/// Each with the code of its error.
pub const RECIPES: &[(&str, Recipe)] = &[
    (
        "6A",
        by(
            &[Rom(&[Defect::NoE820, Defect::NoE801, Defect::No88])],
            After(5, ""),
        ),
    ),
    (
        "6B",
        by(
            &[Set(p_memsz(2), number(1 << 30))],
            After(
                9,
                "{n} MiB needed in one piece, {n} MiB free in one piece, 255 MiB of RAM in all",
            ),
        ),
    ),
    (
        "7A",
        by(
            &[DeadSector(Place::File(PATH_KERNEL), 100)],
            After(9, "LBA {n}, drive 80h, status 0Ch"),
        ),
    ),
    (
        "7B",
        by(
            &[Set(PARTITION_START, number(0x7FFF_FFFF))],
            Lines {
                after: 6,
                before: &[&[
                    " 7 disk     drive 80h by LBA, 512 bytes a sector, partition 1 at LBA 2147483647",
                ]],
                facts: "partition 1 starts at LBA 2147483647, the disk has {n} sectors",
                behind: &[],
            },
        ),
    ),
    (
        "7C",
        by(
            &[Set(PARTITION_KIND, number(0))],
            After(6, "no entry in LBA 0 is active or FAT"),
        ),
    ),
    (
        "7D",
        by(
            &[Set(PARTITION_KIND, number(0xEE))],
            After(6, "LBA 0 says so, but there is no header"),
        ),
    ),
    (
        "7E",
        by(
            &[Delete(PATH_KERNEL), DeadSector(Place::Part("texts"), 3)],
            After(8, "texts, LBA {n}, drive 80h, status 0Ch"),
        ),
    ),
    (
        "7F",
        by(
            &[
                Put(PATH_ENTRY, b"chain drive=81h\n"),
                Flip(Place::Part("chain"), 1000, 4),
            ],
            After(8, "chain, LBA {n} to {n}"),
        ),
    ),
    (
        "8A",
        by(
            &[Set(BYTES_PER_SECTOR, number(0))],
            After(7, "byte 0x100000 of the disk, bytes per sector: 0"),
        ),
    ),
    (
        "8B",
        by(
            &[Set(next_cluster(1), number(0))],
            After(9, "cluster {n} leads to 0x0"),
        ),
    ),
    (
        "8C",
        by(
            &[Put(
                PATH_KERNEL,
                &[
                    0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 3, 7, 0, 0, 0, 0, 0, 9, 0, 0, 0,
                ],
            )],
            After(9, "behind 0 bytes"),
        ),
    ),
    (
        "8D",
        by(
            &[
                Set(BYTES_PER_SECTOR, number(0)),
                Set(EXT_MAGIC, number(0xEF53)),
                Set(EXT_FEATURES, number(0x2C2)),
            ],
            After(7, "partition 1 holds ext4"),
        ),
    ),
    (
        "9A",
        by(&[Delete(PATH_KERNEL)], After(8, "/boot/kernel.elf")),
    ),
    (
        "9B",
        by(
            &[Put(PATH_ENTRY, b"module /boot/initrd\n")],
            After(10, "/boot/initrd"),
        ),
    ),
    (
        "9C",
        by(
            &[Put(PATH_ENTRY, b"title good\noptions \xFF\n")],
            After(8, "line 2: not UTF-8"),
        ),
    ),
    (
        "9D",
        by(&[Delete(PATH_ENTRY)], After(8, "/boot/kernel.conf")).checked(),
    ),
    (
        "9E",
        by(
            &[Flip(Place::File(PATH_ENTRY), 10, 0)],
            After(8, "/boot/kernel.conf, checksum mismatch"),
        )
        .checked(),
    ),
    (
        "9F",
        by(
            &[Put("/loader/entries/mine.conf", b"title Mine\n")],
            Lines {
                after: 8,
                before: &[&[
                    " 9 entries  /loader/entries/mine.conf is left out: it names nothing to boot",
                ]],
                facts: "1 left out, 0 for other machines",
                behind: &[],
            },
        ),
    ),
    (
        "9G",
        by(&[Multiboot], After(6, "no module, and so no kernel")),
    ),
];
