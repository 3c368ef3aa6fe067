//! Kernels that raise exceptions.

use anyhow::{Context as _, Result, ensure};
use disk_builder::run::Ending;
use machine_tests::elf::{ProgramHeader, note};
use machine_tests::image::{Image, demo_kernel};
use machine_tests::machine::Machine;

use crate::{code, fails};

#[test]
fn the_kernel_faults() -> Result<()> {
    for (name, exception) in [
        ("null", "#PF"),
        ("ud", "#UD"),
        ("divide", "#DE"),
        ("gp", "#GP"),
        ("text", "#PF"),
        ("breakpoint", "#BP"),
        ("stack", "#PF"),
        ("sse", "#UD"),
        ("ts", "#UD"),
    ] {
        let image = Image::build(&demo_kernel()?, |recipe, _| {
            recipe.command_line = format!("fault={name}");
        })?;
        fails(&Machine::new(&image.path()), "12A", &[exception]).context(name)?;
    }
    Ok(())
}

/// Code that raises an exception, and lines of the report about it.
const REPORTS: [(&[u8], &[&str]); 5] = [
    (
        // mov rax, [0x1234]
        &[0x48, 0x8B, 0x04, 0x25, 0x34, 0x12, 0x00, 0x00],
        &[
            "#PF page fault (vector 14), error code 0h (read of an unmapped page)\r\n",
            "RIP FFFFFFFF80000000  CS  0008  SS 0018",
            "CR2 0000000000001234",
            "RIP is in segment 0 of the kernel (r-x), 0x0 behind its start\r\n",
            "CR2 is not mapped (the entry of level ",
            "stack 0000000000000000",
        ],
    ),
    (
        // mov [rip], eax; a page that is not writable
        &[0x90, 0x89, 0x05, 0x00, 0x00, 0x00, 0x00],
        &[
            "error code 3h (write to a protected page)\r\n",
            "RIP is in segment 0 of the kernel (r-x), 0x1 behind its start\r\n",
            "CR2 is 4 KiB page, r-x, supervisor, at physical ",
        ],
    ),
    (
        // jmp rdi: the boot information is not code
        &[0xFF, 0xE7],
        &[
            "error code 11h (execution of a protected page)\r\n",
            "RIP is in no segment of the kernel\r\n",
            "KiB page, rw-, supervisor, at physical ",
        ],
    ),
    (
        // mov eax, 0x48; mov ss, eax
        &[0xB8, 0x48, 0x00, 0x00, 0x00, 0x8E, 0xD0],
        &["#GP general protection (vector 13), error code 48h (GDT entry 9)\r\n"],
    ),
    (
        // mov rsp, 0x123456789AB0; push rax
        &[
            0x48, 0xBC, 0xB0, 0x9A, 0x78, 0x56, 0x34, 0x12, 0x00, 0x00, 0x50,
        ],
        &[
            "error code 2h (write to an unmapped page)\r\n",
            "CR2 0000123456789AA8",
            "RSP is not mapped (the entry of level 4 is 0h)\r\n",
        ],
    ),
];

/// The report about a kernel without handlers of its own: all of these lines.
#[test]
fn the_report_of_a_kernels_fault() -> Result<()> {
    for (bytes, lines) in REPORTS {
        let image = Image::with_kernel(&code(bytes).build())?;
        let mut machine = Machine::new(&image.path())
            .arguments(["-cpu", "max"])
            .start()?;
        let transcript = machine.wait_for("press a key to reboot")?;
        for line in lines {
            ensure!(transcript.contains(line), "no {line:?} in\n{transcript}");
        }
        // All of it is still on the screen.
        let screen = machine.screen()?.join("\n");
        ensure!(screen.contains("error 12A: "), "{screen}");
    }
    Ok(())
}

/// A kernel spoils the stack that all exceptions but one use: the double fault has its own.
#[test]
fn the_report_of_a_double_fault() -> Result<()> {
    let kernel = code(&[
        0x48, 0x83, 0xEC, 0x10, // sub rsp, 16
        0x0F, 0x01, 0x04, 0x24, // sgdt [rsp]
        0x48, 0x8B, 0x44, 0x24, 0x02, // mov rax, [rsp + 2]
        0x48, 0x8B, 0x48, 0x30, // mov rcx, [rax + 0x30]: the descriptor of the TSS
        0x48, 0xC1, 0xE9, 0x10, // shr rcx, 16
        0x81, 0xE1, 0xFF, 0xFF, 0xFF, 0x00, // and ecx, 0xFFFFFF: its base
        0x48, 0xBA, 0, 0, 0, 0, 0, 0x80, 0xFF, 0xFF, // mov rdx, 0xFFFF800000000000
        0x48, 0x01, 0xCA, // add rdx, rcx
        0x48, 0xC7, 0x42, 0x24, 0x00, 0x10, 0, 0, // mov qword [rdx + 0x24], 0x1000: IST 1
        0x0F, 0x0B, // ud2
    ]);
    fails(
        &Machine::new(&Image::with_kernel(&kernel.build())?.path()),
        "12A",
        &["#DF double fault (vector 8), error code 0h"],
    )
}

#[test]
fn a_kernel_that_wants_no_fault_reports() -> Result<()> {
    let wish = note(
        "Bootpath",
        handoff::NOTE_FLAGS,
        &handoff::FLAG_NO_FAULT_REPORTS.to_le_bytes(),
        4,
    );
    let kernel = code(&[0x0F, 0x0B]).with(ProgramHeader::note(wish)); // ud2
    let image = Image::with_kernel(&kernel.build())?;
    let mut machine = Machine::new(&image.path()).start()?;
    // A triple fault resets, which ends QEMU.
    let ending = machine.wait()?;
    let transcript = machine.serial();
    ensure!(ending == Ending::Closed, "{ending:?}\n{transcript}");
    ensure!(transcript.contains("12 handoff"), "{transcript}");
    ensure!(!transcript.contains("error"), "{transcript}");
    Ok(())
}
