//! The outcomes next to each other.

use std::fmt::Write as _;

use super::{End, Outcome};

/// The width of a column, and how many of a boot's last lines it shows.
const WIDTH: usize = 46;
const LAST_LINES: usize = 10;

impl End {
    /// As the table says it.
    fn text(&self) -> String {
        match self {
            Self::NotInstalled(what) => format!("not installed: {what}"),
            Self::NoSuchProtocol(what) => format!("no such protocol: {what}"),
            Self::Refused(what) => format!("refused: {what}"),
            Self::Reported(status) => format!("ran, and ended QEMU with status {status}"),
            Self::TripleFault => "triple fault".into(),
            Self::ResetOrOff => "reset the machine, or switched it off".into(),
            Self::Halted => "halted, with interrupts off".into(),
            Self::TimeUp => "still running when its time was up".into(),
        }
    }
}

/// The outcomes in columns.
pub fn side_by_side(outcomes: &[Outcome]) -> String {
    let cells = |text: fn(&Outcome) -> String| outcomes.iter().map(text).collect();
    let rows: [(&str, Vec<String>); 4] = [
        ("", cells(|outcome| outcome.end.text())),
        ("serial line", cells(|outcome| last(outcome.serial.lines()))),
        (
            "screen",
            cells(|outcome| last(outcome.screen.iter().map(String::as_str))),
        ),
        (
            "CPU",
            cells(|outcome| {
                outcome
                    .cpu
                    .as_ref()
                    .map_or_else(String::new, ToString::to_string)
            }),
        ),
    ];
    let mut page = String::new();
    let names: Vec<String> = outcomes
        .iter()
        .map(|outcome| outcome.name.clone())
        .collect();
    put(&mut page, &names);
    for (title, cells) in rows {
        let ruler = match title {
            "" => "-".repeat(WIDTH),
            _ => format!("-- {title} {}", "-".repeat(WIDTH - title.len() - 4)),
        };
        put(&mut page, &vec![ruler; outcomes.len()]);
        put(&mut page, &cells);
    }
    page
}

/// The last lines that are not blank, as they may be sent to a terminal.
fn last<'a>(lines: impl Iterator<Item = &'a str>) -> String {
    let clean = |line: &str| {
        let shown = line
            .trim_end()
            .chars()
            .filter(|letter| !letter.is_control());
        shown.collect::<String>()
    };
    let lines: Vec<String> = lines.map(clean).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
}

/// Puts the cells of a row next to each other. Lines that are too long go on below.
fn put(page: &mut String, cells: &[String]) {
    let wrapped = |cell: &String| -> Vec<String> {
        let pieces = cell.lines().flat_map(|line| {
            let letters: Vec<char> = line.chars().collect();
            let pieces = letters.chunks(WIDTH).map(|piece| piece.iter().collect());
            pieces.collect::<Vec<String>>()
        });
        pieces.collect()
    };
    let columns: Vec<Vec<String>> = cells.iter().map(wrapped).collect();
    let height = columns.iter().map(Vec::len).max().unwrap_or(0);
    for row in 0..height {
        let mut line = String::new();
        for column in &columns {
            let piece = column.get(row).map_or("", String::as_str);
            // Writing to a string cannot fail.
            let _ = write!(line, "{piece:WIDTH$}  ");
        }
        page.push_str(line.trim_end());
        page.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_long_as_the_longest() {
        let long = "x".repeat(WIDTH + 1);
        let mut page = String::new();
        put(&mut page, &[long, "second".into()]);
        let gap = " ".repeat(2);
        assert_eq!(page, format!("{}{gap}second\nx\n", "x".repeat(WIDTH)));
    }

    #[test]
    fn only_the_last_lines_and_no_escapes() {
        let lines: Vec<String> = (0..20).map(|line| format!("line {line}\u{1B}")).collect();
        let text = last(lines.iter().map(String::as_str));
        assert_eq!(text.lines().count(), LAST_LINES);
        assert!(
            text.ends_with("line 19") && text.starts_with("line 10"),
            "{text}"
        );
    }

    #[test]
    fn what_is_not_installed_never_looks_like_a_boot() {
        let end = End::NotInstalled("GRUB".into());
        let page = side_by_side(&[Outcome::without_a_boot("GRUB", end)]);
        assert!(page.contains("\nnot installed: GRUB\n"), "{page}");
    }
}
