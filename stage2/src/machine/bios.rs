//! The gate: BIOS calls from 64-bit code.
//!
//! long mode → 16-bit compatibility mode → 16-bit protected mode → real mode, the interrupt, and
//! straight back. BIOSes return with registers, segments, GDT, IDT, IF and DF changed: whatever
//! this side relies on is set anew, and what the BIOS left in the registers is kept for the caller.
//! While the BIOS runs, CR0, CR4 and EFER are what it had there itself: see [`BiosControl`].
#![allow(unsafe_code)]
// LLVM's Intel syntax has no 16-bit far call through memory: that instruction is in AT&T syntax.
#![allow(bad_asm_style)]

use core::mem::offset_of;

use asm_lines::naked_asm;
use boot_path::bios::firmware::{Bios, FLAG_CARRY, Registers};
use boot_path::bios::time::{Clock, Moment, Waiting};
use boot_path::bios::transcript;
use boot_path::errors::catalogue;
use boot_path::errors::text::copy;
use boot_path::memory::layout;
use boot_path::memory::layout::{BIOS_BUFFER, TRANSFER_BUFFER};
use x86_64::registers::control::{Cr0Flags, EferFlags};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::HEADER;
use crate::machine::clock;
use crate::machine::console;
use crate::machine::console::SerialLine;
use crate::machine::faults;
use crate::machine::findings;
use crate::machine::physical;
use crate::real::long_mode::{
    BIOS_CONTROL, BiosControl, CODE_16, CODE_64, DATA, DATA_16, GDT_POINTER, IA32_EFER,
};
use crate::real::real_mode::{fail, message, message_length};
use crate::real::real_mode_faults;

/// BIOS data area: timer ticks since midnight (u32).
const BDA_TICKS: u64 = 0x46C;

/// EFLAGS: interrupts enabled.
const FLAG_INTERRUPTS: u32 = 1 << 9;
/// EFLAGS bit 1, which is always set.
const FLAG_ALWAYS: u32 = 1 << 1;

#[unsafe(link_section = ".real_mode.rodata")]
static OVERRUN: [u8; message_length(&catalogue::STACK_OVERRUN)] =
    message(&catalogue::STACK_OVERRUN);

/// The machine, and its BIOS behind the gate.
#[derive(Clone, Copy)]
pub struct Machine;

impl Bios for Machine {
    fn call(&mut self, number: u8, registers: &mut Registers) {
        if recorded() {
            call_and_record(number, registers);
        } else {
            call(number, registers);
        }
    }

    fn read<T: FromBytes>(&self, address: u64) -> T {
        if recorded() {
            record_memory(address, size_of::<T>());
        }
        physical::read(address)
    }

    fn put<T: IntoBytes + Immutable>(&mut self, value: &T) {
        put(value.as_bytes());
    }

    fn write<T: IntoBytes + Immutable>(&mut self, address: u64, value: &T) {
        let bytes = value.as_bytes();
        assert!(
            address >= TRANSFER_BUFFER.start && address + bytes.len() as u64 <= TRANSFER_BUFFER.end
        );
        // SAFETY: the buffer is the drive's, which is not read meanwhile.
        let buffer = unsafe { physical::bytes_mut(address, bytes.len() as u64) };
        buffer.copy_from_slice(bytes);
    }

    fn transferred(&self, length: usize) -> &[u8] {
        // SAFETY: the buffer is the drive's; the slice is gone before the next call.
        unsafe { physical::bytes(TRANSFER_BUFFER.start, length as u64) }
    }
}

impl Clock for Machine {
    fn now(&self) -> Moment {
        Moment {
            tsc: findings::now(),
            ticks: physical::read(BDA_TICKS),
        }
    }

    fn milliseconds_since(&mut self, moment: Moment) -> u64 {
        let frequency = clock::known_tsc_frequency();
        let milliseconds = moment.milliseconds_to(self.now(), frequency);
        if recorded() {
            let _ = transcript::time(&mut SerialLine, milliseconds); // as below
        }
        milliseconds
    }

    fn tell(&mut self, waiting: &Waiting) {
        console::print(waiting);
    }
}

/// The gate's variables, within reach of segment 0.
#[repr(C)]
struct Gate {
    registers: Registers,
    /// Offset and segment of the handler, from the interrupt vector table.
    vector: u32,
    /// The 64-bit stack.
    rsp: u64,
    /// Control registers in long mode.
    cr0: u32,
    cr4: u32,
    /// IDTR in long mode.
    long_idt: [u16; 5],
}

#[unsafe(link_section = ".gate.data")]
static mut GATE: Gate = Gate {
    registers: Registers::new(0),
    vector: 0,
    rsp: 0,
    cr0: 0,
    cr4: 0,
    long_idt: [0; 5],
};

/// INT 10h AH=0Eh: prints a character, and moves the cursor. Not recorded: it is no answer to
/// anything.
pub fn print(character: u8) {
    let mut registers = Registers {
        ebx: 0x0007, // page 0, grey
        ..Registers::new(0x0E00 | u32::from(character))
    };
    call(0x10, &mut registers);
}

/// Was the image built to be recorded?
fn recorded() -> bool {
    // SAFETY: a byte of the image, which may be another one than the compiler saw.
    unsafe { (&raw const HEADER.record).read_volatile() != 0 }
}

/// Writes the first line of a transcript to the serial line, if there is to be one.
pub fn begin_transcript() {
    if recorded() {
        let _ = transcript::begin(&mut SerialLine); // as below
    }
}

/// In two halves: of a call that does not return, the first one is there. (Writing cannot fail.)
#[cold]
fn call_and_record(number: u8, registers: &mut Registers) {
    let before = *registers;
    // SAFETY: the BIOS does not write to it while it is printed.
    let buffer = unsafe { physical::bytes(BIOS_BUFFER.start, transcript::SHOWN as u64) };
    let _ = transcript::question(&mut SerialLine, number, &before, buffer);
    call(number, registers);
    // SAFETY: as above.
    let buffer = unsafe { physical::bytes(BIOS_BUFFER.start, transcript::SHOWN as u64) };
    let _ = transcript::answer(&mut SerialLine, &before, registers, buffer);
}

/// What is read from the buffer is in the line of the call already.
#[cold]
fn record_memory(address: u64, length: usize) {
    if address != BIOS_BUFFER.start {
        // SAFETY: the BIOS data area; the BIOS does not run meanwhile.
        let bytes = unsafe { physical::bytes(address, length as u64) };
        let _ = transcript::memory(&mut SerialLine, address, bytes);
    }
}

/// See [`Bios::put`].
fn put(bytes: &[u8]) {
    // SAFETY: nothing else refers to the buffer.
    let buffer = unsafe { physical::region(&BIOS_BUFFER) };
    let copied = copy(bytes, buffer);
    buffer.get_mut(copied..).unwrap_or_default().fill(0);
}

/// Calls the interrupt `number` with `registers`, and leaves in them what the BIOS returns.
///
/// The handler is called as the instruction INT would: FLAGS and a far return address on the
/// stack, IF and TF clear.
fn call(number: u8, registers: &mut Registers) {
    console::tell_bios(); // it may be the BIOS that prints the next line: see `OVERRUN`
    let gate = &raw mut GATE;
    // SAFETY: one CPU, interrupts off: nothing else touches the variables. The vector is read from
    // the table that real mode has at address 0, which the early tables map.
    unsafe {
        (*gate).registers = *registers;
        (*gate).registers.eflags = registers.eflags & FLAG_CARRY | FLAG_ALWAYS | FLAG_INTERRUPTS;
        (*gate).vector = vector(number);
        pass();
        *registers = (*gate).registers;
    }
    faults::check_stack();
}

/// The far address in the interrupt vector table: offset in bits 15:0, segment in bits 31:16.
fn vector(number: u8) -> u32 {
    physical::read::<u32>(u64::from(number) * 4)
}

/// Through the gate and back. In and out: [`GATE`].
///
/// # Safety
/// The variables of the gate are set, and the early tables are in use.
#[unsafe(naked)]
#[unsafe(link_section = ".gate.text")]
unsafe extern "sysv64" fn pass() {
    naked_asm!(
        "push rbx",
        "push rbp",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "pushfq",
        "cli",
        "mov [{gate} + {rsp}], rsp",
        "sidt [{gate} + {long_idt}]",
        "mov rax, cr0",
        "mov [{gate} + {cr0}], eax",
        "mov rax, cr4",
        "mov [{gate} + {cr4}], eax",
        "push {code_16}",
        "push offset .Lcompatibility",
        "retfq",

        ".code16",
        ".Lcompatibility:",
        "mov ax, {data_16}",
        "mov ds, ax",
        "mov es, ax",
        "mov fs, ax",
        "mov gs, ax",
        "mov ss, ax",
        "mov eax, cr0",
        "and eax, ~{pg}",
        "mov cr0, eax",
        "lidt [{protected_idt}]",
        "mov ecx, {efer}",
        "rdmsr",
        "and eax, ~{lme}",
        "wrmsr",
        "mov eax, [{bios} + {bios_cr4}]",
        "mov cr4, eax",
        "mov eax, [{bios} + {bios_cr0}]", // without PE
        "mov cr0, eax",
        "ljmp 0, offset .Lreal",

        ".Lreal:",
        "xor ax, ax",
        "mov ss, ax",
        "mov esp, {stack}",
        "mov fs, ax",
        "mov gs, ax",
        "lidt cs:[{vector_table}]",
        "mov eax, cs:[{gate} + {eax}]",
        "mov ebx, cs:[{gate} + {ebx}]",
        "mov ecx, cs:[{gate} + {ecx}]",
        "mov edx, cs:[{gate} + {edx}]",
        "mov esi, cs:[{gate} + {esi}]",
        "mov edi, cs:[{gate} + {edi}]",
        "mov ebp, cs:[{gate} + {ebp}]",
        "mov ds, cs:[{gate} + {ds}]",
        "mov es, cs:[{gate} + {es}]",
        "push dword ptr cs:[{gate} + {eflags}]",
        "popfd",
        "pushf",
        "cli",
        ".att_syntax; lcallw *%cs:{gate} + {vector}; .intel_syntax noprefix",
        "mov cs:[{gate} + {eax}], eax",
        "mov cs:[{gate} + {ebx}], ebx",
        "mov cs:[{gate} + {ecx}], ecx",
        "mov cs:[{gate} + {edx}], edx",
        "mov cs:[{gate} + {esi}], esi",
        "mov cs:[{gate} + {edi}], edi",
        "mov cs:[{gate} + {ebp}], ebp",
        "mov cs:[{gate} + {ds}], ds",
        "mov cs:[{gate} + {es}], es",
        "pushfd",
        "pop dword ptr cs:[{gate} + {eflags}]",
        "cli",
        "cld",

        "xor ax, ax",
        "mov ds, ax",
        // Did the call stay on its stack? Below it are the page tables: there is no way back
        // without them.
        "cmp dword ptr [{stack_bottom}], {canary}",
        "mov si, offset {overrun}",
        "jne {fail}",
        "lgdt [{gdt_pointer}]",
        "mov eax, cr4",
        "mov [{bios} + {bios_cr4}], eax",
        "mov eax, [{gate} + {cr4}]",
        "mov cr4, eax",
        "mov eax, {tables}",
        "mov cr3, eax",
        "mov ecx, {efer}",
        "rdmsr",
        "or eax, {lme}",
        "wrmsr",
        "mov eax, [{gate} + {cr0}]",
        "mov cr0, eax",
        "ljmp {code_64}, offset .Llong",

        ".code64",
        ".Llong:",
        "mov eax, {data}",
        "mov ds, eax",
        "mov es, eax",
        "mov ss, eax",
        "xor eax, eax",
        "mov fs, eax",
        "mov gs, eax",
        "mov rsp, [{gate} + {rsp}]",
        "lidt [{gate} + {long_idt}]",
        "popfq",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbp",
        "pop rbx",
        "ret",
        gate = sym GATE,
        rsp = const offset_of!(Gate, rsp),
        cr0 = const offset_of!(Gate, cr0),
        cr4 = const offset_of!(Gate, cr4),
        bios = sym BIOS_CONTROL,
        bios_cr0 = const offset_of!(BiosControl, cr0),
        bios_cr4 = const offset_of!(BiosControl, cr4),
        protected_idt = sym real_mode_faults::IDT_POINTER,
        vector_table = sym real_mode_faults::VECTOR_TABLE,
        long_idt = const offset_of!(Gate, long_idt),
        vector = const offset_of!(Gate, vector),
        eax = const offset_of!(Registers, eax),
        ebx = const offset_of!(Registers, ebx),
        ecx = const offset_of!(Registers, ecx),
        edx = const offset_of!(Registers, edx),
        esi = const offset_of!(Registers, esi),
        edi = const offset_of!(Registers, edi),
        ebp = const offset_of!(Registers, ebp),
        ds = const offset_of!(Registers, ds),
        es = const offset_of!(Registers, es),
        eflags = const offset_of!(Registers, eflags),
        pg = const Cr0Flags::PAGING.bits() as u32,
        efer = const IA32_EFER,
        lme = const EferFlags::LONG_MODE_ENABLE.bits() as u32,
        tables = const layout::EARLY_TABLES.start,
        stack = const layout::REAL_MODE_STACK.end,
        stack_bottom = const layout::REAL_MODE_STACK.start,
        canary = const layout::CANARY,
        overrun = sym OVERRUN,
        fail = sym fail,
        gdt_pointer = sym GDT_POINTER,
        code_16 = const CODE_16,
        data_16 = const DATA_16,
        code_64 = const CODE_64,
        data = const DATA,
    )
}

// The assembly reaches the fields of `Registers` from the gate's start.
const _: () = assert!(offset_of!(Gate, registers) == 0);
