//! An image to damage, and what it does undamaged.

use std::ops::Range;

use anyhow::{Context as _, Result, ensure};

use super::boot::{self, Copies};
use super::layout::{self, Regions};
use super::{Flip, Journal, Kind, Outcome, Random, Region};
use crate::checksum::checksum;
use crate::image::Image;
use crate::parallel;

/// An image, its regions, and its output.
pub struct Subject {
    /// What is booted.
    pub kind: Kind,
    image: Image,
    regions: Regions,
    transcript: String,
}

impl Subject {
    /// Builds the image, with checksums or without, and boots it on both CPUs that are used.
    ///
    /// # Errors
    /// When it does not build or boot, or its output varies: the effect of a bit could not be seen
    /// then.
    pub fn new(kind: Kind, checksums: bool) -> Result<Self> {
        let cannot = || format!("no image for {}", kind.title());
        let image = kind.image(checksums).with_context(cannot)?;
        let regions = layout::regions(kind, &image).with_context(cannot)?;
        let [transcript, another] = boot::CPUS.map(|cpu| boot::transcript(&image, cpu));
        let transcript = transcript.with_context(cannot)?;
        let another = another.with_context(cannot)?;
        ensure!(
            transcript == another,
            "{}: one boot says\n{transcript}\nand another one\n{another}",
            kind.title()
        );
        Ok(Self {
            kind,
            image,
            regions,
            transcript,
        })
    }

    /// The regions of the image, in the order of the tables.
    pub fn regions(&self) -> impl Iterator<Item = Region> + Clone {
        self.regions.keys().copied()
    }

    /// Where a region lies on the disk: first and last byte of each piece.
    pub fn addresses(&self, region: Region) -> impl Iterator<Item = (u64, u64)> {
        let ranges = self.regions.get(&region).into_iter().flatten();
        ranges.map(|range| (range.start, range.end - 1))
    }

    /// A number that distinguishes this image from others.
    ///
    /// # Errors
    /// When the image cannot be read.
    pub fn fingerprint(&self) -> Result<u64> {
        let length = self.image.inspect()?.bytes;
        Ok(checksum(&self.image.read(0, usize::try_from(length)?)?))
    }

    /// The wanted number of flips, spread evenly over these regions, as far as the image has them,
    /// and at random within each.
    pub fn choose(&self, regions: &[Region], count: usize, seed: u64) -> Vec<Flip> {
        let mut random = Random(seed);
        let wanted = self.regions.iter();
        let wanted = wanted.filter(|(region, _)| regions.contains(region));
        let choose = |(&region, ranges): (&Region, &Vec<Range<u64>>)| {
            let bytes: u64 = ranges.iter().map(|range| range.end - range.start).sum();
            let mut place = random.below(bytes);
            let bit = random.below(8) as u8;
            let range = ranges.iter().find(|range| {
                let length = range.end - range.start;
                let found = place < length;
                if !found {
                    place -= length;
                }
                found
            });
            Flip {
                region,
                offset: range.map_or(0, |range| range.start) + place,
                bit,
            }
        };
        wanted.cycle().take(count).map(choose).collect()
    }

    /// One flip.
    pub fn at(&self, offset: u64, bit: u8) -> Option<Flip> {
        let contains = |range: &Range<u64>| range.contains(&offset);
        let mut regions = self.regions.iter();
        let (&region, _) = regions.find(|(_, ranges)| ranges.iter().any(contains))?;
        let flip = Flip {
            region,
            offset,
            bit,
        };
        (bit < 8).then_some(flip)
    }

    /// For each flip that is not in the journal yet, flips the bit in a copy, boots it, and
    /// determines how that ended. Several machines run at once.
    ///
    /// # Errors
    /// When a machine cannot be run, or the journal cannot be written.
    pub fn run(
        &self,
        flips: &[Flip],
        journal: Option<&Journal>,
        report: impl Fn(usize, Flip, &Outcome) + Sync,
    ) -> Result<Vec<Outcome>> {
        let copies = Copies::new(&self.image);
        let numbered: Vec<_> = flips.iter().enumerate().collect();
        let outcomes = parallel::each(&numbered, |&(number, flip)| {
            if let Some(outcome) = journal.and_then(|journal| journal.get(number)) {
                return Ok(outcome);
            }
            let outcome = boot::boot(&copies, flip, &self.transcript);
            let outcome = outcome.with_context(|| format!("{flip:?}"))?;
            if let Some(journal) = journal {
                journal.put(number, &outcome)?;
            }
            report(number, *flip, &outcome);
            Ok(outcome)
        });
        outcomes.into_iter().collect()
    }
}
