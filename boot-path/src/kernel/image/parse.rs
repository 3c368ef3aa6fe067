//! From the program headers to a checked image.

use alloc::vec::Vec;
use core::mem;

use elf::abi;
use zerocopy::FromBytes as _;

use crate::errors::text::rows;
use crate::kernel::image::headers::{PROGRAM_HEADER_BYTES, ProgramHeader, file_header};
use crate::kernel::image::{
    AddressRange, KernelError, KernelImage, LAST_PAGE, LOWER_HALF_END, PREFERRED_BASE, Segment,
    Table, Tls, UPPER_HALF, segment_at,
};
use crate::memory::address::VirtAddr;
use crate::memory::layout::PAGE_SIZE;
use crate::memory::list;

impl KernelImage {
    /// Reads and checks the headers. `table` has the bytes that
    /// [`program_headers`](super::program_headers) located.
    ///
    /// [`Self::check`] checks what depends on the kernel's wishes,
    /// [`relocate`](crate::kernel::relocate::relocate) what depends on its bytes.
    ///
    /// # Errors
    /// 10A to 10P.
    pub fn parse(header: &[u8], table: &[u8], file_size: u64) -> Result<Self, KernelError> {
        let mut image = Self::empty();
        image.begin(header, file_size)?;
        image.segments = list::with_room(table.len() / PROGRAM_HEADER_BYTES);
        for (number, bytes) in (0..).zip(rows(table, PROGRAM_HEADER_BYTES)) {
            image.add(bytes, number, file_size)?;
        }
        image.check_addresses()?;
        Ok(image)
    }

    /// An empty image, to be filled.
    pub(super) const fn empty() -> Self {
        Self {
            position_independent: false,
            entry: VirtAddr::new(0),
            segments: Vec::new(),
            tls: None,
            relro: None,
            dynamic: None,
        }
    }

    /// Takes what the file header says.
    pub(super) fn begin(&mut self, header: &[u8], file_size: u64) -> Result<(), KernelError> {
        let header = file_header(header, file_size)?;
        self.position_independent = header.kind.get() == abi::ET_DYN;
        self.entry = VirtAddr::new(header.entry.get());
        Ok(())
    }

    /// Takes what a program header says.
    pub(super) fn add(
        &mut self,
        bytes: &[u8],
        number: u16,
        file_size: u64,
    ) -> Result<(), KernelError> {
        let Ok((h, _)) = ProgramHeader::ref_from_prefix(bytes) else {
            return Ok(());
        };
        let kind = h.kind.get();
        let range = AddressRange {
            start: VirtAddr::new(h.virtual_address.get()),
            size: h.memory_size.get(),
        };
        match kind {
            abi::PT_LOAD => {
                if range.size == 0 && h.file_size.get() == 0 {
                    return Ok(());
                }
                self.insert(Segment::new(h, number, file_size)?);
                return Ok(());
            }
            // PT_INTERP is no reason to refuse: linkers write it for every PIE that is linked like a
            // program. DT_NEEDED and the relocations say what a kernel really needs.
            abi::PT_TLS | abi::PT_DYNAMIC | abi::PT_GNU_RELRO if range.size > 0 => {}
            _ => return Ok(()),
        }

        let replaced = match kind {
            abi::PT_TLS => self.tls.replace(Self::tls_of(h, number)?).is_some(),
            abi::PT_DYNAMIC => {
                let size = h.file_size.get();
                self.dynamic
                    .replace(AddressRange { size, ..range })
                    .is_some()
            }
            _ => {
                if range.start.checked_add(range.size).is_none() {
                    let AddressRange {
                        start: address,
                        size,
                    } = range;
                    return Err(KernelError::Wraps {
                        segment: number,
                        address,
                        size,
                    });
                }
                self.relro.replace(range).is_some()
            }
        };
        if replaced {
            Err(KernelError::Duplicate {
                segment: number,
                kind,
            })
        } else {
            Ok(())
        }
    }

    /// Keeps the segments sorted by address.
    fn insert(&mut self, segment: Segment) {
        list::put(&mut self.segments, segment);
        let mut unsorted = self.segments.as_mut_slice();
        while let [front @ .., last] = unsorted
            && let Some(before) = front.last_mut()
            && before.virtual_start > last.virtual_start
        {
            mem::swap(before, last);
            unsorted = front;
        }
    }

    fn tls_of(h: &ProgramHeader, number: u16) -> Result<Tls, KernelError> {
        let tls = Tls {
            virtual_start: VirtAddr::new(h.virtual_address.get()),
            file_size: h.file_size.get(),
            memory_size: h.memory_size.get(),
            alignment: h.alignment.get().max(1),
        };
        if tls.file_size > tls.memory_size {
            return Err(KernelError::Sizes {
                segment: number,
                file_size: tls.file_size,
                memory_size: tls.memory_size,
            });
        }
        if !tls.alignment.is_power_of_two() {
            return Err(KernelError::Alignment {
                segment: number,
                alignment: tls.alignment,
                virtual_address: tls.virtual_start,
                offset: h.offset.get(),
            });
        }
        Ok(tls)
    }

    /// Checks the segments' addresses against each other, the address space and the other headers.
    pub(super) fn check_addresses(&self) -> Result<(), KernelError> {
        let segments = self.segments();
        let (Some(_), Some(last)) = (segments.first(), segments.last()) else {
            return Err(KernelError::NoLoad);
        };
        for [before, behind] in segments.array_windows() {
            if behind.virtual_start < before.virtual_end() {
                return Err(KernelError::Overlap {
                    first: before.number,
                    second: behind.number,
                    address: behind.virtual_start.as_u64(),
                });
            }
        }
        if self.position_independent {
            let end = last.page_end() - self.slide_origin();
            if end > LAST_PAGE - PREFERRED_BASE {
                return Err(last.wraps());
            }
        } else {
            for segment in segments {
                if segment.virtual_start.as_u64() < PAGE_SIZE {
                    return Err(KernelError::PageZero {
                        segment: segment.number,
                        address: segment.virtual_start,
                    });
                }
                let (start, end) = (segment.virtual_start, segment.virtual_end());
                if end > LOWER_HALF_END && start < UPPER_HALF {
                    return Err(segment.wraps());
                }
            }
        }
        let entered = segment_at(segments, self.entry);
        if !entered.is_some_and(|(_, s)| s.executable() && s.contains(self.entry)) {
            return Err(KernelError::Entry {
                entry: self.entry.as_u64(),
            });
        }
        if let Some(Tls {
            virtual_start: address,
            file_size: size,
            ..
        }) = self.tls
            && size > 0
            && !segments.iter().any(|s| {
                s.contains(address) && size <= s.memory_size - address.wrapping_sub(s.virtual_start)
            })
        {
            return Err(KernelError::NotLoaded {
                kind: Table::Tls,
                address,
                size,
            });
        }
        Ok(())
    }
}
