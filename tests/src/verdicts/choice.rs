//! The images that are booted.

use std::collections::BTreeMap;

use anyhow::Result;

use super::cases::Case;
use super::mutation::Generator;

/// How many images of a group are searched for a refused one, or for one that is not refused.
const TRIES: usize = 8;

/// The wanted number of different images, or all that there are: one of each group in turn,
/// alternately refused ones and others if a group has both. `is_refused` says which an image is.
///
/// # Errors
/// Those of `is_refused`.
pub fn choose(
    cases: &[Case],
    count: usize,
    seed: u64,
    mut is_refused: impl FnMut(&Case) -> Result<bool>,
) -> Result<Vec<&Case>> {
    let mut generator = Generator::new(seed);
    let mut groups: BTreeMap<&str, Vec<&Case>> = BTreeMap::new();
    for case in cases {
        groups.entry(&case.group).or_default().push(case);
    }
    let mut groups: Vec<_> = groups.into_values().collect();
    generator.shuffle(&mut groups);
    for group in &mut groups {
        generator.shuffle(group);
    }
    let mut chosen = Vec::new();
    let mut wanted = true;
    while chosen.len() < count && !groups.is_empty() {
        for group in &mut groups {
            let mut found = 0;
            for (index, case) in group.iter().enumerate().take(TRIES) {
                if is_refused(case)? == wanted {
                    found = index;
                    break;
                }
            }
            chosen.push(group.swap_remove(found));
            wanted = !wanted;
        }
        groups.retain(|group| !group.is_empty());
    }
    chosen.truncate(count);
    Ok(chosen)
}
