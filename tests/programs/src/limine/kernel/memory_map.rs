//! The memory map.

use limine::memory_map::EntryType;

use crate::memory::{FRAMEBUFFER_KIND, RESERVED_MAPPED, at, memory_kind, number, reclaimable};
use crate::outcome::check;
use crate::report::say;
use crate::requests::{FRAMEBUFFER, MEMORY_MAP, revision};

pub fn check_memory_map() {
    let Some(map) = MEMORY_MAP.get_response() else {
        return check("memory map", false);
    };
    let entries = map.entries();
    check("memory map", !entries.is_empty() && reclaimable(at(map)));
    for entry in entries {
        say!(
            "  {:#014x} {:#014x} {}",
            entry.base,
            entry.base + entry.length,
            number(entry.entry_type)
        );
    }
    let mut end = 0;
    let mut sorted = true;
    let mut aligned = true;
    let mut kinds = true;
    for entry in entries {
        sorted &= entry.base >= end && entry.length > 0;
        end = entry.base + entry.length;
        aligned &= (entry.base | entry.length) & 0xFFF == 0;
        let kind = number(entry.entry_type);
        kinds &= kind <= 6
            || kind == FRAMEBUFFER_KIND && FRAMEBUFFER.get_response().is_some()
            || kind == RESERVED_MAPPED && revision() >= 4;
        sorted &= reclaimable(at(*entry));
    }
    check("memory map is sorted", sorted);
    check("memory map is aligned", aligned);
    check("memory map's kinds", kinds);
    check(
        "page 0 is not usable",
        memory_kind(0) != Some(EntryType::USABLE),
    );
    let usable = entries
        .iter()
        .filter(|entry| entry.entry_type == EntryType::USABLE);
    check(
        "there is memory",
        usable.map(|entry| entry.length).sum::<u64>() > 16 << 20,
    );
}
