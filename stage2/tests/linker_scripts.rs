//! The linker scripts in `targets/` repeat some numbers, because no script can take them from Rust:
//! this checks that they equal the constants.

use boot_path::memory::layout;
use disk_layout::{ParameterBlock, cd, mbr, multiboot, stage2 as stage2_image};

/// The script has these statements, exactly as written here.
fn has(script: &str, statements: &[String]) {
    for statement in statements {
        assert!(script.contains(statement), "no {statement:?}");
    }
}

#[test]
fn stage1() {
    let (start, parameters) = (mbr::LOAD_ADDRESS, mbr::PARAMETER_BLOCK_OFFSET);
    has(
        include_str!("../../targets/stage1.ld"),
        &[
            format!("    . = {start:#X};"),
            format!("ASSERT(SIZEOF(.boot) <= {parameters:#X},"),
            format!("    .parameters {start:#X} + {parameters:#X} :"),
            format!(
                "ASSERT(SIZEOF(.parameters) == {},",
                size_of::<ParameterBlock>()
            ),
        ],
    );
}

#[test]
fn stage1_of_a_cd() {
    let (start, parameters) = (mbr::LOAD_ADDRESS, cd::PARAMETERS_OFFSET);
    has(
        include_str!("../../targets/stage1-cd.ld"),
        &[
            format!("    . = {start:#X};"),
            format!("ASSERT(SIZEOF(.boot) <= {parameters:#X},"),
            format!("    .parameters {start:#X} + {parameters:#X} :"),
            format!(
                "ASSERT(SIZEOF(.parameters) == {},",
                size_of::<cd::Parameters>()
            ),
        ],
    );
}

#[test]
fn stage1_by_multiboot() {
    let start = multiboot::LOAD_ADDRESS;
    has(
        include_str!("../../targets/stage1-multiboot.ld"),
        &[
            format!("    . = {start:#X};"),
            // Behind the sector of the MBR, in front of stage2.
            format!("    .trampoline {:#X} : AT", layout::BIOS_BUFFER.start),
            format!("ASSERT(trampoline_bytes <= {},", layout::BIOS_BUFFER.size()),
            format!("ASSERT(. <= {:#X},", start as usize + multiboot::MAX_CODE),
            format!(
                "ASSERT(. == ADDR(.parameters) + {},",
                size_of::<multiboot::Parameters>()
            ),
        ],
    );
}

#[test]
fn stage2() {
    let start = stage2_image::LOAD_ADDRESS;
    has(
        include_str!("../../targets/stage2.ld"),
        &[
            format!("    . = {start:#X};"),
            format!(
                "ASSERT(. <= {:#X}, \"the switch page is one page\")",
                u64::from(start) + layout::PAGE_SIZE
            ),
            format!("ASSERT(ADDR(.leave) >= {:#X} + 4096,", mbr::LOAD_ADDRESS),
            format!(
                "    .parts image_start + {:#X} :",
                disk_layout::parts::TABLE_OFFSET
            ),
            format!(
                "ASSERT(one_piece || . <= {:#X}, \"stage2's first part",
                disk_layout::parts::START
            ),
            format!(
                "ASSERT(one_piece || . <= {:#X}, \"stage2's variables",
                layout::STAGE2.end
            ),
        ],
    );
    let parts = disk_layout::parts::Part::ALL.iter();
    let headers: Vec<String> = parts
        .map(|part| format!("    {:<10} PT_LOAD;", part.name()))
        .collect();
    has(
        include_str!("../../targets/stage2.ld"),
        &[headers.join("\n")],
    );
}
