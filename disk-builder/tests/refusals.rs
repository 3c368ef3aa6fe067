//! Each kind of bad input gets its sentence: it names the user's file and says what to try.
#![cfg(unix)]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use support::{Workshop, kernel, refusal_of_program};

#[track_caller]
fn refused(workshop: &Workshop, arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_disk-builder"));
    let output = command.current_dir(workshop.path(".")).args(arguments);
    refusal_of_program(output.output().unwrap(), arguments)
}

fn workshop() -> Workshop {
    let workshop = Workshop::new();
    workshop.file("k", &kernel(1000));
    workshop
}

const BUILD: [&str; 3] = ["build", "--stages=.", "--output=disk.img"];

/// What is refused, and the sentence.
const SENTENCES: [(&[&str], &str); 6] = [
    (
        &["--kernel=folder"],
        "folder is a directory without a Makefile: give the kernel's file",
    ),
    (
        &["--kernel=k", "--size=1"],
        "an image of 1 MiB is too small: --size 2 is the least that the files fit into",
    ),
    (
        &[
            "--entry=a",
            "--kernel=k",
            "--entry=b",
            "--kernel=k",
            "--default=c",
        ],
        "no entry is named c; there are a, b",
    ),
    (
        &["--entry=a", "--kernel=k", "--entry=A", "--kernel=k"],
        "there are two entries a.conf: each --entry needs a name of its own, not only by upper and \
         lower case",
    ),
    (
        &["--kernel=k", "--module=folder"],
        "folder is a directory, not a file",
    ),
    (
        &["--kernel=none"],
        "cannot open none: No such file or directory (os error 2)",
    ),
];

#[test]
fn what_build_refuses() {
    let workshop = workshop();
    fs::create_dir(workshop.path("folder")).unwrap();
    for (more, expected) in SENTENCES {
        assert_eq!(refused(&workshop, &[&BUILD[..], more].concat()), expected);
    }
}

#[test]
fn a_makefile_that_makes_another_file() {
    if Command::new("make").arg("--version").output().is_err() {
        assert!(std::env::var_os("CI").is_none(), "make is not installed");
        eprintln!("left out: make is not installed");
        return;
    }
    let workshop = workshop();
    fs::create_dir(workshop.path("folder")).unwrap();
    workshop.file("folder/Makefile", b"all:\n\t@true\n");
    let mut command = Command::new(env!("CARGO_BIN_EXE_disk-builder"));
    let command = command.args(BUILD).arg("--kernel=folder");
    let output = command.current_dir(workshop.path(".")).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8(output.stderr).unwrap();
    let expected = "disk-builder: make has made no kernel.elf in folder: its first target has to \
                    make one";
    // make itself may say that it enters a directory.
    assert_eq!(errors.lines().next_back(), Some(expected), "{errors}");
}

#[test]
fn a_module_has_a_file() {
    let workshop = workshop();
    for module in ["--module=", "--module==text", "--packed-module="] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_disk-builder"));
        let arguments = [&BUILD[..], &["--kernel=k", module]].concat();
        let output = command
            .args(arguments)
            .current_dir(workshop.path("."))
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2));
        let errors = String::from_utf8(output.stderr).unwrap();
        let first = errors.lines().next().unwrap();
        assert!(
            first.starts_with("error: ") && first.ends_with(": it has no name of a file"),
            "{errors}"
        );
    }
}

/// A user may not do everything.
#[test]
fn what_is_not_allowed() {
    let workshop = workshop();
    let set = |name: &str, mode| {
        fs::set_permissions(workshop.path(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    workshop.file("secret", &kernel(1000));
    set("secret", 0);
    fs::create_dir(workshop.path("folder")).unwrap();
    set("folder", 0o555);
    if fs::read(workshop.path("secret")).is_ok() {
        eprintln!("left out: root may do everything");
        return;
    }
    let message = refused(&workshop, &[&BUILD[..], &["--kernel=secret"]].concat());
    assert_eq!(
        message,
        "cannot open secret: Permission denied (os error 13)"
    );
    let arguments = ["build", "--stages=.", "--kernel=k", "-o", "folder/disk.img"];
    let expected = "cannot write folder/disk.img: Permission denied (os error 13)";
    assert_eq!(refused(&workshop, &arguments), expected);
}

#[test]
fn what_is_no_image_is_called_by_its_name() {
    let workshop = workshop();
    assert_eq!(
        refused(&workshop, &["inspect", "k"]),
        "k is an ELF file, not a disk image: if it is a kernel, `disk-builder run k` boots it"
    );
    workshop.file("disk.img.gz", b"\x1F\x8B\x08\0");
    assert_eq!(
        refused(&workshop, &["inspect", "disk.img.gz"]),
        "disk.img.gz is compressed, not a disk image: `gunzip` unpacks it"
    );
    workshop.file("empty", b"");
    assert_eq!(
        refused(&workshop, &["inspect", "empty"]),
        "cannot inspect empty: it is too short for a disk image: 0 bytes"
    );
}

/// What `inspect` says of an image in which `old` was replaced by `new`, which is as long.
fn with(workshop: &Workshop, old: &str, new: &str) -> (String, serde_json::Value) {
    let mut image = fs::read(workshop.path("disk.img")).unwrap();
    let place = image.windows(old.len()).position(|it| it == old.as_bytes());
    let place = place.unwrap_or_else(|| panic!("{old}"));
    image[place..place + old.len()].copy_from_slice(new.as_bytes());
    workshop.file("changed.img", &image);
    let inspect = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_disk-builder"));
        let command = command.arg("inspect").args(more).arg("changed.img");
        let output = command.current_dir(workshop.path(".")).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let json = serde_json::from_str(&inspect(&["--json"])).unwrap();
    (inspect(&[]), json)
}

#[test]
fn the_line_of_a_configuration_file_is_shown() {
    const NAMES: &str =
        "bootpath, limine, multiboot2, multiboot1, linux, linux16, linux32, linux64";

    let workshop = workshop();
    let build = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_disk-builder"));
        command.args(BUILD).arg("--no-checksums").args(more);
        let output = command.current_dir(workshop.path(".")).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    build(&["--kernel=k", "--protocol=bootpath", "--cmdline=x"]);
    let (text, json) = with(&workshop, "protocol bootpath\n", "protocol bo\x1Btpath\n");
    let expected = format!(
        "\nerror 9C: /boot/kernel.conf cannot be read: line 1: no such protocol\n     \
         1 | protocol bo\\x1Btpath\n       = protocols are {NAMES}\n"
    );
    assert!(text.ends_with(&expected), "{text}");
    assert_eq!(json["lines"][0]["file"], "/boot/kernel.conf");
    assert_eq!(json["lines"][0]["line"], 1);
    assert_eq!(json["lines"][0]["text"], "protocol bo\x1Btpath");

    build(&[
        "--entry=a",
        "--kernel=k",
        "--entry=b",
        "--kernel=k",
        "--timeout=33",
    ]);
    let (text, _) = with(&workshop, "timeout 33\n", "timeout x3\n");
    let expected = "\nwarning: /loader/loader.conf: line 1: not a timeout\n     1 | timeout x3\n\
                    no problems found\n";
    assert!(text.ends_with(expected), "{text}");
    let (text, json) = with(
        &workshop,
        "kernel /boot/kernels/k\n",
        "kernel                \n",
    );
    let line = "line 1: kernel without a path\n     1 | kernel                \n";
    assert!(
        text.contains(&format!("a.conf is left out: {line}")),
        "{text}"
    );
    assert_eq!(json["lines"].as_array().unwrap().len(), 1);
}

#[test]
fn without_qemu_there_is_the_line_that_installs_it() {
    let workshop = workshop();
    let mut command = Command::new(env!("CARGO_BIN_EXE_disk-builder"));
    command.args(["run", "k"]).current_dir(workshop.path("."));
    let output = command.env("PATH", "").output().unwrap();
    assert_eq!(output.status.code(), Some(14));
    let errors = String::from_utf8(output.stderr).unwrap();
    let start = "disk-builder: qemu-system-x86_64 is not installed: install";
    assert!(errors.starts_with(start), "{errors}");
    // Each system's line has a test of its own.
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    if release.lines().any(|line| line == "ID=debian") {
        let line = ": install it by `sudo apt install qemu-system-x86`\n";
        assert!(errors.ends_with(line), "{errors}");
    }
}
