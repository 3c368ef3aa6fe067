//! QEMU's command line.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::Command;

use super::{EXIT_PORT, Options, QEMU};

/// Where `--gdb` lets QEMU wait for a debugger.
pub const GDB: &str = "localhost:1234";

/// A command that boots `image` on a PC, the first serial line on standard input and output; `cd`:
/// from a CD drive; `own`: further arguments. The user's come last, so that they have the last word;
/// a reboot ends QEMU.
pub fn command(options: &Options, image: &Path, cd: bool, own: &[OsString]) -> Command {
    let mut command = Command::new(QEMU);
    command
        .arg("-machine")
        .arg(options.machine.as_deref().unwrap_or("q35"))
        .arg("-m")
        .arg(options.memory.as_deref().unwrap_or("256M"))
        .args(["-no-reboot", "-serial", "stdio", "-monitor", "none"])
        .arg("-device")
        .arg(format!("isa-debug-exit,iobase={EXIT_PORT:#x},iosize=4"));
    if let Some(count) = options.cpus {
        command.arg("-smp").arg(count.to_string());
    }
    if let Some(model) = &options.cpu {
        command.args(["-cpu", model]);
    }

    let media = if cd { "cdrom" } else { "disk" };
    let place = if options.usb {
        "if=none,id=boot"
    } else {
        "if=ide,index=0"
    };
    let mut drive = OsString::from(format!("format=raw,{place},media={media},file="));
    // A comma ends a value; two stand for one.
    drive.push(image.to_string_lossy().replace(',', ",,"));
    command.arg("-drive").arg(drive);
    if options.usb {
        command.args(["-device", "qemu-xhci", "-device", "usb-storage,drive=boot"]);
    }

    if !(options.display && has_display()) {
        command.args(["-display", "none"]);
    }
    if options.gdb {
        command.arg("-S").arg("-gdb").arg(format!("tcp:{GDB}"));
    }
    command.args(own).args(&options.arguments);
    command
}

/// Is there something to open a window on?
fn has_display() -> bool {
    let is_set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
    cfg!(target_os = "macos") || is_set("DISPLAY") || is_set("WAYLAND_DISPLAY")
}

/// Is QEMU where programs are looked for?
pub fn is_installed() -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|directory| directory.join(QEMU).is_file())
}

/// Has the user given this argument?
pub fn has_argument(arguments: &[OsString], name: &str) -> bool {
    // QEMU takes two hyphens for one.
    let is_it = |argument: &OsStr| {
        argument
            .to_str()
            .and_then(|text| text.strip_prefix('-'))
            .is_some_and(|text| text.strip_prefix('-').unwrap_or(text) == name)
    };
    arguments.iter().any(|argument| is_it(argument))
}

/// Do the user's arguments ask for the host's own CPU? QEMU does not say of one whether it resets the
/// machine because of a triple fault.
pub fn is_virtualized(arguments: &[OsString], machine: Option<&str>) -> bool {
    let kinds = ["kvm", "hvf", "whpx", "nvmm", "xen"];
    let names_one = |text: &str| kinds.iter().any(|kind| text.contains(kind));
    arguments
        .iter()
        .filter_map(|argument| argument.to_str())
        .chain(machine)
        .any(names_one)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(options: &Options, cd: bool) -> Vec<String> {
        let command = command(options, Path::new("/a,b.img"), cd, &["-own".into()]);
        let arguments = command.get_args();
        arguments.map(|a| a.to_string_lossy().into()).collect()
    }

    #[test]
    fn the_users_arguments_come_last_and_commas_are_doubled() {
        let options = Options {
            arguments: vec!["-m".into(), "64M".into()],
            ..Options::new("/a,b.img")
        };
        let arguments = arguments(&options, false);
        assert!(
            arguments
                .iter()
                .any(|argument| argument.ends_with("file=/a,,b.img"))
        );
        assert_eq!(arguments[arguments.len() - 3..], ["-own", "-m", "64M"]);
    }

    #[test]
    fn each_option_is_an_argument() {
        let pairs = |options: &Options, cd| {
            let arguments = arguments(options, cd);
            arguments.join(" ")
        };
        let plain = pairs(&Options::new("x"), false);
        for part in [
            "-machine q35",
            "-m 256M",
            "-display none",
            "if=ide,index=0,media=disk",
        ] {
            assert!(plain.contains(part), "{part}: {plain}");
        }
        for absent in ["-smp", "-cpu", "-S", "-gdb", "usb-storage"] {
            assert!(!plain.contains(absent), "{absent}: {plain}");
        }
        let options = Options {
            machine: Some("pc".into()),
            memory: Some("1G".into()),
            cpus: Some(4),
            cpu: Some("max".into()),
            usb: true,
            gdb: true,
            ..Options::new("x")
        };
        let all = pairs(&options, true);
        for part in [
            "-machine pc",
            "-m 1G",
            "-smp 4",
            "-cpu max",
            "if=none,id=boot,media=cdrom",
            "-device usb-storage,drive=boot",
            "-S -gdb tcp:localhost:1234",
        ] {
            assert!(all.contains(part), "{part}: {all}");
        }
    }

    #[test]
    fn arguments_are_found_with_one_hyphen_or_two() {
        let given = ["-d".into(), "int".into(), "--daemonize".into()];
        assert!(has_argument(&given, "d"));
        assert!(has_argument(&given, "daemonize"));
        assert!(!has_argument(&given, "int"));
        assert!(!has_argument(&given, "D"));
        assert!(is_virtualized(&["-accel".into(), "kvm".into()], None));
        assert!(is_virtualized(&[], Some("q35,accel=hvf")));
        assert!(!is_virtualized(&given, Some("q35")));
    }
}
