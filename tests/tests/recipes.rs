//! Every error of the catalogue is reached by its recipe, and nothing is printed that does not
//! belong. And the comparison notices what is wrong.

use anyhow::{Context as _, Result, ensure};
use boot_path::errors::catalogue::{ALL, Row};
use machine_tests::recipe::{self, GoodImages, Seen};

#[test]
fn every_code_is_reached() -> Result<()> {
    let rows: Vec<&Row> = ALL.iter().collect();
    let images = GoodImages::build(&rows)?;
    let results = recipe::check_rows(&rows, &images, |_, _| {});
    ensure!(results.len() == rows.len(), "{} ran", results.len());
    let failures: Vec<String> = rows
        .iter()
        .zip(&results)
        .filter_map(|(row, result)| {
            let error = result.as_ref().err()?;
            Some(format!("{}: {error:#}", row.entry.code))
        })
        .collect();
    ensure!(failures.is_empty(), "{}", failures.join("\n"));
    Ok(())
}

/// Each line is needed, once, in its place and as it is, on the serial line and on the screen.
#[test]
fn every_changed_line_is_noticed() -> Result<()> {
    let row = recipe::find("10c")?;
    let images = GoodImages::build(&[row])?;
    let seen = images.breaks(row)?.boot(row)?;
    recipe::check(row, &seen)?;

    let refused = |serial: &[String], screen: &[String], what: &str| {
        let changed = Seen {
            serial: serial.join("\r\n"),
            screen: screen.to_vec(),
        };
        ensure!(recipe::check(row, &changed).is_err(), "not noticed: {what}");
        Ok(())
    };
    let serial: Vec<String> = seen.serial.split("\r\n").map(str::to_owned).collect();
    let first = seen.screen.iter().position(|line| *line == serial[0]);
    let first = first.context("the loader's first line is not on the screen")?;
    for (index, line) in serial.iter().enumerate() {
        let what = |what: &str| format!("{line:?} {what}");
        let more = "more".to_owned();

        let mut changed = serial.clone();
        changed.insert(index, more.clone());
        refused(&changed, &seen.screen, &what("behind another line"))?;
        changed.splice(index..index + 2, [format!("{line} ")]);
        refused(&changed, &seen.screen, &what("with a blank"))?;
        changed.remove(index);
        refused(&changed, &seen.screen, &what("is missing"))?;

        if line.is_empty() {
            continue; // the end
        }
        let mut screen = seen.screen.clone();
        screen.insert(first + index + 1, more);
        refused(&serial, &screen, &what("before another one on the screen"))?;
        screen.drain(first + index..first + index + 2);
        refused(&serial, &screen, &what("not on the screen"))?;
    }
    Ok(())
}

#[test]
fn another_error_is_noticed() -> Result<()> {
    let (wanted, other) = (recipe::find("10C")?, recipe::find("10B")?);
    let row = Row {
        recipe: other.recipe,
        ..*wanted
    };
    let images = GoodImages::build(&[&row])?;
    let error = recipe::check_row(&row, &images);
    let error = error.err().context("not noticed")?.to_string();
    ensure!(error.contains("+ error 10B: "), "{error}");
    Ok(())
}

/// A good image boots, and that is not what a recipe is for.
#[test]
fn a_boot_is_noticed() -> Result<()> {
    let wanted = recipe::find("7A")?;
    let row = Row {
        recipe: boot_path::errors::recipe::Recipe {
            changes: &[],
            ..wanted.recipe
        },
        ..*wanted
    };
    let error = recipe::check_row(&row, &GoodImages::build(&[&row])?);
    let error = error.err().context("not noticed")?.to_string();
    ensure!(error.contains("OKAY"), "{error}");
    Ok(())
}

#[test]
fn codes_are_found_whatever_their_case() -> Result<()> {
    ensure!(recipe::find("10a")?.entry.code == "10A");
    ensure!(recipe::find("2A")?.entry.code == "2A");
    let error = recipe::find("13A").err().context("found")?.to_string();
    ensure!(
        error.contains("13A") && error.contains(" 1A 1B "),
        "{error}"
    );
    Ok(())
}
