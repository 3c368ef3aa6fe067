//! Whatever stands in an image, `inspect` and `build` say of it what the loader's path says: the same
//! code and the same sentence. A generator changes fields of headers, requests, streams, entries, file
//! systems and partition tables, always the same ones.

#[path = "../../../tests/src/elf_fixture.rs"]
#[allow(dead_code, reason = "other tests use more of it")]
mod elf_fixture;
mod disks;
mod kernels;
mod mutation;
mod special;
#[path = "../support/mod.rs"]
mod support;
mod variants;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use disk_builder::image::{self, Module, Recipe};
use disk_builder::inspect;
use disk_layout::{ParameterBlock, SECTOR_SIZE, mbr, stage2};
use host_machine::{Disk, Outcome, Pc, boot};
use zerocopy::FromBytes as _;

use disks::Base;
use kernels::Kernel;
use mutation::Generator;
use support::Workshop;

/// What the loader's path says of an image, and by which variant of an error; nothing if it boots.
fn path_says(image: &Path) -> Option<(String, String)> {
    // MBR and stage2.
    let mut bytes = Vec::new();
    let file = File::open(image).unwrap();
    file.take(1 << 20).read_to_end(&mut bytes).unwrap();
    let parameters = &bytes[mbr::PARAMETER_BLOCK_OFFSET..mbr::CODE_END];
    let parameters = ParameterBlock::read_from_bytes(parameters).unwrap();
    let start = parameters.lba.get() as usize * SECTOR_SIZE;
    let stage2 = &bytes[start..][..usize::from(parameters.sectors.get()) * SECTOR_SIZE];
    let manifest = stage2::manifest(stage2).unwrap_or_default();
    let pc = Pc::with_disk(Disk::new(File::open(image).unwrap())).unwrap();
    match boot(&pc, manifest) {
        Outcome::Ready(..) => None,
        Outcome::Failed { report, .. } => Some((report, pc.variant.take().unwrap())),
    }
}

/// What was compared.
#[derive(Default)]
struct Comparisons {
    images: usize,
    refused: usize,
    variants: BTreeSet<String>,
    faults: Vec<String>,
}

impl Comparisons {
    /// Compares what is said of an image. `others_too`: it may have faults that do not stop the loader.
    /// Returns what the loader says.
    fn compare(&mut self, what: &str, image: &Path, others_too: bool) -> Option<String> {
        let path = path_says(image);
        let inspection = inspect::inspect(image).unwrap();
        self.images += 1;
        let Some((report, variant)) = path else {
            if !others_too && !inspection.problems.is_empty() {
                let problems = inspection.problems;
                self.faults.push(format!("{what}: it boots: {problems:?}"));
            }
            return None;
        };
        self.refused += 1;
        self.variants.insert(variant);
        // A smaller machine may boot it.
        let may_boot = ["error 11A", "error 11B"]
            .iter()
            .any(|code| report.starts_with(code));
        match inspection.problems.first() {
            None if may_boot => return None,
            Some(problem) if *problem == report => {}
            problem => self
                .faults
                .push(format!("{what}: {report}; inspect: {problem:?}")),
        }
        Some(report)
    }

    /// Builds an image of a kernel in spite of all, and compares; then `build` has to refuse it, or not.
    fn kernel(&mut self, workshop: &Workshop, what: &str, kernel: &Kernel) {
        let mut recipe = Recipe {
            protocol: kernel.protocol,
            command_line: kernel.command_line.clone(),
            size_mib: Some(3),
            unchecked: true,
            checksums: false,
            ..workshop.recipe(&kernel.bytes)
        };
        if let Some(bytes) = &kernel.module {
            recipe.modules = vec![Module {
                file: workshop.file("module", bytes),
                string: String::new(),
            }];
        }
        image::build(&recipe).unwrap();
        let report = self.compare(what, &recipe.output, false);
        recipe.unchecked = false;
        let built = image::build(&recipe).map_err(|error| format!("{error:#}"));
        let agrees = match (&report, &built) {
            (None, Ok(_)) => true,
            (Some(report), Err(error)) => error.ends_with(report),
            _ => false,
        };
        if !agrees {
            let built = built.map(|_| ());
            self.faults
                .push(format!("{what}: {report:?}; build: {built:?}"));
        }
    }
}

/// How many changes are made of each kernel, and of each disk.
const OF_A_KERNEL: usize = 40;
const OF_A_DISK: usize = 24;

/// Kernels on one thread, disks on another.
fn all() -> Vec<Comparisons> {
    std::thread::scope(|scope| {
        let kernels = scope.spawn(|| {
            let (workshop, mut comparisons) = (Workshop::new(), Comparisons::default());
            for (seed, kernel) in kernels::all().iter().enumerate() {
                comparisons.kernel(&workshop, kernel.name, kernel);
                let mut generator = Generator::new(seed as u64);
                for number in 0..OF_A_KERNEL {
                    let what = format!("{}, change {number}", kernel.name);
                    comparisons.kernel(&workshop, &what, &kernel.changed(&mut generator));
                }
            }
            for kernel in special::all() {
                comparisons.kernel(&workshop, kernel.name, &kernel);
            }
            comparisons
        });
        let disks = scope.spawn(|| {
            let (workshop, mut comparisons) = (Workshop::new(), Comparisons::default());
            for (seed, base) in Base::all(&workshop).iter().enumerate() {
                comparisons.compare(base.name, &base.image, true);
                base.make_others(|| {
                    comparisons.compare(base.name, &base.image, true);
                });
                let mut generator = Generator::new(1000 + seed as u64);
                for place in 0..base.places.len() {
                    for number in 0..OF_A_DISK {
                        let what = format!("{}, place {place}, change {number}", base.name);
                        base.change(place, &mut generator, || {
                            comparisons.compare(&what, &base.image, true);
                        });
                    }
                }
            }
            comparisons
        });
        [kernels, disks].map(|it| it.join().unwrap()).into()
    })
}

#[test]
fn build_and_inspect_say_what_the_path_says() {
    let all = all();
    let faults: Vec<_> = all.iter().flat_map(|it| &it.faults).collect();
    let images: usize = all.iter().map(|it| it.images).sum();
    let refused: usize = all.iter().map(|it| it.refused).sum();
    let hit: BTreeSet<_> = all.iter().flat_map(|it| it.variants.clone()).collect();
    println!("{images} images, {refused} refused, {} variants", hit.len());
    assert!(faults.is_empty(), "{} faults: {faults:#?}", faults.len());
    assert!(images >= 1000, "{images}");
    assert!(refused >= 300 && images - refused >= 100, "{refused}");
    variants::check(&hit);
}
