//! What both boot programs are made of: the MBR (`main.rs`) and that of a CD (`cd.rs`).
//!
//! Assembly that the two have in common comes as text, for each is one function. It uses the
//! operands `{stack}`, `{letter}`, `{status}`, `{drive}`, `{destination}`, `{com1}` and
//! `{invalid_opcode}`.

use disk_layout::mbr::frame;
use disk_layout::stage2;

// The variables, as offsets from 7C00h: the first words on the stack. `frame` is what stage2 reads;
// the others lie in what PUSHAD stored besides, which is not needed.
/// Letter of the error code.
pub const LETTER: i16 = frame::LETTER;
/// The BIOS's last failure status. One word has the letter below and the status above: so one PUSH sets
/// both, and one MOV reads them.
pub const STATUS: i16 = LETTER + 1;
/// Where SP is when PUSHA has followed PUSHAD.
pub const PUSHED: i16 = frame::REGISTERS - 16;

// What is pushed, in this order: DX twice, letter and status, PUSHAD, PUSHA.
const _: () = assert!(frame::BIOS_DRIVE == -2 && frame::DRIVE == frame::BIOS_DRIVE - 2);
const _: () = assert!(LETTER == frame::DRIVE - 2 && STATUS == LETTER + 1);
const _: () = assert!(frame::REGISTERS == LETTER - 32 && PUSHED == frame::REGISTERS - 16);
// From the lowest address on, PUSHAD leaves EDI, ESI, EBP, ESP, EBX, EDX, ECX and EAX.
const _: () = assert!(frame::INVALID_OPCODE_VECTOR == frame::REGISTERS + 4 * 4);
const _: () = assert!(frame::TIME_STAMP_HIGH == frame::REGISTERS + 5 * 4);
const _: () = assert!(frame::WAY == frame::REGISTERS + 6 * 4);
const _: () = assert!(frame::TIME_STAMP_LOW == frame::REGISTERS + 7 * 4);

/// Offset part of the interrupt vector of #UD, the invalid-opcode exception (SDM vol. 3, 21.1.4).
pub const VECTOR_INVALID_OPCODE: u16 = 6 * 4;

/// I/O port of the first serial line.
pub const COM1: u16 = 0x3F8;
// DH is the same for all of its ports.
const _: () = assert!(COM1 >> 8 == (COM1 + 7) >> 8);

/// A call within the segment. LLVM's Intel syntax knows only the 32-bit form, which takes three
/// bytes more.
macro_rules! near_call {
    ($target:literal) => {
        concat!(".att_syntax; callw ", $target, "; .intel_syntax noprefix")
    };
}

/// A jump to an address within the segment, for the same reason.
macro_rules! near_jump {
    ($target:literal) => {
        concat!(".att_syntax; jmp ", $target, "; .intel_syntax noprefix")
    };
}

/// The return from a [`near_call`].
macro_rules! near_return {
    () => {
        ".att_syntax; retw; .intel_syntax noprefix"
    };
}

/// `.Lprint`: the end of a boot that fails. Prints `error 1A 0C` (error code, BIOS status) and stops.
#[rustfmt::skip]
macro_rules! print_and_stop {
    () => {
        asm_lines::lines!(
            // COM1: 115,200 baud, 8 data bits, no parity, 1 stop bit.
            ".Lprint:",
            "mov dx, {com1} + 3",
            "mov al, 0x80",                 // line control: the divisor is next
            "out dx, al",
            "mov dl, {com1} & 0xFF",
            "mov ax, 1",                    // the divisor
            "out dx, ax",
            "mov dl, ({com1} + 3) & 0xFF",
            "mov al, 3",
            "out dx, al",
            "mov si, offset .Lmessage",
            ".Lnext_character:",
            "lodsb",
            near_call!(".Lput"),
            "cmp al, '1'",                  // the step's number ends the message
            "jne .Lnext_character",
            "mov ax, [{stack} + {letter}]", // AL: letter, AH: status
            near_call!(".Lput"),
            "mov al, ' '",
            near_call!(".Lput"),
            near_call!(".Lput_byte"),
            ".Lstop:",
            "hlt",
            "jmp short .Lstop",

            // AH as two hexadecimal digits: `.Lput_digits` is called, and then runs into itself.
            ".Lput_byte:",
            "mov al, ah",
            "aam 16",                       // AH, AL: the digits
            near_call!(".Lput_digits"),
            ".Lput_digits:",
            "xchg al, ah",                  // AL: this one, AH: the other one
            "cmp al, 10",
            "sbb al, 0x69",
            "das",                          // 0 … 15 to '0' … 'F'
            // AL to the screen (INT 10h AH=0Eh) and to COM1, as soon as it takes it but not for ever.
            // Changes nothing, whatever the BIOS does to registers, DS and flags.
            ".Lput:",
            "pusha",
            "push ds",
            "pushf",
            "mov ah, 0x0E",
            "mov bx, 7",
            "int 0x10",
            "popf",
            "pop ds",
            "xor cx, cx",
            "mov dx, {com1} + 5",
            ".Lwait:",
            "in al, dx",                    // line status
            "test al, 0x20",                // bit 5: transmitter holding register empty
            "loopz .Lwait",
            "popa",                         // DX is a port of COM1, too
            "mov dl, {com1} & 0xFF",
            "out dx, al",
            near_return!(),
            ".Lmessage: .ascii \"\\r\\nerror 1\"",
        )
    };
}

/// The time stamp of step 1, to EDX:EAX, and the old vector of #UD to EBX.
///
/// A CPU without RDTSC raises #UD, which ends up behind the instruction with three words more on the
/// stack; stage2 knows such a CPU by CPUID. The vector stays as it is then: stage2 puts it back.
macro_rules! take_time_stamp {
    () => {
        asm_lines::lines!(
            "mov ebx, offset .Lstamped",
            "xchg ebx, [{invalid_opcode}]",
            "rdtsc",
            ".Lstamped:",
        )
    };
}

/// Sums up what was read, as [`stage2::stage1_sum`] does. In: DI = 0. Out: ZF says whether it is stage2,
/// DI = 0; EBX and ES are changed.
///
/// One segment is summed up, so the offset becomes 0 where it ends.
#[rustfmt::skip]
macro_rules! sum_stage2 {
    () => {
        asm_lines::lines!(
            "push {destination} >> 4",
            "pop es",
            "xor ebx, ebx",
            ".Lsum_stage2:",
            "rol ebx, 1",
            "add ebx, es:[di]",
            "add di, 4",
            "jnz .Lsum_stage2",
            "dec ebx",                      // SUM
        )
    };
}
const _: () = assert!(stage2::SUMMED == 0x1_0000 && stage2::SUM == 1);

/// `.Ldisk_call`: INT 13h for the drive in use. In: AH and what it needs but DL. Out: as the BIOS
/// says, and the status is noted when CF says that the call failed. Some BIOSes leave CF alone, or
/// change DL: both are set for each call. What they change besides is as before: BP, DS = 0, and that DF
/// is clear and IF is set.
#[rustfmt::skip]
macro_rules! disk_call {
    () => {
        asm_lines::lines!(
            ".Ldisk_call:",
            "push bp",
            "mov dl, [bp + {drive}]",
            "stc",
            "int 0x13",
            "pop bp",
            "push ss",
            "pop ds",
            "cld",
            "sti",
            "jnc 4f",
            "mov [bp + {status}], ah",
            "4:",
            near_return!(),
        )
    };
}
