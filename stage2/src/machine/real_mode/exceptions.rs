//! Exceptions while the 64-bit handlers are not there: in the 16-bit steps, in a BIOS call, and on
//! the way from one mode to the other. Each ends in error 4A.
//!
//! In these vectors, most BIOSes have handlers that return to the instruction that failed, which
//! fails again: the machine hangs. So the vectors are the loader's until [`give_back`], at the
//! handoff. They are also interrupts: 12 and 13 are IRQ 4 and 5, and 0, 6 and 7 the IRQs of those
//! numbers where the BIOS has not set the controller up (QEMU's microvm). Interrupts still go to
//! the BIOS.
#![allow(unsafe_code)]

use core::cell::Cell;
use core::mem::offset_of;

use asm_lines::naked_asm;
use boot_path::devices::control_registers::IA32_EFER;
use boot_path::devices::descriptors::{DescriptorPointer, GATE_16};
use boot_path::errors::catalogue::REAL_MODE_EXCEPTION;
use boot_path::errors::message::{self, BEFORE_CODE, facts_offset, message};
use boot_path::memory::layout;
use disk_layout::stage2::Stage2Header;
use x86_64::registers::control::{Cr0Flags, EferFlags};

use crate::machine::header::HEADER;
use crate::machine::physical;
use crate::machine::real_mode::findings::{BIOS_CONTROL, BiosControl};
use crate::machine::real_mode::report::fail;
use crate::machine::variables::{OneThread, placed};

/// The vectors (SDM vol. 3, table 20-1): #DE, #UD, #NM, #SS, #GP. The other exceptions of real mode
/// are traps, which do not repeat, or share a vector with IRQ 0 or a BIOS service.
const VECTORS: [u8; 5] = [0, 6, 7, 12, 13];

// The handlers push their vector, and its place in the list.
const _: () = assert!(matches!(VECTORS, [0, 6, 7, 12, 13]));

/// The facts, until the digits are filled in.
const FACTS: &str = ": vector ##h at ####:####";

/// Where the digits are in [`MESSAGE`]: vector, segment, offset.
const DIGITS: [usize; 3] = {
    let facts = facts_offset(&REAL_MODE_EXCEPTION);
    [facts + 9, facts + 16, facts + 21]
};

/// Up to #GP. An exception without a gate becomes one of those that have one.
const GATES: usize = 14;

placed! {
    in ".real_mode.data"
    static MESSAGE: OneThread<Cell<[u8; message::length(&REAL_MODE_EXCEPTION, FACTS)]>> =
        OneThread::new(Cell::new(message(&REAL_MODE_EXCEPTION, FACTS)));

    /// What was in [`VECTORS`] before: offset, segment.
    in ".real_mode.data"
    static BIOS_VECTORS: OneThread<Cell<[u32; VECTORS.len()]>> =
        OneThread::new(Cell::new([0; VECTORS.len()]));

    /// Has an exception been reported? If so, another one comes from the report itself.
    in ".real_mode.data"
    static REPORTED: OneThread<Cell<u8>> = OneThread::new(Cell::new(0));

    /// The IDT of protected mode without paging: #UD, #DF, #GP. [`install`] fills in the offsets.
    in ".real_mode.data"
    static IDT: OneThread<Cell<[u64; GATES]>> = OneThread::new(Cell::new({
        let mut idt = [0; GATES];
        idt[6] = GATE_16;
        idt[8] = GATE_16;
        idt[13] = GATE_16;
        idt
    }));

    /// The operand of LIDT for these gates.
    in ".real_mode.data"
    pub static IDT_POINTER: OneThread<DescriptorPointer> =
        OneThread::new(DescriptorPointer::new(&raw const IDT));

    /// The operand of LIDT in real mode: the interrupt vector table.
    in ".real_mode.data"
    pub static VECTOR_TABLE: [u16; 3] = [0x3FF, 0, 0];
}

/// Takes the vectors. Clobbers EAX, BX, SI, DI.
#[unsafe(naked)]
#[unsafe(link_section = ".real_mode.text")]
pub extern "C" fn install() {
    naked_asm!(
        ".code16",
        "mov si, offset .Lreal_handlers",
        "mov di, offset {bios_vectors}",
        "2:",
        "lodsw",
        "mov bx, ax",
        "lodsw",
        "movzx eax, ax",
        "xchg eax, [bx]",
        "mov [di], eax",
        "add di, 4",
        "cmp di, offset {bios_vectors} + {size}",
        "jb 2b",
        "mov word ptr [{idt} + 6 * 8], offset .Lprotected_ud",
        "mov word ptr [{idt} + 8 * 8], offset .Lprotected_df",
        "mov word ptr [{idt} + 13 * 8], offset .Lprotected_gp",
        "ret",

        // Addresses in the vector table, and the handlers to put there.
        ".Lreal_handlers:",
        ".word 4 * 0, .Lde, 4 * 6, .Lud, 4 * 7, .Lnm, 4 * 12, .Lss, 4 * 13, .Lgp",

        // In real mode. On the stack: IP, CS, FLAGS; then the vector, and in its high byte the
        // index of the BIOS's vector. Perhaps it is not an exception, but an interrupt that the
        // controller is serving: vectors 8 to 15, or 0 to 7 where the BIOS has not set the
        // controller up.
        ".Lde:",
        "push 0x000",
        "jmp .Lexception_or_irq",
        ".Lud:",
        "push 0x106",
        "jmp .Lexception_or_irq",
        ".Lnm:",
        "push 0x207",
        "jmp .Lexception_or_irq",
        ".Lss:",
        "push 0x30C",
        "jmp .Lexception_or_irq",
        ".Lgp:",
        "push 0x40D",
        ".Lexception_or_irq:",
        "push bp",                      // room for an offset
        "push bp",
        "mov bp, sp",
        "push eax",
        "push bx",
        "push cx",
        "mov al, 0x0B",                 // OCW3: read the in-service register
        "out 0x20, al",
        "in al, 0x20",
        "cmp al, 0xFF",                 // there is no controller
        "je .Lexception",
        "mov cx, [bp + 4]",
        "movzx bx, ch",
        "and cl, 7",
        "shr al, cl",
        "test al, 1",
        "jz .Lexception",
        "shl bx, 2",
        "mov eax, cs:[{bios_vectors} + bx]",
        "mov [bp + 2], eax",
        "pop cx",
        "pop bx",
        "pop eax",
        "pop bp",
        ".byte 0xCB",                   // RETF to the BIOS's handler
        ".Lexception:",
        "lea sp, [bp + 4]",

        ".Lreport:",
        "pop dx",                       // vector
        "pop bx",                       // IP
        "pop cx",                       // CS
        ".Lreport_registers:",
        "xor ax, ax",
        "mov ss, ax",
        "mov esp, {stack}",
        "mov ds, ax",
        "mov es, ax",
        "cld",
        "inc byte ptr [{reported}]",
        "cmp byte ptr [{reported}], 1",
        "jne .Lsecond",
        "mov di, offset {message} + {vector_digits}",
        "mov al, dl",
        "call .Lput_byte",
        "mov di, offset {message} + {cs_digits}",
        "mov al, ch",
        "call .Lput_byte",
        "mov al, cl",
        "call .Lput_byte",
        "inc di",
        "mov al, bh",
        "call .Lput_byte",
        "mov al, bl",
        "call .Lput_byte",
        "call {give_control_back}",     // the exception may come from the middle of a mode switch
        "mov si, offset {message}",
        "jmp {fail}",
        // The first report cannot be completed: its record says at least which exception it was.
        ".Lsecond:",
        "mov eax, [{message} + {code}]",
        "mov [{header} + {error}], eax",
        ".Lhalt:",
        "hlt",
        "jmp .Lhalt",

        // AL as two hexadecimal digits to ES:DI.
        ".Lput_byte:",
        "aam 16",
        "xchg al, ah",
        "call .Lput_nibble",
        "mov al, ah",
        ".Lput_nibble:",
        "cmp al, 10",
        "sbb al, 0x69",
        "das",                          // 0 … 15 to '0' … 'F'
        "stosb",
        "ret",

        // In protected mode. On the stack: error code (not of #UD), IP, CS, FLAGS.
        ".Lprotected_ud:",
        "push 6",
        "jmp .Lback_to_real",
        ".Lprotected_df:",
        "mov dx, 8",
        "jmp .Lwith_error_code",
        ".Lprotected_gp:",
        "mov dx, 13",
        ".Lwith_error_code:",
        "pop ax",
        "push dx",
        ".Lback_to_real:",
        "pop dx",
        "pop bx",
        "pop cx",
        "mov eax, cr0",
        "and eax, ~{pe}",
        "mov cr0, eax",
        "ljmp 0, offset .Lin_real_mode",
        ".Lin_real_mode:",
        "lidt cs:[{vector_table}]",
        "jmp .Lreport_registers",
        ".code64",
        bios_vectors = sym BIOS_VECTORS,
        size = const size_of::<[u32; VECTORS.len()]>(),
        idt = sym IDT,
        reported = sym REPORTED,
        message = sym MESSAGE,
        vector_digits = const DIGITS[0],
        cs_digits = const DIGITS[1],
        code = const BEFORE_CODE.len(),
        header = sym HEADER,
        error = const offset_of!(Stage2Header, error),
        stack = const layout::REAL_MODE_STACK.end,
        pe = const Cr0Flags::PROTECTED_MODE_ENABLE.bits() as u32,
        vector_table = sym VECTOR_TABLE,
        give_control_back = sym give_control_back,
        fail = sym fail,
    )
}

/// In real mode: gives the BIOS its control registers back, after an exception during a mode
/// switch. Before step 4 there is nothing to do.
///
/// Clobbers EAX, ECX, EDX.
#[unsafe(naked)]
#[unsafe(link_section = ".real_mode.text")]
extern "C" fn give_control_back() {
    naked_asm!(
        ".code16",
        "mov eax, [{bios} + {bios_cr0}]",
        "test eax, eax",
        "jz 2f",
        "mov cr0, eax",
        "mov eax, [{bios} + {bios_cr4}]",
        "mov cr4, eax",
        "mov ecx, {efer}",
        "rdmsr",
        "and eax, ~{lme}",
        "wrmsr",
        "2:",
        "ret",
        ".code64",
        bios = sym BIOS_CONTROL,
        bios_cr0 = const offset_of!(BiosControl, cr0),
        bios_cr4 = const offset_of!(BiosControl, cr4),
        efer = const IA32_EFER,
        lme = const EferFlags::LONG_MODE_ENABLE.bits() as u32,
    )
}

/// Gives the vectors back to the BIOS.
pub fn give_back() {
    for (vector, address) in VECTORS.into_iter().zip(BIOS_VECTORS.get()) {
        physical::write(u64::from(vector) * 4, address);
    }
}
