//! How each error of a kernel of any kind is provoked: its file, its segments, their mappings, and
//! faults of its own (steps 10 to 12).

use boot_path::entry::entry_file::PATH_KERNEL;
use elf::abi;

use super::by;
use super::fields::*;
use super::words::Change::{Code, Cut, Flip, Qemu, Set};
use super::words::Instruction::Bytes;
use super::words::Shows::{After, Lines};
use super::words::{BLANK, KERNEL_SEGMENT, MODULE, Place, REGISTERS, Recipe, STACK_ROW, number};

/// Each with the code of its error.
pub const RECIPES: &[(&str, Recipe)] = &[
    ("10A", by(&[Set(E_MAGIC, number(0))], After(9, ""))),
    (
        "10B",
        by(
            &[Set(E_CLASS, named!(abi::ELFCLASS32))],
            After(9, "class 1, data encoding 1"),
        ),
    ),
    (
        "10C",
        by(
            &[Set(E_MACHINE, named!(abi::EM_AARCH64))],
            After(9, "e_machine 183"),
        ),
    ),
    (
        "10D",
        by(&[Set(E_TYPE, named!(abi::ET_REL))], After(9, "e_type 1")),
    ),
    (
        "10E",
        by(
            &[Cut(PATH_KERNEL, 8192)],
            After(9, "needs {n} bytes, has 8192"),
        ),
    ),
    (
        "10F",
        by(&[Set(E_PHENTSIZE, number(57))], After(9, "e_phentsize 57")),
    ),
    ("10G", by(&[Set(E_PHNUM, number(0))], After(9, ""))),
    (
        "10H",
        by(
            &[Set(p_memsz(0), number(0x10_0000))],
            After(9, "segments 0 and 1 at 0x{x}"),
        ),
    ),
    (
        "10I",
        by(
            &[Set(p_memsz(2), number(4 << 30))],
            After(9, "segment 2 at 0x{x}, 0x100000000 bytes"),
        ),
    ),
    (
        "10J",
        by(
            &[Set(E_ENTRY, number(0xFFFF_FFFF_9000_0000))],
            After(9, "e_entry 0xffffffff90000000"),
        ),
    ),
    (
        "10K",
        by(
            &[Set(p_flags(0), number(7))],
            After(9, "at 0xffffffff80000000, 0x{x} bytes"),
        ),
    ),
    (
        "10L",
        by(&[Set(p_vaddr(2), number(0))], After(9, "segment 2 at 0x0")),
    ),
    (
        "10M",
        by(
            &[Set(RELOCATION_KIND, named!(abi::R_X86_64_IRELATIVE))],
            After(9, "type 37 at 0x{x}"),
        )
        .position_independent(),
    ),
    (
        "10N",
        by(
            &[Set(WISH_VALUE, number(1 << 40))],
            After(9, "type 1, value 0x10000000000"),
        ),
    ),
    (
        "10O",
        by(
            &[Set(DYNAMIC_TAG, named!(abi::DT_NEEDED))],
            After(9, "DT_NEEDED"),
        )
        .position_independent(),
    ),
    (
        "10P",
        by(
            &[Set(p_align(2), number(0x3000))],
            After(
                9,
                "segment 2: p_align 0x3000, p_vaddr 0x{x}, p_offset 0x{x}",
            ),
        ),
    ),
    (
        "10Q",
        by(
            &[Flip(Place::EntryPoint, 0, 6)],
            After(9, "/boot/kernel.elf, checksum mismatch"),
        )
        .checked(),
    ),
    (
        "10R",
        by(
            &[Flip(Place::File(MODULE), 1000, 0)],
            After(10, "/boot/modules/module, checksum mismatch"),
        )
        .checked(),
    ),
    (
        "11A",
        by(
            &[Set(p_vaddr(2), named!(handoff::DEFAULT_PHYSICAL_MAP_BASE))],
            After(9, "virtual address 0xffff800000000000"),
        ),
    ),
    (
        "11B",
        by(
            &[
                Set(WISH_KIND, named!(handoff::NOTE_PHYSICAL_MAP_BASE)),
                Set(WISH_VALUE, number(0xFFFF_FFFF_C000_0000)),
                Qemu("-m 2G"),
            ],
            After(10, "virtual address 0xffffffffc0000000"),
        ),
    ),
    (
        "12A",
        by(
            &[Code(Place::EntryPoint, &[Bytes("ud2", &[0x0F, 0x0B])])],
            Lines {
                after: 12,
                before: &[BLANK],
                facts: "#UD invalid opcode (vector 6)",
                behind: &[REGISTERS, KERNEL_SEGMENT, STACK_ROW],
            },
        ),
    ),
];
