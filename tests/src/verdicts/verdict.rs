//! What the host says about an image.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use disk_builder::image;
use disk_builder::inspect;
use disk_layout::{ParameterBlock, SECTOR_SIZE, mbr, stage2};
use host_machine::{Disk, Outcome, Pc, boot};
use zerocopy::FromBytes as _;

use super::cases::{Case, Cases, Made};
use crate::parallel;

/// What the loader's path says about an image that it does not boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Code and sentence, as the loader prints them.
    pub report: String,
    /// The error: its type, and the variant.
    pub error: String,
}

/// What the host says about an image.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// The refusal by the loader's path, on a PC that has everything a PC can have; `None`: it
    /// boots.
    pub refusal: Option<Refusal>,
    /// The faults in what was said: each a sentence.
    pub faults: Vec<String>,
}

/// Asks the loader's path, `inspect`, and, for a kernel, `build`. Each has to report the same code
/// and the same sentence.
///
/// # Errors
/// When the image cannot be read.
pub fn judge(case: &Case, made: &Made) -> Result<Verdict> {
    let image = made.path();
    let refusal = path_says(&image, |pc| pc)?;
    let report = refusal.as_ref().map(|refusal| &refusal.report);
    let mut faults = Vec::new();
    if case.meets.is_some() && refusal.as_ref().map(|it| it.error.as_str()) != case.meets {
        faults.push(format!("made for {:?}, and is {refusal:?}", case.meets));
    }
    let recipe = made.checked_recipe();
    let problems = inspect::inspect(&image)?.problems;
    // All memory may be too much for the address space: the image boots on a machine with less
    // memory.
    let of_all_memory = ["error 11A", "error 11B"];
    let may_boot = |report: &String| of_all_memory.iter().any(|code| report.starts_with(code));
    // The text with which `build` has to refuse.
    let mut said = report;
    match problems.first() {
        None => {
            said = None;
            if report.is_some_and(|report| !may_boot(report)) {
                faults.push(format!("inspect says nothing; the path: {refusal:?}"));
            }
        }
        // A disk may also have faults that do not stop the loader.
        Some(_) if report.is_none() && recipe.is_none() => {}
        problem if problem == report => {}
        problem => faults.push(format!("inspect: {problem:?}; the path: {refusal:?}")),
    }
    if let Some(recipe) = recipe {
        let built = image::build(&recipe).map_err(|error| format!("{error:#}"));
        let agrees = match (&said, &built) {
            (None, Ok(_)) => true,
            (Some(report), Err(error)) => error.ends_with(report.as_str()),
            _ => false,
        };
        if !agrees {
            let built = built.map(|_| ());
            faults.push(format!("build: {built:?}; the path: {refusal:?}"));
        }
    }
    Ok(Verdict { refusal, faults })
}

/// Makes and judges all images, several at once. Returns the verdicts in the order of the images.
///
/// # Errors
/// When one cannot be made or read.
pub fn judge_all(cases: &Cases) -> Result<Vec<Verdict>> {
    let judge = |case: &Case| {
        let verdict = cases.make(case).and_then(|made| judge(case, &made));
        verdict.with_context(|| case.name.clone())
    };
    parallel::each(&cases.all, judge).into_iter().collect()
}

/// Whether the loader's path refuses an image.
///
/// # Errors
/// When the image cannot be read.
pub fn is_refused(made: &Made) -> Result<bool> {
    Ok(path_says(&made.path(), |pc| pc)?.is_some())
}

/// What the loader's path says about an image on a PC that `pc` makes from one with everything;
/// `None`: it boots.
///
/// # Errors
/// When the image cannot be read.
pub(super) fn path_says(image: &Path, pc: impl FnOnce(Pc) -> Pc) -> Result<Option<Refusal>> {
    // The MBR and stage2.
    let mut bytes = Vec::new();
    let file = File::open(image)?;
    file.take(1 << 20).read_to_end(&mut bytes)?;
    let parameters = bytes.get(mbr::PARAMETER_BLOCK_OFFSET..mbr::CODE_END);
    let parameters = ParameterBlock::read_from_bytes(parameters.context("no MBR")?);
    let parameters = parameters.ok().context("no parameters of stage1")?;
    let start = parameters.lba.get() as usize * SECTOR_SIZE;
    let length = usize::from(parameters.sectors.get()) * SECTOR_SIZE;
    let stage2 = bytes.get(start..start + length).context("no stage2")?;
    let manifest = stage2::manifest(stage2).unwrap_or_default();
    let pc = pc(Pc::with_disk(Disk::new(File::open(image)?))?);
    Ok(match boot(&pc, manifest) {
        Outcome::Ready(..) => None,
        Outcome::Failed { report, .. } => {
            let error = pc.variant.take().context("an error without a name")?;
            Some(Refusal { report, error })
        }
    })
}
