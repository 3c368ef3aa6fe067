//! A kernel's package outside of this workspace, for a cargo of its own.

#![allow(dead_code, reason = "each test program uses some of it")]

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use disk_builder::stages::workspace;
use tempfile::TempDir;

/// The target that the packages name.
pub const TARGET: &str = "x86_64-unknown-none";

/// A package in a directory of its own.
pub struct Package {
    directory: TempDir,
    /// The target that it is built for.
    pub target: String,
}

impl Package {
    /// A package with these files.
    pub fn new(files: &[(&str, String)]) -> Self {
        let mut package = Self {
            directory: tempfile::tempdir().unwrap(),
            target: TARGET.into(),
        };
        for (file, text) in files {
            package.write(file, text);
        }
        // Take the versions that are downloaded already.
        fs::copy(workspace().join("Cargo.lock"), package.path("Cargo.lock")).unwrap();
        if !is_installed(TARGET) {
            package.use_the_hosts_core();
        }
        package
    }

    pub fn path(&self, file: &str) -> PathBuf {
        self.directory.path().join(file)
    }

    fn write(&self, file: &str, text: &str) {
        let path = self.path(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub fn replace(&self, file: &str, old: &str, new: &str) {
        let text = fs::read_to_string(self.path(file)).unwrap();
        assert!(text.contains(old), "no {old} in {file}:\n{text}");
        self.write(file, &text.replace(old, new));
    }

    /// Without the component for the target, the library `core` of the host has to do. It needs flags
    /// that make a program for the bare machine, and the functions that it expects of a C library.
    fn use_the_hosts_core(&mut self) {
        let host = disk_builder::stages::target().unwrap();
        assert_ne!(host, TARGET, "rustup target add {TARGET}");
        eprintln!("{TARGET} is not installed: the same with the core of {host}");
        self.replace(".cargo/config.toml", TARGET, host);
        self.target = host.to_owned();
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
    pub fn cargo(&self, arguments: &[&str]) -> Output {
        self.command("cargo", arguments).output().unwrap()
    }

    /// A command in the package's directory, with `disk-builder` installed.
    pub fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let tool = Path::new(env!("CARGO_BIN_EXE_disk-builder"));
        let path = std::env::var_os("PATH").unwrap();
        let mut directories = vec![tool.parent().unwrap().to_owned()];
        directories.extend(std::env::split_paths(&path));
        let mut command = Command::new(program);
        // Variables that this workspace's cargo has set are not for the new one.
        for (name, _) in std::env::vars_os().filter(|(name, _)| is_of_this_cargo(name)) {
            command.env_remove(name);
        }
        command
            .args(arguments)
            .current_dir(self.directory.path())
            .env("PATH", std::env::join_paths(directories).unwrap())
            .env("TMPDIR", self.directory.path())
            .stdin(Stdio::null());
        command
    }

    /// Runs cargo and compares its exit status. Returns the serial line's output and standard
    /// error.
    #[track_caller]
    pub fn ends(&self, arguments: &[&str], status: i32) -> (String, String) {
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

pub fn is_installed(target: &str) -> bool {
    let mut rustc = Command::new("rustc");
    rustc.args(["--print", "target-libdir", "--target", target]);
    let output = rustc.current_dir(workspace()).output().unwrap();
    Path::new(String::from_utf8(output.stdout).unwrap().trim_end()).is_dir()
}
