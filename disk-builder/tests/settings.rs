//! `[package.metadata.bootpath]`: every key, what is refused, and what the manual says of it.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use disk_builder::image::Module;
use disk_builder::run::{Options, Status};
use disk_builder::settings::{Choices, KEYS, MODULE_KEYS, Problem, Settings, TEST_TIMEOUT};
use tempfile::TempDir;

/// The folder of a package.
struct Package {
    folder: TempDir,
}

impl Package {
    /// A package with these settings.
    fn new(settings: &str) -> Self {
        let package = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        package.file("Cargo.toml", &format!("{HEAD}{settings}"));
        package.file("initrd.img", "initrd");
        package.file("font.gz", "font");
        package
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn file(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn settings(&self) -> Settings {
        let settings = Settings::read(&self.path("Cargo.toml"));
        settings.unwrap().expect("settings")
    }

    /// What is wrong with them.
    #[track_caller]
    fn problem(&self) -> Problem {
        let error = Settings::read(&self.path("Cargo.toml")).unwrap_err();
        let problem: Problem = error.downcast().unwrap();
        assert_eq!(problem.file, self.path("Cargo.toml"));
        problem
    }
}

/// What is above the settings: the table begins in line 6.
const HEAD: &str = "\
[package]
name = \"my-kernel\"
version = \"0.1.0\"
edition = \"2024\"

";
const TABLE: &str = "[package.metadata.bootpath]\n";

/// A value for each key, and one for the table of tests.
const ALL: &str = r#"[package.metadata.bootpath]
cmdline = "log=debug root=/dev/sda1"
modules = ["initrd.img", { file = "font.gz", text = "a font", packed = true }]
memory = "1.5G"
cpus = 4
cpu = "max,-avx"
machine = "pc"
cd = true
usb = true
qemu-args = ["-device", "e1000"]
timeout = 600
display = true

[package.metadata.bootpath.test]
cmdline = "test"
modules = [{ file = "initrd.img", text = "again" }]
memory = "64M"
cpus = 1
cpu = "Haswell"
machine = "q35"
cd = false
usb = false
qemu-args = ["-snapshot"]
timeout = 5
display = false
"#;

#[test]
fn every_key_is_read() {
    let package = Package::new(ALL);
    let file = |name| package.path(name);
    let module = |name, string: &str| Module {
        file: file(name),
        string: string.into(),
    };
    let expected = Settings {
        manifest: Some(file("Cargo.toml")),
        all: Choices {
            cmdline: "log=debug root=/dev/sda1".into(),
            modules: vec![module("initrd.img", ""), module("font.gz", "a font")],
            packed: vec![file("font.gz")],
            memory: Some("1.5G".into()),
            cpus: Some(4),
            cpu: Some("max,-avx".into()),
            machine: Some("pc".into()),
            cd: Some(true),
            usb: Some(true),
            qemu_args: vec!["-device".into(), "e1000".into()],
            timeout: Some(Duration::from_secs(600)),
            display: Some(true),
        },
        test: Choices {
            cmdline: "test".into(),
            modules: vec![module("initrd.img", "again")],
            packed: Vec::new(),
            memory: Some("64M".into()),
            cpus: Some(1),
            cpu: Some("Haswell".into()),
            machine: Some("q35".into()),
            cd: Some(false),
            usb: Some(false),
            qemu_args: vec!["-snapshot".into()],
            timeout: Some(Duration::from_secs(5)),
            display: Some(false),
        },
    };
    assert_eq!(package.settings(), expected);
    for key in KEYS {
        assert!(
            ALL.contains(&format!("\n{} = ", key.name)) || ALL.contains(&format!(".{}]", key.name)),
            "no {} here",
            key.name
        );
    }
}

#[test]
fn most_packages_have_none() {
    for settings in [
        "",
        "[package.metadata]\nbootpath-like = 1\n",
        "[dependencies]\nbootpath = \"1\"\n",
        "[workspace.metadata.bootpath]\nmodlues = 1\n",
    ] {
        let package = Package::new(settings);
        let read = Settings::read(&package.path("Cargo.toml")).unwrap();
        assert_eq!(read, None, "{settings}");
    }
    assert_eq!(Package::new(TABLE).settings().all, Choices::default());
}

/// Settings, the line and the part of it that are shown, and what is said.
const WRONG: &[(&str, usize, &str, &str)] = &[
    (
        "modlues = []",
        7,
        "modlues",
        "unknown key `modlues`; did you mean `modules`?",
    ),
    (
        "cpus = 2\n\"qemu_args\" = []",
        8,
        "\"qemu_args\"",
        "unknown key `qemu_args`; did you mean `qemu-args`?",
    ),
    (
        "run-command = 1",
        7,
        "run-command",
        "unknown key `run-command`; there are `cmdline`, `modules`, `memory`, `cpus`, `cpu`, `machine`, \
         `cd`, `usb`, `qemu-args`, `timeout`, `display`, `test`",
    ),
    // The first one in the file.
    (
        "zzz = 1\naaa = 1",
        7,
        "zzz",
        "unknown key `zzz`; there are ",
    ),
    (
        "test.timout = 5",
        7,
        "timout",
        "unknown key `timout`; did you mean `timeout`?",
    ),
    (
        "test.test.timeout = 5",
        7,
        "test",
        "unknown key `test`; there are ",
    ),
    (
        "modules = [{ fiel = \"x\" }]",
        7,
        "fiel",
        "unknown key `fiel`; did you mean `file`?",
    ),
    (
        "modules = [{ text = \"x\" }]",
        7,
        "{ text = \"x\" }",
        "a module needs a `file`",
    ),
    (
        "modules = [3]",
        7,
        "3",
        "`modules` takes an array of files: strings, or tables with `file`, `text` and `packed`, not 3",
    ),
    (
        "modules = \"initrd.img\"",
        7,
        "\"initrd.img\"",
        "`modules` takes an array of files",
    ),
    (
        "modules = [\n  \"initrd.img\",\n  \"gone.img\",\n]",
        9,
        "\"gone.img\"",
        "the module …/gone.img cannot be opened: No such file",
    ),
    (
        "modules = [\".\"]",
        7,
        "\".\"",
        "the module …/. is a directory",
    ),
    (
        "modules = [\"\"]",
        7,
        "\"\"",
        "`file` takes a string that is not empty, not \"\"",
    ),
    (
        "modules = [{ file = \"initrd.img\", packed = 1 }]",
        7,
        "1",
        "`packed` takes true or false, not 1",
    ),
    (
        "modules = [{ file = \"initrd.img\", text = 1 }]",
        7,
        "1",
        "`text` takes a string, not 1",
    ),
    (
        "cmdline = 3.5",
        7,
        "3.5",
        "`cmdline` takes a string, not 3.5",
    ),
    (
        "cmdline = \"a\\nb\"",
        7,
        "\"a\\nb\"",
        "`cmdline` takes one line without control characters, not \"a\\nb\"",
    ),
    (
        "memory = \"2 gigs\"",
        7,
        "\"2 gigs\"",
        "`memory` takes a string such as \"512M\" or \"2G\", not \"2 gigs\"",
    ),
    (
        "memory = 512",
        7,
        "512",
        "`memory` takes a string such as \"512M\" or \"2G\", not 512",
    ),
    (
        "memory = \"0\"",
        7,
        "\"0\"",
        "`memory` takes a string such as",
    ),
    (
        "cpus = 0",
        7,
        "0",
        "`cpus` takes a whole number from 1 on, not 0",
    ),
    (
        "cpus = -1",
        7,
        "-1",
        "`cpus` takes a whole number from 1 on, not -1",
    ),
    (
        "cpus = 4_294_967_296",
        7,
        "4_294_967_296",
        "`cpus` takes a whole number from 1 on, not 4",
    ),
    (
        "cpus = \"2\"",
        7,
        "\"2\"",
        "`cpus` takes a whole number from 1 on, not \"2\"",
    ),
    (
        "cpu = \"\"",
        7,
        "\"\"",
        "`cpu` takes a string that is not empty, not \"\"",
    ),
    (
        "machine = true",
        7,
        "true",
        "`machine` takes a string, not true",
    ),
    (
        "cd = \"yes\"",
        7,
        "\"yes\"",
        "`cd` takes true or false, not \"yes\"",
    ),
    ("usb = 1", 7, "1", "`usb` takes true or false, not 1"),
    (
        "display = []",
        7,
        "[]",
        "`display` takes true or false, not an array",
    ),
    (
        "qemu-args = \"-s -S\"",
        7,
        "\"-s -S\"",
        "`qemu-args` takes an array of strings, not \"-s -S\"",
    ),
    (
        "qemu-args = [\"-m\", 64]",
        7,
        "64",
        "`qemu-args` takes a string, not 64",
    ),
    (
        "timeout = 0",
        7,
        "0",
        "`timeout` takes a whole number of seconds from 1 on, not 0",
    ),
    (
        "timeout = 1.5",
        7,
        "1.5",
        "`timeout` takes a whole number of seconds from 1 on, not 1.5",
    ),
    (
        "test.timeout = 2026-01-01",
        7,
        "2026-01-01",
        "`timeout` takes a whole number of seconds from 1 on, not 2026-01-01",
    ),
    ("test = 60", 7, "60", "`test` takes a table, not 60"),
    ("cpus = ", 7, "", ""),
    ("cpus = 1\ncpus = 2", 8, "cpus", "duplicate key"),
];

#[test]
fn what_is_wrong_is_named_with_its_line() {
    for &(settings, line, part, message) in WRONG {
        let package = Package::new(&format!("{TABLE}{settings}\n"));
        let problem = package.problem();
        let shown = problem.to_string();
        assert_eq!(problem.line, line, "{shown}");
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines.len(), 3, "{shown}");
        let text = format!("{HEAD}{TABLE}{settings}");
        let text = text.lines().nth(line - 1).unwrap();
        assert_eq!(lines[1], format!("{line:>5} | {text}"));
        if !part.is_empty() {
            let marked: String = text.chars().collect::<Vec<_>>()[problem.columns]
                .iter()
                .collect();
            assert_eq!(marked, part, "{shown}");
        }
        let folder = package.folder.path().display().to_string();
        let said = problem.message.replace(&folder, "…");
        assert!(said.starts_with(message), "{shown}");
    }
    let problem = Package::new("[package.metadata]\nbootpath = 3\n").problem();
    assert_eq!(
        problem.message,
        "`package.metadata.bootpath` takes a table, not 3"
    );
}

/// Each key refuses a value of another type, and so does the same key for tests.
#[test]
fn no_key_takes_any_value() {
    for key in KEYS {
        for table in ["", "test."] {
            for (value, is_refused) in [
                ("1979-05-27", true),
                ("{}", key.name != "test" || !table.is_empty()),
            ] {
                let package = Package::new(&format!("{TABLE}{table}{} = {value}\n", key.name));
                let read = Settings::read(&package.path("Cargo.toml"));
                assert_eq!(
                    read.is_err(),
                    is_refused,
                    "{table}{} = {value}: {read:?}",
                    key.name
                );
            }
        }
    }
}

fn words(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}

#[test]
fn the_command_line_goes_before_the_settings() {
    let package = Package::new(ALL);
    let settings = package.settings();
    let mut options = Options::new("kernel");
    settings.complete(&mut options, false);
    assert_eq!(options.words, words(&["log=debug root=/dev/sda1"]));
    assert_eq!(options.arguments, words(&["-device", "e1000"]));
    assert_eq!(options.modules, settings.all.modules);
    assert_eq!(options.packed, settings.all.packed);
    assert_eq!(options.memory.as_deref(), Some("1.5G"));
    assert_eq!(options.cpus, Some(4));
    assert_eq!(options.cpu.as_deref(), Some("max,-avx"));
    assert_eq!(options.machine.as_deref(), Some("pc"));
    assert_eq!(options.timeout, Some(Duration::from_secs(600)));
    assert!(options.cd && options.usb && options.display);

    let given = Options {
        words: words(&["word"]),
        arguments: words(&["-S"]),
        modules: vec![settings.all.modules[1].clone()],
        memory: Some("32M".into()),
        cpus: Some(8),
        cpu: Some("host".into()),
        machine: Some("isapc".into()),
        timeout: Some(Duration::from_secs(1)),
        ..Options::new("kernel")
    };
    let mut options = given.clone();
    settings.complete(&mut options, false);
    assert_eq!(options.words, words(&["log=debug root=/dev/sda1", "word"]));
    assert_eq!(options.arguments, words(&["-device", "e1000", "-S"]));
    assert_eq!(options.modules.len(), 3);
    assert_eq!(options.modules[2], given.modules[0]);
    assert_eq!(options.memory, given.memory);
    assert_eq!(options.cpus, given.cpus);
    assert_eq!(options.cpu, given.cpu);
    assert_eq!(options.machine, given.machine);
    assert_eq!(options.timeout, given.timeout);
}

#[test]
fn tests_have_settings_of_their_own() {
    let package = Package::new(ALL);
    let settings = package.settings();
    let mut options = Options {
        words: words(&["--nocapture"]),
        ..Options::new("kernel")
    };
    settings.complete(&mut options, true);
    assert_eq!(
        options.words,
        words(&["log=debug root=/dev/sda1", "test", "--nocapture"])
    );
    assert_eq!(options.arguments, words(&["-device", "e1000", "-snapshot"]));
    let all = [&settings.all.modules[..], &settings.test.modules].concat();
    assert_eq!(options.modules, all);
    assert_eq!(options.packed, settings.all.packed);
    assert_eq!(options.memory.as_deref(), Some("64M"));
    assert_eq!(options.cpus, Some(1));
    assert_eq!(options.cpu.as_deref(), Some("Haswell"));
    assert_eq!(options.machine.as_deref(), Some("q35"));
    assert_eq!(options.timeout, Some(Duration::from_secs(5)));
    assert!(!options.cd && !options.usb && !options.display);

    // What the table of tests does not say is as in a run, but for the window.
    let package = Package::new(&format!(
        "{TABLE}display = true\ncd = true\nmemory = \"1G\"\n"
    ));
    let complete = |timeout, gdb, is_test| {
        let mut options = Options {
            timeout,
            gdb,
            ..Options::new("kernel")
        };
        package.settings().complete(&mut options, is_test);
        options
    };
    let options = complete(None, false, true);
    assert_eq!(options.memory.as_deref(), Some("1G"));
    assert!(options.cd && !options.display);
    assert_eq!(options.timeout, Some(TEST_TIMEOUT));
    // Nobody is quick enough in a debugger, and a run may last.
    assert_eq!(complete(None, true, true).timeout, None);
    assert_eq!(complete(None, false, false).timeout, None);
    let one = Some(Duration::from_secs(1));
    assert_eq!(complete(one, true, true).timeout, one);
}

#[test]
fn an_image_has_its_own_kernel() {
    let package = Package::new(ALL);
    let mut sector = [0; 512];
    sector[510..].copy_from_slice(&[0x55, 0xAA]);
    fs::write(package.path("disk.img"), sector).unwrap();
    let mut options = Options::new(package.path("disk.img"));
    package.settings().complete(&mut options, true);
    assert_eq!(options.words, words(&[]));
    assert!(options.modules.is_empty() && options.packed.is_empty());
    assert_eq!(options.memory.as_deref(), Some("64M"));
    assert_eq!(options.arguments, words(&["-device", "e1000", "-snapshot"]));
}

/// `disk-builder run FILE` with a variable that cargo sets; what it says of the first bad setting
/// that it finds.
fn said(file: &PathBuf, package: Option<&PathBuf>, arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_disk-builder"));
    command
        .arg("run")
        .args(arguments)
        .arg(file)
        .stdin(Stdio::null());
    match package {
        Some(package) => command.env("CARGO_MANIFEST_DIR", package),
        None => command.env_remove("CARGO_MANIFEST_DIR"),
    };
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(Status::NotRun.code().into()));
    assert!(output.stdout.is_empty());
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn settings_are_found() {
    let bad = |name: &str| Package::new(&format!("{TABLE}{name} = 1\n"));
    let (cargos, above, other) = (bad("cargos"), bad("above"), bad("other"));
    let plain = Package::new("");
    fs::create_dir_all(above.path("target/debug")).unwrap();
    above.file("target/debug/kernel", "no kernel");
    let kernel = above.path("target/debug/kernel");
    let folder = |package: &Package| package.folder.path().to_owned();

    let found = |package: Option<&Package>| said(&kernel, package.map(folder).as_ref(), &[]);
    assert!(found(Some(&cargos)).contains("unknown key `cargos`"));
    assert!(found(None).contains("unknown key `above`"));
    // What cargo runs is perhaps a tool, and the kernel another package's.
    assert!(found(Some(&plain)).contains("unknown key `above`"));
    let path = other.path("Cargo.toml");
    let argument = format!("--manifest-path={}", path.display());
    let shown = said(&kernel, Some(&folder(&cargos)), &[&argument]);
    let expected = format!(
        "disk-builder: {}:7: unknown key `other`; there are ",
        path.display()
    );
    assert!(shown.starts_with(&expected), "{shown}");
    assert!(
        shown.ends_with("\n    7 | other = 1\n      | ^^^^^\n"),
        "{shown}"
    );

    // One that is named has to be there, and to have settings.
    for (path, why) in [
        ("gone", "cannot read "),
        ("Cargo.toml", " has no settings: "),
    ] {
        let argument = format!("--manifest-path={}", plain.path(path).display());
        let shown = said(&kernel, None, &[&argument]);
        assert!(shown.contains(why), "{shown}");
    }
    // Without settings, the file is looked at.
    plain.file("kernel", "no kernel");
    let shown = said(&plain.path("kernel"), Some(&folder(&plain)), &[]);
    assert!(shown.contains("is neither a kernel"), "{shown}");
}

/// The manual's tables are made by hand, and have what the program knows.
#[test]
fn the_manual_has_every_key() {
    let page = include_str!("../../docs/testing-kernels.md");
    let rows: Vec<&str> = page
        .lines()
        .filter(|line| line.starts_with("| `"))
        .collect();
    for key in KEYS.iter().chain(&MODULE_KEYS) {
        let row = format!(
            "| `{}` | {} | {} |",
            key.name,
            key.kind.takes(),
            key.meaning
        );
        assert!(rows.contains(&row.as_str()), "no {row}");
    }
    for status in Status::ALL {
        let row = format!("| `{}` | {} |", status.name(), status.code());
        let there = rows.iter().any(|there| there.starts_with(&row));
        // Those end the program at once, with no line for them.
        let is_told = status.code() < 100 && status != Status::Usage;
        assert_eq!(there, is_told, "{row}");
    }
}
