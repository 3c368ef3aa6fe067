//! The parts that both boot programs share: the MBR (`main.rs`) and the one for a CD (`cd.rs`).
//!
//! Each program is one naked function. [`boot_program!`] builds it from the program's own lines and
//! from the macros here, which both programs use. Each macro says which labels it defines; the
//! program defines the others:
//!
//! | label | what is there |
//! | --- | --- |
//! | `.Lnext` | CX: the most sectors for the next call; then [`begin_call!`] |
//! | `.Lfailed` | this drive does not deliver stage2: what else can be tried. SP is at [`FAILURE`] |
//!
//! A sector is what INT 13h counts in: 512 bytes on a disk, a block of 2048 bytes on a CD.

use disk_layout::mbr::{ParameterBlock, frame};
use disk_layout::{COM1, PARTITION_LBA, stage2};

// The variables, as offsets from 7C00h: the first words on the stack. stage2 reads those of
// `frame`; the others replace registers that PUSHAD stored and nobody needs.
/// How the drive that is tried has failed (u16): the letter of the error code is the low byte, the
/// BIOS's last failure status is the high byte. One PUSH sets both. The first drive's word becomes
/// the one to report, [`frame::LETTER`].
pub const FAILURE: i16 = frame::REGISTERS - 2;
/// The status in [`FAILURE`].
pub const STATUS: i16 = FAILURE + 1;
/// Where SP is when PUSHA has followed [`FAILURE`].
pub const PUSHED: i16 = FAILURE - 16;

// What is pushed, in this order: DX twice, letter and status to report, PUSHAD, FAILURE, PUSHA.
const _: () = assert!(frame::BIOS_DRIVE == -2 && frame::DRIVE == frame::BIOS_DRIVE - 2);
const _: () = assert!(frame::LETTER == frame::DRIVE - 2);
const _: () = assert!(frame::REGISTERS == frame::LETTER - 32);
// From the lowest address on, PUSHAD leaves EDI, ESI, EBP, ESP, EBX, EDX, ECX and EAX.
const _: () = assert!(frame::INVALID_OPCODE_VECTOR == frame::REGISTERS + 4 * 4);
const _: () = assert!(frame::TIME_STAMP_HIGH == frame::REGISTERS + 5 * 4);
const _: () = assert!(frame::WAY == frame::REGISTERS + 6 * 4);
const _: () = assert!(frame::TIME_STAMP_LOW == frame::REGISTERS + 7 * 4);

/// Offset part of the interrupt vector of #UD, the invalid-opcode exception (SDM vol. 3, 21.1.4).
pub const VECTOR_INVALID_OPCODE: u16 = 6 * 4;

// DH is the same for all of its ports.
const _: () = assert!(COM1 >> 8 == (COM1 + 7) >> 8);

/// A boot program: its parameters; `start`, which loads stage2 and jumps to it, or prints
/// `error 1A 0C` (error code, BIOS status) and stops; and the panic handler that any program has to
/// have.
///
/// - `parameters`: their type, their offset, and the field that holds the length; the first sector
///   is the next field.
/// - `checked`: the range of the program that sums up to 0.
/// - `sector_size`: bytes of a sector.
/// - `assembly`: lines, and `operands`: those that only the program's own lines use.
///
/// `BP` = 7C00h reaches the variables.
#[rustfmt::skip]
macro_rules! boot_program {
    (
        parameters: $Parameters:ident at $offset:expr, length in $length:ident,
        checked: $checked:expr,
        sector_size: $sector_size:expr,
        assembly: [$($assembly:tt)*],
        operands: [$($operands:tt)*],
    ) => {
        /// Where stage2 is; `disk-builder` fills it in the image.
        #[used]
        #[allow(unsafe_code)] // the linker script has a place for it
        #[unsafe(link_section = ".parameters")]
        static PARAMETERS: $Parameters = zerocopy::transmute!([0_u8; size_of::<$Parameters>()]);

        #[allow(unsafe_code)] // the whole program is assembly
        #[allow(bad_asm_style)] // 16-bit near calls are in AT&T syntax: see `near_call!`
        #[unsafe(naked)]
        #[unsafe(no_mangle)]
        #[unsafe(link_section = ".boot")]
        extern "C" fn start() -> ! {
            asm_lines::naked_asm!(
                ".code16",
                $($assembly)*
                ".code64",
                $($operands)*
                start = sym start,
                stack = const disk_layout::mbr::LOAD_ADDRESS,
                checked = const $checked.start,
                code_end = const $checked.end,
                sector_size = const $sector_size,
                parameters = const $offset + core::mem::offset_of!($Parameters, $length),
                drive = const disk_layout::mbr::frame::DRIVE,
                letter = const disk_layout::mbr::frame::LETTER,
                letter_damaged = const b'D',
                letter_read = const b'A',
                letter_sum = const b'B',
                status = const shared::STATUS,
                pushed = const shared::PUSHED,
                destination = const disk_layout::stage2::LOAD_ADDRESS,
                summed = const disk_layout::stage2::SUMMED,
                entry = const disk_layout::stage2::LOAD_ADDRESS as usize
                    + disk_layout::stage2::ENTRY_OFFSET,
                invalid_opcode = const shared::VECTOR_INVALID_OPCODE,
                com1 = const disk_layout::COM1,
            )
        }

        #[panic_handler]
        fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
            loop {}
        }
    };
}

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

/// `.Lwhole` and others: sets segments, stack, DF and IF, checks that the program is whole, takes a
/// time stamp, and pushes the variables and [`frame`]. In: DL, and CS, which may be 0 or 7C0h.
/// The arguments are lines to put behind the printing: [`message!`], unless it lies elsewhere.
#[rustfmt::skip]
macro_rules! set_up {
    ($($lines:tt)*) => {
        asm_lines::lines!(
            // To segment 0 before any address is used.
            "ljmp 0, offset .Lsegment_0",
            ".Lsegment_0:",

            // Segments and stack may be anything. (The CPU takes no interrupt between MOV SS and
            // the next instruction.)
            "xor ax, ax",
            "mov bp, {stack}",
            "mov ss, ax",
            "mov sp, bp",
            "mov ds, ax",
            "cld",
            "sti",
            "push dx",                      // BIOS_DRIVE
            "push dx",                      // DRIVE
            "push {letter_damaged}",        // LETTER, and status 0

            // Is everything behind the printing whole? `disk-builder` adjusts its words to sum to
            // 0. The printing is left out: most boots work even if a bit of it is wrong.
            "xchg bx, ax",
            "mov si, {stack} + {checked}",
            "mov cx, ({code_end} - {checked}) / 2",
            ".Lsum:",
            "lodsw",
            "add bx, ax",
            "loop .Lsum",
            "jz .Lwhole",

            // The program is damaged: all it can do is report that.
            print_and_stop!(),
            $($lines)*

            // The checked range begins here.
            ".skip {checked} - (. - {start})",
            ".Lwhole:",
            take_time_stamp!(),
            "lea sp, [bp + {letter}]",
            "pushad",                       // REGISTERS, and room for variables
        )
    };
}

/// `.Lprint`: the end of a boot that fails. Prints `error 1A 0C` (error code, BIOS status) and
/// stops.
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

            // AH as two hexadecimal digits: one by the call of `.Lput_digits`, the other by falling
            // into it.
            ".Lput_byte:",
            "mov al, ah",
            "aam 16",                       // AH, AL: the digits
            near_call!(".Lput_digits"),
            ".Lput_digits:",
            "xchg al, ah",                  // AL: this one, AH: the other one
            "cmp al, 10",
            "sbb al, 0x69",
            "das",                          // 0 … 15 to '0' … 'F'
            // Prints AL on the screen (INT 10h AH=0Eh) and on COM1, for whose readiness it waits a
            // limited time. Preserves everything, whatever the BIOS does to registers, DS and
            // flags.
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
        )
    };
}

/// `.Lmessage`: what every error begins with. Its last character is the step's number.
macro_rules! message {
    () => {
        asm_lines::lines!(".Lmessage: .ascii \"\\r\\nerror 1\"")
    };
}

/// Takes the time stamp of step 1 to EDX:EAX, and the old vector of #UD to EBX.
///
/// On a CPU without RDTSC, #UD continues behind the instruction with three more words on the stack
/// and IF clear until the first BIOS call; stage2 detects such a CPU by CPUID. The vector stays changed until stage2 restores it.
macro_rules! take_time_stamp {
    () => {
        asm_lines::lines!(
            "lea ebx, [.Lstamped]", // a byte less than MOV: 16 bits, zero-extended
            "xchg ebx, [{invalid_opcode}]",
            "rdtsc",
            ".Lstamped:",
        )
    };
}

/// Where stage2 is and goes. Out: DI: sectors left; AX: the next sector; BX: its destination
/// segment.
#[rustfmt::skip]
macro_rules! locate_stage2 {
    () => {
        asm_lines::lines!(
            "les di, [bp + {parameters}]",  // DI: sectors left
            "mov ax, es",                   // AX: next sector
            "mov bx, {destination} >> 4",   // BX: destination segment
        )
    };
}

/// `.Lagain`, where the next try begins, too: limits CX to what is left, and keeps the registers
/// for [`call_and_retry!`]. Out: DX = 0.
#[rustfmt::skip]
macro_rules! begin_call {
    () => {
        asm_lines::lines!(
            "cmp cx, di",
            "jb 2f",
            "mov cx, di",
            "2:",
            "mov si, 3",                    // SI: tries
            ".Lagain:",
            "pusha",
            "cwd",                          // DX = 0: see `ParameterBlock::END_LBA`
        )
    };
}
// A CD has fewer blocks in front of the boot partition than a disk has sectors.
const _: () = assert!(PARTITION_LBA <= ParameterBlock::END_LBA);

/// INT 13h AH=42h, except for the call itself. Each try builds the packet anew, because a BIOS may
/// have changed it. In: CX sectors from AX on go to BX:0; DX = 0.
#[rustfmt::skip]
macro_rules! extended_read {
    () => {
        asm_lines::lines!(
            "push dx",                      // LBA, bits 63:48
            "push dx",                      // bits 47:32
            "push dx",                      // bits 31:16
            "push ax",                      // bits 15:0
            "push bx",                      // buffer: segment
            "push dx",                      // offset
            "push cx",                      // sectors
            "push 16",                      // size of the packet
            "mov si, sp",
            "mov ah, 0x42",
        )
    };
}

/// Makes the call, and jumps to `.Lread` if it succeeds. If not, resets the drive and tries again
/// from `.Lagain`. After the third failure, continues behind this macro with the registers as kept.
#[rustfmt::skip]
macro_rules! call_and_retry {
    () => {
        asm_lines::lines!(
            near_call!(".Ldisk_call"),
            "lea sp, [bp + {pushed}]",      // drops the packet and leaves the flags alone
            "jnc .Lread",
            "mov ah, 0",                    // reset
            near_call!(".Ldisk_call"),
            "popa",
            "dec si",
            "jnz .Lagain",
        )
    };
}

/// `.Lread`: a call succeeded. Continues with what is left, from `.Lnext`. Out: DI = 0.
#[rustfmt::skip]
macro_rules! advance {
    () => {
        asm_lines::lines!(
            ".Lread:",
            "popa",
            "imul dx, cx, {sector_size} >> 4",
            "add bx, dx",
            "add ax, cx",
            "sub di, cx",
            "jnz .Lnext",
        )
    };
}

/// Sums up what was read, as [`stage2::stage1_sum`] does. Jumps to it if it is stage2, else to
/// `.Lfailed`.
///
/// From the last doubleword to the first, because below 8000h, the sign flag says that it is over.
#[rustfmt::skip]
macro_rules! verify_and_jump {
    () => {
        asm_lines::lines!(
            "pop cx",                       // FAILURE, whose status is of no interest any more
            "push {letter_sum}",
            "mov di, {destination} + {summed} - 4",
            "xor ebx, ebx",
            ".Lsum_stage2:",
            "rol ebx, 1",
            "add ebx, [di]",
            "sub di, 4",
            "js .Lsum_stage2",
            "dec ebx",                      // SUM
            "jnz .Lfailed",
            near_jump!("{entry}"),
        )
    };
}
const _: () = assert!(stage2::LOAD_ADDRESS == 0x8000 && stage2::SUMMED <= 0x8000);
const _: () = assert!(stage2::SUM == 1);

/// `.Ldisk_call`: INT 13h for the drive in use. In: AH and the call's other registers except DL.
/// Out: as the BIOS returns them; if CF reports a failure, its status is noted. Some BIOSes leave
/// CF alone or change DL, so both are set for each call. BP, DS = 0, DF = 0 and IF = 1 are restored
/// after it.
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
