//! The files of a Limine kernel: its own, if it asks for it, and its modules.

use arrayvec::ArrayVec;

use crate::disk::stream::Range;
use crate::entry::choose::BootEntry;
use crate::errors::text::{copy, utf8};
use crate::files::access::{File as FoundFile, Files, Plan};
use crate::files::integrity::{Role, Sums};
use crate::kernel::loading::{Loaded, load_module_as_it_is};
use crate::memory::address::VirtAddr;
use crate::memory::map::MemoryMap;
use crate::position::FileOffset;
use crate::ways_out::failure::OutMachine;
use crate::ways_out::limine::memory::reclaimable;
use crate::ways_out::limine::{
    Feature, File, InternalModules, LimineError, MAX_FILES, Requests, Text,
};

/// The modules.
pub type Modules<'m> = ArrayVec<File<'m>, MAX_FILES>;

/// Reads the kernel's whole file, if it is requested.
pub fn load_executable<'m, M: OutMachine<'m>>(
    files: &mut Files<'m, M>,
    entry: &BootEntry<'m>,
    requests: &Requests,
    command_line: VirtAddr,
    memory: &mut MemoryMap,
) -> Result<Option<File<'m>>, M::Failure> {
    if !requests.has(Feature::ExecutableFile) {
        return Ok(None);
    }
    let size = entry.kernel.size;
    let mut block = reclaimable(files.machine(), size, memory)?;
    let plan = Plan {
        ranges: &[Range {
            file_offset: FileOffset::ZERO,
            length: size,
            destination: block.start(),
        }],
        checked: &|blocks, sum| blocks.iter().for_each(|block| sum(block)),
    };
    let expected = files.expected(Role::Kernel, Sums::Whole, entry.path, &entry.kernel)?;
    files.load(
        &entry.kernel,
        expected,
        &plan,
        core::slice::from_mut(&mut block),
    )?;
    Ok(Some(File {
        start: block.start(),
        size,
        path: entry.path,
        string: Text::At(command_line),
    }))
}

/// Loads the modules: first those that the kernel asks for, then those of the entry.
pub fn load_modules<'m, M: OutMachine<'m>>(
    files: &mut Files<'m, M>,
    entry: &BootEntry<'m>,
    loaded: &Loaded<'m>,
    requests: &Requests,
    memory: &mut MemoryMap,
    modules: &mut Modules<'m>,
) -> Result<(), M::Failure> {
    // Paths are relative to the directory of the kernel.
    let directory = entry.path.bytes().rposition(|byte| byte == b'/');
    let directory = directory.map_or(0, |slash| slash + 1);
    let directory = entry.path.get(..directory).unwrap_or_default();
    let slide = loaded.kernel.slide;
    let mut internal = InternalModules::new();
    requests.internal_modules(loaded.kernel.image, loaded, slide, &mut internal)?;
    for (index, module) in (0..).zip(&internal) {
        let slashes = module.path.bytes().take_while(|&byte| byte == b'/').count();
        let path = module.path.get(slashes..).unwrap_or_default();
        // The path and the string get memory of their own: error messages and responses refer to
        // them later.
        let length = directory.len() + path.len();
        let size = (length + module.string.len()) as u64;
        let room = reclaimable(files.machine(), size, memory)?.keep();
        let mut used = 0;
        for part in [directory.as_bytes(), path.as_bytes(), module.string] {
            used += copy(part, room.get_mut(used..).unwrap_or_default());
        }
        let room: &'m [u8] = room;
        let (path, string) = room.split_at_checked(length).unwrap_or_default();
        let (path, true) = utf8(path) else {
            return Err(LimineError::Module { index }.into());
        };
        let file = match module.required {
            true => Some(files.find(Role::Module, path)?),
            false => files.find_if_there(Role::Module, path)?,
        };
        if let Some(file) = file {
            load(files, path, string, &file, memory, modules)?;
        }
    }
    for module in entry.text.modules() {
        let file = files.find(Role::Module, module.path)?;
        let string = module.string.as_bytes();
        load(files, module.path, string, &file, memory, modules)?;
    }
    Ok(())
}

/// Loads one module unchanged: the kernel unpacks compressed ones itself.
fn load<'m, M: OutMachine<'m>>(
    files: &mut Files<'m, M>,
    path: &'m str,
    string: &'m [u8],
    file: &FoundFile<'m>,
    memory: &mut MemoryMap,
    modules: &mut Modules<'m>,
) -> Result<(), M::Failure> {
    let module = load_module_as_it_is(files, path, file, memory)?;
    // There is room for as many as a kernel and an entry can name.
    let _ = modules.try_push(File {
        start: module.start,
        size: module.length,
        path,
        string: Text::Bytes(string),
    });
    Ok(())
}
