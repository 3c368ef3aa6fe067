//! `build` refuses what does not make a bootable image.

use std::fs;

use crate::support::{Load, Workshop, build, elf, kernel, refusal};
use disk_builder::image::{Module, Recipe};

/// A flat file with a header of Multiboot 1: flags, and the address of the entry point.
fn multiboot_kernel(flags: u32, entry: u32) -> Vec<u8> {
    const MAGIC: u32 = 0x1BAD_B002;
    let sum = MAGIC.wrapping_add(flags);
    let words = [
        MAGIC,
        flags,
        sum.wrapping_neg(),
        0x10_0000,
        0x10_0000,
        0,
        0x10_2000,
        entry,
    ];
    let mut file: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    file.resize(100, 0xF4);
    file
}

#[test]
fn kernels_for_multiboot_are_taken_and_shown() {
    let workshop = Workshop::new();
    let recipe = workshop.recipe(&multiboot_kernel(1 << 16, 0x10_0020));
    let inspection = build(&recipe).inspection;
    assert_eq!(inspection.booted.protocol, Some("multiboot1"));
    assert!(inspection.booted.kernel.is_none());
    let text = inspection.to_string();
    let shown = "kernel: Multiboot 1, header at 0x0 of the file, entry 0x100020\n  \
                 0x00100000       8192 bytes,        100 from the file at 0x0\n";
    assert!(text.contains(shown), "{text}");
    let refused = |bytes: &[u8]| refusal(&workshop.recipe(bytes));
    let error = refused(&multiboot_kernel(1 << 16 | 8, 0x10_0020));
    assert!(
        error.contains("error 10T: ") && error.contains("flags 0x8"),
        "{error}"
    );
    let error = refused(&multiboot_kernel(1 << 16, 0x10_2000));
    assert!(error.contains("error 10J: "), "{error}");
    let error = refused(&multiboot_kernel(1 << 16, 0x10_0020)[..30]);
    assert!(error.contains("error 10S: "), "{error}");
}

#[test]
fn what_the_loader_would_refuse_is_refused_in_its_words() {
    let workshop = Workshop::new();
    let refused = |bytes: &[u8]| refusal(&workshop.recipe(bytes));
    assert!(refused(b"#!/bin/sh").contains("error 10A: the kernel is not an ELF file"));
    let mut bytes = kernel(1000);
    bytes[18] = 3;
    assert!(refused(&bytes).contains("error 10C: the kernel is not for x86-64"));
    let writable = elf(0x40_0000, &[Load(0x40_0000, 7, &[0; 10], 0)]);
    assert!(refused(&writable).contains("error 10K"));
    assert!(refused(&kernel(9000)[..8000]).contains("error 10E"));
    assert_eq!(
        workshop.names(),
        ["kernel.elf", "stage1", "stage1-cd", "stage2"]
    );

    // But `unchecked` builds it, for those who want to see the loader refuse it.
    let recipe = Recipe {
        unchecked: true,
        ..workshop.recipe(b"#!/bin/sh")
    };
    let problems = build(&recipe).inspection.problems;
    assert_eq!(problems.len(), 1);
    assert!(problems[0].starts_with("error 10A"), "{problems:?}");
}

#[test]
fn what_is_missing_is_named() {
    let workshop = Workshop::new();
    let recipe = workshop.recipe(&kernel(1000));
    let missing = |change: fn(&mut Recipe)| {
        let mut recipe = recipe.clone();
        change(&mut recipe);
        refusal(&recipe)
    };
    assert!(missing(|r| r.kernel = "/no/such/kernel".into()).contains("/no/such/kernel"));
    let message = missing(|r| {
        r.modules = vec![Module {
            file: "/no/such/module".into(),
            string: String::new(),
        }];
    });
    assert!(message.contains("/no/such/module"), "{message}");
    assert!(missing(|r| r.stages.stage1 = "/no/stage1".into()).contains("/no/stage1"));
    assert!(missing(|r| r.stages.stage2 = "/no/stage2".into()).contains("/no/stage2"));
    assert!(missing(|r| r.output = "/no/such/directory/disk.img".into()).contains("disk.img"));
    assert!(missing(|r| r.output = "/dev/null".into()).contains("a character device"));
    assert!(missing(|r| r.kernel = "/".into()).contains("/ is a directory, not a file"));
}

#[test]
fn a_failure_leaves_the_old_image_alone() {
    let workshop = Workshop::new();
    let recipe = workshop.recipe(&kernel(1000));
    build(&recipe);
    let before = fs::read(&recipe.output).unwrap();
    let too_small = Recipe {
        size_mib: Some(3),
        ..workshop.recipe(&kernel(3 << 20))
    };
    let message = refusal(&too_small);
    assert_eq!(
        message,
        "an image of 3 MiB is too small: --size 5 is the least that the files fit into"
    );
    assert!(before == fs::read(&recipe.output).unwrap());
    assert_eq!(
        workshop.names(),
        ["disk.img", "kernel.elf", "stage1", "stage1-cd", "stage2"]
    );
    build(&Recipe {
        size_mib: Some(5),
        ..too_small
    });
}

#[cfg(unix)]
#[test]
fn a_symbolic_link_is_followed() {
    let workshop = Workshop::new();
    let target = workshop.file("target.img", b"");
    let link = workshop.path("disk.img");
    std::os::unix::fs::symlink(&target, &link).unwrap();
    build(&workshop.recipe(&kernel(1000)));
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert!(fs::metadata(&target).unwrap().len() > 1 << 20);
}

#[test]
fn words_that_the_configuration_cannot_hold_are_refused() {
    let workshop = Workshop::new();
    let recipe = workshop.recipe(&kernel(1000));
    for line in [
        "two\nlines",
        " blank in front",
        "nul\0",
        "behind\t",
        &"x".repeat(5000),
    ] {
        let message = refusal(&Recipe {
            command_line: line.into(),
            ..recipe.clone()
        });
        assert!(
            message.starts_with("this command line is not possible: "),
            "{message}"
        );
    }
    let module = |string: &str| Module {
        file: workshop.path("stage1"),
        string: string.into(),
    };
    let message = refusal(&Recipe {
        modules: vec![module("a\rb")],
        ..recipe.clone()
    });
    assert!(
        message.starts_with("the text of module stage1 is not possible"),
        "{message}"
    );

    let modules = vec![module("x"); 32];
    let many = build(&Recipe {
        modules: modules.clone(),
        ..recipe.clone()
    });
    assert_eq!(many.inspection.files.len(), 34);
    let modules = [modules, vec![module("")]].concat();
    let message = refusal(&Recipe {
        modules,
        ..recipe.clone()
    });
    assert_eq!(message, "33 modules are too many: at most 32 are possible");
    let modules = vec![module(&"x".repeat(4000)); 5];
    assert!(refusal(&Recipe { modules, ..recipe }).starts_with("error 9C"));
}
