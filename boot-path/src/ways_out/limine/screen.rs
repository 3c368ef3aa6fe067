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

    /// Chooses a mode, and adds its framebuffer to the memory map, so that it is mapped.
    #[inline(never)]
    pub fn find<'m>(
        machine: impl Machine<'m>,
        adapter: &'a mut Adapter,
        memory: &mut MemoryMap,
    ) -> Option<Self> {
        graphics::ask(machine, adapter, memory);
        adapter.keep(suits);
        let mode = adapter.choose(&Self::WISH, &(PhysAddr::new(0)..EARLY_REACH))?;
        let pages = mode.start().align_down(PAGE_SIZE)..mode.end().align_up(PAGE_SIZE);
        memory.mark(pages.start, pages.end, MemoryKind::Framebuffer);
        Some(Self {
            adapter,
            mode,
            pages,
        })
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
    #[inline(never)]
    pub fn set<'m>(
        &mut self,
        machine: impl Machine<'m>,
        memory: &mut MemoryMap,
    ) -> Option<Framebuffer<'_>> {
        let Some(mode) = graphics::set(machine, self.adapter, &Self::WISH, &self.pages) else {
            memory.mark(self.pages.start, self.pages.end, MemoryKind::Reserved);
            return None;
        };
        self.mode = mode;
        Some(self.framebuffer())
    }
}
