//! The processors of a Limine kernel: their list, their stacks, how each is prepared, and how those
//! other than the first one are started.

use zerocopy::FromBytes as _;

use crate::bios::acpi::{self, MadtEntry};
use crate::bios::time::Patience;
use crate::devices::Mapped;
use crate::devices::cpu::Cpu;
use crate::devices::local_apic::{self, COMMAND_INIT, COMMAND_START, LocalApic};
use crate::devices::memory_types::{self, Mtrrs};
use crate::devices::port::Ports;
use crate::devices::timer;
use crate::kernel::loading::Loaded;
use crate::memory::address::PhysAddr;
use crate::memory::layout::PAGE_SIZE;
use crate::memory::map::MemoryMap;
use crate::ways_out::handover::LimineStart;
use crate::ways_out::limine::memory::{allocate_stack, reclaimable};
use crate::ways_out::limine::platform::{Common, Info, Platform};
use crate::ways_out::limine::{Feature, LimineError, Requests, in_hhdm};

/// The processors that run.
pub struct Started<'m> {
    /// Are they in x2APIC mode?
    pub x2apic: bool,
    /// Address of the structure of each, as the kernel sees it.
    pub list: &'m [u64],
}

/// The highest APIC ID that can be addressed without x2APIC.
const MAX_APIC_ID: u32 = 254;

/// Prepares this processor, and starts the others, if the kernel asks for them. Also returns the
/// UID of this one.
///
/// # Errors
/// 10Z, 6B.
pub fn start<'m, M: Platform<'m>>(
    machine: M,
    requests: &Requests,
    loaded: &Loaded<'m>,
    start: &LimineStart,
    stack_size: u64,
    memory: &mut MemoryMap,
) -> Result<(u32, Option<Started<'m>>), M::Failure> {
    let firmware = |start, length| machine.firmware(PhysAddr::new(start), length);
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

    // Each processor once, and this one even if the MADT lacks it.
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
            info.stack = allocate_stack(machine, stack_size, memory)?.as_u64();
        }
        count += 1;
    }
    let infos = infos.get_mut(..count).unwrap_or_default();
    machine.start_processors(infos);

    let list = reclaimable(machine, (most * size_of::<u64>()) as u64, memory)?;
    let list = <[u64]>::mut_from_bytes(list.keep()).unwrap_or_default();
    let list = running(infos, in_hhdm(first).as_u64(), own, list);
    Ok((uid, Some(Started { x2apic, list })))
}

/// Lists the addresses of the structures of running processors. The first structure is at `first`.
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

/// Microseconds from INIT to the first start-up command, and from that to the second one.
const INIT_WAIT: u64 = 10_000;
const SECOND_WAIT: u64 = 200;

/// The state that all processors share.
#[derive(Clone, Copy, Debug)]
pub struct Shared<'m> {
    common: Common<'m>,
    mtrrs: Mtrrs,
}

impl<'m> Shared<'m> {
    /// Takes the state of the processor that boots.
    pub fn new(cpu: impl Cpu, common: Common<'m>) -> Self {
        let mtrrs = Mtrrs::of(cpu);
        Self { common, mtrrs }
    }

    /// Prepares the processor that boots.
    ///
    /// # Errors
    /// 10Z when its APIC does not leave x2APIC mode.
    pub fn prepare_first(&self, cpu: impl Cpu) -> Result<(), LimineError> {
        self.prepare(cpu);
        if self.common.x2apic == Some(false) && local_apic::is_x2apic(cpu) {
            return Err(LimineError::X2Apic);
        }
        Ok(())
    }

    /// Prepares another processor, which calls this as soon as it has a stack.
    pub fn prepare_other<M: Cpu + Mapped>(&self, machine: M, uid: u32) {
        self.mtrrs.set(machine);
        self.prepare(machine);
        self.quieten(machine, uid);
    }

    fn prepare(&self, cpu: impl Cpu) {
        memory_types::set_pat(cpu);
        if let Some(x2apic) = self.common.x2apic {
            local_apic::set_mode(cpu, x2apic);
        }
    }

    /// Gives the local APIC of the calling processor, which has this UID, the state that base
    /// revision 5 promises, if that applies. From then on, no interrupt reaches the BIOS.
    pub fn quieten<M: Cpu + Mapped>(&self, machine: M, uid: u32) {
        if self.common.quiet_apic {
            LocalApic::quieten(machine, self.common.madt, uid);
        }
    }
}

/// Starts all processors of `infos` that have a stack, at the start of a page below 1 MiB (physical
/// address). The stack of a processor that does not start is set to 0. `waits`: has this processor
/// started, and does it wait?
pub fn start_others<M: Cpu + Mapped + Ports>(
    machine: M,
    page: u64,
    infos: &mut [Info],
    waits: impl Fn(&Info) -> bool,
) {
    let Some(apic) = LocalApic::find(machine) else {
        for info in infos {
            info.stack = 0;
        }
        return;
    };
    let start = COMMAND_START | (page / PAGE_SIZE) as u32;
    for info in infos.iter().filter(|info| info.stack != 0) {
        apic.send(info.apic_id, COMMAND_INIT);
    }
    timer::wait(machine, INIT_WAIT, None);
    let mut patience = Patience::default();
    for info in infos.iter_mut().filter(|info| info.stack != 0) {
        for wait in [SECOND_WAIT, patience.microseconds()] {
            if !waits(info) {
                apic.send(info.apic_id, start);
                timer::wait(machine, wait, Some(&|| waits(info)));
            }
        }
        if waits(info) {
            info.extra = 0;
        } else {
            patience.was_in_vain();
            // Stop it, in case it starts later.
            apic.send(info.apic_id, COMMAND_INIT);
            info.stack = 0;
        }
    }
}
