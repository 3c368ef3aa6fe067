//! The files of a Limine kernel: its own, if it asks for it, and its modules.

use arrayvec::ArrayVec;

use crate::disk::stream::Range;
use crate::entry::choose::BootEntry;
use crate::errors::text::{copy, split_before, utf8};
use crate::files::access::{File as FoundFile, Files, Plan};
use crate::files::gzip::GzipError;
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
    let slide = loaded.kernel.slide;
    let mut internal = InternalModules::new();
    requests.internal_modules(&loaded.kernel.image, loaded, slide, &mut internal)?;
    for (index, module) in (0..).zip(&internal) {
        // The path and the string get memory of their own: error messages and responses refer to
        // them later.
        let length = resolved_length(entry.path, module.path);
        let size = (length + module.string.len()) as u64;
        let room = reclaimable(files.machine(), size, memory)?.keep();
        let (path, string) = room.split_at_mut_checked(length).unwrap_or_default();
        copy(module.string, string);
        let (path, true) = resolve(entry.path, module.path, path) else {
            return Err(LimineError::Module { index }.into());
        };
        let file = match module.required {
            true => Some(files.find(Role::Module, path)?),
            false => files.find_if_there(Role::Module, path)?,
        };
        let Some(mut file) = file else {
            continue;
        };
        if module.compressed {
            let unpacked = files.unpack(Role::Module, path, file, memory)?;
            if unpacked == file {
                return Err(GzipError::Header.into());
            }
            file = unpacked;
        }
        load(files, path, string, &file, memory, modules)?;
    }
    for module in entry.text.modules() {
        let file = files.find(Role::Module, module.path)?;
        let string = module.string.as_bytes();
        load(files, module.path, string, &file, memory, modules)?;
    }
    Ok(())
}

/// The most bytes of a [resolved](resolve) path.
fn resolved_length(kernel: &str, path: &str) -> usize {
    kernel.len() + path.len() + 2 * "/".len()
}

/// Where a path leads that a kernel names: from the directory of the kernel, or from the root if it
/// begins with a slash. `.` and `..` are resolved; what would lie above the root lies in it. There is
/// room for `resolved_length` bytes. Also returns whether it is UTF-8.
pub fn resolve<'m>(kernel: &str, path: &str, room: &'m mut [u8]) -> (&'m str, bool) {
    let directory = kernel.bytes().rposition(is_separator);
    let directory = match path.bytes().next().is_some_and(is_separator) {
        true => "",
        false => kernel.get(..directory.unwrap_or(0)).unwrap_or_default(),
    };
    let mut length = 0;
    for mut rest in [directory, path] {
        while !rest.is_empty() {
            let (name, behind) = split_before(rest, is_separator);
            rest = behind.get(1..).unwrap_or_default();
            match name {
                "" | "." => {}
                ".." => {
                    let kept = room.get(..length).unwrap_or_default();
                    length = kept.iter().rposition(|&byte| byte == b'/').unwrap_or(0);
                }
                name => {
                    for part in ["/", name] {
                        let room = room.get_mut(length..).unwrap_or_default();
                        length += copy(part.as_bytes(), room);
                    }
                }
            }
        }
    }
    if length == 0 {
        length = copy(b"/", room);
    }
    utf8(room.get(..length).unwrap_or_default())
}

/// What separates the names of a path.
fn is_separator(byte: u8) -> bool {
    matches!(byte, b'/' | b'\\')
}

/// Loads one module unchanged.
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
