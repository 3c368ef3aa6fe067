//! What the manual says about memory and errors is made from the program: `docs/memory-layout.md`
//! from [`boot_path::memory::layout`], `docs/errors.md` from [`boot_path::errors::catalogue`]. And the rules that the
//! catalogue itself keeps.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use boot_path::errors::catalogue::{ALL, DISK_GPT, DISK_NO_PARTITION, DISK_READ, FAT_FOREIGN, Row};
use boot_path::errors::recipe::{GoodKernel, Shows};
use boot_path::memory::layout::{self, REGIONS};
use disk_layout::mbr::{self, frame};
use disk_layout::stage2 as image;

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

/// Columns of the screen: an error and its sentence fit into one row.
const COLUMNS: usize = 80;

/// Compares a generated page with the one in `docs/`; with `BLESS=1`, writes it.
fn check_page(name: &str, text: &str) {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let path = docs.join(name);
    if env::var_os("BLESS").is_some_and(|value| value == "1") {
        fs::write(&path, text).expect("docs/ can be written to");
        return;
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    // A checkout on Windows may have other line ends.
    if committed.replace("\r\n", "\n") != text {
        let differs = committed
            .lines()
            .zip(text.lines())
            .position(|(old, new)| old != new)
            .unwrap_or(committed.lines().count().min(text.lines().count()));
        panic!(
            "docs/{name} is not what the source says (line {}); update it:\n    \
             BLESS=1 cargo test -p boot-path --test docs",
            differs + 1
        );
    }
}

/// 4096 → `4 KiB`, 512 → `512 B`.
fn size(bytes: u64) -> String {
    match bytes {
        _ if bytes.is_multiple_of(1 << 30) => format!("{} GiB", bytes >> 30),
        _ if bytes.is_multiple_of(1 << 20) => format!("{} MiB", bytes >> 20),
        _ if bytes.is_multiple_of(1 << 10) => format!("{} KiB", bytes >> 10),
        _ => format!("{bytes} B"),
    }
}

/// The picture of memory: rows from the highest address down, each with the line below it.
fn diagram() -> String {
    const ROW: usize = 44;
    let mut text = String::new();
    let line = |text: &mut String, address: u64| {
        let _ = writeln!(text, "{address:>#9x}  +{:-<ROW$}+", "");
    };
    let row = |text: &mut String, name: &str, size: &str| {
        let width = ROW - 3 - size.len();
        let _ = writeln!(text, "{:9}  | {name:<width$} {size} |", "");
    };

    line(&mut text, 0x10_0000);
    row(&mut text, "option ROMs, BIOS", "");
    line(&mut text, layout::VGA_TEXT_END);
    let window = layout::VGA_TEXT_END - layout::VGA_TEXT;
    row(&mut text, "VGA text", &size(window));
    line(&mut text, layout::VGA_TEXT);
    row(&mut text, "VGA graphics; below 0xa0000 the BIOS's", "");
    row(&mut text, "own data (EBDA), then free memory", "");
    let mut above = layout::END;
    for region in REGIONS.iter().rev() {
        if region.end < above {
            line(&mut text, above);
            row(&mut text, "(free)", &size(above - region.end));
        }
        line(&mut text, region.end);
        row(&mut text, region.name, &size(region.size()));
        above = region.start;
    }
    line(&mut text, layout::START);
    row(&mut text, "interrupt vectors, BIOS data", "");
    line(&mut text, 0);
    text
}

fn memory_layout() -> String {
    let mut text = String::from(
        "<!-- Made from boot-path/src/memory/layout.rs by `BLESS=1 cargo test -p boot-path --test docs`. -->\n\
         # Memory layout\n\n\
         Physical memory below 1 MiB while the loader runs. All addresses come from \
         [`boot-path/src/memory/layout.rs`](../boot-path/src/memory/layout.rs)\n\
         and [`disk-layout`](../disk-layout/src/lib.rs); this page is generated from them.\n\n\
         ```text\n",
    );
    text += &diagram();
    text += "```\n\n## Why there\n\n| from | to | size | what | why |\n| --- | --- | --- | --- | --- |\n";
    for region in REGIONS.iter().rev() {
        let _ = writeln!(
            text,
            "| `{:#x}` | `{:#x}` | {} | {} | {} |",
            region.start,
            region.end,
            size(region.size()),
            region.name,
            region.reason
        );
    }
    text += "\n`to` is the first byte behind the region.\n\n\
             ## The numbers around it\n\n| constant | value | what |\n| --- | --- | --- |\n";
    let stack = i64::from(mbr::LOAD_ADDRESS);
    let numbers = [
        (
            "`layout::START`",
            layout::START,
            "first byte of the loader's memory",
        ),
        (
            "`layout::END`",
            layout::END,
            "first byte behind it: a machine needs this much conventional memory",
        ),
        (
            "`layout::PAGE_SIZE`",
            layout::PAGE_SIZE,
            "a page, and the unit in which everything is mapped",
        ),
        (
            "`layout::EARLY_REACH`",
            layout::EARLY_REACH,
            "end of what the early page tables map: kernel, modules and tables lie below",
        ),
        (
            "`stage2::MAX_LENGTH`",
            image::MAX_LENGTH as u64,
            "the most bytes that stage2 may have on disk; the rest of its region is for variables",
        ),
        (
            "`stage2::LOAD_ADDRESS + ENTRY_OFFSET`",
            u64::from(image::LOAD_ADDRESS) + image::ENTRY_OFFSET as u64,
            "where stage1 enters stage2",
        ),
        (
            "`mbr::frame::BIOS_DRIVE`",
            (stack + i64::from(frame::BIOS_DRIVE)) as u64,
            "stage1's stack: the drive that the BIOS had passed (1 byte)",
        ),
        (
            "`mbr::frame::DRIVE`",
            (stack + i64::from(frame::DRIVE)) as u64,
            "the drive that stage2 was read from (1 byte)",
        ),
        (
            "`mbr::frame::TIME_STAMP_LOW`",
            (stack + i64::from(frame::TIME_STAMP_LOW)) as u64,
            "the time stamp of step 1, bits 31:0",
        ),
        (
            "`mbr::frame::TIME_STAMP_HIGH`",
            (stack + i64::from(frame::TIME_STAMP_HIGH)) as u64,
            "its bits 63:32",
        ),
    ];
    for (name, value, what) in numbers {
        let _ = writeln!(text, "| {name} | `{value:#x}` | {what} |");
    }
    text += "\nEverything else is allocated above 1 MiB, from what the memory map calls usable: the \
             kernel, its modules, its page\ntables, its stack and the boot information. After the \
             handoff the loader's memory is `Reclaimable`\n([the handoff](handoff.md)), except for what the firmware \
             reserved there.\n";
    text
}

fn errors() -> String {
    let mut text = format!(
        "<!-- Made from boot-path/src/errors/catalogue.rs by `BLESS=1 cargo test -p boot-path --test docs`. -->\n\
         # Errors\n\n\
         A boot that fails says so on the screen and on the first serial line (COM1, 115,200 baud, \
         8N1), and then waits:\n\n\
         ```text\n\
         error 7A: the disk cannot be read: LBA 2048, drive 80h, status 0Ch\n\
         {}\n\
         press a key to reboot\n\
         ```\n\n\
         The code is the number of the step (as in the table of contents of \
         [this book](README.md)) and a letter. Behind the\n\
         sentence come the facts, where there are any: sectors, addresses, drive, the BIOS's \
         status. Before step 5 there are\n\
         no facts, for 16-bit code prints the line. LBAs count the drive's own sectors, whose \
         size step 7 prints: 2048 bytes on a CD,\n\
         else 512. The next line says what to try.\n\n\
         stage1 has no room for sentences, on a disk or a CD. It prints its code and the status of the last BIOS call \
         that failed (00: none did),\n\
         and stops; switch the machine off and on:\n\n\
         ```text\n\
         error 1A 0C\n\
         ```\n\n\
         `disk-builder` refuses a kernel that the loader would refuse, with the same code and \
         sentence.\n\n\
         ## Each of them on purpose\n\n\
         ```sh\n\
         ./run.sh break 7A\n\
         ```\n\n\
         breaks a good image, or the machine that boots it, as it says below, and shows what \
         was changed and what a user sees.\n\
         The broken image stays in `target/broken.img`. `./run.sh break all` does so with all \
         codes, and checks that each is\n\
         reached and that no line is printed that does not belong. Where a fact depends on the \
         build or the machine, there is\n\
         a `…` below.\n",
        DISK_READ.advice
    );
    for &(number, title, chapter) in STEPS {
        let _ = write!(
            text,
            "\n## {number}: {title}\n\nChapter: [{chapter}]({chapter})\n"
        );
        for row in ALL.iter().filter(|row| row.entry.step() == number) {
            let entry = row.entry;
            let changes: Vec<_> = row.recipe.changes.iter().map(ToString::to_string).collect();
            let base = match row.recipe.kernel {
                GoodKernel::Demo => "",
                GoodKernel::PositionIndependent => "the demo kernel is linked as a static PIE; ",
                GoodKernel::Checked => "the image has a module, and checksums; ",
                GoodKernel::Multiboot2 => "the kernel is the tests' smallest one for Multiboot 2; ",
                GoodKernel::Limine => "the kernel is the tests' one for the Limine protocol; ",
            };
            let _ = write!(
                text,
                "\n### {}: {}\n\n\
                 - **Causes**: {}\n\
                 - **Try**: {}\n\
                 - **`./run.sh break {}`**: {base}{}.\n\n\
                 ```text\n{}\n```\n",
                entry.code,
                entry.sentence,
                row.causes,
                entry.advice,
                entry.code,
                changes.join("; "),
                shown(row)
            );
        }
    }
    text
}

/// The line of an error that its recipe provokes.
fn shown(row: &Row) -> String {
    let entry = row.entry;
    if let Shows::Stage1(status) = row.recipe.shows {
        return format!("error {} {status}", entry.code);
    }
    let mut line = format!("error {}: {}", entry.code, entry.sentence);
    let mut facts = row.recipe.shows.facts();
    if !facts.is_empty() {
        line += ": ";
    }
    // What stands between braces is a place for what cannot be known.
    while let Some((literal, rest)) = facts.split_once('{') {
        let (_, behind) = rest.split_once('}').expect("a place has an end");
        line += literal;
        line += "…";
        facts = behind;
    }
    line + facts
}

#[test]
fn the_page_about_memory_is_what_the_source_says() {
    check_page("memory-layout.md", &memory_layout());
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

/// All pages: the two at the top, and everything in `docs/`.
fn pages(root: &Path) -> Vec<PathBuf> {
    let mut pages = vec![root.join("README.md"), root.join("CHANGELOG.md")];
    let mut directories = vec![root.join("docs")];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).expect("a directory of pages") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                pages.push(path);
            }
        }
    }
    pages
}

/// In the transcripts of all pages, the line in front of the offer to reboot is what the loader
/// prints there.
#[test]
fn what_to_try_is_the_same_in_every_page() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut count = 0;
    for page in pages(&root) {
        let text = fs::read_to_string(&page).expect("a page");
        let mut entry = None;
        let mut before = "";
        for line in text.lines() {
            let starts = |row: &&Row| {
                let start = format!("error {}: {}", row.entry.code, row.entry.sentence);
                line.starts_with(&start)
            };
            entry = ALL.iter().find(starts).map(|row| row.entry).or(entry);
            if line == "press a key to reboot" {
                let advice = entry.map(|entry| entry.advice);
                assert_eq!(Some(before), advice, "{}", page.display());
                count += 1;
            }
            before = line;
        }
    }
    assert!(count > STEPS.len(), "the transcripts were not found");
}

/// The targets of the links in a page, without code.
fn links(page: &str) -> Vec<&str> {
    let mut is_code = false;
    let mut links = Vec::new();
    for line in page.lines() {
        is_code ^= line.starts_with("```");
        if !is_code {
            let targets = line.split("](").skip(1);
            links.extend(targets.filter_map(|rest| Some(rest.split_once(')')?.0)));
        }
    }
    links
}

#[test]
fn every_file_that_is_linked_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut count = 0;
    for page in pages(&root) {
        let text = fs::read_to_string(&page).expect("a page");
        for link in links(&text) {
            let file = link.split('#').next().unwrap_or_default();
            if link.starts_with("https://") || file.is_empty() {
                continue;
            }
            let target = page.with_file_name("").join(file);
            assert!(target.exists(), "{}: {link} does not exist", page.display());
            count += 1;
        }
    }
    assert!(count > STEPS.len(), "the links were not found");
}

#[test]
fn codes_are_sorted_and_have_no_gap() {
    let mut last = (0, b'Z');
    for Row { entry, .. } in ALL {
        let step = entry.step();
        assert!((1..=12).contains(&step), "{}", entry.code);
        let letter = entry.code.strip_prefix(&step.to_string());
        let Some([letter]) = letter.map(str::as_bytes) else {
            panic!("{}: a code is a number and one letter", entry.code);
        };
        let letter = *letter;
        let expected = if step == last.0 {
            (step, last.1 + 1)
        } else {
            assert!(step > last.0, "{}: steps ascend", entry.code);
            (step, b'A')
        };
        // The ways out have ranges of their own in step 10, and come one by one.
        let of_a_way_out = step == 10 && letter > b'P' && (step, letter) > last;
        assert!(of_a_way_out || (step, letter) == expected, "{}", entry.code);
        last = (step, letter);
    }
}

#[test]
fn sentences_can_be_followed_by_facts_and_advice_stands_alone() {
    for Row { entry, causes, .. } in ALL {
        let (code, sentence, advice) = (entry.code, entry.sentence, entry.advice);
        assert!(
            !sentence.is_empty() && !sentence.ends_with(['.', ':', ' ']),
            "{code}"
        );
        for text in [advice, causes] {
            assert!(
                text.ends_with('.') && !text.contains('\n'),
                "{code}: {text}"
            );
        }
        assert!(advice.len() <= 2 * COLUMNS, "{code}: more than two rows");
    }
}

/// Words for what can destroy files, and what a text that has one of them must have as well: then it
/// says what is lost, or that it only looks. Without a second text, it must not be there at all.
const DANGEROUS: &[(&str, &[&str])] = &[
    (
        "format",
        &["before you format it", "erases all that it holds"],
    ),
    (
        "the image",
        &["erases the disk", "copy your files off it first"],
    ),
    ("erase", &["erases"]),
    ("repair", &["copy your files off it before you repair it"]),
    ("fsck", &["fsck.fat -n"]),
    ("chkdsk", &["chkdsk without /f"]),
    ("overwrit", &[]),
    ("delete", &[]),
    ("remove", &[]),
    ("wipe", &[]),
    ("write it", &[]),
    ("dd if", &[]),
    ("mkfs", &[]),
    ("mformat", &[]),
    ("fdisk", &[]),
    ("parted", &[]),
    ("gdisk", &[]),
    ("partition table", &[]),
];

/// What in a piece of advice may cost somebody's files.
fn dangers(advice: &str) -> Vec<&'static str> {
    let advice = advice.to_lowercase();
    let occurs = |text: &str| advice.matches(text).count();
    let bad = |(word, safe): &&(&'static str, &[&str])| {
        // A tool must be the harmless one wherever it is named.
        let tool = matches!(*word, "fsck" | "chkdsk");
        occurs(word) > 0
            && (safe.is_empty()
                || safe
                    .iter()
                    .any(|safe| occurs(safe) < if tool { occurs(word) } else { 1 }))
    };
    DANGEROUS
        .iter()
        .filter(bad)
        .map(|(word, _)| *word)
        .collect()
}

#[test]
fn no_advice_costs_files() {
    // The advice of earlier versions, and some that nobody should give.
    for (advice, word) in [
        (
            "Write the image again; try another port or stick.",
            "the image",
        ),
        (
            "Write the image again, or mark a FAT partition as active.",
            "the image",
        ),
        ("Format it as FAT12, FAT16 or FAT32.", "format"),
        ("Run fsck.fat (or chkdsk) on the boot partition.", "fsck"),
        ("Run chkdsk /f.", "chkdsk"),
        ("fsck.fat -n looks; fsck.fat -a repairs.", "fsck"),
        ("Copy it with dd if=a of=b.", "dd if"),
    ] {
        assert!(dangers(advice).contains(&word), "{advice}");
    }
    for Row { entry, .. } in ALL {
        assert_eq!(
            dangers(entry.advice),
            [""; 0],
            "{}: {}",
            entry.code,
            entry.advice
        );
    }
}

/// What was recognised is to be left as it is: no word of it may even be near.
#[test]
fn what_was_recognised_is_left_alone() {
    for entry in [&DISK_GPT, &FAT_FOREIGN, &DISK_NO_PARTITION] {
        let advice = entry.advice.to_lowercase();
        for (word, _) in DANGEROUS {
            assert!(!advice.contains(word), "{}: {word}", entry.code);
        }
        assert!(
            advice.contains("leave it as it is") || advice.contains("stays as it is"),
            "{}: {advice}",
            entry.code
        );
    }
}

/// In the pages, a command that writes to a disk or makes a file system on one stands in a section
/// that says what it does to what was there. (Those that break an image name a file.)
#[test]
fn commands_that_erase_say_so() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut count = 0;
    for page in pages(&root) {
        let text = fs::read_to_string(&page).expect("a page");
        for section in text.split("\n## ") {
            let erases = [
                "of=/dev/",
                "> /dev/sd",
                "mkfs.",
                "sgdisk",
                "sfdisk",
                "wipefs",
            ];
            if erases.iter().any(|command| section.contains(command)) {
                count += 1;
                let says = ["overwrites the", "erases"];
                assert!(
                    says.iter().any(|word| section.contains(word)),
                    "{}: {section}",
                    page.display()
                );
            }
        }
    }
    assert!(count > 0, "the commands were not found");
}

/// The 16-bit steps print the whole message from a buffer of fixed size, which the compiler checks;
/// here: that it is one row of the screen, for every step.
#[test]
fn an_error_fits_into_a_row() {
    for Row { entry, .. } in ALL {
        let row = format!("error {}: {}", entry.code, entry.sentence);
        assert!(row.len() <= COLUMNS, "{} columns: {row}", row.len());
    }
}
