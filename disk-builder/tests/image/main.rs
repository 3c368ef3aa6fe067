//! Images are checked by the loader's own reader and by other tools.

#[path = "../support/mod.rs"]
mod support;
mod stages;
mod checksums;
mod volume;
mod refused;

use std::fs;
use std::io::Cursor;

use disk_builder::image::{Module, Recipe};
use disk_layout::PARTITION_LBA;
use support::{Workshop, kernel, noise};

/// The partition of an image, for `fatfs`.
fn partition(recipe: &Recipe) -> Cursor<Vec<u8>> {
    let mut bytes = fs::read(&recipe.output).unwrap();
    Cursor::new(bytes.split_off(PARTITION_LBA as usize * 512))
}

fn with_everything(workshop: &Workshop) -> Recipe {
    let mut recipe = workshop.recipe(&kernel(300_000));
    recipe.command_line = "exit  verbose=1 ünïcode".into();
    let first = workshop.file("first module.bin", &noise(70_000));
    let second = workshop.file("empty", b"");
    recipe.modules = vec![
        Module {
            file: first.clone(),
            string: "the first = one".into(),
        },
        Module {
            file: second,
            string: String::new(),
        },
        Module {
            file: first,
            string: "again".into(),
        },
    ];
    recipe
}

/// CRC-32C, bit by bit.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| match crc & 1 {
            0 => crc >> 1,
            _ => crc >> 1 ^ 0x82F6_3B78,
        })
    })
}
