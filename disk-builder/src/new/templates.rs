//! The files of each kind of kernel.

use std::borrow::Cow;
use std::fmt;

/// What a kernel is made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Template {
    /// Rust, by the loader's own protocol.
    Rust,
    /// C, by the loader's own protocol.
    C,
    /// Rust, by the Limine protocol.
    Limine,
}

/// A file of a kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its path in the kernel's folder, with `/`.
    pub path: &'static str,
    /// What is in it.
    pub text: Cow<'static, str>,
}

/// The target that kernels in Rust are built for.
pub const TARGET: &str = "x86_64-unknown-none";

/// A file of the repository that is not one of this package: the build script has brought it.
macro_rules! beside {
    ($file:expr) => {
        include_str!(concat!(env!("OUT_DIR"), "/beside/", $file))
    };
}

/// The handoff as a header for C.
pub const BOOTPATH_H: &str = beside!("handoff/include/bootpath.h");

/// Path in the folder, and text.
type Source = (&'static str, &'static str);

/// `path <- template`, …
macro_rules! templates {
    ($($path:literal <- $file:literal,)+) => {
        &[$(($path, include_str!(concat!("../../templates/", $file)))),+]
    };
}

/// The files of the crate `handoff`, as they are.
macro_rules! handoff {
    ($($file:literal)+) => {
        &[$((concat!("handoff/", $file), beside!(concat!("handoff/", $file)))),+]
    };
}

/// For both kinds of kernels in Rust.
const CARGO: &[Source] = templates![
    ".cargo/config.toml" <- "cargo/config.toml",
    ".github/workflows/test.yml" <- "cargo/test.yml",
    ".gitignore" <- "cargo/gitignore",
    ".vscode/extensions.json" <- "cargo/extensions.json",
    ".vscode/launch.json" <- "cargo/launch.json",
    ".vscode/settings.json" <- "cargo/settings.json",
    ".vscode/tasks.json" <- "cargo/tasks.json",
    "debug.gdb" <- "cargo/debug.gdb",
    "src/console.rs" <- "cargo/console.rs",
];

const RUST: &[Source] = templates![
    "Cargo.toml" <- "rust/Cargo.toml.in",
    "README.md" <- "rust/README.md",
    "handoff/Cargo.toml" <- "rust/handoff.toml.in",
    "src/lib.rs" <- "rust/src/lib.rs",
    "src/main.rs" <- "rust/src/main.rs",
    "src/screen.rs" <- "rust/src/screen.rs",
    "tests/boots.rs" <- "rust/tests/boots.rs",
];

const HANDOFF: &[Source] = handoff![
    "src/access.rs"
    "src/addresses.rs"
    "src/bytes.rs"
    "src/command_line.rs"
    "src/entry.rs"
    "src/exit.rs"
    "src/lib.rs"
    "src/memory_map.rs"
    "src/physical_map.rs"
    "src/serial.rs"
    "src/versions.rs"
    "src/versions/tests.rs"
    "src/wishes.rs"
];

const LICENSES: &[Source] = &[
    ("handoff/LICENSE-APACHE", beside!("LICENSE-APACHE")),
    ("handoff/LICENSE-MIT", beside!("LICENSE-MIT")),
];

const LIMINE: &[Source] = templates![
    "Cargo.toml" <- "limine/Cargo.toml.in",
    "README.md" <- "limine/README.md",
    "src/boot.rs" <- "limine/src/boot.rs",
    "src/lib.rs" <- "limine/src/lib.rs",
    "src/main.rs" <- "limine/src/main.rs",
    "src/screen.rs" <- "limine/src/screen.rs",
    "tests/boots.rs" <- "limine/tests/boots.rs",
];

const C: &[Source] = templates![
    ".github/workflows/test.yml" <- "c/test.yml",
    ".gitignore" <- "c/gitignore",
    ".vscode/extensions.json" <- "c/extensions.json",
    ".vscode/launch.json" <- "c/launch.json",
    ".vscode/settings.json" <- "c/settings.json",
    ".vscode/tasks.json" <- "c/tasks.json",
    "Makefile" <- "c/Makefile",
    "README.md" <- "c/README.md",
    "compile_flags.txt" <- "c/compile_flags.txt",
    "debug.gdb" <- "c/debug.gdb",
    "src/console.c" <- "c/src/console.c",
    "src/console.h" <- "c/src/console.h",
    "src/kernel.c" <- "c/src/kernel.c",
    "src/machine.h" <- "c/src/machine.h",
    "src/memory.c" <- "c/src/memory.c",
    "src/panic.c" <- "c/src/panic.c",
    "src/panic.h" <- "c/src/panic.h",
    "tests/boots.c" <- "c/tests/boots.c",
];

/// The same files as in `examples/c-kernel`.
const C_LOADER: &[Source] = &[
    ("bootpath.h", BOOTPATH_H),
    ("linker.ld", beside!("examples/c-kernel/linker.ld")),
];

impl Template {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Rust, Self::C, Self::Limine];

    /// The files of a kernel of this name.
    pub fn files(self, name: &str) -> Vec<File> {
        let (templates, copies): ([&[_]; 2], [&[_]; 2]) = match self {
            Self::Rust => ([CARGO, RUST], [HANDOFF, LICENSES]),
            Self::C => ([C, &[]], [C_LOADER, &[]]),
            Self::Limine => ([CARGO, LIMINE], [&[], &[]]),
        };
        let filled = |&(path, text): &Source| File {
            path,
            text: fill(text, name),
        };
        let copied = |&(path, text): &Source| File {
            path,
            text: text.into(),
        };
        let templates = templates.into_iter().flatten().map(filled);
        templates
            .chain(copies.into_iter().flatten().map(copied))
            .collect()
    }

    /// The crates that a kernel in Rust uses, by all their names.
    pub fn crates(self) -> impl Iterator<Item = &'static str> {
        let names: &[_] = match self {
            Self::Rust => &[
                "bootpath-handoff",
                "handoff",
                "spin",
                "uart_16550",
                "x86_64",
            ],
            Self::C => &[],
            Self::Limine => &[
                "limine",
                "noto-sans-mono-bitmap",
                "spin",
                "uart_16550",
                "x86_64",
            ],
        };
        names.iter().copied()
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rust => "rust",
            Self::C => "c",
            Self::Limine => "limine",
        })
    }
}

/// Puts values in the place of the placeholders.
fn fill(text: &'static str, name: &str) -> Cow<'static, str> {
    let values = [
        ("{{name}}", name),
        ("{{rust_version}}", env!("CARGO_PKG_RUST_VERSION")),
        ("{{tool}}", env!("CARGO_PKG_NAME")),
        ("{{version}}", env!("CARGO_PKG_VERSION")),
    ];
    let mut filled = Cow::Borrowed(text);
    for (placeholder, value) in values {
        if filled.contains(placeholder) {
            filled = filled.replace(placeholder, value).into();
        }
    }
    filled
}
