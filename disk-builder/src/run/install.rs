//! How QEMU is installed, on the system that this program runs on.

use std::env;
use std::fs;

/// What a user can do who has no QEMU, as the end of a sentence.
pub fn advice() -> String {
    let release = fs::read_to_string("/etc/os-release");
    let release = release.or_else(|_| fs::read_to_string("/usr/lib/os-release"));
    let is_msys2 = env::var_os("MSYSTEM").is_some();
    match line(env::consts::OS, &release.unwrap_or_default(), is_msys2) {
        Some(line) => format!("install it by `{line}`"),
        None => "install QEMU for x86: https://www.qemu.org/download".into(),
    }
}

/// The line that installs it; `os`: as [`env::consts::OS`] has it, `release`: the text of
/// `/etc/os-release`, `is_msys2`: whether a shell of MSYS2 has started this program.
fn line(os: &str, release: &str, is_msys2: bool) -> Option<&'static str> {
    match os {
        "linux" => of_linux(release),
        "macos" => Some("brew install qemu"),
        "windows" if is_msys2 => Some("pacman -S mingw-w64-ucrt-x86_64-qemu"),
        "windows" => Some("winget install SoftwareFreedomConservancy.QEMU"),
        "freebsd" => Some("sudo pkg install qemu"),
        _ => None,
    }
}

/// The line for a distribution, by its own name, or else by those of the ones it is derived from:
/// `os-release(5)`.
fn of_linux(release: &str) -> Option<&'static str> {
    let names = value(release, "ID").chain(value(release, "ID_LIKE"));
    names.map(of_distribution).find_map(|line| line)?
}

/// `None`: unknown; `Some(None)`: it has no package with this program.
fn of_distribution(name: &str) -> Option<Option<&'static str>> {
    Some(Some(match name {
        "debian" | "ubuntu" => "sudo apt install qemu-system-x86",
        "fedora" => "sudo dnf install qemu-system-x86",
        "arch" => "sudo pacman -S qemu-desktop",
        "opensuse" | "suse" => "sudo zypper install qemu-x86",
        "alpine" => "sudo apk add qemu-system-x86_64",
        "nixos" => "nix-shell -p qemu",
        "gentoo" => "sudo emerge app-emulation/qemu",
        // Its `qemu-kvm` is another program, which is not in PATH. It names Fedora behind itself.
        "rhel" | "centos" => return Some(None),
        _ => return None,
    }))
}

/// The words of a variable.
fn value<'r>(release: &'r str, name: &str) -> impl Iterator<Item = &'r str> {
    let mut lines = release.lines().filter_map(|line| line.split_once('='));
    // A shell would take the last one.
    let value = lines.rfind(|(key, _)| *key == name);
    let value = value.map_or("", |(_, value)| value.trim());
    value.trim_matches(['"', '\'']).split_whitespace()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines that these systems have in `/etc/os-release`.
    const DISTRIBUTIONS: [(&str, Option<&str>); 12] = [
        (
            "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nVERSION_ID=\"12\"\nID=debian\n",
            Some("sudo apt install qemu-system-x86"),
        ),
        (
            "NAME=\"Ubuntu\"\nID=ubuntu\nID_LIKE=debian\n",
            Some("sudo apt install qemu-system-x86"),
        ),
        (
            "ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n",
            Some("sudo apt install qemu-system-x86"),
        ),
        (
            "NAME=\"Fedora Linux\"\nID=fedora\nVERSION_ID=41\n",
            Some("sudo dnf install qemu-system-x86"),
        ),
        (
            "NAME=\"Arch Linux\"\nID=arch\nBUILD_ID=rolling\n",
            Some("sudo pacman -S qemu-desktop"),
        ),
        (
            "ID=manjaro\nID_LIKE=arch\n",
            Some("sudo pacman -S qemu-desktop"),
        ),
        (
            "ID=\"opensuse-tumbleweed\"\nID_LIKE=\"opensuse suse\"\n",
            Some("sudo zypper install qemu-x86"),
        ),
        (
            "ID=\"opensuse-leap\"\nID_LIKE=\"suse opensuse\"\n",
            Some("sudo zypper install qemu-x86"),
        ),
        ("ID=alpine\n", Some("sudo apk add qemu-system-x86_64")),
        ("ID=nixos\n", Some("nix-shell -p qemu")),
        ("ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n", None),
        ("ID=unheard-of\n", None),
    ];

    #[test]
    fn each_distribution_has_its_line() {
        for (release, expected) in DISTRIBUTIONS {
            assert_eq!(line("linux", release, false), expected, "{release}");
        }
        assert_eq!(line("linux", "", false), None);
    }

    #[test]
    fn each_other_system_has_its_line() {
        // Whatever such a file says there.
        let line = |os, is_msys2| line(os, "ID=debian\n", is_msys2);
        assert_eq!(line("macos", false), Some("brew install qemu"));
        let winget = "winget install SoftwareFreedomConservancy.QEMU";
        assert_eq!(line("windows", false), Some(winget));
        let pacman = "pacman -S mingw-w64-ucrt-x86_64-qemu";
        assert_eq!(line("windows", true), Some(pacman));
        assert_eq!(line("freebsd", false), Some("sudo pkg install qemu"));
        assert_eq!(line("haiku", false), None);
    }
}
