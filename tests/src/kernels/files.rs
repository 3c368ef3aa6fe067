//! What a boot loads: the kernel's file, its modules, and what they make a kernel print.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use disk_builder::image::find_kernel;
use disk_builder::{Protocol, stages};
use flate2::Compression;
use flate2::write::GzEncoder;
use object::Object as _;

use super::{Boot, By, Kernel, Sign, WayIn, With};
use crate::compare::Loader;
use crate::elf::{noise, put_multiboot2_header};
use crate::image::{self, test_program_file};
use crate::linux::{self, Fetched};
use crate::peers;

/// What a boot loads.
pub struct Files {
    /// The kernel's bytes.
    pub kernel: Vec<u8>,
    /// Names, bytes and strings.
    pub modules: Vec<(&'static str, Vec<u8>, &'static str)>,
    /// The texts that must be in the transcript.
    pub expected: Vec<String>,
}

impl Boot {
    /// The command line.
    pub fn options(&self) -> String {
        let diskless = self.row.kernel == Kernel::Multiboot
            && !matches!(
                self.by,
                By::Bootpath(WayIn::Mbr) | By::Peer(Loader::Grub, _)
            );
        format!(
            "{}{}",
            self.row.options,
            if diskless { " diskless" } else { "" }
        )
    }

    /// The kernel's file; `None`: it cannot be fetched.
    fn kernel(&self) -> Result<Option<Vec<u8>>> {
        let path: PathBuf = match self.row.kernel {
            Kernel::Demo => image::demo_kernel()?,
            Kernel::C => image::c_kernel()?,
            Kernel::CMultiboot2 => image::c_kernel_with_bootstrap()?,
            Kernel::C32 => {
                find_kernel(Some(&stages::workspace().join("examples/multiboot-kernel")))?
            }
            Kernel::EnteringLongMode | Kernel::HeaderByCrate => {
                test_program_file("entering-long-mode")?
            }
            Kernel::Multiboot => test_program_file("multiboot-kernel")?,
            Kernel::Limine => test_program_file("limine-first")?,
            Kernel::LimineChecks => test_program_file("limine-kernel")?,
            Kernel::LinuxChecks => return linux::check_kernel(&[]).map(Some),
            Kernel::Fetched(kernel) => match kernel.path()? {
                Some(path) => path,
                None => return Ok(None),
            },
            Kernel::GrubCore { as_linux } => return peers::grub_core(as_linux),
            Kernel::Linked(linked) => return linked.build(),
            Kernel::Sector(_) => bail!("a boot sector is no file"),
        };
        Ok(Some(fs::read(&path)?))
    }

    /// The files to load; `None`: one cannot be fetched.
    pub fn files(&self) -> Result<Option<Files>> {
        let Some(kernel) = self.kernel()? else {
            return Ok(None);
        };
        let mut files = Files {
            kernel,
            modules: Vec::new(),
            expected: Vec::new(),
        };
        self.adapt(&mut files)?;
        if self.row.sign == Sign::Init
            && let Kernel::Fetched(kernel) = self.row.kernel
        {
            files.modules.push(("initrd", linux::initrd(kernel)?, ""));
            files.expected = vec![
                format!("**** cmdline {}\r\n", self.options()),
                "**** memory 2".into(),
            ];
        }
        for (name, what, string) in self.row.modules {
            let bytes = match what {
                With::Initrd => linux::initrd(Fetched::Cloud)?,
                With::Fetched(file) => match file.path()? {
                    Some(path) => fs::read(path)?,
                    None => return Ok(None),
                },
            };
            files.modules.push((name, bytes, string));
        }
        if self.row.packed {
            self.pack(&mut files)?;
        }
        match self.by {
            By::Bootpath(_) => self.expect(&mut files),
            // The rest is what this loader says, and what it gives.
            By::Peer(..) => files.expected.clear(),
        }
        Ok(Some(files))
    }

    fn is_version_1(&self) -> bool {
        self.row.protocol == Some(Protocol::Multiboot1)
    }

    /// Changes the kernel to the row's, where several rows have the same one.
    fn adapt(&self, files: &mut Files) -> Result<()> {
        let version_1 = self.is_version_1();
        match self.row.kernel {
            Kernel::EnteringLongMode if version_1 => {
                let header = header_1();
                replace(&mut files.kernel, &MAGIC_2.to_le_bytes(), &header)?;
                // The number that it compares EAX with.
                let [from, to] = [LOADER_2, LOADER_1].map(u32::to_le_bytes);
                replace(&mut files.kernel, &from, &to)?;
            }
            Kernel::HeaderByCrate => {
                let entry = object::File::parse(&*files.kernel)?.entry();
                replace(&mut files.kernel, &MAGIC_2.to_le_bytes(), &[0; 4])?;
                put_multiboot2_header(&mut files.kernel, u32::try_from(entry)?)?;
            }
            // The kernel has both headers, and the loader looks for version 2 first.
            Kernel::Multiboot if version_1 => {
                replace(&mut files.kernel, &MAGIC_2.to_le_bytes(), &[0; 4])?;
            }
            Kernel::LimineChecks => {
                files.modules.push(("inner.bin", noise(5000), ""));
            }
            _ => {}
        }
        Ok(())
    }

    /// What this loader says, and what the kernel is given.
    fn expect(&self, files: &mut Files) {
        match self.row.kernel {
            Kernel::Multiboot => files.expected.extend([
                format!(
                    "10 kernel   Multiboot {}, ",
                    if self.is_version_1() { 1 } else { 2 }
                ),
                "command line: /".into(),
                format!(" {}\n", self.options()),
            ]),
            // The path is in front, which each loader names its way.
            Kernel::CMultiboot2 | Kernel::C32 => files
                .expected
                .extend(["command line: /".into(), format!(" {}", self.options())]),
            Kernel::Demo | Kernel::C | Kernel::Limine => {
                files
                    .expected
                    .push(format!("command line: {}", self.options()));
            }
            _ => {}
        }
    }

    /// Compresses the kernel, and adds a compressed module.
    fn pack(&self, files: &mut Files) -> Result<()> {
        files.kernel = gzip(&files.kernel)?;
        let module = noise(70_000);
        let packed = gzip(&module)?;
        let size = match self.row.kernel {
            // A Limine kernel gets files as they are.
            Kernel::Limine if self.by != MBOOT => packed.len(),
            _ => module.len(),
        };
        files.modules.push(("module", packed, "its text"));
        files.expected.push(format!("{size} bytes"));
        // mboot.c32 itself unpacks files.
        if self.by != MBOOT {
            files.expected.push("10 gzip     ".into());
        }
        Ok(())
    }
}

/// mboot.c32 itself unpacks files.
const MBOOT: By = By::Bootpath(WayIn::Mboot);

const MAGIC_1: u32 = 0x1BAD_B002;
const MAGIC_2: u32 = 0xE852_50D6;
const LOADER_1: u32 = 0x2BAD_B002;
const LOADER_2: u32 = 0x36D7_6289;

/// A version 1 header that asks for nothing.
fn header_1() -> Vec<u8> {
    let words = [MAGIC_1, 0, MAGIC_1.wrapping_neg()];
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// Overwrites the first occurrence of these bytes.
pub(crate) fn replace(file: &mut [u8], from: &[u8], to: &[u8]) -> Result<()> {
    let mut windows = file.windows(from.len());
    let place = windows.position(|window| window == from);
    let place = place.with_context(|| format!("no {from:02X?} in the kernel"))?;
    let room = file.get_mut(place..place + to.len()).context("no room")?;
    room.copy_from_slice(to);
    Ok(())
}

/// Compresses bytes.
///
/// # Errors
/// None: it writes to memory.
pub fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?)
}
