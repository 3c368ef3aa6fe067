//! Whatever stands in an image, `inspect` and `build` say of it what the loader's path says: the same code
//! and the same sentence.

mod variants;

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use machine_tests::verdicts::{Case, Cases, Verdict, judge_all};

/// What is said on the host.
#[test]
fn build_and_inspect_say_what_the_path_says() -> Result<()> {
    let cases = Cases::new(0)?;
    let names: BTreeSet<_> = cases.all.iter().map(|case| &case.name).collect();
    ensure!(names.len() == cases.all.len(), "a name is there twice");

    let verdicts = judge_all(&cases)?;
    let all: Vec<(&Case, &Verdict)> = cases.all.iter().zip(&verdicts).collect();
    let faults: Vec<_> = all
        .iter()
        .flat_map(|(case, verdict)| verdict.faults.iter().map(|it| (&case.name, it)))
        .collect();
    ensure!(faults.is_empty(), "{} faults: {faults:#?}", faults.len());

    let refused = verdicts.iter().filter(|it| it.refusal.is_some()).count();
    println!("{} images, {refused} refused", all.len());
    ensure!(all.len() >= 1000, "{} images", all.len());
    ensure!(refused >= 300 && all.len() - refused >= 100, "{refused}");

    let errors = |is_made: bool| -> BTreeSet<String> {
        let such = all.iter().filter(|(case, _)| case.is_made == is_made);
        let refusals = such.filter_map(|(_, verdict)| verdict.refusal.as_ref());
        refusals.map(|refusal| refusal.error.clone()).collect()
    };
    variants::check(&errors(true), &errors(false))
}
