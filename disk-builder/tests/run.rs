//! `run` in QEMU: a kernel for each way to end, and the exit status that it gets.
#![cfg(unix)]

mod support;

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use disk_builder::run::{EXIT_OKAY, Status};
use support::{KERNEL_VMA, Load, elf};
use tempfile::TempDir;

/// How long anything here may take on a busy host. It is no part of what is tested.
const PATIENCE: Duration = Duration::from_secs(240);
/// The same, as an argument: a run that does not end by itself fails its test by status 13.
const TIMEOUT: &str = "--timeout=120";

/// The last line of an error's report by stage2.
const OFFER: &str = "press a key to reboot";

// Instructions of 64-bit code.
/// `mov dx, F4h; mov eax, VALUE; out dx, eax; hlt; jmp short back`.
fn exit(value: u8) -> Vec<u8> {
    let mut code = vec![0x66, 0xBA, 0xF4, 0x00, 0xB8, value, 0, 0, 0, 0xEF];
    code.extend_from_slice(&[0xF4, 0xEB, 0xFD]);
    code
}
/// `jmp short` to itself.
const FOR_EVER: &[u8] = &[0xEB, 0xFE];
/// `ud2`: an exception, with the loader's handlers still there.
const EXCEPTION: &[u8] = &[0x0F, 0x0B];
/// `sub rsp, 16; mov qword ptr [rsp], 0; mov qword ptr [rsp + 8], 0; lidt [rsp]; ud2`.
const TRIPLE_FAULT: &[u8] = &[
    0x48, 0x83, 0xEC, 0x10, 0x48, 0xC7, 0x04, 0x24, 0, 0, 0, 0, 0x48, 0xC7, 0x44, 0x24, 0x08, 0, 0,
    0, 0, 0x0F, 0x01, 0x1C, 0x24, 0x0F, 0x0B,
];
/// `mov al, FEh; out 64h, al; jmp short` to itself: by the keyboard controller.
const RESET: &[u8] = &[0xB0, 0xFE, 0xE6, 0x64, 0xEB, 0xFE];
/// `mov dx, 604h; mov ax, 2000h; out dx, ax; jmp short` to itself: ACPI's S5, where q35 has it.
const POWER_OFF: &[u8] = &[
    0x66, 0xBA, 0x04, 0x06, 0x66, 0xB8, 0x00, 0x20, 0x66, 0xEF, 0xEB, 0xFE,
];

/// Prints `text` on COM1, whose transmitter never makes QEMU's guests wait.
fn print(text: &str) -> Vec<u8> {
    let mut code = vec![0x66, 0xBA, 0xF8, 0x03]; // mov dx, 3F8h
    for byte in text.bytes() {
        code.extend_from_slice(&[0xB0, byte, 0xEE]); // mov al, byte; out dx, al
    }
    code
}

/// A kernel for the loader's own protocol.
fn kernel(code: &[u8]) -> Vec<u8> {
    elf(KERNEL_VMA, &[Load(KERNEL_VMA, 5, code, 0)])
}

/// A directory with files, and another one for what the runs make.
struct Place {
    directory: TempDir,
    temporary: TempDir,
}

impl Place {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            temporary: tempfile::tempdir().unwrap(),
        }
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.directory.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    /// `disk-builder` with arguments.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_disk-builder"));
        command
            .current_dir(self.directory.path())
            .args(arguments)
            .env("TMPDIR", self.temporary.path())
            .env_remove("DISPLAY")
            .env_remove("WAYLAND_DISPLAY")
            .stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Run {
        let all = [&["run", TIMEOUT], arguments].concat();
        let run = Run::of(self.command(&all).output().unwrap());
        self.is_clean();
        run
    }

    fn build(&self, arguments: &[&str]) {
        let output = self.command(&[&["build"], arguments].concat()).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{output:?}");
    }

    /// Nothing is left of the runs.
    fn is_clean(&self) {
        let left: Vec<_> = fs::read_dir(self.temporary.path()).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

/// What came of a run.
struct Run {
    status: Option<i32>,
    serial: String,
    errors: String,
}

impl Run {
    fn of(output: Output) -> Self {
        Self {
            status: output.status.code(),
            serial: String::from_utf8_lossy(&output.stdout).into_owned(),
            errors: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Is it this status? The loader and the kernel did run, unless nothing did.
    #[track_caller]
    fn ended(&self, status: Status) -> &Self {
        let Self { serial, errors, .. } = self;
        assert_eq!(
            self.status,
            Some(status.code().into()),
            "{errors}\n--- serial line\n{serial}"
        );
        self
    }

    /// Its last line on standard error.
    #[track_caller]
    fn said(&self, expected: &str) {
        let last = self.errors.lines().next_back();
        let expected = format!("disk-builder: {expected}");
        assert_eq!(last, Some(expected.as_str()), "{}", self.errors);
    }

    /// Is it a loader error, the one that the serial line has in full?
    #[track_caller]
    fn stopped_by(&self, code: &str) {
        self.ended(Status::LoaderError);
        let start = format!("error {code}");
        let line = self.serial.lines().find(|line| line.starts_with(&start));
        let line = line.unwrap_or_else(|| panic!("no {start}\n{}", self.serial));
        let said = self.errors.lines().next_back().unwrap();
        let said = said.strip_prefix("disk-builder: the loader stopped: ");
        let said = said.unwrap_or_else(|| panic!("{}", self.errors));
        assert!(said.starts_with(&format!("{start}: ")), "{said}");
        if code.starts_with('1') && code.len() == 2 && code != "1C" {
            // `error 1A 0C`: all that stage1 has room for.
            let status = line.split_whitespace().nth(2).unwrap();
            assert_eq!(status.len(), 2, "{line}");
            let shown = format!("BIOS status {status}h");
            assert_eq!(said.contains(&shown), status != "00", "{said}: {line}");
        } else {
            assert!(line.starts_with(said), "{said}: {line}");
            assert!(self.serial.trim_end().ends_with(OFFER), "{}", self.serial);
        }
    }
}

#[test]
fn success_and_failure_are_what_the_kernel_says() {
    let place = Place::new();
    let code = [print("hello\r\n"), exit(EXIT_OKAY)].concat();
    place.file("good", &kernel(&code));
    let run = place.run(&["good"]);
    run.ended(Status::Success);
    assert!(run.serial.ends_with("hello\r\n"), "{}", run.serial);
    // There may be cargo's, which builds the loader.
    assert!(!run.errors.contains("disk-builder: "), "{}", run.errors);

    for value in [0x11, 0x01, 0x00] {
        place.file("bad", &kernel(&exit(value)));
        let expected = format!("the kernel reported failure: it wrote {value:X}h to port F4h");
        place.run(&["bad"]).ended(Status::Failure).said(&expected);
    }
}

#[test]
fn a_kernel_that_is_gone_is_no_success() {
    let place = Place::new();
    for (code, how) in [
        (TRIPLE_FAULT, "a triple fault reset the machine"),
        (RESET, "the machine was reset"),
        (POWER_OFF, "the machine was switched off"),
    ] {
        place.file("kernel", &kernel(code));
        let expected = format!("the kernel reported nothing: {how}");
        let run = place.run(&["kernel"]);
        run.ended(Status::Gone).said(&expected);
        assert!(run.serial.contains("12 handoff"), "{}", run.serial);
    }
    // With a log of the user's own, the difference is not known, and the log is the user's.
    place.file("kernel", &kernel(TRIPLE_FAULT));
    let run = place.run(&["kernel", "--", "-d", "cpu_reset"]);
    run.ended(Status::Gone)
        .said("the kernel reported nothing: the machine was reset, perhaps by a triple fault");
    assert!(run.errors.contains("\nTriple fault\n"), "{}", run.errors);
}

#[test]
fn a_qemu_that_is_closed_or_killed_is_no_success() {
    let place = Place::new();
    place.file("kernel", &kernel(FOR_EVER));
    for (signal, how) in [
        ("-KILL", "QEMU was killed by signal 9"),
        ("-TERM", "QEMU was ended by a signal"),
    ] {
        let running = Background::start(&place, &[&["kernel"], &PID_FILE[..]].concat());
        assert!(kill(signal, qemu(&place)));
        let expected = format!("the kernel reported nothing: {how}");
        running.wait().ended(Status::Gone).said(&expected);
        place.is_clean();
    }
    // By a monitor of the user's own, which the tool's does not get in the way of.
    let socket = place.directory.path().join("monitor");
    let monitor = format!("unix:{},server=on,wait=off", socket.display());
    let running = Background::start(&place, &["kernel", "--", "-monitor", &monitor]);
    let mut stream = std::os::unix::net::UnixStream::connect(socket).unwrap();
    stream.write_all(b"quit\n").unwrap();
    running
        .wait()
        .ended(Status::Gone)
        .said("the kernel reported nothing: QEMU was closed");
}

#[test]
fn a_loader_error_ends_the_run() {
    let place = Place::new();
    // A kernel's exception, by the 64-bit steps.
    place.file("kernel", &kernel(EXCEPTION));
    place.run(&["kernel"]).stopped_by("12A");
    // Steps 2 to 4, in real mode.
    place.run(&["--cpu=pentium3", "kernel"]).stopped_by("3B");
    // The steps behind.
    place.file("not-a-kernel", b"no ELF file");
    let build = ["--kernel=not-a-kernel", "--unchecked", "--output=disk.img"];
    place.build(&build);
    place.run(&["disk.img"]).stopped_by("10A");
}

#[test]
fn an_error_of_stage1_ends_the_run() {
    let place = Place::new();
    place.file("kernel", &kernel(&exit(EXIT_OKAY)));
    place.build(&["--kernel=kernel", "--cd", "--output=good.img"]);
    let good = fs::read(place.directory.path().join("good.img")).unwrap();
    place.run(&["good.img"]).ended(Status::Success);
    place.run(&["--cd", "good.img"]).ended(Status::Success);

    let program = disk_layout::cd::PROGRAM_BLOCK as usize * disk_layout::CD_BLOCK;
    let stage2 = usize::from(disk_layout::cd::STAGE2_BLOCK) * disk_layout::CD_BLOCK;
    for (offset, cd, code) in [
        (disk_layout::mbr::CHECKED.start + 40, false, "1D"),
        (program + disk_layout::cd::CHECKED.start + 40, true, "1D"),
        (stage2 + 600, false, "1B"),
        (stage2 + 600, true, "1B"),
    ] {
        let mut bad = good.clone();
        bad[offset] ^= 1;
        place.file("bad.img", &bad);
        let options = if cd {
            &["--cd", "bad.img"][..]
        } else {
            &["bad.img"]
        };
        place.run(options).stopped_by(code);
    }
    // A sector that cannot be read, on a disk that is booted first and is the same otherwise.
    let dead = place.file("dead.img", &good);
    let drive = format!(
        "if=none,id=dead,driver=raw,file.driver=blkdebug,file.image.driver=file,\
         file.image.filename={},file.inject-error.0.event=read_aio,file.inject-error.0.errno=5,\
         file.inject-error.0.sector={}",
        dead.display(),
        stage2 / 512 + 3
    );
    let device = "ide-hd,drive=dead,bus=ide.1,bootindex=0";
    let run = place.run(&["good.img", "--", "-drive", &drive, "-device", device]);
    run.stopped_by("1A");
}

/// What a kernel prints is its own business.
#[test]
fn a_kernel_that_prints_the_words_of_an_error_is_not_taken_for_one() {
    let place = Place::new();
    let report = format!("\r\nerror 8A: the boot partition is damaged\r\n{OFFER}\r\n");
    let words = print(&report);
    place.file("kernel", &kernel(&[&words[..], &exit(EXIT_OKAY)].concat()));
    let run = place.run(&["kernel"]);
    run.ended(Status::Success);
    assert!(run.serial.contains(&report));

    // With all the time to be mistaken.
    place.file("kernel", &kernel(&[&words[..], FOR_EVER].concat()));
    let output = place.command(&["run", "--timeout=3", "kernel"]).output();
    let run = Run::of(output.unwrap());
    run.ended(Status::TimeOut);
    assert!(run.serial.contains(&report));
}

#[test]
fn a_time_out_says_where_the_cpu_was() {
    let place = Place::new();
    place.file("kernel", &kernel(FOR_EVER));
    let start = Instant::now();
    let output = place.command(&["run", "--timeout=3", "kernel"]).output();
    let run = Run::of(output.unwrap());
    run.ended(Status::TimeOut).said(&format!(
        "time-out: no end within 3 s; the CPU was at {KERNEL_VMA:#x}"
    ));
    assert!(start.elapsed() >= Duration::from_secs(3));
    place.is_clean();
}

#[test]
fn without_a_machine_there_is_no_status_of_the_kernel() {
    let place = Place::new();
    place.file("disk.img", &boot_sector());
    let run = place.run(&["disk.img", "--", "-no-such-option"]);
    run.ended(Status::NoMachine)
        .said("QEMU did not start: it ended with status 1");
    assert!(run.errors.contains("invalid option"), "{}", run.errors);
    place
        .run(&["disk.img", "--", "-version"])
        .ended(Status::NoMachine);

    let empty = tempfile::tempdir().unwrap();
    let mut command = place.command(&["run", "disk.img"]);
    let run = Run::of(command.env("PATH", empty.path()).output().unwrap());
    run.ended(Status::NoMachine);
    assert!(run.errors.contains("is not installed"), "{}", run.errors);
}

/// A disk that does nothing.
fn boot_sector() -> Vec<u8> {
    let mut sector = vec![0; 512];
    sector[..3].copy_from_slice(&[0xF4, 0xEB, 0xFD]);
    sector[510..].copy_from_slice(&[0x55, 0xAA]);
    sector
}

#[test]
fn what_cannot_be_booted_is_refused_by_name() {
    let place = Place::new();
    place.file("notes.txt", b"buy milk\n");
    place.file("disk.img", &boot_sector());
    for (arguments, expected) in [
        (&["notes.txt"][..], "notes.txt is neither a kernel ("),
        (&["missing"], "cannot open missing: "),
        (
            &["/dev/null"],
            "/dev/null is a character device, not a file",
        ),
        (
            &["disk.img", "some", "words"],
            "disk.img is an image, which holds its kernel's command line: it cannot be given another \
             one (\"some words\")",
        ),
        (
            &["disk.img", "--", "-daemonize"],
            "-daemonize is not possible",
        ),
    ] {
        let run = place.run(arguments);
        run.ended(Status::NotRun);
        let start = format!("disk-builder: {expected}");
        assert!(run.errors.starts_with(&start), "{}", run.errors);
        assert_eq!(run.serial, "");
    }
    place.run(&["--nope", "disk.img"]).ended(Status::Usage);

    // A kernel that the loader would refuse, in the loader's words.
    let mut bad = kernel(FOR_EVER);
    bad[18] = 3; // a machine of 32 bits
    place.file("bad", &bad);
    let run = place.run(&["bad"]);
    run.ended(Status::NotRun);
    assert!(
        run.errors.contains("bad cannot be booted: error 10"),
        "{}",
        run.errors
    );
}

#[test]
fn words_are_the_command_line_and_options_are_the_machine() {
    let place = Place::new();
    let program = place.command(&["program", "kernel"]).output().unwrap();
    let demo = String::from_utf8(program.stdout).unwrap();
    let demo = demo.trim_end();
    let run = place.run(&[demo, "--nocapture", "exit", "--timeout=1"]);
    run.ended(Status::Success);
    let line = "command line: --nocapture exit --timeout=1\r\n";
    assert!(run.serial.contains(line), "{}", run.serial);

    // Compressed, from a stick, on another machine.
    let packed = fs::read(demo).unwrap();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&packed).unwrap();
    place.file("kernel.gz", &encoder.finish().unwrap());
    let options = [
        "--usb",
        "--machine=pc",
        "--memory=64M",
        "--cpus=2",
        "--cpu=max",
    ];
    let run = place.run(&[&options[..], &["kernel.gz", "exit"]].concat());
    run.ended(Status::Success);
    assert!(run.serial.contains(" 63 MiB usable"), "{}", run.serial);
    // QEMU's own arguments have the last word.
    let run = place.run(&["--memory=64M", "kernel.gz", "exit", "--", "-m", "128"]);
    run.ended(Status::Success);
    assert!(run.serial.contains(" 127 MiB usable"), "{}", run.serial);

    // A CD that `build` made, as a CD and as a disk.
    place.build(&["--cd", "--cmdline=exit", "--output=cd.img"]);
    let run = place.run(&["--cd", "cd.img"]);
    run.ended(Status::Success);
    assert!(run.serial.contains("2048 bytes a sector"), "{}", run.serial);
    place
        .run(&["--cd", "--usb", "cd.img"])
        .ended(Status::Success);
    let run = place.run(&["--cd", "kernel.gz", "exit"]);
    run.ended(Status::Success);
    assert!(run.serial.contains("2048 bytes a sector"), "{}", run.serial);
}

/// `run` in the background.
struct Background {
    child: Child,
    directory: PathBuf,
}

impl Background {
    /// Starts it, and waits until the kernel runs.
    fn start(place: &Place, arguments: &[&str]) -> Self {
        let running = Self::begin(place, arguments);
        running.wait_for("serial", "12 handoff");
        running
    }

    fn begin(place: &Place, arguments: &[&str]) -> Self {
        let directory = place.directory.path().to_owned();
        let output = |name: &str| fs::File::create(directory.join(name)).unwrap();
        let child = place
            .command(&[&["run", TIMEOUT], arguments].concat())
            .stdout(output("serial"))
            .stderr(output("errors"))
            .spawn()
            .unwrap();
        Self { child, directory }
    }

    /// Waits until a text is in what comes from it.
    fn wait_for(&self, output: &str, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        let path = self.directory.join(output);
        while !fs::read_to_string(&path).is_ok_and(|all| all.contains(text)) {
            assert!(Instant::now() < deadline, "no {text:?}");
            sleep(Duration::from_millis(20));
        }
    }

    fn wait(mut self) -> Run {
        let status = self.child.wait().unwrap();
        let text = |name| fs::read_to_string(self.directory.join(name)).unwrap();
        Run {
            status: status.code(),
            serial: text("serial"),
            errors: text("errors"),
        }
    }
}

/// QEMU's arguments for a file with the number of its process, and what reads that.
const PID_FILE: [&str; 3] = ["--", "-pidfile", "qemu.pid"];

fn qemu(place: &Place) -> u32 {
    let text = fs::read_to_string(place.directory.path().join("qemu.pid")).unwrap();
    text.trim().parse().unwrap()
}

fn kill(signal: &str, process: u32) -> bool {
    let mut command = Command::new("kill");
    command.args([signal, &process.to_string()]);
    command.stderr(Stdio::null()).status().unwrap().success()
}

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
    // Somebody else's.
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
    // Why does it stand? (GDB's manual, "GDB Remote Serial Protocol".)
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

/// The table is in the help, and in the chapter that users read.
#[test]
fn the_exit_statuses_are_documented() {
    let place = Place::new();
    let help = place.command(&["run", "--help"]).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let chapter = include_str!("../../docs/handoff.md");
    for status in Status::ALL {
        let (code, meaning) = (status.code(), status.meaning());
        let line = format!("{code:>5}  {meaning}");
        assert!(help.lines().any(|found| found == line), "{line}\n{help}");
        let row = format!("| {code} | {meaning} |");
        assert!(chapter.lines().any(|found| found == row), "{row}");
    }
    let rows = chapter.lines().skip_while(|line| *line != "| status | |");
    let rows = rows.skip(2).take_while(|line| line.starts_with('|'));
    assert_eq!(rows.count(), Status::ALL.len());
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

/// Somebody who waits for another cargo is told so.
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
    // It says so, or is told nothing for ever.
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
         case $* in *' disk-builder -- run '*) exit {status};; *transcript) cat;; esac\n",
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
