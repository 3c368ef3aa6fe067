//! The program once its checkout is gone: a copy of it in which the path of the checkout leads
//! nowhere, for a user who has neither cargo nor anything in their home.
#![cfg(all(target_os = "linux", feature = "built-in-loader"))]

mod support;

use std::collections::BTreeMap;
use std::env;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use disk_builder::stages::workspace;
use support::{KERNEL_VMA, Load, elf};
use tempfile::TempDir;

/// The program that cargo has built.
const ORIGINAL: &str = env!("CARGO_BIN_EXE_disk-builder");

/// A kernel that reports success: it writes 10h to port F4h and halts.
const KERNEL: [u8; 14] = [
    0xBA, 0xF4, 0, 0, 0, // mov edx, 0F4h
    0xB8, 0x10, 0, 0, 0,    // mov eax, 10h
    0xEF, // out dx, eax
    0xF4, // hlt
    0xEB, 0xFD, // jmp to the hlt
];

/// A folder with a kernel, a folder for what is made of it, and a read-only one to work in.
struct Home(TempDir);

impl Home {
    fn new() -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        let load = Load(KERNEL_VMA, 5, &KERNEL, 0);
        fs::write(home.path("kernel.elf"), elf(KERNEL_VMA, &[load])).unwrap();
        for folder in ["out", "tmp", "bin", "here"] {
            fs::create_dir(home.path(folder)).unwrap();
        }
        // What the program itself calls.
        for program in ["qemu-system-x86_64", "objdump"] {
            symlink(find(program), home.path("bin").join(program)).unwrap();
        }
        fs::set_permissions(home.path("here"), Permissions::from_mode(0o555)).unwrap();
        home
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs a program there, with nothing in its environment.
    #[track_caller]
    fn runs(&self, program: &Path, arguments: &[&str]) -> Output {
        let output = Command::new(program)
            .args(arguments)
            .current_dir(self.path("here"))
            .env_clear()
            .env("PATH", self.path("bin"))
            .env("HOME", self.path("here"))
            .env("TMPDIR", self.path("tmp"))
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        let serial = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{arguments:?}: {errors}{serial}");
        output
    }

    /// All files that were made, by their paths.
    fn made(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut files = BTreeMap::new();
        let mut folders = vec![self.path("out")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let name = path.strip_prefix(self.0.path()).unwrap().to_owned();
                    files.insert(name, fs::read(path).unwrap());
                }
            }
        }
        files
    }
}

/// A program of this system.
fn find(program: &str) -> PathBuf {
    let path = env::var_os("PATH").unwrap();
    let found = env::split_paths(&path).map(|folder| folder.join(program));
    let found = found.into_iter().find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("{program} is not installed"))
}

/// A copy of the program, to which the checkout that it was built in is gone.
fn without_checkout(folder: &Path) -> PathBuf {
    let checkout = format!("{}/", workspace().to_str().unwrap());
    let gone: String = checkout
        .chars()
        .map(|c| if c == '/' { c } else { '~' })
        .collect();
    assert!(!Path::new(&gone).exists(), "{gone}");
    let mut bytes = fs::read(ORIGINAL).unwrap();
    let mut count = 0;
    for at in 0..bytes.len() - checkout.len() {
        if bytes[at] == b'/' && bytes[at..].starts_with(checkout.as_bytes()) {
            bytes[at..][..gone.len()].copy_from_slice(gone.as_bytes());
            count += 1;
        }
    }
    // It knows where it was built, for those who study the loader.
    assert!(count > 0, "{checkout} is not in {ORIGINAL}");
    let copy = folder.join("disk-builder");
    fs::write(&copy, bytes).unwrap();
    fs::set_permissions(&copy, Permissions::from_mode(0o755)).unwrap();
    copy
}

/// Commands that make files.
const MAKE: &[&[&str]] = &[
    &[
        "build",
        "--kernel=../kernel.elf",
        "--output=../out/disk.img",
    ],
    &[
        "build",
        "--cd",
        "--kernel=../kernel.elf",
        "--output=../out/cd.img",
    ],
    &["multiboot", "--output=../out/bootpath.elf"],
    &["program", "stage2", "--output=../out/stage2"],
    &["header", "--output=../out/bootpath.h"],
    &["new", "../out/in-rust"],
    &["new", "--c", "../out/in-c"],
    &["new", "--limine", "../out/for-limine"],
    #[cfg(feature = "cli-extras")]
    &["man", "--output=../out/man"],
];

#[test]
fn makes_lists_and_boots_the_same_without_its_checkout() {
    let (here, there) = (Home::new(), Home::new());
    let installed = without_checkout(there.0.path());
    for arguments in MAKE {
        here.runs(Path::new(ORIGINAL), arguments);
        there.runs(&installed, arguments);
    }
    let (made, expected) = (there.made(), here.made());
    assert!(made.keys().eq(expected.keys()), "{:?}", made.keys());
    for (name, bytes) in &made {
        assert!(*bytes == expected[name], "{}", name.display());
    }

    let listing = there.runs(&installed, &["listing", "stage1"]);
    let listing = String::from_utf8(listing.stdout).unwrap();
    assert!(listing.contains("; stage1/src/main.rs:"), "{listing}");
    there.runs(&installed, &["inspect", "../out/disk.img"]);
    for (file, options) in [
        ("../out/disk.img", &[][..]),
        ("../out/cd.img", &["--cd"]),
        ("../kernel.elf", &[]),
    ] {
        let run = [&["run", "--timeout=60"], options, &[file]].concat();
        let boot = there.runs(&installed, &run);
        let serial = String::from_utf8_lossy(&boot.stdout).into_owned();
        assert!(serial.contains("\n12 handoff  to "), "{file}: {serial}");
    }
    let left = fs::read_dir(there.path("tmp")).unwrap().count();
    assert_eq!(left, 0, "files in the folder for temporary ones");
}
