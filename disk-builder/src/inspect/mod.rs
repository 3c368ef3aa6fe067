//! Reading an image back: what lies where, and whether it is what the loader expects.
//!
//! The loader's own path runs over the image on a PC in memory (`path`): it decides whether the
//! image boots, and says why if not. The loader's modules read everything else that is shown:
//! partition table, file system, configuration and kernel.

mod disk;
mod volume;
mod kernels;
mod facts;
mod files;
mod path;
mod output;

use std::fmt;
use std::fs::File;
use std::path::Path;
use std::rc::Rc;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use boot_path::errors::catalogue::{self, Named, Report};
use boot_path::files::gzip;
use boot_path::files::integrity::Manifest;
use boot_path::position::Lba;
use disk_layout::Mbr;
use zerocopy::FromBytes as _;

use crate::host_file::{self, Sparse};
use crate::manifest::crc32c;
use crate::progress::{self, Progress, Step};
use disk::FileDisk;

pub use facts::{
    Cd, Checksum, ConfigurationLine, EntryInfo, FileInfo, Inspection, LISTED, Part, Partition,
    Sectors, Stage2, Volume,
};
pub use kernels::{Booted, Kernel, LimineKernel, Linux, MultibootKernel, PhysicalSegment, Segment};
pub use output::Styles;

/// Inspects an image.
///
/// # Errors
/// When it cannot be read, or is not a disk image at all. What the loader would refuse is not an
/// error, but one of the [`Inspection::problems`].
pub fn inspect(image: &Path) -> Result<Inspection> {
    inspect_with_progress(image, &progress::silent())
}

/// The same, and `progress` is told how it goes.
///
/// # Errors
/// Those of [`inspect`].
pub fn inspect_with_progress(image: &Path, progress: &Rc<dyn Progress>) -> Result<Inspection> {
    let file = host_file::open_disk(image)?;
    let name = image.display();
    let _step = Step::new(&**progress, &format!("reading {name}"), None);
    ensure_disk(&file, image)?;
    inspect_file(&file, Chains::Followed, progress)
        .with_context(|| format!("cannot inspect {name}"))
}

/// Refuses what is no disk and often given by mistake, with a hint at what to do with it.
fn ensure_disk(file: &File, path: &Path) -> Result<()> {
    let mut head = [0; 4];
    if Sparse::new(file.try_clone()?)
        .read_exact_at(0, &mut head)
        .is_err()
    {
        return Ok(());
    }
    let name = path.display();
    ensure!(
        head != *b"\x7FELF",
        "{name} is an ELF file, not a disk image: if it is a kernel, `disk-builder run {name}` \
         boots it"
    );
    ensure!(
        !gzip::is_gzip(&head),
        "{name} is compressed, not a disk image: `gunzip` unpacks it"
    );
    Ok(())
}

/// Whether the boot sectors that entries name are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Chains {
    /// Those of this disk are.
    Followed,
    /// They may be made later.
    Later,
}

/// Inspects an image that is open already.
///
/// # Errors
/// Those of [`inspect`].
pub(crate) fn inspect_file(
    image: &File,
    chains: Chains,
    progress: &Rc<dyn Progress>,
) -> Result<Inspection> {
    let mut disk = FileDisk::new(image.try_clone()?, progress)?;
    let sector = disk
        .sectors(Lba::ZERO, 1)
        .map_err(|error| refusal(&error))?;
    let mbr = Mbr::read_from_bytes(&sector).map_err(|_| anyhow!("no MBR"))?;
    let mut inspection = Inspection {
        bytes: disk.length,
        disk_signature: mbr.disk_signature.get(),
        stage2: None,
        cd: None,
        partition: None,
        volume: None,
        files: Vec::new(),
        entries: Vec::new(),
        timeout: None,
        booted: Booted::default(),
        command_line: None,
        warnings: Vec::new(),
        problems: Vec::new(),
        lines: Vec::new(),
        refusals: Vec::new(),
    };
    let stage2 = inspection.read_stage2(&mut disk, &mbr);
    let (manifest, unfit) = match stage2 {
        Ok(manifest) => (manifest, None),
        Err(problem) => (Vec::new(), Some(problem)),
    };
    let mut choices = Vec::new();
    let read = Manifest::new(&manifest, crc32c);
    if let Err(problem) = inspection.read_partition(&mut disk, read, &mut choices) {
        inspection.add_problem(problem);
    }
    if let Err(problem) = inspection.read_cd(&mut disk) {
        inspection.add_problem(problem);
    }
    if let Some(error) = disk.failure {
        return Err(error.into());
    }
    // What the loader says comes first, in its order.
    let others = std::mem::take(&mut inspection.problems);
    inspection.problems.extend(unfit);
    let image = path::Image {
        file: image,
        progress,
    };
    inspection.boot_all(&image, &manifest, (&choices, chains))?;
    others.into_iter().for_each(|it| inspection.add_problem(it));
    Ok(inspection)
}

/// An error of the loader, in its own words.
pub(crate) fn refusal(error: &dyn Named) -> anyhow::Error {
    anyhow!(say(error))
}

fn say(error: &dyn Named) -> String {
    Report(error).to_string()
}

/// A row of the catalogue and the facts, for an error that has no type in the loader's library.
struct Failure(&'static catalogue::Entry, String);

impl Failure {
    /// The same as a value that owns its facts.
    fn of(error: &dyn Named) -> Self {
        Self(error.entry(), error.to_string())
    }
}

impl Named for Failure {
    fn entry(&self) -> &'static catalogue::Entry {
        self.0
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.1)
    }
}

fn failure(entry: &'static catalogue::Entry, facts: impl Into<String>) -> String {
    say(&Failure(entry, facts.into()))
}

/// What is wrong with an image, in one line.
type Problem<T> = Result<T, String>;

impl Inspection {
    /// Checks that there are no problems.
    ///
    /// # Errors
    /// The problems.
    pub fn verify(&self) -> Result<()> {
        match self.problems.as_slice() {
            [] => Ok(()),
            problems => bail!("{}", problems.join("; ")),
        }
    }

    /// The file at this path of the boot partition, if the loader reads it.
    pub fn file(&self, path: &str) -> Option<&FileInfo> {
        self.files.iter().find(|file| file.path == path)
    }

    /// Notes a problem that several entries may have.
    fn add_problem(&mut self, problem: String) {
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }
}
