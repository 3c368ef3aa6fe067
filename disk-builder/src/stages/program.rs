//! The bare-metal programs by name. The build script includes this file.

/// A bare-metal program of the workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Program<'a> {
    /// Cargo package.
    pub package: &'a str,
    /// Its binary.
    pub bin: &'a str,
    /// Cargo's configuration for it, a file of the workspace: flags, with the linker script among them, and
    /// the profile.
    pub config: &'a str,
    /// Is it linked in [parts](disk_layout::parts)?
    pub in_parts: bool,
}

/// Step 1: what is in the MBR.
pub const STAGE1: Program<'static> = Program {
    package: "stage1",
    bin: "stage1",
    config: "targets/stage1.toml",
    in_parts: false,
};
/// Step 1 on a CD: what El Torito boots.
pub const STAGE1_CD: Program<'static> = Program {
    package: "stage1",
    bin: "stage1-cd",
    config: "targets/stage1-cd.toml",
    in_parts: false,
};
/// Step 1 of a program for Multiboot loaders.
pub const STAGE1_MULTIBOOT: Program<'static> = Program {
    package: "stage1",
    bin: "stage1-multiboot",
    config: "targets/stage1-multiboot.toml",
    in_parts: false,
};
/// Steps 2 to 12.
pub const STAGE2: Program<'static> = Program {
    package: "stage2",
    bin: "stage2",
    config: "targets/stage2.toml",
    in_parts: true,
};
/// The demo kernel.
pub const KERNEL: Program<'static> = Program {
    package: "kernel",
    bin: "kernel",
    config: "targets/kernel.toml",
    in_parts: false,
};

/// The programs that disk-builder may contain: those of the loader.
pub const LOADER: [Program<'static>; 4] = [STAGE1, STAGE1_CD, STAGE1_MULTIBOOT, STAGE2];
