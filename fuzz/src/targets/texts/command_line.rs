//! `/boot/kernel.conf`, or an entry.

use std::fmt::Write as _;

use boot_path::entry::entry_file::{KernelEntry, MAX_FILE, MAX_LINE, MAX_MODULES, parse};
use boot_path::entry::protocol::Protocol;
use boot_path::entry::target::Target;
use boot_path::entry::writable::{check_module, check_options};

use crate::targets::show;

const BLANK: [char; 2] = [' ', '\t'];

/// The input: the file.
pub fn run(bytes: &[u8]) {
    let entry = match parse(bytes) {
        Err(error) => {
            show(&error);
            return;
        }
        Ok(entry) => entry,
    };
    assert!(bytes.len() <= MAX_FILE);
    check_target(&entry, bytes);
    let (line, modules) = read(&entry);
    assert_eq!((line.clone(), modules.clone()), reference(bytes));

    // Written again, it says the same.
    let mut text = String::from("# again\r\n");
    if check_options(&line).is_ok() {
        let _ = writeln!(text, "options {line}");
    } else {
        // It may be too long for one line, because each of its parts came from a line. Or it
        // contains a carriage return: reading keeps that, but it cannot be written.
        for part in entry.options() {
            let is_cut = is_cut(part);
            let odd = part.contains('\r') || is_cut;
            assert_eq!(check_options(part).is_err(), odd, "{part:?}");
            if is_cut {
                return;
            }
            let _ = writeln!(text, "\toptions\t{part} ");
        }
    }
    for (path, string) in &modules {
        if path.contains(BLANK) {
            let _ = match path.contains('"') {
                true => writeln!(text, "initrd \t{path}\t"),
                false => writeln!(text, "initrd \t\"{path}\"\t"),
            };
            continue;
        }
        let odd = path.contains('\r') || string.contains('\r');
        assert_eq!(
            check_module(path, string).is_err(),
            odd,
            "{path:?} {string:?}"
        );
        let _ = writeln!(text, "module  {path} {string}");
    }
    if text.matches('\r').count() > 1 {
        return; // before a line feed it would be a part of the line end
    }
    match parse(text.as_bytes()) {
        Ok(again) => assert_eq!(read(&again), (line, modules)),
        // Blanks may have made it too long.
        Err(_) => assert!(text.len() > MAX_FILE || text.lines().any(|l| l.len() > MAX_LINE)),
    }
}

/// Would it lose its ends when it is read again? Quotation marks keep blanks there, which cannot be
/// written without them. Those around all of it are lost themselves.
fn is_cut(part: &str) -> bool {
    unquoted(part) != part || part.starts_with(BLANK) || part.ends_with(BLANK)
}

/// The keys of which the last one counts.
fn check_target(entry: &KernelEntry<'_>, bytes: &[u8]) {
    let last = |wanted: &str| {
        let values = keys_and_values(bytes).filter(|(key, _)| *key == wanted);
        // A key without a value says nothing.
        values
            .map(|(_, value)| unquoted(value))
            .rfind(|value| !value.is_empty())
    };
    let kernel = last("kernel").or_else(|| last("linux"));
    assert_eq!(entry.kernel(), kernel);
    assert_eq!(entry.chain(), last("chain").and_then(Target::parse));
    let protocol = last("protocol").and_then(Protocol::from_name);
    assert_eq!(entry.protocol(), protocol);
    assert!(kernel.is_none() || last("chain").is_none());
    // What was invalid would have been refused.
    assert_eq!(entry.chain().is_some(), last("chain").is_some());
    assert_eq!(protocol.is_some(), last("protocol").is_some());

    assert_eq!(entry.title(), last("title"));
    assert_eq!(entry.version(), last("version"));
    assert_eq!(entry.machine_id(), last("machine-id"));
    assert_eq!(entry.sort_key(), last("sort-key"));
    let is_other = |name: &str| !name.eq_ignore_ascii_case("x64");
    let is_efi = ["efi", "uki", "uki-url"]
        .map(last)
        .iter()
        .any(Option::is_some);
    assert_eq!(
        entry.is_for_others(),
        is_efi || last("architecture").is_some_and(is_other)
    );
}

/// The command line, and path and string of the modules.
type Content = (String, Vec<(String, String)>);

fn read(entry: &KernelEntry<'_>) -> Content {
    let length = entry.command_line_length();
    let mut line = vec![0xEE; length + 1];
    assert_eq!(entry.copy_command_line(&mut line), Some(length));
    assert_eq!(line.pop(), Some(0xEE), "one byte too many");
    if length > 0 {
        assert_eq!(entry.copy_command_line(&mut vec![0; length - 1]), None);
    }
    let modules: Vec<_> = entry
        .modules()
        .map(|module| (module.path.to_owned(), module.string.to_owned()))
        .collect();
    assert!(modules.len() <= MAX_MODULES);
    (String::from_utf8(line).expect("UTF-8"), modules)
}

/// Is a word `$name` or `${name}`?
fn is_variable(word: &str) -> bool {
    let name = word.strip_prefix('$').unwrap_or("");
    let braced = name
        .strip_prefix('{')
        .and_then(|name| name.strip_suffix('}'));
    let name = braced.unwrap_or(name);
    name.chars()
        .all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
        && name.starts_with(|first: char| !first.is_ascii_digit())
}

/// The paths of a value of `initrd`.
fn initrds(mut value: &str) -> Vec<&str> {
    let mut paths = Vec::new();
    loop {
        value = value.trim_start_matches(BLANK);
        if value.is_empty() {
            return paths;
        }
        let quoted = value
            .strip_prefix('"')
            .and_then(|rest| rest.split_once('"'));
        let (path, rest) = quoted.unwrap_or_else(|| {
            let begins =
                |&(at, _): &(usize, char)| value[at + 1..].starts_with(['/', '\\', '"', '$']);
            let blanks = value
                .char_indices()
                .filter(|(_, letter)| BLANK.contains(letter));
            let end = blanks
                .clone()
                .find(begins)
                .map_or(value.len(), |(at, _)| at);
            (value[..end].trim_end_matches(BLANK), &value[end..])
        });
        if !path.is_empty() && !is_variable(path) {
            paths.push(path);
        }
        value = rest;
    }
}

/// The parts of a value of `options` between words that are variables.
fn without_variables(value: &str) -> Vec<&str> {
    let value = unquoted(value);
    let (mut parts, mut start, mut at) = (Vec::new(), 0, 0);
    for word in value.split(BLANK) {
        if is_variable(word) {
            parts.push(value[start..at].trim_end_matches(BLANK));
            start = at + word.len();
        }
        at += word.len() + 1;
    }
    parts.push(&value[start..]);
    let first = parts.first().copied();
    let trimmed = parts.iter().enumerate().map(|(index, part)| match index {
        0 => first.unwrap_or_default(),
        _ => part.trim_start_matches(BLANK),
    });
    trimmed.filter(|part| !part.is_empty()).collect()
}

/// The value of a line, without the quotation marks around it.
fn unquoted(value: &str) -> &str {
    let rest = value.strip_prefix('"');
    let inside = rest.and_then(|rest| rest.strip_suffix('"'));
    inside
        .filter(|inside| !inside.contains('"'))
        .unwrap_or(value)
}

/// Key and value of each line, by `std`. (`str::lines` would keep a carriage return at the end of
/// the text.)
fn keys_and_values(bytes: &[u8]) -> impl DoubleEndedIterator<Item = (&str, &str)> {
    let text = str::from_utf8(bytes).expect("it was accepted");
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
    text.split('\n').map(|line| {
        let line = line.strip_suffix('\r').unwrap_or(line);
        let line = line.trim_start_matches(BLANK);
        let (key, value) = line.split_once(BLANK).unwrap_or((line, ""));
        (key, value.trim_matches(BLANK))
    })
}

/// Command line and modules, by `std`.
fn reference(bytes: &[u8]) -> Content {
    let (mut options, mut modules) = (Vec::new(), Vec::new());
    for (key, value) in keys_and_values(bytes) {
        match key {
            "options" => options.extend(without_variables(value)),
            "module" | "packed-module" => {
                let (path, string) = value.split_once(BLANK).unwrap_or((value, ""));
                modules.push((path.to_owned(), string.trim_start_matches(BLANK).to_owned()));
            }
            "initrd" => {
                let paths = initrds(value).into_iter();
                modules.extend(paths.map(|path| (path.to_owned(), String::new())));
            }
            _ => {}
        }
    }
    (options.join(" "), modules)
}
