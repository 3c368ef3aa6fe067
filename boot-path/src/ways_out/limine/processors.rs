//! The processors of a Limine kernel: which there are, and their stacks.

use zerocopy::FromBytes as _;

use crate::bios::acpi::{self, MadtEntry};
use crate::kernel::loading::Loaded;
use crate::memory::map::MemoryMap;
use crate::ways_out::limine::boot::{allocate_stack, reclaimable};
use crate::ways_out::limine::platform::{Common, Info, Platform, Start};
use crate::ways_out::limine::{Feature, HHDM, Requests};

/// The processors that run.
pub struct Started<'m> {
    /// Whether they are in x2APIC mode.
    pub x2apic: bool,
    /// Address of the structure of each, as the kernel sees it.
    pub list: &'m [u64],
}

/// The highest APIC ID that one can be sent to without x2APIC.
const MAX_APIC_ID: u32 = 254;

/// Prepares this processor, and starts the others, if the kernel asks for them. Returns the UID of this
/// one, too.
///
/// # Errors
/// 10Z, 6B.
pub fn start<'m, M: Platform<'m>>(
    machine: M,
    requests: &Requests,
    loaded: &Loaded<'m>,
    start: &Start,
    stack_size: u64,
    memory: &mut MemoryMap,
) -> Result<(u32, Option<Started<'m>>), M::Failure> {
    let firmware = |start, length| machine.firmware(start, length);
    let madt = acpi::find(start.rsdp, &firmware, b"APIC").unwrap_or(&[]);
    let own = machine.apic_id();
    let uid = all(madt).find(|&(_, apic_id)| apic_id == own);
    let uid = uid.map_or(0, |(uid, _)| uid);
    let asked = requests.has(Feature::Processors);
    let flags = requests.argument(&loaded.kernel.image, loaded, Feature::Processors, 0);
    let x2apic = flags & 1 != 0 && start.cpu_features & handoff::CPU_X2APIC != 0;
    machine.prepare_first(Common {
        madt,
        x2apic: asked.then_some(x2apic),
        quiet_apic: start.quiet,
    })?;
    if !asked {
        return Ok((uid, None));
    }

    // Each once, and this one in any case.
    let most = all(madt).count() + 1;
    let mut block = reclaimable(machine, (most * size_of::<Info>()) as u64, memory)?;
    block.fill(0);
    let first = block.start();
    // Whole structures, at the start of a page.
    let infos = <[Info]>::mut_from_bytes(block.keep()).unwrap_or_default();
    let mut count = 0;
    for (uid, apic_id) in all(madt).chain([(uid, own)]) {
        let known = infos.iter().take(count).any(|info| info.apic_id == apic_id);
        let reached = x2apic || apic_id <= MAX_APIC_ID || apic_id == own;
        let Some(info) = infos.get_mut(count).filter(|_| !known && reached) else {
            continue;
        };
        info.uid = uid;
        info.apic_id = apic_id;
        if apic_id != own {
            info.stack = allocate_stack(machine, stack_size, memory)?;
        }
        count += 1;
    }
    let infos = infos.get_mut(..count).unwrap_or_default();
    machine.start_processors(infos);

    let list = reclaimable(machine, (most * size_of::<u64>()) as u64, memory)?;
    let list = <[u64]>::mut_from_bytes(list.keep()).unwrap_or_default();
    let list = running(infos, HHDM + first, own, list);
    Ok((uid, Some(Started { x2apic, list })))
}

/// Lists the addresses of the structures of those that run. The first structure is at `first`.
fn running<'l>(infos: &[Info], first: u64, own: u32, list: &'l mut [u64]) -> &'l [u64] {
    let mut length = 0;
    for (address, info) in (first..).step_by(size_of::<Info>()).zip(infos) {
        let runs = info.stack != 0 || info.apic_id == own;
        if let Some(place) = list.get_mut(length).filter(|_| runs) {
            *place = address;
            length += 1;
        }
    }
    list.get(..length).unwrap_or_default()
}

/// UID and APIC ID of each processor.
fn all(madt: &[u8]) -> impl Iterator<Item = (u32, u32)> {
    acpi::madt(madt).filter_map(|entry| match entry {
        MadtEntry::Processor { uid, apic_id } => Some((uid, apic_id)),
        _ => None,
    })
}
