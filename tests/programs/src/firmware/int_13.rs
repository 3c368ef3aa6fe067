//! What the option ROM does to INT 13h.

use core::arch::naked_asm;

use crate::bits::{fourth, high, low, third};
use crate::defect::Defect;
use crate::{COM1, FLAGS_OFFSET, IRQ_4_CAME, MOST_SECTORS_OFFSET, OLD_13, STACK_OFFSET, spoil};

/// Words on a hungry stack: 4 KiB.
const HUNGER: u16 = 2048;
/// Where a deep stack ends: a little below the lower end of stage2's, which begins at 0:7C00h.
const DEEP: u16 = 0x5FF0;
/// Overwrites the stack of the 64-bit code: not a canonical address; as flags, without TF.
const GARBAGE: u16 = 0xCCCC;
/// Bytes of a large sector.
const LARGE_SECTOR: u16 = 4096;

/// The hook on INT 13h.
#[unsafe(naked)]
pub extern "C" fn int_13() {
    naked_asm!(
        ".code16",
        "test byte ptr cs:[{flags} + 2], {hungry}",
        "jz .Lsated",
        "push cx",
        "push bp",
        "mov bp, sp",
        "mov cx, {hunger}",
        ".Lhungry:",
        "push cx",
        "loop .Lhungry",
        "mov sp, bp",
        "pop bp",
        "pop cx",
        ".Lsated:",
        "cmp ah, 0x42",
        "jne .Lflat",
        "cmp dword ptr [si + 8], 0",    // the packet's LBA: stage1 does not read the MBR again
        "jne .Lflat",
        "pusha",
        "push ds",
        "mov cl, cs:[{flags} + 1]",

        "test cl, {invalid_opcode}",
        "jz .Lvalid",
        "ud2",
        ".Lvalid:",
        "test cl, {divide_error}",
        "jz .Lno_division",
        "xor bl, bl",
        "div bl",
        ".Lno_division:",
        "test cl, {general_protection}",
        "jz .Lunprotected",
        "fxsave cs:[1]",
        ".Lunprotected:",
        "test cl, {spoils_stack}",
        "jz .Lno_spoiling",
        "mov bx, cs:[{stack}]",
        "mov ds, bx",
        "mov word ptr [0], {garbage}",
        ".Lno_spoiling:",
        "test cl, {overwrites}",
        "jz .Lno_overwriting",
        "push cx",
        "push es",
        "push word ptr cs:[{stack}]",
        "pop es",
        "mov di, 4",                    // all but the canary
        "mov cx, cs:[{stack} + 2]",
        "sub cx, 2",
        "mov ax, {garbage}",
        "cld",
        "rep stosw",
        "pop es",
        "pop cx",
        ".Lno_overwriting:",

        "test cl, {waits}",
        "jz .Lno_waiting",
        "xor bx, bx",
        "mov ds, bx",
        "mov byte ptr [{irq_4_came}], 0",
        "in al, 0x21",                  // unmask IRQ 4
        "and al, 0xEF",
        "out 0x21, al",
        "mov dx, {com1} + 4",           // OUT2 lets the interrupt out
        "mov al, 8",
        "out dx, al",
        "mov dx, {com1} + 1",           // interrupt when there is room for a character
        "mov al, 2",
        "out dx, al",
        "sti",
        ".Lwait:",
        "cmp byte ptr [{irq_4_came}], 0",
        "je .Lwait",
        "cli",
        ".Lno_waiting:",

        "test cl, {deep_stack}",
        "pop ds",
        "popa",
        "jz .Lflat",
        "push bp",
        "mov bp, sp",
        ".Ldeeper:",
        "push bp",
        "cmp sp, {deep}",
        "ja .Ldeeper",
        "mov sp, bp",
        "pop bp",
        ".Lflat:",
        "test byte ptr cs:[{flags}], {no_edd}",
        "jz .Lold_13",
        "cmp ah, 0x41",
        "jb .Lold_13",
        "cmp ah, 0x49",
        "jb .Lno_such_function",
        ".Lold_13:",
        "test byte ptr cs:[{flags} + 3], {large_sectors}",
        "jz .Lsmall_sectors",
        "cmp ah, 0x48",
        "je .Lenlarge_sectors",
        ".Lsmall_sectors:",
        "cmp ah, 0x42",
        "jne .Lall_sectors",
        "test byte ptr cs:[{flags} + 3], {clears_count}",
        "jnz .Lclear_count",
        "push cx",
        "movzx cx, byte ptr cs:[{most_sectors}]",
        "jcxz .Lmany_sectors",
        "cmp [si + 2], cx",             // number of sectors in the packet
        "jbe .Lmany_sectors",
        "xchg [si + 2], cx",
        "pushf",
        ".byte 0x2E, 0xFF, 0x1E", // CALL FAR CS:[…]
        ".short {old}",
        "mov [si + 2], cx",
        "pop cx",
        "jmp {spoil}",
        ".Lmany_sectors:",
        "pop cx",
        ".Lall_sectors:",
        ".byte 0x2E, 0xFF, 0x2E", // JMP FAR CS:[…]
        ".short {old}",

        ".Lclear_count:",
        "pushf",
        ".byte 0x2E, 0xFF, 0x1E", // CALL FAR CS:[…]
        ".short {old}",
        "mov word ptr [si + 2], 0", // number of sectors in the packet
        "jmp {spoil}",

        ".Lenlarge_sectors:",
        "pushf",
        ".byte 0x2E, 0xFF, 0x1E", // CALL FAR CS:[…]
        ".short {old}",
        "mov word ptr [si + 24], {large_sector}", // bytes of a sector in the parameters
        "jmp {spoil}",

        ".Lno_such_function:",
        "mov ah, 1",
        "push bp",
        "mov bp, sp",
        "or byte ptr [bp + 6], 1", // CF on the stack
        "pop bp",
        ".byte 0xCF", // IRET
        ".code64",
        flags = const FLAGS_OFFSET,
        hungry = const third(Defect::HungryStack),
        hunger = const HUNGER,
        no_edd = const low(Defect::NoEdd),
        most_sectors = const MOST_SECTORS_OFFSET,
        clears_count = const fourth(Defect::ClearsCount),
        large_sectors = const fourth(Defect::LargeSectors),
        large_sector = const LARGE_SECTOR,
        spoil = sym spoil,
        invalid_opcode = const high(Defect::InvalidOpcode),
        divide_error = const high(Defect::DivideError),
        general_protection = const high(Defect::GeneralProtection),
        spoils_stack = const high(Defect::SpoilsStack),
        waits = const high(Defect::WaitsForIrq4),
        irq_4_came = const IRQ_4_CAME,
        com1 = const COM1,
        deep_stack = const high(Defect::DeepStack),
        deep = const DEEP,
        overwrites = const high(Defect::Overwrites),
        stack = const STACK_OFFSET,
        garbage = const GARBAGE,
        old = sym OLD_13,
    )
}
