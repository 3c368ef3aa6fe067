//! The boots of shifted programs: one function for each scenario.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use disk_builder::image::Module;
use disk_builder::run::{EXIT_OKAY, Ending};
use disk_builder::stages::Stages;
use disk_builder::{Road, multiboot};
use disk_layout::SECTOR_SIZE;
use tempfile::TempDir;

use super::{Scenario, Workshop};
use crate::elf::{Elf, noise};
use crate::image::{Defect, Image, bad_bios, test_program};
use crate::linux::{check_kernel, put};
use crate::machine::{Disk, Machine, OFFER, Running};

/// Shifted programs.
pub(super) struct Built<'a> {
    pub(super) stages: Stages,
    pub(super) way_in: PathBuf,
    pub(super) directory: TempDir,
    pub(super) workshop: &'a Workshop,
}

impl Built<'_> {
    fn image(&self, kernel: &Path, road: Road) -> Result<Image> {
        Image::build(kernel, |recipe, _| {
            recipe.stages = self.stages.clone();
            recipe.command_line = "exit".into();
            recipe.road = road;
            recipe.unchecked = true;
        })
    }

    fn demo(&self) -> Result<Image> {
        self.image(self.workshop.kernel.path(), Road::Protected)
    }

    /// Boots in one way.
    pub(super) fn boot(&self, scenario: Scenario) -> Result<()> {
        match scenario {
            Scenario::Okay => okay(&Machine::new(&self.demo()?.path())),
            Scenario::Direct => self.direct(),
            Scenario::KernelFault => self.kernel_fault(),
            Scenario::LoaderFault => self.loader_fault(),
            Scenario::RealModeFault => self.real_mode_fault(),
            Scenario::FaultBetweenModes => self.fault_between_modes(),
            Scenario::Damaged => self.damaged(),
            Scenario::NoLongMode => self.no_long_mode(),
            Scenario::Chain => self.chain(),
            Scenario::Linux => self.linux(),
            Scenario::Limine => self.limine(),
            Scenario::ByMultiboot => self.by_multiboot(),
        }
    }

    fn direct(&self) -> Result<()> {
        let image = self.image(self.workshop.kernel.path(), Road::Direct)?;
        let rom = bad_bios(&[Defect::A20Off, Defect::NoA20Call])?;
        okay(&with_rom(&image, rom.path()))
    }

    fn kernel_fault(&self) -> Result<()> {
        const UD2: [u8; 2] = [0x0F, 0x0B];
        let mut kernel = Elf::halting();
        let code = &mut kernel.program_headers[0];
        code.data = UD2.to_vec();
        code.memory_size = UD2.len() as u64;
        let image = self.kernel_of_bytes(&kernel.build())?;
        fails(
            &Machine::new(&image.path()),
            "error 12A: ",
            &[
                "(vector 6)",
                "RIP is in segment 0 of the kernel (r-x), 0x0 behind its start",
            ],
        )
    }

    fn loader_fault(&self) -> Result<()> {
        let (image, rom) = (self.demo()?, bad_bios(&[Defect::Overwrites])?);
        fails(
            &with_rom(&image, rom.path()),
            "error 5A: ",
            &["(vector 13)"],
        )
    }

    fn real_mode_fault(&self) -> Result<()> {
        let (image, rom) = (self.demo()?, bad_bios(&[Defect::InvalidOpcode])?);
        fails(
            &with_rom(&image, rom.path()),
            "error 4A: ",
            &[": vector 06h at C"],
        )
    }

    fn fault_between_modes(&self) -> Result<()> {
        // The first WRMSR is the gate's.
        const WRMSR: [u8; 2] = [0x0F, 0x30];
        let image = self.demo()?;
        let sectors = image.read(SECTOR_SIZE as u64, 8 * SECTOR_SIZE)?;
        let place = sectors.windows(2).position(|bytes| bytes == WRMSR);
        let place = SECTOR_SIZE + place.context("no WRMSR")?;
        image.write(place as u64, &[0x0F, 0x0B])?;
        image.mend_stage2_checksums()?;
        fails(
            &Machine::new(&image.path()),
            "error 4A: ",
            &[": vector 06h at 0020:"],
        )
    }

    fn damaged(&self) -> Result<()> {
        let image = self.demo()?;
        let place = image.inspect()?.stage2.context("no stage2")?.place;
        let last = (place.lba + place.sectors) * SECTOR_SIZE as u64 - 1;
        image.write(last, &[0x5A])?;
        image.mend_stage2_sum()?;
        for cpu in ["qemu64", "qemu64,+sse4.2"] {
            let machine = Machine::new(&image.path()).arguments(["-cpu", cpu]);
            fails(&machine, "error 1C: ", &[])?;
        }
        Ok(())
    }

    fn no_long_mode(&self) -> Result<()> {
        let image = self.demo()?;
        let machine = Machine::new(&image.path());
        let machine = machine.arguments(["-cpu", "qemu64,-lm"]);
        fails(&machine, "error 3B: ", &[])
    }

    fn chain(&self) -> Result<()> {
        let image = self.demo()?;
        image.put("/boot/kernel.conf", b"chain drive=81h\n")?;
        let second = Image::raw(test_program("boot-check")?.flat(), &[])?;
        let second = second.path();
        let drive = format!(
            "id=second,if=none,format=raw,snapshot=on,file={}",
            second.display()
        );
        let second = ["-drive", &drive, "-device", "ide-hd,drive=second,bus=ide.1"];
        okay(&Machine::new(&image.path()).arguments(second))
    }

    fn linux(&self) -> Result<()> {
        let kernel = put(self.directory.path(), "bzimage", &check_kernel(&[])?)?;
        let image = self.image(&kernel, Road::Protected)?;
        for bits in [16, 32, 64] {
            let text = format!("protocol linux{bits}\noptions entry={bits}\n");
            image.put("/boot/kernel.conf", text.as_bytes())?;
            let mut running = Machine::new(&image.path()).start()?;
            let transcript = running.wait_for("OKAY\r\n")?;
            ensure!(!transcript.contains("FAILED"), "{bits}: {transcript}");
        }
        Ok(())
    }

    fn limine(&self) -> Result<()> {
        // The modules that the kernel asks for.
        let mut modules = Vec::new();
        for (name, length) in [("inner.bin", 5000), ("outer.bin", 4096)] {
            let file = put(self.directory.path(), name, &noise(length))?;
            let string = format!("this is {name}");
            modules.push(Module { file, string });
        }
        let kernel = put(
            self.directory.path(),
            "limine",
            &self.workshop.limine_kernel,
        )?;
        let image = Image::build(&kernel, |recipe, _| {
            recipe.stages = self.stages.clone();
            recipe.command_line = "a command line".into();
            recipe.modules = modules;
        })?;
        let machine = Machine::new(&image.path()).arguments(["-smp", "2"]);
        okay(&machine)?;
        okay(&machine.arguments(["-cpu", "max"]))
    }

    fn by_multiboot(&self) -> Result<()> {
        let program = self.directory.path().join("bootpath.elf");
        multiboot::build(
            &self.way_in.clone().into(),
            &self.stages.stage2,
            Road::Protected,
            &program,
            false,
        )?;
        let kernel = self.workshop.kernel.path().display();
        let machine = Machine::new(Path::new(""));
        okay(&machine.multiboot(&program, &format!("{kernel} exit")))
    }

    fn kernel_of_bytes(&self, bytes: &[u8]) -> Result<Image> {
        let kernel = put(self.directory.path(), "kernel", bytes)?;
        self.image(&kernel, Road::Protected)
    }
}

fn with_rom(image: &Image, rom: &Path) -> Machine {
    let machine = Machine::new(&image.path()).disk(Disk::Ide);
    machine.arguments(["-option-rom".as_ref(), rom.as_os_str()])
}

fn okay(machine: &Machine) -> Result<()> {
    let mut running = machine.start()?;
    let transcript = running.wait_for("OKAY")?;
    let ending = running.wait()?;
    ensure!(
        ending == Ending::Guest(EXIT_OKAY) && !transcript.contains("FAIL"),
        "{ending:?}\n{transcript}"
    );
    Ok(())
}

fn fails(machine: &Machine, error: &str, facts: &[&str]) -> Result<()> {
    let mut running: Running = machine.start()?;
    let transcript = running.wait_for(OFFER)?;
    for text in [&[error], facts].concat() {
        ensure!(transcript.contains(text), "no {text:?} in\n{transcript}");
    }
    Ok(())
}
