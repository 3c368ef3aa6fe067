//! The rules for all pages.

use std::fs;
use std::path::PathBuf;

use boot_path::errors::catalogue::{ALL, Row};
use disk_builder::stages::workspace;
use machine_tests::book::wrap::{WIDTH, wrap};

use crate::{docs, is_blessed};

/// Each search in the pages finds more than this.
const MANY: usize = 12;

/// All pages: the two at the top, that of the crate for kernels, and everything in `docs/`.
fn pages() -> Vec<PathBuf> {
    let mut pages = vec![
        workspace().join("README.md"),
        workspace().join("CHANGELOG.md"),
        workspace().join("handoff/README.md"),
    ];
    let mut directories = vec![docs()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).expect("a directory of pages") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                pages.push(path);
            }
        }
    }
    pages
}

/// In the transcripts of all pages, the line in front of the offer to reboot is one that the loader
/// prints there.
#[test]
fn what_to_try_is_the_same_in_every_page() {
    let mut count = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).expect("a page");
        let mut entry = None;
        let mut before = "";
        for line in text.lines() {
            let starts = |row: &&Row| {
                let start = format!("error {}: {}", row.entry.code, row.entry.sentence);
                line.starts_with(&start)
            };
            entry = ALL.iter().find(starts).map(|row| row.entry).or(entry);
            if line == "press a key to reboot" {
                let advice = entry.map(|entry| entry.advice);
                assert_eq!(Some(before), advice, "{}", page.display());
                count += 1;
            }
            before = line;
        }
    }
    assert!(count > MANY, "the transcripts were not found");
}

/// The targets of the links in a page, without code.
fn links(page: &str) -> Vec<&str> {
    let mut is_code = false;
    let mut links = Vec::new();
    for line in page.lines() {
        is_code ^= line.starts_with("```");
        if !is_code {
            let targets = line.split("](").skip(1);
            links.extend(targets.filter_map(|rest| Some(rest.split_once(')')?.0)));
        }
    }
    links
}

#[test]
fn every_file_that_is_linked_exists() {
    let mut count = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).expect("a page");
        for link in links(&text) {
            let file = link.split('#').next().unwrap_or_default();
            if link.starts_with("https://") || file.is_empty() {
                continue;
            }
            let target = page.with_file_name("").join(file);
            assert!(target.exists(), "{}: {link} does not exist", page.display());
            count += 1;
        }
    }
    assert!(count > MANY, "the links were not found");
}

/// Test files that a page names without a link, such as `disk-builder/tests/cd.rs`.
fn test_files(page: &str) -> impl Iterator<Item = &str> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "/_-.".contains(c);
    page.split(move |c| !is_part(c)).filter(|word| {
        let tests = ["boot-path/tests/", "disk-builder/tests/", "tests/tests/"];
        tests.iter().any(|start| word.starts_with(start)) && word.ends_with(".rs")
    })
}

#[test]
fn every_test_file_that_is_named_exists() {
    let mut count = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).expect("a page");
        for name in test_files(&text) {
            let exists = workspace().join(name).exists();
            assert!(exists, "{}: {name} does not exist", page.display());
            count += 1;
        }
    }
    assert!(count > 5, "the names were not found");
}

/// If a command in the pages writes to a disk or makes a file system on one, its section says what
/// happens to the data there. (Commands that break an image name a file.)
#[test]
fn commands_that_erase_say_so() {
    let mut count = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).expect("a page");
        for section in text.split("\n## ") {
            let erases = [
                "of=/dev/",
                "> /dev/sd",
                "mkfs.",
                "sgdisk",
                "sfdisk",
                "wipefs",
            ];
            if erases.iter().any(|command| section.contains(command)) {
                count += 1;
                let says = ["overwrites the", "erases"];
                assert!(
                    says.iter().any(|word| section.contains(word)),
                    "{}: {section}",
                    page.display()
                );
            }
        }
    }
    assert!(count > 0, "the commands were not found");
}

/// The prose of all pages has one width, which `BLESS=1` gives it.
#[test]
fn prose_is_wrapped() {
    let mut wrong = Vec::new();
    let findings = workspace().join("findings/README.md");
    for path in pages().into_iter().chain([findings]) {
        let page = fs::read_to_string(&path).expect("a page");
        let page = page.replace("\r\n", "\n");
        let wrapped = wrap(&page);
        if page == wrapped {
            continue;
        }
        if is_blessed() {
            fs::write(&path, wrapped).expect("a page");
            continue;
        }
        let same = page.lines().zip(wrapped.lines());
        let line = same.take_while(|(old, new)| old == new).count() + 1;
        wrong.push(format!("{}:{line}", path.display()));
    }
    assert!(
        wrong.is_empty(),
        "prose is wrapped at column {WIDTH}, but not here; wrap it:\n    \
         BLESS=1 cargo test -p machine-tests --test docs\n{}",
        wrong.join("\n")
    );
}
