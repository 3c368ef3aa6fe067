//! Kernels of others: the table of `./run.sh kernels`, which becomes `docs/kernels.md`.

use std::fmt::{self, Write as _};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};
use disk_builder::image::Module;

use crate::image::{self, Image};
use crate::linux::{self, Fetched};
use crate::machine::Machine;

/// How long a kernel may take: emulated, on a busy host.
pub const TIME_LIMIT: Duration = Duration::from_secs(300);

/// What is booted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernel {
    /// The demo kernel.
    Demo,
    /// The kernel in C.
    C,
    /// One that is fetched.
    Fetched(Fetched),
}

/// How it shows that it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sign {
    /// A line on the serial line.
    Serial(&'static str),
    /// The beginning of a line on the screen.
    Screen(&'static str),
}

/// A row of the table.
#[derive(Clone, Debug)]
pub struct Row {
    /// What the page calls the kernel.
    pub name: &'static str,
    kernel: Kernel,
    /// The value of `protocol` in `kernel.conf`; empty: the loader finds it out.
    protocol: &'static str,
    /// How the loader came into memory.
    way_in: &'static str,
    options: &'static str,
    sign: Sign,
}

/// All rows.
pub fn rows() -> Vec<Row> {
    const DISK: &str = "MBR";
    const LINUX: &str = "console=ttyS0 panic=-1";

    let mut rows = vec![
        Row {
            name: "the demo kernel",
            kernel: Kernel::Demo,
            protocol: "bootpath",
            way_in: DISK,
            options: "exit",
            sign: Sign::Serial("OKAY"),
        },
        Row {
            name: "the kernel in C",
            kernel: Kernel::C,
            protocol: "bootpath",
            way_in: DISK,
            options: "exit",
            sign: Sign::Serial("OKAY"),
        },
    ];
    let linux = [
        (
            "Linux 6.1, x86-64 (Debian, cloud)",
            Fetched::Cloud,
            "linux16 linux32 linux64",
        ),
        ("Linux 6.1, i686 (Debian)", Fetched::I686, "linux16 linux32"),
    ];
    for (name, kernel, protocols) in linux {
        rows.extend(protocols.split(' ').map(|protocol| Row {
            name,
            kernel: Kernel::Fetched(kernel),
            protocol,
            way_in: DISK,
            options: LINUX,
            sign: Sign::Serial("**** OKAY"),
        }));
    }
    let memtest = [
        (
            "memtest86+ 6, x86-64 (Debian)",
            Fetched::MemtestX64,
            "linux16 linux32 linux64",
        ),
        (
            "memtest86+ 6, ia32 (Debian)",
            Fetched::MemtestIa32,
            "linux16 linux32",
        ),
    ];
    for (name, kernel, protocols) in memtest {
        rows.extend(protocols.split(' ').map(|protocol| Row {
            name,
            kernel: Kernel::Fetched(kernel),
            protocol,
            way_in: DISK,
            options: "",
            sign: Sign::Screen("      Memtest86+ v6."),
        }));
    }
    rows
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:36} {:10} {}", self.name, self.protocol, self.way_in)
    }
}

impl Row {
    /// What stands in the page's line, between bars.
    fn cells(&self) -> String {
        format!("| {} | `{}` | {} |", self.name, self.protocol, self.way_in)
    }

    /// Boots it. `false`: it could not be fetched, for there is no apt-get here.
    ///
    /// # Errors
    /// When it does not show that it runs.
    pub fn run(&self) -> Result<bool> {
        let kernel: PathBuf = match self.kernel {
            Kernel::Demo => image::demo_kernel()?,
            Kernel::C => image::c_kernel()?,
            Kernel::Fetched(kernel) => match kernel.path()? {
                Some(path) => path,
                None => return Ok(false),
            },
        };
        let initrd = match (self.kernel, self.sign) {
            (Kernel::Fetched(kernel), Sign::Serial(_)) => Some(linux::initrd(kernel)?),
            _ => None,
        };
        let image = Image::build(&kernel, |recipe, directory| {
            recipe.command_line = self.options.into();
            let file = directory.join("initrd");
            if let Some(bytes) = &initrd {
                // The builder finds out when it is not there.
                let _ = fs::write(&file, bytes);
                recipe.modules.push(Module {
                    file,
                    string: String::new(),
                });
            }
        })?;
        let mut text = format!("protocol {}\noptions {}\n", self.protocol, self.options);
        if initrd.is_some() {
            text += "module /boot/modules/initrd\n";
        }
        image.put("/boot/kernel.conf", text.as_bytes())?;
        let mut running = Machine::new(&image.path()).time_limit(TIME_LIMIT).start()?;
        match self.sign {
            Sign::Serial(line) => {
                running.wait_for(line)?;
                running.wait()?;
                let transcript = running.serial();
                ensure!(!transcript.contains("error "), "{transcript}");
            }
            Sign::Screen(text) => running.wait_for_screen(text)?,
        }
        Ok(true)
    }
}

/// `docs/kernels.md`.
pub fn page() -> String {
    let mut text = String::from(
        "<!-- Made by `./run.sh kernels`. -->\n# Kernels\n\n\
         Each of these kernels was booted in QEMU, by each of the protocols and on each of the ways that the table \
         shows: a Linux kernel to a first process that prints the command line and switches off, memtest86+ to its \
         screen, the others to their `OKAY`. `./run.sh kernels` does it again; Debian's kernels come out of its \
         packages. The protocols are those of [`/boot/kernel.conf`](09-entry.md).\n\n\
         | kernel | protocol | way in |\n| --- | --- | --- |\n",
    );
    for row in rows() {
        let _ = writeln!(text, "{}", row.cells());
    }
    text
}
