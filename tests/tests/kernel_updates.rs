//! The hooks of `examples/kernel-updates`, run on a directory in the place of the boot partition. What they
//! do on a FAT file system and in a real Debian, `./run.sh debian` shows.
#![cfg(target_os = "linux")] // they need `stat` and `sync` of GNU

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use disk_builder::stages::workspace;
use tempfile::TempDir;

/// The programs that the plugin runs one after the other.
const PROGRAMS: [&str; 6] = ["cmp", "cp", "mkdir", "mv", "rm", "sync"];

fn example(path: &str) -> PathBuf {
    workspace().join("examples/kernel-updates").join(path)
}

/// A system with a boot partition.
struct System {
    directory: TempDir,
}

impl System {
    fn new() -> Self {
        let system = Self {
            directory: TempDir::new().expect("a directory"),
        };
        for name in ["efi", "staging", "bin"] {
            fs::create_dir(system.path(name)).expect(name);
        }
        system.write("cmdline", b"root=LABEL=root\nquiet\n");
        system
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, data: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, data).expect(name);
        path
    }

    /// A program that the hooks find before that of the system.
    fn program(&self, name: &str, script: &str) {
        let path = self.write(&format!("bin/{name}"), script.as_bytes());
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect(name);
    }

    /// A hook, in the environment that kernel-install gives its plugins.
    fn hook(&self, path: &str) -> Command {
        let mut command = Command::new(example(path));
        let programs = std::env::var("PATH").expect("PATH");
        command
            .env("PATH", format!("{}:{programs}", self.path("bin").display()))
            .env("KERNEL_INSTALL_BOOT_ROOT", self.path("efi"))
            .env("KERNEL_INSTALL_CONF_ROOT", self.directory.path())
            .env("KERNEL_INSTALL_STAGING_AREA", self.path("staging"))
            .env("KERNEL_INSTALL_ENTRY_TOKEN", "debian")
            .env(
                "KERNEL_INSTALL_MACHINE_ID",
                "0123456789abcdef0123456789abcdef",
            )
            .env("KERNEL_INSTALL_LAYOUT", "bls")
            .env("BOOTPATH_STAGE", "1")
            .process_group(0);
        command
    }

    fn plugin(&self, command: &str, version: &str) -> Command {
        let mut plugin = self.hook("common/etc/kernel/install.d/90-loaderentry.install");
        plugin.args([command, version]);
        plugin.arg(self.path("efi/debian").join(version));
        plugin
    }

    /// Adds a kernel with these bytes, and an initrd.
    fn adding(&self, version: &str, kernel: &[u8], initrd: &[u8]) -> Command {
        let mut plugin = self.plugin("add", version);
        plugin.arg(self.write("vmlinuz", kernel));
        plugin.arg(self.write(&format!("initrd.img-{version}"), initrd));
        plugin
    }

    /// The files on the boot partition, by path, and their inodes.
    fn files(&self) -> BTreeMap<String, u64> {
        let mut files = BTreeMap::new();
        let mut directories = vec![self.path("efi")];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(directory).expect("a directory") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    directories.push(path);
                } else {
                    let inode = fs::metadata(&path).expect("a file").ino();
                    let name = path.strip_prefix(self.path("efi")).expect("below it");
                    files.insert(name.display().to_string(), inode);
                }
            }
        }
        files
    }

    /// The entries, each with the bytes of its kernel and its initrds.
    fn entries(&self) -> Vec<(String, Vec<Vec<u8>>)> {
        let mut entries = Vec::new();
        for name in self.files().into_keys() {
            if !name.starts_with("loader/entries/") || !name.ends_with(".conf") {
                continue;
            }
            let text = fs::read_to_string(self.path("efi").join(name)).expect("an entry");
            let lines: Vec<_> = text
                .lines()
                .filter_map(|line| line.split_once(' '))
                .collect();
            let values = |key: &'static str| {
                let its = lines.iter().filter(move |line| line.0 == key);
                its.map(|line| line.1.trim())
            };
            let file = |path: &str| {
                let path = Path::new("efi").join(path.trim_start_matches('/'));
                fs::read(self.directory.path().join(path)).unwrap_or_default()
            };
            let files = values("linux").chain(values("initrd")).map(file).collect();
            entries.push((
                values("version").next().expect("a version").to_owned(),
                files,
            ));
        }
        entries
    }
}

fn succeed(command: &mut Command) -> Output {
    let output = command.output().expect("a hook");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {error}");
    output
}

#[test]
fn a_kernel_comes_changes_and_goes() {
    let system = System::new();
    succeed(&mut system.adding("6.1-5", b"kernel", b"initrd"));
    let both = vec![b"kernel".to_vec(), b"initrd".to_vec()];
    assert_eq!(system.entries(), [("6.1-5".to_owned(), both.clone())]);
    let first = system.files();
    assert_eq!(first.len(), 3, "{first:?}");

    // Nothing has changed, so nothing is written.
    succeed(&mut system.adding("6.1-5", b"kernel", b"initrd"));
    assert_eq!(system.files(), first);

    // The new initrd has another name. The kernel stays as it is.
    succeed(&mut system.adding("6.1-5", b"kernel", b"other"));
    let other = vec![b"kernel".to_vec(), b"other".to_vec()];
    assert_eq!(system.entries(), [("6.1-5".to_owned(), other)]);
    let second = system.files();
    assert_eq!(second.len(), 3, "{second:?}");
    let same: Vec<_> = second
        .iter()
        .filter(|it| first.get(it.0) == Some(it.1))
        .collect();
    assert_eq!(same.len(), 1, "{first:?}, {second:?}");
    assert!(same[0].0.starts_with("debian/6.1-5/linux-"), "{same:?}");

    // A version whose name begins with that of another.
    succeed(&mut system.adding("6.1-5-rt", b"kernel", b"initrd"));
    succeed(&mut system.plugin("remove", "6.1-5"));
    assert_eq!(system.entries(), [("6.1-5-rt".to_owned(), both)]);
    assert_eq!(system.files().len(), 3, "{:?}", system.files());
}

#[test]
fn the_entry_says_how_to_boot() {
    let system = System::new();
    // Of another plugin, in the order in which the kernel is to see them.
    system.write("staging/initrd", b"staged");
    succeed(&mut system.adding("6.1", b"kernel", b"given"));
    let files = [b"kernel".to_vec(), b"given".to_vec(), b"staged".to_vec()];
    assert_eq!(system.entries(), [("6.1".to_owned(), files.to_vec())]);
    let entry = system
        .files()
        .into_keys()
        .find(|name| name.ends_with(".conf"));
    let text = fs::read_to_string(system.path("efi").join(entry.expect("an entry")));
    let text = text.expect("the entry");
    assert!(
        text.contains("\noptions    root=LABEL=root quiet\n"),
        "{text}"
    );
    assert!(text.contains("\nlinux      /debian/6.1/linux-"), "{text}");
    assert!(
        text.contains("\ninitrd     /debian/6.1/initrd.img-"),
        "{text}"
    );
    assert!(text.contains("\nsort-key   "), "{text}");
}

#[test]
fn what_kernel_install_itself_has_written_is_replaced() {
    let system = System::new();
    fs::create_dir_all(system.path("efi/loader/entries")).expect("entries");
    fs::create_dir_all(system.path("efi/debian/6.1")).expect("a directory");
    let entry = b"version 6.1\nlinux /debian/6.1/linux\ninitrd /debian/6.1/initrd.img-6.1\n";
    system.write("efi/loader/entries/debian-6.1.conf", entry);
    system.write("efi/debian/6.1/linux", b"old");
    system.write("efi/debian/6.1/initrd.img-6.1", b"old");
    // Somebody's own: neither its entry nor what that names.
    system.write(
        "efi/loader/entries/mine.conf",
        b"version 1\nlinux /debian/6.1/linux-mine\n",
    );
    system.write("efi/debian/6.1/linux-mine", b"mine");
    // As others may write it, without an end of the line.
    let again = b"version 2\nlinux 'DEBIAN\\6.1\\linux-again'";
    system.write("efi/loader/entries/again.conf", again);
    system.write("efi/debian/6.1/linux-again", b"again");
    succeed(&mut system.adding("6.1", b"new", b"new"));
    let new = vec![b"new".to_vec(), b"new".to_vec()];
    let mine = vec![b"mine".to_vec()];
    let entries = system.entries();
    assert!(entries.contains(&("6.1".to_owned(), new)), "{entries:?}");
    assert!(entries.contains(&("1".to_owned(), mine)), "{entries:?}");
    let files = system.files();
    assert!(files.contains_key("debian/6.1/linux-again"), "{files:?}");
    assert_eq!(files.len(), 7, "{files:?}");
}

#[test]
fn what_cannot_be_done_is_an_error() {
    let system = System::new();
    type Change = fn(&System, &mut Command);
    let refusals: [(&str, Change); 7] = [
        ("no partition is mounted at", |_, plugin| {
            plugin.env_remove("BOOTPATH_STAGE");
        }),
        ("is not FAT", |_, plugin| {
            plugin.env_remove("BOOTPATH_STAGE");
            plugin.env("KERNEL_INSTALL_BOOT_ROOT", "/proc");
        }),
        ("layout is 'other'", |_, plugin| {
            plugin.env("KERNEL_INSTALL_LAYOUT", "other");
        }),
        ("needs UEFI", |_, plugin| {
            plugin.env("KERNEL_INSTALL_IMAGE_TYPE", "uki");
        }),
        ("no command line", |system, _| {
            system.write("cmdline", b" \n");
        }),
        ("or an empty one", |system, _| {
            system.write("cmdline", b"quiet");
            system.write("initrd.img-6.2", b"");
        }),
        ("no such file", |system, _| {
            fs::remove_file(system.path("initrd.img-6.2")).expect("it was there");
        }),
    ];
    succeed(&mut system.adding("6.1", b"kernel", b"initrd"));
    let before = system.files();
    for (message, change) in refusals {
        let mut plugin = system.adding("6.2", b"kernel 2", b"initrd 2");
        change(&system, &mut plugin);
        let output = plugin.output().expect("the plugin");
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{message}: {error}");
        assert!(error.contains(message), "{message}: {error}");
        assert_eq!(system.files(), before, "{message}");
    }
}

#[test]
fn a_full_disk_keeps_what_is_on_it() {
    let system = System::new();
    succeed(&mut system.adding("6.1", b"kernel", b"initrd"));
    let before = system.files();
    // The initrd's first bytes find room.
    system.program(
        "cp",
        "#!/bin/sh\nfor to; do :; done\nhead -c 3 \"$2\" >\"$to\"\nexit 1\n",
    );
    let output = system.adding("6.1", b"kernel", b"another initrd").output();
    let output = output.expect("the plugin");
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("cannot copy"), "{error}");
    assert_eq!(system.files(), before);
}

/// The plugin is killed in each program that it runs. There is a complete entry at each such moment, and
/// the next attempt does what is left.
#[test]
fn an_update_that_is_cut_off_anywhere() {
    let old = vec![b"kernel".to_vec(), b"initrd".to_vec()];
    let new = vec![b"kernel".to_vec(), b"another initrd".to_vec()];
    let shell = std::env::var("PATH").expect("PATH");
    let mut cut = 0;
    loop {
        let system = System::new();
        succeed(&mut system.adding("6.1", &old[0], &old[1]));
        let left = system.write("left", format!("{cut}\n").as_bytes());
        for name in PROGRAMS {
            // A copy that is cut off has some of its bytes already.
            let half = if name == "cp" {
                "head -c 3 \"$2\" >\"$3\"; "
            } else {
                ""
            };
            let left = left.display();
            system.program(
                name,
                &format!(
                    "#!/bin/sh\nPATH={shell}\nread -r left <{left}\n\
                     if [ $left = 0 ]; then {half}kill -9 0; fi\n\
                     echo $((left - 1)) >{left}\nexec {name} \"$@\"\n"
                ),
            );
        }
        let ended = system.adding("6.1", &new[0], &new[1]).output();
        let ended = ended.expect("the plugin").status.success();
        let entries = system.entries();
        assert!(!entries.is_empty(), "cut {cut}: {:?}", system.files());
        for (_, files) in &entries {
            assert!([&old, &new].contains(&files), "cut {cut}: {files:?}");
        }
        fs::remove_dir_all(system.path("bin")).expect("the programs");
        succeed(&mut system.adding("6.1", &new[0], &new[1]));
        assert_eq!(
            system.entries(),
            [("6.1".to_owned(), new.clone())],
            "cut {cut}"
        );
        assert_eq!(system.files().len(), 3, "cut {cut}: {:?}", system.files());
        if ended {
            break;
        }
        cut += 1;
    }
    assert!(cut > 20, "only {cut} programs were cut off");
}

#[test]
fn debians_hooks_call_kernel_install() {
    const ADD: &str = "debian/etc/kernel/postinst.d/zz-bootpath";
    const REMOVE: &str = "debian/etc/kernel/postrm.d/zz-bootpath";
    let system = System::new();
    system.program("kernel-install", "#!/bin/sh\necho called \"$@\"\n");
    let image = "/nonexistent/vmlinuz-6.1";
    let package = ("DPKG_MAINTSCRIPT_PACKAGE", "linux-image-6.1");
    let parameters = |what| ("DEB_MAINT_PARAMS", what);
    for (hook, variable, arguments, called) in [
        (
            ADD,
            package,
            ["6.1", image],
            "called add 6.1 /nonexistent/vmlinuz-6.1\n",
        ),
        (
            REMOVE,
            parameters("remove"),
            ["6.1", image],
            "called remove 6.1\n",
        ),
        (
            REMOVE,
            parameters("purge"),
            ["6.1", image],
            "called remove 6.1\n",
        ),
        // The package has new files of the same version: its entry stays.
        (REMOVE, parameters("upgrade 6.1.9-1"), ["6.1", image], ""),
    ] {
        let mut command = system.hook(hook);
        let output = succeed(command.env(variable.0, variable.1).args(arguments));
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(said, called, "{hook} {variable:?}");
    }
}

/// The hook for an initrd looks whether the kernel is there: in this system's directory, here.
#[test]
fn an_initrd_follows_its_kernel() {
    const INITRD: &str = "debian/etc/initramfs/post-update.d/bootpath";
    let system = System::new();
    system.program("kernel-install", "#!/bin/sh\necho called \"$@\"\n");
    let image = "/nonexistent/initrd.img-6.1";
    let boot = system.path("boot-").display().to_string();
    let text = fs::read_to_string(example(INITRD)).expect(INITRD);
    let hook = system.path("bin/initrd");
    system.program("initrd", &text.replace("/boot/", &boot));
    system.write("boot-vmlinuz-6.1", b"kernel");
    let tools = "initramfs-tools";
    for (package, version, called) in [
        (
            tools,
            "6.1",
            format!("called add 6.1 {boot}vmlinuz-6.1 {image}\n"),
        ),
        // There is no such kernel any more.
        (tools, "6.2", String::new()),
        // The other hook does it when the package is installed.
        ("linux-image-6.1", "6.1", String::new()),
    ] {
        let mut command = system.hook(hook.to_str().expect("UTF-8"));
        command.env("DPKG_MAINTSCRIPT_PACKAGE", package);
        let output = succeed(command.args([version, image]));
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(said, called, "{package} {version}");
    }
}

#[test]
fn arch_has_the_kernels_that_are_installed() {
    const KERNELS: &str = "arch/usr/local/sbin/bootpath-kernels";
    let system = System::new();
    system.program("kernel-install", "#!/bin/sh\necho called \"$@\"\n");
    system.write("entry-token", b"arch\n");
    let configuration = format!("layout=bls\nBOOT_ROOT={}\n", system.path("efi").display());
    system.write("install.conf", configuration.as_bytes());
    for path in [
        "efi/arch/6.9.1-arch1-1",
        "efi/arch/6.9.2-arch1-1",
        "modules/6.9.2-arch1-1",
    ] {
        fs::create_dir_all(system.path(path)).expect(path);
    }
    let modules = system.path("modules");
    // Nothing is taken away as long as nothing is there.
    let output = system
        .hook(KERNELS)
        .arg(&modules)
        .output()
        .expect("the hook");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(output.stdout, b"");

    let kernel = system.write("modules/6.9.2-arch1-1/vmlinuz", b"kernel");
    let output = succeed(system.hook(KERNELS).arg(&modules));
    let expected = format!(
        "called add 6.9.2-arch1-1 {}\ncalled remove 6.9.1-arch1-1\n",
        kernel.display()
    );
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected);

    // What cannot be added must not cost what is there.
    system.program("kernel-install", "#!/bin/sh\necho called \"$@\"\nexit 1\n");
    let output = system
        .hook(KERNELS)
        .arg(&modules)
        .output()
        .expect("the hook");
    assert_eq!(output.status.code(), Some(1));
    assert!(!String::from_utf8_lossy(&output.stdout).contains("remove"));
}
