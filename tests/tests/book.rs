//! The book is true: its pages can be followed, and what they promise is printed.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use boot_path::entry::entries;
use boot_path::entry::entry_file;
use boot_path::memory::layout;
use boot_path::memory::map;
use disk_builder::stages;
use machine_tests::book::page::{Block, Page};
use machine_tests::book::{Book, Outcome};
use machine_tests::linux;

/// Pages that are made from the program and compared with it, in `tests/tests/docs`. Each error of
/// the first one is provoked in `recipes.rs`.
const GENERATED: &[&str] = &["docs/errors.md", "docs/memory-layout.md"];

/// The headings under which a chapter says what happens.
const SECTIONS: [&str; 2] = ["What you should see", "Break it"];

/// The chapters are numbered from 1.
const CHAPTERS: usize = 12;

/// The least number of command blocks, and of promises, in all pages: fewer would mean that some
/// were not found.
const LEAST: usize = 60;

/// Blocks that are marked as examples: the page, the first line of the block, and why it is neither
/// run nor compared.
const EXAMPLES: &[(&str, &str, &str)] = &[
    ("README.md", "./run.sh", WINDOW),
    (
        "README.md",
        "cargo install --locked --path disk-builder && rustup target add x86_64-unknown-none",
        NEW_KERNEL,
    ),
    ("README.md", "Bootpath 0.1.0", NEW_KERNEL),
    ("README.md", "memory map is sorted: ok", NEW_KERNEL),
    ("README.md", "$ cargo run -- some words", README_KERNEL),
    (
        "README.md",
        "cargo run -p disk-builder -- multiboot --output bootpath.elf",
        "the kernel is the reader's own; docs/multiboot-in.md has the same with the demo kernel",
    ),
    (
        "README.md",
        "cargo run -p disk-builder -- build --output my.img",
        HARDWARE,
    ),
    (
        "docs/testing-kernels.md",
        "     Running tests/boots.rs (target/x86_64-unknown-none/debug/deps/boots-2c3f0c5d1a7b9e44)",
        TESTED,
    ),
    (
        "docs/testing-kernels.md",
        "disk-builder: /home/you/my-kernel/Cargo.toml:9: unknown key `modlues`; did you mean `modules`?",
        TESTED,
    ),
    (
        "docs/testing-kernels.md",
        "CARGO_TARGET_X86_64_UNKNOWN_NONE_RUNNER='disk-builder run --json' cargo test --no-fail-fast",
        TESTED,
    ),
    ("docs/09-entry.md", "# /loader/entries/mine-2.conf", FILE),
    ("docs/09-entry.md", "default mine-*", FILE),
    (
        "docs/07-disk.md",
        " 7 disk     drive 80h by LBA, 512 bytes a sector, partition 2 at LBA 206848",
        DISKS,
    ),
    (
        "docs/07-disk.md",
        " 7 disk     drive 80h by LBA, 512 bytes a sector, partition 6 at LBA 2048256",
        DISKS,
    ),
    ("docs/08-files.md", " 8 files    FAT16", DISKS),
    (
        "docs/07-disk.md",
        "10 kernel   ELF64, 3 segments, ≈155 KiB at 100000h",
        "half a minute, and a hand at the stick: a_usb_stick_is_pulled in failures.rs",
    ),
    (
        "docs/fuzzing.md",
        "./run.sh fuzz                    # all targets, 60 seconds each",
        "many minutes",
    ),
    (
        "docs/fuzzing.md",
        "cargo run -p fuzz --bin boot_path -- target/fuzz/findings/boot_path/crash-*",
        "there is no finding",
    ),
    (
        "docs/hardware.md",
        "lsblk -o NAME,SIZE,MODEL,TRAN        # TRAN says usb",
        HARDWARE,
    ),
    ("docs/hardware.md", "diskutil list external", HARDWARE),
    (
        "docs/hardware.md",
        "cargo run -p disk-builder -- build --record --output my.img",
        HARDWARE,
    ),
    ("docs/hardware.md", "sfdisk /dev/sdX <<'END'", SYSTEM),
    (
        "docs/hardware.md",
        "cargo run -p disk-builder -- build --no-checksums --output loader.img",
        SYSTEM,
    ),
    (
        "docs/hardware.md",
        "mmdebstrap --include=dosfstools,initramfs-tools,systemd-sysv,udev,zstd bookworm /mnt",
        SYSTEM,
    ),
    (
        "docs/hardware.md",
        "for kernel in /boot/vmlinuz-*; do kernel-install add \"${kernel#*vmlinuz-}\" \"$kernel\"; done",
        SYSTEM,
    ),
    ("docs/hardware.md", "default debian-*[0-9]-amd64-*", FILE),
    (
        "docs/hardware.md",
        "cp -r examples/kernel-updates/common/. /",
        SYSTEM,
    ),
    (
        "docs/hardware.md",
        "cp -r examples/kernel-updates/common/. examples/kernel-updates/arch/. /",
        SYSTEM,
    ),
    (
        "docs/limine.md",
        "10 kernel   ELF64, 3 segments, ≈25 KiB at 100000h",
        "the kernel is a test's: limine.rs",
    ),
    (
        "docs/linux.md",
        "disk-builder build --kernel /boot/vmlinuz --cmdline 'root=/dev/sda2 console=ttyS0' --module initrd.img --output linux.img",
        LINUX,
    ),
    (
        "docs/linux.md",
        " 9 entry    /boot/kernel.elf, 1 modules",
        LINUX,
    ),
    ("docs/linux.md", "chain partition=2", FILE),
    ("docs/multiboot-in.md", "multiboot2 /bootpath.elf", FILE),
    ("docs/multiboot-in.md", "LABEL bootpath", FILE),
    (
        "docs/new-kernel.md",
        "disk-builder new mykernel",
        NEW_KERNEL,
    ),
    (
        "docs/new-kernel.md",
        "mykernel, a kernel in Rust. Next:",
        NEW_KERNEL,
    ),
    (
        "docs/tools.md",
        "lim, started by Limine 8.2.0",
        "Limine is not on the tests' systems",
    ),
];
const WINDOW: &str = "it opens a window and stays there; `./run.sh --headless` is below";
const NEW_KERNEL: &str = "each kind is made, built and booted by tests/tests/new.rs, which also compares what README shows";
const README_KERNEL: &str = "it is built and booted by disk-builder/tests/readme.rs";
const TESTED: &str =
    "it is the reader's own kernel; disk-builder/tests/cargo_test.rs and settings.rs have the like";
const SYSTEM: &str =
    "it changes a system and its disk; `./run.sh debian` does the same to an image";
const DISKS: &str = "other systems made these disks: see boot-path/tests/disk";
const HARDWARE: &str = "it needs a stick or another machine";
const FILE: &str = "the text of a file, which is nothing that is printed";
const LINUX: &str =
    "it needs the kernel of a distribution; linux.rs and `./run.sh kernels` have some";

/// Commands within the text of a chapter's two sections that are in no block of the page: the page,
/// the command, and why.
const SPANS: &[(&str, &str, &str)] = &[
    (
        "docs/05-console.md",
        "./run.sh --record FILE",
        "below, the file has a name",
    ),
    (
        "docs/10-kernel.md",
        "./run.sh flip",
        "many minutes; flip.rs has some of them",
    ),
];

/// What a command begins with.
const PROGRAMS: &[&str] = &[
    "disk-builder ",
    "./run.sh",
    "cargo ",
    "qemu-system-x86_64 ",
    "gdb ",
    "make ",
    "mcopy ",
    "mdel ",
    "addr2line ",
];

/// Runs all commands and compares their output. `BOOK=docs/04` in the environment: only those of
/// pages with that text in their names.
/// pages with such a name.
#[test]
fn every_promise_is_kept() -> Result<()> {
    let start = Instant::now();
    let mut book = Book::read(GENERATED)?;
    // It has the limits of a distribution's kernel.
    book.bring("docs/linux.md", "vmlinuz", linux::check_kernel(&[])?);
    let name = env::var("BOOK").unwrap_or_default();
    let outcomes = book.run(&name, |outcome| {
        let Outcome {
            page,
            seconds,
            result,
        } = outcome;
        println!(
            "{:22} {:3} blocks of commands, {:3} of promises, {seconds:4.0} s: {}",
            page.name,
            page.experiments.len(),
            page.promises(),
            if result.is_ok() { "kept" } else { "BROKEN" },
        );
    });
    println!("{:.0} s", start.elapsed().as_secs_f64());
    ensure!(!outcomes.is_empty(), "no page has {name:?} in its name");
    let failures: Vec<String> = outcomes
        .iter()
        .filter_map(|outcome| Some(format!("{:#}", outcome.result.as_ref().err()?)))
        .collect();
    ensure!(failures.is_empty(), "\n{}", failures.join("\n"));
    Ok(())
}

/// A page that is read wrongly promises little.
#[test]
fn each_chapter_shows_what_happens_and_breaks_it() -> Result<()> {
    let book = Book::read(GENERATED)?;
    for number in 1..=CHAPTERS {
        let chapter = chapter(&book, number)?;
        for section in SECTIONS {
            let mut experiments = chapter.experiments.iter();
            ensure!(
                experiments.any(|e| e.commands.section == section && !e.promises.is_empty()),
                "{}: nothing is run and compared in \"{section}\"",
                chapter.name
            );
        }
    }
    let commands: usize = book.pages.iter().map(|page| page.experiments.len()).sum();
    let promises: usize = book.pages.iter().map(Page::promises).sum();
    ensure!(
        commands >= LEAST && promises >= LEAST,
        "only {commands} blocks of commands and {promises} of promises"
    );
    Ok(())
}

#[test]
fn what_is_not_carried_out_has_a_reason() -> Result<()> {
    let book = Book::read(GENERATED)?;
    let first_line = |block: &Block| block.text.lines().next().unwrap_or_default().to_owned();
    let marked = book.pages.iter().flat_map(|page| {
        let examples = page.examples.iter();
        examples.map(|block| (page.name.clone(), first_line(block)))
    });
    let listed = EXAMPLES.iter().map(|&(page, line, reason)| {
        assert!(!reason.is_empty());
        (page.to_owned(), line.to_owned())
    });
    let (marked, listed): (BTreeSet<_>, BTreeSet<_>) = (marked.collect(), listed.collect());
    let without_reason: Vec<_> = marked.difference(&listed).collect();
    ensure!(
        without_reason.is_empty(),
        "not in EXAMPLES: {without_reason:#?}"
    );
    let stale: Vec<_> = listed.difference(&marked).collect();
    ensure!(
        stale.is_empty(),
        "in EXAMPLES, but not in the pages: {stale:#?}"
    );
    Ok(())
}

/// If the text in the two sections of a chapter tells the reader to run something, that is in a
/// block, or is listed.
#[test]
fn no_command_is_in_the_text_alone() -> Result<()> {
    let book = Book::read(GENERATED)?;
    let mut listed: BTreeSet<_> = SPANS.iter().map(|&(page, code, _)| (page, code)).collect();
    let mut found = 0;
    for number in 1..=CHAPTERS {
        let page = chapter(&book, number)?;
        for span in &page.spans {
            let is_command = PROGRAMS
                .iter()
                .any(|program| span.text.starts_with(program));
            if !is_command || !SECTIONS.contains(&&*span.section) {
                continue;
            }
            found += 1;
            let mut experiments = page.experiments.iter();
            ensure!(
                experiments.any(|e| e.commands.text.contains(&span.text))
                    || listed.remove(&(&*page.name, &*span.text)),
                "{}:{}: `{}` is run by no block, and not in SPANS",
                page.name,
                span.line,
                span.text
            );
        }
    }
    ensure!(found > SPANS.len(), "the commands were not found");
    ensure!(
        listed.is_empty(),
        "in SPANS, but not in the pages: {listed:?}"
    );
    Ok(())
}

/// What the pages say in prose about the loader's limits is true.
#[test]
fn limits_are_those_of_the_loader() -> Result<()> {
    let kib = |bytes: u64| bytes >> 10;
    let stack = layout::STACK;
    for (page, sentence) in [
        (
            "README.md",
            format!("- {} KiB of memory below 640 KiB", kib(layout::END)),
        ),
        (
            "docs/05-console.md",
            format!(
                "is inside of [the stack's region](memory-layout.md), {:X}h to {:X}h",
                stack.start, stack.end
            ),
        ),
        (
            "docs/09-entry.md",
            format!(
                "The limits are {} KiB for a file, {} KiB for a line, {} bytes for a pattern and {} modules. \
                 All files of the directory are read, each once. The first {} entries in the order are kept",
                kib(entry_file::MAX_FILE as u64),
                kib(entry_file::MAX_LINE as u64),
                entries::MAX_PATTERN,
                entry_file::MAX_MODULES,
                entries::MAX_ENTRIES,
            ),
        ),
        (
            "docs/fuzzing.md",
            format!("| memory map | {} regions;", map::CAPACITY),
        ),
        (
            "docs/hardware.md",
            format!("less than {} KiB is `error 6B`", kib(layout::END)),
        ),
        (
            "docs/hardware.md",
            format!(
                "A BIOS that leaves less than {} KiB below 640 KiB.",
                kib(layout::END)
            ),
        ),
        (
            "docs/multiboot.md",
            format!("uses, such as everything below {} KiB", kib(layout::END)),
        ),
    ] {
        let text = fs::read_to_string(stages::workspace().join(page))?;
        let text: Vec<_> = text.split_whitespace().collect();
        ensure!(
            text.join(" ").contains(&sentence),
            "{page}: does not say {sentence:?}"
        );
    }
    Ok(())
}

/// What `docs/hardware.md` calls tested is tested, by tests of these names.
#[test]
fn tests_that_are_named_exist() -> Result<()> {
    const PAGE: &str = "docs/hardware.md";

    let book = Book::read(GENERATED)?;
    let mut sources = String::new();
    for file in &book.files {
        if file.extension().is_some_and(|extension| extension == "rs") {
            sources += &fs::read_to_string(stages::workspace().join(file))?;
        }
    }
    let page = book.pages.iter().find(|page| page.name == PAGE);
    let is_name = |text: &str| {
        let is_part = |c: char| c == '_' || c.is_ascii_lowercase() || c.is_ascii_digit();
        text.contains('_') && text.chars().all(is_part)
    };
    let spans = page.context(PAGE)?.spans.iter();
    let names: Vec<_> = spans.filter(|span| is_name(&span.text)).collect();
    ensure!(names.len() > 20, "only {} names were found", names.len());
    for Block { line, text, .. } in names {
        let exists = sources.contains(&format!("fn {text}("));
        ensure!(exists, "{PAGE}:{line}: there is no test {text}");
    }
    Ok(())
}

fn chapter(book: &Book, number: usize) -> Result<&Page> {
    let start = format!("docs/{number:02}-");
    let page = book.pages.iter().find(|page| page.name.starts_with(&start));
    page.with_context(|| format!("no chapter {number}"))
}
