//! Exceptions in words: names and error codes (SDM volume 3, chapter 6).

use core::fmt;

use crate::errors::text::{facts, split_before};

/// Names of the exceptions, by vector (SDM volume 3, table 6-1): one per line.
const NAMES: &str = "\
#DE divide error\n\
#DB debug exception\n\
NMI\n\
#BP breakpoint\n\
#OF overflow\n\
#BR bound range exceeded\n\
#UD invalid opcode\n\
#NM device not available\n\
#DF double fault\n\
coprocessor segment overrun\n\
#TS invalid TSS\n\
#NP segment not present\n\
#SS stack-segment fault\n\
#GP general protection\n\
#PF page fault\n\
vector 15\n\
#MF x87 floating-point error\n\
#AC alignment check\n\
#MC machine check\n\
#XM SIMD floating-point error\n\
#VE virtualization exception\n\
#CP control protection";

/// Number of vectors that are exceptions (SDM volume 3, 6.3.1).
pub const VECTORS: usize = 32;
/// The double fault's vector.
pub const DOUBLE_FAULT: u64 = 8;
/// The page fault's vector.
pub const PAGE_FAULT: u64 = 14;

/// The name of an exception.
fn name(vector: u64) -> &'static str {
    let mut names = NAMES;
    for _ in 0..vector {
        let (_, behind) = split_before(names, |byte| byte == b'\n');
        names = behind.get(1..).unwrap_or("");
    }
    match split_before(names, |byte| byte == b'\n') {
        ("", _) => "reserved vector",
        (name, _) => name,
    }
}

/// Whether the CPU pushes an error code (SDM volume 3, table 6-1; APM volume 2, table 8-1).
pub const fn has_error_code(vector: u64) -> bool {
    matches!(vector, 8 | 10..=14 | 17 | 21 | 29 | 30)
}

/// What the stubs of the fault handlers leave on the stack, from the lowest address on.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Saved {
    /// CR3.
    pub cr3: u64,
    /// CR2.
    pub cr2: u64,
    /// RAX, RBX, RCX, RDX, RSI, RDI, RBP, R8 to R15.
    pub general: [u64; 15],
    /// Return address of the stub's call, which identifies the vector.
    pub stub: u64,
    /// Error code (where the vector has one), RIP, CS, RFLAGS, RSP, SS.
    pub frame: [u64; 6],
}

impl Saved {
    /// The exception with this vector.
    pub fn exception(&self, vector: u64) -> Exception {
        let [error_code, ..] = self.frame;
        Exception {
            vector,
            error_code: if has_error_code(vector) {
                error_code
            } else {
                0
            },
        }
    }

    /// RIP, CS, RFLAGS, RSP, SS of the code that an exception with this vector has interrupted.
    pub fn interrupted(&self, vector: u64) -> [u64; 5] {
        let [first, frame @ ..] = self.frame;
        if has_error_code(vector) {
            return frame;
        }
        let [cs, rflags, rsp, ss, _] = frame;
        [first, cs, rflags, rsp, ss]
    }
}

/// An exception and its error code, if it has one:
/// `#PF page fault (vector 14), error code 2h (write to an unmapped page)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exception {
    /// Its vector, below [`VECTORS`].
    pub vector: u64,
    /// The error code that the CPU pushed.
    pub error_code: u64,
}

impl fmt::Display for Exception {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            vector,
            error_code: code,
        } = *self;
        f.write_str(name(vector))?;
        facts(f, " (vector #)", &[vector])?;
        if !has_error_code(vector) {
            return Ok(());
        }
        facts(f, ", error code #h", &[code])?;
        let choose = |bit: u64, set, clear| if code >> bit & 1 != 0 { set } else { clear };
        match vector {
            // SDM volume 3, 4.7: bit 4 is a fetch, bit 1 a write; bit 0: there is a page.
            PAGE_FAULT => {
                for text in [
                    " (",
                    choose(2, "user ", ""),
                    choose(4, "execution of ", choose(1, "write to ", "read of ")),
                    choose(0, "a protected page", "an unmapped page"),
                    choose(3, ", reserved bit", ""),
                    choose(5, ", protection key", ""),
                    choose(6, ", shadow stack", ""),
                    choose(15, ", SGX", ""),
                    ")",
                ] {
                    f.write_str(text)?;
                }
                Ok(())
            }
            // SDM volume 3, 6.13: a selector, or nothing.
            10..=13 if code != 0 => {
                f.write_str(choose(0, " (external, ", " ("))?;
                f.write_str(choose(1, "IDT", choose(2, "LDT", "GDT")))?;
                facts(f, " entry #)", &[code >> 3 & 0x1FFF])
            }
            _ => Ok(()),
        }
    }
}
