//! How the program speaks: to people, to terminals, to logs and to other programs.
#![cfg(unix)]

mod support;

use std::fs::{self, File};
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use support::{Workshop, kernel};

/// The variables that say whether there is colour.
const COLOR: [&str; 5] = ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "TERM", "CI"];

fn command(workshop: &Workshop, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_disk-builder"));
    command.current_dir(workshop.path(".")).args(arguments);
    COLOR.iter().for_each(|name| {
        command.env_remove(name);
    });
    command.env("TERM", "xterm");
    command
}

fn said(output: &Output) -> (&str, &str) {
    let text = |bytes| str::from_utf8(bytes).unwrap();
    (text(&output.stdout), text(&output.stderr))
}

/// Runs the program, and returns what it says on standard output and on standard error.
#[track_caller]
fn run(workshop: &Workshop, status: i32, arguments: &[&str]) -> (String, String) {
    let output = command(workshop, arguments).output().unwrap();
    let (out, errors) = said(&output);
    assert_eq!(
        output.status.code(),
        Some(status),
        "{arguments:?}: {errors}"
    );
    (out.into(), errors.into())
}

/// Which of its outputs are a terminal.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Terminal {
    Both,
    #[cfg(all(target_os = "linux", feature = "cli-extras"))]
    OnlyOutput,
}

/// Runs a command on a terminal of its own, and returns all that appears there.
fn on_terminal(command: &mut Command, which: Terminal) -> String {
    let own = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&own).unwrap();
    unlockpt(&own).unwrap();
    let name = ptsname(&own, Vec::new()).unwrap();
    let other = || {
        let path = Path::new(name.to_str().unwrap());
        OwnedFd::from(File::options().read(true).write(true).open(path).unwrap())
    };
    command.stdin(Stdio::null()).stdout(other());
    if which == Terminal::Both {
        command.stderr(other());
    }
    let mut child = command.spawn().unwrap();
    // The command keeps what it was given. The terminal ends when the last one lets go of it.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    // On Linux, the end is an error.
    while let Ok(count @ 1..) = File::from(own.try_clone().unwrap()).read(&mut piece) {
        bytes.extend_from_slice(&piece[..count]);
    }
    child.wait().unwrap();
    String::from_utf8(bytes).unwrap().replace("\r\n", "\n")
}

const RED: &str = "\x1B[1m\x1B[31m";

#[test]
fn errors_are_red_on_a_terminal_alone() {
    let workshop = Workshop::new();
    let refused = ["inspect", "none.img"];
    let plain = "disk-builder: cannot open none.img: No such file or directory (os error 2)\n";
    let red = plain.replace("disk-builder:", &format!("{RED}disk-builder:\x1B[0m"));
    let on = |command: &mut Command| on_terminal(command, Terminal::Both);
    assert_eq!(run(&workshop, 1, &refused).1, plain);
    assert_eq!(on(&mut command(&workshop, &refused)), red);
    // Users have the last word; the command line has it over the environment.
    assert_eq!(on(command(&workshop, &refused).env("NO_COLOR", "1")), plain);
    let never = ["--color=never", "inspect", "none.img"];
    assert_eq!(on(&mut command(&workshop, &never)), plain);
    let forced = command(&workshop, &refused)
        .env("CLICOLOR_FORCE", "1")
        .output();
    assert_eq!(said(&forced.unwrap()).1, red);
    let always = ["inspect", "--color", "always", "none.img"];
    assert_eq!(run(&workshop, 1, &always).1, red);
    let both = command(&workshop, &always).env("NO_COLOR", "1").output();
    assert_eq!(said(&both.unwrap()).1, red);
}

/// clap's own messages come before the command line is known.
#[test]
fn help_and_usage_have_colour_as_all_else() {
    let workshop = Workshop::new();
    for (arguments, status) in [
        (&["build", "--nope"][..], 2),
        (&["build", "--help"], 0),
        (&["--help"], 0),
    ] {
        let has_colour = |text: &str| text.contains('\x1B');
        let (out, errors) = run(&workshop, status, arguments);
        assert!(!has_colour(&(out + &errors)), "{arguments:?}");
        let shown = on_terminal(&mut command(&workshop, arguments), Terminal::Both);
        assert!(has_colour(&shown), "{arguments:?}: {shown}");
        let never = [&["--color=never"], arguments].concat();
        let shown = on_terminal(&mut command(&workshop, &never), Terminal::Both);
        assert!(!has_colour(&shown), "{arguments:?}: {shown}");
        let always = [&["--color=always"], arguments].concat();
        let (out, errors) = run(&workshop, status, &always);
        assert!(has_colour(&(out + &errors)), "{arguments:?}");
    }
}

const BUILD: [&str; 6] = [
    "build",
    "--stages=.",
    "--kernel",
    "kernel.elf",
    "-o",
    "disk.img",
];

/// A workshop with an image, good or not.
fn with_image(good: bool) -> Workshop {
    let workshop = Workshop::new();
    workshop.file("kernel.elf", &kernel(10_000));
    run(&workshop, 0, &BUILD);
    if !good {
        let mut image = fs::read(workshop.path("disk.img")).unwrap();
        image[600] ^= 1;
        workshop.file("disk.img", &image);
    }
    workshop
}

#[test]
fn what_an_inspection_finds_has_its_colour() {
    let inspect = ["inspect", "disk.img", "--color=always"];
    let workshop = with_image(true);
    let (text, errors) = run(&workshop, 0, &inspect);
    assert!(
        text.ends_with("\x1B[32mno problems found\x1B[0m\n"),
        "{text}"
    );
    assert_eq!(errors, "");
    let (plain, _) = run(&workshop, 0, &["inspect", "disk.img"]);
    assert!(plain.ends_with("no problems found\n") && !plain.contains('\x1B'));
    let (text, errors) = run(&with_image(false), 1, &inspect);
    let start = format!("\n{RED}error 1C: stage2 is damaged");
    assert!(text.contains(&start), "{text}");
    // What to try is no part of the report.
    let advice = "  Test the memory. Writing the image again erases the disk: copy your files off it first.\n";
    assert_eq!(errors, advice);
}

#[test]
fn quiet_is_silent_but_for_errors() {
    let workshop = with_image(true);
    let nothing = (String::new(), String::new());
    let build = [&BUILD[..], &["--quiet"]].concat();
    assert_eq!(run(&workshop, 0, &build), nothing);
    assert_eq!(run(&workshop, 0, &["-q", "inspect", "disk.img"]), nothing);
    let (out, errors) = run(&with_image(false), 1, &["inspect", "-q", "disk.img"]);
    assert_eq!(out, "");
    assert!(
        errors.starts_with("disk-builder: error 1C: stage2 is damaged"),
        "{errors}"
    );
    let (_, errors) = run(&workshop, 1, &["--quiet", "inspect", "none"]);
    assert!(errors.starts_with("disk-builder: cannot open none: "));
}

#[test]
fn build_says_in_json_what_was_built() {
    let workshop = with_image(true);
    let (text, errors) = run(&workshop, 0, &[&BUILD[..], &["--json", "--cd"]].concat());
    assert_eq!(errors, "");
    let mut built: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(built["image"], "disk.img");
    assert_eq!(built["stage1_bytes"], 196);
    assert_eq!(built["stage1_cd_bytes"], 206);
    let (table, _) = run(&workshop, 0, &[&BUILD[..], &["--cd"]].concat());
    let stage2 = format!("\nstage2: {} bytes, ", built["stage2_bytes"]);
    assert!(table.contains(&stage2), "{table}");
    let length = fs::metadata(workshop.path("disk.img")).unwrap().len();
    assert_eq!(built["bytes"], length);
    assert_eq!(built["problems"].as_array().unwrap().len(), 0);
    assert_eq!(built["files"][0]["checksum"], "good");
    // All else is what `inspect` says.
    let (text, _) = run(&workshop, 0, &["inspect", "--json", "disk.img"]);
    let inspected: serde_json::Value = serde_json::from_str(&text).unwrap();
    let fields = built.as_object_mut().unwrap();
    for own in ["image", "stage1_bytes", "stage1_cd_bytes", "stage2_bytes"] {
        fields.remove(own).unwrap();
    }
    assert_eq!(built, inspected);
    // A kernel that is taken all the same has problems.
    workshop.file("kernel.elf", b"not a kernel");
    let (text, _) = run(
        &workshop,
        0,
        &[&BUILD[..], &["--json", "--unchecked"]].concat(),
    );
    let built: serde_json::Value = serde_json::from_str(&text).unwrap();
    let problems = built["problems"].as_array().unwrap();
    assert_eq!(problems[0], "error 10A: the kernel is not an ELF file");
}

#[cfg(all(target_os = "linux", feature = "cli-extras"))]
#[test]
fn progress_is_for_terminals() {
    let workshop = with_image(true);
    // Modules that take more than a second, though they take up no room. No machine has the memory.
    let module = File::create(workshop.path("module")).unwrap();
    module.set_len((4 << 30) - 1).unwrap();
    let build = [&BUILD[..], &["--unchecked"], &["--module=module"; 3]].concat();
    let shown = on_terminal(&mut command(&workshop, &build), Terminal::Both);
    assert!(shown.contains("writing the files: "), "{shown:?}");
    assert!(shown.contains(" of 12.00 GiB ["), "{shown:?}");
    // It is gone at the end: the last thing on the terminal is the table.
    let table = shown.rsplit_once("\x1B[2K").unwrap().1;
    assert!(table.starts_with("stage1: 196/440 bytes\n"), "{shown:?}");
    assert!(table.contains("/boot/modules/3-module ("), "{shown:?}");
    // A log has none of it, even if a terminal has the rest. What takes no time has none, either.
    let quiet = [&build[..], &["-q"]].concat();
    let shown = on_terminal(&mut command(&workshop, &quiet), Terminal::Both);
    assert_eq!(shown, "");
    let mut to_log = command(&workshop, &build);
    to_log.stderr(File::create(workshop.path("log")).unwrap());
    let shown = on_terminal(&mut to_log, Terminal::OnlyOutput);
    assert!(shown.starts_with("stage1: "), "{shown:?}");
    assert_eq!(fs::read_to_string(workshop.path("log")).unwrap(), "");
    let shown = on_terminal(&mut command(&workshop, &BUILD), Terminal::Both);
    assert!(shown.starts_with("stage1: "), "{shown:?}");
}

/// The lines of examples of a command's help.
fn examples(help: &str) -> impl Iterator<Item = &str> {
    let lines = help.lines().map(str::trim_start);
    let behind = lines.skip_while(|line| *line != "Examples:");
    behind.filter(|line| line.starts_with("disk-builder "))
}

/// Those that boot something are only parsed, by a test of the program.
#[test]
fn the_examples_of_the_help_work() {
    let workshop = with_image(true);
    workshop.file("old.elf", &kernel(2000));
    workshop.file("font.psf", b"a font");
    workshop.file("serial.log", b"bios: transcript 1\n12 handoff\n");
    let program = Path::new(env!("CARGO_BIN_EXE_disk-builder"));
    let path = std::env::var("PATH").unwrap();
    let path = format!("{}:{path}", program.parent().unwrap().display());
    let (help, _) = run(&workshop, 0, &["--help"]);
    let commands = help.lines().skip_while(|line| *line != "Commands:");
    let commands = commands.skip(1).take_while(|line| !line.is_empty());
    let names = commands.map(|line| line.split_whitespace().next().unwrap());
    let mut done = 0;
    for name in names.filter(|name| *name != "help") {
        let (help, _) = run(&workshop, 0, &[name, "--help"]);
        for line in examples(&help).filter(|line| !line.contains("disk-builder run ")) {
            let mut shell = Command::new("sh");
            shell.args(["-c", line]).current_dir(workshop.path("."));
            let output = shell.env("PATH", &path).output().unwrap();
            let (_, errors) = said(&output);
            assert!(output.status.success(), "{line}: {errors}");
            done += 1;
        }
    }
    assert!(done >= 12, "{done}");
    let program = fs::read(workshop.path("bootpath.elf")).unwrap();
    let more = ["multiboot", "--json", "-o", "bootpath.elf"];
    let (text, _) = run(&workshop, 0, &more);
    let built: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(built["program"], "bootpath.elf");
    assert_eq!(built["bytes"], program.len());
    assert_eq!(built["crc32c"], crc32c::crc32c(&program));
}

#[test]
fn alone_it_says_what_most_people_want() {
    let workshop = Workshop::new();
    let (out, errors) = run(&workshop, 2, &[]);
    assert_eq!(out, "");
    let commands = errors
        .lines()
        .filter_map(|line| line.strip_prefix("  disk-builder "));
    let names: Vec<_> = commands
        .map(|line| line.split(' ').next().unwrap())
        .collect();
    assert_eq!(names, ["new", "run", "build", "inspect"]);
    assert!(errors.lines().count() < 10, "{errors}");
}

#[test]
fn a_slip_gets_a_suggestion() {
    let workshop = Workshop::new();
    for (arguments, suggestion) in [
        (&["biuld"][..], "'build'"),
        (&["build", "--kernle=k"], "'--kernel'"),
        (&["run", "--timeuot", "5", "k"], "'--timeout'"),
        (&["run", "--timeuot=5", "k"], "'--timeout'"),
        (&["build", "-o=x", "--protocol=limin"], "'limine'"),
    ] {
        let (_, errors) = run(&workshop, 2, arguments);
        let tip = errors.lines().find(|line| line.trim().starts_with("tip: "));
        assert!(tip.is_some_and(|tip| tip.contains(suggestion)), "{errors}");
    }
}

#[cfg(feature = "cli-extras")]
#[test]
fn completions_complete() {
    let workshop = Workshop::new();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let (script, _) = run(&workshop, 0, &["completions", shell]);
        assert!(script.contains("--packed-module") || script.contains("packed-module"));
    }
    if Command::new("bash").arg("--version").output().is_err() {
        assert!(std::env::var_os("CI").is_none(), "bash is not installed");
        eprintln!("left out: bash is not installed");
        return;
    }
    let (script, _) = run(&workshop, 0, &["completions", "bash"]);
    workshop.file("completions", script.as_bytes());
    // As bash does it: by the function that the script has registered.
    let complete = "source ./completions; function=$(complete -p disk-builder); \
                    function=${function#* -F }; COMP_WORDS=(disk-builder build --pack); \
                    COMP_CWORD=2; ${function%% *} disk-builder --pack build; \
                    echo \"${COMPREPLY[@]}\"";
    let mut bash = Command::new("bash");
    bash.args(["-c", complete]).current_dir(workshop.path("."));
    let output = bash.output().unwrap();
    assert_eq!(said(&output), ("--packed-module\n", ""));
}

#[cfg(feature = "cli-extras")]
#[test]
fn each_command_has_a_man_page() {
    let workshop = Workshop::new();
    run(&workshop, 0, &["man", "--output", "share/man1"]);
    let names = fs::read_dir(workshop.path("share/man1")).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.collect();
    names.sort();
    for name in [
        "disk-builder.1",
        "disk-builder-build.1",
        "disk-builder-run.1",
    ] {
        assert!(names.iter().any(|found| found == name), "{names:?}");
    }
    assert!(!names.iter().any(|name| name.contains("help")), "{names:?}");
    let (page, _) = run(&workshop, 0, &["man", "build"]);
    let file = fs::read_to_string(workshop.path("share/man1/disk-builder-build.1")).unwrap();
    assert_eq!(page, file);
    for text in [
        ".TH disk-builder-build 1",
        "\\-\\-packed\\-module",
        "Exit status:",
    ] {
        assert!(page.contains(text), "{text}: {page}");
    }
    assert!(!page.contains('\x1B'), "{page}");
    let (_, errors) = run(&workshop, 1, &["man", "biuld"]);
    let expected = "disk-builder: there is no command biuld; there are new, run, build, inspect, ";
    assert!(errors.starts_with(expected), "{errors}");
    let (_, errors) = run(&workshop, 1, &["man", "--output", "stage1"]);
    assert_eq!(
        errors,
        "disk-builder: stage1 is a file: --output takes a folder\n"
    );
}
