//! The system that runs: somebody who logs in on its serial line and types commands.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::machine::{Disk, Machine, Running};

/// What one session may take, emulated on a busy host.
const TIME_LIMIT: Duration = Duration::from_secs(3600);
/// Where the system asks who is there.
const LOGIN: &str = "debian login:";
/// What the shell says then.
const PROMPT: &str = "root@debian:~#";

/// A Debian, with root logged in.
pub struct Guest {
    running: Running,
    commands: u32,
}

impl Guest {
    /// Boots a disk and logs in. With a log, all that is written to the disk is written down there.
    ///
    /// # Errors
    /// When it does not get that far; the message holds what it shows instead.
    pub fn boot(disk: &Path, log: Option<&Path>) -> Result<Self> {
        // The loader has no driver for this disk: the BIOS has one.
        let mut machine = Machine::new(disk).disk(Disk::Virtio).writable().typing();
        if let Some(log) = log {
            machine = machine.write_log(log);
        }
        let machine = machine.time_limit(TIME_LIMIT).arguments(["-m", "1G"]);
        let mut running = machine.start()?;
        running.wait_for(LOGIN)?;
        running.type_line("root")?;
        running.wait_for(PROMPT)?;
        let commands = 0;
        let mut guest = Self { running, commands };
        // The login does not wait for it.
        guest.run("systemctl start efi.mount")?;
        Ok(guest)
    }

    /// Lets the shell carry out a command, and returns what it prints.
    ///
    /// # Errors
    /// When it fails or does not end; the message holds what it has printed.
    pub fn run(&mut self, command: &str) -> Result<String> {
        self.commands += 1;
        let number = self.commands;
        // The shell shows what is typed: there, the words are apart.
        let (begin, end) = (format!("begin-{number}\r\n"), format!("end-{number}: "));
        self.running.type_line(&format!(
            "echo begin\"-{number}\"; {command}; echo end\"-{number}: $?\""
        ))?;
        let is_over = |serial: &str| {
            let status = serial.split_once(&end).map(|(_, rest)| rest);
            status.is_some_and(|rest| rest.contains('\n'))
        };
        let serial = self
            .running
            .wait_until(&format!("end of {command}"), is_over)?;
        let (_, rest) = serial.split_once(&begin).context("no begin")?;
        let (output, status) = rest.split_once(&end).context("no end")?;
        let status = status.lines().next().unwrap_or_default().trim();
        ensure!(status == "0", "{command}: status {status}\n{output}");
        Ok(output.replace('\r', ""))
    }

    /// The version of the kernel that runs.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn kernel(&mut self) -> Result<String> {
        Ok(self.run("uname -r")?.trim().to_owned())
    }

    /// Begins a command, waits until a file exists whose name fits the pattern, and cuts the power.
    ///
    /// # Errors
    /// When the command ends before that, or the shell does not answer.
    pub fn cut_when(mut self, command: &str, pattern: &str) -> Result<()> {
        // To wait, the shell reads what never comes: a program for it would cost the emulator more than the
        // command does. `<(:)` sets `$!` as well, so it stands in front of the command.
        self.run(&format!(
            "exec 9<> <(:); {command} >/var/tmp/output 2>&1 & \
             while set -- {pattern}; ! test -e \"$1\" && test -d /proc/$!; do read -t 0.02 -u 9; done; \
             test -e \"$1\""
        ))?;
        drop(self.running);
        Ok(())
    }

    /// Switches the system off, in the orderly way.
    ///
    /// # Errors
    /// When it does not end.
    pub fn switch_off(mut self) -> Result<()> {
        self.running.type_line("systemctl poweroff")?;
        self.running.wait().map(drop)
    }
}
