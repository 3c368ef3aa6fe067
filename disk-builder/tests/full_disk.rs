//! A disk that is full: each output says its name and the reason, and is as it was before.
//!
//! No file may be larger than a limit: for one who writes, that is the same.
#![cfg(unix)]

mod support;

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Command, Output};

use support::{Workshop, kernel, noise, refusal_of_program};

/// The program in a folder, whose files may have so many blocks of 512 bytes.
fn limited(folder: &Path, blocks: u32, arguments: &[&str]) -> Output {
    let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"");
    let mut command = Command::new("sh");
    command.args(["-c", &script, env!("CARGO_BIN_EXE_disk-builder")]);
    command.args(arguments).current_dir(folder);
    // Temporary files are files, too.
    command.env("TMPDIR", folder).output().unwrap()
}

/// All below a folder: paths, identities and bytes.
fn tree(folder: &Path) -> Vec<(String, u64, Vec<u8>)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let data = fs::symlink_metadata(&path).unwrap();
        let bytes = if data.is_file() {
            fs::read(&path).unwrap()
        } else {
            all.extend(tree(&path));
            Vec::new()
        };
        all.push((path.to_str().unwrap().to_owned(), data.ino(), bytes));
    }
    all.sort();
    all
}

fn workshop() -> Workshop {
    let workshop = Workshop::new();
    workshop.file("kernel.elf", &kernel(20_000));
    workshop.file("module", &noise(40_000));
    fs::create_dir(workshop.path("empty")).unwrap();
    fs::create_dir(workshop.path("pages")).unwrap();
    workshop.file("pages/disk-builder.1", b"an old page");
    workshop
}

/// Commands that write files, and what they say that they cannot do.
const FILES: &[(&[&str], &str)] = &[
    (&["build", "--output=new.img"], "cannot write new.img"),
    (
        &["build", "--cd", "--module=module", "--output=old.img"],
        "cannot write old.img",
    ),
    (&["header", "--output=new.h"], "cannot write new.h"),
    (
        &["header", "--output=old.h", "--force"],
        "cannot write old.h",
    ),
    #[cfg(feature = "built-in-loader")]
    (&["multiboot", "--output=new.elf"], "cannot write new.elf"),
    #[cfg(feature = "built-in-loader")]
    (
        &["multiboot", "--output=old.elf", "--force"],
        "cannot write old.elf",
    ),
    #[cfg(feature = "built-in-loader")]
    (
        &["program", "stage2", "--output=new.elf"],
        "cannot write new.elf",
    ),
    (&["new", "mine"], "cannot create mine"),
    (&["new", "--c", "x/y/mine"], "cannot create x/y/mine"),
    (
        &["new", "--limine", "empty", "--name=mine"],
        "cannot create empty",
    ),
    #[cfg(feature = "cli-extras")]
    (&["man", "--output=x/man"], "cannot write into x/man"),
    #[cfg(feature = "cli-extras")]
    (&["man", "--output=pages"], "cannot write into pages"),
];

#[test]
fn an_output_says_its_name_and_leaves_no_half() {
    let workshop = workshop();
    for old in ["old.img", "old.h", "old.elf"] {
        workshop.file(old, b"");
    }
    let folder = workshop.path(".");
    let before = tree(&folder);
    let reason = io::Error::from_raw_os_error(27); // EFBIG
    for (words, cannot) in FILES {
        let mut arguments = words.to_vec();
        if words[0] == "build" {
            arguments.extend(["--stages=.", "--kernel=kernel.elf"]);
        }
        // From the first file on, or in the middle of it.
        for blocks in [0, 1, 5] {
            let output = limited(&folder, blocks, &arguments);
            let message = refusal_of_program(output, &arguments);
            assert_eq!(message, format!("{cannot}: {reason}"), "{blocks} blocks");
            assert!(tree(&folder) == before, "{arguments:?}, {blocks} blocks");
        }
    }
}

/// Nothing more can be written to this device, as to a log on such a disk.
#[cfg(target_os = "linux")]
mod device {
    use std::fs::File;
    use std::process::Stdio;

    use super::*;

    fn full() -> Stdio {
        let device = File::options().write(true).open("/dev/full");
        device.unwrap().into()
    }

    fn command(workshop: &Workshop, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_disk-builder"));
        command.current_dir(workshop.path(".")).args(arguments);
        command
    }

    /// Commands that print something.
    const PRINT: &[&[&str]] = &[
        &["--help"],
        &["--version"],
        &["help", "build"],
        &["run", "--help"],
        &["version"],
        &["header"],
        &["inspect", "disk.img"],
        &["inspect", "--json", "disk.img"],
        &["transcript", "log"],
        &["new", "mine"],
        &["build", "--output=new.img"],
        &["build", "--json", "--output=new.img"],
        #[cfg(feature = "built-in-loader")]
        &["multiboot", "--output=new.elf"],
        #[cfg(feature = "built-in-loader")]
        &["multiboot", "--json", "--output=new.elf"],
        #[cfg(feature = "cli-extras")]
        &["completions", "bash"],
        #[cfg(feature = "cli-extras")]
        &["man", "build"],
    ];

    #[test]
    fn standard_output_says_that_it_is_meant() {
        let workshop = workshop();
        let build = ["--stages=.", "--kernel=kernel.elf"];
        let image = [&["build", "--output=disk.img"], &build[..]].concat();
        assert!(command(&workshop, &image).status().unwrap().success());
        workshop.file("log", b"bios: transcript 2\n12 handoff\n");
        for words in PRINT {
            let mut arguments = words.to_vec();
            if words[0] == "build" {
                arguments.extend(build);
            }
            let output = command(&workshop, &arguments).stdout(full()).output();
            let message = refusal_of_program(output.unwrap(), &arguments);
            let reason = io::Error::from_raw_os_error(28); // ENOSPC
            let expected = format!("cannot write to standard output: {reason}");
            assert_eq!(message, expected, "{arguments:?}");
        }
    }

    /// Whoever reads nothing of what went wrong can still see that it did.
    #[test]
    fn standard_error_leaves_the_status() {
        let workshop = workshop();
        for (arguments, status) in [
            (&["inspect", "none.img"][..], 1),
            (&["header", "--output=none/bootpath.h"], 1),
            (&["build", "--nope"], 2),
            (&[], 2),
        ] {
            let mut command = command(&workshop, arguments);
            let output = command.stdout(full()).stderr(full()).output();
            assert_eq!(output.unwrap().status.code(), Some(status), "{arguments:?}");
        }
    }
}
