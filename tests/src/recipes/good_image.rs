//! Good images, and how recipes break them. Each of the [`words`](super::words) is carried out
//! here: a new word is a new arm of `apply` or `breaks`.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use disk_builder::image::Module;
use disk_builder::inspect::Inspection;
use disk_builder::run::Ending;
use tempfile::NamedTempFile;

use super::Case;
use super::differences::{Difference, differences};
use super::places::SECTOR;
use super::seen::{Seen, offers, used};
use super::words::{Change, Field, GoodKernel, Instruction, MODULE, Place, Shows};
use crate::elf::noise;
use crate::image::{
    Image, bad_bios, demo_kernel, multiboot_program, position_independent_kernel, stages,
    test_program_file,
};
use crate::machine::{Disk, Machine, OFFER};

/// How long a machine may run: it usually takes two seconds, but the host may be busy.
const TIME_LIMIT: Duration = Duration::from_secs(180);

/// A good image, and what it contains.
pub(super) struct GoodImage {
    pub(super) image: Image,
    pub(super) inspection: Inspection,
    pub(super) stage2: Vec<u8>,
    pub(super) kernel: Vec<u8>,
}

/// The good images that recipes begin with.
pub struct GoodImages {
    demo: GoodImage,
    position_independent: Option<GoodImage>,
    checked: Option<GoodImage>,
    multiboot2: Option<GoodImage>,
    limine: Option<GoodImage>,
}

impl GoodImages {
    /// Builds the images that these recipes need.
    ///
    /// # Errors
    /// When one cannot be built.
    pub fn build(cases: &[Case]) -> Result<Self> {
        let build = |kernel: GoodKernel| {
            let needed = cases.iter().any(|case| case.recipe.kernel == kernel);
            needed.then(|| GoodImage::build(kernel)).transpose()
        };
        // The order matters: cargo puts the position-independent kernel where the other one was.
        Ok(Self {
            demo: GoodImage::build(GoodKernel::Demo)?,
            checked: build(GoodKernel::Checked)?,
            position_independent: build(GoodKernel::PositionIndependent)?,
            multiboot2: build(GoodKernel::Multiboot2)?,
            limine: build(GoodKernel::Limine)?,
        })
    }

    fn get(&self, kernel: GoodKernel) -> Result<&GoodImage> {
        match kernel {
            GoodKernel::Demo => Some(&self.demo),
            GoodKernel::PositionIndependent => self.position_independent.as_ref(),
            GoodKernel::Checked => self.checked.as_ref(),
            GoodKernel::Multiboot2 => self.multiboot2.as_ref(),
            GoodKernel::Limine => self.limine.as_ref(),
        }
        .with_context(|| format!("{kernel:?} was not built"))
    }

    /// Breaks a good image, or the machine that boots it, as a recipe says.
    ///
    /// # Errors
    /// When a change cannot be made, because a place that the recipe names does not exist.
    pub fn breaks(&self, case: &Case) -> Result<Broken> {
        self.get(case.recipe.kernel)?.breaks(case.recipe.changes)
    }
}

impl GoodImage {
    fn build(good: GoodKernel) -> Result<Self> {
        const MODULE_BYTES: usize = 5000;

        let kernel = match good {
            GoodKernel::PositionIndependent => position_independent_kernel()?,
            GoodKernel::Demo | GoodKernel::Checked => demo_kernel()?,
            GoodKernel::Multiboot2 => test_program_file("entering-long-mode")?,
            GoodKernel::Limine => test_program_file("limine-kernel")?,
        };
        let image = Image::build(&kernel, |recipe, directory| {
            recipe.command_line = "exit".into();
            recipe.checksums = good == GoodKernel::Checked;
            let module = match good {
                GoodKernel::Checked => MODULE.rsplit('/').next(),
                // That kernel requires this module.
                GoodKernel::Limine => Some("inner.bin"),
                _ => None,
            };
            if let Some(name) = module {
                let file = directory.join(name);
                // If this fails, the builder reports that the file is missing.
                let _ = fs::write(&file, noise(MODULE_BYTES));
                let string = String::new();
                recipe.modules.push(Module { file, string });
            }
        })?;
        Ok(Self {
            inspection: image.inspect()?,
            image,
            stage2: stages()?.stage2.read()?,
            kernel: fs::read(kernel)?,
        })
    }

    fn breaks(&self, changes: &[Change]) -> Result<Broken> {
        let image = self.image.copy()?;
        let mut machine = Machine::new(&image.path()).time_limit(TIME_LIMIT);
        let mut rom = None;
        for change in changes {
            machine = match *change {
                Change::DeadSector(place, number) => {
                    machine.dead_sector(self.offset(place)? / SECTOR + number)
                }
                Change::Qemu(arguments) => machine.arguments(arguments.split_whitespace()),
                Change::Multiboot => machine.multiboot(&multiboot_program()?, ""),
                Change::Rom(defects) => {
                    let file = rom.insert(bad_bios(defects)?);
                    machine
                        .disk(Disk::Ide)
                        .arguments(["-option-rom".as_ref(), file.path()])
                }
                _ => {
                    self.apply(change, &image)
                        .with_context(|| format!("{change}"))?;
                    machine
                }
            };
        }
        Ok(Broken {
            differences: differences(&self.image, &image, &self.inspection)?,
            image,
            machine,
            _rom: rom,
        })
    }

    /// Makes a change to a copy of the image.
    fn apply(&self, change: &Change, image: &Image) -> Result<()> {
        match *change {
            Change::Set(field, number) => self.set(&field, number.value, image),
            Change::Flip(place, offset, bit) => {
                let offset = self.offset(place)? + offset;
                let byte = image.read(offset, 1)?;
                image.write(offset, &[byte[0] ^ 1 << bit])
            }
            Change::Code(place, instructions) => {
                image.write(self.offset(place)?, &self.assemble(place, instructions)?)
            }
            Change::MendChecksums => image.mend_stage2_checksums(),
            Change::Cut(path, length) => {
                let bytes =
                    image.read(self.offset(Place::File(path))?, usize::try_from(length)?)?;
                image.put(path, &bytes)
            }
            Change::Delete(path) => image.mtools("mdel", [format!("::{path}")]),
            Change::Put(path, bytes) => image.put(path, bytes),
            Change::DeadSector(..) | Change::Qemu(_) | Change::Rom(_) | Change::Multiboot => {
                bail!("not a change to the image")
            }
        }
    }

    fn set(&self, field: &Field, value: u64, image: &Image) -> Result<()> {
        let bytes = value.to_le_bytes();
        let (bytes, rest) = bytes
            .split_at_checked(field.bytes)
            .context("the field is too long")?;
        ensure!(rest.iter().all(|&byte| byte == 0), "{value:#x} is too long");
        for offset in self.offsets(field.place)? {
            let offset = offset + field.offset as u64;
            ensure!(
                image.read(offset, bytes.len())? != bytes,
                "{} is {value:#x} in the good image as well",
                field.name
            );
            image.write(offset, bytes)?;
        }
        Ok(())
    }

    /// The machine code of instructions at a place.
    fn assemble(&self, place: Place, instructions: &[Instruction]) -> Result<Vec<u8>> {
        let mut code = Vec::new();
        for instruction in instructions {
            match *instruction {
                Instruction::Bytes(_, bytes) => code.extend(bytes),
                Instruction::JumpTo(target) => {
                    const LENGTH: u64 = 5;
                    let Place::Function(name) = place else {
                        bail!("a jump leads from one function of stage2 to another");
                    };
                    let next = self.function(name)? + code.len() as u64 + LENGTH;
                    let distance = self.function(target)?.wrapping_sub(next) as u32;
                    code.push(0xE9);
                    code.extend(distance.to_le_bytes());
                }
            }
        }
        Ok(code)
    }
}

/// A broken image, or a broken machine, before it is switched on.
pub struct Broken {
    image: Image,
    machine: Machine,
    differences: Vec<Difference>,
    // QEMU reads this file when it starts.
    _rom: Option<NamedTempFile>,
}

impl Broken {
    /// The image's file.
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// How the image differs from the good one.
    pub fn differences(&self) -> &[Difference] {
        &self.differences
    }

    /// Boots it until it asks the user to do something. Then does that, and checks that nothing
    /// more is printed.
    ///
    /// # Errors
    /// When it does not get there, or does not reboot; the message holds what was printed.
    pub fn boot(&self, case: &Case) -> Result<Seen> {
        let mut running = self.machine.start()?;
        if let Shows::Stage1(_) = case.recipe.shows {
            // stage1 prints `error 1A 0C`, and the machine stands still.
            let serial = running.wait_until("stage1's error", |serial| {
                let error = serial.rsplit_once("error ");
                error.is_some_and(|(_, rest)| rest.len() >= "1A 0C".len())
            })?;
            let error = serial.lines().next_back().unwrap_or_default();
            running.wait_for_screen(error)?;
            let screen = used(running.screen()?);
            return Ok(Seen { serial, screen });
        }

        let offers = offers(case);
        let offer = format!("{OFFER}\r\n");
        let serial = running.wait_until(&format!("{OFFER:?}"), |serial| {
            serial.matches(&offer).count() >= offers
        })?;
        let screen = used(running.wait_for_line(&[OFFER])?);
        running.press("spc")?;
        let ending = running.wait().context("a key press does not reboot")?;
        ensure!(ending == Ending::Closed, "{ending:?}");
        let after = running.serial();
        ensure!(after == serial, "more is printed behind the end:\n{after}");
        Ok(Seen { serial, screen })
    }
}
