//! A kernel's package with several tests and with settings, run by cargo: what people see of it, what
//! programs read, and the exit statuses.
#![cfg(unix)]

#[path = "support/package.rs"]
mod support;

use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Output};

use disk_builder::run::Status;
use disk_builder::stages::workspace;
use serde_json::Value;
use support::Package;

/// Seconds that a test has: enough for a busy host, and those that one test here does not end in.
const TIMEOUT: u64 = 40;

const MANIFEST: &str = r#"
[package]
name = "my-kernel"
version = "0.1.0"
edition = "2024"

[dependencies]
HANDOFF = { path = "PATH" }

[lib]
test = false
doctest = false

[[bin]]
name = "my-kernel"
test = false

[[test]]
name = "green"
harness = false

[[test]]
name = "red"
harness = false

[[test]]
name = "slow-one"
harness = false

[package.metadata.bootpath]
cmdline = "from-settings"
modules = [{ file = "module.txt", text = "a text" }]
memory = "64M"

[package.metadata.bootpath.test]
cmdline = "of-tests"
memory = "32M"
timeout = TIMEOUT
"#;

const CONFIG: &str = r#"
[build]
target = "x86_64-unknown-none"
[target.x86_64-unknown-none]
runner = "disk-builder run"
"#;

const LIBRARY: &str = r#"
#![no_std]

use core::arch::asm;
use core::fmt::{self, Write};

pub struct Serial;

/// QEMU's transmitter takes a byte at any time.
pub fn byte(byte: u8) {
    unsafe { asm!("out dx, al", in("dx") 0x3F8_u16, in("al") byte) };
}

impl Write for Serial {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.bytes().for_each(byte);
        Ok(())
    }
}

pub fn exit(value: u32) -> ! {
    unsafe { asm!("out dx, eax", in("dx") handoff::EXIT_PORT, in("eax") value) };
    halt()
}

pub fn halt() -> ! {
    loop {
        unsafe { asm!("cli", "hlt") };
    }
}

/// Prints what the settings say.
pub fn show(boot: &handoff::BootInfo) {
    let last = boot.memory_map().iter().filter(|region| region.kind == handoff::MemoryKind::Usable as u32);
    let end = last.map(|region| region.start + region.length).max().unwrap();
    let mib = end.div_ceil(1 << 20);
    writeln!(Serial, "{mib} MiB, {} modules, command line: {}", boot.modules().len(), boot.command_line()).unwrap();
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo) -> ! {
    let _ = writeln!(Serial, "{info}");
    exit(handoff::EXIT_FAILURE)
}
"#;

/// A kernel that shows its settings, and then does this.
fn program(last: &str) -> String {
    format!(
        "#![no_std]\n#![no_main]\n\nhandoff::entry_point!(main);\n\n\
         fn main(boot: &'static handoff::BootInfo) -> ! {{\n    my_kernel::show(boot);\n    {last}\n}}\n"
    )
}

fn package() -> Package {
    let handoff = workspace().join("handoff");
    let manifest = fs::read_to_string(handoff.join("Cargo.toml")).unwrap();
    let name = manifest.split("name = \"").nth(1).unwrap();
    let name = name.split('"').next().unwrap();
    let manifest = MANIFEST
        .replace("HANDOFF", name)
        .replace("PATH", handoff.to_str().unwrap())
        .replace("TIMEOUT", &TIMEOUT.to_string());
    // Bytes that are no UTF-8, and a line without an end.
    let strange =
        "b\"\\xFF\\x1B[2Jstrange\\r\\nno end\".iter().for_each(|&byte| my_kernel::byte(byte));";
    Package::new(&[
        ("Cargo.toml", manifest),
        (".cargo/config.toml", CONFIG.into()),
        ("module.txt", "a module".into()),
        ("src/lib.rs", LIBRARY.into()),
        (
            "src/main.rs",
            program("my_kernel::exit(handoff::EXIT_SUCCESS)"),
        ),
        (
            "tests/green.rs",
            program(&format!(
                "{strange}\n    my_kernel::exit(handoff::EXIT_SUCCESS)"
            )),
        ),
        ("tests/red.rs", program("panic!(\"a bug\")")),
        ("tests/slow-one.rs", program("my_kernel::halt()")),
    ])
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The lines of standard error that are summaries of tests, with N for the digits of times and
/// addresses.
fn summaries(output: &Output) -> Vec<String> {
    let errors = text(&output.stderr);
    let lines = errors.lines().filter(|line| {
        line.starts_with("test ") || line.starts_with("    ") && !line.starts_with("     ")
    });
    let shown = lines.map(|line| {
        let Some((head, tail)) = line.split_once(", ").filter(|_| line.starts_with("test ")) else {
            return line.to_owned();
        };
        let (time, tail) = tail.split_once(" s").expect("seconds");
        let _: f64 = time.parse().expect("a time");
        let tail = tail.split("halted at 0x").next().unwrap();
        format!("{head}, N s{tail}")
    });
    shown.collect()
}

#[test]
fn each_test_has_its_machine_its_summary_and_its_status() {
    let package = package();
    let output = package.cargo(&["test", "--no-fail-fast", "--", "--nocapture", "word"]);
    let (serial, errors) = (text(&output.stdout), text(&output.stderr));
    // One that fails does not keep the others from being booted.
    assert_eq!(output.status.code(), Some(101), "{errors}");
    let shown = "32 MiB, 1 modules, command line: from-settings of-tests --nocapture word";
    let count = serial.lines().filter(|line| *line == shown).count();
    assert_eq!(count, 3, "{serial}");
    assert!(
        output
            .stdout
            .windows(9)
            .any(|bytes| bytes == b"\xFF\x1B[2Jstra"),
        "{serial}"
    );

    let summaries = summaries(&output);
    let at = |line: &str| {
        let at = summaries.iter().position(|there| there == line);
        at.unwrap_or_else(|| panic!("no {line:?} in {summaries:#?}\n{errors}"))
    };
    at("test green ... ok, N s");
    let red = at("test red ... FAILED, N s: the kernel reported failure: it wrote 11h to port F4h");
    assert_eq!(summaries[red - 1], "    a bug", "{summaries:#?}");
    assert!(
        summaries[red - 2].starts_with("    panicked at tests/red.rs:"),
        "{summaries:#?}"
    );
    assert_eq!(summaries[red - 3], format!("    {shown}"));
    let start = at("test red printed at last:");
    assert!(start + 4 <= red && red <= start + 11, "{summaries:#?}");
    let late =
        format!("test slow_one ... FAILED, N s: time-out: no end within {TIMEOUT} s; the CPU was ");
    let slow = at(&late);
    assert_eq!(summaries[slow - 1], format!("    {shown}"));
    // Each is the end of what is said of its program.
    for (name, target, status) in [
        ("red", "red", Status::Failure),
        ("slow_one", "slow-one", Status::TimeOut),
    ] {
        let (_, behind) = errors
            .split_once(&format!("test {name} ... FAILED"))
            .unwrap();
        let next = behind.lines().nth(1).unwrap();
        assert!(next.contains(&format!("--test {target}")), "{errors}");
        let status = format!("(exit status: {})", status.code());
        assert!(behind.contains(&status), "{errors}");
    }
    one_alone_has_its_own_status(&package);
    what_is_no_test_is_run(&package);
    modules_are_given(&package);
    wrong_settings_are_no_test(&package);
}

fn one_alone_has_its_own_status(package: &Package) {
    for (name, status) in [("green", Status::Success), ("red", Status::Failure)] {
        let output = package.cargo(&["test", "--test", name]);
        assert_eq!(
            output.status.code(),
            Some(status.code().into()),
            "{}",
            text(&output.stderr)
        );
    }
}

/// It has neither a summary nor the settings for tests.
fn what_is_no_test_is_run(package: &Package) {
    let output = package.cargo(&["run", "--", "word"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let run = "64 MiB, 1 modules, command line: from-settings word\n";
    assert!(
        text(&output.stdout).ends_with(run),
        "{}",
        text(&output.stdout)
    );
    assert!(
        !text(&output.stderr).contains("my-kernel ..."),
        "{}",
        text(&output.stderr)
    );
}

/// Modules of the command line come behind those of the settings; an image has its own.
fn modules_are_given(package: &Package) {
    let kernel = format!("target/{}/debug/my-kernel", package.target);
    let run = |arguments: &[&str]| {
        let arguments = [
            &[
                "run",
                "--module=module.txt=more",
                "--packed-module=module.txt",
            ],
            arguments,
        ];
        package
            .command("disk-builder", &arguments.concat())
            .output()
            .unwrap()
    };
    let output = run(&[&kernel]);
    let serial = text(&output.stdout);
    assert!(
        serial.contains("64 MiB, 3 modules, command line: from-settings\n"),
        "{serial}"
    );
    let build = ["build", "--kernel", &kernel, "--output=disk.img"];
    let built = package.command("disk-builder", &build).output().unwrap();
    assert!(built.status.success(), "{}", text(&built.stderr));
    let output = run(&["disk.img"]);
    assert_eq!(output.status.code(), Some(1));
    let why = "disk.img is an image, which holds its kernel's modules: it cannot be given others";
    assert!(
        text(&output.stderr).contains(why),
        "{}",
        text(&output.stderr)
    );
}

/// A setting that is wrong is nothing that a test can be blamed for, but it is not booted.
fn wrong_settings_are_no_test(package: &Package) {
    package.replace("Cargo.toml", "memory = \"32M\"", "mmeory = \"32M\"");
    let output = package.cargo(&["test", "--test", "green"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let errors = text(&output.stderr);
    assert!(
        errors.contains("test green ... FAILED: nothing was booted\n"),
        "{errors}"
    );
    let why =
        "Cargo.toml:37: unknown key `mmeory`; did you mean `memory`?\n   37 | mmeory = \"32M\"\n";
    assert!(errors.contains(why), "{errors}");
}

/// The lines of a run, which are JSON and nothing else. Every field is in the manual.
fn events(output: &Output) -> Vec<Value> {
    let lines = std::str::from_utf8(&output.stdout).expect("UTF-8");
    let manual = include_str!("../../docs/testing-kernels.md");
    let parse = |line: &str| {
        let event: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        let (name, fields) = (&event["event"], event.as_object().unwrap());
        let section = manual
            .split_once(&format!("| `{}` | `", name.as_str().unwrap()))
            .expect("the manual's table")
            .1;
        let section: Vec<_> = format!("| | `{section}")
            .lines()
            .map(str::to_owned)
            .collect();
        let rows = section
            .iter()
            .enumerate()
            .take_while(|(at, row)| *at == 0 || row.starts_with("| | `"));
        let documented: BTreeSet<_> = rows
            .map(|(_, row)| row.split('`').nth(1).unwrap())
            .collect();
        let there: BTreeSet<_> = fields
            .keys()
            .map(String::as_str)
            .filter(|key| *key != "event")
            .collect();
        assert_eq!(there, documented, "{line}");
        event
    };
    lines.lines().map(parse).collect()
}

/// An event without what differs from run to run.
fn without_place(event: &Value) -> Value {
    let mut event = event.clone();
    event.as_object_mut().unwrap().remove("file");
    if let Some(seconds) = event.get_mut("seconds") {
        assert!(seconds.as_f64().unwrap() >= 0.0);
        *seconds = Value::Null;
    }
    event
}

#[test]
fn programs_read_a_line_for_each_event() {
    let package = package();
    let target = package.target.to_uppercase().replace('-', "_");
    let mut cargo = package.command(
        "cargo",
        &["test", "--no-fail-fast", "--test=green", "--test=red"],
    );
    let output = cargo.env(
        format!("CARGO_TARGET_{target}_RUNNER"),
        "disk-builder run --json",
    );
    let output = output.output().unwrap();
    assert_eq!(output.status.code(), Some(101), "{}", text(&output.stderr));
    let all = events(&output);
    let runs: Vec<&[Value]> = all
        .split_inclusive(|event| event["event"] == "ended")
        .collect();
    assert_eq!(runs.len(), 2, "{all:#?}");
    for (run, name) in runs.iter().zip(["green", "red"]) {
        is_a_run_of(run, name, &package);
    }
    let json = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    let last = &runs[0][runs[0].len() - 3..];
    let expected = [
        json(
            r#"{"event":"serial","seconds":null,"text":"\ufffd\u001b[2Jstrange","hex":"ff1b5b324a737472616e6765","complete":true}"#,
        ),
        json(r#"{"event":"serial","seconds":null,"text":"no end","hex":null,"complete":false}"#),
        json(
            r#"{"event":"ended","name":"green","status":"success","code":0,"seconds":null,"message":"the kernel reported success","value":16,"error":null}"#,
        ),
    ];
    assert_eq!(last.iter().map(without_place).collect::<Vec<_>>(), expected);
    let last = without_place(runs[1].last().unwrap());
    let expected = r#"{"event":"ended","name":"red","status":"failure","code":10,"seconds":null,"message":"the kernel reported failure: it wrote 11h to port F4h","value":17,"error":null}"#;
    assert_eq!(last, json(expected));
    // People read standard error all the same.
    assert!(
        text(&output.stderr).contains("test red ... FAILED, "),
        "{}",
        text(&output.stderr)
    );
    other_ends(&package);
}

/// A run has a start, lines and an end, with the settings that it has.
fn is_a_run_of(run: &[Value], name: &str, package: &Package) {
    let start = &run[0];
    assert_eq!(start["event"], "started");
    assert_eq!(
        (&start["kind"], &start["name"]),
        (&"test".into(), &name.into())
    );
    let manifest = package.path("Cargo.toml").canonicalize().unwrap();
    assert_eq!(start["settings"].as_str(), manifest.to_str());
    assert_eq!(start["timeout"], TIMEOUT);
    assert_eq!(start["command_line"], "from-settings of-tests");
    assert!(
        start["file"]
            .as_str()
            .unwrap()
            .contains(&format!("/deps/{name}-"))
    );
    let (serial, end) = (&run[1..run.len() - 1], run.last().unwrap());
    assert!(
        serial.iter().all(|event| event["event"] == "serial"),
        "{serial:#?}"
    );
    let times: Vec<_> = run[1..]
        .iter()
        .map(|event| event["seconds"].as_f64().unwrap())
        .collect();
    assert!(times.is_sorted() && times[0] > 0.0, "{times:?}");
    assert_eq!((&end["name"], &end["file"]), (&name.into(), &start["file"]));
}

/// The ends that are none of the kernel's own.
fn other_ends(package: &Package) {
    let kernel = format!("target/{}/debug/my-kernel", package.target);
    let output = package.cargo(&["build"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let run = |arguments: &[&str]| -> (Vec<Value>, Option<i32>) {
        let mut command: Command = package.command("disk-builder", &["run", "--json"]);
        let output = command.args(arguments).output().unwrap();
        (events(&output), output.status.code())
    };
    for (arguments, status, message, error) in [
        (
            &["--cpu=pentium3", &kernel][..],
            Status::LoaderError,
            "the loader stopped: error 3B: ",
            Some("3B"),
        ),
        (
            &["--timeout=1", &kernel, "--", "-S"],
            Status::TimeOut,
            "time-out: no end within 1 s",
            None,
        ),
        (
            &[&kernel, "--", "-no-such-option"],
            Status::NoMachine,
            "QEMU did not start: ",
            None,
        ),
        (&["gone"], Status::NotRun, "cannot open gone: ", None),
    ] {
        let (events, code) = run(arguments);
        assert_eq!(code, Some(status.code().into()), "{events:#?}");
        let end = events.last().unwrap();
        assert_eq!(end["event"], "ended");
        assert_eq!(
            (&end["status"], &end["code"]),
            (&status.name().into(), &status.code().into())
        );
        assert!(
            end["message"].as_str().unwrap().starts_with(message),
            "{end}"
        );
        assert_eq!(end["error"].as_str(), error);
        assert!(end["value"].is_null());
        assert_eq!(events[0]["event"], "started");
        assert_eq!(events[0]["kind"], "run");
    }
    package.replace("Cargo.toml", "cmdline = \"of-tests\"", "cmdline = 3");
    let (events, code) = run(&[&kernel]);
    assert_eq!((events.len(), code), (1, Some(1)), "{events:#?}");
    let message = events[0]["message"].as_str().unwrap();
    assert!(
        message.contains(":36: `cmdline` takes a string, not 3\n"),
        "{message}"
    );
}
