//! What came of a run, and the exit status that says so.

use std::fmt;

use boot_path::errors::catalogue;

use super::{EXIT_OKAY, EXIT_PORT};

/// An exit status of `disk-builder run` and `./run.sh`.
///
/// Statuses about the kernel begin at 10: any program may end with 1 or 2, cargo uses 101 for its
/// own failures, and shells use 126 and above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    /// The kernel said so.
    Success = 0,
    /// Something was wrong before QEMU started.
    NotRun = 1,
    /// The command line.
    Usage = 2,
    /// The kernel said so.
    Failure = 10,
    /// The machine ended, and the kernel had said nothing.
    Gone = 11,
    /// The loader stopped.
    LoaderError = 12,
    /// The machine had to be ended.
    TimeOut = 13,
    /// There was no machine.
    NoMachine = 14,
    /// SIGHUP.
    HungUp = 129,
    /// SIGINT.
    Interrupted = 130,
    /// SIGTERM.
    Terminated = 143,
}

impl Status {
    /// All of them, in order.
    pub const ALL: [Self; 11] = [
        Self::Success,
        Self::NotRun,
        Self::Usage,
        Self::Failure,
        Self::Gone,
        Self::LoaderError,
        Self::TimeOut,
        Self::NoMachine,
        Self::HungUp,
        Self::Interrupted,
        Self::Terminated,
    ];

    /// The number.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// Its name for programs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::NotRun => "not-run",
            Self::Usage => "usage",
            Self::Failure => "failure",
            Self::Gone => "gone",
            Self::LoaderError => "loader-error",
            Self::TimeOut => "time-out",
            Self::NoMachine => "no-machine",
            Self::HungUp => "hung-up",
            Self::Interrupted => "interrupted",
            Self::Terminated => "terminated",
        }
    }

    /// What it means: its row in `--help` and in docs/handoff.md.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Success => "the kernel reported success",
            Self::NotRun => {
                "nothing was booted: a file is missing or was refused, or something did not build"
            }
            Self::Usage => "wrong usage",
            Self::Failure => "the kernel reported failure: standard error has its value",
            Self::Gone => {
                "the kernel reported nothing and was gone: standard error says whether by a triple \
                 fault, a reset, a power-off, or because QEMU was closed or killed"
            }
            Self::LoaderError => {
                "the loader stopped, or caught the kernel's exception (12A): standard error has the \
                 error's code and sentence"
            }
            Self::TimeOut => {
                "there was no end within its time: that of --timeout, of the settings, or of a test"
            }
            Self::NoMachine => "QEMU did not start: it is not installed, or refused its arguments",
            Self::HungUp => "ended by SIGHUP: the terminal was closed",
            Self::Interrupted => "ended by SIGINT: Ctrl-C",
            Self::Terminated => "ended by SIGTERM",
        }
    }

    /// The table for `--help`.
    pub fn help() -> String {
        let mut text = String::from("Exit status:\n");
        for status in Self::ALL {
            let number = status.code();
            text += &format!("{number:>5}  {}\n", status.meaning());
        }
        text
    }
}

/// How the kernel was gone without a word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gone {
    /// Three exceptions, each while the one before was being raised.
    TripleFault,
    /// The guest reset the machine; `surely`: not by a triple fault.
    Reset {
        /// False if QEMU cannot tell the two apart.
        surely: bool,
    },
    /// The guest switched it off.
    PowerOff,
    /// QEMU was told to quit: its window was closed, or a monitor told it so.
    Closed,
    /// QEMU ended because of a signal that it handles.
    Interrupted,
    /// QEMU died of a signal.
    Killed(i32),
    /// QEMU gave up, with this exit status.
    Ended(i32),
}

impl fmt::Display for Gone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TripleFault => f.write_str("a triple fault reset the machine"),
            Self::Reset { surely: true } => f.write_str("the machine was reset"),
            Self::Reset { surely: false } => {
                f.write_str("the machine was reset, perhaps by a triple fault")
            }
            Self::PowerOff => f.write_str("the machine was switched off"),
            Self::Closed => f.write_str("QEMU was closed"),
            Self::Interrupted => f.write_str("QEMU was ended by a signal"),
            Self::Killed(signal) => write!(f, "QEMU was killed by signal {signal}"),
            Self::Ended(status) => write!(f, "QEMU ended with status {status}"),
        }
    }
}

/// An error that the loader has reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoaderError {
    /// Its code, `7A`.
    pub code: String,
    /// What stage1 says besides: the BIOS's status. stage2's facts are on the serial line only.
    pub bios_status: Option<u8>,
}

impl fmt::Display for LoaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = catalogue::ALL
            .iter()
            .find(|row| row.entry.code == self.code);
        let sentence = row.map_or("another version's", |row| row.entry.sentence);
        write!(f, "error {}: {sentence}", self.code)?;
        match self.bios_status {
            Some(status) if status != 0 => write!(f, ": BIOS status {status:02X}h"),
            _ => Ok(()),
        }
    }
}

/// What came of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The kernel wrote this to [`EXIT_PORT`]: [`EXIT_OKAY`] is success.
    Reported(u8),
    /// The kernel reported nothing.
    Gone(Gone),
    /// The loader stopped.
    LoaderError(LoaderError),
    /// The run did not end in time.
    TimeOut {
        /// The time, in seconds.
        seconds: u64,
        /// Where the first CPU was, and whether it waited for an interrupt.
        cpu: Option<(u64, bool)>,
    },
    /// QEMU did not start, for this reason.
    NoMachine(String),
}

impl Outcome {
    /// The exit status that says so.
    pub fn status(&self) -> Status {
        match self {
            Self::Reported(EXIT_OKAY) => Status::Success,
            Self::Reported(_) => Status::Failure,
            Self::Gone(_) => Status::Gone,
            Self::LoaderError(_) => Status::LoaderError,
            Self::TimeOut { .. } => Status::TimeOut,
            Self::NoMachine(_) => Status::NoMachine,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reported(EXIT_OKAY) => f.write_str("the kernel reported success"),
            Self::Reported(value) => write!(
                f,
                "the kernel reported failure: it wrote {value:X}h to port {EXIT_PORT:X}h"
            ),
            Self::Gone(how) => write!(f, "the kernel reported nothing: {how}"),
            Self::LoaderError(error) => write!(f, "the loader stopped: {error}"),
            Self::TimeOut { seconds, cpu } => {
                write!(f, "time-out: no end within {seconds} s")?;
                match cpu {
                    Some((address, false)) => write!(f, "; the CPU was at {address:#x}"),
                    Some((address, true)) => write!(f, "; the CPU was halted at {address:#x}"),
                    None => Ok(()),
                }
            }
            Self::NoMachine(why) => f.write_str(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_kernel_says_is_success() {
        let status = |outcome: Outcome| outcome.status().code();
        assert_eq!(status(Outcome::Reported(EXIT_OKAY)), 0);
        for value in (0..0x80).filter(|&value| value != EXIT_OKAY) {
            assert_eq!(status(Outcome::Reported(value)), 10);
        }
        for gone in [
            Gone::TripleFault,
            Gone::Reset { surely: true },
            Gone::PowerOff,
            Gone::Closed,
            Gone::Interrupted,
            Gone::Killed(9),
            Gone::Ended(0),
        ] {
            assert_eq!(status(Outcome::Gone(gone)), 11);
        }
    }

    #[test]
    fn an_error_has_its_sentence() {
        let error = |code: &str, bios_status| LoaderError {
            code: code.into(),
            bios_status,
        };
        let text = error("8A", None).to_string();
        let sentence = catalogue::ALL
            .iter()
            .find(|row| row.entry.code == "8A")
            .unwrap()
            .entry
            .sentence;
        assert_eq!(text, format!("error 8A: {sentence}"));
        assert!(
            error("1A", Some(0x0C))
                .to_string()
                .ends_with(": BIOS status 0Ch")
        );
        assert_eq!(
            error("99Z", None).to_string(),
            "error 99Z: another version's"
        );
    }

    #[test]
    fn numbers_are_in_order_and_their_own() {
        assert!(Status::ALL.is_sorted_by(|a, b| a.code() < b.code()));
    }
}
