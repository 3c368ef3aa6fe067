//! The width of pages: prose is wrapped at one column, and everything else stays as it is.

/// The most characters in a line of prose.
pub const WIDTH: usize = 100;

/// A page whose prose is wrapped. Tables, code blocks, headings and comments stay as they are, and
/// so does a line of one word. A code span counts as one word, because it must not be broken.
pub fn wrap(page: &str) -> String {
    let mut lines = Vec::new();
    let mut open: Option<Paragraph> = None;
    let mut is_code = false;
    for line in page.lines() {
        let text = line.trim_start();
        let indent = line.len() - text.len();
        let is_fence = text.starts_with("```");
        if is_code || is_fence || text.is_empty() || text.starts_with(['|', '#', '<']) {
            lines.extend(open.take().into_iter().flat_map(Paragraph::lines));
            lines.push(line.to_owned());
            is_code ^= is_fence;
            continue;
        }
        let marker = marker(text);
        let (before, behind) = text.split_at(marker);
        let continues = marker == 0 || before == QUOTE;
        match &mut open {
            Some(paragraph) if continues && (marker == 0 || paragraph.next == QUOTE) => {
                paragraph.text += " ";
                paragraph.text += behind;
            }
            _ => {
                lines.extend(open.take().into_iter().flat_map(Paragraph::lines));
                let next = match before {
                    QUOTE => QUOTE.to_owned(),
                    _ => " ".repeat(indent + marker),
                };
                open = Some(Paragraph {
                    first: " ".repeat(indent) + before,
                    next,
                    text: behind.to_owned(),
                });
            }
        }
    }
    lines.extend(open.into_iter().flat_map(Paragraph::lines));
    lines.iter().map(|line| format!("{line}\n")).collect()
}

const QUOTE: &str = "> ";

/// Length of the marker with which an item or a quotation begins; 0: there is none.
fn marker(text: &str) -> usize {
    if text.starts_with(QUOTE) || text.starts_with("- ") || text.starts_with("* ") {
        return 2;
    }
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    match digits > 0 && text[digits..].starts_with(". ") {
        true => digits + 2,
        false => 0,
    }
}

struct Paragraph {
    /// The start of its first line.
    first: String,
    /// The start of all other lines.
    next: String,
    text: String,
}

impl Paragraph {
    fn lines(self) -> Vec<String> {
        let Self { first, next, text } = self;
        let mut lines: Vec<String> = Vec::new();
        for word in words(&text) {
            match lines.last_mut() {
                Some(line) if fits(line, &word) || starts_block(&word) => {
                    *line += " ";
                    *line += &word;
                }
                Some(_) => lines.push(next.clone() + &word),
                None => lines.push(first.clone() + &word),
            }
        }
        lines
    }
}

fn fits(line: &str, word: &str) -> bool {
    line.chars().count() + 1 + word.chars().count() <= WIDTH
}

/// The words of a text. Spaces in a code span do not end a word.
fn words(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut is_code = false;
    for character in text.chars() {
        is_code ^= character == '`';
        match words.last_mut() {
            Some(word) if character != ' ' || is_code => word.push(character),
            _ => words.push(String::new()),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Whether a line that begins with this word would not be prose.
fn starts_block(word: &str) -> bool {
    let digits = word.trim_start_matches(|c: char| c.is_ascii_digit());
    matches!(word, "-" | "*" | "+" | ">")
        || word.starts_with(['#', '|', '<'])
        || digits.len() < word.len() && matches!(digits, "." | ")")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many words of nine letters, of which ten fit in a line.
    fn prose(words: usize) -> String {
        vec!["character"; words].join(" ")
    }

    #[test]
    fn prose_is_wrapped() {
        let (line, rest) = (prose(10), prose(3));
        for (before, after) in [
            (format!("{line} {rest}\n"), format!("{line}\n{rest}\n")),
            (
                format!("# A\n\n{rest}\n{rest}\n"),
                format!("# A\n\n{rest} {rest}\n"),
            ),
            (
                format!("- {rest}\n- {line} {rest}\n\n  {rest}\n"),
                format!("- {rest}\n- {}\n  character {rest}\n\n  {rest}\n", prose(9)),
            ),
            (
                format!("12. {line} {rest}\n"),
                format!("12. {}\n    character {rest}\n", prose(9)),
            ),
            (
                format!("> {line}\n> {rest}\n"),
                format!("> {}\n> character {rest}\n", prose(9)),
            ),
            // No line begins with a word that would begin an item, or with a part of a span.
            (format!("{line} - {rest}\n"), format!("{line} -\n{rest}\n")),
            (
                format!("{} `a b c d e f g h` {rest}\n", prose(9)),
                format!("{}\n`a b c d e f g h` {rest}\n", prose(9)),
            ),
        ] {
            assert_eq!(wrap(&before), after);
            assert_eq!(wrap(&after), after, "it is wrapped already");
        }
    }

    #[test]
    fn all_else_stays_as_it_is() {
        let long = prose(20);
        for page in [
            format!("# {long}\n"),
            format!("```text\n{long}\nshort\nlines\n```\n"),
            format!("| {long} |\n| --- |\n| {long} |\n"),
            format!("<!-- {long} -->\n# A\n"),
            format!("{}\n", "x".repeat(200)),
            format!("`{long}`\n"),
        ] {
            assert_eq!(wrap(&page), page);
        }
    }
}
