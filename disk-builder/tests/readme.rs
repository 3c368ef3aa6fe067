//! README's first kernel in Rust, made of the text itself: built and booted by `cargo run` and
//! `cargo test`, in a folder outside of this workspace.
#![cfg(unix)]

#[path = "support/package.rs"]
mod support;

use std::fs;

use disk_builder::stages::workspace;
use support::Package;

/// The block of code that follows the file's name in backticks at the start of a line.
fn block(readme: &str, file: &str) -> String {
    let name = format!("`{file}`");
    let section = readme
        .split("\n## ")
        .find(|section| section.starts_with("Boot your own kernel in Rust\n"))
        .expect("the section");
    let mut lines = section.lines().skip_while(|line| {
        // The name begins the line, or a sentence in it.
        !(line.starts_with(&name) || line.contains(&format!(". {name}")))
    });
    assert!(lines.next().is_some(), "README names no {file}");
    let code = lines
        .skip_while(|line| !line.starts_with("```"))
        .skip(1)
        .take_while(|line| *line != "```");
    code.map(|line| format!("{line}\n")).collect()
}

/// The package of README, in a directory of its own.
fn package() -> Package {
    let readme = fs::read_to_string(workspace().join("README.md")).unwrap();
    let files = [
        "Cargo.toml",
        ".cargo/config.toml",
        "src/lib.rs",
        "src/main.rs",
        "tests/boots.rs",
    ];
    let handoff = workspace().join("handoff");
    let files = files.map(|file| (file, block(&readme, file)));
    let files = files.map(|(file, text)| {
        (
            file,
            text.replace("../bootpath/handoff", handoff.to_str().unwrap()),
        )
    });
    Package::new(&files)
}

#[test]
fn cargo_run_and_cargo_test_boot_the_first_kernel() {
    let package = package();
    let (serial, errors) = package.ends(&["run", "--", "some", "--words"], 0);
    let lines: Vec<&str> = serial.lines().collect();
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        lines[lines.len() - 2..],
        [
            format!("my kernel, started by Bootpath {version}"),
            "command line: some --words".into()
        ],
        "{serial}{errors}"
    );
    let (serial, _) = package.ends(&["test", "--", "--nocapture", "name"], 0);
    assert!(serial.ends_with("memory map: ok\n"), "{serial}");

    // A bug is found, and cargo passes the status on.
    package.replace("tests/boots.rs", "kind == usable", "kind == usable + 100");
    let (serial, errors) = package.ends(&["test"], 10);
    assert!(serial.contains("panicked at tests/boots.rs:"), "{serial}");
    assert!(
        errors.contains("the kernel reported failure: it wrote 11h"),
        "{errors}"
    );
    assert!(errors.contains("(exit status: 10)"), "{errors}");

    package.replace(
        "src/main.rs",
        "exit(handoff::EXIT_SUCCESS)",
        "panic!(\"a bug\")",
    );
    let (serial, _) = package.ends(&["run"], 10);
    assert!(serial.contains("a bug"), "{serial}");
    package.replace(
        "src/main.rs",
        "panic!(\"a bug\")",
        "unsafe { core::arch::asm!(\"ud2\") }; loop {}",
    );
    let (_, errors) = package.ends(&["run"], 12);
    assert!(errors.contains("error 12A: "), "{errors}");
    package.replace(".cargo/config.toml", "--timeout=60", "--timeout=3");
    package.replace("src/main.rs", "unsafe { core::arch::asm!(\"ud2\") };", "");
    let (_, errors) = package.ends(&["run"], 13);
    assert!(errors.contains("time-out: no end within 3 s"), "{errors}");
}
