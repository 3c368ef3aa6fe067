//! Errors as texts that the compiler makes, for 16-bit code. A message is `error 2A: `, the
//! sentence, the facts, the advice, and a zero byte.

use crate::errors::catalogue::Entry;

/// The start of a message; the error's code and a colon follow.
pub const BEFORE_CODE: &[u8] = b"\r\nerror ";

/// The pieces of a [`message`].
const fn parts<'a>(entry: &'a Entry, facts: &'a str) -> [&'a [u8]; 8] {
    [
        BEFORE_CODE,
        entry.code.as_bytes(),
        b": ",
        entry.sentence.as_bytes(),
        facts.as_bytes(),
        b"\r\n",
        entry.advice.as_bytes(),
        b"\r\n",
    ]
}

/// Where the facts of a [`message`] begin.
pub const fn facts_offset(entry: &Entry) -> usize {
    BEFORE_CODE.len() + entry.code.len() + b": ".len() + entry.sentence.len()
}

/// Length of a [`message`], with the zero byte.
pub const fn length(entry: &Entry, facts: &str) -> usize {
    let parts = parts(entry, facts);
    let mut length = 1;
    let mut part = 0;
    while part < parts.len() {
        length += parts[part].len();
        part += 1;
    }
    length
}

/// A failure as text, with facts behind the sentence.
///
/// # Panics
/// If `LENGTH` is not its [`length`].
pub const fn message<const LENGTH: usize>(entry: &Entry, facts: &str) -> [u8; LENGTH] {
    let parts = parts(entry, facts);
    let mut text = [0; LENGTH];
    let mut length = 0;
    let mut part = 0;
    while part < parts.len() {
        let mut i = 0;
        while i < parts[part].len() {
            text[length] = parts[part][i];
            length += 1;
            i += 1;
        }
        part += 1;
    }
    assert!(length + 1 == LENGTH);
    text
}
