//! One boot, watched to its end.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::Result;
use disk_builder::run::Ending;

use super::{Cpu, End, Loader, Outcome, Question};
use crate::machine::{ERROR, Machine, OFFER, Running};

/// How often the screen and the CPU are looked at.
const GLANCE: Duration = Duration::from_millis(250);
/// How often in a row a CPU must be found halted. Firmware halts for short times.
const HALTED_GLANCES: u32 = 4;
/// What QEMU writes to its log before such a reset.
const TRIPLE_FAULT: &str = "Triple fault";
/// The ways in which GRUB asks what to do when the kernel has not been started.
const PROMPTS: [&str; 2] = ["grub>", "grub rescue>"];

/// What was last seen of a machine.
#[derive(Default)]
struct Seen {
    screen: Vec<String>,
    cpu: Option<Cpu>,
    halted: u32,
    paused: bool,
}

impl Seen {
    fn look(&mut self, running: &Running) {
        // The monitor may not be there yet, and is gone at the end: then the last sight counts.
        if let Ok(screen) = running.screen() {
            self.screen = screen;
        }
        if let Ok(cpu) = running.registers() {
            self.cpu = Cpu::read(&cpu).or(self.cpu.take());
        }
        self.paused = running.is_paused().unwrap_or(false);
        let stopped = self.cpu.as_ref().is_some_and(Cpu::is_stopped);
        self.halted = if stopped { self.halted + 1 } else { 0 };
    }
}

/// Boots a machine, and looks at it until it ends, stops or its time is up.
pub fn boot(loader: Loader, name: &str, machine: Machine, question: &Question) -> Result<Outcome> {
    let directory = tempfile::tempdir()?;
    let log = directory.path().join("resets");
    // A machine that resets stays as it is, so that it can be looked at.
    let machine = machine
        .time_limit(question.time_limit)
        .arguments(["-no-shutdown", "-d", "cpu_reset", "-D"])
        .arguments([&log]);
    let mut running = machine.start()?;
    let mut seen = Seen::default();
    let mut next = Instant::now() + GLANCE;
    let ended = running.watch_while(|running| {
        if Instant::now() < next {
            return true;
        }
        seen.look(running);
        next = Instant::now() + GLANCE;
        let is_over = loader == Loader::Bootpath && running.serial().contains(OFFER);
        !(is_over
            || seen.paused
            || seen.halted >= HALTED_GLANCES
            || refusal_of_grub(loader, &seen.screen).is_some())
    })?;
    let serial = running.serial();
    let resets = fs::read(&log).unwrap_or_default();
    let triple_fault = String::from_utf8_lossy(&resets).contains(TRIPLE_FAULT);
    let end = match ended {
        Some(Ending::Guest(status)) => End::Reported(status.into()),
        // QEMU ends by itself only before the machine runs: then it says why.
        Some(_) if loader == Loader::Qemu && serial.is_empty() => {
            End::Refused(running.log().trim().to_owned())
        }
        Some(_) => End::ResetOrOff,
        None if triple_fault => End::TripleFault,
        None => refusal(loader, &serial, &seen.screen).map_or_else(
            || match (seen.paused, seen.halted) {
                (true, _) => End::ResetOrOff,
                (false, HALTED_GLANCES..) => End::Halted,
                _ => End::TimeUp,
            },
            End::Refused,
        ),
    };
    Ok(Outcome {
        name: name.to_owned(),
        end,
        serial,
        screen: seen.screen,
        // Of a machine that is gone, the last sight is of the way, not of the end.
        cpu: seen.cpu.filter(|_| ended.is_none()),
    })
}

/// The words in which the loader refuses the kernel.
fn refusal(loader: Loader, serial: &str, screen: &[String]) -> Option<String> {
    match loader {
        Loader::Bootpath => {
            let mut lines = serial.lines();
            let report = lines.find(|line| line.starts_with(ERROR))?;
            serial.contains(OFFER).then(|| report.trim_end().to_owned())
        }
        Loader::Grub => refusal_of_grub(loader, screen),
        Loader::Qemu => None,
    }
}

/// GRUB's first error, when it asks what to do.
fn refusal_of_grub(loader: Loader, screen: &[String]) -> Option<String> {
    let mut lines = screen.iter().map(|line| line.trim());
    let asks = screen.iter().any(|line| PROMPTS.contains(&line.trim()));
    if loader != Loader::Grub || !asks {
        return None;
    }
    let error = lines.find(|line| line.starts_with("error: "));
    Some(error.unwrap_or("it asks what to do").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_loader_refuses_in_its_own_words() {
        let screen = ["error: no multiboot header found.", "grub rescue>", ""];
        let screen = screen.map(str::to_owned);
        let said = Some("error: no multiboot header found.".to_owned());
        assert_eq!(refusal(Loader::Grub, "", &screen), said);
        assert_eq!(refusal(Loader::Grub, "", &screen[..1]), None);
        assert_eq!(refusal(Loader::Qemu, "", &screen), None);

        let serial = "error 10A: it is no ELF file\r\n";
        assert_eq!(refusal(Loader::Bootpath, serial, &screen), None);
        let serial = format!("{serial}{OFFER}");
        let said = Some("error 10A: it is no ELF file".to_owned());
        assert_eq!(refusal(Loader::Bootpath, &serial, &screen), said);
    }
}
