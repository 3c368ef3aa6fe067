//! **A first kernel for the Limine protocol**, as users of the crate `limine` begin one: requests,
//! a main function, and nothing else.
//!
//! It prints what it was told on COM1, draws a line if there is a framebuffer, and writes `OKAY`;
//! `exit` in the command line ends QEMU (device isa-debug-exit).
#![no_std]
#![no_main]
// Ports, and an entry that enables SSE.
#![allow(unsafe_code)]

#[path = "../../../../kernel/src/mem.rs"]
mod mem;

use core::arch::{asm, naked_asm};
use core::fmt::{self, Write as _};

use limine::BaseRevision;
use limine::memory_map::EntryType;
use limine::request::{
    BootloaderInfoRequest, ExecutableCmdlineRequest, FramebufferRequest, MemoryMapRequest,
    ModuleRequest, RequestsEndMarker, RequestsStartMarker,
};

#[used]
#[unsafe(link_section = ".requests.start")]
static START_MARKER: RequestsStartMarker = RequestsStartMarker::new();
#[used]
#[unsafe(link_section = ".requests")]
static BASE_REVISION: BaseRevision = BaseRevision::new();
#[used]
#[unsafe(link_section = ".requests")]
static LOADER: BootloaderInfoRequest = BootloaderInfoRequest::new();
#[used]
#[unsafe(link_section = ".requests")]
static COMMAND_LINE: ExecutableCmdlineRequest = ExecutableCmdlineRequest::new();
#[used]
#[unsafe(link_section = ".requests")]
static MEMORY_MAP: MemoryMapRequest = MemoryMapRequest::new();
#[used]
#[unsafe(link_section = ".requests")]
static MODULES: ModuleRequest = ModuleRequest::new();
#[used]
#[unsafe(link_section = ".requests")]
static FRAMEBUFFER: FramebufferRequest = FramebufferRequest::new();
#[used]
#[unsafe(link_section = ".requests.end")]
static END_MARKER: RequestsEndMarker = RequestsEndMarker::new();

/// The protocol leaves SSE off; a target without SSE would not need this entry.
#[unsafe(naked)]
#[unsafe(no_mangle)]
extern "C" fn start() -> ! {
    naked_asm!(
        "mov rax, cr0",
        "or eax, 1 << 1",
        "mov cr0, rax",
        "mov rax, cr4",
        "or eax, 1 << 9 | 1 << 10",
        "mov cr4, rax",
        "jmp {main}",
        main = sym main,
    )
}

extern "C" fn main() -> ! {
    assert!(BASE_REVISION.is_supported());
    let loader = LOADER
        .get_response()
        .map_or("nobody", |loader| loader.name());
    let _ = writeln!(Serial, "a first Limine kernel, started by {loader}");
    let command_line = COMMAND_LINE.get_response();
    let command_line = command_line.and_then(|it| it.cmdline().to_str().ok());
    let command_line = command_line.unwrap_or("");
    let _ = writeln!(Serial, "command line: {command_line}");
    let entries = MEMORY_MAP
        .get_response()
        .map_or(&[][..], |map| map.entries());
    let usable = entries
        .iter()
        .filter(|entry| entry.entry_type == EntryType::USABLE);
    let bytes: u64 = usable.map(|entry| entry.length).sum();
    let _ = writeln!(Serial, "{} MiB usable", bytes >> 20);
    assert!(bytes > 0);
    let modules = MODULES.get_response();
    for module in modules.map_or(&[][..], |modules| modules.modules()) {
        let path = module.path().to_str().unwrap_or("?");
        let _ = writeln!(Serial, "module {path}: {} bytes", module.size());
    }
    if let Some(screen) = FRAMEBUFFER
        .get_response()
        .and_then(|it| it.framebuffers().next())
    {
        for i in 0..100 {
            let offset = (i * screen.pitch() + i * 4) as usize;
            // SAFETY: within the first 100 lines of a framebuffer, whose pixels have 32 bits.
            unsafe {
                screen
                    .addr()
                    .add(offset)
                    .cast::<u32>()
                    .write_volatile(u32::MAX)
            };
        }
        let _ = writeln!(Serial, "a line on the screen");
    }
    let _ = writeln!(Serial, "OKAY");
    end(command_line.contains("exit").then_some(0x10))
}

/// Ends QEMU, or stops the CPU.
fn end(code: Option<u8>) -> ! {
    if let Some(code) = code {
        out(0xF4, code);
    }
    loop {
        // SAFETY: interrupts are off, and nobody needs this CPU any more.
        unsafe { asm!("hlt", options(nomem, nostack)) }
    }
}

struct Serial;

impl fmt::Write for Serial {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        const COM1: u16 = 0x3F8;
        for byte in text.bytes() {
            let mut polls = 0;
            while polls < 100_000 && input(COM1 + 5) & 0x20 == 0 {
                polls += 1;
            }
            out(COM1, byte);
        }
        Ok(())
    }
}

fn out(port: u16, byte: u8) {
    // SAFETY: ports of the serial line, and of a device that ends the emulator.
    unsafe { asm!("out dx, al", in("dx") port, in("al") byte, options(nomem, nostack)) }
}

fn input(port: u16) -> u8 {
    let byte: u8;
    // SAFETY: a port of the serial line, which has no side effects.
    unsafe { asm!("in al, dx", in("dx") port, out("al") byte, options(nomem, nostack)) }
    byte
}

/// C's `strlen`, for `CStr`: `core` for the host leaves it to a C library.
#[unsafe(no_mangle)]
unsafe extern "C" fn strlen(text: *const u8) -> usize {
    let mut length = 0;
    // SAFETY: a zero byte ends it.
    while unsafe { text.add(length).read_volatile() } != 0 {
        length += 1;
    }
    length
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo) -> ! {
    let _ = writeln!(Serial, "FAIL: {info}");
    end(Some(0x11))
}
