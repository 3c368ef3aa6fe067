//! Files that are written: nobody loses what they still want.
#![cfg(unix)]

mod support;

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use support::{Load, Workshop, elf, kernel, noise, refusal_of_program};

fn command(workshop: &Workshop, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_disk-builder"));
    command.current_dir(workshop.path(".")).args(arguments);
    command
}

fn disk_builder(workshop: &Workshop, arguments: &[&str]) -> Output {
    command(workshop, arguments).output().unwrap()
}

/// Runs a command that has to be refused, and returns the one line that it says.
#[track_caller]
fn refused(workshop: &Workshop, arguments: &[&str]) -> String {
    refusal_of_program(disk_builder(workshop, arguments), arguments)
}

#[track_caller]
fn done(workshop: &Workshop, arguments: &[&str]) {
    let output = disk_builder(workshop, arguments);
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {message}");
}

/// A workshop with inputs of every kind, and the arguments that name them.
fn with_inputs() -> (Workshop, Vec<&'static str>) {
    let workshop = Workshop::new();
    workshop.file("kernel.elf", &kernel(1000));
    workshop.file("other.elf", &kernel(2000));
    workshop.file("module", &noise(3000));
    workshop.file("initrd", &noise(4000));
    let arguments = vec![
        "build",
        "--stages=.",
        "--cd",
        "--entry=a",
        "--kernel=kernel.elf",
        "--module=module=text",
        "--entry=b",
        "--kernel=other.elf",
        "--initrd=initrd",
    ];
    (workshop, arguments)
}

/// All files of a directory: names, identities and bytes.
fn snapshot(directory: &Path) -> Vec<(String, u64, Vec<u8>)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let data = entry.metadata().unwrap();
        let bytes = data.is_file().then(|| fs::read(entry.path()).unwrap());
        all.push((name, data.ino(), bytes.unwrap_or_default()));
    }
    all.sort();
    all
}

const INPUTS: [&str; 7] = [
    "kernel.elf",
    "other.elf",
    "module",
    "initrd",
    "stage1",
    "stage2",
    "stage1-cd",
];

#[test]
fn an_input_is_never_the_output() {
    let (workshop, build) = with_inputs();
    for input in INPUTS {
        fs::hard_link(
            workshop.path(input),
            workshop.path(&format!("hard-{input}")),
        )
        .unwrap();
        symlink(input, workshop.path(&format!("soft-{input}"))).unwrap();
        symlink(
            format!("soft-{input}"),
            workshop.path(&format!("again-{input}")),
        )
        .unwrap();
    }
    symlink(".", workshop.path("here")).unwrap();
    let before = snapshot(&workshop.path("."));
    for input in INPUTS {
        let absolute = workshop.path(input);
        let through = format!("here/../{}/{input}", {
            let directory = workshop.path(".").canonicalize().unwrap();
            directory.file_name().unwrap().to_str().unwrap().to_owned()
        });
        for output in [
            input,
            &format!("./{input}"),
            &format!("hard-{input}"),
            &format!("soft-{input}"),
            &format!("again-{input}"),
            &format!("here/{input}"),
            &through,
            absolute.to_str().unwrap(),
        ] {
            for force in [None, Some("--force")] {
                let mut arguments = build.clone();
                arguments.extend(["--output", output]);
                arguments.extend(force);
                let message = refused(&workshop, &arguments);
                let text = ["cannot be the output", output];
                assert!(
                    text.iter().all(|text| message.contains(text)),
                    "{output}: {message}"
                );
            }
        }
    }
    assert!(before == snapshot(&workshop.path(".")));
    // The same command line builds an image elsewhere.
    done(&workshop, &[&build[..], &["--output=disk.img"]].concat());
}

/// `build` with one kernel.
fn build<'a>(output: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let start = ["build", "--stages=.", "--kernel=kernel.elf", "-o", output];
    [&start[..], more].concat()
}

fn workshop() -> Workshop {
    let workshop = Workshop::new();
    workshop.file("kernel.elf", &kernel(1000));
    workshop
}

#[test]
fn the_kernel_that_make_makes_is_an_input() {
    if Command::new("make").arg("--version").output().is_err() {
        assert!(std::env::var_os("CI").is_none(), "make is not installed");
        eprintln!("left out: make is not installed");
        return;
    }
    let workshop = workshop();
    fs::create_dir(workshop.path("mine")).unwrap();
    workshop.file("mine/Makefile", b"kernel.elf:\n\tcp ../kernel.elf $@\n");
    let start = ["build", "--stages=.", "--kernel=mine", "--force"];
    let arguments = [&start[..], &["--output=mine/kernel.elf"]].concat();
    let output = disk_builder(&workshop, &arguments);
    assert_eq!(output.status.code(), Some(1));
    // Behind what make says.
    let message = String::from_utf8(output.stderr).unwrap();
    let expected = "disk-builder: mine/kernel.elf is an input: it cannot be the output as well";
    assert_eq!(message.lines().last(), Some(expected), "{message}");
    assert!(fs::read(workshop.path("mine/kernel.elf")).unwrap() == kernel(1000));
    done(&workshop, &[&start[..], &["-o", "mine/disk.img"]].concat());
}

#[test]
fn what_is_no_image_is_replaced_by_force_only() {
    let workshop = workshop();
    let almost = {
        let mut sector = vec![0; 1024];
        sector[3..11].copy_from_slice(b"BOOTPATH");
        sector
    };
    for content in [
        &b"a text"[..],
        &kernel(500),
        &[0; 100_000],
        &almost,
        &almost[..11],
    ] {
        workshop.file("out", content);
        assert_eq!(
            refused(&workshop, &build("out", &[])),
            "out exists and is not a Bootpath image: --force replaces it"
        );
        assert!(fs::read(workshop.path("out")).unwrap() == content);
        done(&workshop, &build("out", &["--force"]));
        // An image now, which is replaced.
        done(&workshop, &build("out", &["--size=3"]));
        assert_eq!(fs::metadata(workshop.path("out")).unwrap().len(), 3 << 20);
        done(&workshop, &build("out", &[]));
    }
    // An empty file may be replaced: mktemp makes them.
    workshop.file("out", b"");
    done(&workshop, &build("out", &[]));
    // An image stays one when it is damaged, or for a loader of another version.
    let mut image = fs::read(workshop.path("out")).unwrap();
    image[12..400].fill(0xA5);
    image[512..100_000].fill(0xA5);
    workshop.file("out", &image);
    done(&workshop, &build("out", &[]));
    assert_eq!(
        workshop.names(),
        ["kernel.elf", "out", "stage1", "stage1-cd", "stage2"]
    );
}

#[test]
fn only_the_loader_as_a_program_is_replaced_by_one() {
    use disk_builder::stages::ElfFile;
    use disk_builder::{Road, multiboot};

    let workshop = workshop();
    let base = u64::from(disk_layout::multiboot::LOAD_ADDRESS);
    let way_in = workshop.file("way-in", &elf(base, &[Load(base, 7, &noise(700), 0)]));
    let programs = [way_in, workshop.path("stage2")].map(ElfFile::from);
    let write = |output: &str, force| {
        let output = workshop.path(output);
        let [way_in, stage2] = &programs;
        let result = multiboot::build(way_in, stage2, Road::default(), &output, force);
        result.map_err(|error| format!("{error:#}"))
    };
    let built = write("bootpath.elf", false).unwrap();
    let program = fs::read(workshop.path("bootpath.elf")).unwrap();
    assert_eq!(program.len(), built.bytes);
    write("bootpath.elf", false).unwrap();

    let mut without_stage2 = program.clone();
    let magic = disk_layout::stage2::MAGIC;
    let places = program.windows(magic.len());
    let at = places.enumerate().find(|(_, bytes)| *bytes == magic);
    without_stage2[at.unwrap().0] ^= 1;
    done(&workshop, &build("disk.img", &[]));
    let image = fs::read(workshop.path("disk.img")).unwrap();
    for content in [
        &kernel(1000),
        &image,
        &without_stage2,
        &b"text".to_vec(),
        &program[..60].to_vec(),
    ] {
        workshop.file("out", content);
        let message = write("out", false).unwrap_err();
        assert!(
            message.ends_with(
                "out exists and is not the loader as a Multiboot program: --force replaces it"
            ),
            "{message}"
        );
        assert!(&fs::read(workshop.path("out")).unwrap() == content);
        write("out", true).unwrap();
        assert!(fs::read(workshop.path("out")).unwrap() == program);
    }
    // It is not an image, either.
    assert!(refused(&workshop, &build("out", &[])).contains("not a Bootpath image"));
    for input in ["way-in", "stage2"] {
        let before = fs::read(workshop.path(input)).unwrap();
        let message = write(input, true).unwrap_err();
        assert!(message.contains("is an input"), "{message}");
        assert!(fs::read(workshop.path(input)).unwrap() == before);
    }
    symlink("/nonexistent/file", workshop.path("dangling")).unwrap();
    let message = write("dangling", true).unwrap_err();
    assert!(message.contains("is a symbolic link to"), "{message}");
}

#[test]
fn nothing_else_than_a_file_is_replaced() {
    let workshop = workshop();
    fs::create_dir(workshop.path("directory")).unwrap();
    let made = Command::new("mkfifo").arg(workshop.path("pipe")).status();
    assert!(made.unwrap().success());
    let _socket = UnixListener::bind(workshop.path("socket")).unwrap();
    symlink("nothing", workshop.path("dangling")).unwrap();
    symlink("directory", workshop.path("to-directory")).unwrap();
    symlink("loop", workshop.path("loop")).unwrap();
    let before = snapshot(&workshop.path("."));
    for (output, expected) in [
        ("directory", "directory is a directory, not a file"),
        ("to-directory", "to-directory is a directory, not a file"),
        (".", ". is a directory, not a file"),
        ("pipe", "pipe is a pipe, not a file"),
        ("socket", "socket is a socket, not a file"),
        ("/dev/null", "/dev/null is a character device, not a file"),
        (
            "dangling",
            "dangling is a symbolic link to nothing, which does not exist",
        ),
        ("loop", "cannot write loop: "),
        (
            "none/disk.img",
            "cannot write none/disk.img: there is no directory none",
        ),
        ("new/", "\"new/\" is not the name of a file"),
        ("kernel.elf/disk.img", "cannot write kernel.elf/disk.img: "),
    ] {
        for force in [&[][..], &["--force"]] {
            let message = refused(&workshop, &build(output, force));
            assert!(message.starts_with(expected), "{message}");
        }
    }
    assert!(before == snapshot(&workshop.path(".")));
}

#[test]
fn a_replaced_image_keeps_its_permissions_and_its_links() {
    let workshop = workshop();
    done(&workshop, &build("disk.img", &[]));
    let image = workshop.path("disk.img");
    for mode in [0o600, 0o664, 0o755] {
        fs::set_permissions(&image, fs::Permissions::from_mode(mode)).unwrap();
        done(&workshop, &build("disk.img", &[]));
        assert_eq!(fs::metadata(&image).unwrap().mode() & 0o7777, mode);
    }
    symlink("disk.img", workshop.path("link")).unwrap();
    done(&workshop, &build("link", &["--size=3"]));
    assert!(
        fs::symlink_metadata(workshop.path("link"))
            .unwrap()
            .is_symlink()
    );
    assert_eq!(fs::metadata(&image).unwrap().len(), 3 << 20);

    // Root may write to everything.
    fs::set_permissions(&image, fs::Permissions::from_mode(0o444)).unwrap();
    if fs::OpenOptions::new().write(true).open(&image).is_err() {
        let message = refused(&workshop, &build("disk.img", &[]));
        assert!(message.starts_with("cannot write disk.img: "), "{message}");
        done(&workshop, &build("disk.img", &["--force"]));
        assert_eq!(fs::metadata(&image).unwrap().mode() & 0o7777, 0o444);
    }
}

/// No file may be larger than a limit, as on a disk that is full.
#[test]
fn an_image_that_does_not_fit_leaves_the_old_one() {
    let workshop = workshop();
    done(&workshop, &build("disk.img", &["--size=3"]));
    let before = snapshot(&workshop.path("."));
    let script = "trap '' XFSZ; ulimit -f 8192; exec \"$0\" \"$@\"";
    let output = Command::new("sh")
        .args(["-c", script, env!("CARGO_BIN_EXE_disk-builder")])
        .args(build("disk.img", &[]))
        .current_dir(workshop.path("."))
        .output()
        .unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(
        message.starts_with("disk-builder: cannot write disk.img: "),
        "{message}"
    );
    assert!(before == snapshot(&workshop.path(".")));
}

/// Nobody can create files in /proc.
#[cfg(target_os = "linux")]
#[test]
fn errors_name_what_the_user_named() {
    let workshop = workshop();
    let message = refused(&workshop, &build("/proc/disk.img", &[]));
    assert!(
        message.starts_with("cannot write /proc/disk.img: "),
        "{message}"
    );
    assert!(!message.contains("/proc/."), "{message}");
    assert!(!message.contains("path \""), "{message}");
}

/// Waits until a program has ended; kills it when it does not.
fn wait(child: &mut Child) -> ExitStatus {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if Instant::now() > deadline {
            let _ = child.kill();
            panic!("it does not end");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_signal_leaves_nothing_behind() {
    let workshop = workshop();
    done(&workshop, &build("disk.img", &["--size=3"]));
    let large = fs::File::create(workshop.path("large")).unwrap();
    large.set_len(4 << 30 >> 1).unwrap();
    let before = workshop.names();
    let image = fs::read(workshop.path("disk.img")).unwrap();
    for (signal, status) in [("INT", 130), ("TERM", 143)] {
        for (output, already) in [("disk.img", 1), ("new.img", 0)] {
            let arguments = build(output, &["--module=large"]);
            let mut child = command(&workshop, &arguments)
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            // In the middle of it: the new file is there, and grows.
            let deadline = Instant::now() + Duration::from_secs(60);
            while workshop.names().len() == before.len() {
                assert!(Instant::now() < deadline, "nothing is written");
                assert!(child.try_wait().unwrap().is_none(), "it is too fast");
            }
            let kill = Command::new("kill")
                .args(["-s", signal, &child.id().to_string()])
                .status();
            assert!(kill.unwrap().success());
            assert_eq!(wait(&mut child).code(), Some(status), "{signal}");
            assert_eq!(workshop.names(), before, "{signal}");
            assert_eq!(workshop.path(output).exists(), already == 1);
        }
    }
    assert!(fs::read(workshop.path("disk.img")).unwrap() == image);
}
