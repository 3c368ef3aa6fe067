//! What `--help` says behind the options: examples, and what the exit status means.

use disk_builder::run::Status;

use super::terminal::{COMMAND, HEADING};

/// What `disk-builder` alone says: what most people want first.
pub fn start() -> String {
    const FIRST: [(&str, &str); 4] = [
        ("new FOLDER", "make a new kernel"),
        ("run KERNEL", "boot a kernel in QEMU"),
        (
            "build --kernel KERNEL --output IMAGE",
            "make a disk image that boots it",
        ),
        ("inspect IMAGE", "show what is in an image, and check it"),
    ];
    let mut text = String::from("Builds, inspects and runs Bootpath disk images.\n\n");
    for (command, what) in FIRST {
        text += &format!("  {COMMAND}disk-builder {command:<36}{COMMAND:#}  {what}\n");
    }
    text + "\n`disk-builder --help` lists all commands, `disk-builder COMMAND --help` explains one \
            with examples.\n"
}

/// A line that one can type, and what it is for.
type Example = (&'static str, &'static str);

/// Examples of the program.
pub const ALL: [Example; 2] = [
    ("disk-builder run kernel.elf", "Boot a kernel in QEMU."),
    (
        "disk-builder help build",
        "What a command can do, with examples.",
    ),
];

/// Examples of `new`.
pub const NEW: [Example; 3] = [
    (
        "disk-builder new mykernel",
        "A kernel in Rust: `cargo run` boots it, `cargo test` its tests.",
    ),
    (
        "disk-builder new --c kernel-in-c",
        "A kernel in C: `make run`, `make test`.",
    ),
    (
        "disk-builder new --limine kernels/first --name mykernel",
        "The one in Rust, by the Limine protocol, with a name of its own.",
    ),
];

/// Examples of `header`.
pub const HEADER: [Example; 2] = [
    ("disk-builder header", "Show it."),
    (
        "disk-builder header --output bootpath.h",
        "Write it, or replace an older one.",
    ),
];

/// Examples of `build`.
pub const BUILD: [Example; 5] = [
    (
        "disk-builder build --kernel kernel.elf --output disk.img",
        "An image that boots kernel.elf: from a disk, a USB stick or in an emulator.",
    ),
    (
        "disk-builder build --kernel kernel.elf --module 'font.psf=the font' --cmdline 'log=debug' -o disk.img",
        "With a module, its text, and a command line.",
    ),
    (
        "disk-builder build --kernel kernel.elf --cd --output disk.iso",
        "An image that boots from a CD as well.",
    ),
    (
        "disk-builder build --entry new --kernel kernel.elf --entry old --kernel old.elf --default new -o disk.img",
        "Two boot entries; the loader boots the other one when a file of the first one is damaged.",
    ),
    (
        "disk-builder build --kernel kernel.elf --output disk.img --json",
        "What was built, for programs.",
    ),
];

/// Examples of `run`.
pub const RUN: [Example; 4] = [
    (
        "disk-builder run kernel.elf",
        "Boot a kernel; its serial line is this terminal.",
    ),
    (
        "disk-builder run --timeout 60 kernel.elf --nocapture",
        "The same for at most a minute, with a command line for the kernel.",
    ),
    (
        "disk-builder run --memory 1G --cpus 4 disk.img -- -device e1000",
        "Boot an image, with more hardware.",
    ),
    (
        "disk-builder run --gdb kernel.elf",
        "Wait for a debugger; the line that starts one is printed.",
    ),
];

/// Examples of `inspect`.
pub const INSPECT: [Example; 2] = [
    (
        "disk-builder inspect disk.img",
        "What lies where, what is booted, and what the loader would refuse.",
    ),
    (
        "disk-builder inspect --json disk.img",
        "The same for programs.",
    ),
];

/// Examples of `multiboot`.
pub const MULTIBOOT: [Example; 2] = [
    (
        "disk-builder multiboot --output bootpath.elf",
        "A program that GRUB starts by `multiboot /bootpath.elf` and `module /kernel.elf /boot/kernel.elf`.",
    ),
    (
        "disk-builder multiboot --force --json -o bootpath.elf",
        "Whatever bootpath.elf is now, it is replaced; and what was written, for programs.",
    ),
];

/// Examples of `transcript`.
pub const TRANSCRIPT: [Example; 2] = [
    (
        "disk-builder run disk.img | disk-builder transcript",
        "Boot an image that was built with --record, and show what its BIOS said.",
    ),
    (
        "disk-builder transcript serial.log",
        "The same from a log, for example that of a PC's serial line.",
    ),
];

/// Examples of `listing`.
pub const LISTING: [Example; 1] = [(
    "disk-builder listing stage1",
    "The MBR, instruction by instruction.",
)];

/// Examples of `program`.
pub const PROGRAM: [Example; 2] = [
    (
        "disk-builder program stage2",
        "Where the loader's ELF file is, which has its symbols.",
    ),
    (
        "disk-builder program stage1 --output stage1.elf",
        "The MBR that is part of this program.",
    ),
];

/// Examples of `version`.
pub const VERSION: [Example; 1] = [(
    "disk-builder version --verbose",
    "Which loader is in it: the SHA-256 sums of its programs.",
)];

/// Examples of `completions`.
#[cfg(feature = "cli-extras")]
pub const COMPLETIONS: [Example; 2] = [
    (
        "disk-builder completions bash > disk-builder.bash",
        "bash reads it from ~/.local/share/bash-completion/completions.",
    ),
    (
        "disk-builder completions zsh > _disk-builder",
        "zsh reads it from a folder in its $fpath.",
    ),
];

/// Examples of `man`.
#[cfg(feature = "cli-extras")]
pub const MAN: [Example; 2] = [
    (
        "disk-builder man build > disk-builder-build.1",
        "One page; `man -l` shows it.",
    ),
    (
        "disk-builder man --output man1",
        "All pages: `man` finds them in ~/.local/share/man/man1.",
    ),
];

/// What the statuses of most commands mean.
const STATUSES: [(Status, &str); 6] = [
    (Status::Success, "done"),
    (
        Status::NotRun,
        "not done: standard error says why, and an older output is as it was",
    ),
    (Status::Usage, Status::Usage.meaning()),
    (Status::HungUp, Status::HungUp.meaning()),
    (Status::Interrupted, Status::Interrupted.meaning()),
    (Status::Terminated, Status::Terminated.meaning()),
];

/// The examples and the exit statuses of a command.
pub fn after(examples: &[Example]) -> String {
    of_statuses(examples, &STATUSES)
}

/// The same of `run`, which has statuses of its own.
pub fn after_run() -> String {
    let all = Status::ALL.map(|status| (status, status.meaning()));
    of_statuses(&RUN, &all)
}

/// The same of `inspect`, which judges.
pub fn after_inspect() -> String {
    let mut all = STATUSES;
    all[0].1 = "the image is good";
    all[1].1 = "the loader would refuse it, or it cannot be read";
    of_statuses(&INSPECT, &all)
}

/// The same of the program.
pub fn after_all() -> String {
    of_statuses(&ALL, &STATUSES)
}

fn of_statuses(examples: &[Example], statuses: &[(Status, &str)]) -> String {
    let mut text = format!("{HEADING}Examples:{HEADING:#}\n");
    for (line, what) in examples {
        text += &format!("  {COMMAND}{line}{COMMAND:#}\n      {what}\n");
    }
    text += &format!("\n{HEADING}Exit status:{HEADING:#}\n");
    for (status, meaning) in statuses {
        text += &format!("{:>5}  {meaning}\n", status.code());
    }
    text
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};

    use super::super::Arguments;

    /// The lines of examples of a command's help.
    fn examples(help: &str) -> Vec<&str> {
        let lines = help.lines().map(str::trim_start);
        let behind = lines.skip_while(|line| *line != "Examples:");
        behind
            .filter(|line| line.starts_with("disk-builder "))
            .collect()
    }

    /// The commands of a line: words, without what the shell does.
    fn commands(line: &str) -> Vec<Vec<String>> {
        let words = shlex::split(line).unwrap_or_else(|| panic!("{line}"));
        let commands = words.split(|word| word == "|");
        let behind = |word: &String| word != ">";
        commands
            .map(|words| words.iter().cloned().take_while(behind).collect())
            .collect()
    }

    #[test]
    fn each_command_has_examples_that_its_parser_takes() {
        let mut all = 0;
        for command in Arguments::command().get_subcommands_mut() {
            let help = command.render_long_help().to_string();
            let short = command.render_help().to_string();
            let name = command.get_name();
            assert!(help.contains("\nExit status:\n    0  "), "{name}: {help}");
            assert!(!short.contains("Examples:") && !short.contains("Exit status:"));
            let lines = examples(&help);
            assert!(!lines.is_empty(), "{name}: {help}");
            for line in lines {
                let parts = commands(line);
                let its_own = |words: &Vec<String>| words.get(1).is_some_and(|word| word == name);
                assert!(parts.iter().any(its_own), "{name}: {line}");
                for words in parts {
                    let parsed = Arguments::try_parse_from(&words);
                    let error = parsed.err().map(|error| error.to_string());
                    assert_eq!(error, None, "{words:?}");
                    all += 1;
                }
            }
        }
        assert!(all > 15, "{all}");
    }
}
