//! The manual: two of its pages are made from the program, and all pages agree with what the loader
//! says.
//!
//! After a change of the catalogue, of a recipe or of the layout of memory,
//! `BLESS=1 cargo test -p machine-tests --test docs` writes the two pages. It also wraps the prose
//! of all others.

mod errors;
mod memory_layout;
mod pages;

use std::path::PathBuf;
use std::{env, fs};

use disk_builder::stages::workspace;
use machine_tests::book::wrap::wrap;

/// The directory of the manual.
fn docs() -> PathBuf {
    workspace().join("docs")
}

/// Whether pages are written, and not only compared.
fn is_blessed() -> bool {
    env::var_os("BLESS").is_some_and(|value| value == "1")
}

/// Compares a generated page with the one in `docs/`; with `BLESS=1`, writes it.
fn check_page(name: &str, text: &str) {
    let path = docs().join(name);
    let text = wrap(text);
    if is_blessed() {
        fs::write(&path, text).expect("docs/ can be written to");
        return;
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    // A checkout on Windows may have other line ends.
    if committed.replace("\r\n", "\n") != text {
        let differs = committed
            .lines()
            .zip(text.lines())
            .position(|(old, new)| old != new)
            .unwrap_or(committed.lines().count().min(text.lines().count()));
        panic!(
            "docs/{name} is not what the source says (line {}); update it:\n    \
             BLESS=1 cargo test -p machine-tests --test docs",
            differs + 1
        );
    }
}
