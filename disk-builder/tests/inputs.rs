//! Inputs that are not files are refused at once, because reading them could block for ever.
#![cfg(unix)]

mod support;

use std::fs;
use std::os::unix::net::UnixListener;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use support::{Workshop, kernel, refusal_of_program};

/// Runs the program, which must end soon.
fn disk_builder(workshop: &Workshop, arguments: &[&str]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_disk-builder"))
        .current_dir(workshop.path("."))
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > deadline {
            let _ = child.kill();
            panic!("{arguments:?} does not end");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    child.wait_with_output().unwrap()
}

#[track_caller]
fn refused(workshop: &Workshop, arguments: &[&str]) -> String {
    refusal_of_program(disk_builder(workshop, arguments), arguments)
}

fn workshop() -> Workshop {
    let workshop = Workshop::new();
    workshop.file("kernel.elf", &kernel(1000));
    let made = Command::new("mkfifo").arg(workshop.path("pipe")).status();
    assert!(made.unwrap().success());
    fs::create_dir(workshop.path("directory")).unwrap();
    workshop
}

#[test]
fn what_is_no_file_is_refused_at_once() {
    let workshop = workshop();
    let _socket = UnixListener::bind(workshop.path("socket")).unwrap();
    let build = ["build", "--stages=.", "-o", "disk.img"];
    let kernel = "--kernel=kernel.elf";
    for (what, name) in [
        ("a pipe", "pipe"),
        ("a socket", "socket"),
        ("a character device", "/dev/zero"),
        ("a directory", "directory"),
    ] {
        let option = |option: &str| format!("{option}={name}");
        let expected = format!("{name} is {what}, not a file");
        for more in [
            &[kernel, &option("--module")][..],
            &[kernel, &option("--initrd")],
            &["--entry=a", kernel, &option("--module")],
            &["--entry=a", kernel, &option("--initrd")],
            &[&option("--kernel")],
            &[&option("--linux")],
            &["--entry=a", &option("--kernel")],
        ] {
            // In a directory, `make` makes the kernel.
            let is_kernel = more
                .last()
                .is_some_and(|last| !last.contains("--module") && !last.contains("--initrd"));
            if is_kernel && what == "a directory" {
                continue;
            }
            let message = refused(&workshop, &[&build[..], more].concat());
            assert!(message.ends_with(&expected), "{more:?}: {message}");
        }
        let message = refused(&workshop, &["inspect", name]);
        assert_eq!(message, expected);
    }
    for stage in ["stage1", "stage2", "stage1-cd"] {
        let path = workshop.path(stage);
        let bytes = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        fs::rename(workshop.path("pipe"), &path).unwrap();
        let message = refused(&workshop, &[&build[..], &[kernel, "--cd"]].concat());
        assert_eq!(message, format!("./{stage} is a pipe, not a file"));
        fs::rename(&path, workshop.path("pipe")).unwrap();
        workshop.file(stage, &bytes);
    }
    assert!(!workshop.path("disk.img").exists());
}

#[test]
fn a_transcript_may_come_through_a_pipe() {
    let workshop = workshop();
    let script = "printf 'bios: transcript 1\\n12 handoff\\n' >pipe & \
                  exec \"$0\" transcript pipe";
    let output = Command::new("sh")
        .args(["-c", script, env!("CARGO_BIN_EXE_disk-builder")])
        .current_dir(workshop.path("."))
        .output()
        .unwrap();
    assert_eq!(output.stdout, b"bios: transcript 1\n12 handoff\n");
    assert_eq!(
        refused(&workshop, &["transcript", "directory"]),
        "directory is a directory, not a file"
    );
}
