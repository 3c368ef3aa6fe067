//! The C header describes the same bytes as the Rust structures: a C program prints what its
//! compiler makes of the header.

use std::fmt::Write as _;
use std::mem::{align_of, offset_of, size_of};
use std::path::Path;
use std::process::Command;
use std::{env, fs};

use handoff::*;

/// C expressions, and their expected values.
#[derive(Default)]
struct Facts(Vec<(String, u64)>);

impl Facts {
    fn add(&mut self, expression: &str, value: usize) {
        self.0.push((expression.to_owned(), value as u64));
    }
}

/// Size of the field that a function points out.
fn field_size<S, F>(_: fn(&S) -> &F) -> usize {
    size_of::<F>()
}

/// Size and alignment of a structure, offsets and sizes of its fields. A field that is left out
/// does not compile.
macro_rules! structure {
    ($facts:ident, $type:ident = $tag:literal { $($field:ident),+ $(,)? }) => {{
        let _ = |$type { $($field: _),+ }: $type| ();
        $facts.add(concat!("sizeof(struct ", $tag, ")"), size_of::<$type>());
        $facts.add(concat!("_Alignof(struct ", $tag, ")"), align_of::<$type>());
        $(
            $facts.add(
                concat!("offsetof(struct ", $tag, ", ", stringify!($field), ")"),
                offset_of!($type, $field),
            );
            $facts.add(
                concat!("sizeof(((struct ", $tag, " *)0)->", stringify!($field), ")"),
                field_size(|structure: &$type| &structure.$field),
            );
        )+
    }};
}

/// The values of constants that have the same name in C, except for the prefix.
macro_rules! constants {
    ($facts:ident, $($name:ident),+ $(,)?) => {
        $($facts.add(
            concat!("BOOTPATH_", stringify!($name)),
            usize::try_from($name).expect("64 bits"),
        );)+
    };
}

fn facts() -> Facts {
    let mut facts = Facts::default();
    add_structures(&mut facts);
    add_constants(&mut facts);
    add_kinds(&mut facts);
    facts
}

fn add_structures(facts: &mut Facts) {
    structure!(facts, MemoryRegion = "bootpath_memory_region" { start, length, kind, reserved });
    structure!(facts, Text = "bootpath_text" { start, length });
    structure!(facts, KernelSegment = "bootpath_kernel_segment" {
        virtual_start, physical_start, length, flags, reserved,
    });
    structure!(facts, Kernel = "bootpath_kernel" {
        virtual_base, physical_base, size, slide, entry, segments, segment_count, stack_bottom,
        stack_size,
    });
    structure!(facts, Module = "bootpath_module" { start, physical_start, length, path, string });
    structure!(facts, Display = "bootpath_display" {
        kind, bits_per_pixel, address, width, height, pitch, cursor_row,
    });
    structure!(facts, BootDisk = "bootpath_boot_disk" {
        drive, bios_drive, partition, reserved, signature, partition_lba, partition_sectors,
        sector_size, reads,
    });
    structure!(facts, TlsTemplate = "bootpath_tls_template" {
        start, file_size, memory_size, alignment,
    });
    structure!(facts, BootInfo = "bootpath_boot_info" {
        magic, version, size, loader, command_line, memory_map, memory_map_count,
        physical_map_base, physical_map_size, kernel, modules, module_count, display, rsdp, smbios,
        smbios3, boot_disk, tls, cpu_features, timeline, random_seed,
    });
}

fn add_constants(facts: &mut Facts) {
    constants!(
        facts,
        FIRST_SIZE,
        NOTE_STACK_SIZE,
        NOTE_PHYSICAL_MAP_BASE,
        NOTE_FLAGS,
        FLAG_ALLOW_WRITABLE_CODE,
        DEFAULT_PHYSICAL_MAP_BASE,
        DEFAULT_STACK_SIZE,
        STACK_SIZE_MIN,
        STACK_SIZE_MAX,
        CPU_NX,
        CPU_1GIB_PAGES,
        CPU_LA57,
        CPU_INVARIANT_TSC,
        CPU_RDRAND,
        CPU_RDSEED,
        CPU_X2APIC,
        CPU_HYPERVISOR,
        CPU_SMEP,
        CPU_SMAP,
        TIMELINE_LENGTH,
    );
    facts.add("BOOTPATH_MAGIC", BOOTPATH_MAGIC as usize);
    facts.add("BOOTPATH_VERSION", BOOTPATH_VERSION as usize);
}

/// The values of the enumerations.
fn add_kinds(facts: &mut Facts) {
    for (name, kind) in [
        ("USABLE", MemoryKind::Usable),
        ("RECLAIMABLE", MemoryKind::Reclaimable),
        ("KERNEL", MemoryKind::Kernel),
        ("MODULE", MemoryKind::Module),
        ("ACPI_RECLAIMABLE", MemoryKind::AcpiReclaimable),
        ("ACPI_NVS", MemoryKind::AcpiNvs),
        ("FRAMEBUFFER", MemoryKind::Framebuffer),
        ("RESERVED", MemoryKind::Reserved),
        ("BAD", MemoryKind::Bad),
    ] {
        facts.add(&format!("BOOTPATH_MEMORY_KIND_{name}"), kind as usize);
    }
    for (name, kind) in [
        ("NONE", DisplayKind::None),
        ("TEXT", DisplayKind::Text),
        ("FRAMEBUFFER", DisplayKind::Framebuffer),
    ] {
        facts.add(&format!("BOOTPATH_DISPLAY_KIND_{name}"), kind as usize);
    }
}

/// Compiles and runs a C program; returns what it prints.
fn run_c(source: &str) -> Vec<u8> {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("program.c");
    let program = directory.path().join("program");
    fs::write(&file, source).expect("program.c");
    let include = Path::new(env!("CARGO_MANIFEST_DIR")).join("include");
    let compiler = env::var_os("CC").unwrap_or_else(|| "cc".into());
    let compiled = Command::new(compiler)
        .args([
            "-std=c11",
            "-Wall",
            "-Wextra",
            "-Wpedantic",
            "-Werror",
            "-I",
        ])
        .args([&include, Path::new("-o"), &program, &file])
        .output()
        .expect("a C compiler (`cc`, or what CC names)");
    let messages = String::from_utf8_lossy(&compiled.stderr);
    assert!(compiled.status.success(), "{messages}");
    Command::new(program)
        .output()
        .expect("the program runs")
        .stdout
}

const HEAD: &str = "#include <bootpath.h>\n#include <stddef.h>\n#include <stdio.h>\n";

#[test]
fn c_and_rust_agree_on_the_layout() {
    let facts = facts();
    let mut source = format!("{HEAD}int main(void) {{\n");
    for (expression, _) in &facts.0 {
        writeln!(
            source,
            "printf(\"%llu\\n\", (unsigned long long)({expression}));"
        )
        .unwrap();
    }
    source += "}\n";
    let output = String::from_utf8(run_c(&source)).expect("numbers");
    let found: Vec<u64> = output
        .lines()
        .map(|line| line.parse().expect("a number"))
        .collect();
    assert_eq!(found.len(), facts.0.len());
    for ((expression, value), found) in facts.0.iter().zip(found) {
        assert_eq!(*value, found, "{expression}");
    }
}

#[test]
fn c_and_rust_agree_on_notes() {
    wish! { stack_size: 0x12000 }
    let note = Note::new(NOTE_STACK_SIZE, 0x12000);
    let mut expected = Vec::new();
    expected.extend(9_u32.to_le_bytes());
    expected.extend(8_u32.to_le_bytes());
    expected.extend(note.kind().to_le_bytes());
    expected.extend(b"Bootpath\0\0\0\0");
    expected.extend(note.value().to_le_bytes());
    assert_eq!(expected.len(), size_of::<Note>());

    let source = format!(
        "{HEAD}BOOTPATH_WISH(BOOTPATH_NOTE_STACK_SIZE, 0x12000);\n\
         int main(void) {{ fwrite(&BOOTPATH_WISH_NAME(4), sizeof(struct bootpath_note), 1, stdout); }}\n"
    );
    assert_eq!(run_c(&source), expected);
}
