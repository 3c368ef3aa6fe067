//! `/boot/kernel.conf`, or an entry.

use std::fmt::Write as _;

use boot_path::entry::entry_file::{KernelEntry, MAX_FILE, MAX_LINE, MAX_MODULES, parse};
use boot_path::entry::writable::{check_module, check_options};

use crate::targets::show;

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
            let odd = part.contains('\r');
            assert_eq!(check_options(part).is_err(), odd, "{part:?}");
            let _ = writeln!(text, "\toptions\t{part} ");
        }
    }
    for (path, string) in &modules {
        if path.contains([' ', '\t']) {
            let _ = writeln!(text, "initrd \t{path}\t");
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

/// What is booted, and how.
fn check_target(entry: &KernelEntry<'_>, bytes: &[u8]) {
    let text = str::from_utf8(bytes).expect("it was accepted");
    let has = |wanted: &str| {
        let lines = text.strip_prefix('\u{FEFF}').unwrap_or(text).lines();
        let mut keys = lines.map(|line| line.trim_start_matches([' ', '\t']));
        keys.any(|line| line.split([' ', '\t']).next() == Some(wanted))
    };
    assert_eq!(entry.kernel().is_some(), has("kernel") || has("linux"));
    assert_eq!(entry.chain().is_some(), has("chain"));
    assert_eq!(entry.protocol().is_some(), has("protocol"));
    assert!(entry.kernel().is_none() || entry.chain().is_none());
    let _ = entry.is_for_others();
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

/// The same, by `std`.
fn reference(bytes: &[u8]) -> Content {
    let text = str::from_utf8(bytes).expect("it was accepted");
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
    let blank = [' ', '\t'];
    let (mut options, mut modules) = (Vec::new(), Vec::new());
    for line in text.split('\n') {
        let line = line.strip_suffix('\r').unwrap_or(line);
        let line = line.trim_start_matches(blank);
        let (key, value) = line.split_once(blank).unwrap_or((line, ""));
        let value = value.trim_matches(blank);
        match key {
            "options" if !value.is_empty() => options.push(value),
            "module" | "packed-module" => {
                let (path, string) = value.split_once(blank).unwrap_or((value, ""));
                modules.push((path.to_owned(), string.trim_start_matches(blank).to_owned()));
            }
            "initrd" => modules.push((value.to_owned(), String::new())),
            _ => {}
        }
    }
    (options.join(" "), modules)
}
