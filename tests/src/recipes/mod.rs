//! How each error of the [catalogue](boot_path::errors::catalogue) is provoked: a recipe breaks a
//! good image, or the machine that boots it, and the output is compared with the recipe.
//!
//! `./run.sh break CODE` shows one of them; `./run.sh break all` and `tests/tests/recipes.rs` check
//! all; `docs/errors.md` lists them.
//!
//! A recipe is data: some of the [`words`], with the names of [`fields`]. It stands, under its
//! error's code, in the file for its step. It breaks as little as possible.

pub mod words;
pub mod fields;
pub mod english;
pub mod first_steps;
pub mod disk;
pub mod kernel;
pub mod protocols;
mod good_image;
mod places;
mod differences;
mod seen;

use anyhow::{Context as _, Result, ensure};
use boot_path::errors::catalogue::{ALL, Entry, Row};

pub use good_image::{Broken, GoodImages};
pub use seen::{Seen, check, check_all, check_one};
use words::{Change, Recipe, Shows};

/// The short name of [`Recipe::new`].
const fn by(changes: &'static [Change], shows: Shows) -> Recipe {
    Recipe::new(changes, shows)
}

/// All recipes, each with the code of its error.
pub fn recipes() -> Vec<(&'static str, Recipe)> {
    [
        first_steps::RECIPES,
        disk::RECIPES,
        kernel::RECIPES,
        protocols::RECIPES,
    ]
    .concat()
}

/// An error, and how it is provoked.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// What the loader prints.
    pub entry: &'static Entry,
    /// Likely causes: sentences.
    pub causes: &'static str,
    /// How to provoke it.
    pub recipe: Recipe,
}

/// All errors in the order of the catalogue, each with its recipe.
///
/// # Errors
/// See [`join`].
pub fn cases() -> Result<Vec<Case>> {
    join(ALL, &recipes())
}

/// Joins each error with its recipe.
///
/// # Errors
/// Names the errors that have no recipe or several, and the codes that no error has.
pub fn join(errors: &[Row], recipes: &[(&str, Recipe)]) -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    let mut wrong = Vec::new();
    for &Row { entry, causes } in errors {
        let mut own = recipes.iter().filter(|(code, _)| *code == entry.code);
        match (own.next(), own.count()) {
            (None, _) => wrong.push(format!("{} has no recipe", entry.code)),
            (Some(&(_, recipe)), 0) => cases.push(Case {
                entry,
                causes,
                recipe,
            }),
            (Some(_), more) => wrong.push(format!("{} has {} recipes", entry.code, more + 1)),
        }
    }
    let is_known = |code: &str| errors.iter().any(|row| row.entry.code == code);
    let unknown = recipes.iter().filter(|(code, _)| !is_known(code));
    wrong.extend(unknown.map(|(code, _)| format!("no error has the code {code} of a recipe")));
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(cases)
}

/// The error with this code, in upper or lower case.
///
/// # Errors
/// Names the existing codes.
pub fn find(code: &str) -> Result<Case> {
    let cases = cases()?;
    let found = cases
        .iter()
        .find(|case| case.entry.code.eq_ignore_ascii_case(code));
    found.copied().with_context(|| {
        let known: Vec<&str> = cases.iter().map(|case| case.entry.code).collect();
        format!(
            "no error has the code {code:?}; there are: {}",
            known.join(" ")
        )
    })
}
