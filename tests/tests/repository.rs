//! What the repository holds: nothing that was built, nothing that names a developer's machine, and
//! examples that build wherever they are copied to.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use disk_builder::image::find_kernel;
use disk_builder::stages::workspace;

/// The answer of git; `None` if the sources are not a checkout, but an archive.
fn git(arguments: &[&str]) -> Option<String> {
    if !workspace().join(".git").exists() {
        eprintln!("skipped: {} is no git checkout", workspace().display());
        return None;
    }
    let output = Command::new("git")
        // The checkout may be another user's, as in a container.
        .args(["-c", "safe.directory=*", "-C"])
        .arg(workspace())
        .args(arguments)
        .output()
        .expect("git");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "git {arguments:?}: {error}");
    Some(String::from_utf8(output.stdout).expect("names in UTF-8"))
}

#[test]
fn git_holds_nothing_that_it_ignores() {
    let Some(ignored) = git(&["ls-files", "--cached", "--ignored", "--exclude-standard"]) else {
        return;
    };
    assert_eq!(
        ignored, "",
        "these are ignored and committed all the same: git rm --cached them"
    );
}

/// First names of absolute paths that mean the same on every machine, or exist on none.
#[rustfmt::skip]
const ROOTS: &[&str] = &[
    // Any Unix (Filesystem Hierarchy Standard), except what is somebody's own: home and root.
    "bin", "dev", "etc", "lib", "media", "mnt", "opt", "proc", "run", "sbin", "srv", "sys", "tmp", "usr", "var",
    // The boot volume, as loaders and operating systems have it.
    "boot", "BOOT", "debian", "efi", "EFI", "loader", "modules",
    // Names that tests made up.
    "dir", "directory", "e", "e+3", "no", "nonexistent",
];

/// Places in a home directory that manuals may show.
const PLACEHOLDERS: [&str; 2] = ["/home/you/", "/Users/you/"];

/// The absolute paths in a text that belong to one machine. They have more than one name, and only
/// their plain part is returned.
fn private_paths(text: &str) -> Vec<&str> {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"._-+@".contains(&byte);
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    for (start, _) in text.match_indices('/') {
        // A slash behind a name, a variable, a wildcard or another slash belongs to the rest of a
        // path, to a quotient or to a web address.
        let before = text[..start].bytes().next_back();
        let follows = before.is_some_and(|byte| is_name(byte) || b")]}/*$>%~".contains(&byte));
        let end = bytes[start..]
            .iter()
            .position(|&byte| byte != b'/' && !is_name(byte))
            .map_or(text.len(), |length| start + length);
        let path = &text[start..end];
        let mut names = path.split('/').skip(1);
        let (first, second) = (names.next().unwrap_or(""), names.next().unwrap_or(""));
        if !follows
            && first.starts_with(|first: char| first.is_ascii_alphabetic())
            && !second.is_empty()
            && !ROOTS.contains(&first)
            && !PLACEHOLDERS.iter().any(|place| path.starts_with(place))
        {
            found.push(path);
        }
    }
    for (start, _) in text.match_indices(":\\Users\\") {
        found.push(&text[start.saturating_sub(1)..start + 8]);
    }
    found
}

#[test]
fn what_a_private_path_is() {
    for (text, paths) in [
        (
            "in /home/jane/bootpath/x.rs:3",
            &["/home/jane/bootpath/x.rs"][..],
        ),
        ("(\"/Users/jane/x\")", &["/Users/jane/x"]),
        // In pieces: it is nobody's, but looks like the home of whoever wrote this.
        (
            concat!("`/", "root/src/bootpath`,"),
            &[concat!("/", "root/src/bootpath")],
        ),
        ("-I/builds/group/x -L/home/jane", &[]),
        ("-I /builds/group/x=1 /w/x", &["/builds/group/x", "/w/x"]),
        ("C:\\Users\\jane\\x", &["C:\\Users\\"]),
        ("cp x /home/you/x; /usr/share/x; /boot/kernel.elf", &[]),
        (
            "https://example.org/home/x, a/home/x, $x/home/x, 1/2/3, /home, / a",
            &[],
        ),
    ] {
        assert_eq!(private_paths(text), paths, "{text}");
    }
}

#[test]
fn no_file_names_a_place_on_the_machine_of_who_wrote_it() {
    let Some(names) = git(&["ls-files", "-z"]) else {
        return;
    };
    // The paths of this checkout and of this user's tools, whatever their names look like.
    let own = ["CARGO_HOME", "RUSTUP_HOME", "CARGO_TARGET_DIR"]
        .iter()
        .filter_map(std::env::var_os)
        .map(PathBuf::from)
        .chain(std::env::home_dir())
        .chain([workspace().to_owned()])
        .filter(|path| path.is_absolute() && path.components().count() > 2)
        .filter_map(|path| path.into_os_string().into_string().ok())
        .collect::<BTreeSet<_>>();

    let mut seen = 0;
    let mut wrong = Vec::new();
    for name in names.split_terminator('\0') {
        // A file that is deleted but not committed is only in the index. This file has examples of
        // its own. In files with rules for git, `/` is the directory of the file.
        let path = workspace().join(name);
        if name == file!() || path.ends_with(".gitignore") || !path.is_file() {
            continue;
        }
        let bytes = fs::read(path).expect(name);
        // A binary contains paths as debug information. Nothing that was built is in git: see
        // above.
        let Ok(text) = str::from_utf8(&bytes) else {
            continue;
        };
        if text.contains('\0') {
            continue;
        }
        seen += 1;
        for (number, line) in (1..).zip(text.lines()) {
            let mut paths = private_paths(line);
            paths.extend(
                own.iter()
                    .filter(|own| line.contains(*own))
                    .map(|own| &**own),
            );
            wrong.extend(paths.iter().map(|path| format!("{name}:{number}: {path}")));
        }
    }
    assert!(seen > 100, "of the checkout, only {seen} files are texts");
    assert!(
        wrong.is_empty(),
        "absolute paths of one machine (if it is a place on every machine, add its first name to `ROOTS`):\n{}",
        wrong.join("\n")
    );
}

/// A copy of an example, without what was built in it, in a directory far from the repository.
fn copy_of(example: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    let sources = workspace().join("examples").join(example);
    for entry in fs::read_dir(sources).expect(example) {
        let path = entry.expect(example).path();
        let built = path.extension().is_some_and(|it| it == "o" || it == "elf");
        if !built {
            let copy = directory.path().join(path.file_name().expect("a name"));
            fs::copy(&path, copy).expect("a copy");
        }
    }
    directory
}

/// `make` in a directory, without what this process was told about the repository.
fn make(directory: &Path, arguments: &[&str]) -> Output {
    let mut make = Command::new("make");
    make.env_remove("BOOTPATH").arg("-C").arg(directory);
    make.args(arguments).output().expect("make")
}

#[test]
fn the_c_kernel_builds_where_it_is_copied_to() {
    let header = workspace().join("handoff/include/bootpath.h");

    // Without the repository, it says what it needs …
    let copy = copy_of("c-kernel");
    let output = make(copy.path(), &[]);
    assert!(!output.status.success());
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("copy bootpath.h to here"), "{error}");
    assert!(error.contains("make BOOTPATH=DIRECTORY"), "{error}");

    // … accepts either of the two …
    let repository = format!("BOOTPATH={}", workspace().display());
    let output = make(copy.path(), &[&repository]);
    assert!(output.status.success(), "{output:?}");
    let copy = copy_of("c-kernel");
    fs::copy(&header, copy.path().join("bootpath.h")).expect("a copy");
    let output = make(copy.path(), &[]);
    assert!(output.status.success(), "{output:?}");

    // … learns the path from disk-builder …
    let copy = copy_of("c-kernel");
    let kernel = find_kernel(Some(copy.path())).expect("a kernel");
    assert!(kernel.is_file());

    // … and does without it for a loader that is not this one.
    let copy = copy_of("c-kernel");
    let output = make(copy.path(), &["kernel-multiboot2.elf"]);
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn the_multiboot_kernel_builds_where_it_is_copied_to() {
    let copy = copy_of("multiboot-kernel");
    let output = make(copy.path(), &[]);
    assert!(output.status.success(), "{output:?}");
}
