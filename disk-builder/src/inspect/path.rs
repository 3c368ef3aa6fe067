//! Whether an image boots: the loader's own path runs over it, up to the jump, on a PC that has
//! everything a PC can have. What is refused there boots on no machine.

use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::rc::Rc;

use anyhow::{Context as _, Result};
use boot_path::entry::entries::{DIRECTORY, stem};
use boot_path::entry::target::Target;
use boot_path::errors::catalogue;
use boot_path::files::error::Missing;
use boot_path::files::integrity::Role;
use host_machine::{self, Disk, Outcome, Pc, RAM_END, boot_entry};

use super::facts::Inspection;
use super::{Chains, say};
use crate::host_file::Sparse;
use crate::progress::Progress;

/// An entry that does not boot.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    /// Its name without suffix; `None`: there are no entries.
    pub(crate) entry: Option<String>,
    /// The path of its kernel.
    pub(crate) kernel: Option<String>,
    /// What the loader says.
    pub(crate) problem: String,
}

/// What can be booted.
#[derive(Clone, Debug, Default)]
pub(super) struct Choice {
    /// The name of the entry's file; `None`: there are no entries.
    pub(super) entry: Option<String>,
    /// Whether it is booted when nobody chooses.
    pub(super) is_default: bool,
    /// The path of its kernel.
    pub(super) kernel: Option<String>,
    /// What is started instead of a kernel.
    pub(super) chain: Option<Target>,
    /// Modules that it names and that are missing. If it boots all the same, it does not need them.
    pub(super) missing: Vec<String>,
}

impl Choice {
    /// Whether the image alone decides if this choice boots: what is on other disks is unknown.
    fn is_decided(&self, chains: Chains) -> bool {
        self.chain.is_none_or(|target| {
            let is_here = target.drive.is_none_or(|drive| drive == DRIVE);
            chains == Chains::Followed && is_here
        })
    }
}

/// An image that is open, and who is told how much of it is read.
pub(super) struct Image<'a> {
    pub(super) file: &'a File,
    pub(super) progress: &'a Rc<dyn Progress>,
}

/// The drive that the image is.
const DRIVE: u8 = 0x80;

impl Inspection {
    /// Boots what can be booted: first what the loader boots when nobody chooses, then the others.
    pub(super) fn boot_all(
        &mut self,
        image: &Image<'_>,
        manifest: &[u8],
        (choices, chains): (&[Choice], Chains),
    ) -> Result<()> {
        let default = choices.iter().find(|choice| choice.is_default);
        let default = default.cloned().unwrap_or_default();
        let others = choices.iter().filter(|choice| !choice.is_default);
        for choice in [&default].into_iter().chain(others) {
            if !choice.is_decided(chains) {
                continue;
            }
            let path = choice.entry.as_ref();
            let path = path.map(|name| format!("{DIRECTORY}/{name}"));
            if let Some(mut problem) = boot(image, manifest, path.as_deref())? {
                // Without a choice, the loader goes on with the next entry.
                if choice.is_default
                    && let Some(said) = boot(image, manifest, None)?
                {
                    problem = said;
                }
                self.add_problem(problem.clone());
                for path in &choice.missing {
                    let role = Role::Module;
                    self.add_problem(say(&Missing { role, path }));
                }
                self.refusals.push(Refusal {
                    entry: choice.entry.as_deref().map(|name| stem(name).to_owned()),
                    kernel: choice.kernel.clone(),
                    problem,
                });
            }
        }
        Ok(())
    }
}

/// Boots an image: the entry in this file, or the one that the loader chooses. Returns what the
/// loader says when it stops.
fn boot(image: &Image<'_>, manifest: &[u8], entry: Option<&str>) -> Result<Option<String>> {
    // A kernel that wants all memory mapped may leave no room for it in the address space. It boots
    // on a machine with less memory.
    const OF_ALL_MEMORY: [&catalogue::Entry; 2] =
        [&catalogue::PAGING_CONFLICT, &catalogue::PAGING_RANGE];
    const LESS: [u64; 4] = [2 << 30, 1 << 30, 256 << 20, 64 << 20];

    let boot = |memory| boot_with(memory, image, manifest, entry);
    let Some((code, report)) = boot(RAM_END)? else {
        return Ok(None);
    };
    if OF_ALL_MEMORY.iter().any(|row| row.code == code) {
        for memory in LESS {
            if boot(memory)?.is_none() {
                return Ok(None);
            }
        }
    }
    Ok(Some(report))
}

/// Boots an image on a PC with memory up to this address. Returns the code and the report of an error.
fn boot_with(
    memory: u64,
    image: &Image<'_>,
    manifest: &[u8],
    entry: Option<&str>,
) -> Result<Option<(&'static str, String)>> {
    let progress = Rc::clone(image.progress);
    let image = Sparse::new(image.file.try_clone()?);
    let failure = Rc::default();
    let disk = HostDisk {
        length: image.length()?,
        image,
        failure: Rc::clone(&failure),
        progress,
    };
    let pc = Pc::with_disk(Disk::new(disk)).context("no room for a PC with 4 GiB of memory")?;
    let outcome = boot_entry(&pc.up_to(memory), manifest, entry);
    if let Some(error) = failure.take() {
        return Err(error.into());
    }
    Ok(match outcome {
        Outcome::Ready(..) => None,
        Outcome::Failed { code, report } => Some((code, report)),
    })
}

/// An image as the PC's disk.
struct HostDisk {
    image: Sparse,
    length: u64,
    /// What the host says when it cannot read the file: the loader's report cannot contain it.
    failure: Rc<RefCell<Option<io::Error>>>,
    progress: Rc<dyn Progress>,
}

impl host_machine::Image for HostDisk {
    fn length(&self) -> u64 {
        self.length
    }

    fn read(&mut self, offset: u64, out: &mut [u8]) -> Result<(), u8> {
        /// INT 13h: uncorrectable error.
        const STATUS: u8 = 0x10;

        self.progress.advance(out.len() as u64);
        self.image.read_exact_at(offset, out).map_err(|error| {
            self.failure.replace(Some(error));
            STATUS
        })
    }
}
