//! `docs/errors.md`, from the [catalogue](boot_path::errors::catalogue) and the
//! [recipes](machine_tests::recipes).

use std::fmt::Write as _;

use boot_path::errors::catalogue::{ALL, DISK_READ, Row};
use machine_tests::recipes::words::{GoodKernel, Shows};
use machine_tests::recipes::{Case, cases};

use crate::check_page;

/// The steps that have errors: number, title, chapter.
const STEPS: &[(u32, &str, &str)] = &[
    (1, "stage1, and stage2's check of itself", "01-stage1.md"),
    (2, "the A20 line", "02-a20.md"),
    (3, "the CPU", "03-cpu.md"),
    (
        4,
        "long mode, and exceptions in 16-bit code",
        "04-long-mode.md",
    ),
    (5, "the console, exceptions and panics", "05-console.md"),
    (6, "memory", "06-memory.md"),
    (7, "the disk", "07-disk.md"),
    (8, "files", "08-files.md"),
    (9, "what to boot", "09-entry.md"),
    (10, "the kernel", "10-kernel.md"),
    (11, "page tables", "11-paging.md"),
    (12, "the handoff", "12-handoff.md"),
];

/// The text in front of the errors.
fn introduction() -> String {
    format!(
        "<!-- Made from boot-path/src/errors/catalogue.rs and tests/src/recipes by `BLESS=1 cargo test -p machine-tests --test docs`. -->\n\
         # Errors\n\n\
         A boot that fails says so on the screen and on the first serial line (COM1, 115,200 baud, \
         8N1), and then waits:\n\n\
         ```text\n\
         error 7A: the disk cannot be read: LBA 2048, drive 80h, status 0Ch\n\
         {}\n\
         press a key to reboot\n\
         ```\n\n\
         The code is the number of the step (as in the table of contents of \
         [this book](README.md)) and a letter. The facts, if there are any, follow the sentence: \
         sectors, addresses, drive, the BIOS's status. Before step 5 there are \
         no facts, because 16-bit code prints the line. LBAs count the drive's own sectors, whose \
         size step 7 prints: 2048 bytes on a CD, 512 otherwise. The next line says what to try.\n\n\
         stage1 has no room for sentences, neither on a disk nor on a CD. It prints its code and the status of the last BIOS call \
         that failed (00: none did), and stops. Switch the machine off and on:\n\n\
         ```text\n\
         error 1A 0C\n\
         ```\n\n\
         ## Each of them on purpose\n\n\
         ```sh\n\
         ./run.sh break 7A\n\
         ```\n\n\
         breaks a good image, or the machine that boots it, as described below, and shows what \
         was changed and what a user sees. \
         The broken image stays in `target/broken.img`. `./run.sh break all` does so with all \
         codes, and checks that each is \
         reached and that no other line is printed. Where a fact depends on the \
         build or the machine, there is a `…` below.\n\n\
         ## What the host says of an image\n\n\
         `disk-builder build` refuses a kernel that the loader would refuse, with the same code and \
         sentence. `disk-builder inspect` reports both for a whole image. Both programs run the \
         loader's own path over the image on the host, up to the jump.\n\n\
         ```sh\n\
         ./run.sh verdicts 150 7\n\
         ```\n\n\
         boots 150 of about 1,800 images, and compares what the loader reports on the serial line \
         with what the host reports. The second number is a seed: another seed changes other fields \
         of ELF files, headers, requests, streams, entries, file systems and partition tables. There \
         is also an image for each error that an image can cause; [those that none can \
         cause](../tests/tests/verdicts/variants.rs) are listed, each with its reason. Refused images \
         and good ones take turns; a good one has to come to the handoff. If the reports differ, the \
         image is named, and can be made again: `./run.sh verdicts --image NAME SEED` boots it once \
         more and leaves it in `target/verdict.img`.\n",
        DISK_READ.advice
    )
}

/// The section about one error.
fn section(case: &Case) -> String {
    let entry = case.entry;
    let recipe = case.recipe;
    let changes: Vec<_> = recipe.changes.iter().map(ToString::to_string).collect();
    let base = match recipe.kernel {
        GoodKernel::Demo => "",
        GoodKernel::PositionIndependent => "the demo kernel is linked as a static PIE; ",
        GoodKernel::Checked => "the image has a module, and checksums; ",
        GoodKernel::Multiboot2 => "the kernel is the tests' smallest one for Multiboot 2; ",
        GoodKernel::Limine => "the kernel is the tests' one for the Limine protocol; ",
    };
    format!(
        "\n### {}: {}\n\n\
         - **Causes**: {}\n\
         - **Try**: {}\n\
         - **`./run.sh break {}`**: {base}{}.\n\n\
         ```text\n{}\n```\n",
        entry.code,
        entry.sentence,
        case.causes,
        entry.advice,
        entry.code,
        changes.join("; "),
        shown(case)
    )
}

/// The line of an error, as its recipe provokes it.
fn shown(case: &Case) -> String {
    let entry = case.entry;
    if let Shows::Stage1(status) = case.recipe.shows {
        return format!("error {} {status}", entry.code);
    }
    let mut line = format!("error {}: {}", entry.code, entry.sentence);
    let mut facts = case.recipe.shows.facts();
    if !facts.is_empty() {
        line += ": ";
    }
    // Braces stand for values that cannot be known.
    while let Some((literal, rest)) = facts.split_once('{') {
        let (_, behind) = rest.split_once('}').expect("a place has an end");
        line += literal;
        line += "…";
        facts = behind;
    }
    line + facts
}

/// The page.
fn errors() -> String {
    let cases = cases().expect("each error has a recipe");
    let mut text = introduction();
    for &(number, title, chapter) in STEPS {
        let _ = write!(
            text,
            "\n## {number}: {title}\n\nChapter: [{chapter}]({chapter})\n"
        );
        for case in cases.iter().filter(|case| case.entry.step() == number) {
            text += &section(case);
        }
    }
    text
}

#[test]
fn the_page_about_errors_is_what_the_source_says() {
    check_page("errors.md", &errors());
}

#[test]
fn every_error_is_in_the_page() {
    let page = errors();
    for Row { entry, .. } in ALL {
        assert!(
            page.contains(&format!("### {}: {}\n", entry.code, entry.sentence)),
            "step {} of {} is missing in STEPS",
            entry.step(),
            entry.code
        );
    }
}
