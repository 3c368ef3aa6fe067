//! The screen that a user sees at the end.

use anyhow::{Result, ensure};
use machine_tests::image::{Image, demo_kernel};
use machine_tests::machine::Machine;

/// The 25 rows that a user sees at the end hold all that matters of the loader and of the demo
/// kernel.
#[test]
fn the_last_screen() -> Result<()> {
    let image = Image::build(&demo_kernel()?, |_, _| {})?;
    let mut running = Machine::new(&image.path()).start()?;
    let screen = running.wait_for_line(&["OKAY"])?;
    let serial = running.serial();

    // The lines of the loader, and the first lines of the kernel, are those of the serial line.
    let told: Vec<&str> = serial.lines().map(str::trim_end).collect();
    ensure!(
        told[0].starts_with("Bootpath ") && told[..12] == screen[..12],
        "{screen:#?}"
    );
    let amounts: Vec<&str> = screen[13..15]
        .iter()
        .flat_map(|row| row.split_whitespace())
        .collect();
    let kib = |kind: &str| {
        let regions = told.iter().filter(|line| line.ends_with(kind));
        let sizes = regions.filter_map(|line| line.split_whitespace().nth(2)?.parse::<u64>().ok());
        sizes.sum::<u64>().to_string()
    };
    let expected = ["Usable", "Reclaimable", "Kernel", "Framebuffer", "Reserved"]
        .map(|kind| [kind.to_lowercase(), kib(&format!(" KiB  {kind}"))]);
    ensure!(amounts == expected.as_flattened(), "{screen:#?}\n{serial}");
    for (row, beginning) in screen[15..22].iter().zip([
        "mapped by ",
        "timeline in µs",
        "   1 stage1 ",
        "   4 ",
        "   7 ",
        "  10 ",
        "  all of it ",
    ]) {
        let there = row.starts_with(beginning) && told.contains(&row.as_str());
        ensure!(there, "no {beginning:?} in its place: {screen:#?}");
    }
    let checks = told
        .iter()
        .filter(|line| line.starts_with("check "))
        .count();
    ensure!(
        screen[22] == format!("{checks} of {checks} checks passed"),
        "{screen:#?}"
    );
    ensure!(screen[23..] == ["OKAY", ""], "{screen:#?}");
    ensure!(running.cursor_is_hidden()?, "the cursor blinks");
    Ok(())
}

/// However much is printed and however much fails, the end stays on the screen, with the names of
/// what has failed.
#[test]
fn the_last_screen_of_a_bad_day() -> Result<()> {
    const FAILED: usize = 9;

    let image = Image::build(&demo_kernel()?, |recipe, _| {
        recipe.command_line = format!("{}fail={FAILED}", "word ".repeat(700));
    })?;
    let machine = Machine::new(&image.path()).arguments(["-m", "6G"]);
    let mut running = machine.start()?;
    let screen = running.wait_for_line(&["FAIL"])?;
    let failed: Vec<String> = running
        .serial()
        .lines()
        .filter(|line| line.contains(": FAILED: "))
        .map(str::to_owned)
        .collect();
    ensure!(failed.len() == FAILED, "{failed:#?}");
    ensure!(screen[15..21] == failed[..6], "{screen:#?}");
    let all = running.serial().matches("\ncheck ").count();
    ensure!(screen[21] == "and 3 more", "{screen:#?}");
    ensure!(
        screen[22] == format!("{} of {all} checks passed", all - failed.len()),
        "{screen:#?}"
    );
    let first = screen
        .iter()
        .position(|row| row.starts_with("memory in KiB"));
    ensure!(first.is_some(), "{screen:#?}");
    Ok(())
}
