//! Text, with as little code as possible.
//!
//! `str` and `core::fmt` can do all of this and much more, but the loader would carry all of their
//! code: several KiB.

use core::fmt;
use core::iter;
use core::slice;

/// Writes `text`, which is ASCII, with the numbers in place of its `#`:
/// `"cluster # leads to 0x#"`.
///
/// A number has at least as many digits as there are `#` in a row. It is hexadecimal if there are
/// several, or one behind `0x` or in front of `h`; else it is decimal. `write!` could do the same,
/// and checks its arguments at compile time; but there are dozens of such texts, and with it each
/// takes twice as much code.
///
/// # Errors
/// Those of `out`.
pub fn facts(out: &mut dyn fmt::Write, text: &str, numbers: &[u64]) -> fmt::Result {
    let mut numbers = numbers.iter();
    let result = fill_in(out, text, &mut numbers);
    debug_assert!(numbers.next().is_none());
    result
}

/// As [`facts`], with the next of several `numbers`.
///
/// # Errors
/// Those of `out`.
pub fn fill_in(
    out: &mut dyn fmt::Write,
    text: &str,
    numbers: &mut slice::Iter<'_, u64>,
) -> fmt::Result {
    let mut before = 0;
    let mut places = 0;
    let mut bytes = text.bytes();
    loop {
        let byte = bytes.next();
        if byte == Some(b'#') {
            places += 1;
            continue;
        }
        if places > 0 {
            let number = numbers.next();
            debug_assert!(number.is_some());
            let (base, ten) = if before == b'x' {
                (16, b'a')
            } else if places > 1 || byte == Some(b'h') {
                (16, b'A')
            } else {
                (10, 0)
            };
            write_digits(out, *number.unwrap_or(&0), places, base, ten)?;
            places = 0;
        }
        let Some(byte) = byte else { return Ok(()) };
        out.write_char(char::from(byte))?;
        before = byte;
    }
}

/// Writes at least `places` digits; `ten` is the digit for ten.
fn write_digits(
    out: &mut dyn fmt::Write,
    number: u64,
    places: u32,
    base: u64,
    ten: u8,
) -> fmt::Result {
    if number >= base || places > 1 {
        write_digits(out, number / base, places.saturating_sub(1), base, ten)?;
    }
    let digit = (number % base) as u8;
    let digit = if digit < 10 {
        b'0' + digit
    } else {
        ten + (digit - 10)
    };
    out.write_char(char::from(digit))
}

/// Whether a character does more than stand in its place: a terminal obeys it (ESC), it moves its
/// neighbours, or it is invisible. These are the controls of ASCII and of ISO 6429 (C0, DEL, C1),
/// line and paragraph separators, characters that change the direction of text, and those without
/// width.
pub fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{61C}'
                | '\u{200B}'..='\u{200F}'
                | '\u{2028}'..='\u{202E}'
                | '\u{2060}'..='\u{206F}'
                | '\u{FEFF}'
                | '\u{FFF9}'..='\u{FFFB}'
                | '\u{E0000}'..='\u{E007F}'
        )
}

/// Writes texts of any origin so that a terminal only shows them: a [harmful](is_harmful) character
/// becomes `\x1B` or `\u{202E}`. A `\` stays a `\`: nobody has to read the text back, and command
/// lines have many.
pub struct Escaping<'a> {
    out: &'a mut dyn fmt::Write,
    keeps_lines: bool,
}

impl<'a> Escaping<'a> {
    /// Makes a single line of everything.
    pub fn line(out: &'a mut dyn fmt::Write) -> Self {
        Self {
            out,
            keeps_lines: false,
        }
    }

    /// Keeps line feeds as ends of lines.
    pub fn lines(out: &'a mut dyn fmt::Write) -> Self {
        Self {
            out,
            keeps_lines: true,
        }
    }
}

impl fmt::Write for Escaping<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|c| self.write_char(c))
    }

    fn write_char(&mut self, c: char) -> fmt::Result {
        // Nearly all are of the first kind.
        if matches!(c, ' '..='~') || !is_harmful(c) || c == '\n' && self.keeps_lines {
            return self.out.write_char(c);
        }
        match u8::try_from(c) {
            Ok(byte) if byte.is_ascii() => escape(self.out, byte),
            _ => {
                self.out.write_str("\\u{")?;
                facts(self.out, "####}", &[u32::from(c).into()])
            }
        }
    }
}

/// Writes a byte as `\x1B`.
fn escape(out: &mut dyn fmt::Write, byte: u8) -> fmt::Result {
    out.write_str("\\x")?;
    facts(out, "##", &[byte.into()])
}

/// The character of code page 437, which text modes use. Any character outside ASCII gets the same
/// replacement. [Harmful](is_harmful) ones never come here.
pub fn on_screen(c: char) -> u8 {
    if c.is_ascii() { c as u8 } else { b'?' }
}

/// Texts, one after the other.
pub struct Texts<'a>(pub &'a [&'a str]);

impl fmt::Display for Texts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|text| f.write_str(text))
    }
}

/// A text from a file, in one line, to be shown on a terminal: as [`Escaping`] writes it. Bytes
/// that are not UTF-8 become `\xFF`.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a>(&'a [u8]);

impl<'a> Shown<'a> {
    /// Shows any bytes, or a text.
    pub fn new(text: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        Self(text.as_ref())
    }
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            fmt::Write::write_str(&mut Escaping::line(f), chunk.valid())?;
            for &byte in chunk.invalid() {
                escape(f, byte)?;
            }
        }
        Ok(())
    }
}

/// Copies as many bytes as there is room for; returns their number.
pub fn copy(from: &[u8], to: &mut [u8]) -> usize {
    let length = from.len().min(to.len());
    to[..length].copy_from_slice(&from[..length]);
    length
}

/// The rows of a table, each of `size` bytes; an incomplete one at the end is left out.
///
/// `chunks_exact` panics if the size is 0, and the loader would carry the text and the code of
/// that.
pub fn rows(table: &[u8], size: usize) -> impl Iterator<Item = &[u8]> {
    let mut rest = if size == 0 { &[] } else { table };
    iter::from_fn(move || {
        let (row, behind) = rest.split_at_checked(size)?;
        rest = behind;
        (!row.is_empty()).then_some(row)
    })
}

/// Where a byte is for the first time. Eight bytes are looked at together: texts of entries have some
/// thousand.
pub fn position(bytes: &[u8], wanted: u8) -> Option<usize> {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGHEST: u64 = ONES << 7;

    let all_wanted = ONES * u64::from(wanted);
    let (words, _) = bytes.as_chunks();
    let is_without = |word: &&[u8; 8]| {
        let word = u64::from_le_bytes(**word) ^ all_wanted;
        // The lowest byte that is zero borrows from its own highest bit.
        word.wrapping_sub(ONES) & !word & HIGHEST == 0
    };
    let skipped = 8 * words.iter().take_while(is_without).count();
    let rest = bytes.get(skipped..)?;
    Some(skipped + rest.iter().position(|&byte| byte == wanted)?)
}

/// Where the first of many things is that is wanted. Eight are looked at in a step that is written
/// out: a loop over each would double the instructions.
#[inline(always)] // for each question
pub fn position_of<T>(things: &[T], is_wanted: impl Fn(&T) -> bool) -> Option<usize> {
    let (rounds, _) = things.as_chunks();
    let has_none = |[a, b, c, d, e, f, g, h]: &&[T; 8]| {
        !(is_wanted(a)
            || is_wanted(b)
            || is_wanted(c)
            || is_wanted(d)
            || is_wanted(e)
            || is_wanted(f)
            || is_wanted(g)
            || is_wanted(h))
    };
    let without = 8 * rounds.iter().take_while(has_none).count();
    let rest = things.get(without..)?;
    Some(without + rest.iter().position(&is_wanted)?)
}

/// Splits in front of the first ASCII character that `is_end` accepts, or at the end.
pub fn split_before(text: &str, is_end: fn(u8) -> bool) -> (&str, &str) {
    let end = text.bytes().position(is_end);
    text.split_at_checked(end.unwrap_or(text.len()))
        .unwrap_or((text, ""))
}

/// The parts in front of and behind the last `separator`, an ASCII character.
pub fn split_last(text: &str, separator: u8) -> Option<(&str, &str)> {
    let at = text.bytes().rposition(|byte| byte == separator)?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

/// The longest start of the bytes that is UTF-8, and whether that is all of them.
pub fn utf8(bytes: &[u8]) -> (&str, bool) {
    match str::from_utf8(bytes) {
        Ok(text) => (text, true),
        Err(error) => {
            let valid = bytes.get(..error.valid_up_to()).unwrap_or_default();
            (str::from_utf8(valid).unwrap_or(""), false)
        }
    }
}

/// A number of any length; one that is too large becomes the largest.
pub fn decimal(text: &str) -> Option<u32> {
    let mut digits = text.bytes();
    (!text.is_empty()).then_some(())?;
    digits.try_fold(0u32, |number, digit| {
        let digit = u32::from(digit.wrapping_sub(b'0'));
        let more = number.saturating_mul(10).saturating_add(digit);
        (digit < 10).then_some(more)
    })
}
