//! **The first process** of the Linux kernels that the tests boot: a static program without a C
//! library.
//!
//! Prints when it was entered (ticks of the time-stamp counter) and where it is, in the lines
//! `time`, `cmdline` and `memory`, prints the file `/second` if a second archive brought one, and
//! switches the machine off.
#![no_std]
#![no_main]
// System calls.
#![allow(unsafe_code)]

use core::arch::{asm, naked_asm};

/// System calls: numbers of x86-64 (Linux, arch/x86/entry/syscalls/syscall_64.tbl).
const READ: u64 = 0;
const WRITE: u64 = 1;
const OPEN: u64 = 2;
const SYSINFO: u64 = 99;
const SYSLOG: u64 = 103;
const MOUNT: u64 = 165;
const REBOOT: u64 = 169;
/// syslog(2): keeps further messages of the kernel off the console, where they would come in
/// between.
const CONSOLE_OFF: u64 = 6;
/// reboot(2).
const MAGIC_1: u64 = 0xFEE1_DEAD;
const MAGIC_2: u64 = 0x2812_1969;
const POWER_OFF: u64 = 0x4321_FEDC;

/// The kernel enters here, with the stack of the System V ABI, which this program ignores.
#[unsafe(naked)]
#[unsafe(no_mangle)]
#[unsafe(link_section = ".text.start")]
extern "C" fn start() -> ! {
    naked_asm!(
        "rdtsc",
        "shl rdx, 32",
        "lea rdi, [rax + rdx]",
        "and rsp, -16",
        "call {main}",
        "ud2",
        main = sym main,
    )
}

extern "C" fn main(entered: u64) -> ! {
    call(SYSLOG, [CONSOLE_OFF, 0, 0, 0, 0]);
    print(b"\n**** init of the tests, 64 bits\n**** time ");
    print_number(entered);
    print(b"\n**** cmdline ");
    let name = c"proc".as_ptr() as u64;
    call(MOUNT, [name, c"/proc".as_ptr() as u64, name, 0, 0]);
    print_file(c"/proc/cmdline");
    // struct sysinfo: the fifth quadword is totalram, in bytes here.
    let mut information = [0u64; 16];
    call(SYSINFO, [information.as_mut_ptr() as u64, 0, 0, 0, 0]);
    print(b"**** memory ");
    print_number(information[4] >> 20);
    print(b" MiB\n");
    print_file(c"/second");
    print(b"**** OKAY\n");
    call(REBOOT, [MAGIC_1, MAGIC_2, POWER_OFF, 0, 0]);
    loop {
        core::hint::spin_loop();
    }
}

fn print(text: &[u8]) {
    call(WRITE, [1, text.as_ptr() as u64, text.len() as u64, 0, 0]);
}

fn print_number(number: u64) {
    if number > 9 {
        print_number(number / 10);
    }
    print(&[b'0' + (number % 10) as u8]);
}

fn print_file(path: &core::ffi::CStr) {
    let file = call(OPEN, [path.as_ptr() as u64, 0, 0, 0, 0]);
    if (file as i64) < 0 {
        return;
    }
    // Small enough to be cleared without a C library.
    let mut buffer = [0u8; 64];
    loop {
        let (start, size) = (buffer.as_mut_ptr() as u64, buffer.len() as u64);
        let length = call(READ, [file, start, size, 0, 0]);
        match buffer.get(..length as usize) {
            Some(bytes @ [_, ..]) => print(bytes),
            _ => return,
        }
    }
}

fn call(number: u64, arguments: [u64; 5]) -> u64 {
    let [first, second, third, fourth, fifth] = arguments;
    let result;
    // SAFETY: the program makes only the calls above, with buffers of its own.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number => result,
            in("rdi") first,
            in("rsi") second,
            in("rdx") third,
            in("r10") fourth,
            in("r8") fifth,
            out("rcx") _,
            out("r11") _,
            options(nostack)
        );
    }
    result
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {
        core::hint::spin_loop();
    }
}
