//! What a line must be, word by word, and the comparison of a transcript with a list of such lines.

use std::fmt::Write as _;

/// What one or more lines must be.
///
/// A form is a text with placeholders: `{n}` is a decimal number, `{x}` a hexadecimal one in
/// lower-case letters, `{X}` in upper-case ones, `{address}` one that is not 0, `{word}` letters,
/// `{text}` the rest of the line. `{n:8}` is padded with blanks on the left to at least 8
/// characters, `{x:16}` with zeros.
#[derive(Clone, Debug)]
pub enum Line {
    /// Exactly this text.
    Exact(String),
    /// One line of this form.
    Form(String),
    /// Any number of lines of this form.
    Forms(String),
}

impl Line {
    fn text(&self) -> &str {
        match self {
            Self::Exact(text) | Self::Form(text) | Self::Forms(text) => text,
        }
    }

    fn matches(&self, line: &str) -> bool {
        match self {
            Self::Exact(text) => text == line,
            Self::Form(form) | Self::Forms(form) => fields(form, line).is_some(),
        }
    }
}

/// The texts in the placeholders of a form, if the line has that form.
pub fn fields<'a>(form: &str, line: &'a str) -> Option<Vec<&'a str>> {
    let mut found = Vec::new();
    let (mut form, mut line) = (form, line);
    while let Some((literal, rest)) = form.split_once('{') {
        let (place, rest) = rest.split_once('}')?;
        let (kind, width) = match place.split_once(':') {
            Some((kind, width)) => (kind, width.parse().ok()?),
            None => (place, 0),
        };
        let before = line.strip_prefix(literal)?;
        let padded = if kind == "n" && width > 0 {
            before.trim_start_matches(' ')
        } else {
            before
        };
        let belongs = |c: char| match kind {
            "n" => c.is_ascii_digit(),
            "x" | "address" => c.is_ascii_digit() || ('a'..='f').contains(&c),
            "X" => c.is_ascii_digit() || ('A'..='F').contains(&c),
            "word" => c.is_ascii_alphabetic(),
            "text" => true,
            _ => false,
        };
        let end = padded.find(|c| !belongs(c)).unwrap_or(padded.len());
        let (field, behind) = padded.split_at(end);
        // The padding must be neither too short nor too long.
        let blanks = before.len() - padded.len();
        let good = match kind {
            "x" | "X" => {
                field.len() == width.max(1) || (field.len() > width && !field.starts_with('0'))
            }
            "address" => !field.starts_with('0'),
            _ => blanks == width.saturating_sub(field.len()),
        };
        if field.is_empty() || !good {
            return None;
        }
        found.push(field);
        (form, line) = (rest, behind);
    }
    (form == line).then_some(found)
}

/// Compares all of `lines` with all of `expected`. With `end_only`, `expected` may have more lines
/// in front, as on a screen that has scrolled.
///
/// # Errors
/// The difference: an expected line that is missing has a `-`, an unexpected line has a `+`, and
/// the lines around are shown.
pub fn compare(expected: &[Line], lines: &[&str], end_only: bool) -> Result<(), String> {
    // The fewest changes that lead from `expected[i..]` to `lines[j..]`, computed from the end.
    let (rows, columns) = (expected.len() + 1, lines.len() + 1);
    let mut cost = vec![vec![usize::MAX; columns]; rows];
    for i in (0..rows).rev() {
        for j in (0..columns).rev() {
            cost[i][j] = moves(expected, lines, i, j)
                .iter()
                .map(|&(_, i, j, more)| cost[i][j].saturating_add(more))
                .min()
                .unwrap_or(0);
        }
    }
    let start = if end_only {
        (0..rows).min_by_key(|&i| cost[i][0]).unwrap_or(0)
    } else {
        0
    };
    if cost[start][0] == 0 {
        return Ok(());
    }

    // Follows the way with the fewest changes.
    let mut shown = Vec::new();
    let (mut i, mut j) = (start, 0);
    while i + 1 < rows || j + 1 < columns {
        let step = moves(expected, lines, i, j)
            .into_iter()
            .min_by_key(|&(_, i, j, more)| cost[i][j].saturating_add(more));
        let Some((sign, next_i, next_j, _)) = step else {
            break;
        };
        match sign {
            Sign::Same => shown.push((false, format!("  {}", lines[j].escape_debug()))),
            Sign::Missing => shown.push((true, format!("- {}", expected[i].text().escape_debug()))),
            Sign::Unknown => shown.push((true, format!("+ {}", lines[j].escape_debug()))),
            Sign::Nothing => {}
        }
        (i, j) = (next_i, next_j);
    }
    Err(around_changes(&shown))
}

/// What happens to a line.
#[derive(Clone, Copy)]
enum Sign {
    Same,
    Missing,
    Unknown,
    Nothing,
}

/// All possible changes in front of `expected[i]` and `lines[j]`: the change, where it leads, and
/// its cost.
fn moves(
    expected: &[Line],
    lines: &[&str],
    i: usize,
    j: usize,
) -> Vec<(Sign, usize, usize, usize)> {
    let mut moves = Vec::new();
    if let (Some(line), Some(text)) = (expected.get(i), lines.get(j))
        && line.matches(text)
    {
        let many = matches!(line, Line::Forms(_));
        moves.push((Sign::Same, if many { i } else { i + 1 }, j + 1, 0));
    }
    match expected.get(i) {
        Some(Line::Forms(_)) => moves.push((Sign::Nothing, i + 1, j, 0)),
        Some(_) => moves.push((Sign::Missing, i + 1, j, 1)),
        None => {}
    }
    if j < lines.len() {
        moves.push((Sign::Unknown, i, j + 1, 1));
    }
    moves
}

/// The changed lines, and those around them.
fn around_changes(shown: &[(bool, String)]) -> String {
    const AROUND: usize = 2;

    let mut text = String::new();
    let mut left_out = false;
    for (index, (_, line)) in shown.iter().enumerate() {
        let near = index.saturating_sub(AROUND)..(index + AROUND + 1).min(shown.len());
        if shown[near].iter().any(|(changed, _)| *changed) {
            let gap = if left_out { "  …\n" } else { "" };
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{gap}{line}");
            left_out = false;
        } else {
            left_out = true;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_take_what_they_say_and_nothing_else() {
        for (form, line, expected) in [
            ("a {n} b", "a 12 b", Some(vec!["12"])),
            ("a {n} b", "a 12 b ", None),
            ("a {n} b", "a  12 b", None),
            ("a {n} b", "a b", None),
            ("a {n} b", "a 1x b", None),
            ("{n:4} KiB", "  12 KiB", Some(vec!["12"])),
            ("{n:4} KiB", " 12 KiB", None),
            ("{n:4} KiB", "   12 KiB", None),
            ("{n:4} KiB", "12345 KiB", Some(vec!["12345"])),
            ("0x{x:4}", "0x00ab", Some(vec!["00ab"])),
            ("0x{x:4}", "0xab", None),
            ("0x{x:4}", "0x000ab", None),
            ("0x{x:4}", "0x12345", Some(vec!["12345"])),
            ("0x{x}", "0x0", Some(vec!["0"])),
            ("0x{x}", "0x01", None),
            ("0x{x}", "0xAB", None),
            ("0x{address}, {n}", "0xf5a00, 7", Some(vec!["f5a00", "7"])),
            ("0x{address}", "0x0", None),
            ("  {word}", "  Usable", Some(vec!["Usable"])),
            ("  {word}", "  Usable 2", None),
        ] {
            assert_eq!(fields(form, line), expected, "{form:?}, {line:?}");
        }
    }

    fn expected() -> Vec<Line> {
        vec![
            Line::Exact("one".into()),
            Line::Form("two {n}".into()),
            Line::Forms("some {n}".into()),
            Line::Exact("end".into()),
        ]
    }

    #[test]
    fn equal_transcripts_pass() {
        for lines in [
            &["one", "two 2", "end"][..],
            &["one", "two 2", "some 1", "some 2", "end"],
        ] {
            assert_eq!(compare(&expected(), lines, false), Ok(()));
        }
    }

    #[test]
    fn a_difference_is_shown_where_it_is() {
        let compare = |lines: &[&str]| compare(&expected(), lines, false).unwrap_err();
        assert_eq!(compare(&["one", "two 2"]), "  one\n  two 2\n- end\n");
        assert_eq!(
            compare(&["one", "two x", "some 1", "end", "end"]),
            "  one\n- two {n}\n+ two x\n  some 1\n  end\n+ end\n"
        );
        assert_eq!(
            compare(&["one", "one", "two 2", "some 1", "some 2", "some 3", "end"]),
            "  one\n+ one\n  two 2\n  some 1\n"
        );
    }

    #[test]
    fn of_a_screen_only_the_end_counts() {
        assert_eq!(compare(&expected(), &["some 7", "end"], true), Ok(()));
        assert_eq!(compare(&expected(), &["two 2", "end"], true), Ok(()));
        assert!(compare(&expected(), &["one", "end"], true).is_err());
        assert!(compare(&expected(), &["end", "more"], true).is_err());
    }
}
