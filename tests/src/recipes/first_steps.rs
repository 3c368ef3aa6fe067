//! How each error of steps 1 to 5 is provoked: stage1, the A20 line, the CPU, long mode, and the
//! console with the reports of exceptions.

use super::by;
use super::words::Change::{Code, DeadSector, Flip, MendChecksums, Qemu, Rom};
use super::words::Instruction::{Bytes, JumpTo};
use super::words::Shows::{After, Lines, RealMode, Stage1};
use super::words::{
    BLANK, Defect, KERNEL_SEGMENT, Place, REGISTERS, Recipe, STACK_ROW, STACK_ROW_2,
};

/// Each with the code of its error.
pub const RECIPES: &[(&str, Recipe)] = &[
    ("1A", by(&[DeadSector(Place::Stage2, 2)], Stage1("0C"))),
    ("1B", by(&[Flip(Place::Stage2, 3000, 4)], Stage1("00"))),
    ("1C", by(&[Flip(Place::Stage2, 50_000, 4)], RealMode)),
    ("1D", by(&[Flip(Place::Mbr, 256, 7)], Stage1("00"))),
    (
        "2A",
        by(
            &[Rom(&[
                Defect::A20Off,
                Defect::NoA20Call,
                Defect::NoA20Keyboard,
                Defect::NoA20Fast,
            ])],
            RealMode,
        ),
    ),
    ("3A", by(&[Rom(&[Defect::NoCpuid])], RealMode)),
    ("3B", by(&[Qemu("-cpu qemu64,-lm")], RealMode)),
    ("3C", by(&[Qemu("-cpu qemu64,-pae")], RealMode)),
    ("3D", by(&[Qemu("-cpu qemu64,-sse2")], RealMode)),
    (
        "4A",
        by(
            &[
                Code(
                    Place::Function("stage2::real::a20::enable"),
                    &[Bytes("ud2", &[0x0F, 0x0B])],
                ),
                MendChecksums,
            ],
            Lines {
                after: 0,
                before: &[BLANK],
                facts: "vector 06h at 0000:{X:4}",
                behind: &[],
            },
        ),
    ),
    (
        "5A",
        by(
            &[Rom(&[Defect::Overwrites])],
            Lines {
                after: 6,
                before: &[BLANK],
                facts: "#GP general protection (vector 13), error code 0h",
                behind: &[REGISTERS, STACK_ROW, STACK_ROW_2],
            },
        ),
    ),
    (
        "5B",
        by(
            &[
                Code(
                    Place::Function("stage2::machine::switch::leap"),
                    &[
                        Bytes("xor edi, edi", &[0x31, 0xFF]),
                        JumpTo("stage2::machine::physical::check"),
                    ],
                ),
                MendChecksums,
            ],
            After(
                12,
                "stage2/src/machine/physical.rs:{n}: an address is out of the loader's reach",
            ),
        ),
    ),
    (
        "5C",
        by(
            // A breakpoint on the BIOS's cursor position, which the report of the #UD sets at its
            // end.
            &[Code(
                Place::EntryPoint,
                &[
                    Bytes("mov eax, 0x450", &[0xB8, 0x50, 0x04, 0x00, 0x00]),
                    Bytes("mov dr0, rax", &[0x0F, 0x23, 0xC0]),
                    Bytes("mov eax, 0x50001", &[0xB8, 0x01, 0x00, 0x05, 0x00]),
                    Bytes("mov dr7, rax", &[0x0F, 0x23, 0xF8]),
                    Bytes("ud2", &[0x0F, 0x0B]),
                ],
            )],
            Lines {
                after: 12,
                before: &[
                    BLANK,
                    &["error 12A: {text}"],
                    REGISTERS,
                    KERNEL_SEGMENT,
                    STACK_ROW,
                    // The advice.
                    &["{text}", "press a key to reboot"],
                    BLANK,
                ],
                facts: "",
                behind: &[],
            },
        ),
    ),
    (
        "5D",
        by(
            &[Rom(&[Defect::DeepStack])],
            Lines {
                after: 6,
                before: &[BLANK],
                facts: "",
                behind: &[],
            },
        ),
    ),
    (
        "5E",
        by(
            &[Rom(&[Defect::SpoilsStack])],
            After(6, "59ACCCCCh at {X}h"),
        ),
    ),
];
