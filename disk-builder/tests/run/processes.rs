//! Other processes: signals, gdb, cargo, `./run.sh`.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use disk_builder::run::Status;

use crate::{Background, EXCEPTION, FOR_EVER, PATIENCE, PID_FILE, Place, Run, kernel, kill, qemu};

#[test]
fn a_signal_ends_qemu_and_leaves_nothing() {
    let place = Place::new();
    place.file("kernel", &kernel(FOR_EVER));
    for (signal, status) in [
        ("-INT", Status::Interrupted),
        ("-TERM", Status::Terminated),
        ("-HUP", Status::HungUp),
    ] {
        let running = Background::start(&place, &[&["kernel"], &PID_FILE[..]].concat());
        let qemu = qemu(&place);
        assert!(fs::read_dir(place.temporary.path()).unwrap().count() > 0);
        assert!(kill(signal, running.child.id()));
        running.wait().ended(status);
        place.is_clean();
        assert!(!kill("-0", qemu), "QEMU still runs");
    }
    // As from a terminal, where Ctrl-C is for QEMU as well, which may be the first to end.
    let running = Background::start(&place, &[&["kernel"], &PID_FILE[..]].concat());
    let qemu = qemu(&place);
    let both = [running.child.id(), qemu].map(|process| process.to_string());
    let status = Command::new("kill").arg("-INT").args(both).status();
    assert!(status.unwrap().success());
    let run = running.wait();
    run.ended(Status::Interrupted);
    assert!(!run.errors.contains("disk-builder: "), "{}", run.errors);
    place.is_clean();
}

#[test]
fn gdb_is_waited_for() {
    let place = Place::new();
    place.file("kernel", &kernel(EXCEPTION));
    // The port may be somebody else's.
    if let Ok(_listener) = TcpListener::bind("127.0.0.1:1234") {
        place.run(&["--gdb", "kernel"]).ended(Status::NoMachine);
    }

    let running = Background::begin(&place, &["--gdb", "kernel"]);
    running.wait_for("errors", "QEMU waits for a debugger at localhost:1234");
    let deadline = Instant::now() + PATIENCE;
    let mut gdb = loop {
        match TcpStream::connect("127.0.0.1:1234") {
            Ok(stream) => break stream,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        sleep(Duration::from_millis(20));
    };
    // Why has it stopped? (GDB's manual, "GDB Remote Serial Protocol".)
    gdb.write_all(b"$?#3f").unwrap();
    let mut answer = [0; 5];
    gdb.read_exact(&mut answer).unwrap();
    assert!(answer.starts_with(b"+$T"), "{answer:?}");
    assert_eq!(
        fs::read(place.directory.path().join("serial")).unwrap(),
        b""
    );
    // On: it stops by an error, which the debugger may look at for as long as it likes.
    gdb.write_all(b"+$c#63").unwrap();
    running.wait_for("errors", "the loader stopped: error 12A");
    sleep(Duration::from_secs(1));
    gdb.write_all(b"\x03").unwrap();
    gdb.write_all(b"$k#6b").unwrap();
    let run = running.wait();
    run.stopped_by("12A");
    place.is_clean();
}

/// As the runner of another workspace's kernel: its cargo leaves variables that are not for the cargo
/// that builds the loader.
#[test]
fn another_workspaces_cargo_changes_nothing() {
    let place = Place::new();
    let mut command = place.command(&["program", "stage1"]);
    let expected = command.output().unwrap();
    assert!(expected.status.success(), "{expected:?}");
    command
        .env("CARGO", "/nonexistent/cargo")
        .env("CARGO_MANIFEST_DIR", place.directory.path())
        .env("CARGO_BUILD_TARGET", "x86_64-unknown-nonsense")
        .env("CARGO_ENCODED_RUSTFLAGS", "--no-such-flag")
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "nonsense")
        .env("CARGO_TARGET_DIR", place.directory.path().join("target"))
        .env("RUSTC", "/nonexistent/rustc")
        .env("RUSTC_WRAPPER", "/nonexistent/wrapper")
        .env("RUSTFLAGS", "--no-such-flag")
        .env("RUSTUP_TOOLCHAIN", "nonsense");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    // CARGO_TARGET_DIR may be set for this test itself.
    if std::env::var_os("CARGO_TARGET_DIR").is_none() {
        assert_eq!(output.stdout, expected.stdout);
    }
    assert!(!place.directory.path().join("target").exists());
}

/// A user who has to wait for another cargo is told so.
#[test]
fn the_wait_for_another_cargo_is_shown() {
    let place = Place::new();
    let built = place.command(&["program", "stage1"]).output().unwrap();
    let stage1 = String::from_utf8(built.stdout).unwrap();
    let lock = Path::new(stage1.trim_end()).with_file_name(".cargo-lock");
    let lock = fs::File::open(lock).unwrap();
    lock.lock().unwrap();
    let mut child = place
        .command(&["program", "stage1"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The lock is held until cargo says that it waits, or for a minute.
    let (said, is_said) = mpsc::channel();
    let holder = thread::spawn(move || {
        let _ = is_said.recv_timeout(Duration::from_secs(60));
        lock.unlock().unwrap();
    });
    let mut errors = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    errors.read_line(&mut line).unwrap();
    let _ = said.send(());
    holder.join().unwrap();
    assert!(line.contains("Blocking waiting for file lock"), "{line}");
    assert!(child.wait().unwrap().success());
    errors.read_to_string(&mut line).unwrap();
    assert!(!line.contains("Finished"), "{line}");
}

/// `./run.sh`, with a cargo that only notes what it is asked, and whose `disk-builder run` ends with a
/// status.
fn run_sh(place: &Place, status: u8, arguments: &[&str]) -> (Run, String) {
    use std::os::unix::fs::PermissionsExt as _;

    let log = place.file("cargo.log", b"");
    let script = format!(
        "#!/bin/sh\necho \"$*\" >>'{}'\n\
         case $* in *' disk-builder '*'-- run '*) exit {status};; *transcript) cat;; esac\n",
        log.display()
    );
    let cargo = place.file("cargo", script.as_bytes());
    fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).unwrap();
    let path = std::env::var_os("PATH").unwrap();
    let path = [cargo.parent().unwrap().as_os_str(), &path].join(":".as_ref());
    let output = Command::new("bash")
        .arg(disk_builder::stages::workspace().join("run.sh"))
        .args(arguments)
        .current_dir(place.directory.path())
        .env("PATH", path)
        .env("BOOTPATH_NO_INSTALL", "1")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let asked = fs::read_to_string(log).unwrap();
    (Run::of(output), asked)
}

#[test]
fn run_sh_passes_the_status_on() {
    let place = Place::new();
    for status in Status::ALL {
        for arguments in [&["--headless"][..], &["--record", "log"], &[]] {
            let (run, asked) = run_sh(&place, status.code(), arguments);
            run.ended(status);
            let last = asked.lines().rfind(|line| line.contains("-- run")).unwrap();
            let has_window = arguments.is_empty();
            assert_eq!(last.contains("--display"), has_window, "{last}");
        }
    }
}

#[test]
fn run_sh_says_what_was_wrong_before_it_builds() {
    let place = Place::new();
    for (arguments, status, expected) in [
        (&["foo"][..], Status::Usage, "run.sh: unknown word 'foo'; "),
        (
            &["--record"],
            Status::Usage,
            "run.sh: --record needs a file; ",
        ),
        (
            &["--kernel"],
            Status::Usage,
            "run.sh: --kernel needs a file; ",
        ),
        (
            &["--record", "/nonexistent/x"],
            Status::NotRun,
            "/nonexistent",
        ),
        (&["--record", "."], Status::NotRun, "directory"),
    ] {
        let (run, asked) = run_sh(&place, 0, arguments);
        run.ended(status);
        assert!(run.errors.contains(expected), "{}", run.errors);
        assert_eq!(asked, "", "{arguments:?}");
    }
    let (run, _) = run_sh(&place, 0, &["--help"]);
    run.ended(Status::Success);
    assert!(
        run.serial
            .contains("Exit status: 0, the kernel reported success")
    );
}
