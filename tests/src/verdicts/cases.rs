//! All images: what they are made of, and how each is made.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use disk_builder::image::{self, Module, Recipe};
use disk_builder::stages::Stages;
use tempfile::TempDir;

use super::disks::{Base, Change};
use super::kernels::{self, Kernel};
use super::mutation::Generator;
use super::{made_disks, made_kernels};
use crate::image::stages;

/// How many changes are made to each kernel, and to each place of a disk.
const OF_A_KERNEL: usize = 40;
const OF_A_PLACE: usize = 24;

/// An image that can be made.
pub struct Case {
    /// Its name, which is unique.
    pub name: String,
    /// What it has in common with others: the thing that was changed, or the error that it is made
    /// for.
    pub group: String,
    /// The error that it is made for, if any.
    pub meets: Option<&'static str>,
    /// Whether it is made for an error, and not changed at random.
    pub is_made: bool,
    subject: Subject,
}

enum Subject {
    /// A good disk with this kernel.
    Kernel(Kernel),
    /// One of the disks, with a change.
    Disk(usize, Change),
}

/// All images.
pub struct Cases {
    /// The images.
    pub all: Vec<Case>,
    bases: Vec<Base>,
    stages: Stages,
}

/// An image that was made. Its file is deleted with this.
pub struct Made {
    directory: TempDir,
    /// What it was built from, if the whole disk is as it was built.
    recipe: Option<Recipe>,
}

impl Made {
    /// The path of the image.
    pub fn path(&self) -> PathBuf {
        self.directory.path().join("disk.img")
    }

    /// The recipe that checks the kernel; `None` if a disk was changed.
    pub(super) fn checked_recipe(&self) -> Option<Recipe> {
        let recipe = self.recipe.clone()?;
        Some(Recipe {
            unchecked: false,
            output: self.directory.path().join("checked.img"),
            ..recipe
        })
    }
}

impl Cases {
    /// The images of a seed, always the same ones.
    ///
    /// # Errors
    /// When the loader or the disks that are changed cannot be built.
    pub fn new(seed: u64) -> Result<Self> {
        let stages = stages()?;
        let directory = tempfile::tempdir()?;
        let bases = Base::all(&stages, directory.path())?;
        let mut cases = Self {
            all: Vec::new(),
            bases,
            stages,
        };
        cases.add_kernels(seed);
        cases.add_disks(seed);
        cases.add_made()?;
        Ok(cases)
    }

    /// The images with these names, in the order of the names.
    ///
    /// # Errors
    /// When there is no image of some name.
    pub fn find_all(&self, names: &[&str]) -> Result<Vec<&Case>> {
        names.iter().map(|name| self.find(name)).collect()
    }

    /// The image with this name.
    ///
    /// # Errors
    /// When there is none.
    pub fn find(&self, name: &str) -> Result<&Case> {
        let found = self.all.iter().find(|case| case.name == name);
        found.with_context(|| format!("there is no image '{name}'"))
    }

    fn add(&mut self, name: String, group: String, subject: Subject) {
        self.all.push(Case {
            name,
            group,
            meets: None,
            is_made: false,
            subject,
        });
    }

    /// Kernels as they are, and changed ones.
    fn add_kernels(&mut self, seed: u64) {
        for (number, kernel) in (0..).zip(kernels::all()) {
            let mut generator = Generator::new(seed << 32 | number);
            let name = kernel.name.to_owned();
            for change in 0..OF_A_KERNEL {
                let changed = Subject::Kernel(kernel.changed(&mut generator));
                self.add(format!("{name}/{change}"), name.clone(), changed);
            }
            self.add(name, "kernels as they are".into(), Subject::Kernel(kernel));
        }
    }

    /// Disks with changes.
    fn add_disks(&mut self, seed: u64) {
        for index in 0..self.bases.len() {
            let mut generator = Generator::new(seed << 32 | (1000 + index) as u64);
            for place in 0..self.bases[index].places() {
                for number in 0..OF_A_PLACE {
                    let base = &self.bases[index];
                    let group = format!("{}/{place}", base.name);
                    let changed = base.changed(place, &mut generator);
                    let changed = Subject::Disk(index, changed);
                    self.add(format!("{group}/{number}"), group, changed);
                }
            }
        }
    }

    /// Kernels and disks that are made for an error.
    fn add_made(&mut self) -> Result<()> {
        for (meets, kernel) in made_kernels::all() {
            self.all.push(Case {
                name: kernel.name.to_owned(),
                group: group_of(meets),
                meets: Some(meets),
                is_made: true,
                subject: Subject::Kernel(kernel),
            });
        }
        for made in made_disks::all(&self.bases)? {
            let base = self.bases.iter().position(|base| base.name == made.base);
            let base = base.context("no such disk")?;
            self.all.push(Case {
                name: format!("{}: {}", made.base, made.what),
                group: group_of(made.meets.unwrap_or("disks as they are")),
                meets: made.meets,
                is_made: true,
                subject: Subject::Disk(base, made.change),
            });
        }
        Ok(())
    }

    /// Makes an image.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn make(&self, case: &Case) -> Result<Made> {
        let mut made = Made {
            directory: tempfile::tempdir()?,
            recipe: None,
        };
        match &case.subject {
            Subject::Kernel(kernel) => {
                let recipe = self.recipe(kernel, &made)?;
                let built = image::build(&recipe);
                built.with_context(|| format!("{} cannot be made", case.name))?;
                made.recipe = Some(recipe);
            }
            Subject::Disk(base, change) => {
                write_sparse(&made.path(), &self.bases[*base].with(change))?;
            }
        }
        Ok(made)
    }

    /// The recipe for an image with a kernel, whatever the kernel is.
    fn recipe(&self, kernel: &Kernel, made: &Made) -> Result<Recipe> {
        let file = |name: &str, bytes: &[u8]| -> Result<PathBuf> {
            let path = made.directory.path().join(name);
            fs::write(&path, bytes)?;
            Ok(path)
        };
        let module = kernel.module.as_ref();
        let module = module.map(|bytes| file("module", bytes)).transpose()?;
        let modules = module.map(|file| Module {
            file,
            string: String::new(),
        });
        Ok(Recipe {
            protocol: kernel.protocol,
            command_line: kernel.command_line.clone(),
            modules: modules.into_iter().collect(),
            size_mib: Some(3),
            unchecked: true,
            checksums: false,
            ..Recipe::new(
                file("kernel.elf", &kernel.bytes)?,
                made.path(),
                self.stages.clone(),
            )
        })
    }
}

/// The type of an error.
fn group_of(error: &str) -> String {
    let end = error.find("::").unwrap_or(error.len());
    error[..end].to_owned()
}

/// Writes a file, except for its zeros.
fn write_sparse(path: &Path, bytes: &[u8]) -> Result<()> {
    const BLOCK: usize = 64 << 10;
    static ZEROS: [u8; BLOCK] = [0; BLOCK];

    let file = File::create(path)?;
    file.set_len(bytes.len() as u64)?;
    for (offset, block) in (0..).step_by(BLOCK).zip(bytes.chunks(BLOCK)) {
        if *block != ZEROS[..block.len()] {
            file.write_all_at(block, offset)?;
        }
    }
    Ok(())
}
