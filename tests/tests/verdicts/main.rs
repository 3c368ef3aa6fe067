//! Whatever stands in an image, `inspect`, `build` and a machine report the same code and the same
//! sentence as the loader's path. `./run.sh verdicts` boots many more of the images.

mod variants;

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use machine_tests::verdicts::{
    Answer, Case, Cases, Comparison, Verdict, choose, compare_all, is_refused, judge_all,
};

/// What the host says about all images.
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

/// Some images on a machine, with another seed than above.
#[test]
fn a_machine_says_what_the_path_says() -> Result<()> {
    const COUNT: usize = 14;
    const SEED: u64 = 1;

    let cases = Cases::new(SEED)?;
    let refuses = |case: &Case| is_refused(&cases.make(case)?);
    let chosen = choose(&cases.all, COUNT, SEED, refuses)?;
    let groups: BTreeSet<_> = chosen.iter().map(|case| &case.group).collect();
    ensure!(groups.len() == COUNT, "{groups:?}");

    let comparisons = compare(&cases, &chosen)?;
    let refused = |it: &&Comparison| matches!(it.answer, Answer::Refuses(_));
    let refused = comparisons.iter().filter(refused).count();
    ensure!((4..=10).contains(&refused), "{refused} refused");
    Ok(())
}

/// Good kernels run, which shows that a jump follows when the loader hands over.
#[test]
fn kernels_run_that_are_as_they_should_be() -> Result<()> {
    let cases = Cases::new(0)?;
    let chosen = cases.find_all(&[
        "relocated",
        "compressed own",
        "limine",
        "multiboot 1",
        "multiboot 2",
        "linux",
        "FAT12: as it is",
    ])?;
    for (case, comparison) in chosen.iter().zip(compare(&cases, &chosen)?) {
        ensure!(comparison.has_run, "{}: {comparison:?}", case.name);
    }
    Ok(())
}

/// Boots images and checks that each does what was said of it.
fn compare(cases: &Cases, chosen: &[&Case]) -> Result<Vec<Comparison>> {
    let comparisons = compare_all(cases, chosen, |_, _| {})?;
    for (case, comparison) in chosen.iter().zip(&comparisons) {
        let faults = &comparison.faults;
        ensure!(faults.is_empty(), "{}: {faults:#?}", case.name);
    }
    Ok(comparisons)
}
