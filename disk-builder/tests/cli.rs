//! The command line: what it prints, what it refuses, and with which exit status.

mod support;

use std::path::Path;
use std::process::{Command, Output};

use support::{Workshop, kernel};

fn disk_builder(workshop: &Workshop, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_disk-builder"))
        .current_dir(workshop.path("."))
        .args(arguments)
        .output()
        .unwrap()
}

/// Runs a command that has to succeed, and returns what it prints.
fn said(workshop: &Workshop, arguments: &[&str]) -> String {
    let output = disk_builder(workshop, arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {errors}");
    assert_eq!(errors, "");
    String::from_utf8(output.stdout).unwrap()
}

/// Runs a command that has to be refused, and returns what it says on standard error.
fn refused(workshop: &Workshop, arguments: &[&str]) -> String {
    let output = disk_builder(workshop, arguments);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}");
    String::from_utf8(output.stderr).unwrap()
}

const BUILD: [&str; 7] = [
    "build",
    "--stages",
    ".",
    "--kernel",
    "kernel.elf",
    "--output",
    "disk.img",
];

#[test]
fn build_prints_sizes_and_a_table() {
    let workshop = Workshop::new();
    workshop.file("kernel.elf", &kernel(10_000));
    workshop.file("a=b", b"equals sign");
    let more = [
        "--cmdline=--verbose",
        "--module",
        "a=b",
        "--module",
        "stage1=the text=x",
    ];
    let text = said(&workshop, &[&BUILD[..], &more].concat());
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("stage1: 196/440 bytes"));
    assert_eq!(
        lines.next(),
        Some("stage2: 5248 bytes, 64 sectors (max 107520 bytes)")
    );
    assert!(
        text.contains("         1         64  stage2: protected road (good)"),
        "{text}"
    );
    assert!(
        text.contains("/boot/kernel.conf (82 bytes, checksum good)"),
        "{text}"
    );
    assert!(
        text.contains("/boot/modules/a_b (11 bytes, checksum good)"),
        "{text}"
    );
    assert!(text.contains("/boot/modules/stage1 ("), "{text}");

    let text = said(&workshop, &["inspect", "disk.img"]);
    assert!(text.contains("command line: --verbose\n"), "{text}");
    assert!(
        text.contains("kernel: entry 0xffffffff80000000, stack 64 KiB"),
        "{text}"
    );
    assert!(
        text.contains("0xffffffff80000000 r-x      10000 bytes"),
        "{text}"
    );
    assert!(text.ends_with("no problems found\n"), "{text}");

    let text = said(
        &workshop,
        &[&BUILD[..], &["--road", "direct", "--size", "40"]].concat(),
    );
    assert!(text.contains("direct road (good)"), "{text}");
    assert_eq!(
        workshop.path("disk.img").metadata().unwrap().len(),
        40 << 20
    );

    let text = said(&workshop, &[&BUILD[..], &["--record"]].concat());
    assert!(text.contains("protected road, recorded (good)"), "{text}");
}

#[test]
fn a_cd_has_more_lines() {
    let workshop = Workshop::new();
    workshop.file("kernel.elf", &kernel(10_000));
    let text = said(&workshop, &[&BUILD[..], &["--cd"]].concat());
    for line in [
        "stage1 on a CD: 206/1024 bytes",
        "        64         12  CD: volume descriptors, 36352 blocks of 2048 bytes",
        "        76          4  CD: boot catalogue",
        "        80         12  CD: path tables, root directory",
        "        92          4  CD: boot program (good)",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}: {text}");
    }
    assert!(
        text.contains("        96         64  stage2: protected road"),
        "{text}"
    );
    let text = said(&workshop, &["inspect", "--json", "disk.img"]);
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["cd"]["program"]["lba"], 92);
    assert_eq!(json["cd"]["verified"], true);
    assert_eq!(json["cd"]["file"][0]["lba"], 2048);
}

#[test]
fn inspect_speaks_json_and_fails_on_a_bad_image() {
    let workshop = Workshop::new();
    workshop.file("kernel.elf", &kernel(10_000));
    said(&workshop, &BUILD);
    let json = said(&workshop, &["inspect", "--json", "disk.img"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["stage2"]["lba"], 1);
    assert_eq!(json["stage2"]["sectors"], 64);
    assert_eq!(json["stage2"]["verified"], true);
    assert_eq!(json["partition"]["lba"], 2048);
    assert_eq!(json["volume"]["fat_bits"], 32);
    assert_eq!(json["files"][0]["path"], "/boot/kernel.elf");
    assert_eq!(json["files"][0]["extents"].as_array().unwrap().len(), 1);
    assert_eq!(json["kernel"]["segments"][1]["memory_size"], 10_004);
    assert_eq!(json["problems"].as_array().unwrap().len(), 0);

    let mut image = std::fs::read(workshop.path("disk.img")).unwrap();
    image[600] ^= 1;
    workshop.file("disk.img", &image);
    let output = disk_builder(&workshop, &["inspect", "disk.img"]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("(WRONG)") && text.contains("\nerror 1C: stage2 is damaged"),
        "{text}"
    );
    let output = disk_builder(&workshop, &["inspect", "--json", "disk.img"]);
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_transcript_is_taken_out_of_a_log() {
    let workshop = Workshop::new();
    workshop.file(
        "log",
        b"SeaBIOS\r\nbios: transcript 1\r\n12 handoff\r\nkernel\r\n",
    );
    let text = said(&workshop, &["transcript", "log"]);
    assert_eq!(text, "bios: transcript 1\n12 handoff\n");
    workshop.file("log", b"SeaBIOS\r\n");
    assert_eq!(
        refused(&workshop, &["transcript", "log"]),
        "disk-builder: there is no transcript: the image has to be built with --record\n"
    );
    assert!(refused(&workshop, &["transcript", "no.log"]).contains("cannot open no.log"));
}

#[test]
fn refusals_are_one_clear_line() {
    let workshop = Workshop::new();
    let message = refused(&workshop, &BUILD);
    assert!(
        message.starts_with("disk-builder: cannot open kernel.elf: "),
        "{message}"
    );
    assert_eq!(message.lines().count(), 1);

    workshop.file("kernel.elf", b"not a kernel");
    assert_eq!(
        refused(&workshop, &BUILD),
        "disk-builder: kernel.elf cannot be booted: error 10A: the kernel is not an ELF file\n  \
         Give the linker's ELF output, not a flat binary.\n"
    );
    said(&workshop, &[&BUILD[..], &["--unchecked"]].concat());
    // A name that would clear the screen.
    let message = refused(&workshop, &["inspect", "\x1B[2J.img"]);
    assert!(
        message.starts_with(r"disk-builder: cannot open \x1B[2J.img: "),
        "{message}"
    );
    assert!(refused(&workshop, &["run", "nothing.img"]).contains("cannot open nothing.img"));

    let usage = disk_builder(&workshop, &[&BUILD[..], &["--road", "side"]].concat());
    assert_eq!(usage.status.code(), Some(2));
}

#[test]
fn a_directory_is_a_kernel_when_make_makes_one() {
    if Command::new("make").arg("--version").output().is_err() {
        assert!(std::env::var_os("CI").is_none(), "make is not installed");
        eprintln!("left out: make is not installed");
        return;
    }
    let workshop = Workshop::new();
    std::fs::create_dir(workshop.path("my-kernel")).unwrap();
    workshop.file("ready.elf", &kernel(1000));
    workshop.file("my-kernel/Makefile", b"kernel.elf:\n\tcp ../ready.elf $@\n");
    let arguments = [
        "build",
        "--stages",
        ".",
        "--kernel",
        "my-kernel",
        "-o",
        "disk.img",
    ];
    let output = disk_builder(&workshop, &arguments);
    assert!(output.status.success());
    // What make says does not get between the lines of the table.
    assert!(output.stdout.starts_with(b"stage1: "));

    workshop.file("my-kernel/Makefile", b"kernel.elf:\n\tfalse\n");
    std::fs::remove_file(workshop.path("my-kernel/kernel.elf")).unwrap();
    assert!(refused(&workshop, &arguments).contains("make failed in my-kernel"));
}

/// With a `rustc` whose toolchain is empty.
#[cfg(unix)]
#[test]
fn listing_says_how_to_get_the_disassembler() {
    use std::os::unix::fs::PermissionsExt as _;

    let workshop = Workshop::new();
    let toolchain = workshop.path("toolchain");
    std::fs::create_dir_all(toolchain.join("lib/rustlib")).unwrap();
    let script = format!("#!/bin/sh\necho '{}'\n", toolchain.display());
    let rustc = workshop.file("rustc", script.as_bytes());
    std::fs::set_permissions(&rustc, std::fs::Permissions::from_mode(0o755)).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_disk-builder"))
        .args(["listing", "stage1"])
        .env("PATH", rustc.parent().unwrap_or(Path::new(".")))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "disk-builder: there is no disassembler; get llvm-objdump by `rustup component add llvm-tools`, \
         or objdump with your system's binutils\n"
    );
}

/// The text of a file in the image.
fn content(workshop: &Workshop, path: &str) -> String {
    let output = disk_builder(workshop, &["inspect", "--json", "disk.img"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let files = json["files"].as_array().unwrap();
    let file = files.iter().find(|file| file["path"] == path);
    let file = file.unwrap_or_else(|| panic!("no {path} in {files:?}"));
    let start = file["extents"][0]["lba"].as_u64().unwrap() as usize * 512;
    let length = file["size"].as_u64().unwrap() as usize;
    let image = std::fs::read(workshop.path("disk.img")).unwrap();
    String::from_utf8(image[start..start + length].to_vec()).unwrap()
}

const ENTRIES: [&str; 5] = ["build", "--stages", ".", "--output", "disk.img"];

/// Three entries, and the options that apply to all of them.
const THREE: [&str; 19] = [
    "--timeout=3",
    "--console=serial",
    "--entry=first",
    "--title=The first one",
    "--linux=kernel.elf",
    "--initrd=b",
    "--module=a=text of a",
    "--initrd=a",
    "--cmdline=-v one",
    "--default=third",
    "--entry",
    "second",
    "--cmdline=two",
    "--kernel=kernel.elf",
    "--sort-key=zz",
    "--entry=third",
    "--kernel=other.elf",
    "--protocol=bootpath",
    "--packed-module=b",
];

#[test]
fn entries_take_the_options_behind_them() {
    let workshop = Workshop::new();
    workshop.file("kernel.elf", &kernel(10_000));
    workshop.file("other.elf", &kernel(5_000));
    workshop.file("a", b"module a");
    workshop.file("b", b"module b");
    let text = said(&workshop, &[&ENTRIES[..], &THREE].concat());
    for path in [
        "/loader/loader.conf (",
        "/loader/entries/first.conf (",
        "/boot/kernels/kernel.elf (",
        "/boot/kernels/other.elf (",
        "/boot/modules/a (8 bytes",
        "/boot/modules/b (8 bytes",
    ] {
        assert_eq!(text.matches(path).count(), 1, "{path}: {text}");
    }
    let content = |path| content(&workshop, path);
    assert_eq!(
        content("/loader/loader.conf"),
        "default third.conf\ntimeout 3\nconsole serial\n"
    );
    assert_eq!(
        content("/loader/entries/first.conf"),
        "title The first one\n\
         linux /boot/kernels/kernel.elf\n\
         initrd /boot/modules/b\n\
         module /boot/modules/a text of a\n\
         initrd /boot/modules/a\n\
         options -v one\n"
    );
    assert_eq!(
        content("/loader/entries/second.conf"),
        "sort-key zz\nkernel /boot/kernels/kernel.elf\noptions two\n"
    );
    assert_eq!(
        content("/loader/entries/third.conf"),
        "kernel /boot/kernels/other.elf\nprotocol bootpath\npacked-module /boot/modules/b\n"
    );

    let text = said(&workshop, &["inspect", "disk.img"]);
    let entries = "\
        entry   second.conf: /boot/kernels/kernel.elf: two\n\
        entry * third.conf: /boot/kernels/other.elf by bootpath, /boot/modules/b\n\
        entry   first.conf (The first one): /boot/kernels/kernel.elf, /boot/modules/b, \
        /boot/modules/a, /boot/modules/a: -v one\n";
    assert!(text.contains(entries), "{text}");
    assert!(
        text.contains("0xffffffff80000000 r-x       5000 bytes"),
        "{text}"
    );
    assert!(text.ends_with("no problems found\n"), "{text}");
}

/// Without a default, an entry that comes later may be the newest.
#[test]
fn a_default_is_what_was_asked_for() {
    let workshop = Workshop::new();
    workshop.file("k", &kernel(1000));
    let two = ["--entry=a", "--kernel=k", "--entry=b", "--kernel=k"];
    let said = said(&workshop, &[&ENTRIES[..], &two].concat());
    assert!(!said.contains("/loader/loader.conf"), "{said}");
    let pattern = ["--default", "[b-z]*"];
    disk_builder(&workshop, &[&ENTRIES[..], &two, &pattern].concat());
    assert_eq!(
        content(&workshop, "/loader/loader.conf"),
        "default [b-z]*\n"
    );
}

#[test]
fn one_kernel_has_a_protocol_and_initrds_too() {
    let workshop = Workshop::new();
    workshop.file("k", &kernel(1000));
    let more = [
        "--linux=k",
        "--initrd=k",
        "--protocol=bootpath",
        "--cmdline=x",
    ];
    said(&workshop, &[&ENTRIES[..], &more].concat());
    assert_eq!(
        content(&workshop, "/boot/kernel.conf"),
        "protocol bootpath\noptions x\nmodule /boot/modules/k\n"
    );
}

#[test]
fn a_boot_sector_instead_of_a_kernel() {
    let workshop = Workshop::new();
    workshop.file("k", &kernel(1000));
    let more = [
        "--entry=kernel",
        "--kernel=k",
        "--entry=second-disk",
        "--chain",
        "drive=81h",
        "--title=Another one",
        "--entry=partition",
        "--chain=partition=5  drive=81H",
        "--sort-key=p",
        "--default=second-disk",
    ];
    said(&workshop, &[&ENTRIES[..], &more].concat());
    assert_eq!(
        content(&workshop, "/loader/entries/second-disk.conf"),
        "title Another one\nchain drive=81h\n"
    );
    assert_eq!(
        content(&workshop, "/loader/entries/partition.conf"),
        "sort-key p\nchain drive=81h partition=5\n"
    );
    let text = said(&workshop, &["inspect", "disk.img"]);
    for line in [
        "entry * second-disk.conf (Another one): chain drive=81h\n",
        "entry   partition.conf: chain drive=81h partition=5\n",
        "entry   kernel.conf: /boot/kernels/k\n",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    assert!(text.ends_with("no problems found\n"), "{text}");

    // Without entries, and then without any kernel.
    let text = said(
        &workshop,
        &[&ENTRIES[..], &["--chain=partition=2"]].concat(),
    );
    assert_eq!(
        content(&workshop, "/boot/kernel.conf"),
        "chain partition=2\n"
    );
    assert!(!text.contains("kernel.elf"), "{text}");
    // It may be made later; as long as it is not there, nothing boots.
    let output = disk_builder(&workshop, &["inspect", "disk.img"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    let error = "error 12B: there is no boot sector to go on with: no partition 2 on drive 80h\n";
    assert!(text.ends_with(error), "{text}");
}

#[test]
fn entries_that_are_refused() {
    let workshop = Workshop::new();
    workshop.file("k", &kernel(1000));
    workshop.file("bad", b"not a kernel");
    let name = "is not possible: a name has 1 to 250 letters";
    for (more, expected) in [
        (&["--entry=a b", "--kernel=k"][..], name),
        (&["--entry=", "--kernel=k"], name),
        (&["--entry=.a", "--kernel=k"], name),
        (
            &["--entry=a", "--kernel=k", "--entry=A", "--kernel=k"],
            "there are two entries",
        ),
        (
            &["--entry=a", "--kernel=k", "--default=b"],
            "no entry is named b",
        ),
        (
            &["--entry=a", "--kernel=bad"],
            "entry a is not possible: bad cannot be booted: error 10A: ",
        ),
        (
            &["--entry=a", "--kernel=k", "--title= t"],
            "entry a is not possible: this title is not possible: blanks",
        ),
        (&["--entry=a", "--kernel=none"], "cannot open none"),
        (
            &["--entry=a", "--kernel=k", "--initrd=none"],
            "cannot open none",
        ),
    ] {
        let message = refused(&workshop, &[&ENTRIES[..], more].concat());
        assert!(message.contains(expected), "{more:?}: {message}");
        let lines = 1 + usize::from(message.contains(": error "));
        assert_eq!(message.lines().count(), lines, "{message}");
    }
}

/// Options that do not go together, and what is said of them.
const WRONG: [(&[&str], &str); 14] = [
    (
        &["--kernel=k", "--entry=a"],
        "--kernel or --linux in front of the first --entry",
    ),
    (
        &["--initrd=k", "--entry=a", "--kernel=k"],
        "--module or --initrd in front of",
    ),
    (
        &["--entry=a", "--kernel=k", "--linux=k"],
        "more than one --kernel or --linux",
    ),
    (&["--kernel=k", "--kernel=k"], "more than one --kernel"),
    (&["--kernel=k", "--title=t"], "need an --entry"),
    (&["--kernel=k", "--default=t"], "--entry"),
    (
        &["--kernel=k", "--protocol=x"],
        "[possible values: bootpath, limine, multiboot2, multiboot1, linux, linux16, linux32, linux64]",
    ),
    (&["--chain=disk2"], "takes drive=80h, partition=1 or both"),
    (
        &["--chain=drive=81h", "--entry=a", "--kernel=k"],
        "--chain in front of",
    ),
    (
        &["--chain=drive=81h", "--chain=drive=82h"],
        "more than one --chain",
    ),
    (
        &["--entry=a", "--kernel=k", "--chain=drive=81h"],
        "--kernel or --linux does not go with --chain",
    ),
    (
        &["--entry=a", "--chain=drive=81h", "--cmdline=x"],
        "--cmdline does not go with --chain",
    ),
    (
        &["--chain=drive=81h", "--protocol=linux"],
        "--protocol does not go with --chain",
    ),
    (
        &["--chain=drive=81h", "--initrd=k"],
        "--module or --initrd does not go with --chain",
    ),
];

/// What is wrong with the command line itself.
#[test]
fn options_that_do_not_go_together() {
    let workshop = Workshop::new();
    for (more, expected) in WRONG {
        let output = disk_builder(&workshop, &[&ENTRIES[..], more].concat());
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{more:?}: {message}");
        assert!(message.contains(expected), "{more:?}: {message}");
        // The usage is that of the command in question.
        assert!(
            !message.contains("Usage: disk-builder <COMMAND>"),
            "{message}"
        );
    }
    let two = disk_builder(
        &workshop,
        &[&ENTRIES[..], &["--kernel=k", "--kernel=k"]].concat(),
    );
    let message = String::from_utf8(two.stderr).unwrap();
    let usage = "Usage: disk-builder build [OPTIONS] --output <IMAGE>";
    assert!(message.contains(usage), "{message}");
}

#[test]
fn a_timeout_is_for_other_loaders() {
    let workshop = Workshop::new();
    workshop.file("k", &kernel(1000));
    let more = ["--entry=a", "--kernel=k", "--timeout=7"];
    said(&workshop, &[&ENTRIES[..], &more].concat());
    assert_eq!(content(&workshop, "/loader/loader.conf"), "timeout 7\n");
    let help = said(&workshop, &["build", "--help"]);
    let help: Vec<_> = help.split_whitespace().collect();
    let help = help.join(" ");
    assert!(help.contains("This one offers no choice"), "{help}");
    assert!(!help.contains("a choice is offered"), "{help}");
}
