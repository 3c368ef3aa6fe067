//! `./run.sh break CODE`: provokes an error and shows what was broken and what a user sees.
//! `./run.sh break all` provokes all of them, and checks that nothing else is printed.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use disk_builder::stages;
use machine_tests::image::copy_file;
use machine_tests::recipes::{self, Broken, Case, GoodImages};

/// The most differences that are shown.
const MOST: usize = 12;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match &arguments[..] {
        [all] if all == "all" => break_all(),
        [code] => recipes::find(code).and_then(|case| break_one(&case)),
        _ => Err(anyhow::Error::msg("which error? CODE (as 7A), or all")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("break: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn break_all() -> Result<()> {
    let start = Instant::now();
    let cases = recipes::cases()?;
    let images = GoodImages::build(&cases)?;
    let results = recipes::check_all(&cases, &images, |case, result| {
        let entry = case.entry;
        match result {
            Ok(()) => println!("reached  {:4} {}", entry.code, entry.sentence),
            Err(error) => println!("FAILED   {:4} {}\n{error:#}", entry.code, entry.sentence),
        }
    });
    let reached = results.iter().filter(|result| result.is_ok()).count();
    let failed = results.len() - reached;
    println!("{:.0} s", start.elapsed().as_secs_f64());
    println!("{reached} reached, by the lines that belong to them and no other; {failed} failed");
    if failed > 0 {
        bail!("not all of them");
    }
    Ok(())
}

fn break_one(case: &Case) -> Result<()> {
    let images = GoodImages::build(&[*case])?;
    let broken = images.breaks(case)?;
    show_changes(case, &broken)?;
    let seen = broken.boot(case)?;

    let mut text = String::new();
    let serial = seen.serial.trim_end_matches("\r\n").replace("\r\n", "\n");
    for (title, lines) in [("serial line", serial), ("screen", seen.screen.join("\n"))] {
        text += &format!("\n{title}\n  │ {}\n", lines.replace('\n', "\n  │ "));
    }
    let entry = case.entry;
    text += &format!(
        "\ncauses     {}\ntry        {}\n",
        case.causes, entry.advice
    );
    io::stdout().write_all(text.as_bytes())?;

    recipes::check(case, &seen).context("this is not what the recipe says")?;
    let last = format!(
        "\n{} was reached, and nothing else was printed.\n",
        entry.code
    );
    Ok(io::stdout().write_all(last.as_bytes())?)
}

/// Shows what is changed, and how the image then differs from the good one.
fn show_changes(case: &Case, broken: &Broken) -> Result<()> {
    let mut text = format!("{}: {}\n\n", case.entry.code, case.entry.sentence);
    for change in case.recipe.changes {
        text += &format!("change     {change}\n");
    }
    let differences = broken.differences();
    for difference in differences.iter().take(MOST) {
        text += &format!("image      {difference}\n");
    }
    if differences.len() > MOST {
        text += &format!(
            "           and at {} places more\n",
            differences.len() - MOST
        );
    }
    if differences.is_empty() {
        text += "image      as the good one\n";
    } else {
        let kept = std::env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| stages::workspace().join("target"), PathBuf::from)
            .join("broken.img");
        copy_file(&broken.image().path(), &kept).context("the image cannot be kept")?;
        text += &format!("           kept as {}\n", kept.display());
    }
    Ok(io::stdout().write_all(text.as_bytes())?)
}
