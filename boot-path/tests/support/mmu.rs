//! A software MMU, written from the manual (SDM volume 3, section 4.5) with constants of its own:
//! what a CPU makes of page tables.

use boot_path::paging::page_tables::Capabilities;

/// What the MMU makes of one page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    pub virtual_start: u64,
    pub physical_start: u64,
    pub size: u64,
    pub writable: bool,
    pub executable: bool,
    pub global: bool,
    /// Whether it has entry 5 of the page attribute table; all other pages have entry 0.
    pub write_combining: bool,
}

/// All pages that a CPU would find, in the order of their addresses. `table` returns the 512
/// entries of the table at a physical address. Refuses whatever raises a reserved-bit fault, and
/// every bit that nobody asked for.
pub fn all_pages(table: &dyn Fn(u64) -> Vec<u64>, root: u64, cpu: Capabilities) -> Vec<Page> {
    let mut found = Vec::new();
    walk(table, root, cpu, 4, 0, (true, true), &mut found);
    found
}

fn walk(
    tables: &dyn Fn(u64) -> Vec<u64>,
    table: u64,
    cpu: Capabilities,
    level: u32,
    base: u64,
    (writable, executable): (bool, bool),
    found: &mut Vec<Page>,
) {
    let covers = 0x1000 << (9 * (level - 1));
    let entries = tables(table);
    assert_eq!(entries.len(), 512);
    for (index, entry) in entries.into_iter().enumerate() {
        if entry & 1 == 0 {
            assert_eq!(entry, 0);
            continue;
        }
        let mut address = base + index as u64 * covers;
        if level == 4 && index >= 256 {
            address |= 0xFFFF_0000_0000_0000;
        }
        let strange = entry & 0x7FF0_0000_0000_0E74;
        assert_eq!(strange, 0, "bits that were not asked for: {entry:x}");
        assert!(entry >> 63 == 0 || cpu.nx, "bit 63 is reserved without NX");
        let writable = writable && entry & 2 != 0;
        let executable = executable && entry >> 63 == 0;
        let target = entry & 0x000F_FFFF_FFFF_F000;
        let large = level > 1 && entry & 0x80 != 0;
        if level == 1 || large {
            assert!(
                level < 3 || level == 3 && cpu.gib_pages,
                "no such large page"
            );
            let (physical_start, write_combining) = leaf(entry, large);
            assert_eq!(physical_start % covers, 0, "reserved bits of a large page");
            found.push(Page {
                virtual_start: address,
                physical_start,
                size: covers,
                writable,
                executable,
                global: entry & 0x100 != 0,
                write_combining,
            });
        } else {
            assert_eq!(entry & 0x108, 0);
            walk(
                tables,
                target,
                cpu,
                level - 1,
                address,
                (writable, executable),
                found,
            );
        }
    }
}

/// Where the entry of a page leads, and whether it has entry 5 of the page attribute table.
fn leaf(entry: u64, large: bool) -> (u64, bool) {
    let target = entry & 0x000F_FFFF_FFFF_F000;
    let pat = if large { 0x1000 } else { 0x80 };
    let index = (entry & 8 != 0, entry & pat != 0);
    assert_eq!(index.0, index.1, "entry 1 or 4 of the PAT");
    (if large { target & !pat } else { target }, index.0)
}
