//! `docs/memory-layout.md`, from [`boot_path::memory::layout`].

use std::fmt::Write as _;

use boot_path::memory::layout::{self, REGIONS};
use disk_layout::mbr::{self, frame};
use disk_layout::parts::{self, Part};
use disk_layout::stage2 as image;

use crate::check_page;

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

/// The constants that are not regions: name, value, meaning.
fn numbers() -> Vec<(&'static str, u64, &'static str)> {
    let stack = i64::from(mbr::LOAD_ADDRESS);
    vec![
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
            layout::EARLY_REACH.as_u64(),
            "end of what the early page tables map: kernel, modules and tables lie below",
        ),
        (
            "`stage2::MAX_LENGTH`",
            image::MAX_LENGTH as u64,
            "the most bytes that stage2's first part and the manifest may have",
        ),
        (
            "`parts::START`",
            u64::from(parts::START),
            "where the parts of stage2 begin that are read when they are needed",
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
    ]
}

/// The page.
fn memory_layout() -> String {
    let mut text = String::from(
        "<!-- Made from boot-path/src/memory/layout.rs by `BLESS=1 cargo test -p machine-tests --test docs`. -->\n\
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
    for (name, value, what) in numbers() {
        let _ = writeln!(text, "| {name} | `{value:#x}` | {what} |");
    }
    text += "\n## The parts of stage2\n\n\
             Behind the first part, in this order. `disk-builder inspect --json IMAGE` shows the `address` of each.\n\n\
             | part | what is in it |\n| --- | --- |\n";
    for part in Part::ALL {
        let shared = part
            .shares()
            .map(|other| format!(" In the memory of `{}`.", other.name()));
        let (name, shared) = (part.name(), shared.unwrap_or_default());
        let _ = writeln!(text, "| `{name}` | {}{shared} |", part.purpose());
    }
    text += "\n## All the rest\n\n\
             Everything else is allocated from what the memory map calls usable: above 1 MiB the \
             kernel, its modules, its page tables, its stack, the boot information and the file \
             system's windows (2 MiB, or 128 KiB on a machine with less than 64 MiB); behind the loader, \
             or above 1 MiB where there is no room, the entry file (16 KiB), those small windows and \
             what a Multiboot kernel is told. After the \
             handoff the loader's memory is `Reclaimable` ([the handoff](handoff.md)), except for what the firmware \
             reserved there.\n";
    text
}

#[test]
fn the_page_about_memory_is_what_the_source_says() {
    check_page("memory-layout.md", &memory_layout());
}
