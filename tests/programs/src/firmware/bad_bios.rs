//! **An option ROM that breaks a good BIOS**, for tests of what the loader does on a bad one.
//!
//! A word of flags at [`FLAGS_OFFSET`], which the tests fill in together with the checksum, says
//! what has to fail. Hooks on INT 15h, INT 13h and INT 10h refuse calls. The CPU's debug registers
//! imitate an A20 line that does not follow its ports: a breakpoint on stage2's first instruction
//! turns A20 off, and one on a port turns it off again after each access, unless the BIOS itself
//! makes the access. They also imitate a CPU without CPUID: the code is stepped through, and
//! EFLAGS.ID is cleared after each instruction.
//!
//! Defects of every call are in a second hook around the first one, of INT 10h, 13h, 15h and 16h.
#![no_std]
#![no_main]
// The program is asm from end to end.
#![allow(unsafe_code)]

mod bits;
mod defect;
mod holes;
mod int_13;

use core::arch::naked_asm;
use core::sync::atomic::AtomicU32;

use bits::{high, low, third};
use defect::Defect;
use disk_layout::stage2::{ENTRY_OFFSET, LOAD_ADDRESS};
use holes::{FIRST_HOLE, HOLE_SHIFT, HOLES, HOLES_START, PAGE_BYTES, SMAP};
use int_13::int_13;

/// Offset of the flags, four bytes.
const FLAGS_OFFSET: u16 = 6;
/// Offset of a byte behind the checksum: the number of graphics modes that cannot be set.
const BAD_MODES_OFFSET: u16 = 11;
/// Offset of a byte: the most sectors that INT 13h AH=42h reads, whatever it reports; 0: no limit.
const MOST_SECTORS_OFFSET: u16 = 12;
/// Offset of a byte: not 0 if the memory below 1 MiB is to be reserved.
const RESERVES_OFFSET: u16 = 13;
/// Offset of a word: the KiB of memory below 640 KiB that the BIOS is to have; 0: as it is.
const LOW_MEMORY_OFFSET: u16 = 14;
/// Offset of two words: the segment at the start of the 64-bit code's stack, and its length in words.
const STACK_OFFSET: u16 = 16;
/// The word of the BIOS data area with these KiB.
const BDA_MEMORY_SIZE: u16 = 0x413;
/// INT 15h E820: offset of the kind in an entry, and the kind "reserved".
const E820_KIND: u8 = 16;
const E820_RESERVED: u8 = 2;
/// Length in units of 512 bytes.
const LENGTH: u8 = 4;
/// A byte of the BIOS data area for communication between programs: not 0 after IRQ 4.
const IRQ_4_CAME: u16 = 0x4F0;
/// I/O port of the first serial line.
const COM1: u16 = 0x3F8;

/// The model-specific register EFER.
const IA32_EFER: u32 = 0xC000_0080;
/// CR4.DE: breakpoints on ports.
const CR4_DE: u8 = 1 << 3;
/// DR7: breakpoint 0, 1 and 2 on one-byte port accesses, enabled (SDM vol. 3, 18.2.4).
const DR7_PORT_0: u32 = 2 << 16 | 2;
const DR7_PORTS_1_2: u32 = 2 << 20 | 2 << 2 | 2 << 24 | 2 << 4;
/// DR7: breakpoint 3 on an instruction, enabled.
const DR7_CODE_3: u32 = 2 << 6;
/// DR6: breakpoint 3.
const DR6_CODE_3: u8 = 1 << 3;
/// EFLAGS: TF in its second byte, ID in its third one.
const FLAG_TRAP: u8 = 1 << 0;
const FLAG_ID: u8 = 1 << 5;
/// The port that step 2 writes to after each comparison: nothing in the loader does so earlier, and
/// step 3 follows.
const PORT_OF_STEP_2: u8 = 0x80;
/// Code segments from here on belong to the BIOS.
const BIOS_SEGMENT: u16 = 0xA000;

/// The head of a ROM, by which the BIOS finds it.
#[unsafe(naked)]
#[unsafe(no_mangle)]
#[unsafe(link_section = ".text.start")]
extern "C" fn start() {
    naked_asm!(
        ".code16",
        ".byte 0x55, 0xAA, {length}",
        ".byte 0xE9", // JMP with a 16-bit displacement
        ".short {init} - 6",
        // FLAGS_OFFSET: the flags, and a byte that makes the sum of all bytes 0; BAD_MODES_OFFSET;
        // MOST_SECTORS_OFFSET; RESERVES_OFFSET; LOW_MEMORY_OFFSET; STACK_OFFSET.
        ".byte 0, 0, 0, 0, 0, 0, 0, 0, 0, 0",
        ".short 0, 0",
        ".code64",
        length = const LENGTH,
        init = sym init,
    )
}

/// The BIOS calls it with a far call; the ROM can be written to until the BIOS has booted.
#[unsafe(naked)]
extern "C" fn init() {
    naked_asm!(
        ".code16",
        "pushad",
        "push ds",
        "xor bx, bx",
        "mov ds, bx",

        "mov ax, cs:[{low_memory}]",
        "test ax, ax",
        "jz .Lall_memory",
        "mov [{memory_size}], ax",
        ".Lall_memory:",

        "mov eax, [0x13 * 4]",
        "mov cs:[{old_13}], eax",
        "mov ax, cs",
        "shl eax, 16",
        "mov ax, offset {int_13}",
        "mov [0x13 * 4], eax",

        "mov edx, [0x15 * 4]",
        "mov cs:[{old_15}], edx",
        "mov ax, offset {int_15}",
        "mov [0x15 * 4], eax",

        "cmp byte ptr cs:[{bad_modes}], 0",
        "je .Lno_bad_modes",
        "mov edx, [0x10 * 4]",
        "mov cs:[{old_10}], edx",
        "mov ax, offset {int_10}",
        "mov [0x10 * 4], eax",
        ".Lno_bad_modes:",

        "test byte ptr cs:[{flags} + 1], {waits}",
        "jz .Lno_irq_4",
        "mov ax, offset {irq_4}",
        "mov [12 * 4], eax",
        ".Lno_irq_4:",

        // The second hooks.
        "test byte ptr cs:[{flags} + 2], 0xFF",
        "jz .Lno_second_hooks",
        ".irp number, 10, 13, 15, 16",
        "mov edx, [0x\\number * 4]",
        "mov cs:[{inner} + 4 * (0x\\number - 0x10)], edx",
        "mov ax, offset .Louter_\\number",
        "mov [0x\\number * 4], eax",
        ".endr",
        // Puts something into the BIOS's CR4, and notes what the control registers hold from now
        // on.
        "mov eax, cr4",
        "or al, {cr4_de}",
        "mov cr4, eax",
        "mov cs:[{control}], eax",
        "mov eax, cr0",
        "mov cs:[{control} + 4], eax",
        "mov ecx, {efer}",
        "rdmsr",
        "mov cs:[{control} + 8], eax",
        ".Lno_second_hooks:",

        "mov cx, cs:[{flags}]",
        "test cx, {watched}",
        "jz .Lreturn",
        "mov ax, cs",
        "shl eax, 16",
        "mov ax, offset {debug}",
        "mov [1 * 4], eax",
        "mov eax, cr4",
        "or al, {cr4_de}",
        "mov cr4, eax",
        "mov eax, 0x92",
        "mov dr0, eax",
        "mov al, 0x60",
        "mov dr1, eax",
        "mov al, 0x64",
        "mov dr2, eax",
        "mov eax, {stage2}",
        "mov dr3, eax",
        "mov eax, {code_3}",
        "mov dr7, eax",
        ".Lreturn:",
        "pop ds",
        "popad",
        ".byte 0xCB", // RETF, without a 32-bit prefix

        // They call the first hook, or the BIOS, like INT does, if the registers are the BIOS's.
        ".irp number, 10, 13, 15, 16",
        ".Louter_\\number:",
        "call .Lis_as_before",
        "jne .Lrefuse_call",
        "pushf",
        ".byte 0x2E, 0xFF, 0x1E", // CALL FAR CS:[…]
        ".short {inner} + 4 * (0x\\number - 0x10)",
        "jmp {spoil}",
        ".endr",

        ".Lrefuse_call:",
        "mov ah, 0x86",
        "stc",
        "jmp {spoil}",

        // ZF: are interrupts on, do strings go up, and are the control registers unchanged?
        ".Lis_as_before:",
        "push bp",
        "mov bp, sp",
        "push eax",
        "push ecx",
        "push edx",
        "test byte ptr cs:[{flags} + 2], {watches_flags}",
        "jz .Lflags_are_known",
        "mov al, [bp + 11]", // FLAGS, behind BP, a return address of 32 bits, IP and CS
        "and al, 1 << 1 | 1 << 2",
        "cmp al, 1 << 1",
        "jne .Lknown",
        ".Lflags_are_known:",
        "test byte ptr cs:[{flags} + 2], {watches_control}",
        "jz .Lknown",
        "mov eax, cr4",
        "cmp eax, cs:[{control}]",
        "jne .Lknown",
        "mov eax, cr0",
        "cmp eax, cs:[{control} + 4]",
        "jne .Lknown",
        "mov ecx, {efer}",
        "rdmsr",
        "cmp eax, cs:[{control} + 8]",
        ".Lknown:",
        "pop edx",
        "pop ecx",
        "pop eax",
        "pop bp",
        "ret",
        ".code64",
        inner = sym INNER,
        control = sym CONTROL,
        efer = const IA32_EFER,
        watches_flags = const third(Defect::WatchesFlags),
        watches_control = const third(Defect::WatchesControl),
        spoil = sym spoil,
        flags = const FLAGS_OFFSET,
        waits = const high(Defect::WaitsForIrq4),
        irq_4 = sym irq_4,
        watched = const Defect::A20Off as u32 | Defect::NoCpuid as u32,
        cr4_de = const CR4_DE,
        stage2 = const LOAD_ADDRESS + ENTRY_OFFSET as u32,
        code_3 = const DR7_CODE_3,
        low_memory = const LOW_MEMORY_OFFSET,
        memory_size = const BDA_MEMORY_SIZE,
        bad_modes = const BAD_MODES_OFFSET,
        old_10 = sym OLD_10,
        int_10 = sym int_10,
        old_13 = sym OLD_13,
        old_15 = sym OLD_15,
        int_13 = sym int_13,
        int_15 = sym int_15,
        debug = sym debug,
    )
}

/// The original vectors.
static OLD_10: AtomicU32 = AtomicU32::new(0);
static OLD_13: AtomicU32 = AtomicU32::new(0);
static OLD_15: AtomicU32 = AtomicU32::new(0);
/// The vectors that the second hooks call, for INT 10h to 16h.
static INNER: [AtomicU32; 7] = [const { AtomicU32::new(0) }; 7];
/// The BIOS's values of CR4, CR0 and EFER.
static CONTROL: [AtomicU32; 3] = [const { AtomicU32::new(0) }; 3];

/// Returns from an interrupt with the current flags, as a BIOS does, changed as the defects say.
#[unsafe(naked)]
extern "C" fn spoil() {
    naked_asm!(
        ".code16",
        "push bp",
        "mov bp, sp",
        "push ax",
        "pushf",
        "pop ax",
        "mov [bp + 6], al", // the caller's flags are behind BP, IP and CS
        "mov al, cs:[{flags} + 2]",
        "test al, {direction}",
        "jz 2f",
        "or byte ptr [bp + 7], 1 << 2",
        "2:",
        "test al, {interrupts}",
        "jz 3f",
        "and byte ptr [bp + 7], ~(1 << 1)",
        "3:",
        "test al, {changes_ds}",
        "jz 4f",
        "push cs",
        "pop ds",
        "4:",
        "pop ax",
        "pop bp",
        ".byte 0xCF", // IRET
        ".code64",
        flags = const FLAGS_OFFSET,
        direction = const third(Defect::SetsDirectionFlag),
        interrupts = const third(Defect::ClearsInterruptFlag),
        changes_ds = const third(Defect::ChangesDs),
    )
}

/// VBE function 02h fails, and leaves a mode other than text.
#[unsafe(naked)]
extern "C" fn int_10() {
    naked_asm!(
        ".code16",
        "cmp ax, 0x4F02",
        "jne .Lother_function",
        "cmp byte ptr cs:[{bad_modes}], 0",
        "je .Lother_function",
        "dec byte ptr cs:[{bad_modes}]",
        "mov ax, 0x13",
        "pushf",
        ".byte 0x2E, 0xFF, 0x1E", // CALL FAR CS:[…]
        ".short {old}",
        "mov ax, 0x014F",
        ".byte 0xCF", // IRET
        ".Lother_function:",
        ".byte 0x2E, 0xFF, 0x2E", // JMP FAR CS:[…]
        ".short {old}",
        ".code64",
        bad_modes = const BAD_MODES_OFFSET,
        old = sym OLD_10,
    )
}

/// IRQ 4: the serial line has room for a character.
#[unsafe(naked)]
extern "C" fn irq_4() {
    naked_asm!(
        ".code16",
        "push ax",
        "push dx",
        "push ds",
        "xor ax, ax",
        "mov ds, ax",
        "inc byte ptr [{irq_4_came}]",
        "mov dx, {com1} + 1",
        "out dx, al", // no further ones
        "mov al, 0x20",
        "out 0x20, al", // end of interrupt
        "pop ds",
        "pop dx",
        "pop ax",
        ".byte 0xCF", // IRET
        ".code64",
        irq_4_came = const IRQ_4_CAME,
        com1 = const COM1,
    )
}

#[unsafe(naked)]
extern "C" fn int_15() {
    naked_asm!(
        ".code16",
        "push cx",
        "mov cl, cs:[{flags}]",
        "test cl, {no_e820}",
        "jz .Lhas_e820",
        "cmp ax, 0xE820",
        "je .Lrefuse",
        ".Lhas_e820:",
        "test cl, {no_e801}",
        "jz .Lhas_e801",
        "cmp ax, 0xE801",
        "je .Lrefuse",
        "cmp ax, 0xE881", // the same with 32-bit registers
        "je .Lrefuse",
        ".Lhas_e801:",
        "test cl, {no_88}",
        "jz .Lhas_88",
        "cmp ah, 0x88",
        "je .Lrefuse",
        ".Lhas_88:",
        "test cl, {no_a20_call}",
        "jz .Lold_15",
        "cmp ah, 0x24",
        "je .Lrefuse",
        ".Lold_15:",
        "pop cx",
        "cmp ax, 0xE820",
        "jne .Lno_holes",
        "test byte ptr cs:[{flags} + 2], {many_holes}",
        "jnz .Lholes",
        ".Lno_holes:",
        "cmp byte ptr cs:[{reserves}], 0",
        "je .Lgo_on_15",
        "cmp ax, 0xE820",
        "jne .Lgo_on_15",
        "test ebx, ebx",
        "jz .Lfirst_entry",
        ".Lgo_on_15:",
        ".byte 0x2E, 0xFF, 0x2E", // JMP FAR CS:[…]
        ".short {old}",

        // The holes come behind the BIOS's own list.
        ".Lholes:",
        "cmp bx, {first_hole}",
        "jae .Lhole",
        "pushf",
        ".byte 0x2E, 0xFF, 0x1E", // CALL FAR CS:[…]
        ".short {old}",
        "test ebx, ebx",
        "jnz .Lhole_done",
        "mov bx, {first_hole}",
        "jmp .Lhole_done",
        ".Lhole:",
        "movzx eax, bx",
        "sub ax, {first_hole}",
        "shl eax, {hole_shift}",
        "add eax, {holes_start}",
        "mov es:[di], eax",
        "xor eax, eax",
        "mov es:[di + 4], eax",
        "mov es:[di + 12], eax",
        "mov dword ptr es:[di + 8], {page_bytes}",
        "mov dword ptr es:[di + {kind}], {reserved}",
        "mov ecx, 20",
        "inc bx",
        "cmp bx, {first_hole} + {holes}",
        "jb .Lhole_follows",
        "xor ebx, ebx",
        ".Lhole_follows:",
        "mov eax, {smap}",
        ".Lhole_done:",
        "push bp",
        "mov bp, sp",
        "and byte ptr [bp + 6], 0xFE", // CF on the stack
        "pop bp",
        ".byte 0xCF", // IRET

        // The first entry is the memory below 1 MiB.
        ".Lfirst_entry:",
        "pushf",
        ".byte 0x2E, 0xFF, 0x1E", // CALL FAR CS:[…]
        ".short {old}",
        "mov byte ptr es:[di + {kind}], {reserved}",
        "push bp",
        "mov bp, sp",
        "and byte ptr [bp + 6], 0xFE", // CF on the stack
        "pop bp",
        ".byte 0xCF", // IRET

        ".Lrefuse:",
        "mov ah, 0x86",
        "mov cx, bp",
        "mov bp, sp",
        "or byte ptr [bp + 6], 1", // CF on the stack
        "mov bp, cx",
        "pop cx",
        ".byte 0xCF", // IRET
        ".code64",
        flags = const FLAGS_OFFSET,
        no_e820 = const low(Defect::NoE820),
        no_e801 = const low(Defect::NoE801),
        no_88 = const low(Defect::No88),
        no_a20_call = const low(Defect::NoA20Call),
        reserves = const RESERVES_OFFSET,
        many_holes = const third(Defect::ManyHoles),
        first_hole = const FIRST_HOLE,
        holes = const HOLES,
        holes_start = const HOLES_START,
        hole_shift = const HOLE_SHIFT,
        page_bytes = const PAGE_BYTES,
        smap = const SMAP,
        kind = const E820_KIND,
        reserved = const E820_RESERVED,
        old = sym OLD_15,
    )
}

/// #DB: at stage2's first instruction and after each access to a port.
#[unsafe(naked)]
extern "C" fn debug() {
    naked_asm!(
        ".code16",
        "push bp",
        "mov bp, sp",
        "push eax",
        "cmp word ptr [bp + 4], {bios}", // CS of the interrupted code
        "jae .Lleave",

        "test byte ptr cs:[{flags} + 1], {no_cpuid}",
        "jz .La20",
        "mov eax, dr6",
        "test al, {code_3}",
        "jz .Lsingle_step",
        "mov eax, {port_of_step_2}",
        "mov dr0, eax",
        "mov eax, {port_0}",
        "jmp .Lset",
        // From that port on, clears ID again after each instruction.
        ".Lsingle_step:",
        "or byte ptr [bp + 7], {trap}", // the flags that IRET restores: 16 bits
        "pushfd",
        "and byte ptr [bp - 6], ~{id}", // and those that it does not
        "popfd",
        "xor eax, eax",
        "jmp .Lset",

        // From now on, watches the ports and no longer the instruction.
        ".La20:",
        "xor eax, eax",
        "mov dr7, eax",
        "in al, 0x92",
        "and al, 0xFC", // neither A20 nor a reset
        "out 0x92, al",
        "xor eax, eax",
        "test byte ptr cs:[{flags}], {no_fast}",
        "jz .Lkeyboard",
        "or eax, {port_0}",
        ".Lkeyboard:",
        "test byte ptr cs:[{flags}], {no_keyboard}",
        "jz .Lset",
        "or eax, {ports_1_2}",
        ".Lset:",
        "mov dr7, eax",

        ".Lleave:",
        "xor eax, eax",
        "mov dr6, eax",
        "pop eax",
        "pop bp",
        ".byte 0xCF", // IRET
        ".code64",
        flags = const FLAGS_OFFSET,
        bios = const BIOS_SEGMENT,
        no_fast = const low(Defect::NoA20Fast),
        no_keyboard = const low(Defect::NoA20Keyboard),
        no_cpuid = const high(Defect::NoCpuid),
        code_3 = const DR6_CODE_3,
        trap = const FLAG_TRAP,
        id = const FLAG_ID,
        port_of_step_2 = const PORT_OF_STEP_2,
        port_0 = const DR7_PORT_0,
        ports_1_2 = const DR7_PORTS_1_2,
    )
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}
