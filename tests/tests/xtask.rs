//! examples/xtask, elsewhere: its xtask builds an image that boots, and boots the kernel itself.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use disk_builder::run::{self, Options, Status};
use disk_builder::stages::{target, workspace};

/// Copies a directory without what was built in it.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (from, name) = (entry.as_ref().unwrap().path(), entry.unwrap().file_name());
        if from.is_dir() && name != "target" {
            copy(&from, &to.join(name));
        } else if from.is_file() {
            let to = to.join(name);
            fs::copy(&from, &to).unwrap();
            if to.ends_with("Cargo.toml") {
                let text = fs::read_to_string(&to).unwrap();
                let root = format!("{}/", workspace().display());
                fs::write(&to, text.replace("../../../", &root)).unwrap();
            }
        }
    }
}

/// A copy of the example.
struct Example {
    folder: tempfile::TempDir,
}

impl Example {
    fn new() -> Self {
        let example = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        copy(&workspace().join("examples/xtask"), example.folder.path());
        // Take the versions that are downloaded already.
        fs::copy(workspace().join("Cargo.lock"), example.path("Cargo.lock")).unwrap();
        example
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `cargo xtask`, as cargo would start it.
    fn xtask(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask-example"));
        command
            .args(arguments)
            .env("CARGO_MANIFEST_DIR", self.path("xtask"))
            .env_remove("CARGO_TARGET_DIR")
            .output()
            .unwrap()
    }

    #[track_caller]
    fn succeeds(&self, arguments: &[&str]) -> String {
        let output = self.xtask(arguments);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    #[track_caller]
    fn fails(&self, arguments: &[&str]) -> String {
        let output = self.xtask(arguments);
        assert!(!output.status.success(), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    }
}

fn is_installed(target: &str) -> bool {
    let mut rustc = Command::new("rustc");
    rustc.args(["--print", "target-libdir", "--target", target]);
    let output = rustc.current_dir(workspace()).output().unwrap();
    Path::new(String::from_utf8(output.stdout).unwrap().trim_end()).is_dir()
}

#[test]
fn an_xtask_builds_an_image_and_boots_the_kernel() {
    let target = "x86_64-unknown-none";
    if !is_installed(target) {
        eprintln!("skipped: rustup target add {target}");
        return;
    }
    let example = Example::new();
    let checked = example.succeeds(&["test"]);
    let expected = "greeting: hello, xtask: ok\ncommand line: from Cargo.toml and xtask: ok\n";
    assert_eq!(checked, expected);

    let table = example.succeeds(&["image"]);
    for file in ["/boot/kernel.elf", "greeting.txt"] {
        assert!(table.contains(file), "{table}");
    }
    let image = Options {
        timeout: Some(std::time::Duration::from_secs(120)),
        ..Options::new(example.path("kernel.img"))
    };
    let booted = run::capture(&image).unwrap();
    let serial = String::from_utf8_lossy(&booted.serial);
    assert_eq!(booted.outcome.status(), Status::Success, "{serial}");
    assert!(
        serial.ends_with("greeting: hello, xtask\ncommand line: from Cargo.toml\n"),
        "{serial}"
    );

    // It finds what is wrong.
    fs::write(example.path("kernel/greeting.txt"), "good evening\n").unwrap();
    let why = example.fails(&["test"]);
    assert!(why.contains("no \"greeting: hello, xtask\""), "{why}");
    let main = fs::read_to_string(example.path("kernel/src/main.rs")).unwrap();
    let main = main.replace("    exit(handoff::EXIT_SUCCESS)", "    panic!(\"a bug\")");
    fs::write(example.path("kernel/src/main.rs"), main).unwrap();
    let why = example.fails(&["test"]);
    assert!(why.contains("the kernel reported failure"), "{why}");
    assert!(why.contains("a bug"), "{why}");
    assert!(
        example
            .fails(&[])
            .contains("cargo xtask image | cargo xtask test")
    );
}

/// The xtask's own manifest names packages that are there.
#[test]
fn cargo_understands_the_example() {
    let example = Example::new();
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--offline", "--format-version=1"]);
    // Packages of other platforms may never have been downloaded.
    cargo.args(["--filter-platform", target().unwrap()]);
    let output = cargo.current_dir(example.folder.path()).output().unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    assert!(shown.contains("\"name\":\"disk-builder\""), "{shown}");
    let text = fs::read_to_string(example.path(".cargo/config.toml")).unwrap();
    assert!(
        text.contains("xtask = \"run --quiet --package xtask --\""),
        "{text}"
    );
}
