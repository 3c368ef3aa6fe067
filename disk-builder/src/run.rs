//! Booting an image in QEMU.

use std::env;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use anyhow::{Context as _, Result, bail};

/// The emulator's program.
pub const QEMU: &str = "qemu-system-x86_64";

/// I/O port at which a guest ends QEMU: a write of `value` makes its exit status
/// `value << 1 | 1`.
pub const EXIT_PORT: u16 = 0xF4;

/// What a kernel writes to [`EXIT_PORT`] when all is well. Not 0: QEMU's status would be 1, its own
/// for a bad command line.
pub const EXIT_OKAY: u8 = 0x10;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The guest wrote this to [`EXIT_PORT`].
    Guest(u8),
    /// QEMU ended without an error: its window was closed, or the guest rebooted or switched off.
    Closed,
    /// QEMU failed, or was killed (`None`).
    Failed(Option<i32>),
}

impl Ending {
    /// What QEMU's exit status means.
    pub fn of(status: ExitStatus) -> Self {
        match status.code() {
            Some(0) => Self::Closed,
            Some(code) if code > 1 && code & 1 == 1 => {
                u8::try_from(code >> 1).map_or(Self::Failed(Some(code)), Self::Guest)
            }
            code => Self::Failed(code),
        }
    }

    /// The exit status to pass on: 0 when the guest says that all is well or QEMU was closed, the
    /// guest's value when it says anything else, 1 when QEMU failed.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Guest(EXIT_OKAY) | Self::Closed => 0,
            Self::Guest(value) => value,
            Self::Failed(_) => 1,
        }
    }
}

/// A command that boots `image` on a q35 PC with an AHCI disk, the first serial line on standard
/// input and output; `cd`: an AHCI CD drive. Without a display no window is asked for. `arguments`
/// come last, so that they have the last word; a reboot ends QEMU.
pub fn command(image: &Path, cd: bool, arguments: &[OsString]) -> Command {
    let media = if cd { "cdrom" } else { "disk" };
    let mut drive = OsString::from(format!("format=raw,if=ide,index=0,media={media},file="));
    // A comma ends a value; two stand for one.
    drive.push(image.to_string_lossy().replace(',', ",,"));
    let mut command = Command::new(QEMU);
    command
        .args(["-machine", "q35", "-m", "256M", "-no-reboot"])
        .args(["-serial", "stdio", "-monitor", "none"])
        .arg("-device")
        .arg(format!("isa-debug-exit,iobase={EXIT_PORT:#x},iosize=4"))
        .arg("-drive")
        .arg(drive);
    if !has_display() {
        command.args(["-display", "none"]);
    }
    command.args(arguments);
    command
}

fn has_display() -> bool {
    let is_set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
    cfg!(any(windows, target_os = "macos")) || is_set("DISPLAY") || is_set("WAYLAND_DISPLAY")
}

/// Boots `image`, as a disk or as a CD, and waits for the end.
///
/// # Errors
/// When there is no such image, or QEMU cannot be run.
pub fn run(image: &Path, cd: bool, arguments: &[OsString]) -> Result<Ending> {
    // An absolute path, so that QEMU takes no part of it for a protocol ("nbd:…").
    let image: PathBuf = image
        .canonicalize()
        .with_context(|| format!("cannot open {}", image.display()))?;
    match command(&image, cd, arguments).status() {
        Ok(status) => Ok(Ending::of(status)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            bail!("{QEMU} is not installed; ./run.sh installs it")
        }
        Err(error) => Err(error).context(format!("cannot run {QEMU}")),
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    #[test]
    fn endings_are_told_apart() {
        let ending = |code: i32| Ending::of(ExitStatus::from_raw(code << 8));
        assert_eq!(ending(0), Ending::Closed);
        assert_eq!(ending(1), Ending::Failed(Some(1)));
        assert_eq!(ending(2), Ending::Failed(Some(2)));
        assert_eq!(ending(3), Ending::Guest(1));
        assert_eq!(ending(33), Ending::Guest(EXIT_OKAY));
        assert_eq!(Ending::of(ExitStatus::from_raw(9)), Ending::Failed(None));

        assert_eq!(Ending::Guest(EXIT_OKAY).exit_code(), 0);
        assert_eq!(Ending::Closed.exit_code(), 0);
        assert_eq!(Ending::Guest(7).exit_code(), 7);
        assert_eq!(Ending::Failed(None).exit_code(), 1);
    }

    #[test]
    fn the_users_arguments_come_last_and_commas_are_doubled() {
        let command = command(Path::new("/a,b.img"), false, &["-m".into(), "64M".into()]);
        let arguments: Vec<_> = command.get_args().map(|a| a.to_string_lossy()).collect();
        assert!(
            arguments
                .iter()
                .any(|argument| argument.ends_with("file=/a,,b.img"))
        );
        assert_eq!(arguments[arguments.len() - 2..], ["-m", "64M"]);
    }
}
