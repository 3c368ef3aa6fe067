//! A whole Debian on a disk, with the hooks of `examples/kernel-updates`: it boots, is updated, loses its
//! power while it is updated, and boots. `./run.sh debian` runs it; it takes half an hour.

mod guest;
pub mod moments;
pub mod writes;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use disk_builder::image::{self, Recipe};
use disk_builder::inspect::inspect;
use disk_builder::stages;

use crate::image::{demo_kernel, stages};
use guest::Guest;

/// Where the boot partition ends: tests/make-debian.sh.
const BOOT_PARTITION_END: u64 = 257 << 20;

/// Installs the newer kernel's package.
const UPGRADE: &str = "dpkg --install /var/tmp/linux-image-*.deb";

/// Moments in the upgrade: what is being done, and the file that appears then. `NEW`: the new version.
const CUTS: [(&str, &str); 6] = [
    ("the package is unpacked", "/boot/vmlinuz-NEW"),
    ("the initrd is made", "/boot/initrd.img-NEW.new"),
    ("the kernel is copied to FAT", "/efi/debian/NEW/linux-*"),
    ("the initrd is copied to FAT", "/efi/debian/NEW/initrd*"),
    (
        "the entry is written",
        "/efi/loader/entries/debian-NEW*.conf.tmp",
    ),
    (
        "the entry has its name",
        "/efi/loader/entries/debian-NEW-*.conf",
    ),
];

/// The moment after which the upgrade is brought to its end.
const MENDED: &str = "the initrd is copied to FAT";

/// What was tried.
pub struct Step {
    /// What it is.
    pub what: String,
    /// How long it took.
    pub time: Duration,
    /// What came out.
    pub result: Result<String>,
}

/// The disk, and copies of it.
struct Debian {
    directory: PathBuf,
    /// The kernel that it is made with.
    old: String,
    /// The kernel that it is upgraded to.
    new: String,
}

/// The copies of the disk that are made, and what was written to them.
const COPIES: [&str; 5] = [
    "upgraded.img",
    "moment.img",
    "cut.img",
    "log.upgrade",
    "log.replace",
];

fn directory() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR");
    let target = target.map_or_else(|| stages::workspace().join("target"), PathBuf::from);
    target.join("debian")
}

/// Takes the steps one after the other.
struct Steps<'a> {
    report: &'a mut dyn FnMut(&Step),
    all_well: bool,
}

impl Steps<'_> {
    /// Takes a step, reports it, and returns whether it went well.
    fn take(&mut self, what: &str, action: impl FnOnce() -> Result<String>) -> bool {
        let start = Instant::now();
        let result = action();
        let well = result.is_ok();
        self.all_well &= well;
        let (what, time) = (what.to_owned(), start.elapsed());
        (self.report)(&Step { what, time, result });
        well
    }
}

/// Takes all steps, or the parts whose names contain one of the words. `again`: with the Debian that was made
/// the last time. Returns whether all of them went well.
pub fn run(words: &[String], again: bool, report: &mut dyn FnMut(&Step)) -> bool {
    let wanted = |what: &str| words.is_empty() || words.iter().any(|word| what.contains(&**word));
    let mut steps = Steps {
        report,
        all_well: true,
    };
    let mut debian = None;
    let made = steps.take("a Debian is made of its packages", || {
        let made = if again {
            Debian::of_the_last_time()?
        } else {
            Debian::make()?
        };
        let debian = debian.insert(made);
        Ok(format!("{}, then {}", debian.old, debian.new))
    });
    let Some(debian) = debian.filter(|_| made) else {
        return false;
    };
    if wanted("upgrade") && debian.upgrade(&mut steps) {
        debian.replace(&mut steps);
    }
    for (what, pattern) in CUTS {
        if wanted(what) {
            let name = format!("the power fails while {what}");
            steps.take(&name, || debian.cut(pattern, what == MENDED));
        }
    }
    if steps.all_well {
        // What is left of a failure can be looked at.
        for copy in COPIES {
            let _ = fs::remove_file(debian.path(copy));
        }
    }
    steps.all_well
}

impl Debian {
    fn make() -> Result<Self> {
        let directory = directory();
        if directory.exists() {
            fs::remove_dir_all(&directory)?;
        }
        fs::create_dir_all(&directory)?;
        let mut recipe = Recipe::new(demo_kernel()?, directory.join("loader.img"), stages()?);
        // None of its files will be there.
        recipe.checksums = false;
        image::build(&recipe)?;

        let log = directory.join("log");
        let output = File::create(&log)?;
        let status = Command::new("bash")
            .arg(stages::workspace().join("tests/make-debian.sh"))
            .arg(&directory)
            .stdout(output.try_clone()?)
            .stderr(output)
            .status()
            .context("cannot run bash")?;
        let said = || fs::read_to_string(&log).unwrap_or_default();
        ensure!(status.success(), "make-debian.sh: {status}\n{}", said());
        Self::of_the_last_time()
    }

    fn of_the_last_time() -> Result<Self> {
        let directory = directory();
        let kernels = fs::read_to_string(directory.join("kernels"));
        let kernels = kernels.context("no Debian was made")?;
        let (old, new) = kernels.trim().split_once('\n').context("not two kernels")?;
        let (old, new) = (old.to_owned(), new.to_owned());
        Ok(Self {
            directory,
            old,
            new,
        })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Makes a copy of a disk.
    fn copy(&self, from: &str, to: &str) -> Result<PathBuf> {
        let to = self.path(to);
        let mut copy = Command::new("cp");
        copy.arg("--sparse=always").arg(self.path(from)).arg(&to);
        ensure!(copy.status()?.success(), "cannot copy {from}");
        Ok(to)
    }

    /// Boots the system, and gives it its new kernel.
    fn upgrade(&self, steps: &mut Steps<'_>) -> bool {
        let log = self.path("log.upgrade");
        let mut guest = None;
        let booted = steps.take("it boots to its login", || {
            let disk = self.copy("disk.img", "upgraded.img")?;
            let system = guest.insert(Guest::boot(&disk, Some(&log))?);
            expect(system, &self.old)
        });
        let Some(mut system) = guest.filter(|_| booted) else {
            return false;
        };
        let upgraded = steps.take("an upgrade adds a kernel", || {
            system.run(UPGRADE)?;
            let entries = entries(&mut system)?;
            system.switch_off()?;
            ensure!(entries.len() == 2, "entries: {entries:?}");
            Ok(entries.join(", "))
        });
        upgraded
            && steps.take("each moment of the upgrade boots", || {
                let disk = self.copy("disk.img", "moment.img")?;
                self.moments(&disk, &log)
            })
    }

    /// Boots the new kernel, and makes the system replace all that is on the boot partition.
    fn replace(&self, steps: &mut Steps<'_>) {
        let log = self.path("log.replace");
        let disk = self.path("upgraded.img");
        let mut guest = None;
        let booted = steps.take("it boots the new kernel", || {
            self.copy("upgraded.img", "moment.img")?;
            let system = guest.insert(Guest::boot(&disk, Some(&log))?);
            expect(system, &self.new)
        });
        let Some(mut system) = guest.filter(|_| booted) else {
            return;
        };
        let replaced = steps.take("the old kernel goes, the other gets a new initrd", || {
            let before = entries(&mut system)?;
            system.run(&format!("dpkg --remove linux-image-{}", self.old))?;
            system.run("echo loop >>/etc/initramfs-tools/modules")?;
            system.run("update-initramfs -u")?;
            let entries = entries(&mut system)?;
            system.switch_off()?;
            ensure!(entries.len() == 1, "entries: {entries:?}");
            ensure!(!before.contains(&entries[0]), "the same entry");
            inspect(&disk)?.verify()?;
            Ok(entries.join(", "))
        });
        if replaced {
            steps.take("each moment of that boots", || {
                self.moments(&self.path("moment.img"), &log)
            });
            steps.take("it boots with the new initrd", || {
                expect(&mut Guest::boot(&disk, None)?, &self.new)
            });
        }
    }

    /// Looks at a disk at each moment of a session, in which the default entry changes.
    fn moments(&self, disk: &Path, log: &Path) -> Result<String> {
        let requests = writes::read(log, BOOT_PARTITION_END)?;
        let moments = moments::look_at_all(disk, &requests)?;
        ensure!(moments.changes > 0, "{moments:?}");
        let (one, other) = (moments.in_order, moments.in_other_orders);
        Ok(format!("{one} in order, {other} in other orders"))
    }

    /// Cuts the power when a file appears in the upgrade, and boots what is left.
    fn cut(&self, pattern: &str, mend: bool) -> Result<String> {
        let disk = self.copy("disk.img", "cut.img")?;
        let system = Guest::boot(&disk, None)?;
        system.cut_when(UPGRADE, &pattern.replace("NEW", &self.new))?;
        let mut system = Guest::boot(&disk, None)?;
        let kernel = system.kernel()?;
        ensure!(
            [&self.old, &self.new].contains(&&kernel),
            "it runs {kernel}"
        );
        if !mend {
            return Ok(format!("{kernel} boots"));
        }
        system.run("dpkg --configure --pending")?;
        system.switch_off()?;
        expect(&mut Guest::boot(&disk, None)?, &self.new)?;
        Ok(format!(
            "{kernel} boots; the rest of the upgrade; {} boots",
            self.new
        ))
    }
}

/// Checks which kernel runs.
fn expect(system: &mut Guest, version: &str) -> Result<String> {
    let kernel = system.kernel()?;
    ensure!(kernel == version, "it runs {kernel} instead of {version}");
    Ok(kernel)
}

/// The entries on the boot partition.
fn entries(system: &mut Guest) -> Result<Vec<String>> {
    let list = system.run("ls /efi/loader/entries")?;
    Ok(list.split_whitespace().map(str::to_owned).collect())
}
