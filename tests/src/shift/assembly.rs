//! A program as the compiler writes it, and with its functions moved.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use disk_builder::stages::{self, Program, STAGE1_MULTIBOOT};

/// A function of a program in assembly.
#[derive(Clone, Debug)]
pub struct Function {
    /// Its path, as in the source.
    pub name: String,
    /// The line with its label.
    line: usize,
    /// Whether it is a naked function, whose body is assembly in the source, too.
    pub naked: bool,
}

/// A program as the compiler writes it.
pub struct Assembly {
    program: Program<'static>,
    lines: Vec<String>,
    /// The functions that can be moved.
    pub functions: Vec<Function>,
    /// The line with the label of the function that cannot, if there is one.
    entry: Option<usize>,
}

impl Assembly {
    /// Makes the compiler write a program.
    ///
    /// # Errors
    /// When that fails.
    pub fn of(program: Program<'static>) -> Result<Self> {
        let directory = stages::workspace().join("target/shifted");
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        for variable in [
            "RUSTFLAGS",
            "CARGO_ENCODED_RUSTFLAGS",
            "CARGO_BUILD_RUSTFLAGS",
        ] {
            cargo.env_remove(variable);
        }
        cargo
            .current_dir(stages::workspace())
            .env("CARGO_TARGET_DIR", &directory)
            .args(["--config", program.config])
            .args(["rustc", "--release", "--quiet", "--features", "bare-metal"])
            .args(["--target", stages::target()?, "--package", program.package])
            .args(["--bin", program.bin, "--"])
            .args(["--emit", "asm,link", "-C", "debuginfo=0"]);
        stages::output(&mut cargo)?;
        let built = directory.join(stages::target()?).join("release/deps");
        let start = format!("{}-", program.bin.replace('-', "_"));
        let mut files = Vec::new();
        for entry in fs::read_dir(built)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let hash = name.strip_prefix(&start).or_else(|| {
                name.strip_prefix(program.bin)
                    .and_then(|name| name.strip_prefix('-'))
            });
            if hash.is_some_and(|hash| hash.ends_with(".s") && !hash.contains('-')) {
                files.push((fs::metadata(&path)?.modified()?, path));
            }
        }
        let (_, newest) = files.into_iter().max().context("no assembly")?;
        Ok(Self::new(program, &fs::read_to_string(newest)?))
    }

    fn new(program: Program<'static>, text: &str) -> Self {
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let mut kinds = BTreeMap::new();
        let mut section = "";
        for line in &lines {
            let line = line.trim();
            if let Some(name) = line.strip_prefix(".section\t") {
                section = name.split(',').next().unwrap_or_default();
            }
            let symbol = line
                .strip_prefix(".type\t")
                .and_then(|line| line.strip_suffix(",@function"));
            if let Some(symbol) = symbol {
                kinds.insert(symbol, section);
            }
        }
        let (mut functions, mut entry) = (Vec::new(), None);
        for (number, line) in lines.iter().enumerate() {
            let Some((symbol, section)) = line
                .strip_suffix(':')
                .and_then(|symbol| Some((symbol, *kinds.get(symbol)?)))
            else {
                continue;
            };
            // The place of this section is a contract.
            if section == ".entry" {
                entry = Some(number);
                continue;
            }
            let mut name = format!("{:#}", rustc_demangle::demangle(symbol));
            let way_in = "stage1_multiboot::";
            if program.bin == STAGE1_MULTIBOOT.bin && !name.starts_with(way_in) {
                name.insert_str(0, way_in);
            }
            // Only lines of assembly in the source have rows here. The first row is next.
            let mut next = lines[number + 1..].iter().take(2);
            functions.push(Function {
                name,
                line: number,
                naked: next.any(|line| line.contains(".section\t.asm_lines,")),
            });
        }
        Self {
            program,
            functions,
            entry,
            lines: lines.clone(),
        }
    }

    /// The program with its entry moved by so many bytes.
    ///
    /// # Errors
    /// Always, if all is well: the linker script fixes the place of the entry.
    pub fn with_entry_shifted(&self, directory: &Path, bytes: usize) -> Result<PathBuf> {
        let entry = self.entry.context("no entry")?;
        self.with_room(directory, &[(entry, bytes)])
    }

    /// The program with each function moved by as many bytes as `shift` returns for its place in
    /// the list.
    ///
    /// # Errors
    /// When it cannot be assembled or linked; the linker script says why.
    pub fn shifted(&self, directory: &Path, shift: impl Fn(usize) -> usize) -> Result<PathBuf> {
        let functions = self.functions.iter().enumerate();
        let room: Vec<_> = functions
            .map(|(place, function)| (function.line, shift(place)))
            .collect();
        self.with_room(directory, &room)
    }

    /// The program with bytes inserted in front of lines, whose numbers ascend.
    fn with_room(&self, directory: &Path, room: &[(usize, usize)]) -> Result<PathBuf> {
        let mut lines = self.lines.clone();
        for &(line, bytes) in room.iter().rev() {
            lines.insert(line, format!("\t.skip {bytes}, 0xCC"));
        }
        let source = directory.join("shifted.s");
        fs::write(&source, lines.join("\n") + "\n")?;
        let wrapper = directory.join("shifted.rs");
        fs::write(
            &wrapper,
            "#![no_std]\n\
             core::arch::global_asm!(include_str!(\"shifted.s\"), options(att_syntax, raw));\n",
        )?;
        let object = directory.join("shifted.o");
        stages::output(
            stages::rustc()
                .args(["--edition", "2024", "--crate-type", "lib", "--emit", "obj"])
                .args(["-C", "panic=abort", "--target", stages::target()?, "-o"])
                .args([&object, &wrapper]),
        )?;

        let program = directory.join(self.program.bin);
        let (toolchain, workspace) = (stages::toolchain()?, stages::workspace());
        let config = self.program.config;
        match self.program.in_parts {
            true => stages::link_in_parts(&toolchain, workspace, config, &object, &[], &program)?,
            false => toolchain.link(workspace, config, &object, &[], &program)?,
        }
        Ok(program)
    }
}
