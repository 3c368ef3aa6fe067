//! Which names a kernel may have: those that `cargo new` takes, and that can be built.

use anyhow::{Result, bail};

use super::Template;

/// The keywords that cargo refuses, and `gen`, which is one since the edition 2024.
const KEYWORDS: &[&str] = &[
    "Self", "abstract", "as", "async", "await", "become", "box", "break", "const", "continue",
    "crate", "do", "dyn", "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if",
    "impl", "in", "let", "loop", "macro", "match", "mod", "move", "mut", "override", "priv", "pub",
    "ref", "return", "self", "static", "struct", "super", "trait", "true", "try", "type", "typeof",
    "unsafe", "unsized", "use", "virtual", "where", "while", "yield",
];

/// cargo's own folders, beside the program.
const FOLDERS: &[&str] = &["build", "deps", "examples", "incremental"];

/// cargo only warns of them, but a kernel of such a name does not build, or not everywhere.
const LIBRARIES: &[&str] = &["alloc", "core", "proc-macro", "proc_macro", "std"];

/// Names of files that Windows does not have.
const DEVICES: &[&str] = &[
    "aux", "com1", "com2", "com3", "com4", "com5", "com6", "com7", "com8", "com9", "con", "lpt1",
    "lpt2", "lpt3", "lpt4", "lpt5", "lpt6", "lpt7", "lpt8", "lpt9", "nul", "prn",
];

/// Refuses a name that will not do.
pub fn check(name: &str, template: Template) -> Result<()> {
    let fault = fault(name).or_else(|| match template {
        Template::C => None, // which is no crate
        Template::Rust | Template::Limine => crate_fault(name, template),
    });
    match fault {
        Some(fault) => {
            bail!("a kernel cannot be called {name:?}: {fault}; --name gives it another name")
        }
        None => Ok(()),
    }
}

fn fault(name: &str) -> Option<String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.is_empty() {
        Some("that is no name".into())
    } else if let Some(other) = name.chars().find(|&c| !allowed(c)) {
        let all = "ASCII letters, digits, `-` and `_`";
        Some(format!(
            "it may consist of {all}, and {other:?} is none of these"
        ))
    } else if name.starts_with(|c: char| c.is_ascii_digit() || c == '-') {
        Some("it begins with a digit or a hyphen".into())
    } else if !name.contains(|c: char| c.is_ascii_alphanumeric()) {
        Some("there is no letter in it".into())
    } else if cfg!(windows) && DEVICES.contains(&name.to_ascii_lowercase().as_str()) {
        Some("Windows has no files of this name".into())
    } else {
        None
    }
}

fn crate_fault(name: &str, template: Template) -> Option<String> {
    let fault = if KEYWORDS.contains(&name) {
        "it is a keyword of Rust"
    } else if name == "test" {
        "it is the name of Rust's library for tests"
    } else if FOLDERS.contains(&name) {
        "cargo makes a folder of this name beside the program"
    } else if LIBRARIES.contains(&name) {
        "it is the name of a library of Rust's"
    } else if template.crates().any(|used| same_crate(used, name)) {
        "it is the name of a crate that the kernel uses"
    } else {
        return None;
    };
    Some(fault.into())
}

/// cargo takes `-` and `_` for one in the name of a crate.
fn same_crate(one: &str, other: &str) -> bool {
    one.replace('-', "_") == other.replace('-', "_")
}
