//! Transcripts: what a BIOS was asked and what it answered, as lines of text.
//!
//! An image built with `--record` writes one to the serial line, and tests play it back to the code
//! that asks. Each call is a line. Lines that do not begin with [`PREFIX`] are comments, so the log
//! of a serial line is a transcript as it is.
//!
//! ```text
//! bios: transcript 2
//! bios: memory 413h [7F02]
//! bios: INT 15h EAX=E820 ECX=0018 EDX=534D4150 EDI=7E00 EFL=0001 [] -> EAX=534D4150 …
//! ```
//!
//! The first line is the version of the format. `memory` is the content of an address: bytes in
//! hexadecimal, without the zeros at their end. A call lists the registers that are not 0 in front
//! of the arrow, and those that changed behind it. If a register pointed to the
//! [buffer](BIOS_BUFFER), the buffer's content before and after the call follows, as far as it
//! matters. Sectors are not recorded. A call without an arrow did not return.
//!
//! `bios: time 5104 ms` is the clock's answer. The code asks the clock when a read has failed.
//! Version 1 has no such lines, because only the calls decided then what was tried next.

use core::fmt;
use core::ops::RangeInclusive;

use arrayvec::ArrayVec;

use crate::bios::firmware::{BUFFER_OFFSET, Registers};
use crate::errors::text::facts;
use crate::memory::layout::BIOS_BUFFER;

/// The first characters of a line of a transcript.
pub const PREFIX: &str = "bios: ";

/// Version of the format, which [`begin`] writes.
pub const VERSION: u32 = 2;

/// The versions that can be read.
pub const VERSIONS: RangeInclusive<u32> = 1..=VERSION;

/// Bytes of the buffer that are recorded: packets and answers are shorter, but some BIOSes write
/// more.
pub const SHOWN: usize = 128;

/// The registers, by their names. (Pointers to texts would take more room than the texts.)
const NAMES: [[u8; 3]; 10] = [
    *b"EAX", *b"EBX", *b"ECX", *b"EDX", *b"ESI", *b"EDI", *b"EBP", *b" DS", *b" ES", *b"EFL",
];

fn values(registers: &Registers) -> [u32; NAMES.len()] {
    let r = registers;
    let (ds, es) = (r.ds.into(), r.es.into());
    [
        r.eax, r.ebx, r.ecx, r.edx, r.esi, r.edi, r.ebp, ds, es, r.eflags,
    ]
}

/// Writes the first line.
///
/// # Errors
/// Those of `out`, as for all of these functions.
pub fn begin(out: &mut dyn fmt::Write) -> fmt::Result {
    out.write_str("bios: transcript 2\n")
}

/// Writes the clock's answer: how many milliseconds had passed.
///
/// # Errors
/// Those of `out`.
pub fn time(out: &mut dyn fmt::Write, milliseconds: u64) -> fmt::Result {
    facts(out, "bios: time # ms\n", &[milliseconds])
}

/// Writes the bytes of memory at an address.
///
/// # Errors
/// Those of `out`.
pub fn memory(out: &mut dyn fmt::Write, address: u64, bytes: &[u8]) -> fmt::Result {
    facts(out, "bios: memory ##h", &[address])?;
    show_bytes(out, bytes)?;
    out.write_char('\n')
}

/// Writes the first half of a line: the call that is about to be made.
///
/// # Errors
/// Those of `out`.
pub fn question(
    out: &mut dyn fmt::Write,
    number: u8,
    registers: &Registers,
    buffer: &[u8],
) -> fmt::Result {
    facts(out, "bios: INT ##h", &[number.into()])?;
    show_changes(out, &[0; NAMES.len()], registers)?;
    show_buffer(out, registers, buffer)
}

/// Writes the second half: what the call has changed.
///
/// # Errors
/// Those of `out`.
pub fn answer(
    out: &mut dyn fmt::Write,
    before: &Registers,
    after: &Registers,
    buffer: &[u8],
) -> fmt::Result {
    out.write_str(" ->")?;
    show_changes(out, &values(before), after)?;
    show_buffer(out, before, buffer)?;
    out.write_char('\n')
}

fn show_changes(
    out: &mut dyn fmt::Write,
    before: &[u32; NAMES.len()],
    after: &Registers,
) -> fmt::Result {
    for (name, (before, after)) in NAMES.iter().zip(before.iter().zip(values(after))) {
        if *before != after {
            out.write_char(' ')?;
            for letter in name {
                out.write_char((*letter).into())?;
            }
            facts(out, "=####", &[after.into()])?;
        }
    }
    Ok(())
}

/// The buffer, if a register of the question points to it.
fn show_buffer(out: &mut dyn fmt::Write, question: &Registers, buffer: &[u8]) -> fmt::Result {
    if question.esi == BUFFER_OFFSET || question.edi == BUFFER_OFFSET {
        show_bytes(out, buffer)?;
    }
    Ok(())
}

fn show_bytes(out: &mut dyn fmt::Write, bytes: &[u8]) -> fmt::Result {
    let length = bytes.iter().rposition(|byte| *byte != 0);
    out.write_str(" [")?;
    for byte in bytes.iter().take(length.map_or(0, |last| last + 1)) {
        facts(out, "##", &[(*byte).into()])?;
    }
    out.write_char(']')
}

/// Bytes of memory, without the zeros at their end.
pub type Bytes = ArrayVec<u8, SHOWN>;

/// A line of a transcript.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(
    clippy::large_enum_variant,
    reason = "there is no heap to put a call on"
)]
pub enum Line {
    /// The first one: the version of the format.
    Begin(u32),
    /// The clock's answer in milliseconds.
    Time(u64),
    /// The bytes of memory at an address.
    Memory(u64, Bytes),
    /// A call.
    Call(Call),
}

/// A BIOS call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The interrupt.
    pub number: u8,
    /// The registers before the call.
    pub before: Registers,
    /// The buffer before the call, if a register pointed to it.
    pub sent: Bytes,
    /// Registers and buffer after the call; `None`: it did not return.
    pub answer: Option<(Registers, Bytes)>,
}

/// A line that begins like one of a transcript but cannot be read as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Garbled;

impl Line {
    /// Reads a line. `None`: it is a comment.
    ///
    /// # Errors
    /// [`Garbled`].
    pub fn parse(line: &str) -> Option<Result<Self, Garbled>> {
        let line = line.trim_end().strip_prefix(PREFIX)?;
        Some(Self::parse_rest(line).ok_or(Garbled))
    }

    fn parse_rest(line: &str) -> Option<Self> {
        let mut words = line.split_ascii_whitespace().peekable();
        match (words.next()?, words.next()?) {
            ("transcript", version) => Some(Self::Begin(version.parse().ok()?)),
            ("time", milliseconds) => {
                let milliseconds = milliseconds.parse().ok()?;
                let is_all = words.next() == Some("ms") && words.next().is_none();
                is_all.then_some(Self::Time(milliseconds))
            }
            ("memory", address) => {
                let address = u64::from_str_radix(address.strip_suffix('h')?, 16).ok()?;
                let bytes = parse_bytes(words.next()?)?;
                words
                    .next()
                    .is_none()
                    .then_some(Self::Memory(address, bytes))
            }
            ("INT", number) => {
                let number = u8::from_str_radix(number.strip_suffix('h')?, 16).ok()?;
                let nothing = Registers {
                    eflags: 0,
                    ..Registers::new(0)
                };
                let (before, sent) = parse_half(&mut words, nothing)?;
                let answer = match words.next() {
                    Some("->") => Some(parse_half(&mut words, before)?),
                    Some(_) => return None,
                    None => None,
                };
                words.next().is_none().then_some(Self::Call(Call {
                    number,
                    before,
                    sent,
                    answer,
                }))
            }
            _ => None,
        }
    }
}

/// Reads registers and, if it is there, the buffer, up to an arrow or the end.
fn parse_half<'a>(
    words: &mut core::iter::Peekable<impl Iterator<Item = &'a str>>,
    before: Registers,
) -> Option<(Registers, Bytes)> {
    let (mut registers, mut bytes) = (before, Bytes::new());
    while let Some(word) = words.next_if(|word| *word != "->") {
        if word.starts_with('[') {
            bytes = parse_bytes(word)?;
            break;
        }
        let (name, value) = word.split_once('=')?;
        let value = u32::from_str_radix(value, 16).ok()?;
        let r = &mut registers;
        match name {
            "EAX" => r.eax = value,
            "EBX" => r.ebx = value,
            "ECX" => r.ecx = value,
            "EDX" => r.edx = value,
            "ESI" => r.esi = value,
            "EDI" => r.edi = value,
            "EBP" => r.ebp = value,
            "DS" => r.ds = value.try_into().ok()?,
            "ES" => r.es = value.try_into().ok()?,
            "EFL" => r.eflags = value,
            _ => return None,
        }
    }
    Some((registers, bytes))
}

fn parse_bytes(word: &str) -> Option<Bytes> {
    let digits = word.strip_prefix('[')?.strip_suffix(']')?.as_bytes();
    let (pairs, []) = digits.as_chunks::<2>() else {
        return None;
    };
    let byte = |pair: &[u8; 2]| {
        let text = core::str::from_utf8(pair).ok()?;
        u8::from_str_radix(text, 16).ok()
    };
    let mut bytes = Bytes::new();
    for pair in pairs {
        bytes.try_push(byte(pair)?).ok()?;
    }
    Some(bytes)
}

const _: () = assert!(SHOWN as u64 <= BIOS_BUFFER.size());
