//! The output that a page promises, and the comparison with what was printed.
//!
//! Each line must be printed as it is, directly behind the one before; runs of blanks are equal,
//! and blank lines do not count. `…` alone on a line stands for any lines, within a line for any
//! text. `≈` in front of a number stands for any number of its kind: decimal (`≈155`), or
//! hexadecimal with lower-case or upper-case letters (`≈0x16d000`, `≈8AB9`, `≈100000h`,
//! `≈00000046`).

use anyhow::{Result, ensure};
use regex_lite::Regex;

/// Any lines, or any text.
const ANY: char = '…';
/// Any number of this kind.
const ABOUT: char = '≈';

/// The lines of a block.
#[derive(Debug)]
pub struct Promise {
    /// Lines that follow one another. Other lines may come between the groups.
    groups: Vec<Vec<Line>>,
}

#[derive(Debug)]
struct Line {
    number: usize,
    text: String,
    form: Regex,
}

/// A promise that was not kept.
#[derive(Debug, PartialEq, Eq)]
pub struct Broken {
    /// The number of the line in the page.
    pub line: usize,
    /// The promised line.
    pub promised: String,
    /// The line that was printed in its place, or the one most like it.
    pub printed: Option<String>,
}

impl Promise {
    /// Reads the lines of a block that begins at line `first` of its page.
    ///
    /// # Errors
    /// When there are none, or the notation is misused.
    pub fn read(first: usize, text: &str) -> Result<Self> {
        let mut groups = vec![Vec::new()];
        for (number, line) in (first..).zip(text.lines()) {
            let line = normal(line);
            if line == ANY.to_string() {
                groups.push(Vec::new());
            } else if let (false, Some(group)) = (line.is_empty(), groups.last_mut()) {
                let form = form(&line)?;
                let text = line;
                group.push(Line { number, text, form });
            }
        }
        groups.retain(|group| !group.is_empty());
        ensure!(!groups.is_empty(), "a promise of nothing");
        Ok(Self { groups })
    }

    /// Looks for the lines in the output, from line `start` on. Returns the line behind them.
    ///
    /// # Errors
    /// The first line that was not printed.
    pub fn find(&self, printed: &[String], start: usize) -> Result<usize, Broken> {
        let mut start = start;
        for group in &self.groups {
            let rest = printed.get(start..).unwrap_or_default();
            let kept = |from: usize| {
                let pairs = group.iter().zip(&rest[from..]);
                pairs
                    .take_while(|(line, text)| line.form.is_match(text))
                    .count()
            };
            match (0..rest.len()).find(|&from| kept(from) == group.len()) {
                Some(from) => start += from + group.len(),
                None => return Err(broken(group, rest, kept)),
            }
        }
        Ok(start)
    }
}

/// The first line that is missing where most of a group was printed.
fn broken(group: &[Line], rest: &[String], kept: impl Fn(usize) -> usize) -> Broken {
    let best = (0..rest.len()).rev().max_by_key(|&from| kept(from));
    let (from, kept) = best.map_or((0, 0), |from| (from, kept(from)));
    let line = &group[kept];
    let printed = if kept > 0 {
        rest.get(from + kept)
    } else {
        let alike = rest
            .iter()
            .rev()
            .max_by_key(|text| likeness(&line.text, text));
        alike.filter(|text| likeness(&line.text, text) > 0)
    };
    Broken {
        line: line.number,
        promised: line.text.clone(),
        printed: printed.cloned(),
    }
}

/// How many words two lines have in common.
fn likeness(one: &str, other: &str) -> usize {
    let words: Vec<&str> = other.split(' ').collect();
    one.split(' ').filter(|word| words.contains(word)).count()
}

/// The output as lines that can be compared, without colours.
pub fn lines(printed: &str) -> Vec<String> {
    let mut text = String::with_capacity(printed.len());
    for (index, part) in printed.split("\x1b[").enumerate() {
        let is_sequence = |c: char| c.is_ascii_digit() || c == ';';
        let rest = part.trim_start_matches(is_sequence);
        text += match (index, rest.strip_prefix(char::is_alphabetic)) {
            (1.., Some(behind)) => behind,
            _ => part,
        };
    }
    let lines = text.split(['\n', '\r']).map(normal);
    lines.filter(|line| !line.is_empty()).collect()
}

/// Without blanks at the ends, and with single blanks in between.
fn normal(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The expression for a line.
fn form(line: &str) -> Result<Regex> {
    let mut form = String::from("^");
    let mut rest = line;
    while let Some(next) = rest.chars().next() {
        rest = &rest[next.len_utf8()..];
        match next {
            ANY => form += ".*",
            ABOUT => {
                let (digits, behind) = number(rest)?;
                form += digits;
                rest = behind;
            }
            _ => form += &regex_lite::escape(next.encode_utf8(&mut [0; 4])),
        }
    }
    Ok(Regex::new(&(form + "$"))?)
}

/// The expression for a number of the kind with which a text begins, and the text behind the
/// number.
fn number(text: &str) -> Result<(&'static str, &str)> {
    let end = |text: &str| {
        let other = text.find(|c: char| !c.is_ascii_hexdigit());
        other.unwrap_or(text.len())
    };
    if let Some(digits) = text.strip_prefix("0x") {
        let end = end(digits);
        ensure!(end > 0, "there is no number behind {ABOUT} in {text:?}");
        return Ok(("0x[0-9a-f]+", &digits[end..]));
    }
    let (digits, behind) = text.split_at(end(text));
    let word = behind.starts_with(|c: char| c.is_alphanumeric() && c != 'h');
    ensure!(
        !digits.is_empty() && !word,
        "there is no number behind {ABOUT} in {text:?}"
    );
    let small = digits.contains(|c: char| c.is_ascii_lowercase());
    let capital = digits.contains(|c: char| c.is_ascii_uppercase());
    ensure!(!(small && capital), "{digits:?}: small and capital letters");
    let zero = digits.len() > 1 && digits.starts_with('0');
    let kind = match (small, capital) {
        (true, _) => "[0-9a-f]+",
        (_, true) => "[0-9A-F]+",
        _ if zero || behind.starts_with('h') => "[0-9A-Fa-f]+",
        _ => "[0-9]+",
    };
    Ok((kind, behind))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(promised: &str, printed: &str) -> Result<usize, Broken> {
        let promise = Promise::read(10, promised).expect("a promise");
        promise.find(&lines(printed), 0)
    }

    #[test]
    fn numbers_are_compared_unless_they_are_marked() {
        for (promised, printed, same) in [
            ("≈326 sectors", "326 sectors", true),
            ("≈326 sectors", "7 sectors", true),
            ("326 sectors", "327 sectors", false),
            ("≈326 sectors", "3A sectors", false),
            ("≈326 sectors", " sectors", false),
            ("≈326 sectors", "326 bytes", false),
            ("at ≈0x16d000", "at 0x1a", true),
            ("at ≈0x16d000", "at 0x1A", false),
            ("at ≈0x16d000", "at 1a", false),
            ("at ≈8AB9", "at 1234", true),
            ("at ≈8AB9", "at 12ab", false),
            ("at ≈8ab9", "at 12ab", true),
            ("at ≈8ab9", "at 12AB", false),
            ("at ≈100000h", "at 1FF000h", true),
            ("at ≈100000h", "at 1FF000", false),
            ("FLAGS ≈00000046", "FLAGS 00000A06", true),
            ("≈46 reads", "A6 reads", false),
            ("≈2.7", "13.7", true),
            ("≈2.7", "13.8", false),
            ("≈1, ≈2", "33, 44", true),
        ] {
            assert_eq!(
                find(promised, printed).is_ok(),
                same,
                "{promised}: {printed}"
            );
        }
    }

    #[test]
    fn what_promises_nothing_is_refused() {
        for text in [
            "", "…", "≈", "≈ 3", "≈many", "≈0x", "≈0xg", "≈12KiB", "≈aB", "≈≈1",
        ] {
            assert!(Promise::read(1, text).is_err(), "{text}");
        }
    }

    #[test]
    fn any_text_and_any_lines() {
        for (promised, printed, end) in [
            ("a … c", "a b c", Some(1)),
            ("a … c", "a b", None),
            ("a…", "abc", Some(1)),
            ("a.c", "abc", None),
            ("a\nb", "x\na\nb\nc", Some(3)),
            ("a\nb", "a\nx\nb", None),
            ("a\n…\nb", "a\nx\nb", Some(3)),
            ("a\n…\nb", "a\nb", Some(2)),
            ("…\na\n…", "x\na\nb", Some(2)),
            ("a\nb", "a\na\nb", Some(3)),
            ("a\n…\nb\nc", "a\nb\nb\nc", Some(4)),
            ("b\n…\na", "a\nb", None),
            (" a   b ", "a b", Some(1)),
            ("a b", "\x1b[1;32ma\x1b[0m b\x1b[K", Some(1)),
            ("a b", "x\r\n  a\t  b\r\n\r\n", Some(2)),
            ("a\n\nb", "a\n\n\nb", Some(2)),
            ("ab", "a b", None),
        ] {
            assert_eq!(
                find(promised, printed).ok(),
                end,
                "{promised:?}: {printed:?}"
            );
        }
    }

    #[test]
    fn promises_follow_one_another() {
        let promise = Promise::read(1, "a").expect("a promise");
        let printed = lines("a\nb\na\n");
        assert_eq!(promise.find(&printed, 1), Ok(3));
        assert!(promise.find(&printed, 3).is_err());
        assert!(promise.find(&printed, 9).is_err());
    }

    #[test]
    fn the_line_that_is_wrong_is_named() {
        let broken = |promised, printed| {
            let Broken {
                line,
                promised,
                printed,
            } = find(promised, printed).unwrap_err();
            (line, promised, printed.unwrap_or_default())
        };
        let named = |line, promised: &str, printed: &str| (line, promised.into(), printed.into());
        assert_eq!(
            broken("a\n…\nsize: 3 bytes", "a\nsize: 4 bytes\nb bytes\nc"),
            named(12, "size: 3 bytes", "size: 4 bytes")
        );
        assert_eq!(
            broken("a\nb 1\nc", "b 1\na\nb 2\nc"),
            named(11, "b 1", "b 2")
        );
        assert_eq!(broken("a\nb", "x\na"), named(11, "b", ""));
        assert_eq!(broken("a", "b\nc"), named(10, "a", ""));
        assert_eq!(broken("a", ""), named(10, "a", ""));
    }
}
