//! README's first kernel in Rust, made of the text itself: built and booted by `cargo run` and
//! `cargo test`, in a folder outside of this workspace.
#![cfg(unix)]

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use disk_builder::stages::workspace;
use tempfile::TempDir;

/// The target that README's text names.
const TARGET: &str = "x86_64-unknown-none";

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
struct Package {
    directory: TempDir,
}

impl Package {
    fn new() -> Self {
        let readme = fs::read_to_string(workspace().join("README.md")).unwrap();
        let package = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        for file in [
            "Cargo.toml",
            ".cargo/config.toml",
            "src/lib.rs",
            "src/main.rs",
            "tests/boots.rs",
        ] {
            package.write(file, &block(&readme, file));
        }
        let handoff = workspace().join("handoff");
        package.replace(
            "Cargo.toml",
            "../bootpath/handoff",
            handoff.to_str().unwrap(),
        );
        // Take the versions that are downloaded already.
        fs::copy(workspace().join("Cargo.lock"), package.path("Cargo.lock")).unwrap();
        if !is_installed(TARGET) {
            package.use_the_hosts_core();
        }
        package
    }

    fn path(&self, file: &str) -> PathBuf {
        self.directory.path().join(file)
    }

    fn write(&self, file: &str, text: &str) {
        let path = self.path(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn replace(&self, file: &str, old: &str, new: &str) {
        let text = fs::read_to_string(self.path(file)).unwrap();
        assert!(text.contains(old), "no {old} in {file}:\n{text}");
        self.write(file, &text.replace(old, new));
    }

    /// Without the component for the target, the library `core` of the host has to do. It needs flags
    /// that make a program for the bare machine, and the functions that it expects of a C library.
    fn use_the_hosts_core(&self) {
        let host = disk_builder::stages::target().unwrap();
        assert_ne!(host, TARGET, "rustup target add {TARGET}");
        eprintln!("{TARGET} is not installed: the same with the core of {host}");
        self.replace(".cargo/config.toml", TARGET, host);
        let memory = self.path("memory.o");
        let status = Command::new("rustc")
            .args([
                "--edition=2024",
                "--crate-type=lib",
                "--emit=obj",
                "-O",
                "-Cpanic=abort",
                "-o",
            ])
            .arg(&memory)
            .arg(workspace().join("kernel/src/mem.rs"))
            .status();
        assert!(status.unwrap().success());
        let flags = fs::read_to_string(workspace().join("targets/kernel-pie.toml")).unwrap();
        let (flags, _) = flags.split_once("[profile").unwrap();
        let config = fs::read_to_string(self.path(".cargo/config.toml")).unwrap();
        self.write(
            ".cargo/config.toml",
            &format!(
                "{config}rustflags = [\"-Clink-arg={}\"]\n{flags}",
                memory.display()
            ),
        );
    }

    /// `cargo`, with `disk-builder` installed.
    fn cargo(&self, arguments: &[&str]) -> Output {
        let tool = Path::new(env!("CARGO_BIN_EXE_disk-builder"));
        let path = std::env::var_os("PATH").unwrap();
        let mut directories = vec![tool.parent().unwrap().to_owned()];
        directories.extend(std::env::split_paths(&path));
        let mut command = Command::new("cargo");
        // Variables that this workspace's cargo has set are not for the new one.
        for (name, _) in std::env::vars_os().filter(|(name, _)| is_of_this_cargo(name)) {
            command.env_remove(name);
        }
        command
            .args(arguments)
            .current_dir(self.directory.path())
            .env("PATH", std::env::join_paths(directories).unwrap())
            .env("TMPDIR", self.directory.path())
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// Runs cargo and compares its exit status. Returns the serial line's output and standard
    /// error.
    #[track_caller]
    fn ends(&self, arguments: &[&str], status: i32) -> (String, String) {
        let output = self.cargo(arguments);
        let serial = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(status), "{errors}\n{serial}");
        (serial, errors)
    }
}

fn is_of_this_cargo(name: &OsString) -> bool {
    let name = name.to_string_lossy();
    name.starts_with("CARGO") && name != "CARGO_HOME"
}

fn is_installed(target: &str) -> bool {
    let mut rustc = Command::new("rustc");
    rustc.args(["--print", "target-libdir", "--target", target]);
    let output = rustc.current_dir(workspace()).output().unwrap();
    Path::new(String::from_utf8(output.stdout).unwrap().trim_end()).is_dir()
}

#[test]
fn cargo_run_and_cargo_test_boot_the_first_kernel() {
    let package = Package::new();
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
