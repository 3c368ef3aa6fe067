//! Each kernel that `disk-builder new` makes is built and booted as its README says: green, and red
//! after a change. It prints on both lines to the outside, and a debugger finds its way in.
#![cfg(unix)]

use std::env;
use std::ffi::OsString;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use anyhow::{Context as _, Result, ensure};
use disk_builder::new::TARGET;
use disk_builder::stages::workspace;
use machine_tests::machine::Machine;
use regex_lite::Regex;

/// This workspace's `disk-builder`.
fn tool() -> &'static Path {
    static TOOL: OnceLock<PathBuf> = OnceLock::new();
    TOOL.get_or_init(|| {
        let mut cargo = Command::new("cargo");
        cargo.args(["build", "--quiet", "--package", "disk-builder"]);
        let status = cargo.current_dir(workspace()).status().expect("cargo");
        assert!(status.success(), "disk-builder does not build");
        // Tests are in `deps`, beside the programs.
        let test = env::current_exe().expect("the test's own path");
        let programs = test.ancestors().nth(2).expect("the folder of programs");
        programs.join("disk-builder")
    })
}

/// A kernel, in a folder of its own that is the same each time: nothing piles up in the shared folder
/// of what is built.
struct Kernel {
    name: &'static str,
    folder: PathBuf,
}

impl Kernel {
    fn new(name: &'static str, options: &[&str]) -> Result<Self> {
        let folder = kernels().join(name);
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        let mut new = Command::new(tool());
        let output = new.arg("new").arg(&folder).args(options).output()?;
        ensure!(output.status.success(), "{output:?}");
        let next = String::from_utf8(output.stdout)?;
        ensure!(next.starts_with(&format!("{name}, a kernel in ")), "{next}");
        Ok(Self { name, folder })
    }

    /// A program, in the kernel's folder and with `disk-builder` installed.
    fn command(&self, program: &str) -> Result<Command> {
        let mut command = Command::new(program);
        // Variables that this workspace's cargo has set are not for the new kernel.
        let of_this_cargo = |name: &OsString| {
            let name = name.to_string_lossy();
            name.starts_with("CARGO") && name != "CARGO_HOME" && name != "CARGO_INCREMENTAL"
        };
        for name in env::vars_os().map(|(name, _)| name).filter(of_this_cargo) {
            command.env_remove(name);
        }
        let directory = tool().parent().context("the tool's folder")?;
        let path = env::var_os("PATH").context("PATH")?;
        let directories = [directory.to_owned()]
            .into_iter()
            .chain(env::split_paths(&path));
        command
            .current_dir(&self.folder)
            .env("PATH", env::join_paths(directories)?)
            .stdin(Stdio::null());
        Ok(command)
    }

    /// cargo, from the network only if crates are missing.
    fn cargo(&self, arguments: &[&str]) -> Result<Output> {
        if !self.folder.join("Cargo.lock").exists() {
            let mut cargo = self.command("cargo")?;
            if !cargo
                .args(["fetch", "--offline"])
                .output()?
                .status
                .success()
            {
                let fetched = self.command("cargo")?.arg("fetch").output()?;
                let error = String::from_utf8_lossy(&fetched.stderr);
                ensure!(fetched.status.success(), "cargo fetch: {error}");
            }
        }
        let mut cargo = self.command("cargo")?;
        Ok(cargo
            .args(arguments)
            .env("CARGO_NET_OFFLINE", "true")
            .output()?)
    }

    /// `cargo run` or `cargo test`, and the words behind `--`.
    fn boots(&self, action: &str, words: &[&str]) -> Result<Output> {
        let target = kernels().join("target");
        let target = target.to_str().context("UTF-8")?;
        self.cargo(&[&[action, "--target-dir", target, "--"], words].concat())
    }

    fn change(&self, file: &str, old: &str, new: &str) -> Result<()> {
        let path = self.folder.join(file);
        let text = fs::read_to_string(&path)?;
        ensure!(text.matches(old).count() == 1, "{old:?} in {file}:\n{text}");
        Ok(fs::write(path, text.replace(old, new))?)
    }

    /// Whether it prints, behind the loader's lines, what it was told.
    fn tells(&self, output: &Output, words: &str) -> Result<()> {
        let lines = ended(output, 0)?;
        let first = format!(
            "{}, started by Bootpath {}",
            self.name,
            env!("CARGO_PKG_VERSION")
        );
        let start = lines.iter().position(|line| *line == first);
        let lines = &lines[start.with_context(|| format!("no {first:?}: {lines:#?}"))?..];
        ensure!(lines[1] == format!("command line: {words}"), "{lines:#?}");
        let (last, map) = lines[2..].split_last().context("a memory map")?;
        ensure!(last == "modules: 0", "{lines:#?}");
        let row = Regex::new("^  0x[0-9a-f]{12} +[0-9]+ KiB [A-Za-z ]+$")?;
        ensure!(map.iter().all(|line| row.is_match(line)), "{map:#?}");
        for kind in ["usable", "reclaimable", "kernel"] {
            let has = |line: &String| line.to_lowercase().contains(kind);
            ensure!(map.iter().any(has), "{kind}: {map:#?}");
        }
        Ok(())
    }

    /// With a module, and a word that lets it stay: starts it, and waits until it has printed all.
    fn stays(&self, program: &Path) -> Result<machine_tests::machine::Running> {
        let image = kernels().join(format!("{}.img", self.name));
        fs::write(self.folder.join("module"), "twelve bytes")?;
        let mut build = self.command("disk-builder")?;
        build
            .args(["build", "--cmdline=stay", "--module=module", "--kernel"])
            .arg(program)
            .arg("--output")
            .arg(&image);
        let output = build.output()?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{error}");
        let mut running = Machine::new(&image).start()?;
        let serial = running.wait_for(": 12 bytes")?;
        let lines: Vec<_> = serial.lines().map(str::trim_end).collect();
        ensure!(lines.contains(&"modules: 1"), "{serial}");
        Ok(running)
    }

    /// `debug.gdb`, but on a port that is free, stops at the kernel's first instruction.
    fn is_debugged(&self, program: &Path, standard_program: &str) -> Result<()> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let place = format!("localhost:{port}");
        self.change("debug.gdb", "localhost:1234", &place)?;
        let script = fs::read_to_string(self.folder.join("debug.gdb"))?;
        let symbols = script.lines().find(|line| line.starts_with("symbol-file"));
        let named = symbols.is_some_and(|line| line.ends_with(&format!(" {standard_program}")));
        ensure!(named, "{script}");
        let script = script.replace(
            symbols.context("symbols")?,
            &symbols
                .unwrap_or_default()
                .replace(standard_program, &program.to_string_lossy()),
        );
        fs::write(self.folder.join("debug.gdb"), script)?;
        let mut run = self.command("disk-builder")?;
        run.args(["run", "--timeout=60"]).arg(program);
        run.args(["--", "-S", "-gdb", &format!("tcp:{place}")]);
        let mut run = run.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let mut gdb = self.command("gdb")?;
        let gdb = gdb
            .args(["--batch", "--nx", "-x", "debug.gdb"])
            .args(["-ex", "info symbol $pc", "-ex", "info line", "-ex", "kill"])
            .output();
        // If gdb did not end it, the time-out would.
        let _ = run.kill();
        run.wait()?;
        let gdb = gdb?;
        let said = String::from_utf8_lossy(&gdb.stdout);
        // A breakpoint at a function is behind what makes its stack frame.
        let place = Regex::new(r"(?m)^_start( \+ [0-9]+)? in section \.text")?;
        ensure!(place.is_match(&said), "{gdb:?}");
        let source = Regex::new("(?m)^Line [0-9]+ of ")?;
        ensure!(source.is_match(&said), "no source: {said}");
        Ok(())
    }
}

/// The folder of all kernels.
fn kernels() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("new-kernels")
}

/// The lines on standard output, after the expected exit status.
fn ended(output: &Output, status: i32) -> Result<Vec<String>> {
    let serial = String::from_utf8_lossy(&output.stdout);
    let error = String::from_utf8_lossy(&output.stderr);
    let ended = output.status.code();
    ensure!(ended == Some(status), "{ended:?}: {error}\n{serial}");
    Ok(serial
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect())
}

const GREEN: [&str; 2] = [
    "memory map is sorted: ok",
    "memory map knows the kernel: ok",
];

fn is_green(output: &Output) -> Result<()> {
    let lines = ended(output, 0)?;
    ensure!(lines.ends_with(&GREEN.map(str::to_owned)), "{lines:#?}");
    Ok(())
}

/// Whether kernels in Rust can be built here. Installs what is missing.
fn has_target() -> Result<bool> {
    static IS_THERE: OnceLock<bool> = OnceLock::new();
    let libraries = Command::new("rustc")
        .args(["--print", "target-libdir", "--target", TARGET])
        .output()?;
    let folder = String::from_utf8(libraries.stdout)?;
    let is_there = *IS_THERE.get_or_init(|| {
        let mut rustup = Command::new("rustup");
        Path::new(folder.trim_end()).is_dir()
            || rustup
                .args(["target", "add", TARGET])
                .status()
                .is_ok_and(|status| status.success())
    });
    if !is_there {
        eprintln!("NOT TRIED: `rustup target add {TARGET}` failed here");
    }
    Ok(is_there)
}

/// What is the same for both kernels in Rust, but for the two texts of the change.
fn rust_kernel(
    name: &'static str,
    options: &[&str],
    wrong: (&str, &str),
) -> Result<(Kernel, PathBuf)> {
    let kernel = Kernel::new(name, options)?;
    let run = kernel.boots("run", &["some", "--words"])?;
    kernel.tells(&run, "some --words")?;
    let test = kernel.boots("test", &[])?;
    is_green(&test)?;
    if options.is_empty() {
        readme_promises(&kernel, &[run.stdout, test.stdout, test.stderr].concat())?;
    }

    // A change that is wrong is found, and cargo passes the status on.
    kernel.change("tests/boots.rs", wrong.0, wrong.1)?;
    let red = kernel.boots("test", &[])?;
    let lines = ended(&red, 10)?;
    let panicked = |line: &String| line.starts_with("panicked at tests/boots.rs:");
    ensure!(lines.iter().any(panicked), "{lines:#?}");
    let error = String::from_utf8_lossy(&red.stderr);
    let reported = "the kernel reported failure: it wrote 11h to port F4h";
    ensure!(error.contains(reported), "{error}");
    kernel.change("tests/boots.rs", wrong.1, wrong.0)?;

    let target = kernels().join("target");
    let program = target.join(TARGET).join("debug").join(name);
    kernel.is_debugged(&program, &format!("target/{TARGET}/debug/{name}"))?;
    is_clean(&kernel)?;
    Ok((kernel, program))
}

/// Whether README's first screen shows what this kernel prints. Words behind `≈` differ.
fn readme_promises(kernel: &Kernel, output: &[u8]) -> Result<()> {
    let readme = fs::read_to_string(disk_builder::stages::workspace().join("README.md"))?;
    let first = readme.split("\n## ").next().context("a first screen")?;
    let blocks = first.split("```text example\n").skip(1);
    let shown = blocks.flat_map(|block| block.lines().take_while(|line| *line != "```"));
    let output = String::from_utf8_lossy(output);
    let mut count = 0;
    for line in shown.filter(|line| *line != "…") {
        let line = line.replace("my-kernel", kernel.name);
        let line = line.replace("some words", "some --words");
        let is_it = |printed: &str| {
            let (mut words, mut others) = (line.split_whitespace(), printed.split_whitespace());
            words.all(|word| {
                others
                    .next()
                    .is_some_and(|other| word == other || word.starts_with('≈'))
            }) && others.next().is_none()
        };
        ensure!(
            output.lines().any(is_it),
            "README shows {line:?}:\n{output}"
        );
        count += 1;
    }
    ensure!(count > 10, "README shows {count} lines");
    Ok(())
}

/// What its workflow demands besides. Both tools are components that a toolchain may not have.
fn is_clean(kernel: &Kernel) -> Result<()> {
    let target = kernels().join("target");
    let target = target.to_str().context("UTF-8")?;
    let clippy = [
        "clippy",
        "--bins",
        "--lib",
        "--tests",
        "--target-dir",
        target,
    ];
    for arguments in [
        &["fmt", "--all", "--check"][..],
        &[&clippy[..], &["--", "--deny", "warnings"]].concat(),
        &[
            "clippy",
            "--all-targets",
            "--target-dir",
            target,
            "--",
            "--deny",
            "warnings",
        ],
    ] {
        if kernel.cargo(&[arguments[0], "--version"])?.status.success() {
            let output = kernel.cargo(arguments)?;
            ended(&output, 0).with_context(|| format!("{arguments:?}"))?;
        }
    }
    Ok(())
}

#[test]
fn a_kernel_in_rust() -> Result<()> {
    if !has_target()? {
        return Ok(());
    }
    let wrong = ("Some(MemoryKind::Kernel)", "Some(MemoryKind::Bad)");
    let (kernel, program) = rust_kernel("new-rust", &[], wrong)?;
    kernel.stays(&program)?.wait_for_screen("modules: 1")?;

    kernel.change(
        "src/main.rs",
        "    exit(EXIT_SUCCESS)",
        "    panic!(\"a bug\")",
    )?;
    let lines = ended(&kernel.boots("run", &[])?, 10)?;
    ensure!(lines.ends_with(&["a bug".into()]), "{lines:#?}");
    // Even where the console is in use: its lock does not keep the report from being printed.
    let buggy = "println!(\"{}\", { assert!(boot.modules().len() == 7); 0 })";
    kernel.change(
        "src/main.rs",
        "panic!(\"a bug\")",
        &format!("{buggy}; loop {{}}"),
    )?;
    let lines = ended(&kernel.boots("run", &[])?, 10)?;
    let last = "assertion failed: boot.modules().len() == 7";
    ensure!(lines.ends_with(&[last.into()]), "{lines:#?}");
    Ok(())
}

#[test]
fn a_kernel_for_limine() -> Result<()> {
    if !has_target()? {
        return Ok(());
    }
    let wrong = ("EntryType::EXECUTABLE_AND_MODULES", "EntryType::BAD_MEMORY");
    let (kernel, program) = rust_kernel("new-limine", &["--limine"], wrong)?;
    let running = kernel.stays(&program)?;

    // The screen shows pixels: letters in the first row, and nothing below the last one.
    let picture = running.picture()?;
    ensure!(picture.is_text().is_err(), "no framebuffer");
    let bright = |rows: std::ops::Range<usize>| {
        let line = 3 * picture.width;
        let pixels = &picture.pixels[rows.start * line..rows.end * line];
        pixels.iter().filter(|&&color| color > 0x80).count()
    };
    let rows = running
        .serial()
        .lines()
        .skip_while(|line| !line.starts_with("new-limine"))
        .count();
    ensure!(
        bright(0..16) > 500 && bright(16 * (rows - 1)..16 * rows) > 300,
        "{rows} rows"
    );
    ensure!(bright(16 * rows..picture.height) == 0, "{rows} rows");
    Ok(())
}

#[test]
fn a_kernel_in_c() -> Result<()> {
    let kernel = Kernel::new("new-c", &["--c"])?;
    let make = |arguments: &[&str]| -> Result<Output> {
        let mut make = kernel.command("make")?;
        Ok(make
            .env_remove("MAKEFLAGS")
            .arg("--silent")
            .args(arguments)
            .output()?)
    };
    let run = make(&["run", "CMDLINE=some --words"])?;
    kernel.tells(&run, "some --words")?;
    is_green(&make(&["test"])?)?;
    kernel.change("tests/boots.c", "ASSERT(knows)", "ASSERT(!knows)")?;
    let red = make(&["test"])?;
    let lines = ended(&red, 2)?; // make's own, for any failure
    let said = Regex::new("^panic at tests/boots.c:[0-9]+: !knows$")?;
    ensure!(
        lines.last().is_some_and(|line| said.is_match(line)),
        "{lines:#?}"
    );
    ensure!(
        String::from_utf8_lossy(&red.stderr).contains("Error 10"),
        "{red:?}"
    );

    let program = kernel.folder.join("kernel.elf");
    kernel.stays(&program)?.wait_for_screen("modules: 1")?;
    kernel.is_debugged(&program, "kernel.elf")
}
