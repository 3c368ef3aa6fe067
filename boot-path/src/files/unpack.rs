//! Step 10, its beginning: unpacks files that were compressed by gzip.
//!
//! **On entry**: a file is known, memory can be allocated. **This step**: looks at its first bytes.
//! Reads a compressed file whole, compares its checksum and unpacks it, as high in memory as
//! possible: many kernels must be loaded low. **On exit**: the file, or the unpacked one, which is
//! in memory.

use core::mem::MaybeUninit;

use disk_layout::parts::Part;

use crate::disk::stream::Range;
use crate::files::access::{File, Files, Plan};
use crate::files::error::FileMachine;
use crate::files::gzip::{self, Decompressor, GzipError};
use crate::files::integrity::{Role, Sums};
use crate::machine::Machine;
use crate::memory::map::MemoryMap;
use crate::memory::ram::Block;
use crate::position::FileOffset;
use crate::say;

impl<'m, M: FileMachine<'m>> Files<'m, M> {
    /// The file itself, or, if it is compressed, the unpacked one.
    ///
    /// # Errors
    /// 8C, 8B, 7A, 10Q or 10R.
    pub fn unpack(
        &mut self,
        role: Role,
        path: &'m str,
        file: File<'m>,
        memory: &mut MemoryMap,
    ) -> Result<File<'m>, M::Failure> {
        let mut head = [0; gzip::MAGIC.len()];
        self.read(&file, None, &mut head)?;
        if !gzip::is_gzip(&head) {
            return Ok(file);
        }
        let unpack = unpack as fn(_, _, _, _, _) -> _;
        self.machine.of_part(Part::Gzip, unpack)?(self, role, path, file, memory)
    }

    /// Unpacks to newly allocated memory, which stays allocated.
    fn unpack_bytes(
        &mut self,
        packed: &[u8],
        memory: &mut MemoryMap,
    ) -> Result<File<'m>, GzipError> {
        let machine = self.machine;
        let likely = gzip::likely_length(packed)?;
        let out = match self.unpack_to(likely, packed, memory)? {
            // It has several members, or zeros behind them, or is damaged.
            None => {
                let size = self.measure(packed, memory)?;
                self.unpack_to(size, packed, memory)?
            }
            out => out,
        };
        // It was measured, so it fits unless memory is faulty.
        let out = out.ok_or(GzipError::Data { unpacked: 0 })?;
        let kib = |bytes: u64| bytes.div_ceil(1024);
        say!(
            machine, "10 gzip     # KiB unpacked from #";
            kib(out.len() as u64), kib(packed.len() as u64)
        );
        Ok(File::in_memory(out.keep()))
    }

    /// Unpacks to newly allocated memory, if there are exactly so many bytes.
    fn unpack_to(
        &mut self,
        size: u64,
        packed: &[u8],
        memory: &mut MemoryMap,
    ) -> Result<Option<Block<'m>>, GzipError> {
        let machine = self.machine;
        let mut out = room(machine, size, memory)?;
        let state = new_state(self.decompressor);
        let steps = (M::STEP, |bytes: &mut [u8]| machine.written(bytes));
        let crc32 = |crc, bytes: &[u8]| machine.crc32_of_block(crc, bytes);
        let unpacked = gzip::unpack(packed, &mut out, state, crc32, steps);
        if let Ok(true) = unpacked {
            return Ok(Some(out));
        }
        machine.free(out, memory);
        unpacked.map(|_| None)
    }

    /// The length of the unpacked data, which is unpacked for that and thrown away: its end does
    /// not say it.
    #[inline(never)]
    fn measure(&mut self, packed: &[u8], memory: &mut MemoryMap) -> Result<u64, GzipError> {
        let machine = self.machine;
        let needed = gzip::ROOM as u64;
        let mut pieces = room(machine, needed, memory)?;
        let room = pieces.first_chunk_mut().ok_or(GzipError::Room { needed });
        let state = new_state(self.decompressor);
        let crc32 = |crc, bytes: &[u8]| machine.crc32_of_block(crc, bytes);
        let length = room.and_then(|room| gzip::unpack_pieces(packed, room, state, crc32, |_| {}));
        machine.free(pieces, memory);
        length
    }
}

/// Unpacks a compressed file.
///
/// # Errors
/// 8C, 8B, 7A, 10Q or 10R.
#[inline(never)]
fn unpack<'m, M: FileMachine<'m>>(
    files: &mut Files<'m, M>,
    role: Role,
    path: &'m str,
    file: File<'m>,
    memory: &mut MemoryMap,
) -> Result<File<'m>, M::Failure> {
    if let Some(bytes) = file.bytes() {
        return Ok(files.unpack_bytes(bytes, memory)?);
    }
    let machine = files.machine;
    let expected = files.expected(role, Sums::Whole, path, &file)?;
    let mut packed = room(machine, file.size, memory)?;
    let plan = Plan {
        ranges: &[Range {
            file_offset: FileOffset::ZERO,
            length: file.size,
            destination: packed.start(),
        }],
        checked: &|blocks, sum| blocks.iter().for_each(|block| sum(block)),
    };
    let blocks = core::slice::from_mut(&mut packed);
    let unpacked = match files.load(&file, expected, &plan, blocks) {
        Ok(()) => files
            .unpack_bytes(&packed, memory)
            .map_err(M::Failure::from),
        Err(error) => Err(error),
    };
    machine.free(packed, memory);
    unpacked
}

/// The initial state of a decompression. Only this function has the original, which is copied, on
/// its stack.
#[inline(never)]
fn new_state(room: &mut MaybeUninit<Decompressor>) -> &mut Decompressor {
    room.write(Decompressor::new())
}

/// Memory, as high as possible. Running out of memory is blamed on the file: it may claim any
/// length.
fn room<'m>(
    machine: impl Machine<'m>,
    needed: u64,
    memory: &mut MemoryMap,
) -> Result<Block<'m>, GzipError> {
    let room = machine.high(needed, memory);
    room.map_err(|_| GzipError::Room { needed })
}
