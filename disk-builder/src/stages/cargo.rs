//! Calling cargo for the bare-metal programs, the same way from this program and from its build
//! script, which includes this file: it uses nothing but the standard library.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, io, process};

use super::Program;

/// Where cargo builds, if not in `target/`.
pub const TARGET_DIRECTORY: &str = "CARGO_TARGET_DIR";

/// The target whose ready-made `core` the programs are linked with on a host: the host's own where
/// it will do, so that nothing needs to be installed.
pub fn target_for(host: &str) -> &str {
    match host {
        "x86_64-unknown-linux-gnu" | "x86_64-unknown-linux-musl" => host,
        _ => "x86_64-unknown-none",
    }
}

/// The arguments that build a program in release mode for a target. `flags` are those of [`flags`];
/// `more` is for cargo. `object`: where to put the program's object file, too.
pub fn arguments<'a>(
    program: &Program<'a>,
    target: &'a str,
    flags: &'a str,
    more: &[&'a str],
    object: Option<&Path>,
) -> Vec<String> {
    let mut arguments = vec!["--config", program.config, "--config", flags];
    arguments.extend(["rustc", "--release", "--features", "bare-metal"]);
    arguments.extend(["--target", target, "--package", program.package]);
    arguments.extend(["--bin", program.bin]);
    arguments.extend(more);
    let mut arguments: Vec<_> = arguments.into_iter().map(str::to_owned).collect();
    if let Some(object) = object {
        arguments.push("--".into());
        arguments.push(format!("--emit=obj={},link", object.display()));
    }
    arguments
}

/// More flags for rustc, as a setting for cargo: `more`, and those that keep the paths of the
/// dependencies' sources, and with them the builder's home directory, out of the panic messages of a
/// program. They show a dependency by name and version, whatever registry it came from.
///
/// The flags are in a file of arguments in `directory`. cargo keeps builds with different flags apart,
/// but not if it sees that a flag remaps paths: each program would then discard what the others are
/// built with.
///
/// # Errors
/// When the file cannot be written.
pub fn flags(directory: &Path, more: &str) -> io::Result<String> {
    let home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| env::home_dir().map(|home| home.join(".cargo")))
        .unwrap_or_default();
    let mut argument = format!("--remap-path-prefix={}=cargo\n", home.display());
    for registry in fs::read_dir(home.join("registry/src"))
        .into_iter()
        .flatten()
    {
        // The last prefix that matches counts.
        argument += &format!("--remap-path-prefix={}=\n", registry?.path().display());
    }
    argument += more;
    let path = directory.join("remap-sources");
    if fs::read(&path).ok().as_deref() != Some(argument.as_bytes()) {
        fs::create_dir_all(directory)?;
        // Another process may read it.
        let new = path.with_extension(process::id().to_string());
        fs::write(&new, &argument)?;
        fs::rename(&new, &path)?;
    }
    Ok(format!(
        "target.'cfg(all())'.rustflags = ['@{}']",
        path.display()
    ))
}

/// Removes the variables that change how cargo or rustc builds. `own`: those for the toolchain and
/// the target directory may stay.
pub fn clean(command: &mut Command, own: bool) {
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(|name| is_foreign(name, own)) {
            command.env_remove(name);
        }
    }
}

/// Does a variable belong to what another cargo builds?
pub fn is_foreign(name: &str, own: bool) -> bool {
    /// What tells cargo where its files are, how to reach a registry, how to look, and how much of the
    /// machine to take.
    const KEPT: [&str; 8] = [
        "CARGO_HOME",
        "CARGO_BUILD_JOBS",
        "CARGO_CACHE_",
        "CARGO_HTTP_",
        "CARGO_LOG",
        "CARGO_NET_",
        "CARGO_REGISTR",
        "CARGO_TERM_",
    ];
    if ["RUSTUP_TOOLCHAIN", "RUSTC", TARGET_DIRECTORY].contains(&name) {
        return !own;
    }
    let is_cargos = name == "CARGO" || name.starts_with("CARGO_");
    let is_rusts = name == "RUSTFLAGS" || name.starts_with("RUSTC_") || name.starts_with("RUSTDOC");
    (is_cargos && !KEPT.iter().any(|kept| name.starts_with(kept))) || is_rusts
}
