//! `new` and `header`: what is written, what is refused, and that nothing is left behind then. The
//! kernels are built and booted in tests/tests/new.rs.
#![cfg(unix)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use disk_builder::new::{Options, TARGET, Template, create};
use disk_builder::stages::workspace;
use tempfile::TempDir;

/// The words of Rust's reference, "Keywords": strict, reserved and weak ones.
const KEYWORDS: &str = "as async await break const continue crate dyn else enum extern false fn for if impl in let \
    loop match mod move mut pub ref return self Self static struct super trait true type unsafe use where while \
    abstract become box do final gen macro override priv try typeof unsized virtual yield \
    macro_rules raw safe union auto default";

/// Names that cargo takes, with a warning or without, and that make no kernel.
const OURS: &[&str] = &[
    "gen",
    "alloc",
    "core",
    "std",
    "proc-macro",
    "proc_macro",
    "été",
    "_",
    "__",
    "handoff",
    "bootpath-handoff",
    "spin",
    "uart_16550",
    "uart-16550",
    "x86_64",
];

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// The program, in this folder.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_disk-builder"));
        command.current_dir(self.0.path()).args(arguments);
        command
    }

    /// What it prints.
    #[track_caller]
    fn prints(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        let error = text(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {error}");
        assert_eq!(error, "", "{arguments:?}");
        text(&output.stdout)
    }

    /// Its one line when it refuses something, which changes nothing.
    #[track_caller]
    fn refuses(&self, arguments: &[&str]) -> String {
        let before = tree(self.0.path());
        let output = self.command(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert_eq!(text(&output.stdout), "", "{arguments:?}");
        assert_eq!(tree(self.0.path()), before, "{arguments:?}");
        let error = text(&output.stderr);
        assert_eq!(error.lines().count(), 1, "{error}");
        let error = error.trim_end().strip_prefix("disk-builder: ");
        error.expect("the program's name").to_owned()
    }

    fn cargo(&self, folder: &str, arguments: &[&str]) -> Output {
        let mut cargo = Command::new("cargo");
        cargo.args(arguments).current_dir(self.path(folder));
        cargo.output().unwrap()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// All that is below a folder, by its path there; folders have no bytes.
fn tree(folder: &Path) -> BTreeMap<String, Option<Vec<u8>>> {
    let mut all = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(folder).unwrap();
            let is_folder = !path.is_symlink() && path.is_dir();
            all.insert(
                name.to_str().unwrap().to_owned(),
                (!is_folder).then(|| fs::read(&path).unwrap_or_default()),
            );
            if is_folder {
                folders.push(path);
            }
        }
    }
    all
}

/// The texts of a new kernel, by their paths.
fn kernel(template: Template) -> BTreeMap<String, String> {
    let folder = Folder::new();
    let options = Options {
        path: folder.path("my-kernel"),
        name: None,
        template,
    };
    create(&options).unwrap();
    let files = tree(&options.path).into_iter();
    files
        .filter_map(|(path, bytes)| Some((path, String::from_utf8(bytes?).unwrap())))
        .collect()
}

#[test]
fn what_cargo_refuses_is_no_name() {
    let folder = Folder::new();
    let others = "test deps build examples incremental a-b a_b Abc x1 _x 1x -x a.b kernel boots ascii été core std";
    let names = KEYWORDS.split(' ').chain(others.split(' '));
    let (mut taken, mut refused) = (0, 0);
    for name in names
        .filter(|name| !name.is_empty())
        .chain(["", "a b", "a/b", "a\"b"])
    {
        let argument = format!("--name={name}");
        let cargo = folder.cargo(
            "",
            &["new", "--quiet", "--vcs=none", &argument, "cargo-new"],
        );
        let _ = fs::remove_dir_all(folder.path("cargo-new"));
        if cargo.status.success() && !OURS.contains(&name) {
            taken += 1;
            folder.prints(&["new", &argument, "ours"]);
            fs::remove_dir_all(folder.path("ours")).unwrap();
        } else {
            refused += 1;
            let error = folder.refuses(&["new", &argument, "ours"]);
            let start = format!("a kernel cannot be called {name:?}: ");
            assert!(error.starts_with(&start), "{error}");
        }
    }
    assert!(taken >= 12 && refused >= 60, "{taken} {refused}");
}

#[test]
fn names_are_refused_with_the_reason() {
    let folder = Folder::new();
    for (name, reason) in [
        ("loop", "it is a keyword of Rust"),
        ("test", "it is the name of Rust's library for tests"),
        (
            "deps",
            "cargo makes a folder of this name beside the program",
        ),
        ("core", "it is the name of a library of Rust's"),
        ("9front", "it begins with a digit or a hyphen"),
        (
            "käse",
            "it may consist of ASCII letters, digits, `-` and `_`, and 'ä' is none of these",
        ),
        ("__", "there is no letter in it"),
        (
            "uart-16550",
            "it is the name of a crate that the kernel uses",
        ),
    ] {
        let expected =
            format!("a kernel cannot be called {name:?}: {reason}; --name gives it another name");
        assert_eq!(folder.refuses(&["new", name]), expected);
        folder.prints(&["new", name, "--name=fine"]);
    }
    for name in OURS {
        folder.refuses(&["new", &format!("--name={name}"), "x"]);
    }
    folder.refuses(&["new", "--limine", "limine"]);
    folder.refuses(&["new", "--limine", "noto_sans_mono_bitmap"]);
    // Crates of the other template are not in the way, and a kernel in C is no crate.
    folder.prints(&["new", "limine"]);
    for name in ["while", "spin", "build"] {
        folder.prints(&["new", "--c", name]);
    }
    folder.refuses(&["new", "--c", "a b"]);
}

#[test]
fn what_is_there_stays() {
    let folder = Folder::new();
    folder.write("full/file", "mine");
    folder.write("file", "mine");
    symlink("nowhere", folder.path("link")).unwrap();
    for template in [&[][..], &["--c"], &["--limine"]] {
        let refuses = |path| folder.refuses(&[&["new", path], template].concat());
        assert_eq!(
            refuses("full"),
            "full exists, and is not empty: nothing was written"
        );
        assert_eq!(
            refuses("file"),
            "file exists, and is a regular file: nothing was written"
        );
        let dangling = "link is a symbolic link to nowhere, which does not exist";
        assert_eq!(refuses("link"), dangling);
        assert!(refuses("file/kernel").starts_with("cannot create file/kernel: "));
    }
    // Two kinds at once are wrong usage.
    let output = folder
        .command(&["new", "--c", "--limine", "x"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(!folder.path("x").exists());
}

#[test]
fn a_folder_without_permission_is_left_alone() {
    let folder = Folder::new();
    folder.write("locked/file", "mine");
    fs::set_permissions(folder.path("locked"), fs::Permissions::from_mode(0o555)).unwrap();
    // To root, nothing is locked: a file system without new files will do.
    let place = match fs::write(folder.path("locked/probe"), "") {
        Ok(()) => "/proc/kernel",
        Err(_) => "locked/kernel",
    };
    let _ = fs::remove_file(folder.path("locked/probe"));
    if Path::new(place).starts_with("/proc") && !Path::new("/proc/self").exists() {
        return;
    }
    let error = folder.refuses(&["new", place]);
    assert!(
        error.starts_with(&format!("cannot create {place}: ")),
        "{error}"
    );
    assert!(!error.contains(".bootpath-"), "{error}");
}

#[test]
fn an_empty_folder_is_filled() {
    let folder = Folder::new();
    fs::create_dir_all(folder.path("mine/kernel")).unwrap();
    fs::set_permissions(
        folder.path("mine/kernel"),
        fs::Permissions::from_mode(0o700),
    )
    .unwrap();
    let mut here = folder.command(&["new", "."]);
    let output = here
        .current_dir(folder.path("mine/kernel"))
        .output()
        .unwrap();
    let expected = "\
        kernel, a kernel in Rust. Next:\n  \
          cargo run   # boots it in QEMU\n  \
          cargo test  # boots each file of tests/\n";
    assert_eq!(without_rustup(&text(&output.stdout)), expected);
    let mode = |name| {
        fs::metadata(folder.path(name))
            .unwrap()
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!(mode("mine/kernel"), 0o700);

    // Folders above are made, too; a new folder is for whom the user lets in.
    folder.prints(&["new", "a/b/kernel"]);
    fs::create_dir(folder.path("plain")).unwrap();
    assert_eq!(mode("a/b/kernel"), mode("plain"));
    assert_eq!(mode("a/b/kernel/src"), mode("plain"));
    assert_eq!(
        tree(&folder.path("a/b/kernel")),
        tree(&folder.path("mine/kernel"))
    );
    assert_eq!(fs::read_dir(folder.path("a/b")).unwrap().count(), 1);
}

/// The next steps on a machine that has all.
fn without_rustup(text: &str) -> String {
    text.replace(&format!("  rustup target add {TARGET}\n"), "")
}

#[test]
fn what_is_missing_is_named() {
    let folder = Folder::new();
    folder.write(
        "rustc",
        "#!/bin/sh\necho /nonexistent/lib/rustlib/x86_64-unknown-none/lib\n",
    );
    fs::set_permissions(folder.path("rustc"), fs::Permissions::from_mode(0o755)).unwrap();
    let steps = |name: &str, rustc: &Path, template: &[&str]| {
        let mut command = folder.command(&[&["new", name], template].concat());
        let output = command.env("RUSTC", rustc).output().unwrap();
        assert!(output.status.success());
        text(&output.stdout)
    };
    let line = format!("Next:\n  rustup target add {TARGET}\n  cd ");
    let printed = steps("a", &folder.path("rustc"), &[]);
    assert!(printed.contains(&line), "{printed}");
    let printed = steps("b", &folder.path("rustc"), &["--limine"]);
    assert!(printed.contains(&line), "{printed}");
    let printed = steps("c", Path::new("/nonexistent/rustc"), &[]);
    assert!(printed.contains("https://rustup.rs"), "{printed}");
    let printed = steps("d", Path::new("/nonexistent/rustc"), &["--c"]);
    assert!(!printed.contains("rustup"), "{printed}");
    folder.write("rustc", "#!/bin/sh\necho /\n");
    let printed = steps("e", &folder.path("rustc"), &[]);
    assert!(!printed.contains("rustup"), "{printed}");
}

#[test]
fn in_a_workspace_it_says_what_to_add_there() {
    let folder = Folder::new();
    folder.write(
        "Cargo.toml",
        "[workspace]\nresolver = \"3\"\nmembers = [\"crates/*\"]\n",
    );
    folder.write(
        "crates/one/Cargo.toml",
        "[package]\nname = \"one\"\nedition = \"2024\"\n",
    );
    folder.write("crates/one/src/lib.rs", "");
    let metadata = ["metadata", "--no-deps", "--offline", "--format-version=1"];
    for (path, kind) in [("crates/k", &[][..]), ("crates/l", &["--limine"])] {
        let printed = folder.prints(&[&["new", path], kind].concat());
        let root = folder.0.path().canonicalize().unwrap();
        let advice = format!(
            "It is a workspace of its own. In {}/Cargo.toml, add to [workspace]:\n  \
             exclude = [{path:?}]\n",
            root.display()
        );
        assert!(printed.ends_with(&advice), "{printed}");
        // The kernel can be built, but the workspace around it cannot, …
        assert!(folder.cargo(path, &metadata).status.success());
        assert!(!folder.cargo("crates/one", &metadata).status.success());
        // … until that has been added.
        let manifest = fs::read_to_string(folder.path("Cargo.toml")).unwrap();
        let manifest = manifest.lines().filter(|line| !line.starts_with("exclude"));
        let manifest: Vec<_> = manifest.collect();
        let exclude = "exclude = [\"crates/k\", \"crates/l\"]";
        folder.write(
            "Cargo.toml",
            &format!("{}\n{exclude}\n", manifest.join("\n")),
        );
        let output = folder.cargo("crates/one", &metadata);
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert!(folder.cargo(path, &metadata).status.success());
        fs::remove_dir_all(folder.path(path)).unwrap();
        let again = folder.prints(&[&["new", path], kind].concat());
        assert!(!again.contains("workspace"), "{again}");
        folder.write("Cargo.toml", &manifest.join("\n"));
        fs::remove_dir_all(folder.path(path)).unwrap();
    }
    // cargo does not look at a kernel in C, and a package is no workspace.
    assert!(
        !folder
            .prints(&["new", "--c", "crates/c"])
            .contains("workspace")
    );
    folder.write(
        "Cargo.toml",
        "[package]\nname = \"mine\"\nedition = \"2024\"\n",
    );
    assert!(!folder.prints(&["new", "crates/x"]).contains("workspace"));
}

#[test]
fn files_are_complete() {
    for template in Template::ALL {
        let kernel = kernel(template);
        for (path, text) in &kernel {
            if !path.starts_with("handoff/src/") {
                assert!(!text.contains("{{"), "a placeholder in {path}");
            }
            assert!(text.ends_with('\n') && !text.ends_with("\n\n"), "{path}");
            if path.ends_with(".json") {
                let lines = text
                    .lines()
                    .filter(|line| !line.trim_start().starts_with("//"));
                let json: String = lines.collect();
                serde_json::from_str::<serde_json::Value>(&json).expect(path);
            }
            if path.ends_with(".toml") {
                text.parse::<toml::Table>().expect(path);
                assert!(!text.contains("workspace = true"), "{path}");
            }
        }
        for path in ["README.md", ".github/workflows/test.yml"] {
            assert!(kernel.contains_key(path), "{template} has no {path}");
        }
        let name = match template {
            Template::C => "kernel.elf",
            _ => "debug/my-kernel\"",
        };
        assert!(kernel[".vscode/launch.json"].contains(name));
        assert!(kernel["README.md"].starts_with("# my-kernel\n"));
        let tool = concat!(env!("CARGO_PKG_NAME"), "@", env!("CARGO_PKG_VERSION"), "\n");
        assert!(kernel[".github/workflows/test.yml"].contains(tool));
    }
    // Every template is written by some kind.
    let written: Vec<_> = Template::ALL
        .iter()
        .flat_map(|&kind| kernel(kind))
        .collect();
    for (path, bytes) in tree(&workspace().join("disk-builder/templates")) {
        let Some(bytes) = bytes else { continue };
        // Up to the first placeholder, which has no other text in front of it on its line.
        let source = text(&bytes);
        let start = source.split("{{").next().unwrap();
        let found = written.iter().any(|(_, text)| text.starts_with(start));
        assert!(found, "{path} is in no kernel");
    }
}

/// The crate that a kernel gets is the one in this repository.
#[test]
fn the_handoff_is_the_one_of_this_repository() {
    let kernel = kernel(Template::Rust);
    let ours = tree(&workspace().join("handoff/src"));
    let copies = kernel
        .keys()
        .filter(|path| path.starts_with("handoff/src/"));
    let (copies, originals) = (copies.count(), ours.values().flatten().count());
    for (path, bytes) in ours {
        let Some(bytes) = bytes else { continue };
        let copy = kernel.get(&format!("handoff/src/{path}"));
        assert!(
            copy.map(String::as_bytes) == Some(&bytes),
            "handoff/src/{path}: add it to HANDOFF in disk-builder/src/new/templates.rs"
        );
    }
    assert_eq!(copies, originals);
    let same = |path: &str, at: &str, kernel: &BTreeMap<String, String>| {
        let source = fs::read_to_string(workspace().join(path)).unwrap();
        assert!(kernel[at] == source, "{at} is not {path}");
    };
    for license in ["LICENSE-APACHE", "LICENSE-MIT"] {
        same(license, &format!("handoff/{license}"), &kernel);
    }
    let c = self::kernel(Template::C);
    same("handoff/include/bootpath.h", "bootpath.h", &c);
    same("examples/c-kernel/linker.ld", "linker.ld", &c);
}

/// A value of this repository's manifests; what is `workspace = true` is taken from the workspace's.
fn resolved(value: &toml::Value, name: &str, common: &toml::Value) -> toml::Value {
    match value.as_table() {
        Some(table) if table.get("workspace") == Some(&true.into()) => {
            let common = &common[name];
            let mut all = match common {
                toml::Value::Table(all) => all.clone(),
                other if table.len() == 1 => return other.clone(),
                other => toml::Table::from_iter([("version".to_owned(), other.clone())]),
            };
            all.extend(
                table
                    .iter()
                    .map(|(key, value)| (key.clone(), value.clone())),
            );
            all.remove("workspace");
            all.into()
        }
        _ => value.clone(),
    }
}

/// Its manifest says the same as the one in this repository, without a workspace around it.
#[test]
fn the_handoffs_manifest_says_the_same() {
    let read = |path: &Path| {
        fs::read_to_string(path)
            .unwrap()
            .parse::<toml::Table>()
            .unwrap()
    };
    let root = read(&workspace().join("Cargo.toml"));
    let ours = read(&workspace().join("handoff/Cargo.toml"));
    let copy: toml::Table = kernel(Template::Rust)["handoff/Cargo.toml"]
        .parse()
        .unwrap();
    let common = &root["workspace"]["package"];
    for key in [
        "description",
        "version",
        "edition",
        "rust-version",
        "license",
    ] {
        let value = resolved(&ours["package"][key], key, common);
        assert_eq!(copy["package"][key], value, "{key}");
    }
    let common = &root["workspace"]["dependencies"];
    let dependencies = |manifest: &toml::Table| -> toml::Table {
        let table = manifest
            .get("dependencies")
            .and_then(|it| it.as_table())
            .cloned();
        let rows = table.unwrap_or_default().into_iter();
        rows.map(|(name, value)| {
            let value = resolved(&value, &name, common);
            (name, value)
        })
        .collect()
    };
    assert_eq!(dependencies(&copy), dependencies(&ours));
    assert_eq!(copy.get("features"), ours.get("features"));
    // The name of the library is what kernels write.
    let library = |manifest: &toml::Table| {
        let library = manifest.get("lib").and_then(|it| it.get("name"));
        library.unwrap_or(&manifest["package"]["name"]).clone()
    };
    assert_eq!(library(&copy), library(&ours));
}

#[test]
fn the_header_is_printed_or_written() {
    let folder = Folder::new();
    let header = fs::read_to_string(workspace().join("handoff/include/bootpath.h")).unwrap();
    assert_eq!(folder.prints(&["header"]), header);
    assert_eq!(folder.prints(&["header", "--output", "bootpath.h"]), "");
    let written = || fs::read_to_string(folder.path("bootpath.h")).unwrap();
    assert_eq!(written(), header);
    // An older one is replaced.
    let (first, _) = header.split_once("Generated").unwrap();
    folder.write("bootpath.h", &format!("{first}older */"));
    folder.prints(&["header", "-o", "bootpath.h"]);
    assert_eq!(written(), header);
    // Something else is not.
    folder.write("bootpath.h", "/* mine */\n");
    let error = folder.refuses(&["header", "--output", "bootpath.h"]);
    let expected = "bootpath.h exists and is not Bootpath's header for C: --force replaces it";
    assert_eq!(error, expected);
    folder.prints(&["header", "--output", "bootpath.h", "--force"]);
    assert_eq!(written(), header);
}
