//! The report of a failure in 16-bit code.
#![allow(unsafe_code)]

use core::mem::offset_of;

use asm_lines::naked_asm;
use boot_path::errors::message::BEFORE_CODE;
use disk_layout::COM1;
use disk_layout::stage2::Stage2Header;

use crate::machine::header::HEADER;
use crate::machine::variables::placed;

/// Declares the [messages](boot_path::errors::message) for errors of the catalogue, within reach of
/// 16-bit code.
macro_rules! messages {
    ($($name:ident)+) => {
        $crate::machine::variables::placed! {
            $(
                in ".real_mode.rodata"
                static $name: [u8; boot_path::errors::message::length(&boot_path::errors::catalogue::$name, "")] =
                    boot_path::errors::message::message(&boot_path::errors::catalogue::$name, "");
            )+
        }
    };
}
pub(crate) use messages;

placed! {
    /// The last line, after each message.
    in ".real_mode.rodata"
    static OFFER: [u8; 24] = *b"press a key to reboot\r\n\0";
}

/// Prints the [message](boot_path::errors::message) at SI on screen and COM1, leaves the error's
/// record (see [`disk_layout::stage2::error_record`]), waits for a key and reboots.
#[unsafe(naked)]
#[unsafe(link_section = ".real_mode.text")]
pub extern "C" fn fail() -> ! {
    naked_asm!(
        ".code16",
        "push dword ptr [si + {code}]", // the record, until everything is printed
        // COM1: 115,200 baud, 8 data bits, no parity, 1 stop bit.
        "mov dx, {com1} + 3",
        "mov al, 0x80",                 // line control: the divisor is next
        "out dx, al",
        "mov dx, {com1}",
        "mov al, 1",
        "out dx, al",
        "inc dx",
        "mov al, 0",
        "out dx, al",
        "mov dx, {com1} + 3",
        "mov al, 3",
        "out dx, al",

        "cld",
        ".Lnext_character:",
        "lodsb",
        "test al, al",
        "jz .Lend_of_text",
        "push si",
        "push ax",
        "push ds",
        "pushf",
        "mov ah, 0x0E",                 // INT 10h AH=0Eh: teletype
        "mov bx, 7",
        "int 0x10",
        "popf",
        "pop ds",
        "xor cx, cx",
        "mov dx, {com1} + 5",
        ".Lwait_for_line:",
        "in al, dx",                    // line status
        "test al, 0x20",                // bit 5: transmitter holding register empty
        "loopz .Lwait_for_line",
        "pop ax",
        "pop si",
        "mov dx, {com1}",
        "out dx, al",
        "jmp .Lnext_character",

        ".Lend_of_text:",
        "cmp si, offset {offer} + {offer_length}",
        "je .Lwait_for_key",
        "mov si, offset {offer}",
        "jmp .Lnext_character",

        ".Lwait_for_key:",
        "pop dword ptr [{header} + {error}]",
        "push ds",
        "xor ax, ax",                   // INT 16h AH=00h: wait for a key
        "int 0x16",
        "pop ds",
        "mov word ptr [0x472], 0x1234", // warm start: no memory test
        "ljmp 0xFFFF, 0",               // the reset vector
        ".code64",
        code = const BEFORE_CODE.len(),
        header = sym HEADER,
        error = const offset_of!(Stage2Header, error),
        com1 = const COM1,
        offer = sym OFFER,
        offer_length = const OFFER.len(),
    )
}
