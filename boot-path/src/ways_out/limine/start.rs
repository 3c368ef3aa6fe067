//! How processors are prepared for a kernel, and how others than the first one are started.

use crate::bios::time::Patience;
use crate::devices::Mapped;
use crate::devices::cpu::Cpu;
use crate::devices::local_apic::{self, COMMAND_INIT, COMMAND_START, LocalApic};
use crate::devices::memory_types::{self, Mtrrs};
use crate::devices::port::Ports;
use crate::devices::timer;
use crate::memory::layout::PAGE_SIZE;
use crate::ways_out::limine::platform::{Common, Info};
use crate::ways_out::limine::requests::LimineError;

/// Microseconds from INIT to the first start-up command, and from that to the second one.
const INIT_WAIT: u64 = 10_000;
const SECOND_WAIT: u64 = 200;

/// What all processors are to have.
#[derive(Clone, Copy, Debug)]
pub struct Shared<'m> {
    common: Common<'m>,
    mtrrs: Mtrrs,
}

impl<'m> Shared<'m> {
    /// As the processor that boots has it.
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

    /// What another processor does as soon as it has a stack.
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

    /// Gives the local APIC of the processor that runs this, which has this UID, the state that base
    /// revision 5 promises, if it is to have it. No interrupt reaches the BIOS any more.
    pub fn quieten<M: Cpu + Mapped>(&self, machine: M, uid: u32) {
        if self.common.quiet_apic {
            LocalApic::quieten(machine, self.common.madt, uid);
        }
    }
}

/// Starts all processors of `infos` that have a stack, at the start of a page below 1 MiB (physical
/// address). Those that do not come get no stack any more. `waits`: has that one come, and waits?
pub fn start<M: Cpu + Mapped + Ports>(
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
            // It may come later: to be stopped.
            apic.send(info.apic_id, COMMAND_INIT);
            info.stack = 0;
        }
    }
}
