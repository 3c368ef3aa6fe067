//! Every error of the catalogue is reached by its recipe, and nothing else is printed. And the
//! comparison notices what is wrong.

use anyhow::{Context as _, Result, ensure};
use boot_path::errors::catalogue::ALL;
use machine_tests::recipes::words::Recipe;
use machine_tests::recipes::{self, Case, GoodImages, Seen};

#[test]
fn each_code_has_one_recipe_and_each_recipe_a_code() -> Result<()> {
    let codes: Vec<&str> = recipes::cases()?.iter().map(|it| it.entry.code).collect();
    let all: Vec<&str> = ALL.iter().map(|row| row.entry.code).collect();
    ensure!(codes == all, "{codes:?}");

    let recipes = recipes::recipes();
    let (code, recipe) = recipes[30];
    let wrong = |recipes: &[(&str, Recipe)]| {
        let error = recipes::join(ALL, recipes).err();
        Ok::<_, anyhow::Error>(error.context("not noticed")?.to_string())
    };
    let mut one_less = recipes.clone();
    one_less.remove(30);
    ensure!(wrong(&one_less)? == format!("{code} has no recipe"));
    let one_more = [&recipes[..], &[(code, recipe)]].concat();
    ensure!(wrong(&one_more)? == format!("{code} has 2 recipes"));
    let unknown = [&recipes[..], &[("13A", recipe)]].concat();
    ensure!(wrong(&unknown)? == "no error has the code 13A of a recipe");
    Ok(())
}

#[test]
fn every_code_is_reached() -> Result<()> {
    let cases = recipes::cases()?;
    let images = GoodImages::build(&cases)?;
    let results = recipes::check_all(&cases, &images, |_, _| {});
    ensure!(results.len() == ALL.len(), "{} ran", results.len());
    let failures: Vec<String> = cases
        .iter()
        .zip(&results)
        .filter_map(|(case, result)| {
            let error = result.as_ref().err()?;
            Some(format!("{}: {error:#}", case.entry.code))
        })
        .collect();
    ensure!(failures.is_empty(), "{}", failures.join("\n"));
    Ok(())
}

/// The comparison needs each line once, in its place and unchanged, on the serial line and on the
/// screen.
#[test]
fn every_changed_line_is_noticed() -> Result<()> {
    let case = recipes::find("10c")?;
    let images = GoodImages::build(&[case])?;
    let seen = images.breaks(&case)?.boot(&case)?;
    recipes::check(&case, &seen)?;

    let refused = |serial: &[String], screen: &[String], what: &str| {
        let changed = Seen {
            serial: serial.join("\r\n"),
            screen: screen.to_vec(),
        };
        ensure!(
            recipes::check(&case, &changed).is_err(),
            "not noticed: {what}"
        );
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
    let (wanted, other) = (recipes::find("10C")?, recipes::find("10B")?);
    let case = Case {
        recipe: other.recipe,
        ..wanted
    };
    let images = GoodImages::build(&[case])?;
    let error = recipes::check_one(&case, &images);
    let error = error.err().context("not noticed")?.to_string();
    ensure!(error.contains("+ error 10B: "), "{error}");
    Ok(())
}

/// A recipe must not be satisfied by a good image, which boots.
#[test]
fn a_boot_is_noticed() -> Result<()> {
    let mut case = recipes::find("7A")?;
    case.recipe.changes = &[];
    let error = recipes::check_one(&case, &GoodImages::build(&[case])?);
    let error = error.err().context("not noticed")?.to_string();
    ensure!(error.contains("OKAY"), "{error}");
    Ok(())
}

#[test]
fn codes_are_found_whatever_their_case() -> Result<()> {
    ensure!(recipes::find("10a")?.entry.code == "10A");
    ensure!(recipes::find("2A")?.entry.code == "2A");
    let error = recipes::find("13A").err().context("found")?.to_string();
    ensure!(
        error.contains("13A") && error.contains(" 1A 1B "),
        "{error}"
    );
    Ok(())
}
