//! `run` in QEMU: a kernel for each way to end, and the exit status that it gets.
#![cfg(unix)]

#[path = "../support/mod.rs"]
mod support;
mod endings;
mod arguments;
mod processes;

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use disk_builder::run::Status;
use support::{KERNEL_VMA, Load, elf};
use tempfile::TempDir;

/// How long anything here may take on a busy host. Speed is not what is tested.
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

    /// The run has to end with this status.
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

    /// The run has to end in this loader error, which the serial line shows in full.
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

/// A disk that does nothing.
fn boot_sector() -> Vec<u8> {
    let mut sector = vec![0; 512];
    sector[..3].copy_from_slice(&[0xF4, 0xEB, 0xFD]);
    sector[510..].copy_from_slice(&[0x55, 0xAA]);
    sector
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

/// QEMU's arguments for a file with its process ID, and a function that reads it.
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
