//! Step 2: the A20 line.
//!
//! **On entry**: real mode, CS = DS = SS = 0; A20 on or off. **This step**: tests, and enables it
//! by the BIOS, the keyboard controller, port 92h, in this order, with a test after each: a method
//! may claim success and do nothing, or act late. **On exit**: the same mode, A20 on.
//!
//! With A20 off, address bit 20 is forced to 0: every odd MiB is a copy of the even one below it.
#![allow(unsafe_code)]

use core::cell::Cell;

use asm_lines::naked_asm;

use crate::machine::real_mode::report::{fail, messages};
use crate::machine::variables::{OneThread, placed};

placed! {
    /// Two places to test at: their copies 1 MiB higher belong to different words.
    in ".real_mode.data"
    static PROBES: OneThread<Cell<[u32; 2]>> = OneThread::new(Cell::new([0; 2]));
}

messages! { A20_STUCK }

/// Comparisons in the first test, when A20 is expected to be in its final state.
const FEW: u16 = 32;
/// Comparisons after a method was tried: each costs about 1 µs (an access to port 80h), and some
/// machines need tens of milliseconds.
const MANY: u16 = 0xC000;
/// Polls before giving up on the keyboard controller.
const KEYBOARD_POLLS: u16 = 0xFFFF;

/// Returns only when A20 is on. Clobbers EAX to EDI, ES, FS.
#[unsafe(naked)]
#[unsafe(link_section = ".real_mode.text")]
pub extern "C" fn enable() {
    naked_asm!(
        ".code16",
        "mov cx, {few}",
        "call {is_on}",
        "jnz .Lon",

        // The BIOS: INT 15h AX=2401h. The test decides, not its answer.
        "mov ax, 0x2401",
        "stc",
        "int 0x15",
        "xor ax, ax",
        "mov ds, ax",
        "cld",
        "sti",
        "mov cx, {many}",
        "call {is_on}",
        "jnz .Lon",

        // The keyboard controller: command D1h (write output port), value DFh (A20 and every bit
        // except the reset line), command FFh (does nothing; some controllers want it).
        "cli",
        "in al, 0x64",
        "cmp al, 0xFF",                 // there is no controller
        "je .Lno_keyboard_controller",
        "call {wait_for_keyboard}",
        "jnz .Lno_keyboard_controller",
        "mov al, 0xD1",
        "out 0x64, al",
        "call {wait_for_keyboard}",
        "jnz .Lno_keyboard_controller",
        "mov al, 0xDF",
        "out 0x60, al",
        "call {wait_for_keyboard}",
        "jnz .Lno_keyboard_controller",
        "mov al, 0xFF",
        "out 0x64, al",
        "call {wait_for_keyboard}",
        ".Lno_keyboard_controller:",
        "sti",
        "mov cx, {many}",
        "call {is_on}",
        "jnz .Lon",

        // System control port A: bit 1 is A20. Bit 0 resets the machine: never written as 1.
        "in al, 0x92",
        "test al, 2",
        "jnz .Ltest_again",
        "or al, 2",
        "and al, 0xFE",
        "out 0x92, al",
        ".Ltest_again:",
        "mov cx, {many}",
        "call {is_on}",
        "jnz .Lon",

        "mov si, offset {stuck}",
        "jmp {fail}",
        ".Lon:",
        "ret",
        ".code64",
        few = const FEW,
        many = const MANY,
        is_on = sym is_on,
        wait_for_keyboard = sym wait_for_keyboard,
        stuck = sym A20_STUCK,
        fail = sym fail,
    )
}

/// Tests A20. In: CX = maximum number of comparisons at each probe. Out: ZF = 0 when it is on.
///
/// Writes a value that changes each time below 1 MiB and looks for it 1 MiB above. If the two ever
/// differ, A20 is on. Clobbers EAX, EBX, CX, DX, SI, ES.
#[unsafe(naked)]
#[unsafe(link_section = ".real_mode.text")]
extern "C" fn is_on() {
    naked_asm!(
        ".code16",
        "mov ax, 0xFFFF",
        "mov es, ax",
        "mov si, offset {probes}",
        "mov dx, 2",
        ".Lprobe:",
        "push cx",
        "push dword ptr [si]",
        "mov ebx, es:[si + 16]",
        ".Lcompare:",
        "inc ebx",
        "mov [si], ebx",
        "out 0x80, al",                 // about 1 µs, and time for the write to arrive
        "cmp ebx, es:[si + 16]",        // FFFF:SI+16 = 1 MiB + SI
        "loope .Lcompare",
        "pop dword ptr [si]",           // (no flags)
        "pop cx",
        "je .Ldone",                    // equal every time: it wraps
        "add si, 4",
        "dec dx",
        "jnz .Lprobe",
        "inc dx",                       // ZF = 0
        ".Ldone:",
        "ret",
        ".code64",
        probes = sym PROBES,
    )
}

/// Waits until the keyboard controller takes a byte. Out: ZF = 1 when it does, 0 when it did not
/// in time. Clobbers AL, CX.
#[unsafe(naked)]
#[unsafe(link_section = ".real_mode.text")]
extern "C" fn wait_for_keyboard() {
    naked_asm!(
        ".code16",
        "mov cx, {polls}",
        "2:",
        "in al, 0x64",
        "test al, 2",                   // bit 1: input buffer full
        "loopnz 2b",
        "ret",
        ".code64",
        polls = const KEYBOARD_POLLS,
    )
}
