//! The screen of a kernel that wants a framebuffer.

use core::ops::Range;

use crate::bios::vbe::{Adapter, Mode, Wish};
use crate::machine::Machine;
use crate::memory::address::PhysAddr;
use crate::memory::layout::{EARLY_REACH, PAGE_SIZE};
use crate::memory::map::{MemoryKind, MemoryMap};
use crate::ways_out::graphics;
use crate::ways_out::limine::{Framebuffer, suits};

/// The screen of a kernel that wants a framebuffer.
pub struct Screen<'a> {
    adapter: &'a mut Adapter,
    /// The mode that is likely to be set.
    mode: Mode,
    /// The pages of its framebuffer.
    pages: Range<PhysAddr>,
}

impl<'a> Screen<'a> {
    /// The protocol leaves the mode to the loader.
    const WISH: Wish = Wish {
        width: 0,
        height: 0,
        depth: 0,
    };

    /// Chooses a mode, and adds its framebuffer to the memory map, so that it is mapped. `None`: there
    /// is none.
    ///
    /// # Errors
    /// 7E, 7F.
    #[inline(never)]
    pub fn find<'m, M: Machine<'m>>(
        machine: M,
        adapter: &'a mut Adapter,
        memory: &mut MemoryMap,
    ) -> Result<Option<Self>, M::Failure> {
        graphics::ask(machine, adapter, memory)?;
        let within = PhysAddr::new(0)..EARLY_REACH;
        let mode = graphics::choose(machine, adapter, suits, &Self::WISH, &within)?;
        let Some(mode) = mode else {
            return Ok(None);
        };
        let pages = mode.start().align_down(PAGE_SIZE)..mode.end().align_up(PAGE_SIZE);
        memory.mark(pages.start, pages.end, MemoryKind::Framebuffer);
        Ok(Some(Self {
            adapter,
            mode,
            pages,
        }))
    }

    /// The facts for the kernel.
    pub fn framebuffer(&self) -> Framebuffer<'_> {
        Framebuffer {
            mode: self.mode,
            modes: self.adapter.modes(),
            edid: self.adapter.edid(),
        }
    }

    /// Sets the mode, or another one whose framebuffer is mapped. `None`: no mode could be set.
    ///
    /// # Errors
    /// 7E, 7F.
    #[inline(never)]
    pub fn set<'m, M: Machine<'m>>(
        &mut self,
        machine: M,
        memory: &mut MemoryMap,
    ) -> Result<Option<Framebuffer<'_>>, M::Failure> {
        let Some(mode) = graphics::set(machine, self.adapter, &Self::WISH, &self.pages)? else {
            memory.mark(self.pages.start, self.pages.end, MemoryKind::Reserved);
            return Ok(None);
        };
        self.mode = mode;
        Ok(Some(self.framebuffer()))
    }
}
